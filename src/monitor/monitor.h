// Watches the servers: probes them, feeds the cluster machine, publishes views, keeps the status file, says what
// changed.
//
// Shape    start() with the settings; then it runs by the loop's timers. Sessions and pools report by
//          connection_failed() and first_connection(), posted to this loop. Every change of the view goes to `publish`.
// Limits   one probe per node at a time; kReportWait for the answers of a round; probes are bounded by connect_timeout
//          and health_check_timeout (kProbeLimit where these are 0); see schedule.h for the pauses.
// Errors   none: a file that cannot be read or written is one WARNING, and the work goes on.
// Threads  the control thread's loop; the file is written on the BlockingPool.
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
#include "monitor/probe.h"
#include "monitor/schedule.h"

namespace herdgate::monitor {

inline constexpr Duration kProbeLimit = std::chrono::seconds(20);
inline constexpr Duration kReportWait = std::chrono::seconds(3);
inline constexpr Duration kSearchPeriod = std::chrono::seconds(1);     // while no primary is known
inline constexpr Duration kLivenessPeriod = std::chrono::seconds(10);  // where sr_check_period is 0

struct Hooks {
  std::function<void(cluster::ViewPtr)> publish;
  // What sr_check_user logs in with, from sr_check_password or pool_passwd.
  std::function<std::optional<auth::Credentials>(const config::Settings&)> credentials;
  // For tests; empty: start_probe().
  std::function<std::unique_ptr<Probing>(const ProbeTarget&, ProbeDone)> probe;
};

class Monitor {
 public:
  Monitor(const ProbeMeans& means, Log& log, Hooks hooks);
  ~Monitor();
  Monitor(const Monitor&) = delete;
  Monitor& operator=(const Monitor&) = delete;

  // discard_state: -D, the status file is removed instead of read.
  void start(config::SettingsPtr settings, bool discard_state);
  void reload(config::SettingsPtr settings);
  void connection_failed(NodeId node);
  void first_connection(NodeId node);
  cluster::ViewPtr view() const { return view_; }

 private:
  struct Round {
    std::set<NodeId> awaited;
    std::map<NodeId, Answer> answers;
    net::TimerId timer = 0;
  };
  std::optional<cluster::StateFile> read_state(bool discard);
  void feed(const cluster::Event& event);
  void carry_out(const cluster::Actions& actions);
  void say(const cluster::Said& said);
  void save(const std::string& text);
  void watch_nodes();
  bool asks() const;
  Duration period();
  void rearm();
  void tick();
  void begin_round(const std::vector<NodeId>& nodes);
  void finish_round();
  void start_one(NodeId node);
  ProbeTarget target(const config::Backend& backend) const;
  void ended(NodeId node, const Answer& answer);

  ProbeMeans means_;
  Log& log_;
  LogContext who_;
  Hooks hooks_;
  config::SettingsPtr settings_;
  cluster::State state_;
  cluster::ViewPtr view_ = std::make_shared<cluster::View>();
  Schedule schedule_;
  std::map<NodeId, std::shared_ptr<Probing>> probes_;
  Round round_;
  net::TimerId timer_ = 0;
  std::optional<TimePoint> search_began_;
  std::string state_path_;
  std::optional<std::string> unsaved_;  // waits until the write under way has ended
  bool saving_ = false;
  std::string save_complaint_;  // said once
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace herdgate::monitor
