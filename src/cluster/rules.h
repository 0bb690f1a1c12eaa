// What the cluster machine must know of the settings, as one small value: tests write it by hand, reload compares it.
//
// Shape    Rules{mode, delay rules, failover rules, nodes}; rules_of() takes it out of the whole Settings.
// Units    weight as configured (not normalised); thresholds in octets of WAL and in microseconds; 0 = off.
// Limits   at most kMaxNodes nodes, ids may have gaps, ascending.
// Threads  values.
#pragma once
#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

#include "base/ids.h"

namespace herdgate::config {
struct Settings;
}

namespace herdgate::cluster {

struct NodeSetup {
  NodeId id;
  std::string host;
  int port = 0;
  double weight = 0;
  bool allow_to_failover = true, always_primary = false;
  std::string data_directory;
  bool health_checked = false;  // health_check_period is above 0
  bool operator==(const NodeSetup&) const = default;
};

// log_standby_delay
enum class DelayLog : std::uint8_t { always, if_over_threshold, none };

// The parameters of the same names.
struct FailoverRules {
  bool on_backend_error = true, on_backend_shutdown = false;
  bool detach_false_primary = false, auto_failback = false;
  std::chrono::seconds auto_failback_interval{60};
  std::chrono::seconds search_primary_node_timeout{300};  // 0: for ever
  std::string failover_command, failback_command, follow_primary_command;
  bool builtin = false;  // failover_method
  bool operator==(const FailoverRules&) const = default;
};

struct Rules {
  bool streaming = true;  // false: raw mode, no primary is looked for
  bool asks = true;       // there is a user to log in with, so nodes can be asked for their role
  DelayLog delay_log = DelayLog::if_over_threshold;
  std::uint64_t delay_threshold_bytes = 0;
  std::chrono::microseconds delay_threshold_time{0};  // above 0: delay is measured in time
  FailoverRules failover;
  std::vector<NodeSetup> nodes;
  bool delay_by_time() const { return delay_threshold_time.count() > 0; }
  bool operator==(const Rules&) const = default;
};

Rules rules_of(const config::Settings& settings);

}  // namespace herdgate::cluster
