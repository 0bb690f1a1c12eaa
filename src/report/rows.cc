#include "report/rows.h"

#include <fmt/format.h>

#include <map>
#include <utility>

#include "config/show.h"

namespace herdgate::report {
namespace {

using cluster::Node;
using cluster::NodeStatus;
using cluster::View;
using config::Settings;
using Row = std::vector<std::string>;

constexpr double kMicrosecondsPerSecond = 1e6;
constexpr std::chrono::microseconds kPluralFrom = std::chrono::seconds(2);

bool streaming(const Settings& settings) {
  return settings.backend_clustering_mode == config::ClusteringMode::streaming_replication;
}

cluster::ViewPtr view_of(const Server& server) { return server.view ? server.view : std::make_shared<View>(); }

NodeCounts counts_of(const Server& server, std::size_t position) {
  return position < server.counts.size() ? server.counts[position] : NodeCounts{};
}

std::string number(std::uint64_t value) { return std::to_string(value); }

std::string when(const std::optional<WallTime>& time) { return time ? format_wall(*time) : std::string(); }

// The columns node_id … role that several commands begin with.
Row head_of(const View& view, const Node& node, const Settings& settings) {
  return {std::to_string(node.id.value), node.host, std::to_string(node.port), std::string(status_word(node)),
          std::string(role_word(view, node, settings))};
}

// " (M:SS before client disconnected)" while a limit is running.
std::string idle_text(const SlotRow& slot, const Settings& settings) {
  std::string text = std::to_string(slot.idle_seconds);
  const std::int64_t left = settings.client_idle_limit.count() - slot.idle_seconds;
  if (settings.client_idle_limit.count() > 0 && slot.connected && slot.idle_seconds > 0 && left >= 0)
    text += fmt::format(" ({}:{:02} before client disconnected)", left / 60, left % 60);
  return text;
}

std::string slot_status(const SlotRow* slot, const LinkRow& link) {
  std::string text = slot ? slot->status : "Wait for connection";
  const std::string& pins = slot && !slot->pins.empty() ? slot->pins : link.pins;
  return pins.empty() ? text : fmt::format("{} (pinned: {})", text, pins);
}

Row pools_row(const SlotRow* slot, const LinkRow& link, const Settings& settings, int pool_id) {
  return {std::to_string(link.slot_pid),
          slot ? format_wall(slot->started) : "",
          slot ? number(slot->client_connections) : "0",
          std::to_string(pool_id),
          std::to_string(link.node.value),
          link.database,
          link.user,
          format_wall(link.created),
          slot ? when(slot->connected) : "",
          slot ? when(slot->disconnected) : "",
          slot ? idle_text(*slot, settings) : "0",
          std::to_string(link.protocol_major),
          std::to_string(link.protocol_minor),
          number(link.uses),
          std::to_string(link.backend_pid),
          link.in_use ? "1" : "0",
          slot_status(slot, link),
          link.load_balance_node ? "1" : "0"};
}

Row health_figures(const HealthFigures& f) {
  const auto done = static_cast<double>(f.total - f.skip);
  const auto each = [&](double sum) { return fmt::format("{:.6f}", done > 0 ? sum / done : 0); };
  const auto ms = [](std::chrono::milliseconds d) { return std::to_string(d.count()); };
  const auto date = [](const std::optional<WallTime>& t) { return t ? format_wall(*t) : std::string(); };
  return {number(f.total),       number(f.success),
          number(f.fail),        number(f.skip),
          number(f.retries),     each(static_cast<double>(f.retries)),
          number(f.max_retries), ms(f.max_duration),
          ms(f.min_duration),    each(static_cast<double>(f.all_durations.count())),
          date(f.last),          date(f.last_success),
          date(f.last_skip),     date(f.last_fail)};
}

}  // namespace

std::string_view status_word(const Node& node) {
  if (node.quarantined) return "quarantine";
  switch (node.status) {
    case NodeStatus::unused:
      return "unused";
    case NodeStatus::waiting:
      return "waiting";
    case NodeStatus::up:
      return "up";
    case NodeStatus::down:
      return "down";
  }
  return "unknown";
}

std::string_view role_word(const View& view, const Node& node, const Settings& settings) {
  if (streaming(settings)) return node.id == view.primary ? "primary" : "standby";
  return node.id == view.main() ? "main" : "replica";
}

std::string_view real_role_word(const View& view, const Node& node, const Settings& settings) {
  if (!streaming(settings)) return role_word(view, node, settings);
  if (settings.sr_check_period.count() == 0 || node.real_role == cluster::Role::unknown) return "unknown";
  return node.real_role == cluster::Role::primary ? "primary" : "standby";
}

std::string_view real_status_word(const Node& node, const Settings& settings) {
  if (settings.health_check(node.id).health_check_period.count() == 0 || node.status == NodeStatus::unused)
    return "unknown";
  return node.status == NodeStatus::down ? "down" : "up";
}

bool shows_delay(const View& view, const Node& node, const Settings& settings) {
  return streaming(settings) && node.id != view.primary && settings.sr_check_period.count() > 0;
}

std::string delay_text(const Node& node) {
  if (node.delay_time)
    return fmt::format("{:.6f} {}", static_cast<double>(node.delay_time->count()) / kMicrosecondsPerSecond,
                       *node.delay_time >= kPluralFrom ? "seconds" : "second");
  return number(node.delay_bytes.value_or(0));
}

Table pool_nodes(const Server& server, const Settings& settings, const PoolNodesOptions& options) {
  Table table{
      {"node_id", "hostname", "port", "status", "pg_status", "lb_weight", "role", "pg_role", "select_cnt",
       "load_balance_node", "replication_delay", "replication_state", "replication_sync_state", "last_status_change"},
      {}};
  const cluster::ViewPtr held = view_of(server);
  const View& view = *held;
  for (std::size_t i = 0; i < view.nodes.size(); ++i) {
    const Node& n = view.nodes[i];
    const bool lags = shows_delay(view, n, settings);
    table.rows.push_back({std::to_string(n.id.value), n.host, std::to_string(n.port), std::string(status_word(n)),
                          std::string(real_status_word(n, settings)), fmt::format("{:.6f}", n.weight),
                          std::string(role_word(view, n, settings)), std::string(real_role_word(view, n, settings)),
                          number(counts_of(server, i).select), n.id == options.session_lb_node ? "true" : "false",
                          lags ? delay_text(n) : "0", n.replication_state, n.replication_sync_state,
                          format_wall(n.status_changed)});
  }
  return table;
}

Table pool_processes(const Server& server) {
  Table table{{"pool_pid", "start_time", "client_connection_count", "database", "username", "backend_connection_time",
               "pool_counter", "status"},
              {}};
  std::map<int, const LinkRow*> first_link;  // by slot; the one of the lowest node
  for (const LinkRow& link : server.links) {
    const LinkRow*& known = first_link[link.slot_pid];
    if (!known || link.node < known->node) known = &link;
  }
  for (const SlotRow& slot : server.slots) {
    const auto found = first_link.find(slot.pid);
    const LinkRow* link = found == first_link.end() ? nullptr : found->second;
    table.rows.push_back({std::to_string(slot.pid), format_wall(slot.started), number(slot.client_connections),
                          slot.database, slot.user, link ? format_wall(link->created) : "",
                          link ? number(link->uses) : "", slot.status});
  }
  return table;
}

Table pool_pools(const Server& server, const Settings& settings) {
  Table table{{"pool_pid", "start_time", "client_connection_count", "pool_id", "backend_id", "database", "username",
               "backend_connection_time", "client_connection_time", "client_disconnection_time", "client_idle_duration",
               "majorversion", "minorversion", "pool_counter", "pool_backendpid", "pool_connected", "status",
               "load_balance_node"},
              {}};
  std::map<int, const SlotRow*> slots;
  for (const SlotRow& slot : server.slots) slots[slot.pid] = &slot;
  std::map<std::pair<int, NodeId>, int> next_id;  // links of one slot to one node are numbered from 0
  for (const LinkRow& link : server.links) {
    const auto found = slots.find(link.slot_pid);
    const SlotRow* slot = found == slots.end() ? nullptr : found->second;
    table.rows.push_back(pools_row(slot, link, settings, next_id[{link.slot_pid, link.node}]++));
  }
  return table;
}

Table pool_version() { return {{"pool_version"}, {{HERDGATE_VERSION " (Herdgate)"}}}; }

Table pool_backend_stats(const Server& server, const Settings& settings) {
  Table table{{"node_id", "hostname", "port", "status", "role", "select_cnt", "insert_cnt", "update_cnt", "delete_cnt",
               "ddl_cnt", "other_cnt", "panic_cnt", "fatal_cnt", "error_cnt"},
              {}};
  const cluster::ViewPtr held = view_of(server);
  const View& view = *held;
  for (std::size_t i = 0; i < view.nodes.size(); ++i) {
    Row row = head_of(view, view.nodes[i], settings);
    const NodeCounts c = counts_of(server, i);
    for (std::uint64_t v : {c.select, c.insert, c.update, c.del, c.ddl, c.other, c.panic, c.fatal, c.error})
      row.push_back(number(v));
    table.rows.push_back(std::move(row));
  }
  return table;
}

Table pool_health_check_stats(const Server& server, const Settings& settings) {
  Table table{{"node_id",
               "hostname",
               "port",
               "status",
               "role",
               "last_status_change",
               "total_count",
               "success_count",
               "fail_count",
               "skip_count",
               "retry_count",
               "average_retry_count",
               "max_retry_count",
               "max_duration",
               "min_duration",
               "average_duration",
               "last_health_check",
               "last_successful_health_check",
               "last_skip_health_check",
               "last_failed_health_check"},
              {}};
  const cluster::ViewPtr held = view_of(server);
  const View& view = *held;
  for (const Node& node : view.nodes) {
    Row row = head_of(view, node, settings);
    row.push_back(format_wall(node.status_changed));
    const auto found = server.health ? server.health->find(node.id) : HealthByNode::const_iterator{};
    const bool known = server.health && found != server.health->end();
    const Row figures = health_figures(known ? found->second : HealthFigures{});
    row.insert(row.end(), figures.begin(), figures.end());
    table.rows.push_back(std::move(row));
  }
  return table;
}

Table pool_cache(const Server& server) {
  const CacheFigures& c = server.cache;
  const double ratio = c.hits == 0 ? 0 : static_cast<double>(c.hits) / static_cast<double>(c.hits + c.selects);
  return {{"num_cache_hits", "num_selects", "cache_hit_ratio", "num_hash_entries", "used_hash_entries",
           "num_cache_entries", "used_cache_entries_size", "free_cache_entries_size", "fragment_cache_entries_size"},
          {{std::to_string(c.hits), std::to_string(c.selects), fmt::format("{:.2f}", ratio),
            std::to_string(c.hash_entries), std::to_string(c.entries), std::to_string(c.entries),
            std::to_string(c.used_bytes), std::to_string(c.free_bytes), "0"}}};
}

Table pool_status(const Server& server, const Settings& settings) {
  config::PoolStatusLive live;
  const cluster::ViewPtr view = view_of(server);
  for (const Node& node : view->nodes) {
    live.backend_status[node.id.value] = status_word(node);
    live.standby_delay[node.id.value] = delay_text(node);
  }
  live.cache_stats_start_time = format_wall(server.started);
  live.no_cache_hits = std::to_string(server.cache.selects);
  live.cache_hits = std::to_string(server.cache.hits);
  Table table{{"item", "value", "description"}, {}};
  for (const config::ShowRow& row : config::pool_status_rows(settings, live))
    table.rows.push_back({row.item, row.value, row.description});
  return table;
}

}  // namespace herdgate::report
