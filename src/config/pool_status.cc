// The rows of SHOW POOL_STATUS: a documented order of their own, plain numbers.
#include <fmt/format.h>

#include <algorithm>
#include <sstream>

#include "base/assert.h"
#include "config/parameter.h"
#include "config/show.h"

namespace herdgate::config {
namespace {

// Rows that depend on the configured nodes, or are no parameters, stand as words in brackets.
constexpr std::string_view kOrder =
    "backend_clustering_mode listen_addresses port unix_socket_directories unix_socket_group unix_socket_permissions "
    "pcp_listen_addresses pcp_port pcp_socket_dir enable_pool_hba pool_passwd authentication_timeout "
    "allow_clear_text_frontend_auth ssl ssl_key ssl_cert ssl_ca_cert ssl_ca_cert_dir ssl_crl_file ssl_ciphers "
    "ssl_prefer_server_ciphers ssl_ecdh_curve ssl_dh_params_file ssl_passphrase_command listen_backlog_multiplier "
    "serialize_accept reserved_connections max_pool process_management_mode process_management_strategy "
    "num_init_children min_spare_children max_spare_children child_life_time child_max_connections "
    "connection_life_time client_idle_limit log_destination log_line_prefix log_error_verbosity client_min_messages "
    "log_min_messages log_connections log_disconnections log_pcp_processes log_hostname log_statement "
    "log_per_node_statement notice_per_node_statement log_client_messages log_backend_messages log_standby_delay "
    "syslog_facility syslog_ident pid_file_name logdir connection_cache reset_query_list replicate_select "
    "insert_lock lobj_lock_table replication_stop_on_mismatch failover_if_affected_tuples_mismatch "
    "load_balance_mode ignore_leading_white_space read_only_function_list write_function_list "
    "primary_routing_query_pattern_list disable_load_balance_on_write dml_adaptive_object_relationship_list "
    "statement_level_load_balance sr_check_period sr_check_user sr_check_password sr_check_database delay_threshold "
    "delay_threshold_by_time prefer_lower_delay_standby follow_primary_command user_redirect_preference_list "
    "database_redirect_preference_list app_name_redirect_preference_list allow_sql_comments health_check_period "
    "health_check_timeout health_check_user health_check_password health_check_database health_check_max_retries "
    "health_check_retry_delay connect_timeout failover_command failback_command failover_on_backend_error "
    "failover_on_backend_shutdown detach_false_primary auto_failback auto_failback_interval recovery_user "
    "recovery_1st_stage_command recovery_2nd_stage_command recovery_timeout search_primary_node_timeout "
    "client_idle_limit_in_recovery relcache_expire relcache_size check_temp_table check_unlogged_table "
    "enable_shared_relcache relcache_query_target use_watchdog wd_ipc_socket_dir wd_lifecheck_method "
    "clear_memqcache_on_escalation wd_escalation_command wd_de_escalation_command trusted_servers "
    "trusted_server_command delegate_ip wd_priority wd_interval ping_path if_cmd_path if_up_cmd if_down_cmd "
    "arping_path arping_cmd wd_heartbeat_keepalive wd_heartbeat_deadtime wd_life_point wd_lifecheck_query "
    "wd_lifecheck_dbname wd_lifecheck_user wd_lifecheck_password [watchdog] wd_monitoring_interfaces_list "
    "memory_cache_enabled memqcache_method memqcache_memcached_host memqcache_memcached_port memqcache_total_size "
    "memqcache_max_num_cache memqcache_expire memqcache_auto_cache_invalidation memqcache_maxcache "
    "memqcache_cache_block_size memqcache_oiddir [cache] cache_safe_memqcache_table_list "
    "cache_unsafe_memqcache_table_list [backends] [ours]";

class Rows {
 public:
  Rows(const Settings& settings, const PoolStatusLive& live) : s_(settings), live_(live) {}

  std::vector<ShowRow> make() {
    std::istringstream words{std::string(kOrder)};
    for (std::string word; words >> word;) {
      if (word == "[watchdog]") {
        watchdog();
      } else if (word == "[cache]") {
        cache();
      } else if (word == "[backends]") {
        backends();
      } else if (word == "[ours]") {
        ours();
      } else {
        add(word, kNoIndex);
      }
    }
    return std::move(rows_);
  }

 private:
  void push(std::string item, std::string value, std::string_view description) {
    if (value.size() > kMaxStatusValueBytes) value.resize(kMaxStatusValueBytes);
    rows_.push_back({std::move(item), std::move(value), std::string(description)});
  }

  void add(std::string_view name, int index) {
    const auto named = find_parameter(name, /*bare_arrays=*/true);
    HG_ASSERT(named.has_value());
    const Parameter& p = *named->parameter;
    // The original spells this one row differently from its parameter.
    std::string item = name == "memqcache_oiddir" ? "memqcache_cache_oiddir" : std::string(name);
    if (index != kNoIndex) item += std::to_string(index);
    const bool hidden =
        p.shape.secret && name != "pool_passwd";  // that one is a file name, which only PGPOOL SHOW hides
    push(std::move(item), hidden ? "*****" : status_value(p, p.get(s_, index)), p.description);
  }

  void watchdog() {
    if (!s_.use_watchdog) return;
    for (const WatchdogNode& n : s_.watchdog_nodes)
      for (const std::string_view name : {"hostname", "pgpool_port", "wd_port"}) add(name, n.id);
    for (const Heartbeat& h : s_.heartbeats)
      for (const std::string_view name : {"heartbeat_hostname", "heartbeat_device", "heartbeat_port"}) add(name, h.id);
  }

  void cache() {
    push("memqcache_stats_start_time", live_.cache_stats_start_time, "Since when the query cache counts");
    push("memqcache_no_cache_hits", live_.no_cache_hits, "Reads that were not answered from the query cache");
    push("memqcache_cache_hits", live_.cache_hits, "Reads that were answered from the query cache");
  }

  void backends() {
    for (const Backend& b : s_.backends) {
      const int id = b.id.value;
      add("backend_hostname", id);
      add("backend_port", id);
      push(fmt::format("backend_weight{}", id), fmt::format("{:f}", s_.weight_share(b.id)),
           find_parameter("backend_weight", true)->parameter->description);
      add("backend_data_directory", id);
      push(fmt::format("backend_status{}", id), found(live_.backend_status, id), "State of this server");
      push(fmt::format("standby_delay{}", id), found(live_.standby_delay, id), "How far this server lags behind");
      add("backend_flag", id);
      add("backend_application_name", id);
    }
  }
  static std::string found(const std::map<int, std::string>& values, int id) {
    const auto at = values.find(id);
    return at == values.end() ? "" : at->second;
  }

  void ours() {
    for (const Parameter& p : parameters())
      if (p.ours()) add(p.name, kNoIndex);
  }

  const Settings& s_;
  const PoolStatusLive& live_;
  std::vector<ShowRow> rows_;
};

}  // namespace

std::vector<ShowRow> pool_status_rows(const Settings& settings, const PoolStatusLive& live) {
  return Rows(settings, live).make();
}

}  // namespace herdgate::config
