#include "cluster/state.h"

#include <algorithm>

#include "cluster/turn.h"

namespace herdgate::cluster {
namespace {

// From the moment when new writes wait until there is a primary again.
bool holds_writes(const State& state) {
  if (!state.operation || state.operation->demand.kind != Demand::switchover) return false;
  const Operation::Stage stage = state.operation->stage;
  const bool promoting = stage == Operation::promoting && state.lost && state.lost->planned;
  return stage == Operation::draining || stage == Operation::stopping || promoting;
}

// See View::primary_awaited. Where no node has said what it is, the main node stands in for a primary that may well be
// it.
bool primary_awaited(const State& state) {
  if (!state.rules.streaming) return false;
  bool standbys = false, others = false;
  for (const Member& m : state.members) {
    if (m.node.id == state.primary) return !m.node.live() || m.doubted;
    (m.node.real_role == Role::standby ? standbys : others) |= m.node.live();
  }
  return standbys && !others;
}

bool same_view(const State& a, const State& b) {
  const auto same_node = [](const Member& x, const Member& y) { return x.node == y.node; };
  return a.primary == b.primary && holds_writes(a) == holds_writes(b) && primary_awaited(a) == primary_awaited(b) &&
         std::equal(a.members.begin(), a.members.end(), b.members.begin(), b.members.end(), same_node);
}

}  // namespace

Stepped Turn::finish(const State& before) {
  work_off();
  settle_invalid();
  work_off();  // a false primary may have been found
  if (main_of(state_.members) != kNoNode) {
    std::vector<Node> nodes;
    for (const Member& m : state_.members) nodes.push_back(m.node);
    std::string text = print_state_file(nodes);
    if (text != state_.file_text) actions_.state_file = state_.file_text = std::move(text);
  }
  actions_.publish = before.epoch == 0 || !same_view(before, state_);
  if (actions_.publish) ++state_.epoch;
  return {std::move(state_), std::move(actions_)};
}

Stepped step(const State& state, const Event& event, WallTime now) {
  Turn turn(state, now);
  std::visit(turn, event);
  return turn.finish(state);
}

bool worth_probing(const Member& member) {
  if (member.node.status == NodeStatus::down)
    return member.returns || (member.superseded != kNoNode && !member.reported);
  return member.node.status != NodeStatus::unused;
}

bool looked_around(const State& state) {
  if (!state.rules.streaming || !state.rules.asks || state.primary != kNoNode) return true;
  return std::all_of(state.members.begin(), state.members.end(),
                     [](const Member& m) { return m.answered || !worth_probing(m); });
}

std::string_view busy_with(const State& state) {
  if (!state.operation) return "";
  switch (state.operation->demand.kind) {
    case Demand::attach:
      return "failback";
    case Demand::promote:
      return "promotion";
    case Demand::quarantine:
      return "quarantine";
    case Demand::down:
    case Demand::switchover:
    case Demand::search:
      break;
  }
  return "failover";
}

ViewPtr view_of(const State& state) {
  auto view = std::make_shared<View>();
  view->epoch = state.epoch;
  view->primary = state.primary;
  view->switching = holds_writes(state);
  view->primary_awaited = primary_awaited(state);
  for (const Member& m : state.members) view->nodes.push_back(m.node);
  return view;
}

}  // namespace herdgate::cluster
