// A new primary is asked, before anybody of ours writes there, which commits it lacks that clients were told of: with
// asynchronous replication it may. Their sessions hear of it.
//
// Shape    begin() before the view with the new primary is published: from then on what writes waits. ask() when it has
//          been: it gathers the ids from the sessions, puts one question, tells the sessions, and lets writes go on.
// Limits   kCommitCheckLimit for the question, with its connection. kMaxChecked ids.
// Errors   one WARNING in the log; the ids are kept, so the next new primary is asked again.
// Threads  the control thread.
// Source   ARCHITECTURE.md section 5; PostgreSQL manual, "Transaction ID and Snapshot Information Functions".
#pragma once
#include <memory>
#include <optional>
#include <vector>

#include "monitor/question.h"
#include "session/worker.h"

namespace herdgate::server {

inline constexpr Duration kCommitCheckLimit = std::chrono::seconds(3);
inline constexpr std::size_t kMaxChecked = 100'000;

class CommitCheck {
 public:
  CommitCheck(const monitor::ProbeMeans& means, session::Shared& shared, session::Workers& workers);
  ~CommitCheck();
  CommitCheck(const CommitCheck&) = delete;
  CommitCheck& operator=(const CommitCheck&) = delete;

  void begin();
  // nullopt: it cannot be asked.
  void ask(NodeId from, NodeId to, std::optional<monitor::ProbeTarget> target);

 private:
  struct Check;
  using CheckPtr = std::shared_ptr<Check>;
  void gathered(const CheckPtr& check);
  void answered(const CheckPtr& check, const Result<backend::Rows>& rows);
  void end(const CheckPtr& check);

  monitor::ProbeMeans means_;
  session::Shared& shared_;
  session::Workers& workers_;
  std::vector<CheckPtr> checks_;  // under way
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace herdgate::server
