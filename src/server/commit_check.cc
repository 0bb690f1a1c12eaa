#include "server/commit_check.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>
#include <utility>

#include "vsession/commit_fate.h"

namespace herdgate::server {

struct CommitCheck::Check {
  NodeId from, to;
  monitor::ProbeTarget target;
  std::size_t open = 0;  // workers that have not answered
  std::vector<session::ToldCommit> told;
  std::unique_ptr<backend::Client> client;
};

CommitCheck::CommitCheck(const monitor::ProbeMeans& means, session::Shared& shared, session::Workers& workers)
    : means_(means), shared_(shared), workers_(workers) {}

CommitCheck::~CommitCheck() { *alive_ = false; }

void CommitCheck::begin() { shared_.commits_checked.fetch_add(1); }

// Who waited looks at it.
void CommitCheck::end(const CheckPtr& check) {
  // Its client may be calling us: it goes when its call has returned.
  means_.loop.defer([check] {});
  std::erase(checks_, check);
  shared_.commits_checked.fetch_sub(1);
  workers_.outcomes_closed();
}

void CommitCheck::ask(NodeId from, NodeId to, std::optional<monitor::ProbeTarget> target) {
  const auto check = std::make_shared<Check>();
  if (!target || workers_.count() == 0) return end(check);
  checks_.push_back(check);
  check->from = from;
  check->to = to;
  check->target = std::move(*target);
  check->open = workers_.count();
  for (std::size_t i = 0; i < workers_.count(); ++i) {
    session::Worker& worker = workers_.worker(WorkerId(static_cast<int>(i)));
    worker.post([this, &worker, check, alive = alive_] {
      means_.loop.post([this, check, alive, told = worker.told_commits()] {
        if (!*alive) return;
        check->told.insert(check->told.end(), told.begin(), told.end());
        if (--check->open == 0) gathered(check);
      });
    });
  }
}

void CommitCheck::gathered(const CheckPtr& check) {
  if (check->told.empty()) return end(check);
  if (check->told.size() > kMaxChecked) check->told.resize(kMaxChecked);
  std::vector<std::uint64_t> ids;
  for (const session::ToldCommit& commit : check->told) ids.push_back(commit.id);
  check->client = monitor::ask(means_, check->target, kCommitCheckLimit);
  check->client->query(vsession::missing_query(ids), Deadline::after(means_.loop.now(), kCommitCheckLimit),
                       [this, weak = std::weak_ptr(check)](const Result<backend::Rows>& rows) {
                         if (const CheckPtr check = weak.lock()) answered(check, rows);
                       });
}

void CommitCheck::answered(const CheckPtr& check, const Result<backend::Rows>& rows) {
  LogContext who;
  std::optional<std::vector<std::uint64_t>> missing;
  if (rows && rows->size() == 1 && rows->front().size() == 1) missing = vsession::missing_in(rows->front().front());
  if (!missing) {
    HG_LOG(shared_.log, who, Level::warning,
           "could not learn whether node {} has the transactions that clients committed on node {}: {}",
           check->to.value, check->from.value, rows ? "it is in recovery" : rows.error().text());
    return end(check);
  }
  const std::set<std::uint64_t> lost(missing->begin(), missing->end());
  if (!lost.empty())
    HG_LOG(shared_.log, who, Level::warning,
           "node {} lacks the last known commit of {} of {} sessions that had committed on node {}", check->to.value,
           lost.size(), check->told.size(), check->from.value);
  for (const session::ToldCommit& commit : check->told) {
    if (!lost.contains(commit.id)) continue;
    session::Worker& worker = workers_.worker(commit.worker);
    worker.post([&worker, commit, from = check->from, to = check->to] { worker.commit_is_lost(commit, from, to); });
  }
  end(check);
}

}  // namespace herdgate::server
