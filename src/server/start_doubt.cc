#include "server/start_doubt.h"

#include <fmt/format.h>

#include <utility>

namespace herdgate::server {

StartDoubt::StartDoubt(const monitor::ProbeMeans& means, session::Shared& shared, session::Workers& workers,
                       std::function<Whom()> whom)
    : means_(means), shared_(shared), workers_(workers), whom_(std::move(whom)) {}

StartDoubt::~StartDoubt() {
  means_.loop.cancel(again_);
  means_.loop.cancel(limit_);
}

void StartDoubt::begin() {
  if (!shared_.query_cache) return;
  lasts_ = true;
  began_ = means_.loop.clock().now();
  if (!shared_.memcached) doubt_ = shared_.query_cache->doubt({}, cache::Scope{.everything = true});
  limit_ = means_.loop.after(kLasts, [this] {
    limit_ = 0;
    end("10 minutes after the start");
  });
}

void StartDoubt::look(std::function<void()> looked) {
  if (!lasts_) return looked();
  looked_ = std::move(looked);
  ask();
}

// The login takes its time, and what begins meanwhile is not old: so there is a question ahead.
void StartDoubt::ask() {
  const auto [node, target] = whom_();
  if (node == kNoNode) return not_over("none", "no node is known that could say it", "");
  if (!target) {
    return not_over("nobody", fmt::format("nobody is named who could ask node {} for it", node.value),
                    "That is sr_check_user, or else health_check_user.");
  }
  const Deadline deadline = Deadline::after(means_.loop.now(), kAskLimit);
  const auto refused = [this, node](const Error& error) {
    not_over("refused", fmt::format("node {} does not say it", node.value), error.text());
  };
  backend::Client& there = client(*target);
  there.query("SELECT 1", deadline, [this, &there, node, deadline, refused](const Result<backend::Rows>& ready) {
    if (!ready) return refused(ready.error());
    const TimePoint sent = means_.loop.clock().now();
    there.query(monitor::old_work_query(), deadline, [this, node, sent, refused](const Result<backend::Rows>& rows) {
      if (!rows) return refused(rows.error());
      answered(node, monitor::old_work(*rows, sent - began_));
    });
  });
}

// A login that stays would hold up a DROP of its database: nobody does that to "postgres".
backend::Client& StartDoubt::client(const monitor::ProbeTarget& target) {
  const bool same = client_ && !client_->broken() && target.database == "postgres" && asked_.node == target.node &&
                    asked_.to.host == target.to.host && asked_.to.port == target.to.port &&
                    asked_.user == target.user && asked_.database == target.database;
  if (same) return *client_;
  asked_ = target;
  client_ = monitor::ask(means_, target, kAskLimit);
  return *client_;
}

// Of a primary that is one no more it says nothing about the new one.
void StartDoubt::answered(NodeId node, OldWork said) {
  const Whom now = whom_();
  if (said == OldWork::over && now.node == node) return end("nothing of before the start is at work any more");
  if (said == OldWork::over) return asked();
  if (said == OldWork::goes_on)
    return not_over("goes on", fmt::format("node {} works at statements of before the start", node.value), "");
  if (said == OldWork::hidden)
    return not_over("hidden", fmt::format("{} may not see on node {} what others do", asked_.user, node.value),
                    "It needs the rights of pg_monitor.");
  not_over("elsewhere", fmt::format("node {} is a standby, which does not know it", node.value), "");
}

void StartDoubt::not_over(const std::string& kind, const std::string& text, const std::string& detail) {
  LogContext who;
  const std::string line =
      fmt::format("query cache: not in use until nothing of before the start is at work: {}", text);
  const std::string more =
      detail + (detail.empty() ? "" : " ") + "It will be in use 10 minutes after the start at the latest.";
  if (said_.insert(kind).second) shared_.log.write(who, LogLine{.level = Level::log, .text = line, .detail = more});
  asked();
}

void StartDoubt::asked() {
  if (!lasts_) return;
  again_ = means_.loop.after(kAskAgain, [this] {
    again_ = 0;
    ask();
  });
  if (looked_) std::exchange(looked_, nullptr)();
}

// Nobody has learned or kept anything before the first look has ended.
void StartDoubt::end(const char* why) {
  if (!std::exchange(lasts_, false)) return;
  means_.loop.cancel(std::exchange(again_, 0));
  means_.loop.cancel(std::exchange(limit_, 0));
  const std::shared_ptr<backend::Client> calling = std::move(client_);  // it may be: it goes when its call has returned
  means_.loop.defer([calling] {});
  const bool at_once = looked_ != nullptr;
  if (!at_once) shared_.epochs.define_in_all(catalog::Epochs::Change::databases);
  doubt_.end(/*known=*/true);
  if (shared_.memcached) workers_.worker(WorkerId(0)).end_start_doubt();
  if (at_once) return std::exchange(looked_, nullptr)();
  LogContext who;
  HG_LOG(shared_.log, who, Level::log, "query cache: in use, {}", why);
}

}  // namespace herdgate::server
