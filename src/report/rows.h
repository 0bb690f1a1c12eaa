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
  NodeId session_lb_node = kNoNode;    // the asking session's load balance node
};
Table pool_nodes(const Server& server, const config::Settings& settings, const PoolNodesOptions& options);
Table pool_processes(const Server& server, const config::Settings& settings);
Table pool_pools(const Server& server, const config::Settings& settings);
Table pool_version();
Table pool_backend_stats(const Server& server);
Table pool_health_check_stats(const Server& server);   // figures come with the health checks
Table pool_cache();                                    // figures come with the query cache
Table pool_status(const config::Settings& settings);

}  // namespace herdgate::report
