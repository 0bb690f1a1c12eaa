#include "config/check.h"

#include <fmt/format.h>

#include <algorithm>

#include "config/parameter.h"
#include "config/password_file.h"

namespace herdgate::config {
namespace {

class Checking {
 public:
  Checking(Settings& settings, std::vector<Finding>& findings, const Places& places)
      : s_(settings), findings_(findings), places_(places) {}

  void run() {
    backends();
    primaries();
    refused();
    modes();
    children();
    recovery();
    sockets();
    ports();
    logging();
    escapes();
    cache();
    authentication();
    patterns();
    unbuilt();
  }

 private:
  void note(Severity severity, std::string_view name, std::string text) {
    const auto at = places_.find(name);
    Finding finding{severity, at == places_.end() ? s_.config_file : at->second.file,
                    at == places_.end() ? 0 : at->second.line, std::move(text)};
    findings_.push_back(std::move(finding));
  }
  void error(std::string_view name, std::string text) { note(Severity::error, name, std::move(text)); }
  void warn(std::string_view name, std::string text) { note(Severity::warning, name, std::move(text)); }

  // Of two parameters that contradict each other the one that the file sets.
  std::string_view set_one(std::string_view one, std::string_view other) const {
    return places_.contains(one) ? one : other;
  }

  // A node exists once its port is set.
  void backends() {
    for (Backend& b : s_.backends) {
      if (b.port == 0) {
        if (!b.hostname.empty())
          warn(fmt::format("backend_hostname{}", b.id.value),
               fmt::format("node {} is not used, backend_port{} is not set", b.id.value, b.id.value));
        continue;
      }
      if (!b.hostname.empty()) continue;
      b.hostname = "/tmp";
      note(Severity::info, fmt::format("backend_port{}", b.id.value),
           fmt::format("backend_hostname{} is empty, \"/tmp\" is used", b.id.value));
    }
    std::erase_if(s_.backends, [](const Backend& b) { return b.port == 0; });
    if (s_.backends.empty()) warn("", "no server is configured, set backend_hostname0 and backend_port0");
    for (auto b = s_.backends.begin(); b != s_.backends.end(); ++b) {
      const auto same = std::find_if(s_.backends.begin(), b, [&b](const Backend& other) {
        return other.hostname == b->hostname && other.port == b->port;
      });
      if (same != b)
        warn(fmt::format("backend_port{}", b->id.value),
             fmt::format("nodes {} and {} are the same server: {} port {}", same->id.value, b->id.value, b->hostname,
                         b->port));
    }
  }

  void primaries() {
    const auto always = std::ranges::count_if(s_.backends, &Backend::always_primary);
    if (always > 1) warn("", fmt::format("{} nodes have the flag ALWAYS_PRIMARY, the first one is used", always));
    const bool searched = s_.backend_clustering_mode == ClusteringMode::streaming_replication && always == 0;
    if (searched && s_.backends.size() > 1 && s_.sr_check_user.empty())
      warn("sr_check_user", "sr_check_user is empty, so the primary cannot be found");
  }

  void refused() {
    for (const Parameter& p : parameters()) {
      if (p.status != Status::refused || !p.alias_of.empty()) continue;
      const Value value = p.get(s_, kNoIndex);
      if (value != default_value(p))
        error(p.name, fmt::format("{} = {} is not supported by this release", p.name, format_value(p, value)));
    }
  }

  void modes() {
    const ClusteringMode mode = s_.backend_clustering_mode;
    if (mode == ClusteringMode::streaming_replication || mode == ClusteringMode::raw) return;
    error("backend_clustering_mode", fmt::format("backend_clustering_mode = {} is not supported by this release",
                                                 words_of(mode)[static_cast<std::size_t>(mode) - 1].word));
  }

  void children() {
    if (s_.process_management_mode == ProcessManagementMode::dynamic) {
      if (s_.min_spare_children >= s_.max_spare_children)
        error("max_spare_children", "max_spare_children must be greater than min_spare_children");
      if (s_.max_spare_children > s_.num_init_children)
        error("max_spare_children", "max_spare_children must not be greater than num_init_children");
    }
    if (s_.reserved_connections >= s_.num_init_children)
      warn("reserved_connections",
           "reserved_connections leaves no place for clients, it is not less than num_init_children");
    if (s_.max_pool == 0) error("max_pool", "max_pool = 0 leaves no connection to any server");
  }

  void recovery() {
    const bool commands = !s_.recovery_1st_stage_command.empty() || !s_.recovery_2nd_stage_command.empty();
    for (const Backend& b : s_.backends) {
      if (commands && b.data_directory.empty())
        error(fmt::format("backend_data_directory{}", b.id.value),
              fmt::format("backend_data_directory{} is needed for the recovery commands", b.id.value));
    }
    no_hash("recovery_password", s_.recovery_password);
    no_hash("wd_lifecheck_password", s_.wd_lifecheck_password);
  }
  void no_hash(std::string_view name, const std::string& password) {
    if (classify_secret(password).kind == SecretKind::md5) error(name, fmt::format("{} must not be an md5 hash", name));
  }

  void sockets() {
    constexpr std::size_t kMaxSocketPath = 107;  // sun_path without its zero byte
    for (const std::string& directory : s_.unix_socket_directories) {
      const std::string path = fmt::format("{}/.s.PGSQL.{}", directory, s_.port);
      if (path.size() > kMaxSocketPath)
        error("unix_socket_directories",
              fmt::format("socket path \"{}\" is longer than {} bytes", path, kMaxSocketPath));
    }
    if (s_.listen_addresses.empty() && s_.unix_socket_directories.empty())
      error("listen_addresses", "there is nowhere to listen, listen_addresses and unix_socket_directories are empty");
  }

  // The services of one process: none may want another one's place.
  void ports() {
    struct Service {
      std::string_view name;
      int port;
      const std::vector<std::string>* addresses;
      const std::vector<std::string>* directories;
    };
    const std::vector<std::string> none;
    const Service services[] = {{"port", s_.port, &s_.listen_addresses, &s_.unix_socket_directories},
                                {"pcp_port", s_.pcp_port, &s_.pcp_listen_addresses, &s_.pcp_socket_dir},
                                {"http_port", s_.http_port, &s_.http_listen_addresses, &none}};
    const auto meet = [](const std::vector<std::string>& a, const std::vector<std::string>& b) {
      return std::ranges::any_of(a, [&b](const std::string& place) { return std::ranges::count(b, place) != 0; });
    };
    for (const Service* b = std::begin(services); b != std::end(services); ++b)
      for (const Service* a = std::begin(services); a != b; ++a)
        if (a->port == b->port && b->port != 0 &&
            (meet(*a->addresses, *b->addresses) || meet(*a->directories, *b->directories)))
          error(set_one(b->name, a->name),
                fmt::format("{} and {} are both {}, one of them must be another", a->name, b->name, b->port));
  }

  void logging() {
    s_.traces = s_.logs_to("jsonlog");
    std::size_t known = 0;
    for (const std::string_view word : {"stderr", "syslog", "jsonlog"}) known += s_.logs_to(word) ? 1 : 0;
    const auto words = static_cast<std::size_t>(std::ranges::count(s_.log_destination, ',')) + 1;
    if (known != words)
      error("log_destination",
            fmt::format(
                "invalid value for parameter \"log_destination\": \"{}\" (Available values: stderr, syslog, jsonlog.)",
                s_.log_destination));
    if (!s_.logging_collector) return;
    if (s_.log_directory.empty()) error("log_directory", "log_directory is empty, logging_collector needs it");
    if (s_.log_filename.empty()) error("log_filename", "log_filename is empty, logging_collector needs it");
  }

  void escapes() {
    known("log_line_prefix", s_.log_line_prefix, kPrefixLetters, "-0123456789");
    known("failover_command", s_.failover_command, kCommandLetters, "");
    known("failback_command", s_.failback_command, kCommandLetters, "");
    known("follow_primary_command", s_.follow_primary_command, kCommandLetters, "");
  }
  // The first one that is not known is told.
  void known(std::string_view name, std::string_view text, std::string_view letters, std::string_view width) {
    std::size_t end = 0;
    for (std::size_t at = 0; (at = text.find('%', end)) != text.npos; end = std::min(end + 1, text.size())) {
      end = std::min(text.find_first_not_of(width, at + 1), text.size());
      if (end == text.size() || letters.find(text[end]) == letters.npos)
        return warn(name, fmt::format("{}: \"{}\" is not known and vanishes", name, text.substr(at, end + 1 - at)));
    }
  }

  void cache() {
    if (!s_.memory_cache_enabled) return;
    if (s_.memqcache_maxcache == 0) warn("memqcache_maxcache", "memqcache_maxcache is 0, so no result is cached");
    if (!s_.memqcache_auto_cache_invalidation && s_.memqcache_expire.count() == 0)
      warn(
          "memqcache_auto_cache_invalidation",
          "memqcache_auto_cache_invalidation is off and memqcache_expire is 0, so a cached result is answered whatever "
          "becomes of its tables");
    if (s_.memqcache_method != CacheMethod::shmem) return memcached();  // it has no blocks
    if (s_.memqcache_max_num_cache == 0)
      warn("memqcache_max_num_cache", "memqcache_max_num_cache is 0, so no result is cached");
    constexpr std::int64_t kBlockHead = 64;
    const std::string_view block = "memqcache_cache_block_size";
    if (s_.memqcache_total_size < s_.memqcache_cache_block_size)
      error(set_one("memqcache_total_size", block),
            fmt::format("memqcache_total_size ({}) must not be less than memqcache_cache_block_size ({})",
                        s_.memqcache_total_size, s_.memqcache_cache_block_size));
    if (s_.memqcache_maxcache + kBlockHead > s_.memqcache_cache_block_size)
      error(set_one("memqcache_maxcache", block),
            fmt::format("memqcache_maxcache ({}) and 64 bytes must fit into memqcache_cache_block_size ({})",
                        s_.memqcache_maxcache, s_.memqcache_cache_block_size));
  }

  void memcached() {
    constexpr int kMaxPort = 65535;
    const std::string& host = s_.memqcache_memcached_host;
    if (host.empty())
      error("memqcache_memcached_host", "memqcache_memcached_host is empty, memqcache_method = memcached needs it");
    const bool by_tcp = !host.empty() && host.front() != '/';
    // One colon: a port has been written behind it. IPv6 addresses have two at least.
    const bool odd = host.find_first_of(" \t,;/") != std::string::npos || std::ranges::count(host, ':') == 1;
    if (by_tcp && odd)
      error("memqcache_memcached_host",
            fmt::format("memqcache_memcached_host is \"{}\", it must be one host or address, or the path of a socket; "
                        "the port is memqcache_memcached_port",
                        host));
    if (by_tcp && (s_.memqcache_memcached_port < 1 || s_.memqcache_memcached_port > kMaxPort))
      error("memqcache_memcached_port",
            fmt::format("memqcache_memcached_port must be 1 to {}, it is {}", kMaxPort, s_.memqcache_memcached_port));
  }

  void authentication() {
    if (s_.auth_query.empty()) return;
    if (s_.auth_query_user.empty()) error("auth_query", "auth_query needs auth_query_user");
    if (s_.auth_query_database.empty())
      warn("auth_query", "auth_query_database is empty, so auth_query runs in whatever database a client asks for");
  }

  void patterns() {
    auto made = std::make_shared<Patterns>();
    const auto take = [&](std::string_view name, auto result, auto& target) {
      if (result) {
        target = std::move(*result);
      } else {
        error(name, fmt::format("{}: {}", name, result.error().text()));
      }
    };
    take("read_only_function_list", RegexList::compile(s_.read_only_function_list), made->read_only_functions);
    take("write_function_list", RegexList::compile(s_.write_function_list), made->write_functions);
    take("primary_routing_query_pattern_list", RegexList::compile(s_.primary_routing_query_pattern_list),
         made->primary_routing_queries);
    take("cache_safe_memqcache_table_list", RegexList::compile(s_.cache_safe_memqcache_table_list),
         made->cache_safe_tables);
    take("cache_unsafe_memqcache_table_list", RegexList::compile(s_.cache_unsafe_memqcache_table_list),
         made->cache_unsafe_tables);
    take("app_name_redirect_preference_list", parse_redirects(s_.app_name_redirect_preference_list),
         made->app_name_redirects);
    take("database_redirect_preference_list", parse_redirects(s_.database_redirect_preference_list),
         made->database_redirects);
    take("user_redirect_preference_list", parse_redirects(s_.user_redirect_preference_list), made->user_redirects);
    take("dml_adaptive_object_relationship_list", parse_relations(s_.dml_adaptive_object_relationship_list),
         made->relations);
    if (!made->read_only_functions.empty() && !made->write_functions.empty())
      warn("write_function_list", "write_function_list is ignored, since read_only_function_list is set");
    nodes_of("app_name_redirect_preference_list", made->app_name_redirects);
    nodes_of("database_redirect_preference_list", made->database_redirects);
    nodes_of("user_redirect_preference_list", made->user_redirects);
    s_.patterns = std::move(made);
  }
  void nodes_of(std::string_view name, const std::vector<Redirect>& redirects) {
    for (const Redirect& redirect : redirects)
      if (redirect.target == RedirectTarget::node && std::ranges::count(s_.backends, redirect.node, &Backend::id) == 0)
        warn(name,
             fmt::format("{}: there is no node {}, \"{}\" has no effect", name, redirect.node.value, redirect.text));
  }

  // Everything that was set without effect, in one warning.
  void unbuilt() {
    std::string names;
    const auto add = [&](std::string_view name, int index) {
      names += fmt::format("{}{}", names.empty() ? "" : ", ", name);
      if (index != kNoIndex) names += std::to_string(index);
    };
    for (const Parameter& p : parameters()) {
      if (p.status != Status::not_built || !p.alias_of.empty()) continue;
      const Value usual = default_value(p);
      const bool plain = p.index == Index::none || p.index == Index::per_node;
      if (plain && p.get(s_, kNoIndex) != usual) add(p.name, kNoIndex);
      for (const int index : numbers(p.index))
        if (p.get(s_, index) != (plain ? p.get(s_, kNoIndex) : usual)) add(p.name, index);
    }
    if (!names.empty()) warn("", "these parameters have no effect in this release: " + names);
  }
  std::vector<int> numbers(Index index) const {
    std::vector<int> all;
    if (index == Index::watchdog)
      for (const WatchdogNode& n : s_.watchdog_nodes) all.push_back(n.id);
    if (index == Index::heartbeat)
      for (const Heartbeat& h : s_.heartbeats) all.push_back(h.id);
    if (index == Index::per_node)
      for (const auto& [id, own] : s_.own_health_checks) all.push_back(id);
    return all;
  }

  Settings& s_;
  std::vector<Finding>& findings_;
  const Places& places_;
};

}  // namespace

void check_settings(Settings& settings, std::vector<Finding>& findings, const Places& places) {
  Checking(settings, findings, places).run();
}

}  // namespace herdgate::config
