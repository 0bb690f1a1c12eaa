#include "route/conditions.h"

namespace herdgate::route {
namespace {

using cluster::Node;
using sql::Kind;
using vsession::TxStatus;

void to_primary(const Input& in, Plan& plan, Rule rule) {
  plan.node = in.view.write_node();
  plan.rule = plan.node == kNoNode ? Rule::no_live_node : rule;
}

// Why a statement of class `primary` is one.
Rule primary_reason(const Input& in) {
  if (in.facts.multi()) return Rule::multi_statement;
  const sql::Statement& s = in.facts.first();
  if (s.too_deep) return Rule::too_deep;
  if (s.kind == Kind::unparsable) return Rule::unparsable;
  if (s.kind == Kind::set && !s.transaction.snapshot.empty()) return Rule::snapshot_shared;
  return Rule::class_primary;
}

// A BEGIN after which nothing can be balanced has no business on other links.
std::optional<Rule> begins_alone(const Input& in) {
  const sql::TransactionOptions& options = in.facts.first().transaction;
  const auto mode = in.settings.disable_load_balance_on_write;
  if (mode == config::DisableLoadBalanceOnWrite::trans_transaction && in.state.wrote_in_transaction)
    return Rule::transaction_wrote;
  const sql::Isolation isolation = options.isolation.value_or(in.state.default_isolation);
  if (isolation == sql::Isolation::serializable) return Rule::serializable;
  const bool read_only = options.read_only.value_or(in.state.default_read_only);
  if (isolation == sql::Isolation::repeatable_read && !read_only) return Rule::transaction_node;
  return std::nullopt;
}

std::optional<Rule> both_is_one(const Input& in) {
  if (in.state.tx.multi_statement_block && in.state.tx.status != TxStatus::idle) return Rule::multi_statement_block;
  if (!in.settings.load_balance_mode) return Rule::load_balance_off;
  if (in.facts.first().kind != Kind::begin) return std::nullopt;
  if (const auto rule = by_session(in.state, in.settings)) return rule;
  return begins_alone(in);
}

// A place in the transaction to come back to, which no other link has. From REPEATABLE READ up whatever comes later
// goes to the one node too.
bool marks_a_place(const Input& in) {
  const Kind kind = in.facts.first().kind;
  const bool marks = kind == Kind::savepoint || kind == Kind::release || kind == Kind::rollback_to;
  return marks && isolation_in_force(in.state) < sql::Isolation::repeatable_read;
}

void place_both(const Input& in, Plan& plan) {
  const auto alone = both_is_one(in);
  plan.both = !alone;
  plan.stays = plan.both && (plan.write || marks_a_place(in));
  to_primary(in, plan, alone.value_or(Rule::class_both));
}

// The node that the session chose for its reads; a new choice when it has none or lost it.
NodeId load_balance_node(const Input& in, Plan& plan) {
  const NodeId own = in.state.lb_node;
  if (const Node* node = in.view.find(own); node != nullptr && node->live()) {
    const bool known = in.lb_choice != nullptr && in.lb_choice->node == own;
    plan.rule = known ? in.lb_choice->rule : Rule::load_balance;
    if (known) plan.detail = in.lb_choice->detail;
    return own;
  }
  LbChoice choice = choose_lb_node({.view = in.view,
                                    .settings = in.settings,
                                    .user = in.user,
                                    .database = in.database,
                                    .application_name = in.application_name,
                                    .draw = in.draw,
                                    .draw2 = in.draw2});
  plan.rule = choice.rule;
  plan.detail = std::move(choice.detail);
  return choice.node;
}

void place_balanced(const Input& in, Plan& plan) {
  plan.node = load_balance_node(in, plan);
  const NodeId primary = in.view.write_node();
  if (plan.node == kNoNode || plan.node == primary) return;
  const Node* node = in.view.find(plan.node);
  const Node* ahead = in.view.find(primary);
  // Delay is measured against a primary that lives; what it was before its death says nothing now.
  if (ahead == nullptr || !ahead->live() || !too_late(*node, in.settings)) return;
  plan.detail = "node " + std::to_string(plan.node.value);
  if (in.settings.prefer_lower_delay_standby) {
    const NodeId better = least_delayed_standby(in.view, in.settings, in.draw);
    if (better != kNoNode) {
      plan.node = better;
      plan.rule = Rule::lower_delay_standby;
      return;
    }
  }
  to_primary(in, plan, Rule::delay_too_large);
}

void place_either(const Input& in, const Effects& e, Plan& plan) {
  auto rule = by_session(in.state, in.settings);
  if (!rule) rule = by_text(in, e);
  if (!rule) rule = by_transaction(in.state, in.settings);
  if (!rule) rule = by_names(in, e, plan.detail);
  if (rule) return to_primary(in, plan, *rule);
  place_balanced(in, plan);
}

void place_by_class(const Input& in, const Effects& e, Plan& plan) {
  const bool by_name = names_prepared(in.facts);
  if (by_name && in.prepared == nullptr) {
    to_primary(in, plan, Rule::unknown_prepare);
  } else if (e.cls == Class::either) {
    place_either(in, e, plan);
  } else if (e.cls == Class::both || e.cls == Class::all) {
    place_both(in, plan);
  } else {
    to_primary(in, plan, by_name ? Rule::class_primary : primary_reason(in));
  }
  if (by_name && in.prepared != nullptr && plan.node != kNoNode) {
    std::string why(rule_name(plan.rule));
    if (!plan.detail.empty()) why.append(": ").append(plan.detail);
    plan.detail = std::move(why);
    plan.rule = Rule::follows_prepare;
  }
  const bool forgets = by_name && in.prepared != nullptr && in.facts.first().kind == Kind::deallocate;
  if (forgets) plan.both = in.settings.load_balance_mode;
}

void say_when_primary_is_down(const Input& in, Plan& plan) {
  if (plan.node == kNoNode || plan.node != in.view.primary) return;
  const Node* node = in.view.find(plan.node);
  if (node != nullptr && node->live()) return;
  plan.detail = rule_name(plan.rule);
  plan.rule = Rule::primary_down;
}

void place_raw(const Input& in, Plan& plan) {
  plan.node = in.view.main();
  plan.rule = plan.node == kNoNode ? Rule::no_live_node : Rule::raw_mode;
}

void place_streaming(const Input& in, const Effects& e, Plan& plan) {
  if (stays_on_transaction_node(in.state)) {
    plan.node = in.state.tx_node;
    plan.rule = Rule::transaction_node;
    plan.both = e.cls == Class::both || e.cls == Class::all;
    return;
  }
  if (pins_reads(in.state, in.settings)) return to_primary(in, plan, Rule::pinned);
  if (in.view.nodes.size() == 1)
    to_primary(in, plan, Rule::single_node);
  else if (in.cut_unit)
    to_primary(in, plan, Rule::cut_unit);
  else
    place_by_class(in, e, plan);
  say_when_primary_is_down(in, plan);
}

}  // namespace

bool pins_reads(const vsession::SessionState& state, const config::Settings& settings) {
  using vsession::Pin;
  if (settings.pool_mode != config::PoolMode::session) return state.pins != 0;
  return state.has(Pin::temporary_table) || state.has(Pin::load) || state.has(Pin::unparsed_state);
}

Plan decide(const Input& in) {
  Plan plan;
  const Effects e = effects_of(in);
  plan.write = e.write;
  plan.idless = e.idless;
  plan.opaque = e.opaque;
  plan.unseen = e.unseen;
  plan.rerunnable = e.rerunnable;
  if (e.cls == Class::local) {
    plan.rule = Rule::local_command;
    plan.write = plan.opaque = plan.unseen = false;
  } else if (in.settings.backend_clustering_mode == config::ClusteringMode::raw) {
    place_raw(in, plan);
  } else {
    place_streaming(in, e, plan);
  }
  return plan;
}

}  // namespace herdgate::route
