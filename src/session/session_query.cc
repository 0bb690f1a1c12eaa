// Simple queries and function calls: understanding, planning, sending.
#include <algorithm>

#include "base/sqlstate.h"
#include "session/own_commands.h"
#include "session/session.h"
#include "session/session_log.h"
#include "session/words.h"
#include "sql/text_scan.h"
#include "wire/frontend.h"

namespace herdgate::session {
namespace {
using sql::Kind;
using vsession::TxStatus;

bool ends_transaction(Kind kind) {
  return kind == Kind::commit || kind == Kind::rollback || kind == Kind::prepare_transaction;
}

// The statement that EXECUTE or DEALLOCATE wants to find.
std::string_view executed_name(const sql::Statement& statement) {
  return statement.kind == Kind::prepare ? std::string_view() : statement.names_prepared();
}

// A server in copy-in mode takes nothing but data.
bool may_copy(Kind kind) { return kind == Kind::copy_from || kind == Kind::unparsable; }

// What it says may stay although no answer comes. Of a text that could not be parsed nothing is known.
bool may_commit(const sql::Facts& facts) {
  return std::any_of(facts.statements.begin(), facts.statements.end(), [](const sql::Statement& s) {
    return s.kind == Kind::commit || s.kind == Kind::prepare_transaction || s.kind == Kind::commit_prepared ||
           s.kind == Kind::unparsable;
  });
}

bool has_end(const sql::Facts& facts) {
  return std::any_of(facts.statements.begin(), facts.statements.end(),
                     [](const sql::Statement& s) { return ends_transaction(s.kind); });
}

bool keeps_text(const sql::Facts& facts) {
  for (const sql::Statement& statement : facts.statements) {
    if (statement.kind == Kind::set || statement.kind == Kind::prepare || !statement.settings.empty()) return true;
  }
  return false;
}

bool defines_something(const sql::Facts& facts) {
  return std::any_of(facts.statements.begin(), facts.statements.end(),
                     [](const sql::Statement& s) { return s.kind == Kind::ddl || s.into; });
}

std::string_view slice(const sql::Statement& statement, std::string_view text) {
  return statement.length == 0 ? text : text.substr(statement.begin, statement.length);
}

// At most so many octets of it, and whole characters in any encoding: where ASCII octets are nothing else, there is
// none that goes on behind one.
std::string_view beginning_of(std::string_view text, std::size_t most, bool ascii_safe) {
  if (text.size() <= most) return text;
  const auto beyond_ascii = [](char c) { return static_cast<unsigned char>(c) >= 0x80; };
  if (!ascii_safe) {
    const auto begin = text.begin(), end = begin + static_cast<std::ptrdiff_t>(most);
    return {begin, std::find_if(begin, end, beyond_ascii)};
  }
  while (most > 0 && beyond_ascii(text[most - 1]) && beyond_ascii(text[most])) --most;
  return text.substr(0, most);
}

void count(NodeCounters& counters, Kind kind) {
  auto add = [](std::atomic<std::uint64_t>& counter) { counter.fetch_add(1, std::memory_order_relaxed); };
  switch (kind) {
    case Kind::select:
      return add(counters.select);
    case Kind::insert:
      return add(counters.insert);
    case Kind::update:
      return add(counters.update);
    case Kind::delete_:
      return add(counters.del);
    case Kind::ddl:
      return add(counters.ddl);
    default:
      return add(counters.other);
  }
}

}  // namespace

void count_statement(WorkerCounters& counters, NodeId node, Kind kind) {
  if (node.value >= 0 && node.value < kMaxNodes) count(counters.nodes[node.value], kind);
}

// What a simple query says, and the log lines about its coming.
void Session::understand(ByteView input, std::string_view text) {
  note_trace(text);
  log_client_message(worker_.log(), who_, own().log_client_messages(settings()), input);
  if (own().log_statement(settings())) log_statement(worker_.log(), who_, text);
  const sql::ParseOptions options{vs_.standard_conforming_strings(), vs_.ascii_safe_encoding()};
  work().facts = worker_.facts().facts(text, options);
  for (const sql::Statement& statement : work().facts->statements) work().begins.see(statement.kind);
  log_if_unparsable(*work().facts, text);
  if (!unit_open()) vs_.close_prepared("");  // as a server does, whoever answers; amid a unit it may skip the text
}

// In an encoding whose characters cannot be told from quotes no text is parsed, which is not the text's doing.
void Session::log_if_unparsable(const sql::Facts& facts, std::string_view text) {
  if (facts.first().kind == Kind::unparsable && vs_.ascii_safe_encoding())
    log_unparsable(*this, worker_.log(), who_, text);
}

Session::Next Session::serve_query(ByteView input, std::size_t& used) {
  auto text = wire::parse_query(input.substr(wire::kHeaderBytes));
  if (!text) {
    end(protocol_violation("invalid message format"));
    return Next::stop;
  }
  if (!work().facts) understand(input, *text);
  const std::shared_ptr<const sql::Facts> facts = work().facts;
  if (!work().planned && unit_link() != nullptr) {
    const route::Plan before = work().plan;
    if (const Next next = plan_query(*facts, *text); next != Next::served) return next;
    keep_to_unit(before);
  }
  // The transaction this was planned for was lost while it waited.
  if (pending_error_ && !unit_open()) work().planned = false;
  if (!work().planned) {
    Explained ahead;
    std::string_view explained;
    if (OwnCommands::is_explain_route(facts->first(), *text, explained)) {
      if (const Next next = plan_explained(explained, ahead); next != Next::served) return next;
    }
    if (const Next next = delete_from_cache(facts->first()); next != Next::served) return next;
    if (!unit_open() && (answer_locally(*facts, *text) || (cache_ && cache_->answer_query(*facts, *text)))) {
      used += input.size();
      if (phase_ != Phase::idle) return Next::waiting;
      finish_request();
      return Next::served;
    }
    if (phase_ == Phase::asking) return Next::waiting;
    const sql::Statement& first = facts->first();
    const Next next =
        !facts->multi() && first.terminate_pid && settings().backend_clustering_mode != config::ClusteringMode::raw
            ? plan_terminate(*first.terminate_pid)
            : plan_query(*facts, *text);
    if (next != Next::served) return next;
  }
  const NodeId node = node_for(work().plan);
  pool::ServerLink* link = nullptr;
  if (node == kNoNode) {
    fail_request(report_of({Error{backend::Errc::connect_failed, "no node is up"}, {}, {}}, view().primary));
    used += input.size();
    return Next::served;
  }
  if (const Next next = acquire(node, link); next != Next::served) return next;
  // Whose process it ends says nothing about where the transaction is.
  if (!facts->first().terminate_pid) settle_transaction_node(link->link->key().node);
  if (cache_ && cache_->waits_for_query(*facts)) return Next::waiting;
  if (!unit_open()) {
    const vsession::ParameterSetPtr instead = replay_refused_ ? without_overwritten(*facts) : nullptr;
    if (const Next next = bring_up(*link, true, instead); next != Next::served) return next;
  }
  if (!vs_.prepared().empty()) give_own_names(*facts, *link);
  // Kept for running it again, and because SET and PREPARE are replayed in the client's own words.
  if (work().copy.empty() && (input.size() <= kMaxUnitBytes || keeps_text(*facts))) work().copy.assign(input);
  if (work().plan.write) send_ends(parts_.writes_at(link->link->key().node));
  if (cache_) cache_->sending_query(*facts, *text, link->link->key().node);
  announce_query(facts->first(), *text, *link);
  note_unseen(*link);
  phase_ = Phase::running;
  work().link = link;
  used += input.size();
  link->link->send(input, backend::Owes::query, backend::Fate::forward, kNoteClient);
  if (asks_id_behind(*facts)) ask_transaction_id(*link, /*sync=*/true);
  link->link->flush();
  return phase_ == Phase::idle ? Next::served : Next::waiting;
}

// Not amid a unit: where the server skips the query, what follows is to be skipped too, up to the client's own Sync.
bool Session::asks_id_behind(const sql::Facts& facts) {
  return work().plan.write && settings().commit_outcome_check && !unit_open() && !facts.multi() &&
         !may_copy(facts.first().kind);
}

void Session::announce_query(const sql::Statement& first, std::string_view text, pool::ServerLink& link) {
  if (announces()) announce(*link.link, "", text);
  count_statement(worker_.counters(), link.link->key().node, first.kind);
  worker_.make_way_for(first);
}

// PGPOOL EXPLAIN ROUTE: planned as if it were to be run. When this has been served once, it is served again at once.
Session::Next Session::plan_explained(std::string_view text, Explained& into) {
  const sql::ParseOptions options{vs_.standard_conforming_strings(), vs_.ascii_safe_encoding()};
  into.facts = worker_.facts().facts(text, options);
  auto& kept = work().seldom().explained;  // the same value when we come back from a look-up
  if (std::find(kept.begin(), kept.end(), into.facts) == kept.end()) kept.push_back(into.facts);
  return decide(*into.facts, text, into);
}

// With memcached, PGPOOL SET CACHE DELETE is answered when that has answered.
Session::Next Session::delete_from_cache(const sql::Statement& command) {
  if (!cache_ || command.kind != Kind::pool_command) return Next::served;
  const std::string_view text = OwnCommands::deleted_from_cache(command);
  return !text.empty() && cache_->waits_for_removal(text) ? Next::waiting : Next::served;
}

// log_per_node_statement and notice_per_node_statement. `what`: "Parse: " and the like; empty for a simple query.
void Session::announce(const backend::Link& link, std::string_view what, std::string_view text) {
  if (own().log_per_node_statement(settings())) log_node_statement(worker_.log(), who_, link, what, text);
  if (!own().notice_per_node_statement(settings()) || !tells_client(Level::notice)) return;
  wire::Report notice;
  notice.severity = "NOTICE";
  notice.sqlstate = sqlstate::kSuccess;
  // A unit may name one long text over and over, and all of it is told before anything goes out.
  const std::size_t waiting = client_.gathered_own() + client_.pending() + run().aside.size();
  if (waiting > kMaxNotices) text = beginning_of(text, kMostOfText, vs_.ascii_safe_encoding());
  notice.message = fmt::format("DB node id: {} statement: {}{}", link.key().node.value, what, text);
  notice.file = "session";
  Bytes message;
  wire::put_notice(message, notice);
  say_aside(message);
}

Session::Next Session::serve_function_call(ByteView input, std::size_t& used) {
  if (pending_error_) {
    used += input.size();
    fail_request(std::exchange(pending_error_, nullptr)->report);
    return Next::served;
  }
  const NodeId begun = transaction_node();
  work().plan.node = begun != kNoNode ? begun : view().write_node();
  work().plan.write = true;
  const NodeId node = node_for(work().plan);
  if (node == kNoNode) {
    used += input.size();
    fail_request(report_of({Error{backend::Errc::connect_failed, "no node is up"}, {}, {}}, view().primary));
    return Next::served;
  }
  pool::ServerLink* link = nullptr;
  if (const Next next = acquire(node, link); next != Next::served) return next;
  settle_transaction_node(link->link->key().node);
  if (cache_ && cache_->waits_for_unknown()) return Next::waiting;
  if (!unit_open()) {
    if (const Next next = bring_up(*link, true); next != Next::served) return next;
  }
  send_ends(parts_.writes_at(link->link->key().node));
  if (cache_) cache_->sending_unknown();
  work().plan.opaque = work().plan.unseen = true;
  note_unseen(*link);
  phase_ = Phase::running;
  work().link = link;
  used += input.size();
  link->link->send(input, backend::Owes::function_call, backend::Fate::forward, kNoteClient);
  link->link->flush();
  return Next::waiting;
}

void Session::forget_pending_of_transaction() {
  if (pending_error_ && pending_error_->of_transaction) pending_error_.reset();
}

// A pool that tries a connection by an empty text, or cleans it by ROLLBACK, would keep the error to itself. Behind
// BEGIN the statement hears it that would have run: its transaction has failed, as its driver knows.
bool Session::hears_of_loss(Kind kind) const {
  if (kind == Kind::pool_command) return false;
  return pending_error_->of_transaction || (kind != Kind::empty && kind != Kind::rollback && kind != Kind::begin);
}

// Empty texts, own commands, DEALLOCATE of what the session has, statements in a failed transaction, and a
// transaction's beginning and end when no server has heard of it yet.
bool Session::answer_locally(const sql::Facts& facts, std::string_view text) {
  const sql::Statement& first = facts.first();
  Bytes& out = client_.own();
  if (first.kind == Kind::rollback) forget_pending_of_transaction();
  if (pending_error_ && hears_of_loss(first.kind)) {
    work().ends_transaction = ends_transaction(first.kind);
    fail_request(std::exchange(pending_error_, nullptr)->report);
    return true;
  }
  if (first.kind == Kind::empty) {
    wire::put_empty_query(out);
    client_.added_own();
    say_ready();
    return true;
  }
  if (first.kind == Kind::pool_command && !facts.multi()) {
    OwnCommands(*this).run(first, text);
    return true;
  }
  const TxStatus status = vs_.state().tx.status;
  const bool knows = first.kind == Kind::rollback_to && vs_.has_savepoint(first.name);
  // A server parses first: of a text that our grammar does not take it has the last word.
  const bool is_refused = status == TxStatus::failed && first.kind != Kind::unparsable;
  if (is_refused && !ends_transaction(first.kind) && !knows) {
    // Of a text with several statements the first one fails, and the rest is not looked at.
    say_error(first.kind == Kind::rollback_to ? no_such_savepoint(first.name) : in_failed_transaction(text));
    say_ready();
    return true;
  }
  if (facts.multi()) return false;
  if (first.kind == Kind::deallocate && !first.all && vs_.find_prepared(first.name)) {
    vs_.close_prepared(first.name);  // links that have it drop it before they are used again
    wire::put_command_complete(out, "DEALLOCATE");
    client_.added_own();
    say_ready();
    return true;
  }
  if (needs_server(first.kind)) return false;
  wire::put_command_complete(out, begin_or_end_here(first, text, work().facts));
  client_.added_own();
  say_ready();
  return true;
}

// client_min_messages: whether messages of ours of this level go to the client.
bool Session::tells_client(Level level) const {
  return passes_client_threshold(level, own().client_min_messages(settings()));
}

const sql::Statement* Session::prepared_statement(const sql::Statement& statement) const {
  if (statement.kind == Kind::explain && statement.inner) return prepared_statement(*statement.inner);
  if (statement.kind != Kind::execute && statement.kind != Kind::deallocate) return nullptr;
  if (statement.kind == Kind::execute && state_unknown()) return nullptr;  // what has the name may be another one
  const vsession::PreparedPtr prepared = vs_.find_prepared(statement.name);
  if (!prepared || !prepared->facts || prepared->facts->statements.empty()) return nullptr;
  return &prepared->facts->first();
}

// For patterns over the text: what EXECUTE runs is the text of its PREPARE.
std::string_view Session::executed_text(const sql::Statement& statement, std::string_view text) const {
  if (statement.kind == Kind::explain && statement.inner) return executed_text(*statement.inner, text);
  if (statement.kind != Kind::execute) return text;
  const vsession::PreparedPtr prepared = vs_.find_prepared(statement.name);
  return prepared ? std::string_view(prepared->query) : text;
}

// pg_terminate_backend(constant) goes to the node whose process it names; which one that is the workers' pools know.
Session::Next Session::plan_terminate(int pid) {
  ask_workers([this, pid](const report::Server& server) {
    work().plan = route::Plan{.node = view().write_node()};
    for (const report::LinkRow& link : server.links) {
      if (link.backend_pid == pid) work().plan.node = link.node;
    }
    // At a standby nothing is written, and a snapshot that is elsewhere stays.
    const NodeId begun = transaction_node();
    const bool here = begun == kNoNode || begun == work().plan.node;
    work().plan.write = here && work().plan.node == view().write_node();
    work().planned = true;
  });
  return Next::waiting;
}

// Has all workers tell of their sessions and links; `then` is called only if the session still waits for that.
void Session::ask_workers(std::function<void(const report::Server&)> then) {
  phase_ = Phase::running;
  worker_.collect([&worker = worker_, id = id_, then = std::move(then)](const report::Server& server) {
    Session* session = worker.find(id);
    if (session == nullptr || session->phase_ != Phase::running) return;
    session->phase_ = Phase::idle;
    then(server);
    session->go_on();
  });
}

// As it will be behind the BEGIN, or the end of a transaction, that came earlier in the unit.
const vsession::SessionState& Session::state_to_plan_by() {
  std::optional<vsession::SessionState>& behind = work().behind;
  if (!behind) return vs_.state();
  behind->lb_node = vs_.state().lb_node;
  behind->unseen = vs_.state().unseen;
  return *behind;
}

route::Input Session::routing_input(const sql::Facts& facts, std::string_view text, const sql::Answers& answers) {
  return route::Input{.facts = facts,
                      .state = state_to_plan_by(),
                      .answers = answers,
                      .view = view(),
                      .settings = settings(),
                      .allow_sql_comments = own().allow_sql_comments(settings()),
                      .check_unlogged_table = own().check_unlogged_table(settings()),
                      .text = executed_text(facts.first(), text),
                      .prepared = prepared_statement(facts.first()),
                      .user = identity_->user,
                      .database = identity_->database,
                      .application_name = identity_->application};
}

// Changes nothing of the session but its load balance node.
Session::Next Session::decide(const sql::Facts& facts, std::string_view text, Explained& into) {
  vs_.state().lb_node = lb_node();
  vs_.state().unseen = state_unknown();
  route::Input input = routing_input(facts, text, into.answers);
  if (const Next next = answers_for(facts, into); next != Next::served) return next;
  input.draw = worker_.random().fraction();
  input.draw2 = worker_.random().fraction();
  into.plan = route::decide(input);
  if (links_are_shared() && may_run_event_triggers(facts)) into.plan.opaque = into.plan.unseen = true;
  return Next::served;
}

bool Session::links_are_shared() const {
  return settings().pool_mode == config::PoolMode::transaction || settings().skip_clean_reset;
}

// What event triggers change and set cannot be seen. The query cache hears of each definition, after which it is asked
// anew whether there are any; else it is asked each time.
bool Session::asks_events(const sql::Facts& facts) const {
  if (!defines_something(facts)) return false;
  return cache_ ? !worker_.catalog().event_triggers(identity_->database) : links_are_shared();
}

// As it was asked ahead of the definition: that somebody else defines something at the same time is no reason to take
// the session for one of unknown state for good.
bool Session::may_run_event_triggers(const sql::Facts& facts) const {
  return defines_something(facts) && worker_.catalog().had_event_triggers(identity_->database).value_or(true);
}

// The same, from what was planned lately if it can be. That is kept for the newest snapshot only.
Session::Next Session::decide_or_recall(const sql::Facts& facts, std::string_view text, route::Plan& plan) {
  static const sql::Answers kNotAskedYet;
  if (cache_) cache_->planning(facts);
  vs_.state().lb_node = lb_node();
  vs_.state().unseen = state_unknown();
  const std::uint64_t epoch = worker_.shared().epochs.current_at(identity_->epoch_place);
  if (vs_.state().tx.status == TxStatus::idle && !unit_open()) epoch_before_ = epoch;
  if (snapshot_ != worker_.snapshot()) return decide_anew(facts, text, plan, nullptr);
  const route::Input input = routing_input(facts, text, kNotAskedYet);
  const std::string& role = vs_.role_key().empty() ? identity_->user : vs_.role_key();
  const route::Asked asked{input, role, path_key(), epoch};
  const route::RecentPlans::Kept* known = worker_.recent_plans().find(asked, worker_.loop().now());
  if (known == nullptr) return decide_anew(facts, text, plan, &asked);
  plan = known->plan;
  if (cache_) cache_->planned(facts, text, known->answers, known->number);
  return Next::served;
}

// `asked`: under which the plan is kept; null: it is not.
Session::Next Session::decide_anew(const sql::Facts& facts, std::string_view text, route::Plan& plan,
                                   const route::Asked* asked) {
  Explained decided;
  if (const Next next = decide(facts, text, decided); next != Next::served) return next;
  if (cache_) cache_->planned(facts, text, decided.answers);
  plan = decided.plan;
  if (asked == nullptr) return Next::served;
  if (!cache_) decided.answers = {};
  worker_.recent_plans().keep(*asked, {std::move(decided.plan), std::move(decided.answers), 0}, decided.until);
  return Next::served;
}

// From REPEATABLE READ up one snapshot serves the whole transaction, and it is on one node: where its first statement
// goes that reads, writes, or marks a place to come back to. A unit goes there as a whole.
void Session::settle_transaction_node(NodeId node) {
  vsession::SessionState& state = vs_.state();
  if (state.tx_node == kNoNode) {
    const bool one = state.tx.status != TxStatus::idle && state.tx.isolation >= sql::Isolation::repeatable_read;
    if (!one || (work().plan.both && !work().marks)) return;
  }
  state.tx_node = node;
}

NodeId Session::transaction_node() const {
  return vs_.state().tx.status == TxStatus::idle ? kNoNode : vs_.state().tx_node;
}

Session::Next Session::plan_query(const sql::Facts& facts, std::string_view text) {
  if (const Next next = decide_or_recall(facts, text, work().plan); next != Next::served) return next;
  work().ends_transaction = !facts.multi() && ends_transaction(facts.first().kind);
  work().may_commit = work().may_commit || may_commit(facts);
  work().ends = work().ends || work().ends_transaction || (facts.multi() && has_end(facts));
  if (const std::string_view name = executed_name(facts.first()); !name.empty()) work().executed = name;
  if (work().on_primary || (work().avoid != kNoNode && work().plan.node == work().avoid))
    work().plan.node = view().write_node();
  work().plan.write |= work().writes_after_all;
  work().marks |= facts.first().kind == Kind::savepoint;
  work().planned = true;
  return Next::served;
}

// What the catalog says of the names in a statement: from the caches, or from a server, which takes a wait. Where the
// server would not answer, the answers stay empty, and what is not known counts as the worst case.
Session::Next Session::answers_for(const sql::Facts& facts, Explained& into) {
  const sql::Statement* prepared = prepared_statement(facts.first());
  const route::Needs wanted = route::needs(facts, state_to_plan_by(), settings(), prepared);
  const bool events = asks_events(facts);
  if (!wanted.any() && !events) return Next::served;
  if (work().rest) {
    for (const auto& [known, learned] : work().rest->learned) {
      if (known.get() != &facts) continue;
      into.answers = learned;
      into.until = TimePoint::min();
      return Next::served;
    }
  }
  const std::string& role = vs_.role_key().empty() ? identity_->user : vs_.role_key();
  const std::uint64_t epoch = worker_.shared().epochs.current_at(identity_->epoch_place);
  const catalog::Asked asked{facts.serial, wanted.relations, wanted.functions, identity_->database, role, path_key(),
                             epoch};
  const bool own_names = has_own_names() || (cache_ && state_unknown());
  const bool may_recall = !events && facts.serial != 0 && prepared == nullptr && !own_names;
  if (may_recall) {
    if (const catalog::RecentAnswers::Kept* known = worker_.recent_answers().find(asked, worker_.loop().now())) {
      into.answers = known->answers;
      into.until = known->until;
      return Next::served;
    }
  }
  catalog::Found found =
      worker_.catalog().lookup(viewpoint(), route::questions(facts, state_to_plan_by(), settings(), prepared));
  // A long text is parsed anew each time it is served: what failed for it once, or is not kept, would be asked for
  // ever.
  const bool refused = facts.serial == 0 && work().rest && !work().rest->learned.empty();
  if ((!found.open.empty() || events) && !refused) {
    if (!unit_open()) return look_up(facts, std::move(found));
    into.until = TimePoint::min();  // a question in the middle of it would end its implicit transaction
    return Next::served;
  }
  into.answers = std::move(found.answers);
  into.until = refused ? TimePoint::min() : found.until;
  if (may_recall) worker_.recent_answers().keep(asked, into.answers, found.until);
  return Next::served;
}

// A standby may not have replayed the last definition, and a transaction's snapshot may be from before it.
bool Session::shows_old_definitions(const pool::ServerLink& link, const catalog::Found& found) const {
  const vsession::Transaction& tx = vs_.state().tx;
  const bool one_snapshot = cache_ ? cache_->one_snapshot() : tx.isolation >= sql::Isolation::repeatable_read;
  if (tx.status != TxStatus::idle && one_snapshot && found.epoch != epoch_before_) return true;
  const bool of_standby = link.link->key().node != view().write_node();
  if (!cache_ || !of_standby) return false;  // without the cache it decides about the route only
  const std::optional<TimePoint> shown = shown_by(link);
  return !shown || *shown < found.since;
}

// Asks a server about names, over a link that the session holds or borrows.
Session::Next Session::look_up(const sql::Facts& facts, catalog::Found found) {
  const auto fit = [](const pool::ServerLink* l) {
    return l != nullptr && l->link->status() != 'E' && !l->link->lost();
  };
  pool::ServerLink* link = held(view().write_node());  // temporary tables are known there only
  for (pool::ServerLink* other : links_) {
    if (!fit(link) && !other->parting) link = other;
  }
  if (!fit(link)) link = nullptr;
  const cluster::Node* primary = view().find(view().write_node());
  const bool waits_for_primary = view().primary_awaited || view().switching;
  const bool old = link != nullptr && vs_.state().tx.status == TxStatus::idle && !waits_for_primary &&
                   shows_old_definitions(*link, found);
  if (link == nullptr || (old && primary != nullptr && primary->live())) {
    const bool from_primary = settings().relcache_query_target == config::RelcacheQueryTarget::primary;
    const bool ask_primary = (from_primary || work().on_primary || old) && primary != nullptr && primary->live();
    const NodeId node = ask_primary ? primary->id : vs_.state().lb_node;
    if (node == kNoNode) return Next::served;
    if (const Next next = acquire(node, link); next != Next::served) return next;
  }
  if (const Next next = bring_up(*link, false); next != Next::served) return next;
  const std::string sql = catalog::query_for(found.open);
  found.old = shows_old_definitions(*link, found);
  work().look_up().found = std::move(found);
  work().look_up().about = facts.shared_from_this();
  work().look_up().failed = false;
  work().look_up().error.reset();
  work().look_up().rows.clear();
  wait_for_our_own(Phase::lookup, *link->link);
  link->link->send_query(sql, backend::Fate::capture, kNoteCatalog);
  link->link->flush();
  return Next::waiting;
}

// One statement of a simple query has ended: the virtual session learns of it.
void Session::note_statement(std::size_t index, bool ok) {
  if (!work().facts || index >= work().facts->statements.size()) return;
  const sql::Statement& statement = work().facts->statements[index];
  if (statement.only_rows()) return note_done(statement, {}, ok, work().facts);
  const auto text = wire::parse_query(ByteView(work().copy).substr(std::min(work().copy.size(), wire::kHeaderBytes)));
  const std::string_view whole = text ? *text : std::string_view();
  // The server keeps the whole text with a prepared statement, and pg_prepared_statements shows it.
  const bool keeps_whole = statement.kind == Kind::prepare && !work().facts->multi();
  const std::string_view part = keeps_whole                                          ? whole
                                : whole.size() >= statement.begin + statement.length ? slice(statement, whole)
                                                                                     : "";
  const vsession::PreparedPtr executed =
      statement.kind == Kind::execute ? vs_.find_prepared(statement.name) : vsession::PreparedPtr();
  note_done(statement, part, ok, work().facts);
  if (ok && executed) executed_done(executed, vsession::VirtualSession::kUntilNow);
}

// What the protocol has prepared may be anything: what SQL's EXECUTE of it has done counts like the statement itself.
void Session::executed_done(const vsession::PreparedPtr& first, std::uint64_t until) {
  constexpr int kDeepest = 4;  // one may execute another
  vsession::PreparedPtr executed = first;
  for (int depth = 0; executed && executed->facts && depth < kDeepest; ++depth) {
    const vsession::PreparedPtr now = std::move(executed);
    const sql::Statement& statement = now->facts->first();
    executed = statement.kind == Kind::execute ? vs_.find_prepared(statement.name) : nullptr;
    note_done(statement, now->query, true, now->facts, until);
  }
}

// The transaction's other links follow the one on which this statement has ended, has begun it anew or has gone back.
void Session::others_follow(const sql::Statement& statement, NodeId node) {
  if (statement.transaction.chain && vs_.state().tx.status == TxStatus::open) {
    // One transaction has ended and another has begun: only here, the other links join it when they are needed.
    forget_pending_of_transaction();
    send_ends(parts_.chained(node, work().tag == "COMMIT", vs_.base_parameters()));
  } else if (statement.kind == Kind::rollback_to) {
    forget_pending_of_transaction();  // what had failed is undone
    send_ends(parts_.rolled_back_to(node));
  } else if (ends_transaction(statement.kind)) {
    // A COMMIT that came back as ROLLBACK is told why.
    if (statement.kind == Kind::rollback || work().tag != "ROLLBACK") forget_pending_of_transaction();
    vs_.state().tx_node = kNoNode;  // the next transaction may be one that begins in the same request
    send_ends(parts_.ended(node, work().tag != "ROLLBACK", vs_.link_parameters()));
  }
}

// One statement has ended, whichever protocol brought it.
void Session::note_done(const sql::Statement& statement, std::string_view text, bool ok,
                        const std::shared_ptr<const sql::Facts>& facts, std::uint64_t until) {
  const bool adaptive = settings().disable_load_balance_on_write == config::DisableLoadBalanceOnWrite::dml_adaptive;
  if (ok && !adaptive && statement.only_rows()) return vs_.rows_done(work().plan.write);
  vs_.statement_done({statement, text, work().tag, ok, work().plan.write, adaptive, facts, until});
  if (ok && statement.kind == Kind::commit && work().tag == "COMMIT" && xid_ != 0) told_commit_ = xid_;
  if (ends_transaction(statement.kind) || statement.kind == Kind::unparsable) forget_transaction_id();
  if (!ok) return;
  if (adaptive && vs_.state().tx.status != TxStatus::idle && work().plan.write)
    vs_.note_written(route::adaptive_written(*facts, settings()));
  if (statement.kind == Kind::ddl && !statement.creates_temp) {  // which nobody else sees
    using Change = catalog::Epochs::Change;
    const Change change = catalog::Epochs::change_by(statement.ddl_tag);
    worker_.shared().epochs.raise(identity_->database, change);
    ddl_in_transaction_ = std::max(ddl_in_transaction_.value_or(Change::names), change);
    // A role of a dropped one's name is another role: what logged in before has no rights of it.
    defaults_altered_ |= statement.ddl_tag == "ALTER DATABASE" || statement.ddl_tag == "DROP ROLE" ||
                         (statement.ddl_tag == "ALTER ROLE" && !statement.role_login_only);
  }
  servers_reload_ |= std::any_of(statement.functions.begin(), statement.functions.end(),
                                 [](const sql::Function& f) { return f.name == "pg_reload_conf"; });
  const bool discards = statement.kind == Kind::discard && statement.discard == sql::DiscardTarget::all;
  if (discards && work().link != nullptr) work().link->memory.unseen = false;
  if (work().link != nullptr) others_follow(statement, work().link->link->key().node);
  if (work().link == nullptr || until != vsession::VirtualSession::kUntilNow)
    return;  // UnitWriter has told the link's memory
  pool::LinkMemory& memory = work().link->memory;
  if (statement.kind == Kind::prepare) {
    if (const vsession::PreparedPtr made = vs_.find_prepared(statement.name)) memory.named[made->name] = {made->id};
    memory.named_owner = id_;
  } else if (statement.kind == Kind::deallocate && !statement.all) {
    memory.named.erase(statement.name);
  } else if (discards || statement.kind == Kind::deallocate) {
    memory.named.clear();
    memory.interned.clear();
    memory.unnamed_owner = SessionId();
  }
}

}  // namespace herdgate::session
