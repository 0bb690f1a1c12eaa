// One event being worked in: the state as it becomes, and what has been decided so far. Private to module cluster.
//
// Shape    operator() takes the event; finish() settles what follows from it (the primary, the next operation, the
//          status file) and gives the result. turn.cc has probes and replication, turn_operations.cc the work of a
//          failover, turn_switchover.cc the built-in switchover, turn_primary.cc who is the primary.
// Threads  a value of one call of step().
#pragma once
#include <string>
#include <utility>

#include "cluster/command.h"
#include "cluster/state.h"

namespace herdgate::cluster {

NodeId main_of(const std::vector<Member>& members);
// Is out of recovery, and was so while the primary worked.
bool is_stray(const Member& m);

// Of the primary: where it is now, and what a standby has replayed that keeps up with it.
struct Progress {
  std::uint64_t position = 0, enough = 0;
};

class Turn {
 public:
  Turn(const State& before, WallTime now) : state_(before), now_(now) {}

  void operator()(const Started& event);
  void operator()(const SettingsChanged& event);
  void operator()(const ProbeResult& event);
  void operator()(const HealthChecked& event);
  void operator()(const Answered& event);
  void operator()(const ReplicationReport& event);
  void operator()(const ConnectionFailed& event);
  void operator()(const FirstConnection& event);
  void operator()(const Requested& event);
  void operator()(const CommandEnded& event);
  void operator()(const PromotionEnded& event);
  void operator()(const LeftBehind& event);
  void operator()(const SwitchStepEnded& event);
  void operator()(const AlarmRang& event);
  Stepped finish(const State& before);

 private:
  Member* find(NodeId id);
  void say(Level level, std::string text, std::string detail = {});

  // turn.cc
  void take_rules(const Rules& rules);
  void apply_file(const StateFile& file);
  bool is_checked(NodeId node) const;
  void lost_by_probe(Member& member, const ProbeResult& event);
  void answered_again(Member& member, std::optional<bool> in_recovery);
  void withdraw(NodeId node, Cause verdict);
  void complain(Member& member, std::string text, const std::string& detail);
  void take_role(Member& member, bool in_recovery);
  void note_round(std::uint64_t position);
  std::optional<std::chrono::microseconds> behind(std::uint64_t position) const;
  std::chrono::microseconds older(const Member& member) const;
  void take_delay(Member& member, const NodeReplication* report, const Progress& primary);
  void take_replication(Member& member, const NodeReplication* report);
  void say_delay(const Node& node);

  // turn_operations.cc
  bool demand(Demand::Kind kind, NodeId node, std::string reason, Cause cause = Cause::request);
  bool outdated(const Demand& demand);
  bool spares_primary(const Demand& demand);
  bool nobody_would_promote(const Member& member) const;
  bool recovers_again(const Demand& demand, const Member& member);
  bool demand(Demand wanted);
  void work_off();
  void begin(const Demand& demand);
  void begin_down(Member& member);
  void begin_quarantine(Member& member);
  void begin_attach(Member& member);
  void begin_promote(Member& member);
  void mark_down(Member& member, const std::string& reason, Cause cause);
  void clear_figures(Member& member);
  bool makes_unfit(const Member& member, Cause cause) const;
  void keep_down(Member& member, const std::string& why);
  void all_are_down();
  bool must_have_been_primary(const Member& member, const Demand& demand) const;
  bool primary_is_lost() const;
  void ask_the_others();
  std::vector<NodeId> possible_successors() const;
  void choose_successor();
  void begin_commands(RunCommand::Kind kind, std::vector<NodeId> nodes);
  void run_next_command(RunCommand::Kind kind);
  void commands_done();
  void promote_builtin();
  void promote_unless_there_is_one();
  void promoted_by_others(NodeId node);
  void promote_by_request();
  std::vector<NodeId> no_standbys() const;
  bool promotes_builtin();
  bool can_search();
  std::chrono::milliseconds search_pause() const;
  void search_again_from_the_start();
  void search_is_overdue();
  void search();
  void resume_search();
  void end_operation();
  void set_down_to_follow(Member& member, NodeId primary);
  void follow(Following following);
  void outgoing_script_ended();
  void follow_next();
  void refuse(Level level, std::string text, std::string detail = {});
  bool refuses_attach(const Request& request, const Member* member);
  bool refuses_detach(const Request& request, const Member* member);
  bool refuses_promotion(const Request& request, const Member* member);
  CommandNode facts_of(NodeId id) const;
  void auto_failback(Member& member);
  std::vector<NodeId> live_nodes() const;

  // turn_switchover.cc
  void begin_switchover();
  void resume(const Unfinished& unfinished);
  void next_switch_step(SwitchStep::Kind kind);
  void give_up_switchover(const std::string& problem);
  void give_up_switchover_without_nodes();
  void stop_old_primary();
  void lose_old_primary();
  void take_back_old_primary(const std::string& why);
  void switched(const PromotionEnded& event);

  // turn_primary.cc
  bool all_answered() const;
  bool all_heard() const;
  NodeId owner_of_standbys() const;
  NodeId risen_beside_a_silent_primary() const;
  const Member* source_of(const Member& standby) const;
  bool stray_takes_over(const Member& stray) const;
  bool may_take_over(const Member& m) const;
  NodeId choose_primary() const;
  bool primary_found() const;
  bool others_are_standbys(NodeId node) const;
  void settle_primary();
  void settle_lost();
  void keep_down_those_not_pointed(const LostPrimary& lost);
  void settle_invalid();
  void ask_again();

  State state_;
  Actions actions_;
  WallTime now_;
};

}  // namespace herdgate::cluster
