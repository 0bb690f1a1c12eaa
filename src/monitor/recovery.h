// Online recovery of one standby: scripts on the primary copy it and start it, then it is attached.
//
// Shape    one object for one recovery; `done` comes once, by the loop: nullopt, or what went wrong in the words of
//          Pgpool-II. Scripts run inside the primary's server (sql/extension), so nothing here blocks.
// Limits   kConnectLimit to reach the primary; `script_limit` for each script; `start_limit` (recovery_timeout) until
//          the recovered server answers; kAttachLimit until it is in use.
// Errors   cluster::Refusal.
// Threads  one loop. Destroying it gives up; a script that runs is ended by its server.
// Source   Pgpool-II 4.6 manual, "Online Recovery".
#pragma once
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "base/log.h"
#include "cluster/request.h"
#include "monitor/question.h"

namespace herdgate::monitor {

inline constexpr Duration kConnectLimit = std::chrono::seconds(10);
inline constexpr Duration kAttachLimit = std::chrono::seconds(5);
inline constexpr Duration kAttachPause = std::chrono::milliseconds(20);
inline constexpr Duration kStartPause = std::chrono::milliseconds(500);
inline constexpr int kTriesOfPostgres = 4;  // then template1 is tried

class Recovery {
 public:
  struct Job {
    ProbeTarget source, target;  // source.database is template1; both with recovery_user
    std::string script;          // recovery_1st_stage_command; empty: none
    std::string data_directory;  // of the target
    Duration script_limit{}, start_limit{};
  };
  struct Hooks {
    std::function<void(std::optional<cluster::Refusal>)> done;
    std::function<void(cluster::Control::Answered)> attach;
    std::function<bool()> in_use;
  };
  Recovery(const ProbeMeans& means, Log& log, Job job, Hooks hooks);
  ~Recovery();
  Recovery(const Recovery&) = delete;
  Recovery& operator=(const Recovery&) = delete;

  NodeId node() const { return job_.target.node; }

 private:
  void first_stage();
  std::string missing() const;
  void remote_start();
  void look();
  void looked(const Result<backend::Rows>& rows);
  void attach();
  void wait_until_in_use();
  void later(Duration pause, std::function<void()> work);
  void say(const std::string& text, const std::string& detail = {});
  void fail(const std::string& text, const std::string& detail = {});
  void end(std::optional<cluster::Refusal> refusal);

  ProbeMeans means_;
  Log& log_;
  LogContext who_;
  Job job_;
  Hooks hooks_;
  std::shared_ptr<backend::Client> client_;
  int tries_ = 0;
  TimePoint began_{};
  net::TimerId timer_ = 0;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace herdgate::monitor
