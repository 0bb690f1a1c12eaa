#include "monitor/monitor.h"

#include <fmt/format.h>

#include <algorithm>
#include <future>
#include <utility>

#include "monitor/state_store.h"

namespace herdgate::monitor {

namespace {

Hooks complete(Hooks hooks, const ProbeMeans& means) {
  if (!hooks.probe)
    hooks.probe = [means, logins = std::make_shared<ProbeLogins>(means.loop)](const ProbeTarget& target,
                                                                              ProbeDone done) {
      return start_probe(means, target, std::move(done), logins.get());
    };
  return hooks;
}

}  // namespace

Monitor::Monitor(const ProbeMeans& means, Log& log, Hooks hooks)
    : means_(means),
      log_(log),
      hooks_(complete(std::move(hooks), means)),
      errands_(means.loop, log,
               {[this](const cluster::Event& event) { feed(event); }, hooks_.probe,
                [this](NodeId node, const Answer& answer) { learn(node, answer); }}),
      health_(means.loop, log,
              {hooks_.probe, hooks_.credentials, [this](NodeId node) { return wants_health_check(node); },
               [this](const cluster::HealthChecked& event) { feed(event); },
               [this](const report::HealthByNode& figures) {
                 if (hooks_.health) hooks_.health(figures);
               }}),
      promoter_(means, log,
                {[this](const cluster::PromotionEnded& event) { feed(event); },
                 [this](const cluster::LeftBehind& event) { feed(event); }, [this] { return primary_found(); },
                 [this](NodeId node, const PrimaryFacts::Facts& said) { primaries_.promoted(node, said); }}),
      switchover_(means, log, [this](const cluster::SwitchStepEnded& event) { feed(event); }),
      note_({means.loop, files_, means.scratch}) {}

Monitor::~Monitor() {
  *alive_ = false;
  means_.loop.cancel(timer_);
  means_.loop.cancel(leaving_);
  means_.loop.cancel(first_look_limit_);
  means_.loop.cancel(round_.timer);
  save_at_last();
}

// ---- start, settings, hints

void Monitor::start(config::SettingsPtr settings, bool discard_state) {
  settings_ = std::move(settings);
  state_path_ = state_path(settings_->logdir, "pgpool_status");
  note_path_ = state_path(settings_->logdir, "pgpool_unfinished");
  for (const std::string& path : {state_path_, note_path_}) remove_leftovers(path);
  const auto unfinished = read_note();
  feed(cluster::Started{cluster::rules_of(*settings_), read_state(discard_state), unfinished});
  health_.configure(settings_);
  if (hooks_.first_look) first_look_limit_ = means_.loop.after(kFirstLookLimit, [this] { tell_first_look(); });
}

void Monitor::tell_first_look() {
  means_.loop.cancel(std::exchange(first_look_limit_, 0));
  if (hooks_.first_look) means_.loop.defer(std::exchange(hooks_.first_look, nullptr));
}

void Monitor::reload(config::SettingsPtr settings) {
  settings_ = std::move(settings);
  feed(cluster::SettingsChanged{cluster::rules_of(*settings_)});
  health_.configure(settings_);
}

void Monitor::connection_failed(NodeId node, bool shutdown, bool doubt) {
  feed(cluster::ConnectionFailed{node, shutdown, doubt});
}

void Monitor::first_connection(NodeId node) { feed(cluster::FirstConnection{node}); }

std::optional<cluster::StateFile> Monitor::read_state(bool discard) {
  if (discard) {
    if (auto removed = remove_state_file(state_path_); !removed) say({Level::warning, removed.error().text(), {}});
    return std::nullopt;
  }
  auto text = read_state_file(state_path_);
  if (!text) {
    say({Level::warning, text.error().text(), "All nodes start as usable."});
    return std::nullopt;
  }
  if (!*text) return std::nullopt;
  return cluster::parse_state_file(**text);
}

std::optional<cluster::Unfinished> Monitor::read_note() {
  const std::string path = note_path_;
  const auto text = read_state_file(path);
  if (!text) say({Level::warning, text.error().text(), {}});
  if (!text || !*text) return std::nullopt;
  const auto unfinished = cluster::parse_unfinished(**text);
  if (!unfinished) say({Level::warning, fmt::format("{} is not understood", path), "It is left alone."});
  if (unfinished && cluster::last_words_count(*unfinished, means_.loop.clock().wall()))
    primaries_.recalled(unfinished->from, {unfinished->rule, unfinished->position, unfinished->timeline});
  return unfinished;
}

// ---- requests

void Monitor::answer(Answered answered, std::optional<cluster::Refusal> refusal) {
  means_.loop.defer([answered = std::move(answered), refusal = std::move(refusal)] { answered(refusal); });
}

void Monitor::request(const cluster::Request& request, Answered answered) {
  if (request.kind == cluster::Request::attach && follows_first(request))
    return attach_follower(request, std::move(answered));
  const bool switches = request.kind == cluster::Request::switchover && state_.rules.failover.builtin;
  const auto asker = std::make_shared<Answered>(std::move(answered));
  if (switches) switch_askers_.emplace(request.node, asker);  // it may be over before this returns
  const auto refusal = feed(cluster::Requested{request});
  if (switches && !refusal) return;
  std::erase_if(switch_askers_, [&](const auto& other) { return other.second == asker; });
  answer(*asker, refusal);
}

std::string Monitor::busy_with() const {
  return leaving_ != 0 ? "graceful detach" : std::string(cluster::busy_with(state_));
}

// As Pgpool-II does it: no new sessions, and the node goes when all sessions have ended.
void Monitor::detach_gracefully(NodeId node, Answered answered) {
  const cluster::Event detach = cluster::Requested{{cluster::Request::detach, node}};
  if (auto refusal = cluster::step(state_, detach, {}).actions.refusal) return answer(std::move(answered), refusal);
  if (leaving_ != 0)
    return answer(std::move(answered), cluster::Refusal{Level::error, "failed to process PCP request at the moment",
                                                        "graceful detach is in progress"});
  say({Level::log, fmt::format("node {} is to be detached when all sessions have ended", node.value),
       "New sessions wait until then, for recovery_timeout at most."});
  leaving_ =
      means_.loop.after(settings_->recovery_timeout, [this, node, answered] { sessions_left(node, false, answered); });
  hooks_.shut_gate([this, alive = alive_, node, answered, mine = leaving_] {
    if (*alive && leaving_ == mine) sessions_left(node, true, answered);
  });
}

void Monitor::sessions_left(NodeId node, bool all, const Answered& answered) {
  means_.loop.cancel(std::exchange(leaving_, 0));
  std::optional<cluster::Refusal> refusal;
  if (all)
    refusal = feed(cluster::Requested{{cluster::Request::detach, node}});
  else
    say({Level::warning, fmt::format("node {} is not detached", node.value),
         "The sessions did not end within recovery_timeout."});
  hooks_.open_gate();
  answer(answered, std::move(refusal));
}

// ---- the machine

std::optional<cluster::Refusal> Monitor::feed(const cluster::Event& event) {
  auto [state, actions] = cluster::step(state_, event, means_.loop.clock().wall());
  state_ = std::move(state);
  carry_out(actions);
  keep_note();
  watch_nodes();
  rearm();
  if (cluster::looked_around(state_)) tell_first_look();
  return actions.refusal;
}

// Nobody uses a node that is down before a script is told so.
void Monitor::carry_out(const cluster::Actions& actions) {
  for (const cluster::Said& said : actions.log) say(said);
  count(actions);
  if (actions.publish) {
    view_ = cluster::view_of(state_);
    hooks_.publish(view_);
  }
  let_followers_go();
  if (actions.state_file) save(*actions.state_file);
  for (NodeId node : actions.probe) schedule_.hint(node, means_.loop.now());
  for (NodeId node : actions.ask)
    if (const config::Backend* backend = settings_->backend(node)) errands_.ask(target(*backend));
  for (const cluster::RunCommand& command : actions.run) errands_.run(command, command_limit(command.kind));
  for (const cluster::Alarm& alarm : actions.alarms) errands_.alarm(alarm);
  if (actions.promote) promote(*actions.promote);
  if (actions.switch_step) switch_step(*actions.switch_step);
  for (const cluster::SwitchoverEnd& end : actions.switchovers_ended) switchover_ended(end);
}

void Monitor::count(const cluster::Actions& actions) {
  for (const cluster::OutOfUse& lost : actions.lost) ++failovers_[lost.node].lost[static_cast<std::size_t>(lost.cause)];
  for (const NodeId node : actions.returned) ++failovers_[node].returned;
}

// Not before every worker has let go of the old primary, and the note is on the disk: the next proxy must know as much
// as this one. Nobody points a standby at it any more: let_followers_go().
void Monitor::promote(const cluster::Promotion& promotion) {
  const auto begin = [this, alive = alive_, promotion, operation = state_.operations] {
    const bool goes_on = *alive && state_.operation && state_.operations == operation;
    if (goes_on && state_.operation->stage == cluster::Operation::promoting) promoter_.start(promotion_job(promotion));
  };
  means_.loop.defer([this, alive = alive_, begin] {  // the note is set at the end of this turn
    if (*alive) note_.settled(kNoteLimit, [this, begin] { when_settled(begin); });
  });
}

// A probe may have heard it while a promotion was under way.
NodeId Monitor::primary_found() const {
  const cluster::Node* node = view_->find(view_->primary);
  const bool lost = state_.lost && state_.lost->primary == view_->primary;
  const bool found = node && node->live() && node->real_role == cluster::Role::primary && !lost;
  return found ? node->id : kNoNode;
}

Promoter::Job Monitor::promotion_job(const cluster::Promotion& promotion) const {
  Promoter::Job job;
  for (const config::Backend& b : settings_->backends) {
    if (b.id == promotion.old_primary && !promotion.planned) continue;
    const auto has = [&](const std::vector<NodeId>& nodes) {
      return std::find(nodes.begin(), nodes.end(), b.id) != nodes.end();
    };
    job.standbys.push_back(
        {powerful(b, "postgres"), b.application_name, has(promotion.standbys), has(promotion.strays)});
  }
  job.planned = promotion.planned;
  job.resumed = promotion.resumed;
  job.patient = promotion.patient;
  job.old_primary = promotion.old_primary;
  const PrimaryFacts::Facts known = primaries_.of(promotion.old_primary);
  job.rule = known.rule;
  job.recalled = known.recalled;
  job.old_primary_position = known.position;
  job.old_primary_timeline = known.timeline;
  job.wanted = promotion.wanted;
  return job;
}

// With the user that may alter and promote.
ProbeTarget Monitor::powerful(const config::Backend& backend, const std::string& database) const {
  ProbeTarget t = target(backend);
  const bool recovery = !settings_->recovery_user.empty();
  if (recovery) t.user = settings_->recovery_user;
  if (recovery && hooks_.credentials) t.credentials = hooks_.credentials(t.user, settings_->recovery_password);
  t.database = database;
  return t;
}

Duration Monitor::command_limit(cluster::RunCommand::Kind kind) const {
  return kind == cluster::RunCommand::follow_primary ? settings_->follow_primary_command_timeout
                                                     : settings_->failover_command_timeout;
}

// A node that is down is checked for two reasons only: to end its quarantine, or to attach it again.
bool Monitor::wants_health_check(NodeId node) const {
  const cluster::Node* known = view_->find(node);
  if (!known || known->status == cluster::NodeStatus::unused) return false;
  return known->status != cluster::NodeStatus::down || state_.rules.failover.auto_failback;
}

void Monitor::say(const cluster::Said& said) {
  log_.write(who_, LogLine{.level = said.level, .text = said.text, .detail = said.detail});
}

// On the disk, since after a loss of power nothing else tells a primary that was replaced from the one of now.
void Monitor::save(const std::string& text) {
  unsaved_ = text;
  if (saving_) return;
  auto result = std::make_shared<Result<Done>>(Done{});
  saving_ = files_.submit(
      means_.loop, [result, path = state_path_, text] { *result = write_state_file(path, text, Durable::yes); },
      [this, result, alive = alive_, text] {
        if (!*alive) return;
        saving_ = false;
        const std::string complaint = *result ? "" : result->error().text();
        if (!complaint.empty() && complaint != save_complaint_) say({Level::warning, complaint, {}});
        save_complaint_ = complaint;
        if (unsaved_ == text) return unsaved_.reset();
        save(*unsaved_);
      });
  if (!saving_) say({Level::warning, "could not write the status file: too much work is waiting", {}});
}

// What waits for the write under way, or behind it. The pool drops it when it ends.
void Monitor::save_at_last() {
  if (!unsaved_) return;
  const auto written = std::make_shared<std::promise<Result<Done>>>();
  std::future<Result<Done>> end = written->get_future();
  const auto write = [written, path = state_path_, text = *unsaved_] {
    written->set_value(write_state_file(path, text, Durable::yes));
  };
  const bool begun = files_.submit(means_.loop, write, [] {});
  if (!begun || end.wait_for(kLastSaveLimit) != std::future_status::ready)
    return say({Level::warning, "could not write the status file before the end", {}});
  if (const Result<Done> result = end.get(); !result) say({Level::warning, result.error().text(), {}});
}

// ---- probes

void Monitor::watch_nodes() {
  std::vector<NodeId> nodes;
  for (const cluster::Member& m : state_.members)
    if (cluster::worth_probing(m)) nodes.push_back(m.node.id);
  schedule_.watch(nodes, means_.loop.now());
}

bool Monitor::asks() const { return state_.rules.streaming && !settings_->sr_check_user.empty(); }

Duration Monitor::period() {
  const Duration regular =
      settings_->sr_check_period.count() > 0 ? Duration(settings_->sr_check_period) : kLivenessPeriod;
  // A primary that went down is looked for as well: another node may have taken over.
  const bool searching = state_.searching || view_->primary_awaited;
  if (!searching || !asks()) {
    search_began_.reset();
    return regular;
  }
  const TimePoint now = means_.loop.now();
  if (!search_began_) search_began_ = now;
  const Duration limit = settings_->search_primary_node_timeout;
  const bool goes_on = limit == Duration::zero() || now - *search_began_ < limit;
  return goes_on ? std::min(kSearchPeriod, regular) : regular;
}

void Monitor::rearm() {
  means_.loop.cancel(std::exchange(timer_, 0));
  const TimePoint now = means_.loop.now();
  schedule_.set_period(period(), now);
  const TimePoint next = schedule_.next();
  if (next == TimePoint::max()) return;
  timer_ = means_.loop.after(std::max(Duration::zero(), next - now), [this] {
    timer_ = 0;
    tick();
  });
}

void Monitor::tick() {
  const Due due = schedule_.due(means_.loop.now());
  if (due.round) begin_round(due.nodes);
  for (NodeId node : due.nodes) start_one(node, /*may_keep=*/true);
  for (NodeId node : due.alone) start_one(node, /*may_keep=*/false);
  rearm();
}

ProbeTarget Monitor::target(const config::Backend& backend) const {
  const config::HealthCheck limits = settings_->health_check(backend.id);
  const auto or_default = [](Duration d) { return d > Duration::zero() ? d : kProbeLimit; };
  ProbeTarget t;
  t.node = backend.id;
  t.to = {backend.hostname, backend.port};
  t.connect_limit = or_default(limits.connect_timeout);
  t.whole_limit = or_default(limits.health_check_timeout);
  if (asks()) log_in_as_checker(t);
  return t;
}

void Monitor::log_in_as_checker(ProbeTarget& t) const {
  t.user = settings_->sr_check_user;
  t.database = settings_->sr_check_database.empty() ? "postgres" : settings_->sr_check_database;
  if (hooks_.credentials) t.credentials = hooks_.credentials(t.user, settings_->sr_check_password);
}

std::optional<ProbeTarget> Monitor::target_of(NodeId node) const {
  const config::Backend* backend = settings_->backend(node);
  if (backend == nullptr || !asks()) return std::nullopt;
  return target(*backend);
}

std::optional<ProbeTarget> Monitor::login_of(NodeId node) const {
  const config::Backend* backend = settings_->backend(node);
  if (backend == nullptr) return std::nullopt;
  ProbeTarget t = target(*backend);
  const config::HealthCheck check = settings_->health_check(node);
  if (!settings_->sr_check_user.empty()) {
    log_in_as_checker(t);
  } else {
    t.user = check.health_check_user;
    t.database = check.health_check_database.empty() ? "postgres" : check.health_check_database;
    if (hooks_.credentials) t.credentials = hooks_.credentials(t.user, check.health_check_password);
  }
  if (t.user.empty()) return std::nullopt;
  return t;
}

// A login that stays would hold up a DROP of its database, and a CREATE by its pattern: nobody does that to "postgres".
void Monitor::start_one(NodeId node, bool may_keep) {
  const config::Backend* backend = settings_->backend(node);
  if (!backend) return schedule_.ended(node, true, means_.loop.now());
  ProbeTarget to = target(*backend);
  to.newest_name = said_[node].newest_name;
  to.may_keep = may_keep && to.database == "postgres" && 2 * period() < ProbeLogins::kLife;
  probes_[node] = hooks_.probe(to, [this, alive = alive_, node](const Answer& answer) {
    if (*alive) ended(node, answer);
  });
}

void Monitor::ended(NodeId node, const Answer& answer) {
  // The probe is calling us: it goes when its call has returned.
  if (const auto probe = probes_.extract(node)) means_.loop.defer([held = probe.mapped()] {});
  schedule_.ended(node, answer.outcome == cluster::Outcome::healthy, means_.loop.now());
  // Sessions wait for a primary that starts up or recovers: it is asked as often as hints would have it.
  if (answer.outcome == cluster::Outcome::not_ready && view_->primary_awaited && node == view_->primary)
    schedule_.hint(node, means_.loop.now());
  learn(node, answer);
  notice_changes(node, answer);
  feed(cluster::ProbeResult{node, answer.outcome, answer.in_recovery, answer.text, answer.upstream, answer.nameless});
  // A probe that has logged in is a connection like any other: the node is up, not only waiting for one.
  if (answer.outcome == cluster::Outcome::healthy && asks()) first_connection(node);
  if (round_.awaited.erase(node) == 0) return;
  round_.answers[node] = answer;
  if (round_.awaited.empty()) finish_round();
}

void Monitor::notice_changes(NodeId node, const Answer& answer) {
  const auto changed = [](std::string& kept, const std::string& now) {
    if (now.empty()) return false;
    const std::string before = std::exchange(kept, now);
    return !before.empty() && before != now;
  };
  Said& said = said_[node];
  if (changed(said.configured, answer.configured) && hooks_.reloaded) hooks_.reloaded();
  if (changed(said.defaults, answer.defaults) && hooks_.defaults_altered) hooks_.defaults_altered();
  const bool crashed = changed(said.counting_since, answer.counting_since);
  if (crashed && node == state_.primary && hooks_.primary_crashed) hooks_.primary_crashed();
  if (answer.names.empty()) return;
  const bool renamed = !said.names.empty() && answer.names_before != said.names;
  said.names = answer.names;
  said.newest_name = answer.newest_name;
  if (renamed && hooks_.names_changed) hooks_.names_changed();
}

// ---- rounds

void Monitor::begin_round(const std::vector<NodeId>& nodes) {
  if (!round_.awaited.empty()) finish_round();
  round_.answers.clear();
  round_.awaited = {nodes.begin(), nodes.end()};
  round_.began = means_.loop.now();
  if (nodes.empty()) return;
  round_.timer = means_.loop.after(kReportWait, [this] {
    round_.timer = 0;
    finish_round();
  });
}

// Answers that come later than this take part no more: positions of different moments cannot be compared.
void Monitor::finish_round() {
  means_.loop.cancel(std::exchange(round_.timer, 0));
  const std::map<NodeId, Answer> answers = std::exchange(round_.answers, {});
  round_.awaited.clear();
  if (!asks() || settings_->sr_check_period.count() == 0) return;
  RoundOptions options{state_.primary, {}};
  for (const config::Backend& b : settings_->backends) options.application_names[b.id] = b.application_name;
  cluster::ReplicationReport report = replication_report(answers, options);
  if (settings_->memory_cache_enabled) tell_replayed(answers, report);
  feed(report);
}

// The primary was asked after the round began: what had been acknowledged by then is in its position.
void Monitor::tell_replayed(const std::map<NodeId, Answer>& answers, cluster::ReplicationReport& report) {
  const auto primary = answers.find(state_.primary);
  if (primary == answers.end()) return;
  const Answer& writer = primary->second;
  if (writer.in_recovery.value_or(true) || !writer.position || !writer.timeline) return;
  replayed_.note(state_.primary, *writer.timeline, round_.began, *writer.position);
  for (cluster::NodeReplication& node : report.nodes) {
    const auto answer = answers.find(node.node);
    if (node.node == state_.primary || answer == answers.end()) continue;
    const Answer& standby = answer->second;
    if (!standby.in_recovery.value_or(false) || !standby.position || !standby.timeline) continue;
    if (const auto moment = replayed_.of(*standby.timeline, *standby.position))
      node.replayed_to = cluster::ReplayedTo{*moment, round_.began};
  }
}

}  // namespace herdgate::monitor
