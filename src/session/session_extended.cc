// Extended protocol: units of Parse … Sync. Routing looks at all statements of a unit and sends it to one node.
#include <algorithm>
#include <set>

#include "base/sqlstate.h"
#include "session/own_commands.h"
#include "session/session.h"
#include "session/session_log.h"
#include "session/unit_writer.h"
#include "session/words.h"
#include "wire/frontend.h"

namespace herdgate::session {
namespace {
using sql::Kind;
using vsession::TxStatus;

bool is_own_command(const vsession::PreparedPtr& statement) {
  return statement && statement->facts && statement->facts->first().kind == Kind::pool_command;
}

// Bound there, or parsed for the Bind that comes next.
bool is_run(const std::vector<UnitMessage>& list, std::size_t at) {
  if (list[at].type != wire::fe::kParse) return list[at].type == wire::fe::kBind;
  const auto parse = wire::parse_parse(list[at].payload());
  do ++at;
  while (at < list.size() && list[at].type == wire::fe::kDescribe);
  return at < list.size() && list[at].type == wire::fe::kBind && list[at].statement == parse->statement;
}

// EXECUTE, also below EXPLAIN and CREATE TABLE AS.
bool executes(const sql::Statement& statement) {
  return statement.kind != Kind::prepare && statement.kind != Kind::deallocate && !statement.names_prepared().empty();
}

// The stricter of two plans: what must not leave the primary takes the whole unit there.
void combine(route::Plan& into, const route::Plan& other, NodeId write_node) {
  if (into.node == kNoNode) {
    into = other;
    return;
  }
  const bool differs = other.node != into.node;
  into.idless = (into.idless || !into.write) && (other.idless || !other.write);
  into.write = into.write || other.write;
  into.opaque = into.opaque || other.opaque;
  into.unseen = into.unseen || other.unseen;
  into.rerunnable = into.rerunnable && other.rerunnable;
  const bool stays = std::exchange(into.stays, into.stays || other.stays);
  const bool both = std::exchange(into.both, into.both && other.both);
  if (!differs || (other.both && !other.stays)) return;
  if (both && !stays) {
    into.node = other.node;
    into.rule = other.rule;
    return;
  }
  into.node = write_node;
  if (other.node == write_node) into.rule = other.rule;
}

// The plan of one more statement to what the ones before it made.
void add(std::optional<route::Plan>& whole, const route::Plan& plan, NodeId write_node) {
  if (!whole) {
    whole = plan;
  } else {
    combine(*whole, plan, write_node);
  }
}

}  // namespace

// Names in a unit. Most clients use the empty one.
class Session::NameSet {
 public:
  void add(std::string_view name) {
    if (name.empty()) {
      unnamed_ = true;
    } else {
      named_.emplace(name);
    }
  }
  bool contains(std::string_view name) const {
    return name.empty() ? unnamed_ : !named_.empty() && named_.contains(name);
  }

 private:
  bool unnamed_ = false;
  std::set<std::string_view> named_;  // views into the unit
};

Session::Next Session::serve_unit(ByteView input, std::size_t& used) {
  Worker& worker = worker_;
  UnitMessages messages = worker.lend_messages();
  take_apart(input, messages.list);
  messages.statements = vs_.prepared_changes();
  const std::size_t before = used;
  const Next next = serve_messages(input, messages, used);
  if (run_) {
    run_->unit.taken(used - before);
    run_->work.waits = next == Next::waiting && used == before;
  }
  worker.take_back(std::move(messages));
  return next;
}

Session::Next Session::serve_messages(ByteView input, UnitMessages& messages, std::size_t& used) {
  if (unit_skips()) {
    used += input.size();
    rest_follows();
    if (work().request.synced) {
      unit().skip = false;
      say_ready();
      finish_request();
    }
    return Next::served;
  }
  if (pending_error_ && !unit_open() && tell_of_loss(messages)) {
    used += input.size();
    return Next::served;
  }
  if (work().planned) return run_unit(input, messages, used);
  if (own().log_client_messages(settings())) log_messages(input, messages);
  const ByteView local = unit_open() ? ByteView() : local_part(input, messages);
  if (!local.empty()) {
    if (const Next next = plan_explained_in(local); next != Next::served) return next;
    used += local.size();
    OwnCommands(*this).answer_unit(local);
    return Next::served;
  }
  if (!unit_open() && begin_or_end_by_unit(messages)) {
    used += input.size();
    finish_request();
    return Next::served;
  }
  if (cache_ && !unit_open() && cache_->answer_unit(messages)) {
    used += input.size();
    finish_request();
    return Next::served;
  }
  if (phase_ == Phase::asking) return Next::waiting;
  if (const Next next = plan_unit(messages); next != Next::served) return next;
  return run_unit(input, messages, used);
}

// Each message once, also where the unit is served again because it waited, or is cut.
void Session::log_messages(ByteView input, const UnitMessages& messages) {
  for (const UnitMessage& message : messages.list) {
    const auto at = static_cast<std::size_t>(message.whole.data() - input.data());
    if (at >= unit().logged) log_client_message(worker_.log(), who_, true, message.whole);
  }
  unit().logged = std::max(unit().logged, input.size());
}

// What its name means now.
const vsession::PreparedPtr& Session::named_in(const UnitMessage& message, const UnitMessages& of) const {
  if (message.known != nullptr && of.statements == vs_.prepared_changes()) return *message.known;
  return vs_.find_prepared(message.statement);
}

// Null: the message is malformed.
const std::shared_ptr<const sql::Facts>& Session::facts_of(UnitMessage& message) {
  if (message.facts) return message.facts;
  const sql::ParseOptions options{vs_.standard_conforming_strings(), vs_.ascii_safe_encoding()};
  if (auto parse = wire::parse_parse(message.payload())) message.facts = worker_.facts().facts(parse->query, options);
  return message.facts;
}

// How much at the head of the unit needs no server: all of it, where that is nothing but own commands, Close of
// statements, and Sync; else what comes ahead of a server's statements, if it begins with an own command.
ByteView Session::local_part(ByteView input, UnitMessages& messages) {
  NameSet parsed, bound;
  for (UnitMessage& message : messages.list) {
    if (needs_no_server(message, parsed, bound)) continue;
    const char first = messages.list.front().type;
    if (first != wire::fe::kParse && first != wire::fe::kBind) return {};
    return input.substr(0, static_cast<std::size_t>(message.whole.data() - input.data()));
  }
  return input;
}

// Of a unit: behind others for which the same is true, among which were these Parses and Binds.
bool Session::needs_no_server(UnitMessage& message, NameSet& parsed, NameSet& bound) {
  if (!message.good()) return false;
  switch (message.type) {
    case wire::fe::kSync:
    case wire::fe::kFlush:
      return true;
    case wire::fe::kParse: {
      const auto& facts = facts_of(message);
      if (!facts || facts->first().kind != Kind::pool_command) return false;
      parsed.add(wire::parse_parse(message.payload())->statement);
      return true;
    }
    case wire::fe::kBind:
      if (!parsed.contains(message.statement)) {
        message.known = &vs_.find_prepared(message.statement);
        if (!is_own_command(*message.known)) return false;
      }
      bound.add(message.portal);
      return wire::parse_bind(message.payload()).has_value();
    case wire::fe::kClose: {
      if (message.what == 'P') return links_.empty();
      const vsession::PreparedPtr& known = vs_.find_prepared(message.statement);
      return !known || !known->from_sql;
    }
    case wire::fe::kDescribe:
      if (message.what == 'P') return bound.contains(message.portal);
      return parsed.contains(message.statement) || is_own_command(vs_.find_prepared(message.statement));
    case wire::fe::kExecute:
      return bound.contains(message.portal);
    default:
      return false;
  }
}

// What PGPOOL EXPLAIN ROUTE has to ask the catalog is asked before the unit is answered as a whole.
Session::Next Session::plan_explained_in(ByteView messages) {
  for (ByteView rest = messages; rest.size() >= wire::kHeaderBytes;) {
    const Frame frame = first_frame(rest);
    rest.remove_prefix(frame.whole.size());
    std::string_view text;
    vsession::PreparedPtr known;
    if (frame.type == wire::fe::kParse) {
      text = wire::parse_parse(frame.payload)->query;
    } else if (frame.type == wire::fe::kBind) {
      known = vs_.find_prepared(wire::parse_bind(frame.payload)->statement);
      if (known) text = known->query;
    }
    Explained ahead;
    std::string_view explained;
    const sql::ParseOptions options{vs_.standard_conforming_strings(), vs_.ascii_safe_encoding()};
    if (text.empty()) continue;
    const auto facts = worker_.facts().facts(text, options);
    if (const Next next = delete_from_cache(facts->first()); next != Next::served) return next;
    if (!OwnCommands::is_explain_route(facts->first(), text, explained)) continue;
    if (const Next next = plan_explained(explained, ahead); next != Next::served) return next;
  }
  return Next::served;
}

// What SQL has prepared something unseen may have replaced by another statement of its name; a portal that we do not
// know may be one of SQL's, one beyond TransactionLinks::kMaxPortals, or one whose Close was skipped.
const vsession::PreparedPtr& Session::may_be_anything() {
  static const vsession::PreparedPtr kAnything = [] {
    auto facts = std::make_shared<sql::Facts>();
    facts->statements.emplace_back().kind = Kind::unparsable;
    auto statement = std::make_shared<vsession::PreparedStatement>();
    statement->facts = std::move(facts);
    return statement;
  }();
  return kAnything;
}

// What the messages of a unit have said so far.
struct Session::Seen {
  NameSet parsed, bound;
  bool binds = false, runs = false;                          // Bind; that or Execute
  bool prepares = false, executes = false, renamed = false;  // by SQL; see runs_renamed()
  Begins begins;
};

// A message's statement, if there is something to plan.
struct Session::Planned {
  const sql::Facts* facts = nullptr;
  std::string_view text;
  NodeId node = kNoNode;  // of the portal that it goes on with
  bool ends = false;      // the transaction
  bool sets = false;      // options of it
  bool operator==(const Planned&) const = default;
};

Session::Planned Session::planned_in(UnitMessage& message, Seen& seen) {
  if (message.type == wire::fe::kParse) {
    const auto& facts = facts_of(message);
    if (!facts) return {};
    const auto parse = wire::parse_parse(message.payload());
    seen.parsed.add(parse->statement);
    return {facts.get(), parse->query};
  }
  const bool binds = message.type == wire::fe::kBind;
  const bool describes = message.type == wire::fe::kDescribe;
  if (!message.good() || (!binds && !describes && message.type != wire::fe::kExecute)) return {};
  if (!describes) seen.runs = true;
  if (binds) {
    seen.binds = true;
    seen.bound.add(message.portal);
  }
  if (binds || (describes && message.what == 'S')) {
    const vsession::PreparedPtr& statement =
        message.known != nullptr ? *message.known : vs_.find_prepared(message.statement);
    if (!statement || seen.parsed.contains(message.statement)) return {};
    message.known = &statement;
    if (statement->from_sql && state_unknown()) return {may_be_anything()->facts.get(), statement->query};
    return {statement->facts.get(), statement->query};
  }
  const vsession::Portal* known = parts_.portal(message.portal);
  if (seen.bound.contains(message.portal)) return {};
  if (known == nullptr) return {describes ? nullptr : may_be_anything()->facts.get(), {}};
  return {known->statement->facts.get(), known->statement->query, known->node};
}

// A unit is planned before any of it runs: what EXECUTE finds by its name may be what another part of the unit
// prepares. True once.
bool Session::runs_renamed(const sql::Statement& part, Seen& seen) {
  const bool by_name = executes(part);
  const sql::Statement* body = by_name ? prepared_statement(part) : nullptr;
  seen.executes |= by_name;
  seen.prepares |= part.kind == Kind::prepare || (body != nullptr && body->kind == Kind::prepare);
  return seen.executes && seen.prepares && !std::exchange(seen.renamed, true);
}

void Session::begins_with(Seen& seen, const sql::Facts& facts) {
  seen.begins.see(facts.first().kind);
  work().begins = seen.begins;
}

// The beginning of the unit has settled where it goes, not what its other parts do there. `more`: there is a statement
// in this one.
void Session::keep_to_unit(const route::Plan& before, bool more) {
  route::Plan& plan = work().plan;
  plan.idless = (plan.idless || !plan.write) && (before.idless || !before.write);
  plan.write = plan.write || before.write;
  plan.opaque = plan.opaque || before.opaque;
  plan.unseen = plan.unseen || before.unseen;
  plan.rerunnable = false;
  plan.both = !more && (plan.both || work().chained);  // of the transaction of now nothing has run: nothing is settled
  plan.node = unit_link()->link->key().node;
  plan.rule = route::Rule::cut_unit;
  work().planned = true;
}

// A link of the transaction, or an earlier commit, was lost while nobody asked. False: the client wants to go back
// anyway.
bool Session::tell_of_loss(UnitMessages& messages) {
  Seen seen;
  bool ends = false, only_back = true, heard = false;
  for (UnitMessage& message : messages.list) {
    const Planned statement = planned_in(message, seen);
    if (statement.facts == nullptr) continue;
    const Kind kind = statement.facts->first().kind;
    begins_with(seen, *statement.facts);
    ends = ends_transaction(kind);
    if (ends && !heard && pending_error_->had_failed) return false;  // what follows is in another one
    only_back = only_back && kind == Kind::rollback;
    heard = heard || hears_of_loss(kind);
    if (!ends && heard) break;
  }
  if (!heard && (!pending_error_->of_transaction || pending_error_->had_failed)) return false;
  if (ends && only_back && seen.binds && work().request.synced) {
    forget_pending_of_transaction();
    return false;
  }
  work().ends_transaction = ends && seen.binds;
  rest_follows();
  fail_request(std::exchange(pending_error_, nullptr)->report);
  return true;
}

// What the planning of a unit has come to.
struct Session::UnitPlan {
  std::optional<route::Plan> before;  // of its beginning, and of all statements but the last
  Seen seen;
  Planned last;  // pipelines run one statement many times: what was planned last is not again
  NodeId portal_node = kNoNode;
  bool only_ends = true;
  bool ended = false;  // the transaction that was open, behind nothing that reads in its snapshot
};

// What comes behind it in the unit is in this transaction, or in none.
void Session::plan_behind(const Planned& part) {
  const sql::Statement& statement = part.facts->first();
  std::optional<vsession::SessionState>& behind = work().behind;
  const TxStatus status = state_to_plan_by().tx.status;
  const bool begins = statement.kind == Kind::begin && status == TxStatus::idle;
  if ((begins || part.ends || (part.sets && status == TxStatus::open)) && !behind) behind = vs_.state();
  if (begins) vsession::begin_transaction(*behind);
  if (behind && (begins || part.sets)) vsession::apply_options(behind->tx, statement);
  if (!part.ends) return;
  behind->tx = {};
  behind->tx_node = kNoNode;
}

Session::Next Session::plan_part(const Planned& part, UnitPlan& unit) {
  const NodeId write_node = view().write_node();
  if (unit.last.facts != nullptr) add(unit.before, work().plan, write_node);
  begins_with(unit.seen, *part.facts);
  if (const Next next = plan_query(*part.facts, part.text); next != Next::served) return next;
  if (part.node != kNoNode) {
    unit.portal_node = work().plan.node = part.node;
    work().plan.both = false;
  }
  if (ends_where_it_is()) {  // whoever reads in the same unit follows it there
    work().plan.node = parts_.carrier(write_node);
    work().plan.stays = true;
  }
  if (part.sets && parts_.part(write_node) != nullptr) work().plan.stays = true;  // its part is to hear of it
  plan_behind(part);
  unit.only_ends = unit.only_ends && work().ends_transaction;
  unit.ended = unit.ended || part.ends;
  unit.last = part;
  work().planned = false;
  return Next::served;
}

// One after the other, each as behind those before it.
Session::Next Session::plan_parts(UnitMessages& messages, UnitPlan& unit) {
  const bool ends = work().ends, may_commit = work().may_commit;
  const bool open = vs_.state().tx.status != TxStatus::idle, one_snapshot = transaction_node() != kNoNode;
  Next next = Next::served;
  for (std::size_t i = 0; i < messages.list.size(); ++i) {
    Planned part = planned_in(messages.list[i], unit.seen);
    if (part.facts == nullptr) continue;
    const sql::Statement& statement = part.facts->first();
    // What reads ahead of the end needs its snapshot: the unit stays there as a whole.
    const bool may_leave = !one_snapshot || unit.only_ends || unit.ended;
    const bool counts = !open || (may_leave && is_run(messages.list, i));
    part.ends = ends_transaction(statement.kind) && !statement.transaction.chain && counts;
    part.sets = vsession::sets_options(statement) && is_run(messages.list, i);
    if (part == unit.last) continue;
    next = plan_part(part, unit);
    if (next == Next::served && runs_renamed(part.facts->first(), unit.seen))
      next = plan_part({may_be_anything()->facts.get(), part.text}, unit);
    if (next != Next::served) break;
  }
  work().behind.reset();
  if (next != Next::served || !unit.seen.runs) {  // to be planned again; or only prepared
    work().ends = ends;
    work().may_commit = may_commit;
  }
  return next;
}

Session::Next Session::plan_unit(UnitMessages& messages) {
  const bool begun = unit_link() != nullptr;
  const NodeId write_node = view().write_node();
  UnitPlan unit;
  if (begun) unit.before = work().plan;
  if (const Next next = plan_parts(messages, unit); next != Next::served) return next;
  route::Plan& whole = work().plan;
  if (unit.before) {
    if (unit.last.facts != nullptr) combine(*unit.before, whole, write_node);
    whole = std::move(*unit.before);
  }
  if ((unit.last.facts == nullptr && !begun) || whole.node == kNoNode)
    whole = route::Plan{.node = write_node, .rule = route::Rule::class_primary};
  if (begun) {
    keep_to_unit(whole, unit.last.facts != nullptr);
    return Next::served;
  }
  const bool synced = work().request.synced;
  if (unit.portal_node != kNoNode && (!synced || !whole.write)) {
    whole.node = unit.portal_node;  // the portal is nowhere else
  } else if (!synced && (unit.ended || vs_.state().tx_node == kNoNode)) {
    whole.node = write_node;  // what is still to come may write
  }
  if (!synced) {
    whole.rule = route::Rule::cut_unit;
    whole.rerunnable = false;
  }
  work().ends_transaction = unit.only_ends && unit.seen.binds;
  if (!unit.seen.binds) work().begins = {};  // only prepared
  work().planned = true;
  return Next::served;
}

// What comes ahead of a statement that has to be asked about is sent, the rest when that is answered.
void Session::cut_unit(UnitMessages& messages, std::size_t until, ByteView& input) {
  const char* end = messages.list[until].whole.data();
  input = input.substr(0, static_cast<std::size_t>(end - input.data()));
  messages.list.resize(until);
  work().request.synced = false;
  work().plan.rule = route::Rule::cut_unit;
  work().plan.rerunnable = false;
}

Session::Next Session::run_unit(ByteView input, UnitMessages& messages, std::size_t& used) {
  pool::ServerLink* link = nullptr;
  if (const Next next = take_link(link, used); link == nullptr) return next;
  if (stalls(*link->link, input.size())) return Next::waiting;
  if (cache_ && cache_->waits_for_unit(messages)) return Next::waiting;
  const bool open = vs_.state().tx.status != TxStatus::idle;
  if (!unit_open()) {
    const vsession::ParameterSetPtr instead = replay_refused_ ? without_overwritten(input) : nullptr;
    if (const Next next = bring_up(*link, open, instead); next != Next::served) return next;
  }
  const std::size_t until = first_to_describe(messages, *link);
  if (until == 0) {
    describe_ahead(named_in(messages.list.front(), messages), *link);
    return Next::waiting;
  }
  if (until < messages.list.size()) cut_unit(messages, until, input);
  const bool whole = work().request.synced && (!unit_open() || unit().ahead);
  unit().ahead = false;
  if (whole && !work().plan.write && work().copy.empty()) work().copy.assign(input);
  note_unseen(*link);
  if (work().plan.write) send_ends(parts_.writes_at(link->link->key().node));
  if (cache_) cache_->sending_unit(messages, link->link->key().node);
  work().link = link;
  phase_ = Phase::running;
  UnitWriter writer(*this, *link, whole && work().plan.write && settings().commit_outcome_check);
  const UnitWriter::Written written = writer.write(messages);
  used += written.bytes;
  unit().hold = written.hold;
  // A Parse would find its name taken; of a unit that is cut only the rest is left.
  if (written.defines || !written.synced) work().copy.clear();
  work().request.synced = written.synced;
  if (!written.synced) {
    unit().open = true;
    work().planned = false;  // what follows is looked at as well
  }
  unit().link = link;
  rest_follows();
  link->link->flush();
  if (written.answered_locally) {  // an error of ours before anything was sent
    unit().open = false;
    work().link = nullptr;
    if (cache_) cache_->ready(/*committed=*/false);
    unit().skip = !written.synced;
    if (written.synced) say_ready();
    finish_request();
    return Next::served;
  }
  if (!written.synced && !written.hold) phase_ = Phase::idle;  // answers are relayed, more messages may follow
  return phase_ == Phase::idle ? Next::served : Next::waiting;
}

// Messages that answer themselves could pile up behind one that takes long, and a server keeps its replies until a
// Flush or a full buffer: with too many owed, the rest of the unit waits until some have come.
bool Session::stalls(backend::Link& link, std::size_t unit_bytes) {
  const std::size_t most =
      3 * (std::min(unit_bytes, kMaxUnitBytes) / wire::kHeaderBytes) + UnitWriter::most_owed(*this);
  if (link.ledger().empty() && unit().is_full(most)) unit().forget_items();
  const bool room = link.ledger().may_owe(most) && !unit().is_full(most) && run().aside.size() <= kMostAside;
  if (!room && !unit().stalled) {
    Bytes flush;
    wire::put_empty(flush, wire::fe::kFlush);
    link.send_unanswered(flush);
    link.flush();
  }
  unit().stalled = !room;
  return unit().stalled;
}

// The client's Parse had no effect: the name is free again. Of the unnamed statement a Parse that fails leaves nothing,
// one that is skipped leaves what was there.
void Session::unit_parse_undone(std::size_t item, backend::Ended how) {
  if (item >= unit().items.size() || !unit().items[item]) return;
  const vsession::PreparedPtr undone = unit().items[item];
  unit().undone.push_back(undone->generation);
  vsession::PreparedPtr before;
  std::vector<Unit::Replaced>& replaced = unit().replaced;
  for (const Unit::Replaced& one : replaced) {
    if (one.by == undone && how == backend::Ended::skipped) before = one.before;
  }
  for (Unit::Replaced& one : replaced) {
    if (one.before == undone) one.before = before;
  }
  if (vs_.find_prepared(undone->name) != undone) return;
  vs_.close_prepared(std::string(undone->name));
  if (before) vs_.close_undone(before);
}

// A Close was skipped. If the Parse before it was too, there is nothing to be had back.
void Session::unit_close_undone(std::size_t item) { close_undone(unit().items[item]); }

void Session::close_undone(const vsession::PreparedPtr& closed) {
  const std::vector<std::uint64_t>& undone = unit().undone;
  if (!std::binary_search(undone.begin(), undone.end(), closed->generation)) vs_.close_undone(closed);
}

// A Parse was refused or skipped, and so may have been the Close ahead of it: before the next Parse it is closed.
void Session::may_be_there(pool::ServerLink& server, const std::string& name) {
  constexpr std::size_t kMostClosed = 1000;
  if (name.empty()) return;  // a skipped Parse leaves the unnamed statement that was there
  server.memory.interned.remove(name);
  if (server.memory.to_close.size() < kMostClosed) {
    server.memory.to_close.push_back(name);
  } else {
    server.retire = true;
  }
}

void Session::unit_item_ended(backend::Link& link, const backend::Debt& debt, backend::Ended how) {
  const vsession::PreparedPtr& item = unit().items[debt.item];
  if (!item) return;
  if (debt.what == backend::Owes::parse) {
    if (how == backend::Ended::ok) return;
    unit_parse_undone(debt.item, how);
    if (pool::ServerLink* server = of(link)) may_be_there(*server, item->server_name);
    return;
  }
  const bool ok = how == backend::Ended::ok;
  const vsession::PreparedPtr executed = ok ? executed_by(item) : nullptr;
  const std::uint64_t until =
      unit().dropped.empty() ? vsession::VirtualSession::kUntilNow : unit_dropped(link, item, ok);
  if (how == backend::Ended::skipped || !item->facts) return;
  if (!ok && !run().farewell.empty()) return;  // the server's last words: on_lost() says what became of it
  if (!ok && work().rerun) return;             // nobody hears of it: the primary runs it again
  for (const sql::Statement& statement : item->facts->statements) {
    note_done(statement, item->query, ok, item->facts, until);
  }
  if (executed) executed_done(executed, until);
}

// What SQL's EXECUTE has executed, which may have dropped itself.
vsession::PreparedPtr Session::executed_by(const vsession::PreparedPtr& item) {
  if (!item->facts || item->facts->first().kind != Kind::execute) return nullptr;
  const std::string& name = item->facts->first().name;
  for (const Unit::Dropped& one : unit().dropped) {
    if (one.by != item || one.by_close) continue;
    for (const vsession::PreparedPtr& closed : one.closed) {
      if (closed->name == name) return closed;
    }
    break;
  }
  return vs_.find_prepared(name);
}

}  // namespace herdgate::session
