#include "cluster/rules.h"

#include "config/settings.h"

namespace herdgate::cluster {
namespace {

DelayLog delay_log_of(config::LogStandbyDelay value) {
  switch (value) {
    case config::LogStandbyDelay::always:
      return DelayLog::always;
    case config::LogStandbyDelay::none:
      return DelayLog::none;
    case config::LogStandbyDelay::if_over_threshold:
      break;
  }
  return DelayLog::if_over_threshold;
}

FailoverRules failover_rules_of(const config::Settings& settings) {
  FailoverRules rules;
  rules.on_backend_error = settings.failover_on_backend_error;
  rules.on_backend_shutdown = settings.failover_on_backend_shutdown;
  rules.detach_false_primary = settings.detach_false_primary;
  rules.auto_failback = settings.auto_failback;
  rules.auto_failback_interval = settings.auto_failback_interval;
  rules.search_primary_node_timeout = settings.search_primary_node_timeout;
  rules.failover_command = settings.failover_command;
  rules.failback_command = settings.failback_command;
  rules.follow_primary_command = settings.follow_primary_command;
  rules.builtin = settings.failover_method == config::FailoverMethod::builtin;
  return rules;
}

}  // namespace

Rules rules_of(const config::Settings& settings) {
  Rules rules;
  rules.streaming = settings.backend_clustering_mode == config::ClusteringMode::streaming_replication;
  rules.asks = !settings.sr_check_user.empty();
  rules.delay_log = delay_log_of(settings.log_standby_delay);
  rules.delay_threshold_bytes = static_cast<std::uint64_t>(settings.delay_threshold);
  rules.delay_threshold_time = settings.delay_threshold_by_time;
  rules.failover = failover_rules_of(settings);
  for (const config::Backend& b : settings.backends)
    rules.nodes.push_back({b.id, b.hostname, b.port, b.weight, b.allow_to_failover, b.always_primary, b.data_directory,
                           settings.health_check(b.id).health_check_period.count() > 0});
  return rules;
}

}  // namespace herdgate::cluster
