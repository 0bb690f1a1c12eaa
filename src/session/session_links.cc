// The links a session holds: getting them, bringing them up to the session's state, giving them back, losing them.
#include <algorithm>

#include "base/assert.h"
#include "session/session.h"
#include "session/session_log.h"
#include "session/words.h"
#include "wire/frontend.h"

namespace herdgate::session {
namespace {
// What a unit or a text may have a link owe is left when statements of PREPARE have been repeated there.
constexpr std::size_t kMostOwedByNamed = 60'000;

std::string quoted_name(std::string_view name) {
  std::string out = "\"";
  for (const char c : name) {
    out += c;
    if (c == '"') out += c;
  }
  return out + "\"";
}

}  // namespace

pool::ServerLink* Session::held(NodeId node) const {
  for (pool::ServerLink* link : links_) {
    if (link->link->key().node == node && !link->parting) return link;
  }
  return nullptr;
}

pool::ServerLink* Session::of(const backend::Link& link) const {
  for (pool::ServerLink* held : links_) {
    if (held->link.get() == &link) return held;
  }
  return nullptr;
}

pool::KeyPoolPtr& Session::key_pool(NodeId node) {
  HG_ASSERT(node != kNoNode);
  return identity_->key_pool(node, worker_.pool());
}

void Session::adopt(pool::ServerLink& link) {
  link.link->set_user(this);
  link.untouched = true;
  link.holder = static_cast<int>(id_.value & 0x7fffffff);
  links_.push_back(&link);
}

// A pinned session stays where its pin is; everything else goes where the plan says.
NodeId Session::node_for(const route::Plan& plan) const {
  if (unit_link() != nullptr) return unit_link()->link->key().node;
  const bool pinned = plan.write ? vs_.state().pins != 0 : route::pins_reads(vs_.state(), settings());
  if (pinned && transaction_node() == kNoNode) {  // one snapshot is where it is, whatever hangs on other links
    const NodeId write_node = view().write_node();
    if (held(write_node) == nullptr && !links_.empty()) return links_.front()->link->key().node;
    return write_node;
  }
  return ends_where_it_is() ? parts_.carrier(view().write_node()) : plan.node;
}

// COMMIT and ROLLBACK go where the transaction is. PREPARE TRANSACTION writes: it is for the primary. So is the first
// part of a unit: the others may write.
bool Session::ends_where_it_is() const {
  if (!run_ || parts_.empty()) return false;
  const Work& now = run_->work;
  const bool whole = now.request.kind != Request::Kind::extended || now.request.synced;
  return now.ends_transaction && !now.plan.write && whole;
}

// Where the plan says. Null behind it: the request waits, or it has failed because no node is up.
Session::Next Session::take_link(pool::ServerLink*& link, std::size_t& used) {
  link = nullptr;
  const NodeId node = node_for(work().plan);
  if (node == kNoNode) {
    used += work().request.bytes;
    rest_follows();
    fail_request(report_of({Error{backend::Errc::connect_failed, "no node is up"}, {}, {}}, view().primary));
    return Next::served;
  }
  if (const Next next = acquire(node, link); next != Next::served) {
    link = nullptr;
    return next;
  }
  // Whose process it ends says nothing about where the transaction is.
  const bool ends_process = work().facts && work().facts->first().terminate_pid;
  if (!ends_process) settle_transaction_node(link->link->key().node);
  return Next::served;
}

Session::Next Session::acquire(NodeId node, pool::ServerLink*& link) {
  link = held(node);
  if (link != nullptr && link->link->lost()) {
    drop_link(*link, Error{backend::Errc::closed_by_server, {}});
    link = nullptr;
  }
  const bool asked = worker_.shared().outcomes_open.load(std::memory_order_relaxed) > 0 ||
                     worker_.shared().commits_checked.load(std::memory_order_relaxed) > 0;
  const bool stand_in = link != nullptr && is_stand_in(node);
  const bool restrains = snapshot_->restrains && (link == nullptr || stand_in || snapshot_->pauses || view().switching);
  // Of a unit that a server has the beginning of the rest follows: what is answered here would not end it there.
  if (!unit_open() && (asked || restrains)) {
    const route::Hold why = restrained(node, work().plan.write);
    if (why != route::Hold::none && hold_back(why, node) == Next::waiting) {
      if (stand_in) give_way();  // others read there meanwhile
      return Next::waiting;
    }
  }
  if (link != nullptr) return Next::served;
  pool::KeyPoolPtr& keys = key_pool(node);
  if (pool::ServerLink* taken = worker_.pool().try_take(*keys)) {
    adopt(*taken);
    link = taken;
    return Next::served;
  }
  phase_ = Phase::acquiring;
  pending_node_ = node;
  pool::Pool::Ask ask;
  ask.pool = keys;
  ask.credentials = identity_->credentials;
  ask.deadline = wait_deadline();
  const auto done = [this](pool::Pool::Result result) { acquired(std::move(result)); };
  // Who holds one link and waits for a second may wait for somebody who waits for him.
  ask.other_node = falls_back() || reads_elsewhere();
  ask.at_once = holds_link();
  pending_ = worker_.pool().request(ask, done);
  if (pending_) {
    worker_.left_out().tried(node, worker_.loop().now());
    return Next::waiting;
  }
  link = held(view().write_node());
  if (link != nullptr) {  // the primary serves as well
    phase_ = Phase::idle;
    return Next::served;
  }
  if (!give_way()) {
    backend::OpenFailure all_taken{Error{pool::Errc::all_taken, {}}, {}, {}};
    all_taken.no_slot = worker_.shared().accounts.server_bounds(keys->key);
    worker_.loop().defer([&worker = worker_, id = id_, all_taken = std::move(all_taken)] {
      Session* session = worker.find(id);
      if (session == nullptr || session->phase_ != Phase::acquiring || session->pending_) return;
      session->acquired(tl::unexpected(all_taken));
    });
    return Next::waiting;
  }
  ask.at_once = false;
  pending_ = worker_.pool().request(std::move(ask), done);
  return Next::waiting;
}

bool Session::holds_link() const {
  return std::any_of(links_.begin(), links_.end(), [](const pool::ServerLink* link) { return !link->parting; });
}

// The node that is asked for a link is a standby, and the primary serves as well.
bool Session::falls_back() { return pending_node_ != view().write_node() && !work().plan.write; }

// Before waiting for what others have: what they may wait for goes back. A standby's part in the transaction ends; from
// here on the primary serves it. Links on which something of the session hangs, a snapshot too, stay: then it must not
// wait.
bool Session::give_way() {
  if (vs_.state().pins != 0 || unit_open() || parts_.has_named_portals()) return false;
  if (parts_.part(transaction_node()) != nullptr) return false;
  send_ends(parts_.end_all(/*commit=*/true));
  const std::vector<pool::ServerLink*> all = links_;
  for (pool::ServerLink* link : all) {
    link->parting = true;
    part(*link);
  }
  return true;
}

// Gives a parting link back when nothing is owed on it any more.
void Session::part(pool::ServerLink& link) {
  if (!link.parting || !link.link->ledger().empty() || link.link->half_sent()) return;
  std::erase(links_, &link);
  give_back(link, settings().pool_mode == config::PoolMode::session);
}

void Session::acquired(pool::Pool::Result result) {
  // `pending_` is on the stack below us.
  worker_.loop().defer([old = std::shared_ptr<pool::Pool::Pending>(std::move(pending_))] {});
  phase_ = Phase::idle;
  if (!result) {
    snapshot_ = worker_.snapshot();
    if (read_elsewhere() || wait_after_failure(result.error()) || wait_for_room(result.error())) return go_on();
    // A standby that cannot be reached or does not let the session in is no reason to fail: the primary serves.
    const bool gone = result.error().error.code == make_error_code(pool::Errc::node_gone);  // the view was an old one
    if (falls_back() && (gone || result.error().elsewhere())) {
      log_fall_back(worker_.log(), who_, pending_node_, result.error());
      // A server that refuses the session is not tried each time, one that has no room or for trouble of ours was not
      // asked is left out for a moment. What speaks against the node is looked into.
      const bool refused = result.error().server && !result.error().against_node() && !result.error().no_slot;
      if (!gone && !refused && !result.error().against_node())
        worker_.left_out().add(pending_node_, worker_.loop().now());
      if (refused) vs_.read_from(view().write_node());
      work().avoid = pending_node_;
      work().on_primary = true;
      work().plan.node = view().write_node();
    } else {
      drop_request_from_input();
      fail_request(report_of(result.error(), pending_node_));
    }
    return go_on();
  }
  worker_.left_out().reached(pending_node_);
  adopt(**result);
  go_on();
}

// What the server must hear before BEGIN is the session's options, not its text: each link has its own beginning.
// 0 means without limit, as everywhere in the configuration.
Deadline Session::wait_deadline() const {
  const auto limit = settings().query_wait_timeout;
  return limit.count() > 0 ? Deadline::after(worker_.loop().now(), limit) : Deadline::never();
}

std::string Session::begin_text(const pool::ServerLink& link) const {
  const vsession::Transaction& tx = vs_.state().tx;
  const bool is_primary = link.link->key().node == view().write_node();
  std::string text = "BEGIN";
  if (tx.isolation_explicit) {
    switch (tx.isolation) {
      case sql::Isolation::read_uncommitted:
        text += " ISOLATION LEVEL READ UNCOMMITTED";
        break;
      case sql::Isolation::read_committed:
        text += " ISOLATION LEVEL READ COMMITTED";
        break;
      case sql::Isolation::repeatable_read:
        text += " ISOLATION LEVEL REPEATABLE READ";
        break;
      case sql::Isolation::serializable:
        text += is_primary ? " ISOLATION LEVEL SERIALIZABLE" : "";
        break;
    }
  }
  if (tx.read_only) {
    text += " READ ONLY";
  } else if (tx.read_write_explicit && is_primary) {
    text += " READ WRITE";
  }
  if (tx.deferrable) text += " DEFERRABLE";
  return text;
}

// Queues whatever the link must be told first. `waiting`: something of it has to be acknowledged before going on.
Session::Next Session::bring_up(pool::ServerLink& link, bool in_transaction, const vsession::ParameterSetPtr& instead) {
  if (link.cancels_in_flight > 0) return wait_for_cancel(link);
  backend::Link& raw = *link.link;
  pool::LinkMemory& memory = link.memory;
  link.untouched = false;
  // The end of an old transaction that is still under way leaves the link at I.
  const char status = raw.ledger().empty() ? raw.status() : 'I';
  if (status == 'E') return Next::served;                      // a failed transaction takes nothing but its end
  const bool joined = parts_.part(raw.key().node) != nullptr;  // it takes part in the open transaction already
  bool acknowledge = cache_ && status == 'I' && !joined && cache_->asks_defaults(link);
  bool told_later = acknowledge;  // behind the answers to what is sent here
  const vsession::ParameterSetPtr& wanted = joined ? vs_.parameters() : instead ? instead : vs_.base_parameters();
  if (wanted == instead) link.retire = true;  // should the statement fail, the link has not what the session has
  if (memory.parameters->fingerprint() != wanted->fingerprint()) {
    if (joined) link.retire = true;  // what is set within a transaction here would outlive it in ways not followed
    const bool clean = memory.parameters->all().empty() && wanted == identity_->startup;
    vsession::Replay made;
    if (!clean) made = vsession::replay(*memory.parameters, *wanted);
    const vsession::Replay& replay = clean ? identity_->from_nothing() : made;
    acknowledge |= !replay.acknowledged.empty();
    const Note note = acknowledge || greeting_ != nullptr ? kNoteAcknowledged : kNoteReplay;
    std::size_t left = replay.acknowledged.size() + replay.ahead.size();
    told_later |= left != 0;
    for (const auto* part : {&replay.acknowledged, &replay.ahead}) {
      for (const std::string& sql : *part)
        raw.send_query(sql, backend::Fate::swallow, note, --left == 0 ? kLastOfReplay : std::uint16_t{});
    }
    memory.parameters = wanted;
  }
  const bool begins = in_transaction && !joined && vs_.state().tx.status != vsession::TxStatus::idle;
  told_later |= begins || !raw.ledger().empty();
  if (!told_later) tell_reported(link);
  if (run_) run_->named_error.reset();
  bring_up_named(link);
  if (acknowledge) {
    run().replay_error.reset();
    wait_for_our_own(Phase::replaying, raw);
    raw.flush();
    return Next::waiting;
  }
  if (!instead) replay_refused_ = false;
  if (in_transaction) join(link, status);
  return Next::served;
}

// What the transaction needs there before a statement of it.
void Session::join(pool::ServerLink& link, char status) {
  using Ahead = vsession::TransactionLinks::Ahead;
  backend::Link& raw = *link.link;
  const NodeId node = raw.key().node;
  const Ahead ahead = parts_.before(node, vs_.state().tx);
  if (ahead == Ahead::begin || ahead == Ahead::begin_and_fail) {
    if (status != 'I') return;
    const std::vector<std::string> settings = vs_.transaction_settings();
    raw.send_query(begin_text(link), backend::Fate::swallow, kNoteReplay,
                   settings.empty() ? kLastOfReplay : std::uint16_t{});
    parts_.joined(node, link.memory.parameters, vs_.session_parameters());
    for (const std::string& sql : settings)
      raw.send_query(sql, backend::Fate::swallow, kNoteReplay,
                     &sql == &settings.back() ? kLastOfReplay : std::uint16_t{});
    link.memory.parameters = vs_.parameters();
  }
  // The session's transaction has failed where this server does not know of it. What is sent is sure to fail: the
  // server then refuses what follows, and COMMIT becomes ROLLBACK. A ROLLBACK needs no such help.
  const bool only_back = work().ends_transaction && !work().may_commit;
  if ((ahead == Ahead::fail || ahead == Ahead::begin_and_fail) && !only_back) {
    raw.send_query("ROLLBACK TO SAVEPOINT hg_failed", backend::Fate::swallow, kNoteSecondary);
    parts_.failed(node);
  }
}

// What a server refuses to set again must not keep a session from setting it anew: of statements that do nothing else,
// the old values of what they set are left out. Null: there are others, or nothing is left out.
vsession::ParameterSetPtr Session::without_overwritten(const sql::Facts& facts) const {
  return vs_.base_without(facts.statements);
}

vsession::ParameterSetPtr Session::without_overwritten(ByteView unit) {
  const sql::ParseOptions options{vs_.standard_conforming_strings(), vs_.ascii_safe_encoding()};
  std::shared_ptr<const sql::Facts> only;
  for (ByteView rest = unit; rest.size() >= wire::kHeaderBytes;) {
    const Frame frame = first_frame(rest);
    rest.remove_prefix(frame.whole.size());
    std::shared_ptr<const sql::Facts> facts;
    if (frame.type == wire::fe::kParse) {
      const auto parse = wire::parse_parse(frame.payload);
      if (parse) facts = worker_.facts().facts(parse->query, options);
    } else if (frame.type == wire::fe::kBind) {
      const auto bind = wire::parse_bind_head(frame.payload);
      const vsession::PreparedPtr known = bind && *bind ? vs_.find_prepared((*bind)->statement) : nullptr;
      if (known && !only) facts = known->facts;
    }
    if (!facts || (!facts->multi() && facts->first().kind == sql::Kind::begin)) continue;
    if (only && facts != only) return nullptr;
    only = facts;
  }
  return only ? without_overwritten(*only) : nullptr;
}

// Whatever we ask or set ourselves the client cannot cancel, so it ends by itself.
void Session::wait_for_our_own(Phase phase, const backend::Link& link) {
  phase_ = phase;
  own_link_ = &link;
  own_since_ = worker_.loop().now();
  // One timer for many waits: nearly all of them are over in a moment.
  if (own_timer_ == 0) own_timer_ = worker_.loop().after(kOwnTimeout, [this] { own_wait_over(); });
}

// For what we have asked or set there ourselves. On another link something of an earlier request may be under way
// still: where we answered ourselves, what brings it up.
bool Session::waits_for(const backend::Link& link) const {
  const bool ahead = run_ && run_->unit.ahead && run_->unit.link->link.get() == &link;
  return ahead || ((phase_ == Phase::replaying || phase_ == Phase::lookup) && own_link_ == &link);
}

void Session::own_wait_over() {
  own_timer_ = 0;
  if (phase_ != Phase::lookup && phase_ != Phase::replaying) return;
  const Duration left = own_since_ + kOwnTimeout - worker_.loop().now();
  if (left > Duration::zero()) {
    own_timer_ = worker_.loop().after(left, [this] { own_wait_over(); });
    return;
  }
  std::vector<pool::ServerLink*> owing;
  std::copy_if(links_.begin(), links_.end(), std::back_inserter(owing),
               [](const pool::ServerLink* link) { return !link->parting && !link->link->ledger().empty(); });
  if (owing.empty()) return;
  const NodeId node = owing.front()->link->key().node;
  const std::string reason = fmt::format("no answer within {} s", kOwnTimeout / std::chrono::seconds(1));
  wire::Report report = no_answer_to_us(node, phase_ == Phase::lookup, reason);
  worker_.workers().hint_node_trouble(node, reason, {});
  if (greeting_ || vs_.state().pins != 0) {
    report.severity = "FATAL";
    return end(report);
  }
  for (pool::ServerLink* link : owing) drop_link(*link, Error{backend::Errc::timed_out, reason});
  phase_ = Phase::idle;
  drop_request_from_input();
  fail_request(report);
  go_on();
}

// Makes the link's statements under clients' own names those of the session. All of SQL's PREPARE are to be there. One
// that is refused here (a table in it is gone) concerns only its EXECUTE, which has it tried again: what it needs may
// be there by then.
void Session::bring_up_named(pool::ServerLink& link) {
  pool::LinkMemory& memory = link.memory;
  for (auto it = memory.named.begin(); it != memory.named.end();) {
    const vsession::PreparedPtr wanted = memory.named_owner == id_ ? vs_.find_prepared(it->first) : nullptr;
    if (wanted && wanted->id == it->second.id) {
      ++it;
      continue;
    }
    if (!it->second.refused)
      link.link->send_query("DEALLOCATE " + quoted_name(it->first), backend::Fate::swallow, kNoteNamed);
    it = memory.named.erase(it);
  }
  if (vs_.prepared_by_sql() == 0) return;
  memory.named_owner = id_;
  if (link.link->ledger().empty()) memory.naming.clear();
  for (const auto& [name, statement] : vs_.prepared()) {
    if (!statement->from_sql) continue;
    const auto [at, fresh] = memory.named.try_emplace(name, pool::NamedStatement{statement->id});
    const bool executed = name == work().executed;
    if (!fresh && !(at->second.refused && executed)) continue;
    // Beyond what a link may owe its EXECUTE has it prepared.
    at->second.refused = !executed && !link.link->ledger().may_owe(kMostOwedByNamed);
    if (at->second.refused) continue;
    memory.naming.push_back(name);
    const bool joined = parts_.part(link.link->key().node) != nullptr;
    const vsession::ReadAs read = read_as(*statement->read_under, *memory.parameters, joined);
    for (const std::string& sql : read.before) link.link->send_query(sql, backend::Fate::swallow, kNoteReplay);
    link.link->send_query(statement->query, backend::Fate::swallow, kNoteNamed,
                          static_cast<std::uint16_t>(memory.naming.size()));
    for (const std::string& sql : read.after) link.link->send_query(sql, backend::Fate::swallow, kNoteReplay);
  }
}

void Session::release_links(bool session_ends) {
  if (links_.empty()) return;
  const bool keeps = settings().pool_mode == config::PoolMode::session || vs_.state().pins != 0 || greeting_ != nullptr;
  if (!session_ends && keeps) {
    const bool pinned = vs_.state().pins != 0;
    for (std::size_t i = links_.size(); i-- > 0;) {
      pool::ServerLink& link = *links_[i];
      if (pinned || !link.memory.pins.empty()) link.memory.pins = vsession::pin_names(vs_.state().pins);
      // What is on it is in doubt: it is not used again, unless something of the session hangs on it.
      if (link.retire && !pinned && link.link->ledger().empty() && !greeting_)
        drop_link(link, Error{backend::Errc::closed_by_us, "its state is in doubt"});
    }
    return;
  }
  const bool was_pinned = vs_.state().pins != 0;
  const auto stays = [session_ends](const pool::ServerLink& link) {
    // Something of the old transaction is still on its way back: it follows when that has come.
    return !session_ends && (!link.link->ledger().empty() || link.link->half_sent());
  };
  const bool clean_up = session_ends && (settings().pool_mode == config::PoolMode::session || was_pinned);
  if (links_.size() == 1) {  // nearly always: the list keeps its place for the next
    if (stays(*links_.front())) return;
    pool::ServerLink& only = *links_.front();
    links_.clear();
    return give_back(only, clean_up);
  }
  std::vector<pool::ServerLink*> staying;
  const std::vector<pool::ServerLink*> going = std::move(links_);
  for (pool::ServerLink* link : going) {
    if (stays(*link)) {
      staying.push_back(link);
      continue;
    }
    give_back(*link, clean_up);
  }
  links_ = std::move(staying);
  if (links_.empty()) std::vector<pool::ServerLink*>().swap(links_);
}

void Session::give_back(pool::ServerLink& link, bool session_ends) {
  pool::Return how;
  how.session_ends = session_ends;
  how.pinned = session_ends && settings().pool_mode != config::PoolMode::session;
  how.dirty = vs_.state().pins != 0 || !link.memory.named.empty() || !link.memory.parameters->all().empty() ||
              link.memory.interned.size() > 0 || link.memory.wrote;
  worker_.pool().give_back(link, how);
}

void Session::drop_link(pool::ServerLink& link, const Error& why) {
  std::erase(links_, &link);
  if (!link.parting) parts_.leave(link.link->key().node);
  if (at_work() == &link) run_->work.link = nullptr;
  if (unit_link() == &link) run_->unit.link = nullptr;
  worker_.pool().discard(link, why);
}

void Session::send_ends(const vsession::TransactionLinks::Ends& ends) {
  for (const vsession::TransactionLinks::End& end : ends) {
    pool::ServerLink* link = held(end.node);
    if (link == nullptr) continue;
    link->memory.parameters = end.leaves;
    link->link->send_query(end.commit ? "COMMIT" : "ROLLBACK", backend::Fate::swallow, kNoteSecondary);
    link->link->flush();  // may lose it
  }
}

NodeId Session::lb_node() {
  const vsession::SessionState& state = vs_.state();
  const cluster::Node* now = view().find(state.lb_node);
  const bool anew = settings().statement_level_load_balance && state.tx.status == vsession::TxStatus::idle;
  NodeId avoid = view().primary_awaited ? view().primary : kNoNode;
  // What is for the primary now says nothing about the reads that follow.
  if (run_ && run_->work.avoid != kNoNode && !run_->work.on_primary) avoid = run_->work.avoid;
  if (now != nullptr && now->live() && !anew && (state.lb_node != avoid || avoid == kNoNode)) return state.lb_node;
  const route::LbInput input{view(),
                             settings(),
                             identity_->user,
                             identity_->database,
                             identity_->application,
                             worker_.random().fraction(),
                             worker_.random().fraction(),
                             avoid};
  vs_.read_from(route::choose_lb_node(input).node);
  return state.lb_node;
}

// Up to when a standby shows, over this link, whatever was committed.
std::optional<TimePoint> Session::shown_by(const pool::ServerLink& link) const {
  const cluster::Node* standby = view().find(link.link->key().node);
  if (standby == nullptr || !standby->replayed_to || link.created > standby->replayed_to->asked) return std::nullopt;
  return standby->replayed_to->moment;
}

// Names may mean to it what they mean to nobody else. (As to what its open transaction has defined: see path_key().)
bool Session::has_own_names() const { return vs_.state().has(vsession::Pin::temporary_table); }

// Something may have been set that we have not seen, on a link that it has. In session mode that lasts; else the link
// is reset when it is given back.
bool Session::state_unknown() const {
  if (vs_.state().has(vsession::Pin::unparsed_state) || vs_.state().has(vsession::Pin::load)) return true;
  if (cache_ && cache_->unknown_state() && settings().pool_mode == config::PoolMode::session) return true;
  return std::any_of(links_.begin(), links_.end(), [](const pool::ServerLink* link) { return link->memory.unseen; });
}

// The plan is about to be carried out there.
void Session::note_unseen(pool::ServerLink& link) const {
  link.memory.unseen |= run_->work.plan.unseen;
  link.memory.opaque |= run_->work.plan.opaque;
  link.memory.wrote |= run_->work.plan.write && !run_->work.plan.idless;
}

// For the route alone it is enough that others do not get what it means by a name: its reads may go where that is as
// everybody has it.
catalog::Viewpoint Session::viewpoint() const {
  using Path = catalog::Viewpoint::Path;
  const Path path = !state_unknown() ? Path::known : cache_ ? Path::own : Path::not_kept;
  return catalog::Viewpoint{identity_->database, role(), path_key(), has_own_names(), path};
}

}  // namespace herdgate::session
