// The built-in switchover: the primary is stopped on purpose, comes back as a standby, and another node takes over.
//
// Until the primary is stopped everything can be taken back by doing nothing. Afterwards the old primary has all that
// was ever acknowledged, so it takes over again whenever the other one cannot.
#include <fmt/format.h>

#include <algorithm>

#include "cluster/turn.h"

namespace herdgate::cluster {

void Turn::begin_switchover() {
  say(Level::log, fmt::format("switchover from node {} to node {} was requested", state_.primary.value,
                              state_.operation->demand.node.value));
  next_switch_step(SwitchStep::check);
}

void Turn::next_switch_step(SwitchStep::Kind kind) {
  static constexpr Operation::Stage kStages[] = {Operation::checking, Operation::draining, Operation::stopping};
  Operation& operation = *state_.operation;
  operation.stage = kStages[kind];
  actions_.switch_step = SwitchStep{kind, operation.old_primary, operation.demand.node, state_.operations};
}

void Turn::give_up_switchover(const std::string& problem) {
  state_.operation->problem = problem;
  say(Level::warning, fmt::format("switchover to node {} is given up", state_.operation->demand.node.value),
      problem + ".");
  end_operation();
}

// One of the two is to be taken down while nothing has been done yet: that comes first.
void Turn::give_up_switchover_without_nodes() {
  if (!state_.operation) return;
  const Operation& operation = *state_.operation;
  if (operation.stage != Operation::checking && operation.stage != Operation::draining) return;
  for (const Demand& d : state_.demands)
    if (d.kind == Demand::down && (d.node == operation.old_primary || d.node == operation.demand.node))
      return give_up_switchover(fmt::format("node {} went down", d.node.value));
}

void Turn::operator()(const SwitchStepEnded& event) {
  static constexpr Operation::Stage kStages[] = {Operation::checking, Operation::draining, Operation::stopping};
  if (!state_.operation || event.operation != state_.operations) return;
  if (state_.operation->stage != kStages[event.kind]) return;
  switch (event.kind) {
    case SwitchStep::check:
      return event.problem.empty() ? next_switch_step(SwitchStep::drain) : give_up_switchover(event.problem);
    case SwitchStep::drain:
      return event.problem.empty() ? stop_old_primary() : give_up_switchover(event.problem);
    case SwitchStep::stop:
      if (!event.problem.empty()) return take_back_old_primary(event.problem);
      if (!event.returned) lose_old_primary();
      return promote_builtin();
  }
}

// It may be in any state: from here on it is a failover like any other, and it goes on as the primary when it is back
// before another was promoted.
void Turn::lose_old_primary() {
  state_.lost->planned = false;
  Member* old = find(state_.operation->old_primary);
  if (!old || old->node.live()) return;
  old->held = false;
  old->returns = true;
}

void Turn::stop_old_primary() {
  Operation& operation = *state_.operation;
  Member* old = find(operation.old_primary);
  if (!old) return give_up_switchover("the primary is gone");
  mark_down(*old, fmt::format("switchover to node {}", operation.demand.node.value), Cause::switchover);
  old->held = true;
  operation.new_main = operation.demand.node;
  state_.lost = LostPrimary{operation.old_primary, operation.old_main, operation.demand.node};
  state_.lost->planned = true;
  next_switch_step(SwitchStep::stop);
}

// The proxy died. Whether the old primary of a switchover was stopped, and what others did meanwhile, is not known: as
// after a failover a primary is looked for first, and judge_resumed() has the last word. That of a failover goes on as
// the primary when it is back before another was promoted.
void Turn::resume(const Unfinished& unfinished) {
  const bool switches = unfinished.to != kNoNode;
  const int from = unfinished.from.value;
  const std::string text =
      switches ? fmt::format("a switchover from node {} to node {} did not end", from, unfinished.to.value)
               : fmt::format("a failover of node {} did not end", from);
  Member* old = find(unfinished.from);
  const bool possible = state_.rules.failover.builtin && state_.rules.streaming && state_.rules.asks;
  if (!possible || !old || old->node.status == NodeStatus::unused || (switches && !find(unfinished.to)))
    return say(Level::warning, text, "It is not taken up: failover_method, sr_check_user or the nodes are others now.");
  say(Level::warning, text, "It is taken up again.");
  old->node.status = NodeStatus::down;
  old->node.status_reason = text;
  old->held = switches;
  old->returns = !switches;
  state_.primary = unfinished.from;
  state_.lost = LostPrimary{unfinished.from, unfinished.from, unfinished.to};
  state_.lost->planned = state_.lost->resumed = switches;
  state_.demands.push_back({Demand::search, unfinished.from, {}});
}

// It is the primary still, or again. (The operation may be about the other one, which went down meanwhile.)
void Turn::take_back_old_primary(const std::string& why) {
  Operation& operation = *state_.operation;
  const NodeId old_primary = state_.lost->primary;
  Member* old = find(old_primary);
  const bool attached = old && old->node.live();  // as a standby, by somebody
  if (attached) take_role(*old, false);
  if (old && !attached) {
    old->node.status = NodeStatus::waiting;
    old->node.status_changed = now_;
    old->node.status_reason = "the switchover was given up";
    old->held = false;
    old->superseded = kNoNode;
    take_role(*old, false);
    actions_.probe.push_back(old->node.id);
  }
  operation.downed.clear();
  state_.lost.reset();
  settle_primary();
  if (operation.demand.kind == Demand::switchover) return give_up_switchover(why);
  const char* text = attached ? "built-in failover: node {} is the primary again"
                              : "the switchover is given up, node {} is the primary again";
  say(attached ? Level::log : Level::warning, fmt::format(fmt::runtime(text), old_primary.value), why + ".");
  end_operation();
}

void Turn::switched(const PromotionEnded& event) {
  Operation& operation = *state_.operation;
  const NodeId old = state_.lost->primary;
  if (event.promoted == old) return take_back_old_primary(event.text);
  operation.problem.clear();
  if (Member* fresh = find(event.promoted)) take_role(*fresh, false);
  const bool attached = find(old) && find(old)->node.live();
  say(Level::log,
      fmt::format("{}: node {} was promoted", attached ? "built-in failover" : "switchover", event.promoted.value),
      event.text);
  if (attached) return commands_done();
  const auto behind = std::find_if(event.left_behind.begin(), event.left_behind.end(),
                                   [&](const auto& left) { return left.first == old; });
  commands_done();
  if (behind == event.left_behind.end())
    demand(Demand::attach, old, fmt::format("it follows node {}", event.promoted.value));
  else
    say(Level::warning, fmt::format("node {} stays down after the switchover", old.value), behind->second + ".");
}

}  // namespace herdgate::cluster
