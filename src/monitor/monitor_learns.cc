// What a probe's answer tells the monitor beside the node's state: what the built-in failover will want to know, and
// what stands in its way.
#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "monitor/monitor.h"

namespace herdgate::monitor {

// What the built-in failover will want to know when the node cannot be asked any more, and what it needs to be sure.
void Monitor::learn(NodeId node, const Answer& answer) {
  primaries_.note(node, answer, state_.lost ? state_.lost->primary : kNoNode);
  if (!state_.rules.failover.builtin || !answer.wal_receiver_timeout) return;
  if (const std::string too_old = too_old_for_builtin(answer.version); !too_old.empty())
    return complain(node, fmt::format("the built-in failover cannot use node {}", node.value), too_old + ".");
  if (answer.stopped) mend(node);
  const Duration limit = settings_->health_check(node).health_check_timeout;
  const Duration timeout = *answer.wal_receiver_timeout;
  if (limit == Duration::zero() || (timeout != Duration::zero() && timeout <= limit)) return complain(node, {}, {});
  complain(node,
           fmt::format("wal_receiver_timeout of node {} is longer than health_check_timeout, which delays the built-in "
                       "failover",
                       node.value),
           fmt::format("A primary that hangs is replaced only when no standby takes its connection for alive. On node "
                       "{}: ALTER SYSTEM SET wal_receiver_timeout = '{}s'; SELECT pg_reload_conf();",
                       node.value, std::chrono::duration_cast<std::chrono::seconds>(limit).count()));
}

// Once, until there is nothing to complain of.
void Monitor::complain(NodeId node, const std::string& text, const std::string& detail) {
  const bool is_new = !text.empty() && complaints_[node].empty();
  complaints_[node] = text;
  if (is_new) say({Level::warning, text, detail});
}

// A built-in failover that did not end, ours or that of a proxy that died, has left it without a primary.
void Monitor::mend(NodeId node) {
  const cluster::Node* known = view_->find(node);
  const cluster::Node* primary = view_->find(view_->primary);
  if (state_.operation || mended_.count(node) || followers_.count(node) || !known || !known->live()) return;
  if (!primary || !primary->live() || primary->id == node || !asks()) return;
  const config::Backend* standby = settings_->backend(node);
  const config::Backend* source = settings_->backend(primary->id);
  if (!standby || !source) return;
  say({Level::warning, fmt::format("node {} was cut off from its primary by a failover that did not end", node.value),
       fmt::format("It is pointed at node {} again.", primary->id.value)});
  Follower::Job job{powerful(*standby, "postgres"), powerful(*source, "postgres"), standby->application_name};
  const auto done = [this, node](const std::string& problem) {
    if (problem.empty()) return say({Level::log, fmt::format("node {} receives again", node.value), {}});
    say({Level::warning, fmt::format("node {} is still cut off", node.value), problem + "."});
  };
  lead(mended_, std::move(job), done);
}

}  // namespace herdgate::monitor
