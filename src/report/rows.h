// Rows of the SHOW POOL_* commands (and later PCP): snapshots in, columns of text out. Pure.
//
// Shape    Table{columns, rows}: every value is text, as Pgpool-II sends them.
// Source   Pgpool-II 4.6 manual, "SQL type commands".
#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "config/settings.h"
#include "report/snapshot.h"

namespace herdgate::report {

struct Table {
  std::vector<std::string> columns;
  std::vector<std::vector<std::string>> rows;
};

struct PoolNodesOptions {
  NodeId session_lb_node = kNoNode;  // the asking session's load balance node
};
Table pool_nodes(const Server& server, const config::Settings& settings, const PoolNodesOptions& options);
Table pool_processes(const Server& server);
Table pool_pools(const Server& server, const config::Settings& settings);
Table pool_version();
Table pool_backend_stats(const Server& server, const config::Settings& settings);
Table pool_health_check_stats(const Server& server, const config::Settings& settings);
Table pool_cache(const Server& server);
Table pool_status(const Server& server, const config::Settings& settings);

// Words that PCP and the metrics use too.
std::string_view status_word(const cluster::Node& node);  // "waiting", "up", "down", "unused", "quarantine"
std::string_view role_word(const cluster::View& view, const cluster::Node& node, const config::Settings& settings);
std::string_view real_role_word(const cluster::View& view, const cluster::Node& node, const config::Settings& settings);
std::string_view real_status_word(const cluster::Node& node, const config::Settings& settings);
// Whether a replication delay is measured for this node; else it is shown as 0.
bool shows_delay(const cluster::View& view, const cluster::Node& node, const config::Settings& settings);
std::string delay_text(const cluster::Node& node);  // "0", "4096", "0.123456 second", "2.000000 seconds"

}  // namespace herdgate::report
