// Watches the servers: probes and health checks feed the cluster machine; what it decides is published, kept in the
// status file, said in the log, and carried out by scripts. Requests of people come in as cluster::Control.
//
// Shape    start() with the settings; then it runs by the loop's timers. Sessions and pools report by
//          connection_failed() and first_connection(), posted to this loop. Every change of the view goes to `publish`.
// Limits   one probe per node at a time; kReportWait for the answers of a round; probes are bounded by connect_timeout
//          and health_check_timeout (kProbeLimit where these are 0); see schedule.h for the pauses.
// Errors   none: a file that cannot be read or written is one WARNING, and the work goes on.
// Threads  the control thread's loop; files are written by a thread for them.
// Source   Pgpool-II 4.6 manual, "Streaming Replication Check", "Failover and Failback".
#pragma once
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>

#include "base/log.h"
#include "cluster/state.h"
#include "config/settings.h"
#include "monitor/errands.h"
#include "monitor/follower.h"
#include "monitor/health_check.h"
#include "monitor/primary_facts.h"
#include "monitor/probe.h"
#include "monitor/promoter.h"
#include "monitor/recovery.h"
#include "monitor/replayed.h"
#include "monitor/schedule.h"
#include "monitor/switchover.h"
#include "monitor/switchover_note.h"
#include "report/figures.h"

namespace herdgate::monitor {

inline constexpr Duration kProbeLimit = std::chrono::seconds(20);
inline constexpr Duration kReportWait = std::chrono::seconds(3);
inline constexpr Duration kSearchPeriod = std::chrono::seconds(1);    // while no primary is known
inline constexpr Duration kLastSaveLimit = std::chrono::seconds(3);   // of the status file, when this ends
inline constexpr Duration kFirstLookLimit = std::chrono::seconds(5);  // see Hooks::first_look
inline constexpr Duration kNoteLimit = std::chrono::seconds(1);  // a failover waits so long for its note on the disk
inline constexpr Duration kLivenessPeriod = std::chrono::seconds(10);  // where sr_check_period is 0

struct Hooks {
  std::function<void(cluster::ViewPtr)> publish;
  // What a user of our own (sr_check_user, health_check_user) logs in with: from the parameter or from pool_passwd.
  std::function<std::optional<auth::Credentials>(const std::string& user, const std::string& password)> credentials;
  std::function<void(const report::HealthByNode&)> health;  // the figures have changed
  // Calls back when no worker uses the last published view's predecessors any more. Empty: at once.
  std::function<void(std::function<void()>)> settled;
  // No new sessions from now on; `empty` comes, by the loop, when the last of the others has ended.
  std::function<void(std::function<void()> empty)> shut_gate;
  std::function<void()> open_gate;
  // Once: the primary is known, or every node was asked, or kFirstLookLimit is over. Clients should not come earlier.
  std::function<void()> first_look;
  // A server has read its configuration anew since it was asked last. Empty: nobody wants to know.
  std::function<void()> reloaded;
  // What roles or databases give new sessions is not what it was when the server was asked last. Empty: as above.
  std::function<void()> defaults_altered;
  // The primary has recovered from a crash since it was asked last: it may lack what it had shown. Empty: as above.
  std::function<void()> primary_crashed;
  std::function<void()> names_changed;  // a role or database is called otherwise on a node, or is not there any more
  // For tests; empty: start_probe().
  std::function<std::unique_ptr<Probing>(const ProbeTarget&, ProbeDone)> probe;
};

class Monitor final : public cluster::Control {
 public:
  Monitor(const ProbeMeans& means, Log& log, Hooks hooks);
  ~Monitor() override;
  Monitor(const Monitor&) = delete;
  Monitor& operator=(const Monitor&) = delete;

  // discard_state: -D, the status file is removed instead of read.
  void start(config::SettingsPtr settings, bool discard_state);
  void reload(config::SettingsPtr settings);
  // shutdown: the server said that it shuts down.
  void connection_failed(NodeId node, bool shutdown = false, bool doubt = true);
  void first_connection(NodeId node);
  cluster::ViewPtr view() const { return view_; }
  // What has happened to each node since the start.
  const std::map<NodeId, report::FailoverFigures>& failovers() const { return failovers_; }
  // For a question to the node as sr_check_user; nullopt: there is none.
  std::optional<ProbeTarget> target_of(NodeId node) const;
  // … in any clustering mode, and where there is no sr_check_user as health_check_user.
  std::optional<ProbeTarget> login_of(NodeId node) const;

  void request(const cluster::Request& request, Answered answered) override;
  void detach_gracefully(NodeId node, Answered answered) override;
  void recover(NodeId node, Answered answered) override;
  std::string busy_with() const override;

 private:
  struct Round {
    std::set<NodeId> awaited;
    std::map<NodeId, Answer> answers;
    TimePoint began{};
    net::TimerId timer = 0;
  };
  // A standby that is being pointed at `primary`, for as long as that one is the primary.
  struct Led {
    NodeId primary;
    std::shared_ptr<Follower> follower;
    std::function<void(const std::string& problem)> done;
  };
  // What the note is about. Its last words get old, so it is written anew while it is needed.
  struct Noted {
    NodeId from, to;
    TimePoint at;
  };
  std::optional<cluster::StateFile> read_state(bool discard);
  std::optional<cluster::Unfinished> read_note();
  void note(NodeId from, NodeId to, SwitchoverNote::Written done);
  void note_then(const cluster::SwitchStep& step, std::function<void()> begin);
  void keep_note();
  void when_settled(const std::function<void()>& begin);
  std::optional<cluster::Refusal> feed(const cluster::Event& event);
  void sessions_left(NodeId node, bool all, const Answered& answered);
  void answer(Answered answered, std::optional<cluster::Refusal> refusal);
  void tell_first_look();
  void promote(const cluster::Promotion& promotion);
  NodeId primary_found() const;
  Promoter::Job promotion_job(const cluster::Promotion& promotion) const;
  ProbeTarget powerful(const config::Backend& backend, const std::string& database) const;
  void switch_step(const cluster::SwitchStep& step);
  Switchover::Job switchover_job(const cluster::SwitchStep& step) const;
  void switchover_ended(const cluster::SwitchoverEnd& end);
  bool follows_first(const cluster::Request& request) const;
  void attach_follower(const cluster::Request& request, Answered answered);
  void lead(std::map<NodeId, Led>& led, Follower::Job job, std::function<void(const std::string&)> done);
  void let_followers_go();
  std::optional<cluster::Refusal> refuses_recovery(NodeId node) const;
  Recovery::Job recovery_job(NodeId node) const;
  void learn(NodeId node, const Answer& answer);
  void complain(NodeId node, const std::string& text, const std::string& detail);
  void mend(NodeId node);
  bool wants_health_check(NodeId node) const;
  Duration command_limit(cluster::RunCommand::Kind kind) const;
  void carry_out(const cluster::Actions& actions);
  void count(const cluster::Actions& actions);
  void say(const cluster::Said& said);
  void save(const std::string& text);
  void save_at_last();
  void watch_nodes();
  bool asks() const;
  Duration period();
  void rearm();
  void tick();
  void notice_changes(NodeId node, const Answer& answer);
  void begin_round(const std::vector<NodeId>& nodes);
  void finish_round();
  void tell_replayed(const std::map<NodeId, Answer>& answers, cluster::ReplicationReport& report);
  void start_one(NodeId node, bool may_keep);
  ProbeTarget target(const config::Backend& backend) const;
  void log_in_as_checker(ProbeTarget& target) const;
  void ended(NodeId node, const Answer& answer);

  ProbeMeans means_;
  Log& log_;
  LogContext who_;
  Hooks hooks_;
  config::SettingsPtr settings_;
  cluster::State state_;
  cluster::ViewPtr view_ = std::make_shared<cluster::View>();
  Schedule schedule_;
  Errands errands_;
  HealthChecks health_;
  Promoter promoter_;
  Switchover switchover_;
  net::BlockingPool files_{1};  // a disk that hangs does not hold up look-ups and passwords of probes
  SwitchoverNote note_;
  std::optional<Noted> noted_;                                      // a switchover or a built-in failover is not over
  std::multimap<NodeId, std::shared_ptr<Answered>> switch_askers_;  // a built-in switchover is answered at its end
  std::map<NodeId, Led> followers_, mended_;
  std::shared_ptr<Recovery> recovery_;
  std::map<NodeId, report::FailoverFigures> failovers_;
  PrimaryFacts primaries_;
  struct Said {
    std::string configured, defaults, counting_since, names;  // as in Answer, of the last that had them
    std::uint32_t newest_name = 0;
  };
  std::map<NodeId, Said> said_;
  std::map<NodeId, std::string> complaints_;  // about settings the built-in failover needs; said once
  std::map<NodeId, std::shared_ptr<Probing>> probes_;
  Round round_;
  Replayed replayed_;
  net::TimerId first_look_limit_ = 0;
  net::TimerId timer_ = 0, leaving_ = 0;  // leaving_: a graceful detach waits for the sessions
  std::optional<TimePoint> search_began_;
  std::string state_path_, note_path_;
  std::optional<std::string> unsaved_;  // waits until the write under way has ended
  bool saving_ = false;
  std::string save_complaint_;  // said once
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace herdgate::monitor
