#include "cluster/state.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

namespace herdgate::cluster {
namespace {

constexpr double kMicrosecondsPerSecond = 1e6;

NodeId main_of(const std::vector<Member>& members) {
  for (const Member& m : members)
    if (m.node.live()) return m.node.id;
  return kNoNode;
}

// One event being worked in: the state as it becomes, and what has been decided so far.
class Turn {
 public:
  Turn(const State& before, WallTime now) : state_(before), now_(now) {}

  void operator()(const Started& event);
  void operator()(const SettingsChanged& event);
  void operator()(const ProbeResult& event);
  void operator()(const ReplicationReport& event);
  void operator()(const ConnectionFailed& event);
  void operator()(const FirstConnection& event);
  Stepped finish(const State& before);

 private:
  Member* find(NodeId id);
  void say(Level level, std::string text, std::string detail = {});
  void take_rules(const Rules& rules);
  void apply_file(const StateFile& file);
  void take_down(Member& member, const std::string& reason);
  void bring_back(Member& member);
  void complain(Member& member, std::string text, const std::string& detail);
  void take_role(Member& member, bool in_recovery);
  void take_replication(Member& member, const NodeReplication* report);
  void say_delay(const Node& node);
  bool all_answered() const;
  NodeId choose_primary() const;
  void settle_primary();
  void settle_invalid();

  State state_;
  Actions actions_;
  WallTime now_;
};

Member* Turn::find(NodeId id) {
  for (Member& m : state_.members)
    if (m.node.id == id) return &m;
  return nullptr;
}

void Turn::say(Level level, std::string text, std::string detail) {
  actions_.log.push_back({level, std::move(text), std::move(detail)});
}

// ---- settings and start

Member new_member(NodeId id, WallTime now) {
  Member member;
  member.node.id = id;
  member.node.status_changed = now;
  return member;
}

void Turn::take_rules(const Rules& rules) {
  double total = 0;
  for (const NodeSetup& n : rules.nodes) total += n.weight;
  std::vector<Member> members;
  for (const NodeSetup& n : rules.nodes) {
    const Member* known = find(n.id);
    Member member = known ? *known : new_member(n.id, now_);
    member.node.host = n.host;
    member.node.port = n.port;
    member.node.weight = total > 0 ? n.weight / total : 0;
    member.node.allow_to_failover = n.allow_to_failover;
    member.node.always_primary = n.always_primary;
    members.push_back(std::move(member));
  }
  state_.members = std::move(members);
  state_.rules = rules;
}

void Turn::apply_file(const StateFile& file) {
  for (const std::string& complaint : file.complaints)
    say(Level::warning, "a line of the status file was not understood", complaint + ".");
  const auto saved = [&](const Member& m) {
    const auto index = static_cast<std::size_t>(m.node.id.value);
    return index < file.nodes.size() ? file.nodes[index] : SavedStatus::up;
  };
  const auto& members = state_.members;
  if (!std::any_of(members.begin(), members.end(), [&](const Member& m) { return saved(m) == SavedStatus::up; })) {
    say(Level::log, "the status file is ignored", "It leaves no node to work with.");
    return;
  }
  for (Member& m : state_.members) {
    if (saved(m) == SavedStatus::up) continue;
    m.kept_down = saved(m) == SavedStatus::down;
    m.node.status = m.kept_down ? NodeStatus::down : NodeStatus::unused;
    m.node.status_reason = m.kept_down ? "down in the status file" : "unused in the status file";
    say(Level::log, fmt::format("node {} is {}", m.node.id.value, m.node.status_reason));
  }
}

void Turn::operator()(const Started& event) {
  take_rules(event.rules);
  for (Member& m : state_.members) m.node.status_reason = "start";
  if (event.file) apply_file(*event.file);
  for (const Member& m : state_.members)
    if (worth_probing(m)) actions_.probe.push_back(m.node.id);
}

void Turn::operator()(const SettingsChanged& event) {
  std::vector<NodeId> before;
  for (const Member& m : state_.members) before.push_back(m.node.id);
  take_rules(event.rules);
  for (Member& m : state_.members) {
    if (std::find(before.begin(), before.end(), m.node.id) != before.end()) continue;
    m.node.status = NodeStatus::down;
    m.node.status_reason = "added by reload";
    say(Level::log, fmt::format("node {} was added: {}({})", m.node.id.value, m.node.host, m.node.port));
    actions_.probe.push_back(m.node.id);
  }
  for (NodeId id : before)
    if (!find(id)) say(Level::log, fmt::format("node {} was removed from the configuration", id.value));
}

// ---- probes

void Turn::take_down(Member& member, const std::string& reason) {
  Node& node = member.node;
  const NodeId main_before = main_of(state_.members);
  say(Level::log, fmt::format("=== Starting degeneration. shutdown host {}({}) ===", node.host, node.port),
      fmt::format("Node {}: {}.", node.id.value, reason));
  node.status = NodeStatus::down;
  node.status_changed = now_;
  node.status_reason = reason;
  node.real_role = Role::unknown;
  node.delay_bytes.reset();
  node.delay_time.reset();
  node.replication_state.clear();
  node.replication_sync_state.clear();
  member.invalid = false;
  member.complaint.clear();
  const NodeId main = main_of(state_.members);
  if (main == kNoNode)
    say(Level::log, "failover: no valid backend node found");
  else if (main != main_before)
    say(Level::log, fmt::format("failover: set new main node: {}", main.value));
  say(Level::log, fmt::format("=== Failover done. shutdown host {}({}) ===", node.host, node.port));
}

void Turn::bring_back(Member& member) {
  Node& node = member.node;
  const NodeId main_before = main_of(state_.members);
  say(Level::log, fmt::format("=== Starting fail back. reconnect host {}({}) ===", node.host, node.port),
      fmt::format("Node {} answers again.", node.id.value));
  node.status = NodeStatus::waiting;
  node.status_changed = now_;
  node.status_reason = "answers again";
  const NodeId main = main_of(state_.members);
  if (main != main_before) say(Level::log, fmt::format("failover: set new main node: {}", main.value));
  say(Level::log, fmt::format("=== Failback done. reconnect host {}({}) ===", node.host, node.port));
}

void Turn::complain(Member& member, std::string text, const std::string& detail) {
  if (member.complaint == detail) return;
  member.complaint = detail;
  say(Level::warning, std::move(text), fmt::format("Node {}: {}.", member.node.id.value, detail));
}

void Turn::take_role(Member& member, bool in_recovery) {
  const Role role = in_recovery ? Role::standby : Role::primary;
  if (role == Role::standby && member.node.real_role != role && state_.rules.streaming)
    say(Level::log, fmt::format("find_primary_node: standby node is {}", member.node.id.value));
  member.node.real_role = role;
}

void Turn::operator()(const ProbeResult& event) {
  Member* member = find(event.node);
  if (!member || !worth_probing(*member)) return;
  member->answered = true;
  const int id = event.node.value;
  if (event.outcome == Outcome::unreachable) {
    if (!member->node.live()) return;
    if (member->node.allow_to_failover) return take_down(*member, event.text);
    return complain(*member, fmt::format("node {} does not answer; failover is disallowed on the node", id),
                    event.text);
  }
  if (event.outcome == Outcome::not_ready)
    return complain(*member, fmt::format("node {} is not ready", id), event.text);
  if (member->node.status == NodeStatus::down) bring_back(*member);
  if (event.outcome == Outcome::refused)
    return complain(*member, fmt::format("could not check node {}", id), event.text);
  if (!std::exchange(member->complaint, {}).empty()) say(Level::log, fmt::format("node {} is checked again", id));
  if (event.in_recovery) take_role(*member, *event.in_recovery);
}

void Turn::operator()(const ConnectionFailed& event) {
  const Member* member = find(event.node);
  if (member && member->node.live()) actions_.probe.push_back(event.node);
}

void Turn::operator()(const FirstConnection& event) {
  Member* member = find(event.node);
  if (!member || member->node.status != NodeStatus::waiting) return;
  member->node.status = NodeStatus::up;
  member->node.status_changed = now_;
}

// ---- replication

void Turn::say_delay(const Node& node) {
  const Rules& rules = state_.rules;
  if (rules.delay_log == DelayLog::none || node.id == state_.primary) return;
  const bool always = rules.delay_log == DelayLog::always;
  const int primary = state_.primary.value;
  if (node.delay_time && (*node.delay_time > rules.delay_threshold_time || (always && node.delay_time->count() > 0)))
    say(Level::log,
        fmt::format("Replication of node: {} is behind {:.6f} second(s) from the primary server (node: {})",
                    node.id.value, static_cast<double>(node.delay_time->count()) / kMicrosecondsPerSecond, primary));
  const std::uint64_t bytes = node.delay_bytes.value_or(0);
  const bool over = rules.delay_threshold_bytes > 0 && bytes > rules.delay_threshold_bytes;
  if (over || (always && bytes > 0))
    say(Level::log, fmt::format("Replication of node: {} is behind {} bytes from the primary server (node: {})",
                                node.id.value, bytes, primary));
}

void Turn::take_replication(Member& member, const NodeReplication* report) {
  Node& node = member.node;
  const bool by_time = state_.rules.delay_by_time();
  node.delay_bytes = report && !by_time ? report->delay_bytes : std::nullopt;
  node.delay_time = report && by_time ? report->delay_time : std::nullopt;
  node.replication_state = report ? report->state : "";
  node.replication_sync_state = report ? report->sync_state : "";
  say_delay(node);
}

void Turn::operator()(const ReplicationReport& event) {
  for (Member& member : state_.members) {
    if (!member.node.live()) continue;
    const auto same = [&](const NodeReplication& r) { return r.node == member.node.id; };
    const auto found = std::find_if(event.nodes.begin(), event.nodes.end(), same);
    take_replication(member, found == event.nodes.end() ? nullptr : &*found);
  }
}

// ---- the primary

bool Turn::all_answered() const {
  return std::all_of(state_.members.begin(), state_.members.end(),
                     [](const Member& m) { return m.answered || !worth_probing(m); });
}

// A primary that stands stays, also while it is down, until another node is found to be one; before every node was
// heard the lowest id counts, so that the order of answers at start does not matter.
NodeId Turn::choose_primary() const {
  if (!state_.rules.streaming) return kNoNode;
  NodeId lowest = kNoNode, standing = kNoNode;
  bool standing_says_so = false;
  for (const Member& m : state_.members) {
    if (m.node.always_primary) return m.node.id;
    const bool says_so = m.node.live() && m.node.real_role == Role::primary;
    if (says_so && lowest == kNoNode) lowest = m.node.id;
    if (m.node.id != state_.primary) continue;
    if (m.node.real_role != Role::standby) standing = m.node.id;
    standing_says_so = says_so;
  }
  if (standing_says_so && all_answered()) return standing;
  return lowest != kNoNode ? lowest : standing;
}

void Turn::settle_primary() {
  const NodeId before = std::exchange(state_.primary, choose_primary());
  if (state_.primary != kNoNode) {
    state_.searching = false;
    if (state_.primary == before) return;
    say(Level::log, fmt::format("find_primary_node: primary node is {}", state_.primary.value));
    if (before != kNoNode) say(Level::log, fmt::format("failover: set new primary node: {}", state_.primary.value));
    return;
  }
  if (!state_.rules.streaming || !all_answered() || std::exchange(state_.searching, true)) return;
  say(Level::log, "find_primary_node_repeatedly: waiting for finding a primary node",
      "No node says that it is out of recovery; the main node stands in.");
}

void Turn::settle_invalid() {
  if (!all_answered()) return;
  for (Member& m : state_.members) {
    const bool invalid =
        state_.primary != kNoNode && m.node.id != state_.primary && m.node.live() && m.node.real_role == Role::primary;
    if (invalid && !m.invalid)
      say(Level::warning, fmt::format("find_primary_node: invalid node {}", m.node.id.value),
          fmt::format("It is out of recovery too, while node {} is the primary.", state_.primary.value));
    m.invalid = invalid;
  }
}

bool same_view(const State& a, const State& b) {
  const auto same_node = [](const Member& x, const Member& y) { return x.node == y.node; };
  return a.primary == b.primary &&
         std::equal(a.members.begin(), a.members.end(), b.members.begin(), b.members.end(), same_node);
}

Stepped Turn::finish(const State& before) {
  settle_primary();
  settle_invalid();
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

}  // namespace

Stepped step(const State& state, const Event& event, WallTime now) {
  Turn turn(state, now);
  std::visit(turn, event);
  return turn.finish(state);
}

bool worth_probing(const Member& member) { return member.node.status != NodeStatus::unused && !member.kept_down; }

ViewPtr view_of(const State& state) {
  auto view = std::make_shared<View>();
  view->epoch = state.epoch;
  view->primary = state.primary;
  for (const Member& m : state.members) view->nodes.push_back(m.node);
  return view;
}

}  // namespace herdgate::cluster
