// Before a standby is attached under failover_method = builtin: it must receive from the primary, or is pointed at it.
//
// Shape    one object for one standby; `done` comes once, by the loop, with the reason why it cannot be used, or empty.
// Limits   kFollowStepLimit for each question, kSettleLimit until a receiver that is starting streams, kFollowLimit
//          after the standby was pointed at the primary.
// Errors   words for the asker, without a full stop.
// Threads  one loop. Destroying it gives up.
// Source   PostgreSQL manual, "pg_stat_wal_receiver", "ALTER SYSTEM".
#pragma once
#include <functional>
#include <memory>
#include <string>

#include "monitor/question.h"

namespace herdgate::monitor {

inline constexpr Duration kFollowStepLimit = std::chrono::seconds(3);
inline constexpr Duration kSettleLimit = std::chrono::seconds(2);
inline constexpr Duration kFollowLimit = std::chrono::seconds(15);
inline constexpr Duration kFollowPause = std::chrono::milliseconds(250);

class Follower {
 public:
  struct Job {
    ProbeTarget standby, primary;  // with a user that may ALTER SYSTEM
    std::string application_name;  // of the standby
  };
  using Done = std::function<void(const std::string& problem)>;
  Follower(const ProbeMeans& means, Job job, Done done);
  ~Follower();
  Follower(const Follower&) = delete;
  Follower& operator=(const Follower&) = delete;

 private:
  using Take = std::function<void(const backend::Rows&)>;
  void query(backend::Client& client, const std::string& sql, Take take);
  void look();
  void looked(const backend::Rows& rows);
  void lock();
  void point();
  void make_slot_then(std::function<void()> then);
  void later();
  void end(const std::string& problem);

  ProbeMeans means_;
  Job job_;
  Done done_;
  std::unique_ptr<backend::Client> standby_, primary_;
  std::string timeline_, conninfo_, slot_;
  bool pointed_ = false;
  TimePoint began_{};
  net::TimerId timer_ = 0;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace herdgate::monitor
