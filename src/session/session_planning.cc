// Where a statement goes: the plan, made or recalled, and what the catalog is asked for it.
#include <algorithm>

#include "session/session.h"

namespace herdgate::session {
namespace {
using sql::Kind;
using vsession::TxStatus;

// The statement that EXECUTE or DEALLOCATE wants to find.
std::string_view executed_name(const sql::Statement& statement) {
  return statement.kind == Kind::prepare ? std::string_view() : statement.names_prepared();
}

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

bool defines_something(const sql::Facts& facts) {
  return std::any_of(facts.statements.begin(), facts.statements.end(),
                     [](const sql::Statement& s) { return s.kind == Kind::ddl || s.into; });
}

}  // namespace

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

// Where its reads go, and what is known of it.
void Session::before_planning() {
  vs_.read_from(lb_node());
  vs_.set_unseen(state_unknown());
  work().on_primary |= transaction_node() == kNoNode && left_out(vs_.state().lb_node);
}

// Changes nothing of the session but its load balance node.
Session::Next Session::decide(const sql::Facts& facts, std::string_view text, Explained& into) {
  before_planning();
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
  before_planning();
  const std::uint64_t epoch = worker_.shared().epochs.current_at(identity_->epoch_place);
  if (vs_.state().tx.status == TxStatus::idle && !unit_open()) epoch_before_ = epoch;
  if (snapshot_ != worker_.snapshot()) return decide_anew(facts, text, plan, nullptr);
  const route::Input input = routing_input(facts, text, kNotAskedYet);
  const route::Asked asked{input, role(), path_key(), epoch};
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
  const vsession::SessionState& state = vs_.state();
  if (state.tx_node == node || parts_.part(state.tx_node) != nullptr) return;  // a portal may be elsewhere
  if (state.tx_node == kNoNode) {
    const bool one = state.tx.status != TxStatus::idle && state.tx.isolation >= sql::Isolation::repeatable_read;
    if (!one || (work().plan.both && !work().marks)) return;
  }
  vs_.stay_on(node);
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
  const std::uint64_t epoch = worker_.shared().epochs.current_at(identity_->epoch_place);
  const catalog::Asked asked{facts.serial,        wanted.relations, wanted.functions, wanted.calls,
                             identity_->database, role(),           path_key(),       epoch};
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
    into.until = TimePoint::min();  // unless somebody answers
    // A question in the middle of a unit would end its implicit transaction.
    return unit_open() ? Next::served : look_up(facts, std::move(found));
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
    const pool::ServerLink* there = node == kNoNode ? nullptr : held(node);
    const bool failed = there != nullptr && !fit(there) && !there->link->lost() && there->link->ledger().empty();
    if (node == kNoNode || failed) return Next::served;
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

}  // namespace herdgate::session
