// What PCP answers about the running server, as texts in their order on the wire. Pure.
//
// Shape    The commands that have a SHOW POOL_* twin send its rows: health check statistics, processes, configuration.
//          Only a node has a form of its own here, made with the same words (rows.h).
// Units    weight as a share of kWholeWeight; delay in octets or microseconds.
// Source   Pgpool-II 4.6, as its server was seen to answer.
#pragma once
#include <string>
#include <vector>

#include "report/rows.h"

namespace herdgate::report {

inline constexpr double kWholeWeight = 2147483647;  // clients divide by it

// Null: there is no such node.
const cluster::Node* find_node(const Server& server, NodeId id);
std::vector<std::string> pcp_node(const Server& server, const config::Settings& settings, const cluster::Node& node);
// Numbers are given from 0 to one below this; there may be gaps.
int pcp_node_count(const Server& server);
std::vector<std::string> pcp_process_ids(const Server& server);

}  // namespace herdgate::report
