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

}  // namespace

Rules rules_of(const config::Settings& settings) {
  Rules rules;
  rules.streaming = settings.backend_clustering_mode == config::ClusteringMode::streaming_replication;
  rules.delay_log = delay_log_of(settings.log_standby_delay);
  rules.delay_threshold_bytes = static_cast<std::uint64_t>(settings.delay_threshold);
  rules.delay_threshold_time = settings.delay_threshold_by_time;
  for (const config::Backend& b : settings.backends)
    rules.nodes.push_back({b.id, b.hostname, b.port, b.weight, b.allow_to_failover, b.always_primary});
  return rules;
}

}  // namespace herdgate::cluster
