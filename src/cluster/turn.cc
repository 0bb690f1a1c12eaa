#include "cluster/turn.h"

#include <fmt/format.h>

#include <algorithm>

namespace herdgate::cluster {
namespace {

constexpr double kMicrosecondsPerSecond = 1e6;

Member new_member(NodeId id, WallTime now) {
  Member member;
  member.node.id = id;
  member.node.status_changed = now;
  return member;
}

}  // namespace

NodeId main_of(const std::vector<Member>& members) {
  for (const Member& m : members)
    if (m.node.live()) return m.node.id;
  return kNoNode;
}

Member* Turn::find(NodeId id) {
  for (Member& m : state_.members)
    if (m.node.id == id) return &m;
  return nullptr;
}

void Turn::say(Level level, std::string text, std::string detail) {
  actions_.log.push_back({level, std::move(text), std::move(detail)});
}

// ---- settings and start

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
    const bool down = saved(m) == SavedStatus::down;
    m.node.status = down ? NodeStatus::down : NodeStatus::unused;
    m.node.status_reason = down ? "down in the status file" : "unused in the status file";
    m.held = true;
    say(Level::log, fmt::format("node {} is {}", m.node.id.value, m.node.status_reason));
  }
}

void Turn::operator()(const Started& event) {
  take_rules(event.rules);
  for (Member& m : state_.members) m.node.status_reason = "start";
  if (event.file) apply_file(*event.file);
  if (event.unfinished) resume(*event.unfinished);
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
    m.returns = true;
    say(Level::log, fmt::format("node {} was added: {}({})", m.node.id.value, m.node.host, m.node.port));
    actions_.probe.push_back(m.node.id);
  }
  for (NodeId id : before)
    if (!find(id)) say(Level::log, fmt::format("node {} was removed from the configuration", id.value));
}

// ---- probes

void Turn::complain(Member& member, std::string text, const std::string& detail) {
  if (member.complaint == detail) return;
  member.complaint = detail;
  say(Level::warning, std::move(text), fmt::format("Node {}: {}.", member.node.id.value, detail));
}

void Turn::take_role(Member& member, bool in_recovery) {
  const Role role = in_recovery ? Role::standby : Role::primary;
  if (!in_recovery && member.node.real_role != role)
    for (Member& m : state_.members) m.heard = m.missed = false;
  if (role == Role::standby && member.node.real_role != role && state_.rules.streaming)
    say(Level::log, fmt::format("find_primary_node: standby node is {}", member.node.id.value));
  if (member.node.id == state_.primary && !in_recovery)
    for (Member& m : state_.members) m.rises = false;
  else
    member.rises = !in_recovery && (member.rises || member.node.real_role == Role::standby);
  member.node.real_role = role;
  if (state_.operation) std::erase(state_.operation->silent, member.node.id);
  if (!in_recovery) return;
  member.superseded = kNoNode;
  // One that stayed in use and is out of recovery may be what it follows by now.
  for (Member& m : state_.members)
    if (m.superseded == member.node.id && m.node.live()) m.superseded = kNoNode;
}

bool Turn::is_checked(NodeId node) const {
  const auto& setups = state_.rules.nodes;
  const auto setup = std::find_if(setups.begin(), setups.end(), [&](const NodeSetup& n) { return n.id == node; });
  return setup != setups.end() && setup->health_checked;
}

// Where health checks are on, they decide; where they are off, the probes of the replication check stand in for them.
void Turn::lost_by_probe(Member& member, const ProbeResult& event) {
  const int id = event.node.value;
  const bool checked = is_checked(event.node);
  // A name service may err for a moment: its word counts by the retries of the health check, or the second time.
  const bool certain = !event.nameless || (!checked && member.silent);
  const bool hinted = state_.rules.failover.on_backend_error && (member.suspected || !checked);
  const bool counts = member.ending || (certain && hinted);
  if (!member.node.allow_to_failover)
    return complain(member, fmt::format("node {} does not answer; failover is disallowed on the node", id), event.text);
  if (!counts) return complain(member, fmt::format("node {} does not answer", id), event.text);
  demand(Demand::down, event.node, event.text, Cause::connection);
}

// A node that is down and returns by itself. One that was a primary until another took over does not: it lacks what
// was written since.
void Turn::answered_again(Member& member, std::optional<bool> in_recovery) {
  if (member.superseded != kNoNode && in_recovery != true) {
    member.returns = false;
    member.reported = true;
    say(Level::warning, fmt::format("node {} answers again and is not used", member.node.id.value),
        "It was the primary until another node took over. Make it a standby and attach it.");
    return;
  }
  if (member.returns) return void(demand(Demand::attach, member.node.id, kAnswersAgain));
  member.reported = true;
  say(Level::log, fmt::format("node {} is a standby now", member.node.id.value), "It is used when it is attached.");
}

// An earlier verdict, which waits still: the node works.
void Turn::withdraw(NodeId node, Cause verdict) {
  std::erase_if(state_.demands,
                [&](const Demand& d) { return d.kind == Demand::down && d.node == node && d.cause == verdict; });
}

void Turn::operator()(const ProbeResult& event) {
  Member* member = find(event.node);
  if (!member || !worth_probing(*member)) return;
  member->answered = true;
  const int id = event.node.value;
  const bool gone = event.outcome == Outcome::unreachable;
  member->missed = gone || event.outcome == Outcome::refused;
  if (gone || (event.outcome == Outcome::not_ready && member->ending)) {
    if (member->node.live()) lost_by_probe(*member, event);
    member->silent = gone;
    return;
  }
  member->silent = false;
  if (event.outcome == Outcome::not_ready)
    return complain(*member, fmt::format("node {} is not ready", id), event.text);
  member->suspected = member->doubted = member->ending = false;
  withdraw(event.node, Cause::connection);
  withdraw(event.node, Cause::health_check);
  if (member->node.status == NodeStatus::down) {
    answered_again(*member, event.in_recovery);
    if (!member->returns || state_.operation) return;
  }
  if (event.outcome == Outcome::refused)
    return complain(*member, fmt::format("could not check node {}", id), event.text);
  if (!std::exchange(member->complaint, {}).empty()) say(Level::log, fmt::format("node {} is checked again", id));
  member->upstream = event.upstream;
  if (event.in_recovery) take_role(*member, *event.in_recovery);
  member->heard = event.in_recovery.has_value();
}

void Turn::operator()(const HealthChecked& event) {
  Member* member = find(event.node);
  if (!member || member->node.status == NodeStatus::unused) return;
  const int id = event.node.value;
  if (works(event.outcome)) {
    member->doubted = false;
    withdraw(event.node, Cause::health_check);
  }
  if (event.outcome != Outcome::unreachable) {
    if (member->node.quarantined)
      demand(Demand::attach, event.node, "the quarantined node answers again");
    else if (event.outcome == Outcome::healthy && member->node.status == NodeStatus::down)
      auto_failback(*member);
    else if (event.outcome != Outcome::healthy)
      complain(*member, fmt::format("could not check node {}", id), event.text);
    return;
  }
  if (!member->node.live()) return;
  if (member->node.allow_to_failover) {
    demand(Demand::down, event.node, "health check: " + event.text, Cause::health_check);
    return;
  }
  complain(*member, fmt::format("health check failed on node {}; failover is disallowed on the node", id), event.text);
}

void Turn::operator()(const ConnectionFailed& event) {
  Member* member = find(event.node);
  if (!member || !member->node.live()) return;
  const FailoverRules& rules = state_.rules.failover;
  member->suspected |= rules.on_backend_error;
  member->doubted |= event.doubt && event.node == state_.primary;
  member->ending |= event.shutdown && rules.on_backend_shutdown;
  actions_.probe.push_back(event.node);
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

// Every second of the older half goes when there are too many. Where the primary is as far as before, or another one is
// not so far, it is there now.
void Turn::note_round(std::uint64_t position) {
  auto& rounds = state_.rounds;
  while (!rounds.empty() && rounds.back().position >= position) rounds.pop_back();
  rounds.push_back({now_, position});
  if (rounds.size() <= kMaxRounds) return;
  std::size_t kept = 0;
  for (std::size_t i = 0; i < rounds.size(); ++i)
    if (i % 2 == 0 || i > rounds.size() / 2) rounds[kept++] = rounds[i];
  rounds.resize(kept);
}

// How long ago the primary was there. nullopt: longer than is remembered.
std::optional<std::chrono::microseconds> Turn::behind(std::uint64_t position) const {
  const auto& rounds = state_.rounds;
  const auto reached = [&](const WrittenTo& round) { return round.position <= position; };
  const auto newest = std::find_if(rounds.rbegin(), rounds.rend(), reached);
  if (newest == rounds.rend()) return std::nullopt;
  const auto since = std::chrono::duration_cast<std::chrono::microseconds>(now_ - newest->at);
  return std::max(since, std::chrono::microseconds(0));
}

// Of one that the primary does not send to, and that is not as far as anything remembered: it shows what there was
// then.
std::chrono::microseconds Turn::older(const Member& member) const {
  const auto since = std::chrono::duration_cast<std::chrono::microseconds>(now_ - *member.delay_known);
  return *member.node.delay_time + std::max(since, std::chrono::microseconds(0));
}

// What was measured last counts while nothing newer is known: else one that gets worse would be used again. One that
// the primary does not list receives from elsewhere, or under another name, or does not receive: how far it is counts.
void Turn::take_delay(Member& member, const NodeReplication* report, const Progress& primary) {
  Node& node = member.node;
  if (!state_.rules.delay_by_time()) {
    node.delay_time.reset();
    if (report && report->delay_bytes) node.delay_bytes = report->delay_bytes;
    return;
  }
  node.delay_bytes.reset();
  const bool listed = report && report->delay_time;
  if (!listed && (!node.delay_time || !member.delay_known)) return node.delay_time.reset();  // never measured
  std::optional<std::chrono::microseconds> delay;
  if (listed) {
    delay = report->delay_time;
  } else if (report && report->delay_bytes) {
    const std::uint64_t replayed = primary.position - *report->delay_bytes;
    delay = replayed >= primary.enough ? std::chrono::microseconds(0) : behind(replayed);
  }
  node.delay_time = delay ? *delay : older(member);
  member.delay_known = now_;
}

void Turn::take_replication(Member& member, const NodeReplication* report) {
  Node& node = member.node;
  node.replayed_to = report ? report->replayed_to : std::nullopt;
  node.replication_state = report ? report->state : "";
  node.replication_sync_state = report ? report->sync_state : "";
}

void Turn::operator()(const ReplicationReport& event) {
  // It was asked a moment earlier or later than the primary, so what there was a round ago is enough.
  const std::uint64_t position = event.primary_position;
  const std::uint64_t before = state_.rounds.empty() ? position : std::min(position, state_.rounds.back().position);
  const Progress primary{position, position - (position - before) / (state_.rounds_missed + 1)};
  state_.rounds_missed = event.nodes.empty() ? state_.rounds_missed + 1 : 0;
  if (!state_.rules.delay_by_time())
    state_.rounds.clear();
  else if (state_.rounds_missed == 0)
    note_round(position);
  for (Member& member : state_.members) {
    const auto same = [&](const NodeReplication& r) { return r.node == member.node.id; };
    const auto found = std::find_if(event.nodes.begin(), event.nodes.end(), same);
    member.streams = found != event.nodes.end() && found->state == "streaming";
    if (!member.node.live()) continue;
    const NodeReplication* report = found == event.nodes.end() ? nullptr : &*found;
    take_replication(member, report);
    if (event.nodes.empty()) continue;
    take_delay(member, report, primary);
    say_delay(member.node);
  }
}

}  // namespace herdgate::cluster
