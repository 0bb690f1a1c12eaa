// What people ask of the monitor and what takes time: online recovery, a built-in switchover, a standby that must
// follow before it is attached.
#include <fmt/format.h>

#include <algorithm>
#include <utility>
#include <vector>

#include "monitor/monitor.h"

namespace herdgate::monitor {
namespace {

constexpr const char* kTemplate = "template1";  // where the extension is looked for, as Pgpool-II 4.6 does
constexpr Duration kShortestDrain = std::chrono::seconds(1);
constexpr Duration kNoLimit = std::chrono::hours(24 * 365);

}  // namespace

// ---- built-in switchover

// Nothing is stopped before every worker knows that the node is not to be used.
void Monitor::switch_step(const cluster::SwitchStep& step) {
  const auto begin = [this, alive = alive_, step] {
    if (!*alive) return;
    if (step.kind == cluster::SwitchStep::check) switchover_.begin(switchover_job(step));
    switchover_.run(step);
  };
  if (step.kind == cluster::SwitchStep::check)
    means_.loop.defer(begin);
  else if (step.kind == cluster::SwitchStep::stop)
    note_then(step, begin);
  else
    when_settled(begin);
}

void Monitor::when_settled(const std::function<void()>& begin) {
  if (hooks_.settled)
    hooks_.settled(begin);
  else
    means_.loop.defer(begin);
}

// With what the next proxy will have to judge by.
void Monitor::note(NodeId from, NodeId to, SwitchoverNote::Written done) {
  noted_ = Noted{from, to, means_.loop.now()};
  const PrimaryFacts::Facts known = primaries_.of(from);
  const auto since_1970 = means_.loop.clock().wall().time_since_epoch();
  const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(since_1970).count();
  note_.set(note_path_, cluster::print_unfinished({from, to, known.rule, known.position, known.timeline, seconds}),
            std::move(done));
}

// From the moment when the primary may be stopped until there is one again: a proxy that starts meanwhile must know.
void Monitor::note_then(const cluster::SwitchStep& step, std::function<void()> begin) {
  note(step.from, step.to, [this, step, begin = std::move(begin)](const Result<Done>& written) {
    if (!state_.operation || state_.operations != step.operation) return;
    if (written) return when_settled(begin);
    feed(cluster::SwitchStepEnded{step.kind, step.operation, written.error().text()});
  });
}

// A failover goes on without a note that cannot be written: what has been lost then is the primary, not by us. A
// switchover that was taken up is noted as such: should this proxy die too, the old primary must not be left out. The
// next primary may be lost in the same turn in which one was found.
void Monitor::keep_note() {
  const bool lost = state_.lost && state_.lost->primary != kNoNode && state_.rules.failover.builtin;
  if (noted_ && lost && noted_->from != state_.lost->primary) noted_.reset();
  const bool old = noted_ && state_.lost && means_.loop.now() - noted_->at > cluster::kLastWordsCount / 2;
  if (old || (!noted_ && lost)) {
    const Noted first =
        noted_ ? *noted_ : Noted{state_.lost->primary, state_.lost->planned ? state_.lost->heir : kNoNode};
    note(first.from, first.to, [this](const Result<Done>& written) {
      if (!written)
        say({Level::warning, written.error().text(), "A proxy that starts anew will not know of the failover."});
    });
  }
  if (!noted_ || state_.lost) return;
  noted_.reset();
  note_.set(note_path_, std::nullopt, [this](const Result<Done>& removed) {
    if (!removed) say({Level::warning, removed.error().text(), "It must be removed: there is a primary."});
  });
}

Switchover::Job Monitor::switchover_job(const cluster::SwitchStep& step) const {
  Switchover::Job job;
  for (const config::Backend& b : settings_->backends) {
    if (b.id == step.to) job.to = powerful(b, kTemplate);
    if (b.id != step.from) continue;
    job.from = powerful(b, kTemplate);
    job.from_application = b.application_name;
    job.from_data_directory = b.data_directory;
  }
  // The rest of that time is for the promotion.
  job.drain_limit = std::max<Duration>(settings_->failover_wait_timeout / 3, kShortestDrain);
  return job;
}

void Monitor::switchover_ended(const cluster::SwitchoverEnd& end) {
  switchover_.cancel();
  const auto [first, last] = switch_askers_.equal_range(end.to);
  std::vector<std::shared_ptr<Answered>> askers;
  for (auto it = first; it != last; ++it) askers.push_back(it->second);
  switch_askers_.erase(first, last);
  std::optional<cluster::Refusal> refusal;
  if (!end.problem.empty())
    refusal = cluster::Refusal{Level::error, fmt::format("could not switch over to node {}", end.to.value),
                               end.problem + "."};
  for (const auto& asker : askers) answer(*asker, refusal);
}

// ---- attach under failover_method = builtin

bool Monitor::follows_first(const cluster::Request& request) const {
  const cluster::Node* node = view_->find(request.node);
  const cluster::Node* primary = view_->find(view_->primary);
  return state_.rules.failover.builtin && asks() && node && node->status == cluster::NodeStatus::down && primary &&
         primary->live() && primary->id != node->id;
}

void Monitor::attach_follower(const cluster::Request& request, Answered answered) {
  const config::Backend* standby = settings_->backend(request.node);
  const config::Backend* primary = settings_->backend(view_->primary);
  if (!standby || !primary) return answer(std::move(answered), feed(cluster::Requested{request}));
  if (followers_.count(request.node))
    return answer(std::move(answered), cluster::Refusal{Level::error, "failed to process PCP request at the moment",
                                                        "the node is being attached already"});
  Follower::Job job{powerful(*standby, "postgres"), powerful(*primary, "postgres"), standby->application_name};
  const auto done = [this, request, answered, followed = primary->id](const std::string& problem) {
    cluster::Request attach = request;
    attach.follows = followed;
    if (problem.empty()) return answer(answered, feed(cluster::Requested{attach}));
    const std::string text = fmt::format("node {} is not attached", request.node.value);
    say({Level::warning, text, problem + "."});
    answer(answered, cluster::Refusal{Level::error, text, problem + "."});
  };
  lead(followers_, std::move(job), done);
}

void Monitor::lead(std::map<NodeId, Led>& led, Follower::Job job, std::function<void(const std::string&)> done) {
  const NodeId node = job.standby.node, primary = job.primary.node;
  const auto over = [this, &led, node, done](const std::string& problem) {
    // It is calling us: it goes when its call has returned.
    if (const auto self = led.extract(node)) means_.loop.defer([held = self.mapped().follower] {});
    done(problem);
  };
  led[node] = {primary, std::make_shared<Follower>(means_, std::move(job), over), done};
}

// Whoever was to follow a primary that is none any more must not be pointed at it: should that one wake up, a commit
// could be acknowledged there. What is already on its way to a standby the promoter waits for: kTakeConninfoLock.
void Monitor::let_followers_go() {
  const cluster::Node* primary = view_->find(view_->primary);
  const NodeId working = primary && primary->live() ? primary->id : kNoNode;
  std::vector<std::pair<NodeId, std::function<void(const std::string&)>>> told;
  for (auto* led : {&followers_, &mended_})
    for (const auto& [node, one] : *led)
      if (one.primary != working) told.emplace_back(one.primary, one.done);
  for (auto* led : {&followers_, &mended_})
    std::erase_if(*led, [&](const auto& entry) { return entry.second.primary != working; });
  for (const auto& [old, done] : told)
    done(fmt::format("it was to follow node {}, which is not the primary any more", old.value));
}

// ---- online recovery

std::optional<cluster::Refusal> Monitor::refuses_recovery(NodeId node) const {
  using cluster::Refusal;
  constexpr const char* kFailed = "process recovery request failed";
  if (!state_.rules.streaming)
    return Refusal{Level::error, kFailed,
                   "recovery request is accepted only in native replication mode or streaming replication mode"};
  if (recovery_) return Refusal{Level::fatal, kFailed, "pgpool-II is already processing another recovery request"};
  const auto failed = [&](const char* why) {
    return Refusal{Level::error, fmt::format("node recovery failed, node id: {} is {}", node.value, why), {}};
  };
  const cluster::Node* known = view_->find(node);
  if (!known || !settings_->backend(node)) return failed("not valid");
  if (known->status == cluster::NodeStatus::unused) return failed("unused");
  if (known->status != cluster::NodeStatus::down) return failed("alive");
  if (node == view_->primary && view_->main() == kNoNode) return failed("the primary");
  const cluster::Node* primary = view_->find(view_->primary);
  if (primary && primary->live() && settings_->backend(primary->id)) return std::nullopt;
  return Refusal{Level::error,
                 fmt::format("node recovery failed, unable to connect to main node: {}", view_->primary.value),
                 "There is no primary to copy."};
}

Recovery::Job Monitor::recovery_job(NodeId node) const {
  const config::Backend& target = *settings_->backend(node);
  const Duration script_limit = settings_->follow_primary_command_timeout;
  Recovery::Job job;
  job.source = powerful(*settings_->backend(view_->primary), kTemplate);
  job.target = powerful(target, "postgres");
  job.script = settings_->recovery_1st_stage_command;
  job.data_directory = target.data_directory;
  job.script_limit = script_limit > Duration::zero() ? script_limit : kNoLimit;
  job.start_limit = settings_->recovery_timeout;
  return job;
}

void Monitor::recover(NodeId node, Answered answered) {
  if (auto refusal = refuses_recovery(node)) return answer(std::move(answered), std::move(refusal));
  Recovery::Hooks hooks;
  hooks.attach = [this, node](Answered attached) { request({cluster::Request::attach, node}, std::move(attached)); };
  hooks.in_use = [this, node] {
    const cluster::Node* known = view_->find(node);
    return known && known->live();
  };
  hooks.done = [this, answered](std::optional<cluster::Refusal> refusal) {
    means_.loop.defer([held = std::exchange(recovery_, nullptr)] {});
    answer(answered, std::move(refusal));
  };
  recovery_ = std::make_shared<Recovery>(means_, log_, recovery_job(node), std::move(hooks));
}

}  // namespace herdgate::monitor
