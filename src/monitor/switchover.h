// The built-in switchover's work on the two servers: is it possible, let writes end, stop the old primary so that it
// comes back as a standby. What follows, the promotion, is the Promoter's.
//
// Shape    run() does one step; each ends with a SwitchStepEnded. What is decided, cluster/switchover.h decides.
// Limits   kSwitchStepLimit for each question, kCheckpointLimit for the checkpoint that comes before anything waits,
//          `drain_limit` for transactions under way, kStopLimit until the old primary answers as one no more,
//          kReturnLimit until it answers as a standby; after kRemoteStartAfter without any answer,
//          pgpool_remote_start of the new primary is tried.
// Errors   in SwitchStepEnded::problem.
// Threads  one loop.
// Source   PostgreSQL manual, "Hot Standby", "pg_stat_activity", "ALTER SYSTEM"; sql/extension/pgpool_recovery.
#pragma once
#include <functional>
#include <memory>
#include <string>

#include "base/log.h"
#include "cluster/state.h"
#include "cluster/switchover.h"
#include "monitor/question.h"

namespace herdgate::monitor {

inline constexpr Duration kSwitchStepLimit = std::chrono::seconds(3);
inline constexpr Duration kCheckpointLimit = std::chrono::minutes(5);
inline constexpr Duration kReturnLimit = std::chrono::seconds(30);
inline constexpr Duration kRemoteStartAfter = std::chrono::seconds(10);
inline constexpr Duration kStopLimit = std::chrono::seconds(10);
inline constexpr Duration kSwitchPause = std::chrono::milliseconds(20);
inline constexpr Duration kReloadLimit = std::chrono::seconds(2);

class Switchover {
 public:
  struct Job {
    ProbeTarget from, to;  // with a superuser, in template1
    std::string from_application, from_data_directory;
    Duration drain_limit{};
  };
  using Done = std::function<void(const cluster::SwitchStepEnded&)>;
  Switchover(const ProbeMeans& means, Log& log, Done done);
  ~Switchover();
  Switchover(const Switchover&) = delete;
  Switchover& operator=(const Switchover&) = delete;

  void begin(Job job);  // before the check; whatever an earlier job still does is given up
  void run(const cluster::SwitchStep& step);
  void cancel();

 private:
  using Take = std::function<void(const backend::Rows&)>;
  void query(backend::Client& client, const std::string& sql, Take take);
  void later(std::function<void()> work);
  void say(Level level, const std::string& text);
  void ended(const std::string& problem, bool returned = true);

  void check();
  void take_primary(const backend::Rows& rows);
  void take_standby(const backend::Rows& rows);
  void checkpoint();
  void make_slot();
  void set_conninfo();
  void wait_for_reload();
  void drain();
  void stop();
  void stopped(const Result<backend::Rows>& rows);
  void wait_for_return();
  void look_for_return();
  void remote_start();

  ProbeMeans means_;
  Log& log_;
  LogContext who_;
  Done done_;
  Job job_;
  cluster::SwitchStep step_;
  cluster::SwitchoverFacts facts_;
  std::shared_ptr<backend::Client> from_, to_;
  std::string conninfo_, slot_;
  bool helped_ = false;  // pgpool_remote_start was called
  bool works_ = false;   // the old primary, as it said when it was asked last
  TimePoint began_{};
  net::TimerId timer_ = 0;
};

}  // namespace herdgate::monitor
