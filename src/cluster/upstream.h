// Where a standby receives from, and which node that is.
//
// Errors   none. A node that a standby knows by another name than the settings do is not recognised.
// Threads  values.
#pragma once
#include <string>

namespace herdgate::cluster {

// As pg_stat_wal_receiver says.
struct Upstream {
  std::string host;
  int port = 0;
  bool operator==(const Upstream&) const = default;
};

inline bool is_local(const std::string& host) {
  return host.empty() || host == "localhost" || host == "127.0.0.1" || host == "::1" || host.starts_with('/');
}

inline bool points_at(const Upstream& upstream, const std::string& host, int port) {
  return upstream.port == port && (upstream.host == host || (is_local(upstream.host) && is_local(host)));
}

}  // namespace herdgate::cluster
