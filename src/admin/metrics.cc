#include "admin/metrics.h"

#include <utility>

#include "report/rows.h"

namespace herdgate::admin {
namespace {

using cluster::Node;
using config::Settings;
using report::Figures;
using report::NodeFigures;

double seconds(WallTime time) { return std::chrono::duration<double>(time.time_since_epoch()).count(); }
std::uint64_t flag(bool value) { return value ? 1 : 0; }

// One after the other, each with its number as the label says it.
template <class Each>
void for_nodes(const Figures& figures, Each each) {
  for (std::size_t i = 0; i < figures.nodes.size(); ++i) {
    const Node& node = figures.view->nodes[i];
    each(std::to_string(node.id.value), node, figures.nodes[i]);
  }
}

void add_node_states(Exposition& out, const Figures& figures, const Settings& settings) {
  static constexpr std::string_view kStates[] = {"waiting", "up", "down", "unused", "quarantine"};
  out.metric(Metric::herdgate_node_info);
  for_nodes(figures, [&](const std::string& id, const Node& node, const NodeFigures&) {
    out.sample({id, node.host, std::to_string(node.port)}, std::uint64_t{1});
  });
  out.metric(Metric::herdgate_node_state);
  for_nodes(figures, [&](const std::string& id, const Node& node, const NodeFigures&) {
    for (const std::string_view state : kStates) out.sample({id, state}, flag(state == report::status_word(node)));
  });
  out.metric(Metric::herdgate_node_role);
  const bool streaming = settings.backend_clustering_mode == config::ClusteringMode::streaming_replication;
  for_nodes(figures, [&](const std::string& id, const Node& node, const NodeFigures&) {
    const std::string_view role = report::role_word(*figures.view, node, settings);
    for (const std::string_view word : {streaming ? "primary" : "main", streaming ? "standby" : "replica"})
      out.sample({id, word}, flag(word == role));
  });
  out.metric(Metric::herdgate_node_weight_ratio);
  for_nodes(figures,
            [&](const std::string& id, const Node& node, const NodeFigures&) { out.sample({id}, node.weight); });
  out.metric(Metric::herdgate_node_state_change_timestamp_seconds);
  for_nodes(figures, [&](const std::string& id, const Node& node, const NodeFigures&) {
    out.sample({id}, seconds(node.status_changed));
  });
}

void add_delays(Exposition& out, const Figures& figures, const Settings& settings) {
  out.metric(Metric::herdgate_node_replication_delay_bytes);
  for_nodes(figures, [&](const std::string& id, const Node& node, const NodeFigures&) {
    if (node.delay_bytes && report::shows_delay(*figures.view, node, settings)) out.sample({id}, *node.delay_bytes);
  });
  out.metric(Metric::herdgate_node_replication_delay_seconds);
  for_nodes(figures, [&](const std::string& id, const Node& node, const NodeFigures&) {
    if (node.delay_time && report::shows_delay(*figures.view, node, settings))
      out.sample({id}, std::chrono::duration<double>(*node.delay_time).count());
  });
}

void add_work(Exposition& out, const Figures& figures) {
  out.metric(Metric::herdgate_node_links);
  for_nodes(figures, [&](const std::string& id, const Node&, const NodeFigures& node) {
    out.sample({id, "used"}, node.links.used);
    out.sample({id, "idle"}, node.links.idle);
  });
  out.metric(Metric::herdgate_node_statements_total);
  for_nodes(figures, [&](const std::string& id, const Node&, const NodeFigures& node) {
    const report::NodeCounts& c = node.counts;
    const std::pair<std::string_view, std::uint64_t> kinds[] = {{"select", c.select}, {"insert", c.insert},
                                                                {"update", c.update}, {"delete", c.del},
                                                                {"ddl", c.ddl},       {"other", c.other}};
    for (const auto& [kind, count] : kinds) out.sample({id, kind}, count);
  });
  out.metric(Metric::herdgate_node_errors_total);
  for_nodes(figures, [&](const std::string& id, const Node&, const NodeFigures& node) {
    out.sample({id, "panic"}, node.counts.panic);
    out.sample({id, "fatal"}, node.counts.fatal);
    out.sample({id, "error"}, node.counts.error);
  });
  out.metric(Metric::herdgate_node_query_duration_seconds);
  for_nodes(figures,
            [&](const std::string& id, const Node&, const NodeFigures& node) { out.sample({id}, node.query_times); });
  out.metric(Metric::herdgate_node_link_wait_seconds);
  for_nodes(figures,
            [&](const std::string& id, const Node&, const NodeFigures& node) { out.sample({id}, node.link_waits); });
}

void add_failovers(Exposition& out, const Figures& figures) {
  out.metric(Metric::herdgate_node_failovers_total);
  for_nodes(figures, [&](const std::string& id, const Node&, const NodeFigures& node) {
    for (std::size_t i = 0; i < cluster::kCauses.size(); ++i)
      out.sample({id, cluster::kCauses[i]}, node.failovers.lost[i]);
  });
  out.metric(Metric::herdgate_node_failbacks_total);
  for_nodes(figures, [&](const std::string& id, const Node&, const NodeFigures& node) {
    out.sample({id}, node.failovers.returned);
  });
}

// Only of nodes that are checked.
template <class Each>
void for_checked(const Figures& figures, Each each) {
  if (!figures.health) return;
  for (const auto& [node, checks] : *figures.health) each(std::to_string(node.value), checks);
}

void add_health(Exposition& out, const Figures& figures) {
  using report::HealthFigures;
  out.metric(Metric::herdgate_health_checks_total);
  for_checked(figures, [&](const std::string& id, const HealthFigures& checks) {
    out.sample({id, "success"}, checks.success);
    out.sample({id, "fail"}, checks.fail);
    out.sample({id, "skip"}, checks.skip);
  });
  out.metric(Metric::herdgate_health_check_retries_total);
  for_checked(figures, [&](const std::string& id, const HealthFigures& checks) { out.sample({id}, checks.retries); });
  out.metric(Metric::herdgate_health_check_duration_seconds_total);
  for_checked(figures, [&](const std::string& id, const HealthFigures& checks) {
    out.sample({id}, std::chrono::duration<double>(checks.all_durations).count());
  });
  out.metric(Metric::herdgate_health_check_last_timestamp_seconds);
  for_checked(figures, [&](const std::string& id, const HealthFigures& checks) {
    if (checks.last_success) out.sample({id, "success"}, seconds(*checks.last_success));
    if (checks.last_fail) out.sample({id, "fail"}, seconds(*checks.last_fail));
    if (checks.last_skip) out.sample({id, "skip"}, seconds(*checks.last_skip));
  });
}

void add_number(Exposition& out, Metric metric, std::uint64_t value) {
  out.metric(metric);
  out.sample({}, value);
}

void add_pools(Exposition& out, const Figures& figures) {
  out.metric(Metric::herdgate_pool_links);
  for (const report::PoolFigures& pool : figures.pools) {
    const std::string id = std::to_string(pool.node.value);
    out.sample({id, pool.database, pool.user, "used"}, pool.links.used);
    out.sample({id, pool.database, pool.user, "idle"}, pool.links.idle);
  }
  out.metric(Metric::herdgate_pool_waiting);
  for (const report::PoolFigures& pool : figures.pools)
    out.sample({std::to_string(pool.node.value), pool.database, pool.user}, pool.waiting);
  add_number(out, Metric::herdgate_pools_left_out, figures.pools_left_out);
  add_number(out, Metric::herdgate_links_limit, figures.links_limit);
  add_number(out, Metric::herdgate_pool_links_limit, figures.pool_links_limit);
}

void add_clients(Exposition& out, const report::ClientFigures& clients) {
  add_number(out, Metric::herdgate_clients, clients.inside);
  add_number(out, Metric::herdgate_clients_waiting, clients.waiting);
  add_number(out, Metric::herdgate_clients_limit, clients.limit);
  add_number(out, Metric::herdgate_client_connections_total, clients.connections);
  add_number(out, Metric::herdgate_client_logins_total, clients.logins);
  out.metric(Metric::herdgate_client_refusals_total);
  for (std::size_t i = 0; i < report::kRefusals.size(); ++i) out.sample({report::kRefusals[i]}, clients.refused[i]);
}

void add_cache(Exposition& out, const Figures& figures) {
  const report::CacheFigures& cache = figures.cache;
  const std::pair<Metric, std::uint64_t> rows[] = {{Metric::herdgate_query_cache_hits_total, cache.hits},
                                                   {Metric::herdgate_query_cache_selects_total, cache.selects},
                                                   {Metric::herdgate_query_cache_passed_total, cache.passed},
                                                   {Metric::herdgate_query_cache_entries, cache.entries},
                                                   {Metric::herdgate_query_cache_entries_limit, cache.hash_entries},
                                                   {Metric::herdgate_query_cache_used_bytes, cache.used_bytes},
                                                   {Metric::herdgate_query_cache_free_bytes, cache.free_bytes}};
  for (const auto& [metric, value] : rows) {
    out.metric(metric);
    if (figures.cache_on) out.sample({}, value);
  }
}

void add_process(Exposition& out, const Figures& figures) {
  const report::ProcessFigures process = figures.process.value_or(report::ProcessFigures{});
  out.metric(Metric::process_cpu_seconds_total);
  if (figures.process) out.sample({}, process.cpu_seconds);
  const std::pair<Metric, std::uint64_t> rows[] = {
      {Metric::process_open_fds, process.open_fds},
      {Metric::process_max_fds, process.max_fds},
      {Metric::process_virtual_memory_bytes, process.virtual_bytes},
      {Metric::process_resident_memory_bytes, process.resident_bytes},
      {Metric::process_threads, process.threads},
  };
  for (const auto& [metric, value] : rows) {
    out.metric(metric);
    if (figures.process) out.sample({}, value);
  }
  out.metric(Metric::process_start_time_seconds);
  out.sample({}, seconds(figures.started));
}

}  // namespace

std::string metrics_text(const Figures& figures, const Settings& settings, Format format) {
  Exposition out(format);
  out.metric(Metric::herdgate_info);
  out.sample({HERDGATE_VERSION}, std::uint64_t{1});
  add_number(out, Metric::herdgate_workers, figures.workers);
  add_node_states(out, figures, settings);
  add_delays(out, figures, settings);
  add_work(out, figures);
  add_failovers(out, figures);
  add_health(out, figures);
  add_number(out, Metric::herdgate_primary_changes_total, figures.primary_changes);
  out.metric(Metric::herdgate_local_query_duration_seconds);
  out.sample({}, figures.local_query_times);
  add_pools(out, figures);
  add_clients(out, figures.clients);
  add_cache(out, figures);
  add_number(out, Metric::herdgate_log_messages_total, figures.log.accepted);
  add_number(out, Metric::herdgate_log_messages_lost_total, figures.log.lost);
  add_process(out, figures);
  return out.finish();
}

}  // namespace herdgate::admin
