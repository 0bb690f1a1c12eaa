// The settings in force: one typed field for each parameter of pgpool.conf, named as the parameter is.
//
// Shape    Settings is made by load() (load.h) and published as shared_ptr<const Settings>. Fields come from the one
//          table parameters.inc; a default-constructed Settings holds the documented defaults.
// Units    times are std::chrono types of the unit in which the parameter is written; sizes are std::int64_t of the
//          unit in the table (bytes, except log_rotation_size: kB).
// Limits   kMaxNodes backends and watchdog nodes, kMaxHeartbeats heartbeat entries.
// Threads  a value; immutable once published.
// Source   Pgpool-II 4.6 manual, "Server Configuration".
#pragma once
#include <chrono>
#include <cstdint>
#include <limits>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/ids.h"
#include "config/patterns.h"
#include "config/values.h"

namespace herdgate::config {

inline constexpr int kMaxHeartbeats = 256;
inline constexpr std::int64_t kIntMax = std::numeric_limits<std::int32_t>::max();
inline constexpr std::int64_t kInt64Max = std::numeric_limits<std::int64_t>::max();

template <class... Words>
std::vector<std::string> list_of(const Words&... words) {
  return {std::string(words)...};
}

// One server of the herd. Ids may have gaps.
struct Backend {
  NodeId id;
  std::string hostname;  // never empty once loaded: an empty backend_hostnameN was replaced by /tmp
  int port = 0;
  double weight = 0;  // as written; Settings::weight_share gives the share of the total
  std::string data_directory, application_name;
  bool allow_to_failover = true, always_primary = false;
  bool operator==(const Backend&) const = default;
};

struct WatchdogNode {
  int id = 0;
  std::string hostname = "localhost";
  int wd_port = 0, pgpool_port = 0;
  bool operator==(const WatchdogNode&) const = default;
};

struct Heartbeat {
  int id = 0;
  std::string hostname, device;
  int port = 0;
  bool operator==(const Heartbeat&) const = default;
};

// The health check of one node: its own values where it has them, else the plain ones.
struct HealthCheck {
#define HG_PER_NODE(type, name, ...) type name{};
#include "config/parameters.inc"
};
// What a node sets itself.
struct HealthCheckOwn {
#define HG_PER_NODE(type, name, ...) std::optional<type> name;
#include "config/parameters.inc"
  bool operator==(const HealthCheckOwn&) const = default;
};

struct Settings {
#define HG_PARAM(type, name, default_value, ...) type name = default_value;
#define HG_PER_NODE(type, name, default_value, ...) type name = default_value;
#include "config/parameters.inc"

  std::vector<Backend> backends;  // configured ones only, by id
  std::vector<WatchdogNode> watchdog_nodes;
  std::vector<Heartbeat> heartbeats;
  std::map<int, HealthCheckOwn> own_health_checks;  // by node number
  // The lists above in compiled form. Never null; made where the settings are checked (check.cc).
  std::shared_ptr<const Patterns> patterns = std::make_shared<Patterns>();
  bool traces = false;      // jsonlog is a log_destination: a statement's traceparent is looked for
  std::string config_file;  // path it was read from; empty in tests

  const Backend* backend(NodeId id) const;
  double weight_share(NodeId id) const;  // 0..1; 0 when all weights are 0
  HealthCheck health_check(NodeId id) const;
  bool logs_to(std::string_view destination) const;  // "stderr", "syslog" or "jsonlog"
  // A path as the parameter was written, made absolute by the directory of pgpool.conf when it is relative.
  std::string beside_config(std::string_view path) const;
};
using SettingsPtr = std::shared_ptr<const Settings>;

}  // namespace herdgate::config
