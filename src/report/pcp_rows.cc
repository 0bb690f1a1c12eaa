#include "report/pcp_rows.h"

#include <fmt/format.h>

namespace herdgate::report {
namespace {

int role_number(std::string_view word) {
  static constexpr std::string_view kWords[] = {"main", "replica", "primary", "standby"};
  for (int i = 0; i < 4; ++i)
    if (word == kWords[i]) return i;
  return 1;
}

std::string delay_number(const cluster::Node& node) {
  return node.delay_time ? std::to_string(node.delay_time->count()) : std::to_string(node.delay_bytes.value_or(0));
}

}  // namespace

const cluster::Node* find_node(const Server& server, NodeId id) {
  return server.view ? server.view->find(id) : nullptr;
}

std::vector<std::string> pcp_node(const Server& server, const config::Settings& settings, const cluster::Node& node) {
  const cluster::View& view = *server.view;
  const bool lags = shows_delay(view, node, settings);
  const auto changed = std::chrono::duration_cast<std::chrono::seconds>(node.status_changed.time_since_epoch());
  return {node.host,
          std::to_string(node.port),
          std::to_string(static_cast<int>(node.status)),
          node.quarantined ? "1" : "0",
          std::string(real_status_word(node, settings)),
          fmt::format("{:.6f}", node.weight * kWholeWeight),
          std::to_string(role_number(role_word(view, node, settings))),
          std::string(real_role_word(view, node, settings)),
          lags && node.delay_time ? "1" : "0",
          lags ? delay_number(node) : "0",
          node.replication_state,
          node.replication_sync_state,
          std::to_string(changed.count())};
}

int pcp_node_count(const Server& server) {
  return !server.view || server.view->nodes.empty() ? 0 : server.view->nodes.back().id.value + 1;
}

std::vector<std::string> pcp_process_ids(const Server& server) {
  std::vector<std::string> out;
  for (const auto& row : pool_processes(server).rows) out.push_back(row.front());
  return out;
}

}  // namespace herdgate::report
