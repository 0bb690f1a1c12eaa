// Who is the primary.
#include <fmt/format.h>

#include <algorithm>

#include "cluster/turn.h"

namespace herdgate::cluster {
namespace {

bool points_at(const Upstream& upstream, const Node& node) { return points_at(upstream, node.host, node.port); }

bool says_primary(const Member& m) {
  return m.node.live() && m.superseded == kNoNode && m.node.real_role == Role::primary;
}

bool among(const std::vector<NodeId>& nodes, NodeId id) {
  return std::find(nodes.begin(), nodes.end(), id) != nodes.end();
}

}  // namespace

bool is_stray(const Member& m) { return m.invalid && !m.rises; }

bool Turn::all_answered() const {
  return std::all_of(state_.members.begin(), state_.members.end(),
                     [](const Member& m) { return m.answered || !worth_probing(m); });
}

// For certain: a primary that is found later is a new one. A node that has not said what it is may have been it all the
// time.
bool Turn::others_are_standbys(NodeId node) const {
  return std::all_of(state_.members.begin(), state_.members.end(), [&](const Member& m) {
    return m.node.id == node || !m.node.live() || m.node.real_role == Role::standby;
  });
}

// What the nodes have said since the last of them turned into a primary: earlier words, put together with its own, make
// two primaries of one that was replaced. A standby that is silent, or refused to say, is not waited for.
bool Turn::all_heard() const {
  return all_answered() && std::all_of(state_.members.begin(), state_.members.end(), [](const Member& m) {
           const Role role = m.node.real_role;
           return m.heard || !m.node.live() || role == Role::unknown || (role == Role::standby && m.missed);
         });
}

// With several primaries: the one that all standbys that were heard receive from. kNoNode: they do not agree, or there
// is none.
NodeId Turn::owner_of_standbys() const {
  NodeId owner = kNoNode;
  for (const Member& standby : state_.members) {
    if (!standby.node.live() || standby.node.real_role != Role::standby || standby.missed) continue;
    if (!standby.upstream) return kNoNode;
    const auto owns = [&](const Member& m) { return says_primary(m) && points_at(*standby.upstream, m.node); };
    const auto found = std::find_if(state_.members.begin(), state_.members.end(), owns);
    if (found == state_.members.end() || (owner != kNoNode && owner != found->node.id)) return kNoNode;
    owner = found->node.id;
  }
  return owner;
}

// A primary that nothing takes down does not answer, and a standby was promoted since it was heard last: that one has
// taken over. One that was out of recovery before has not.
NodeId Turn::risen_beside_a_silent_primary() const {
  const auto standing = std::find_if(state_.members.begin(), state_.members.end(),
                                     [&](const Member& m) { return m.node.id == state_.primary; });
  if (standing == state_.members.end() || !standing->node.live() || !standing->silent) return kNoNode;
  const bool goes_down = state_.rules.failover.on_backend_error || is_checked(standing->node.id);
  if (standing->node.allow_to_failover && goes_down) return kNoNode;
  const auto risen = [](const Member& m) { return m.rises && says_primary(m); };
  if (std::count_if(state_.members.begin(), state_.members.end(), risen) != 1) return kNoNode;
  return std::find_if(state_.members.begin(), state_.members.end(), risen)->node.id;
}

// What a standby gets its WAL from, over others in between; nullptr: no node that is known here, or it does not
// receive.
const Member* Turn::source_of(const Member& standby) const {
  const Member* source = nullptr;
  const Member* at = &standby;
  for (std::size_t i = 0; i < state_.members.size() && at->upstream && at->node.real_role == Role::standby; ++i) {
    const auto sends = [&](const Member& m) { return m.node.live() && points_at(*at->upstream, m.node); };
    const auto found = std::find_if(state_.members.begin(), state_.members.end(), sends);
    if (found == state_.members.end()) break;
    source = at = &*found;
  }
  return source;
}

// One that was out of recovery while the primary worked, which is lost now. It may have been promoted to take its
// place, by somebody who stopped the old one later. It has taken over where nobody was told to promote another one, or
// where the one that failover_command was told to promote stays a standby.
bool Turn::stray_takes_over(const Member& stray) const {
  if (!state_.lost) return false;
  const auto risen = [](const Member& m) { return says_primary(m) && !is_stray(m); };
  if (std::any_of(state_.members.begin(), state_.members.end(), risen)) return false;
  if (state_.rules.failover.failover_command.empty() || state_.lost->heir == stray.node.id) return true;
  if (state_.operation && state_.operation->stage != Operation::searching) return false;
  const auto follows = [&](const Member& m) {
    return m.node.id == state_.lost->heir && m.node.live() && source_of(m) == &stray;
  };
  return state_.lost->overdue || state_.lost->searched >= kHeirPatience ||
         std::any_of(state_.members.begin(), state_.members.end(), follows);
}

// Of those that say that they are the primary. One that did so while the primary worked may lack what was written
// since, so that the other has died is not enough. Under the built-in failover, which loses nothing that was
// acknowledged, it does not take over at all, nor does one that is not heard now.
bool Turn::may_take_over(const Member& m) const {
  if (!says_primary(m)) return false;
  const auto old = std::find_if(state_.members.begin(), state_.members.end(),
                                [&](const Member& other) { return other.node.id == state_.primary; });
  if (old == state_.members.end() || old->node.id == m.node.id) return true;
  if (m.invalid && says_primary(*old)) return false;
  const bool lost = state_.lost || !old->node.live();
  if (!lost) return true;
  const bool followed = old->node.live() && old->node.real_role == Role::standby && old->upstream;
  if (followed && points_at(*old->upstream, m.node)) return true;  // somebody has made that one its standby
  const auto& operation = state_.operation;
  const bool unheard =
      m.silent || (operation && (among(operation->awaited, m.node.id) || among(operation->silent, m.node.id)));
  if (state_.rules.failover.builtin) return !is_stray(m) && !unheard;
  return !is_stray(m) || (!unheard && stray_takes_over(m));
}

// A primary that stands stays, also while it is down, until another node is found to be one; before every node was
// heard the lowest id counts, so that the order of answers at start does not matter.
NodeId Turn::choose_primary() const {
  if (!state_.rules.streaming) return kNoNode;
  NodeId lowest = kNoNode, standing = kNoNode;
  bool standing_says_so = false;
  for (const Member& m : state_.members) {
    if (m.node.always_primary) return m.node.id;
    if (m.node.id == state_.appointed && m.node.live()) return m.node.id;
  }
  if (state_.rules.failover.detach_false_primary && all_heard()) {
    if (const NodeId owner = owner_of_standbys(); owner != kNoNode) return owner;
  }
  if (const NodeId risen = risen_beside_a_silent_primary(); risen != kNoNode) return risen;
  for (const Member& m : state_.members) {
    const bool says_so = may_take_over(m);
    if (says_so && lowest == kNoNode) lowest = m.node.id;
    if (m.node.id != state_.primary) continue;
    if (m.node.real_role != Role::standby) standing = m.node.id;
    standing_says_so = says_so;
  }
  if (standing_says_so && all_answered()) return standing;
  return lowest != kNoNode ? lowest : standing;
}

// Not only known from earlier: a node that lives and is the primary now.
bool Turn::primary_found() const {
  for (const Member& m : state_.members) {
    if (m.node.id != state_.primary || !m.node.live()) continue;
    return m.node.real_role == Role::primary || m.node.always_primary || m.node.id == state_.appointed;
  }
  return false;
}

// Under the built-in failover nobody makes a primary of the appointed one that says it is a standby. One that is out of
// recovery is taken once by a person's word, whatever speaks against it, and then stands by its own.
void Turn::settle_primary() {
  const Member* appointed = find(state_.appointed);
  const Role said = appointed ? appointed->node.real_role : Role::unknown;
  if (state_.rules.failover.builtin && said == Role::standby) state_.appointed = kNoNode;
  const NodeId before = std::exchange(state_.primary, choose_primary());
  if (said == Role::primary) state_.appointed = kNoNode;
  if (state_.primary != kNoNode) {
    state_.searching = false;
    if (state_.primary == before) return;
    if (Member* old = find(before)) {
      old->superseded = !old->node.live() || old->silent ? state_.primary : kNoNode;
      old->reported = false;
      if (old->silent) old->node.real_role = Role::unknown;
    }
    if (Member* fresh = find(state_.primary)) fresh->superseded = kNoNode;
    say(Level::log, fmt::format("find_primary_node: primary node is {}", state_.primary.value));
    if (before != kNoNode) say(Level::log, fmt::format("failover: set new primary node: {}", state_.primary.value));
    return;
  }
  if (!state_.rules.streaming || !all_answered() || std::exchange(state_.searching, true)) return;
  const bool by_request_only = state_.rules.failover.builtin && !state_.lost;
  say(by_request_only ? Level::warning : Level::log, "find_primary_node_repeatedly: waiting for finding a primary node",
      by_request_only ? "No node says that it is out of recovery, and nobody is promoted unasked: what the primary had "
                        "acknowledged is not known. Start it, or use pcp_promote_node --switchover."
                      : "No node says that it is out of recovery; the main node stands in.");
}

// Who was away while the built-in failover promoted another, a successor that died, say, may have more than that one,
// and follows nobody. Some that are down answered it, and were pointed.
void Turn::keep_down_those_not_pointed(const LostPrimary& lost) {
  if (lost.primary == kNoNode) return;
  for (Member& m : state_.members)
    if (m.node.status == NodeStatus::down && !among(lost.pointed, m.node.id))
      keep_down(m, fmt::format("It was not pointed at the new primary, node {}.", state_.primary.value));
}

// A primary was lost and there is one again: the others are told to follow it, or the built-in failover has pointed
// them at it.
void Turn::settle_lost() {
  if (!state_.lost || !primary_found()) return;
  if (state_.operation && state_.operation->stage != Operation::searching) return;
  const LostPrimary lost = *std::exchange(state_.lost, std::nullopt);
  if (state_.operation) end_operation();
  if (lost.primary == state_.primary) return;
  if (state_.rules.failover.builtin) return keep_down_those_not_pointed(lost);
  if (state_.rules.failover.follow_primary_command.empty()) return;
  follow({state_.primary, lost.primary, lost.old_main, {}});
}

void Turn::ask_again() {
  for (const Member& m : state_.members)
    if (m.node.live() && !m.heard) actions_.probe.push_back(m.node.id);
}

void Turn::settle_invalid() {
  if (!all_answered()) return;
  const bool may_detach =
      state_.rules.failover.detach_false_primary && !state_.operation && !state_.following && primary_found();
  const bool may_judge = all_heard();
  for (Member& m : state_.members) {
    const bool invalid =
        state_.primary != kNoNode && m.node.id != state_.primary && m.node.live() && m.node.real_role == Role::primary;
    if (invalid && !m.invalid)
      say(Level::warning, fmt::format("find_primary_node: invalid node {}", m.node.id.value),
          fmt::format("It is out of recovery too, while node {} is the primary.", state_.primary.value));
    if (invalid && !m.invalid && may_detach && !may_judge) ask_again();
    m.invalid = invalid;
    if (invalid && may_detach && may_judge && m.node.allow_to_failover)
      demand(Demand::down, m.node.id, fmt::format("a false primary: node {} is the primary", state_.primary.value),
             Cause::false_primary);
  }
}

}  // namespace herdgate::cluster
