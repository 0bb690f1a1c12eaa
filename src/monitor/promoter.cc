#include "monitor/promoter.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <sstream>
#include <utility>

#include "backend/errc.h"
#include "cluster/conninfo.h"
#include "cluster/switchover.h"

namespace herdgate::monitor {
namespace {

const std::string kExamine =
    "SELECT pg_catalog.pg_is_in_recovery(), r IS NOT NULL, pg_catalog.current_setting('primary_conninfo'), "
    "pg_catalog.current_setting('primary_slot_name'), pg_catalog.current_setting('server_version_num'), "
    "(SELECT pg_catalog.count(*) FROM pg_catalog.pg_stat_replication), " +
    std::string(kTakeConninfoLock) +
    ", r->>'sender_host', r->>'sender_port', (SELECT pg_catalog.string_agg(application_name, pg_catalog.chr(10)) FROM "
    "pg_catalog.pg_stat_replication) FROM (SELECT) AS one LEFT JOIN (SELECT pg_catalog.to_jsonb(w) AS r "
    "FROM pg_catalog.pg_stat_wal_receiver AS w WHERE status IS NULL OR status = 'streaming') AS receiver ON true";
constexpr std::size_t kExamineColumns = 10;
// The timeline by the names of the segments up to that position: a segment of a timeline is there as soon as one octet
// of it has been received. The control file names it only after the next restartpoint; the receiver is gone by now, and
// pg_walfile_name() is refused in recovery. One of a later timeline is left from before a pg_rewind where
// a segment of an earlier one, the same or one that comes after it, was written later.
constexpr const char* kPosition =
    "WITH p AS (SELECT GREATEST(COALESCE(pg_catalog.pg_last_wal_receive_lsn(), '0/0'), "
    "COALESCE(pg_catalog.pg_last_wal_replay_lsn(), '0/0')) AS position, "
    "(SELECT timeline_id FROM pg_catalog.pg_control_checkpoint()) AS timeline), "
    "named AS MATERIALIZED (SELECT ('x' || pg_catalog.substr(name, 1, 8))::pg_catalog.bit(32)::pg_catalog.int4 AS "
    "timeline, ('x' || pg_catalog.substr(name, 9, 8))::pg_catalog.bit(32)::pg_catalog.int8 * 4294967296 + "
    "('x' || pg_catalog.substr(name, 17, 8))::pg_catalog.bit(32)::pg_catalog.int8 * "
    "pg_catalog.pg_size_bytes(pg_catalog.current_setting('wal_segment_size')) AS begins, modification AS written "
    "FROM pg_catalog.pg_ls_waldir() WHERE name ~ '^[0-9A-F]{24}$'), "
    "wal AS MATERIALIZED (SELECT named.* FROM named, p WHERE begins <= pg_catalog.pg_wal_lsn_diff(position, '0/0')) "
    "SELECT pg_catalog.pg_is_in_recovery(), EXISTS (SELECT FROM pg_catalog.pg_stat_wal_receiver), position, "
    "GREATEST(p.timeline, (SELECT pg_catalog.max(w.timeline) FROM wal AS w WHERE w.timeline > p.timeline "
    "AND NOT EXISTS (SELECT FROM wal AS e WHERE e.timeline < w.timeline AND e.begins >= w.begins AND e.written > "
    "w.written))) "
    "FROM p";
constexpr std::size_t kPositionColumns = 4;
constexpr const char* kPromote = "SELECT pg_catalog.pg_promote(true, 25), pg_catalog.pg_is_in_recovery()";
// Told once more, since the first word may not have arrived.
constexpr const char* kPromoteAgain =
    "SELECT CASE WHEN pg_catalog.pg_is_in_recovery() THEN pg_catalog.pg_promote(false) END, "
    "pg_catalog.pg_is_in_recovery()";
constexpr const char* kFacts =
    "SELECT pg_catalog.current_setting('synchronous_standby_names'), pg_catalog.pg_current_wal_lsn(), "
    "('x' || pg_catalog.left(pg_catalog.pg_walfile_name(pg_catalog.pg_current_wal_lsn()), 8))"
    "::pg_catalog.bit(32)::pg_catalog.int4";
const std::string kFollows =
    "SELECT EXISTS (SELECT FROM pg_catalog.pg_stat_wal_receiver WHERE status = 'streaming'), " +
    std::string(kGiveConninfoLock);

std::optional<std::int64_t> timeline_of(const std::string& text) {
  std::int64_t timeline = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), timeline);
  return error == std::errc() ? std::optional(timeline) : std::nullopt;
}

}  // namespace

Promoter::Promoter(const ProbeMeans& means, Log& log, Hooks hooks)
    : means_(means), log_(log), hooks_(std::move(hooks)) {}

Promoter::~Promoter() { means_.loop.cancel(timer_); }

void Promoter::say(Level level, const std::string& text) {
  const std::string line = "built-in failover: " + text;
  log_.write(who_, LogLine{.level = level, .text = line});
}

void Promoter::start(Job job) {
  ++run_;
  means_.loop.cancel(std::exchange(timer_, 0));
  job_ = std::move(job);
  servers_.clear();
  chosen_ = already_ = kNoNode;
  unheard_ = false;
  for (const Standby& standby : job_.standbys) {
    auto server = std::make_unique<Server>();
    server->standby = standby;
    server->candidate.id = standby.target.node;
    server->candidate.application_name = standby.application_name;
    server->candidate.usable = standby.usable;
    server->candidate.host = standby.target.to.host;
    server->candidate.port = standby.target.to.port;
    server->client = ask(means_, standby.target, kStepLimit);
    servers_.push_back(std::move(server));
  }
  began_ = means_.loop.now();
  examine();
}

// ---- steps: one question to several servers, then the next step

void Promoter::each(Chosen chosen, const Sql& sql, Take take, std::function<void()> then) {
  std::vector<Server*> asked;
  for (const auto& server : servers_)
    if (chosen(*server)) asked.push_back(server.get());
  open_ = asked.size() + 1;
  then_ = std::move(then);
  const Deadline deadline = Deadline::after(means_.loop.now(), kStepLimit);
  for (Server* server : asked) {
    server->client->query(sql(*server), deadline, [this, server, take, run = run_](Result<backend::Rows> rows) {
      if (run != run_) return;
      if (rows && take) take(*server, *rows);
      if (!rows) server->trouble = rows.error().text();
      if (!rows) server->candidate.answered = false;
      server->refused = !rows && rows.error().code == backend::Errc::query_failed;
      step_ended();
    });
  }
  step_ended();
}

// By the loop: the answer's own client may go with the next step.
void Promoter::step_ended() {
  if (--open_ == 0) later(Duration::zero(), std::exchange(then_, nullptr));
}

void Promoter::later(Duration pause, std::function<void()> work) {
  timer_ = means_.loop.after(pause, [this, work = std::move(work)] {
    timer_ = 0;
    work();
  });
}

// ---- is the old primary really gone, and what do the standbys have?

void Promoter::examine() {
  const auto take = [](Server& server, const backend::Rows& rows) {
    if (rows.size() != 1 || rows.front().size() != kExamineColumns) return;
    server.candidate.answered = text_of(rows, 0) == "t";
    server.candidate.primary = text_of(rows, 0) == "f";
    server.candidate.stray = server.candidate.primary && server.standby.stray;
    if (server.candidate.stray) server.trouble = "it was out of recovery while the old primary worked";
    server.candidate.receiving = text_of(rows, 1) == "t";
    server.conninfo = cluster::running_conninfo(text_of(rows, 2));
    server.slot = text_of(rows, 3);
    const std::string senders = text_of(rows, 5);
    std::from_chars(senders.data(), senders.data() + senders.size(), server.candidate.senders);
    server.locked_by = text_of(rows, 6);
    server.candidate.upstream = {text_of(rows, 7), 0};
    const std::string port = text_of(rows, 8);
    std::from_chars(port.data(), port.data() + port.size(), server.candidate.upstream->port);
    server.candidate.fed.clear();
    std::istringstream names(text_of(rows, 9));
    for (std::string name; std::getline(names, name);) server.candidate.fed.push_back(name);
    const std::string too_old = too_old_for_builtin(text_of(rows, 4));
    if (too_old.empty()) return;
    server.trouble = too_old;
    server.candidate.answered = false;
  };
  each([](const Server& s) { return !s.client->broken(); }, [](const Server&) { return kExamine; }, take,
       [this] { examined(); });
}

// Whoever still may change a primary_conninfo would point the standby at the old primary after its receiver was
// stopped.
bool Promoter::waits_for_locks() {
  const auto locked = [](const auto& s) { return s->candidate.answered && !s->locked_by.empty(); };
  if (std::none_of(servers_.begin(), servers_.end(), locked)) return false;
  if (means_.loop.now() - began_ < kCalmLimit) return true;
  for (const auto& server : servers_) {
    if (!locked(server)) continue;
    server->candidate.answered = false;
    server->trouble = "its primary_conninfo is being changed by " + server->locked_by;
  }
  return false;
}

cluster::Situation Promoter::situation() const {
  cluster::Situation situation;
  for (const auto& server : servers_) {
    situation.standbys.push_back(server->candidate);
    situation.standbys.back().trouble = server->trouble;
  }
  situation.rule = job_.rule;
  situation.recalled = job_.recalled;
  situation.old_primary_position = job_.old_primary_position;
  situation.old_primary_timeline = job_.old_primary_timeline;
  situation.wanted = job_.wanted;
  return situation;
}

// After a planned stop they receive from what is a standby itself.
bool Promoter::may_receive() const {
  if (!job_.resumed) return job_.planned;
  const cluster::Situation now = situation();
  return cluster::fed_from_within(now.standbys) && std::any_of(servers_.begin(), servers_.end(), [this](const auto& s) {
           return s->candidate.id == job_.old_primary && s->candidate.answered;
         });
}

NodeId Promoter::promoted_by_others() const {
  const NodeId seen = cluster::promoted_already(situation(), job_.old_primary);
  return seen != kNoNode || !hooks_.primary ? seen : hooks_.primary();
}

void Promoter::give_up(const cluster::PromotionEnded& end) {
  servers_.clear();  // and with them the locks
  hooks_.done(end);
}

void Promoter::examined() {
  if (waits_for_locks()) return later(kCalmPause, [this] { examine(); });
  const bool primary =
      std::any_of(servers_.begin(), servers_.end(), [](const auto& s) { return s->candidate.primary; });
  if (job_.resumed && primary) {
    const cluster::Verdict verdict = judge_resumed(situation(), job_.old_primary, job_.patient);
    return give_up({verdict.promote, verdict.text, {}});
  }
  const auto back = [this](const auto& s) { return s->candidate.id == job_.old_primary && s->candidate.primary; };
  if (std::any_of(servers_.begin(), servers_.end(), back)) return give_up({job_.old_primary, "it was not stopped", {}});
  const NodeId already = promoted_by_others();
  if (already != kNoNode) return give_up({already, {}, {}, true});
  const cluster::Situation now = situation();
  const cluster::Candidate* fed = cluster::fed_by_old_primary(now.standbys);
  if (!fed || may_receive()) return stop_receivers();
  // A receiver notices the end of its connection a moment after the proxy did.
  if (means_.loop.now() - began_ < kCalmLimit) return later(kCalmPause, [this] { examine(); });
  give_up({kNoNode, fmt::format("node {} still receives from the old primary", fed->id.value), {}});
}

void Promoter::reload_then(const Take& take, std::function<void()> then) {
  each([](const Server& s) { return s.stopped; }, [](const Server&) { return "SELECT pg_catalog.pg_reload_conf()"; },
       take, std::move(then));
}

// From here on the old primary cannot get a commit acknowledged by a standby, even if it comes back at this moment.
void Promoter::stop_receivers() {
  began_ = means_.loop.now();
  // Without an answer it may have been stopped all the same, unless the server itself refused.
  const auto asked = [this] {
    for (const auto& server : servers_) server->stopped = server->stopped && !server->refused;
    reload_then(nullptr, [this] { read_positions(); });
  };
  for (const auto& server : servers_) server->stopped = server->candidate.answered;
  each([](const Server& s) { return s.stopped; },
       [](const Server& s) { return alter_conninfo(cluster::stopped_conninfo(s.conninfo)); }, nullptr, asked);
}

void Promoter::read_positions() {
  const auto take = [](Server& server, const backend::Rows& rows) {
    if (rows.size() != 1 || rows.front().size() != kPositionColumns) return;
    server.candidate.primary = text_of(rows, 0) == "f";
    server.candidate.receiving = text_of(rows, 1) == "t";
    server.candidate.position = parse_position(text_of(rows, 2)).value_or(0);
    server.candidate.timeline = timeline_of(text_of(rows, 3)).value_or(0);
  };
  each([](const Server& s) { return s.candidate.answered; }, [](const Server&) { return kPosition; }, take,
       [this] { positions_read(); });
}

void Promoter::positions_read() {
  const auto receiving = [](const auto& s) { return s->candidate.answered && s->candidate.receiving; };
  if (std::any_of(servers_.begin(), servers_.end(), receiving) && means_.loop.now() - began_ < kCalmLimit)
    return later(kCalmPause, [this] { read_positions(); });
  already_ = promoted_by_others();
  if (already_ != kNoNode) return restore();
  const cluster::Verdict verdict = job_.resumed   ? judge_resumed(situation(), job_.old_primary, job_.patient)
                                   : job_.planned ? judge_switchover(situation(), job_.old_primary)
                                                  : judge(situation());
  verdict_ = verdict.text;
  if (verdict.promote == kNoNode) return restore();
  promote(verdict.promote);
}

// ---- promote, point the others at it

Promoter::Server* Promoter::successor() {
  for (const auto& server : servers_)
    if (server->candidate.id == chosen_) return server.get();
  return nullptr;
}

void Promoter::promote(NodeId node) {
  chosen_ = node;
  say(Level::log, fmt::format("promoting node {}", node.value));
  successor()->client->query(kPromote, Deadline::after(means_.loop.now(), kPromoteLimit),
                             [this, run = run_](const Result<backend::Rows>& rows) {
                               if (run != run_) return;
                               if (rows) return promotion_told(*rows);
                               if (refuses(rows.error(), successor()->client->sqlstate()))
                                 return not_promoted(rows.error().text());
                               not_heard(rows.error());
                             });
}

// A server that has been told to cannot be told not to: while it replays what it has, no other one may be promoted.
void Promoter::promotion_told(const backend::Rows& rows) {
  if (text_of(rows, 1) == "f") return later(Duration::zero(), [this] { ask_its_facts(); });
  if (means_.loop.now() - began_ > kLongestPromotion) return not_promoted("it is still in recovery");
  later(kPromotionPause, [this] { tell_again(); });
}

// Nor while it does not answer: it may be at it. One that has ended does not go on with it when it is started again.
void Promoter::not_heard(const Error& why) {
  const bool over = means_.loop.now() - began_ > kLongestPromotion;
  if (over || why.code == backend::Errc::nobody_listens) return not_promoted(why.text());
  if (!std::exchange(unheard_, true))
    say(Level::warning, fmt::format("node {} was told to promote itself and does not answer, it is waited for: {}",
                                    chosen_.value, why.text()));
  later(kPromotionPause, [this] { tell_again(); });
}

void Promoter::tell_again() {
  Server& server = *successor();
  if (server.client->broken()) server.client = ask(means_, server.standby.target, kStepLimit);
  server.client->query(kPromoteAgain, Deadline::after(means_.loop.now(), kStepLimit),
                       [this, run = run_](const Result<backend::Rows>& rows) {
                         if (run != run_) return;
                         rows ? promotion_told(*rows) : not_heard(rows.error());
                       });
}

void Promoter::not_promoted(const std::string& why) {
  verdict_ = fmt::format("node {} could not be promoted: {}", chosen_.value, why);
  chosen_ = kNoNode;
  later(Duration::zero(), [this] { restore(); });
}

// Now, since it may die before it is probed. Its own settings count from now on, and only what it says after the
// reload that stopped its receiver.
void Promoter::ask_its_facts() {
  successor()->client->query(kFacts, Deadline::after(means_.loop.now(), kStepLimit),
                             [this, run = run_](Result<backend::Rows> rows) {
                               if (run != run_) return;
                               PrimaryFacts::Facts said;
                               if (rows && rows->size() == 1) {
                                 said.rule = cluster::parse_sync_names(text_of(*rows, 0));
                                 said.position = parse_position(text_of(*rows, 1));
                                 said.timeline = timeline_of(text_of(*rows, 2));
                               }
                               later(Duration::zero(), [this, said] { promoted(said); });
                             });
}

// They are not changed: names that do not answer would stop every commit.
void Promoter::promoted(const PrimaryFacts::Facts& said) {
  hooks_.promoted(chosen_, said);
  const std::size_t before = job_.rule ? job_.rule->count : 0;
  if (said.rule && said.rule->count < before && chosen_ != job_.old_primary)
    say(Level::warning,
        fmt::format(
            "synchronous_standby_names of node {} asks for {} synchronous standbys, the old primary's asked for "
            "{}: an acknowledged commit may be on fewer servers from now on",
            chosen_.value, said.rule->count, before));
  make_slots();
}

void Promoter::make_slots() {
  std::vector<std::string> names;
  for (const auto& server : servers_)
    if (server->candidate.id != chosen_ && !server->slot.empty()) names.push_back(server->slot);
  if (names.empty()) return point_the_others();
  successor()->client->query(make_missing_slots(names), Deadline::after(means_.loop.now(), kStepLimit),
                             [this, run = run_](Result<backend::Rows> rows) {
                               if (run != run_) return;
                               if (!rows)
                                 say(Level::warning, "could not make replication slots: " + rows.error().text());
                               later(Duration::zero(), [this] { point_the_others(); });
                             });
}

// What is ahead of the new primary by its timeline would take that one's next timeline, which may have the same number,
// for its own.
std::string Promoter::obstacle(const Server& server, const net::Destination& to) {
  const std::int64_t here = server.candidate.timeline, there = successor()->candidate.timeline;
  if (here > there) return fmt::format("it is on timeline {}, the new primary was on {}", here, there);
  const auto conninfo = cluster::repoint(server.conninfo, to.host, to.port);
  return conninfo ? std::string() : conninfo.error().text();
}

void Promoter::point_the_others() {
  const net::Destination to = successor()->standby.target.to;
  const auto sql = [to, self = successor()](const Server& server) {
    if (&server == self) return alter_conninfo(server.conninfo);  // no mark is left on what runs
    std::string old = server.conninfo;
    if (old.empty())
      old = fmt::format("user={} application_name={}", server.standby.target.user, server.standby.application_name);
    return alter_conninfo(*cluster::repoint(old, to.host, to.port));
  };
  for (const auto& server : servers_)
    if (server.get() != successor()) server->lost_way = obstacle(*server, to);
  each([](const Server& s) { return s.stopped && s.lost_way.empty(); }, sql,
       [](Server& server, const backend::Rows&) { server.altered = true; },
       [this] {
         const auto take = [self = successor()](Server& server, const backend::Rows&) {
           server.pointed = server.altered && &server != self;
         };
         reload_then(take, [this] { pointed(); });
       });
}

void Promoter::pointed() {
  successor()->stopped = false;  // it has nobody to follow
  cluster::PromotionEnded end{chosen_, verdict_, {}};
  for (const auto& server : servers_)
    if (server->pointed) end.pointed.push_back(server->candidate.id);
  for (const auto& server : servers_)
    if (!server->pointed && (server->stopped || server->candidate.id == job_.old_primary) &&
        server.get() != successor())
      end.left_behind.push_back(
          {server->candidate.id, "could not be pointed at the new primary: " +
                                     (server->lost_way.empty() ? server->trouble : server->lost_way)});
  // Nothing is changed any more: the sessions end, or give back their locks when they are next asked.
  for (const auto& server : servers_)
    if (!server->pointed) server->client.reset();
  began_ = means_.loop.now();
  later(kFollowPause, [this] { watch_followers(); });
  hooks_.done(end);
}

// A standby may have been restarted meanwhile.
void Promoter::watch_followers() {
  const auto waits = [](const Server& s) { return s.pointed && !s.follows; };
  for (const auto& server : servers_)
    if (waits(*server) && server->client->broken()) server->client = ask(means_, server->standby.target, kStepLimit);
  const auto take = [](Server& server, const backend::Rows& rows) {
    server.follows = text_of(rows, 0) == "t";
    server.trouble.clear();
  };
  each(
      waits, [](const Server&) { return kFollows; }, take, [this] { followers_seen(); });
}

void Promoter::followers_seen() {
  const auto waits = [](const auto& s) { return s->pointed && !s->follows; };
  const bool all = std::none_of(servers_.begin(), servers_.end(), waits);
  if (!all && means_.loop.now() - began_ < kFollowLimit) return later(kFollowPause, [this] { watch_followers(); });
  std::vector<std::unique_ptr<Server>> servers = std::exchange(servers_, {});
  for (const auto& server : servers) {
    if (!waits(server)) continue;
    const bool silent = !server->trouble.empty();
    const std::string why = silent ? "does not answer after it was pointed at the new primary: " + server->trouble
                                   : "could not follow the new primary: its receiver does not stream; its log says why";
    hooks_.left_behind({server->candidate.id, why, silent});
  }
}

// ---- not this time

void Promoter::restore() {
  put_back([this] {
    const auto left = [](const auto& s) { return s->stopped; };
    if (std::none_of(servers_.begin(), servers_.end(), left)) return restored();
    // The link may be what failed.
    for (const auto& server : servers_)
      if (server->stopped) server->client = ask(means_, server->standby.target, kStepLimit);
    put_back([this] { restored(); });
  });
}

void Promoter::put_back(std::function<void()> then) {
  each([](const Server& s) { return s.stopped; }, [](const Server& s) { return alter_conninfo(s.conninfo); },
       [](Server& server, const backend::Rows&) { server.altered = true; },
       [this, then = std::move(then)] {
         each([](const Server& s) { return s.altered; },
              [](const Server&) { return "SELECT pg_catalog.pg_reload_conf()"; },
              [](Server& server, const backend::Rows&) { server.stopped = server.altered = false; }, then);
       });
}

void Promoter::restored() {
  cluster::PromotionEnded end{already_, verdict_, {}, already_ != kNoNode};
  for (const auto& server : servers_) {
    if (!server->stopped || server->candidate.id == already_) continue;
    end.left_behind.push_back({server->candidate.id,
                               "its primary_conninfo could not be put back, so it receives "
                               "nothing: " +
                                   server->trouble});
    say(Level::warning, fmt::format("node {}: {}", server->candidate.id.value, end.left_behind.back().second));
  }
  give_up(end);
}

}  // namespace herdgate::monitor
