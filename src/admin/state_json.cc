#include "admin/state_json.h"

#include <fmt/chrono.h>

#include <nlohmann/json.hpp>

#include "report/rows.h"

namespace herdgate::admin {
namespace {

using nlohmann::ordered_json;
using report::Figures;

ordered_json time_of(WallTime time) {
  if (time == WallTime{}) return nullptr;
  return fmt::format("{:%FT%TZ}", fmt::gmtime(std::chrono::system_clock::to_time_t(time)));
}

ordered_json number_of(NodeId id) { return id == kNoNode ? ordered_json(nullptr) : ordered_json(id.value); }

ordered_json delay_bytes(const cluster::Node& node) {
  return node.delay_bytes ? ordered_json(*node.delay_bytes) : ordered_json(nullptr);
}

ordered_json delay_seconds(const cluster::Node& node) {
  if (!node.delay_time) return nullptr;
  return std::chrono::duration<double>(*node.delay_time).count();
}

ordered_json node_object(const Figures& figures, std::size_t at, const config::Settings& settings) {
  const cluster::View& view = *figures.view;
  const cluster::Node& node = view.nodes[at];
  const report::NodeFigures& counted = figures.nodes[at];
  const bool lags = report::shows_delay(view, node, settings);
  ordered_json out;
  out["node_id"] = node.id.value;
  out["hostname"] = node.host;
  out["port"] = node.port;
  out["status"] = report::status_word(node);
  out["pg_status"] = report::real_status_word(node, settings);
  out["lb_weight"] = node.weight;
  out["role"] = report::role_word(view, node, settings);
  out["pg_role"] = report::real_role_word(view, node, settings);
  out["select_cnt"] = counted.counts.select;
  out["replication_delay_bytes"] = lags ? delay_bytes(node) : ordered_json(nullptr);
  out["replication_delay_seconds"] = lags ? delay_seconds(node) : ordered_json(nullptr);
  out["replication_state"] = node.replication_state;
  out["replication_sync_state"] = node.replication_sync_state;
  out["last_status_change"] = time_of(node.status_changed);
  out["status_reason"] = node.status_reason;
  out["links"] = {{"used", counted.links.used}, {"idle", counted.links.idle}};
  return out;
}

ordered_json pool_object(const report::PoolFigures& pool) {
  ordered_json out;
  out["node_id"] = pool.node.value;
  out["database"] = pool.database;
  out["user"] = pool.user;
  out["links"] = {{"used", pool.links.used}, {"idle", pool.links.idle}};
  out["waiting"] = pool.waiting;
  return out;
}

}  // namespace

std::string state_json(const Figures& figures, const config::Settings& settings) {
  ordered_json out;
  out["version"] = HERDGATE_VERSION;
  out["started"] = time_of(figures.started);
  out["epoch"] = figures.view->epoch;
  out["primary"] = number_of(figures.view->primary);
  out["primary_awaited"] = figures.view->primary_awaited;
  out["switching"] = figures.view->switching;
  out["nodes"] = ordered_json::array();
  for (std::size_t i = 0; i < figures.nodes.size(); ++i) out["nodes"].push_back(node_object(figures, i, settings));
  out["pools"] = ordered_json::array();
  for (const report::PoolFigures& pool : figures.pools) out["pools"].push_back(pool_object(pool));
  out["pools_left_out"] = figures.pools_left_out;
  out["links_limit"] = figures.links_limit;
  out["pool_links_limit"] = figures.pool_links_limit;
  const report::ClientFigures& clients = figures.clients;
  out["clients"] = {{"inside", clients.inside}, {"waiting", clients.waiting}, {"limit", clients.limit}};
  return out.dump(2, ' ', /*ensure_ascii=*/false, ordered_json::error_handler_t::replace) + "\n";
}

}  // namespace herdgate::admin
