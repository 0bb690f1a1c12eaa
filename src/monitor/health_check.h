// The health checks: every node is probed by itself, so one that hangs delays none of the others.
//
// Shape    configure() with the settings; then they run by the loop's timers. The end of a check, retries included,
//          goes to `ended`. A check fails when a try is unreachable health_check_max_retries + 1 times in a row.
// Units    durations and counts as report::HealthFigures says.
// Limits   a try: health_check_timeout (kLongestTry when that is 0), its connection and login connect_timeout; the next
//          check follows health_check_period after the last one's end.
// Errors   none; a wrong password is an answer of a living server.
// Threads  one loop.
// Source   Pgpool-II 4.6 manual, "Health Check".
#pragma once
#include <functional>
#include <map>
#include <memory>
#include <string>

#include "base/log.h"
#include "cluster/state.h"
#include "config/settings.h"
#include "monitor/probe.h"
#include "report/snapshot.h"

namespace herdgate::monitor {

inline constexpr Duration kLongestTry = std::chrono::hours(1);

class HealthChecks {
 public:
  struct Hooks {
    std::function<std::unique_ptr<Probing>(const ProbeTarget&, ProbeDone)> probe;
    std::function<std::optional<auth::Credentials>(const std::string& user, const std::string& password)> credentials;
    std::function<bool(NodeId)> wanted;  // false: the check is skipped
    std::function<void(const cluster::HealthChecked&)> ended;
    std::function<void(const report::HealthByNode&)> counted;
  };
  HealthChecks(net::Loop& loop, Log& log, Hooks hooks);
  ~HealthChecks();
  HealthChecks(const HealthChecks&) = delete;
  HealthChecks& operator=(const HealthChecks&) = delete;

  void configure(config::SettingsPtr settings);
  const report::HealthByNode& figures() const { return figures_; }

 private:
  struct Node {
    net::TimerId timer = 0;
    std::shared_ptr<Probing> probe;
    int round = 0;  // 0: the first try
    TimePoint began{};
    TimePoint armed{}, due{};  // of the timer
    bool pretends = false;
  };
  void arm(NodeId id, Duration delay, void (HealthChecks::*work)(NodeId));
  void begin(NodeId id);
  void attempt(NodeId id);
  ProbeTarget target(const config::Backend& backend) const;
  void answered(NodeId id, const Answer& answer);
  void finish(NodeId id, const Answer& answer);
  void count(NodeId id, const Node& node, bool well);
  bool orders_down(NodeId id) const;
  LogContext& speaker(NodeId id);

  net::Loop& loop_;
  Log& log_;
  LogContext who_;
  std::string name_;  // who_ refers to it
  Hooks hooks_;
  config::SettingsPtr settings_;
  std::string order_path_;  // of health_check_test
  std::map<NodeId, Node> nodes_;
  report::HealthByNode figures_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

// health_check_test: the file's text with the node's order "down" turned into "already_down"; nullopt: there is none.
std::optional<std::string> obey_order(const std::string& text, NodeId node);

}  // namespace herdgate::monitor
