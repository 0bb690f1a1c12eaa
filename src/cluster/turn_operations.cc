// The work of a failover: demands and requests, one operation at a time, commands, the search for the new primary.
#include <fmt/format.h>

#include <algorithm>

#include "cluster/turn.h"

namespace herdgate::cluster {
namespace {

const char* status_word(const Node& node) {
  static constexpr const char* kWords[] = {"unused", "waiting", "up", "down"};
  return node.quarantined ? "quarantine" : kWords[static_cast<int>(node.status)];
}

// What may turn out to be over counts less than what does not, and a person's word more than the machine's.
int strength(const Demand& demand) {
  if (demand.reason == kByRequest) return demand.follows == kNoNode ? 4 : 3;  // 3: while that one is the primary
  if (demand.cause == Cause::connection) return 0;
  return demand.cause == Cause::health_check ? 1 : 2;
}

constexpr const char* kNobodyPromotes =
    "It does not say that it is out of recovery, and pcp_promote_node without --switchover promotes nobody: it only "
    "has the proxy take the node for the primary. Use --switchover.";

std::string could_not_promote(NodeId node) { return fmt::format("could not promote node {}", node.value); }

std::string place(const Node& node) { return fmt::format("{}({})", node.host, node.port); }

// It does not work, whatever else is to be said of it.
bool is_dead(const Demand& demand) { return demand.cause == Cause::health_check || demand.cause == Cause::connection; }

}  // namespace

// ---- demands

bool Turn::demand(Demand::Kind kind, NodeId node, std::string reason, Cause cause) {
  return demand(Demand{kind, node, std::move(reason), cause});
}

// What is wanted already is wanted once, for the stronger reason. A verdict that the node is dead stands beside others:
// they may be dropped (spares_primary()), it may be withdrawn.
bool Turn::demand(Demand wanted) {
  const auto same = [&](const Demand& d) {
    return d.kind == wanted.kind && d.node == wanted.node && is_dead(d) == is_dead(wanted);
  };
  if (state_.operation && same(state_.operation->demand)) return true;
  auto& waiting = state_.demands;
  if (const auto known = std::find_if(waiting.begin(), waiting.end(), same); known != waiting.end()) {
    if (strength(wanted) > strength(*known)) *known = std::move(wanted);
    return true;
  }
  if (waiting.size() >= kMaxDemands) return false;
  waiting.push_back(std::move(wanted));
  return true;
}

// A standby of what was the primary when it was looked at, while another one may be by now.
bool Turn::outdated(const Demand& demand) {
  if (demand.kind != Demand::attach || demand.follows == kNoNode) return false;
  const Member* followed = find(demand.follows);
  if (followed && followed->node.live() && followed->node.id == state_.primary) return false;
  say(Level::warning, fmt::format("node {} is not attached", demand.node.value),
      fmt::format("It was seen to follow node {}, which is not the primary any more.", demand.follows.value));
  return true;
}

// It has become the primary since it was to be taken out of use, not because it is dead. The built-in failover promotes
// nobody while the primary works.
bool Turn::spares_primary(const Demand& demand) {
  const bool takes_out = demand.kind == Demand::down || demand.kind == Demand::quarantine;
  if (!state_.rules.failover.builtin || !takes_out || is_dead(demand) || demand.node != state_.primary) return false;
  say(Level::warning, fmt::format("node {} stays in use", demand.node.value),
      fmt::format("It was to be taken down ({}) and is the primary by now.", demand.reason));
  return true;
}

// What is not out of recovery would not become a primary, and the one that is would be set down.
bool Turn::nobody_would_promote(const Member& member) const {
  return state_.rules.failover.builtin && state_.rules.asks && member.node.real_role != Role::primary;
}

// It was out of recovery when the promotion was asked for.
bool Turn::recovers_again(const Demand& demand, const Member& member) {
  if (demand.kind != Demand::promote || !nobody_would_promote(member)) return false;
  say(Level::warning, could_not_promote(demand.node), kNobodyPromotes);
  return true;
}

// At start everything waits until the primary is known, or every node was asked: scripts are told who it was. A search
// for a primary gives way to what is demanded meanwhile; it is taken up again while none is found.
void Turn::work_off() {
  for (;;) {
    settle_primary();
    settle_lost();
    give_up_switchover_without_nodes();
    if (state_.operation && state_.operation->stage == Operation::searching) {
      std::erase_if(state_.demands, [](const Demand& d) { return d.kind == Demand::search; });
      if (state_.demands.empty()) return;
      end_operation();
      state_.demands.push_back({Demand::search, state_.lost->primary, {}});  // may be one over kMaxDemands: it is ours
    }
    if (state_.operation || state_.demands.empty() || !looked_around(state_)) return;
    const Demand next = state_.demands.front();
    state_.demands.pop_front();
    begin(next);
  }
}

void Turn::begin(const Demand& demand) {
  if (demand.kind == Demand::search) return resume_search();
  Member* member = find(demand.node);
  if (!member) return;
  const bool live = member->node.live();
  const bool over = demand.kind == Demand::attach ? live : !live;  // done already by what came before
  const bool switches = demand.kind == Demand::switchover;
  if (switches && (over || demand.node == state_.primary))
    return actions_.switchovers_ended.push_back({demand.node, over ? "the node went down" : ""});
  // Whoever attaches what is in use means that it may be the primary again.
  if (over && demand.kind == Demand::attach && demand.reason == kByRequest) member->superseded = kNoNode;
  if (over) return;
  if (outdated(demand) || spares_primary(demand) || recovers_again(demand, *member)) return;
  if (demand.reason == kAnswersAgain && !member->returns)
    return say(Level::log, fmt::format("node {} answers again and is not used", demand.node.value),
               "Another node has taken over meanwhile. It is used when it is attached.");
  Operation operation;
  operation.demand = demand;
  operation.old_main = main_of(state_.members);
  // A successor that dies before it was promoted counts as the primary: the next one is promoted in its place.
  const bool heir = state_.lost && state_.lost->heir == demand.node;
  operation.old_primary = heir || must_have_been_primary(*member, demand) ? demand.node : state_.primary;
  state_.operation = std::move(operation);
  ++state_.operations;
  switch (demand.kind) {
    case Demand::down:
      return begin_down(*member);
    case Demand::quarantine:
      return begin_quarantine(*member);
    case Demand::attach:
      return begin_attach(*member);
    case Demand::promote:
      return begin_promote(*member);
    case Demand::switchover:
      if (Member* old = find(state_.primary); old && old->node.live())
        return state_.rules.failover.builtin ? begin_switchover() : begin_down(*old);
      return state_.rules.failover.builtin ? promote_by_request() : choose_successor();
    case Demand::search:
      return;
  }
}

// It was dead before this proxy could ask it, and all others are standbys. (The built-in failover promotes nobody then:
// it never heard what the primary promised.)
bool Turn::must_have_been_primary(const Member& member, const Demand& demand) const {
  if (!state_.rules.streaming || state_.rules.failover.builtin || state_.primary != kNoNode || state_.lost)
    return false;
  if (demand.kind != Demand::down || demand.cause == Cause::request) return false;
  return member.node.real_role == Role::unknown && no_standbys() == std::vector<NodeId>{member.node.id};
}

bool Turn::primary_is_lost() const {
  const auto& downed = state_.operation->downed;
  return state_.rules.streaming &&
         std::find(downed.begin(), downed.end(), state_.operation->old_primary) != downed.end();
}

std::vector<NodeId> Turn::live_nodes() const {
  std::vector<NodeId> live;
  for (const Member& m : state_.members)
    if (m.node.live()) live.push_back(m.node.id);
  return live;
}

// ---- down

void Turn::clear_figures(Member& member) {
  Node& node = member.node;
  node.real_role = Role::unknown;
  node.delay_bytes.reset();
  node.delay_time.reset();
  member.delay_known.reset();
  node.replayed_to.reset();
  node.replication_state.clear();
  node.replication_sync_state.clear();
  member.invalid = member.streams = member.suspected = member.doubted = member.ending = false;
  member.silent = member.rises = false;
  member.upstream.reset();
  member.complaint.clear();
}

// Its data may be another history's, or it was cut off in the middle of a failover: a person has to look at it.
bool Turn::makes_unfit(const Member& member, Cause cause) const {
  const bool stray = is_stray(member) && member.node.id != state_.primary;  // it may have become that in this turn
  return cause == Cause::false_primary || cause == Cause::left_behind || stray;
}

void Turn::mark_down(Member& member, const std::string& reason, Cause cause) {
  Node& node = member.node;
  say(Level::log, fmt::format("=== Starting degeneration. shutdown host {} ===", place(node)),
      fmt::format("Node {}: {}.", node.id.value, reason));
  node.status = NodeStatus::down;
  node.quarantined = false;
  node.status_changed = now_;
  node.status_reason = reason;
  actions_.lost.push_back({node.id, cause});
  member.unfit = makes_unfit(member, cause);
  const auto waits = [&](const Demand& d) { return d.kind == Demand::down && d.node == node.id; };
  for (const Demand& d : state_.demands) {
    if (!waits(d)) continue;
    member.held |= d.reason == kByRequest;
    member.unfit |= makes_unfit(member, d.cause);
  }
  std::erase_if(state_.demands, waits);
  clear_figures(member);
  if (state_.operation) state_.operation->downed.push_back(node.id);
  if (state_.appointed == node.id) state_.appointed = kNoNode;
}

// What it has may not be the new primary's. Only an attach brings it back, also when all nodes are down.
void Turn::keep_down(Member& member, const std::string& why) {
  const bool known = member.unfit || member.held || member.has_to_follow || member.superseded != kNoNode;
  member.unfit = true;
  if (!std::exchange(member.returns, false) && known) return;
  say(Level::warning, fmt::format("node {} stays down when it answers again", member.node.id.value),
      why + " It is used when it is attached.");
}

void Turn::begin_down(Member& member) {
  Operation& operation = *state_.operation;
  if (operation.demand.kind == Demand::switchover) operation.old_primary = member.node.id;
  mark_down(member, operation.demand.reason, operation.demand.cause);
  member.held |= operation.demand.reason == kByRequest;
  if (primary_is_lost()) {
    // Until somebody is promoted nothing is lost when it comes back; a script may be promoting somebody, though.
    member.returns = state_.rules.failover.builtin && !member.held && !member.unfit;
    if (!state_.lost) state_.lost = LostPrimary{operation.old_primary, operation.old_main};
    if (operation.demand.kind == Demand::down) return ask_the_others();
  }
  choose_successor();
}

// The lowest live node is the successor, so it should be known to live: more than one may have died.
void Turn::ask_the_others() {
  Operation& operation = *state_.operation;
  operation.awaited = live_nodes();
  if (operation.awaited.empty()) return choose_successor();
  operation.stage = Operation::asking;
  actions_.ask = operation.awaited;
  actions_.alarms.push_back({Alarm::successors, state_.operations, kSuccessorWait});
}

void Turn::operator()(const Answered& event) {
  Member* member = find(event.node);
  if (!member || !member->node.live()) return;
  const bool gone = event.outcome == Outcome::unreachable;
  if (!gone) member->silent = false;
  if (works(event.outcome)) withdraw(event.node, Cause::connection);
  if (!gone && event.in_recovery) take_role(*member, *event.in_recovery);
  if (!state_.operation || state_.operation->stage != Operation::asking) return;
  auto& awaited = state_.operation->awaited;
  if (std::erase(awaited, event.node) == 0) return;
  // The rule for a connection of a session holds here too: without failover_on_backend_error the retries of the health
  // check come before the verdict.
  if (gone && !event.nameless && member->node.allow_to_failover && state_.rules.failover.on_backend_error)
    mark_down(*member, event.text, Cause::connection);
  else if (!works(event.outcome))
    state_.operation->silent.push_back(event.node);
  if (awaited.empty()) choose_successor();
}

void Turn::all_are_down() {
  say(Level::log, "failover: no valid backend node found");
  for (Member& m : state_.members)
    if (m.node.status == NodeStatus::down && !m.held && !m.has_to_follow && !m.unfit) m.returns = true;
}

// What was out of recovery beside the lost primary lacks what was written since, and so does what receives from it:
// neither is a successor while there is anything else. Then the one that others receive from is, not a standby of it.
std::vector<NodeId> Turn::possible_successors() const {
  if (!primary_is_lost()) return live_nodes();
  std::vector<NodeId> strays, followed, others;
  for (const Member& m : state_.members) {
    if (!m.node.live()) continue;
    const Member* source = source_of(m);
    if (is_stray(m))
      strays.push_back(m.node.id);
    else if (source && is_stray(*source))
      followed.push_back(source->node.id);
    else
      others.push_back(m.node.id);
  }
  return !others.empty() ? others : !followed.empty() ? followed : strays;
}

// Whoever was promoted by others before the primary was taken down is the successor already.
void Turn::choose_successor() {
  Operation& operation = *state_.operation;
  if (primary_is_lost()) settle_primary();
  const std::vector<NodeId> possible = possible_successors();
  const auto among = [](const std::vector<NodeId>& nodes, NodeId id) {
    return std::find(nodes.begin(), nodes.end(), id) != nodes.end();
  };
  const auto answered = [&](NodeId id) { return !among(operation.awaited, id) && !among(operation.silent, id); };
  const auto first = std::find_if(possible.begin(), possible.end(), answered);
  operation.new_main = first != possible.end() ? *first : possible.empty() ? kNoNode : possible.front();
  if (operation.demand.kind == Demand::switchover) operation.new_main = operation.demand.node;
  if (primary_is_lost() && primary_found()) operation.new_main = state_.primary;
  operation.silent.insert(operation.silent.end(), operation.awaited.begin(), operation.awaited.end());
  operation.awaited.clear();
  if (operation.new_main == kNoNode)
    all_are_down();
  else if (operation.new_main != operation.old_main)
    say(Level::log, fmt::format("failover: set new main node: {}", operation.new_main.value));
  if (primary_is_lost()) {
    state_.lost->heir = operation.new_main;
    if (state_.rules.failover.builtin) return promote_unless_there_is_one();
    search_again_from_the_start();
  }
  begin_commands(RunCommand::failover, operation.downed);
}

void Turn::begin_quarantine(Member& member) {
  Node& node = member.node;
  say(Level::log, fmt::format("=== Starting quarantine. shutdown host {} ===", place(node)),
      fmt::format("Node {}: {}.", node.id.value, state_.operation->demand.reason));
  node.quarantined = true;
  actions_.lost.push_back({node.id, state_.operation->demand.cause});
  node.status_changed = now_;
  node.status_reason = state_.operation->demand.reason;
  if (const NodeId main = main_of(state_.members); main == kNoNode)
    say(Level::log, "failover: no valid backend node found");
  else if (main != state_.operation->old_main)
    say(Level::log, fmt::format("failover: set new main node: {}", main.value));
  end_operation();
}

// ---- attach, promote

void Turn::begin_attach(Member& member) {
  Node& node = member.node;
  Operation& operation = *state_.operation;
  const bool was_quarantined = std::exchange(node.quarantined, false);
  say(Level::log, fmt::format("=== Starting fail back. reconnect host {} ===", place(node)),
      fmt::format("Node {}: {}.", node.id.value, operation.demand.reason));
  if (!was_quarantined) node.status = NodeStatus::waiting;
  node.status_changed = now_;
  node.status_reason = operation.demand.reason;
  actions_.returned.push_back(node.id);
  member.returns = member.held = member.has_to_follow = member.unfit = false;
  member.superseded = kNoNode;
  if (state_.rules.streaming && !state_.lost && !primary_found() && others_are_standbys(node.id))
    state_.lost = LostPrimary{kNoNode, operation.old_main};
  if (state_.lost) search_again_from_the_start();
  actions_.probe.push_back(node.id);
  operation.new_main = main_of(state_.members);
  if (operation.new_main != operation.old_main)
    say(Level::log, fmt::format("failover: set new main node: {}", operation.new_main.value));
  begin_commands(RunCommand::failback, was_quarantined ? std::vector<NodeId>{} : std::vector<NodeId>{node.id});
}

void Turn::begin_promote(Member& member) {
  Operation& operation = *state_.operation;
  const NodeId node = member.node.id;
  say(Level::log, fmt::format("promotion of node {} was requested", node.value),
      "It is taken for the primary; all other nodes are set down.");
  if (!state_.lost) state_.lost = LostPrimary{operation.old_primary, operation.old_main, node};
  for (Member& m : state_.members) {
    if (m.node.id == node || !m.node.live()) continue;
    mark_down(m, fmt::format("node {} was promoted", node.value), Cause::promotion);
    m.held = true;
  }
  state_.appointed = node;
  settle_primary();
  end_operation();
}

void Turn::promote_builtin() {
  Operation& operation = *state_.operation;
  operation.stage = Operation::promoting;
  const bool asked = operation.demand.kind == Demand::switchover || state_.lost->planned;
  const NodeId wanted = asked ? state_.lost->heir : kNoNode;
  std::vector<NodeId> strays;
  for (const Member& m : state_.members)
    if (is_stray(m)) strays.push_back(m.node.id);
  actions_.promote = Promotion{state_.lost->primary,
                               live_nodes(),
                               std::move(strays),
                               wanted,
                               state_.lost->planned,
                               state_.lost->resumed,
                               state_.lost->searched < kResumePatience};
}

// One of those that were asked may be the primary by now: somebody else was faster.
void Turn::promote_unless_there_is_one() {
  settle_primary();
  primary_found() ? promoted_by_others(state_.primary) : promote_builtin();
}

// The others are left as they are: whoever promoted it may be pointing them at it.
void Turn::promoted_by_others(NodeId node) {
  Operation& operation = *state_.operation;
  if (Member* member = find(node); member && member->node.live()) take_role(*member, false);
  if (Member* old = find(state_.lost->primary)) old->returns = false;
  say(Level::warning, fmt::format("node {} is the primary already, nobody is promoted", node.value),
      "Somebody else has promoted it. A standby that does not follow it is to be detached and attached.");
  if (operation.demand.kind == Demand::switchover)
    operation.problem =
        node == operation.demand.node ? "" : fmt::format("node {} was promoted by somebody else", node.value);
  commands_done();
}

// A switchover while there is no primary: a person wants this one, if it lacks nothing.
void Turn::promote_by_request() {
  Operation& operation = *state_.operation;
  if (!state_.lost || state_.lost->primary == kNoNode) {
    const std::vector<NodeId> candidates = no_standbys();
    if (candidates.size() > 1) {
      operation.problem = "which node was the primary is not known, more than one is down or silent";
      return end_operation();
    }
    state_.lost = LostPrimary{candidates.empty() ? kNoNode : candidates.front(), operation.old_main};
  }
  state_.lost->heir = operation.new_main = operation.demand.node;
  operation.old_primary = state_.lost->primary;
  search_again_from_the_start();
  promotes_builtin();
  promote_builtin();
}

std::vector<NodeId> Turn::no_standbys() const {
  std::vector<NodeId> out;
  for (const Member& m : state_.members)
    if (m.node.status != NodeStatus::unused && !(m.node.live() && m.node.real_role == Role::standby))
      out.push_back(m.node.id);
  return out;
}

// When the lost one is down, or has come back as a standby: then it has all that was acknowledged, and takes part.
bool Turn::promotes_builtin() {
  const Member* old = find(state_.lost->primary);
  if (!state_.rules.failover.builtin || !old) return false;
  if (!old->node.live()) return true;
  if (old->node.real_role != Role::standby) return false;
  state_.lost->planned = state_.lost->resumed = true;
  return true;
}

void Turn::operator()(const PromotionEnded& event) {
  if (!state_.operation || state_.operation->stage != Operation::promoting) return;
  for (const auto& [id, reason] : event.left_behind) {
    Member* member = find(id);
    if (member && member->node.live()) mark_down(*member, reason, Cause::left_behind);
    if (member && member->node.status == NodeStatus::down) keep_down(*member, reason + ".");
  }
  state_.lost->pointed = event.pointed;
  if (state_.operation->demand.kind == Demand::switchover) state_.operation->problem = event.text;
  if (event.promoted == kNoNode) {
    if (std::exchange(state_.lost->complaint, event.text) != event.text)
      say(Level::warning, "built-in failover did not promote a standby", event.text + ".");
    // Who asked while there was no primary hears of it; the search goes on.
    if (state_.operation->demand.kind != Demand::switchover || !state_.operation->downed.empty()) return search();
    end_operation();
    return state_.demands.push_back({Demand::search, state_.lost->primary, {}});
  }
  if (event.already) return promoted_by_others(event.promoted);
  if (state_.lost->planned) return switched(event);
  if (event.promoted == state_.operation->demand.node) state_.operation->problem.clear();
  if (state_.operation->demand.kind == Demand::switchover && event.promoted != state_.operation->demand.node)
    state_.operation->problem = fmt::format("node {} was promoted instead", event.promoted.value);
  if (Member* member = find(event.promoted)) take_role(*member, false);
  if (Member* old = find(state_.lost->primary)) old->returns = false;
  say(Level::log, fmt::format("built-in failover: node {} was promoted", event.promoted.value), event.text);
  commands_done();
}

void Turn::operator()(const LeftBehind& event) {
  Member* member = find(event.node);
  if (!member || event.node == state_.primary) return;
  const Cause cause = event.silent ? Cause::connection : Cause::left_behind;
  if (member->node.live()) demand(Demand::down, event.node, event.reason, cause);
  if (member->node.status == NodeStatus::down && !event.silent) keep_down(*member, event.reason + ".");
}

// ---- commands

CommandNode Turn::facts_of(NodeId id) const {
  for (const NodeSetup& n : state_.rules.nodes)
    if (n.id == id) return {n.id, n.host, n.port, n.data_directory};
  return {};
}

void Turn::begin_commands(RunCommand::Kind kind, std::vector<NodeId> nodes) {
  Operation& operation = *state_.operation;
  operation.stage = Operation::commanding;
  operation.commands = std::move(nodes);
  run_next_command(kind);
}

void Turn::run_next_command(RunCommand::Kind kind) {
  Operation& operation = *state_.operation;
  const FailoverRules& rules = state_.rules.failover;
  const std::string& command = kind == RunCommand::failback ? rules.failback_command : rules.failover_command;
  if (kind == RunCommand::failover && rules.builtin) return commands_done();
  if (command.empty() || operation.commands.empty()) return commands_done();
  const NodeId node = operation.commands.front();
  const CommandFacts facts{facts_of(node), facts_of(operation.new_main), facts_of(operation.old_primary),
                           operation.old_main};
  actions_.run.push_back({kind, node, expand(command, facts)});
}

void Turn::operator()(const CommandEnded& event) {
  if (event.kind == RunCommand::follow_primary) {
    if (!state_.following) return;
    say(Level::log, fmt::format("=== Follow primary command for node {} ended ===", event.node.value));
    if (state_.following->outgoing != kNoNode)
      outgoing_script_ended();
    else
      state_.following->left.erase(state_.following->left.begin());
    return follow_next();
  }
  if (!state_.operation || state_.operation->stage != Operation::commanding) return;
  auto& commands = state_.operation->commands;
  if (commands.empty() || commands.front() != event.node) return;
  commands.erase(commands.begin());
  run_next_command(event.kind);
}

// What is left is the primary: it is looked for until it is found, the time is over, or something else is demanded.
void Turn::commands_done() {
  settle_primary();
  if (!can_search()) return end_operation();
  search();
}

bool Turn::can_search() {
  return state_.lost && !primary_found() && state_.rules.streaming && state_.rules.asks &&
         main_of(state_.members) != kNoNode;
}

void Turn::resume_search() {
  if (!can_search()) return;
  Operation operation;
  operation.demand = {Demand::search, state_.lost->primary, {}};
  operation.old_primary = state_.lost->primary;
  operation.old_main = operation.new_main = main_of(state_.members);
  state_.operation = std::move(operation);
  ++state_.operations;
  search();
}

void Turn::search() {
  Operation& operation = *state_.operation;
  if (!std::exchange(state_.lost->said, true))
    say(Level::log, "find_primary_node_repeatedly: waiting for finding a primary node");
  operation.stage = Operation::searching;
  actions_.ask = live_nodes();
  actions_.alarms.push_back({Alarm::search, state_.operations, search_pause()});
}

void Turn::operator()(const AlarmRang& event) {
  if (!state_.operation || event.operation != state_.operations) return;
  Operation& operation = *state_.operation;
  if (event.kind == Alarm::successors) {
    if (operation.stage == Operation::asking) choose_successor();
    return;
  }
  if (operation.stage != Operation::searching) return;
  state_.lost->searched += search_pause();
  const auto limit = state_.rules.failover.search_primary_node_timeout;
  const bool over = limit.count() > 0 && state_.lost->searched >= limit;
  if (over && !std::exchange(state_.lost->overdue, true)) return search_is_overdue();
  promotes_builtin() ? promote_builtin() : search();
}

std::chrono::milliseconds Turn::search_pause() const {
  if (!state_.rules.failover.builtin) return kSearchPause;
  return state_.lost->overdue ? kBuiltinLatePause : kBuiltinRetryPause;
}

void Turn::search_again_from_the_start() {
  state_.lost->searched = {};
  state_.lost->overdue = false;
}

// Whoever asked is answered. The built-in failover goes on: nobody else would act when enough nodes are back.
void Turn::search_is_overdue() {
  const bool goes_on = state_.rules.failover.builtin;
  say(Level::warning, "no primary was found within search_primary_node_timeout",
      goes_on ? fmt::format("It is looked for every {} s from now on.", kBuiltinLatePause.count() / 1000) : "");
  if (state_.operation->problem.empty())
    state_.operation->problem = "no primary was found within search_primary_node_timeout";
  end_operation();
  if (goes_on) state_.demands.push_back({Demand::search, state_.lost->primary, {}});
}

void Turn::end_operation() {
  const Operation operation = *std::exchange(state_.operation, std::nullopt);
  if (operation.demand.kind == Demand::switchover && state_.rules.failover.builtin)
    actions_.switchovers_ended.push_back({operation.demand.node, operation.problem});
  const Member* member = find(operation.demand.node);
  if (!member || operation.demand.kind == Demand::search) return;
  switch (operation.demand.kind) {
    case Demand::attach:
      return say(Level::log, fmt::format("=== Failback done. reconnect host {} ===", place(member->node)));
    case Demand::promote:
      return say(Level::log, fmt::format("=== Promotion done. promoted host {} ===", place(member->node)));
    case Demand::quarantine:
      return say(Level::log, fmt::format("=== Quarantine done. shutdown host {} ===", place(member->node)));
    case Demand::down:
    case Demand::switchover:
    case Demand::search:
      break;
  }
  for (NodeId id : operation.downed)
    if (const Member* down = find(id))
      say(Level::log, fmt::format("=== Failover done. shutdown host {} ===", place(down->node)));
}

// ---- follow_primary_command

void Turn::set_down_to_follow(Member& member, NodeId primary) {
  member.has_to_follow = true;
  member.returns = false;
  if (member.node.live())
    mark_down(member, fmt::format("has to follow the new primary {}", primary.value), Cause::promotion);
}

// A script that is under way for the primary of before has to end first: two would rebuild one node at once.
void Turn::follow(Following following) {
  if (const auto& before = state_.following)
    following.outgoing = before->outgoing != kNoNode ? before->outgoing : before->left.front();
  for (Member& m : state_.members) {
    if (m.node.id == following.primary || m.node.status == NodeStatus::unused) continue;
    set_down_to_follow(m, following.primary);
    following.left.push_back(m.node.id);
  }
  state_.following = std::move(following);
  if (state_.following->outgoing == kNoNode) follow_next();
}

// What it has attached follows the primary of before.
void Turn::outgoing_script_ended() {
  const NodeId node = std::exchange(state_.following->outgoing, kNoNode);
  Member* rebuilt = find(node);
  if (!rebuilt || node == state_.primary || state_.lost) return;
  const bool fresh = rebuilt->node.live();
  set_down_to_follow(*rebuilt, state_.following->primary);
  if (fresh && state_.operation) std::erase(state_.operation->downed, node);  // it is none of those it is about
}

void Turn::follow_next() {
  Following& following = *state_.following;
  const auto down = [&](NodeId id) {
    const Member* m = find(id);
    return m && m->node.status == NodeStatus::down;
  };
  while (!following.left.empty() && !down(following.left.front())) following.left.erase(following.left.begin());
  if (following.left.empty()) {
    state_.following.reset();
    return;
  }
  const NodeId node = following.left.front();
  const CommandFacts facts{facts_of(node), facts_of(following.primary), facts_of(following.old_primary),
                           following.old_main};
  say(Level::log, fmt::format("=== Starting follow primary command for node {} ===", node.value));
  actions_.run.push_back(
      {RunCommand::follow_primary, node, expand(state_.rules.failover.follow_primary_command, facts)});
}

// ---- requests

void Turn::refuse(Level level, std::string text, std::string detail) {
  actions_.refusal = Refusal{level, std::move(text), std::move(detail)};
}

bool Turn::refuses_attach(const Request& request, const Member* member) {
  const int id = request.node.value;
  if (!member) {
    refuse(Level::error,
           fmt::format("invalid failback request, node id: {} is out of range. node id must be between [0 and {}]", id,
                       kMaxNodes));
    return true;
  }
  if (!member->node.live() || state_.rules.streaming) return false;
  refuse(Level::error, fmt::format("invalid failback request, node id : {} status: [{}] not valid for failback", id,
                                   status_word(member->node)));
  return true;
}

bool Turn::refuses_detach(const Request& request, const Member* member) {
  const int id = request.node.value;
  if (!member) {
    refuse(Level::error, fmt::format("invalid degenerate backend request, node id: {} is out of range. node id must be "
                                     "between [0 and {}]",
                                     id, kMaxNodes));
    return true;
  }
  if (!member->node.live()) {
    refuse(Level::error, fmt::format("invalid degenerate backend request, node id : {} status: [{}] is not valid for "
                                     "failover",
                                     id, status_word(member->node)));
    return true;
  }
  if (request.node == state_.primary && state_.rules.failover.builtin) {
    refuse(Level::error, fmt::format("invalid degenerate backend request, node id : {} is the primary", id),
           "failover_method = builtin does not promote a standby while the primary works.");
    return true;
  }
  if (member->node.allow_to_failover) return false;
  refuse(Level::error, fmt::format("degenerate backend request for node_id: {} is canceled because failover is "
                                   "disallowed on the node",
                                   id));
  return true;
}

bool Turn::refuses_promotion(const Request& request, const Member* member) {
  const std::string text = could_not_promote(request.node);
  if (!state_.rules.streaming)
    refuse(Level::fatal, text, "The clustering mode is not streaming_replication.");
  else if (!member)
    refuse(Level::fatal, text, "There is no such node.");
  else if (request.node == state_.primary && member->node.live())
    refuse(Level::fatal, text, "It is the primary already.");
  else if (!member->node.live())
    refuse(Level::fatal, text, fmt::format("It is {}.", status_word(member->node)));
  else if (request.kind == Request::promote && nobody_would_promote(*member))
    refuse(Level::error, text, kNobodyPromotes);
  else
    return false;
  return true;
}

void Turn::operator()(const Requested& event) {
  const Request& request = event.request;
  const Member* member = find(request.node);
  Demand::Kind kind = Demand::attach;
  bool refused = false;
  switch (request.kind) {
    case Request::attach:
      refused = refuses_attach(request, member);
      break;
    case Request::detach:
    case Request::quarantine:
      kind = request.kind == Request::detach ? Demand::down : Demand::quarantine;
      refused = refuses_detach(request, member);
      break;
    case Request::promote:
    case Request::switchover:
      kind = request.kind == Request::promote ? Demand::promote : Demand::switchover;
      refused = refuses_promotion(request, member);
      break;
  }
  if (!refused && !demand(Demand{kind, request.node, kByRequest, Cause::request, request.follows}))
    refuse(Level::error, "failed to process PCP request at the moment", "Too many requests are waiting.");
}

// Only with everything quiet: in the middle of a change the primary's report may be about another herd.
void Turn::auto_failback(Member& member) {
  const FailoverRules& rules = state_.rules.failover;
  const bool quiet = !state_.operation && state_.demands.empty() && !state_.following && primary_found();
  if (!rules.auto_failback || !state_.rules.streaming || !quiet || !member.streams) return;
  if (member.last_auto_failback && now_ - *member.last_auto_failback < rules.auto_failback_interval) return;
  if (!demand(Demand::attach, member.node.id, "auto_failback: it streams from the primary again")) return;
  member.last_auto_failback = now_;
  say(Level::log, fmt::format("request auto failback, node id:{}", member.node.id.value));
}

}  // namespace herdgate::cluster
