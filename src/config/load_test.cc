#include "config/load.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>

#include "config/errc.h"

namespace herdgate::config {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

// Two servers, so that the warnings of an empty configuration stay away.
constexpr std::string_view kServers =
    "backend_hostname0 = 'a'\nbackend_port0 = 5432\nbackend_weight0 = 1\nbackend_flag0 = ALWAYS_PRIMARY\n"
    "backend_hostname1 = 'b'\nbackend_port1 = 5433\nbackend_weight1 = 3\n";

class Files {
 public:
  explicit Files(std::map<std::string, std::string> files) : files_(std::move(files)) {}
  FileReader reader() const {
    return [this](const std::string& path) -> Result<std::string> {
      const auto at = files_.find(path);
      if (at == files_.end()) return fail(Errc::unreadable, path);
      return at->second;
    };
  }

 private:
  std::map<std::string, std::string> files_;
};

Loaded load_lines(std::string_view text, LoadOptions options = {}) {
  return load_text(std::string(kServers).append(text), "pgpool.conf", Files({}).reader(), options);
}
// Findings as "severity file:line text", for tables.
std::vector<std::string> told(const Loaded& loaded) {
  constexpr const char* kNames[] = {"info", "warning", "error"};
  std::vector<std::string> lines;
  for (const Finding& f : loaded.findings)
    lines.push_back(fmt::format("{} {} {}", kNames[static_cast<int>(f.severity)], f.where(), f.text));
  return lines;
}

TEST(Load, ServersAndTypedFields) {
  const Loaded loaded = load_lines(
      "port = 11000\nlog_min_messages = DEBUG1\nclient_idle_limit = 5min\nlisten_addresses = 'x, y'\n"
      "disable_load_balance_on_write = always\npool_mode = transaction\n");
  EXPECT_THAT(told(loaded), IsEmpty());
  const Settings& s = loaded.settings;
  EXPECT_EQ(s.port, 11000);
  EXPECT_EQ(s.log_min_messages, Level::debug1);
  EXPECT_EQ(s.client_idle_limit, std::chrono::minutes(5));
  EXPECT_THAT(s.listen_addresses, ElementsAre("x", "y"));
  EXPECT_EQ(s.disable_load_balance_on_write, DisableLoadBalanceOnWrite::always);
  EXPECT_EQ(s.pool_mode, PoolMode::transaction);
  ASSERT_EQ(s.backends.size(), 2u);
  EXPECT_EQ(s.backends[1], (Backend{.id = NodeId{1}, .hostname = "b", .port = 5433, .weight = 3}));
  EXPECT_TRUE(s.backends[0].always_primary);
  EXPECT_DOUBLE_EQ(s.weight_share(NodeId{1}), 0.75);
  EXPECT_DOUBLE_EQ(s.weight_share(NodeId{7}), 0);
  EXPECT_EQ(s.config_file, "pgpool.conf");
}

TEST(Load, LastLineWinsAndFlagsAddUp) {
  const Loaded loaded = load_lines(
      "port = 11000\nport = 12000\nbackend_flag1 = DISALLOW_TO_FAILOVER\n"
      "backend_flag0 = DISALLOW_TO_FAILOVER\nbackend_flag0 = ALLOW_TO_FAILOVER\n");
  EXPECT_THAT(told(loaded), IsEmpty());
  EXPECT_EQ(loaded.settings.port, 12000);
  EXPECT_TRUE(loaded.settings.backends[0].always_primary);
  EXPECT_TRUE(loaded.settings.backends[0].allow_to_failover);
  EXPECT_FALSE(loaded.settings.backends[1].allow_to_failover);
}

TEST(Load, NodesMayHaveGapsAndNeedAPort) {
  const Loaded loaded = load_lines("backend_port9 = 6000\nbackend_hostname4 = 'c'\n");
  EXPECT_THAT(told(loaded), ElementsAre("warning pgpool.conf:9 node 4 is not used, backend_port4 is not set",
                                        "info pgpool.conf:8 backend_hostname9 is empty, \"/tmp\" is used"));
  ASSERT_EQ(loaded.settings.backends.size(), 3u);
  EXPECT_EQ(loaded.settings.backends[2].id, NodeId{9});
  EXPECT_EQ(loaded.settings.backends[2].hostname, "/tmp");
}

TEST(Load, EmptyConfigurationIsUsableButWarned) {
  const Loaded loaded = load_text("", "p", Files({}).reader());
  EXPECT_FALSE(loaded.has_errors());
  EXPECT_THAT(told(loaded), ElementsAre(HasSubstr("no server is configured")));
}

TEST(Load, UnknownParametersAreWarnedAndWithStrictRefused) {
  const Loaded loaded = load_lines("work_dir = '/x'\nwhite_function_list = 'f'\nbackend_port = 1\nport3 = 4000\n");
  EXPECT_FALSE(loaded.has_errors());
  EXPECT_THAT(told(loaded),
              ElementsAre("warning pgpool.conf:8 unrecognized configuration parameter \"work_dir\"",
                          "warning pgpool.conf:9 unrecognized configuration parameter \"white_function_list\", it is "
                          "called \"read_only_function_list\" now",
                          "warning pgpool.conf:10 unrecognized configuration parameter \"backend_port\"",
                          "warning pgpool.conf:11 unrecognized configuration parameter \"port3\""));
  EXPECT_TRUE(load_lines("work_dir = '/x'\n", {.strict = true}).has_errors());
}

TEST(Load, OldSpellingsSetTheNewParameter) {
  const Loaded loaded = load_lines("fail_over_on_backend_error = off\ndelegate_IP = '10.0.0.1'\n");
  EXPECT_FALSE(loaded.settings.failover_on_backend_error);
  EXPECT_EQ(loaded.settings.delegate_ip, "10.0.0.1");
  EXPECT_THAT(told(loaded),
              ElementsAre("warning pgpool.conf:8 parameter \"fail_over_on_backend_error\" is an old spelling of "
                          "\"failover_on_backend_error\"",
                          "warning pgpool.conf:9 parameter \"delegate_IP\" is an old spelling of \"delegate_ip\"",
                          HasSubstr("no effect in this release: delegate_ip")));
}

TEST(Load, GoesOnAfterErrors) {
  const Loaded loaded = load_lines("port = 80\nlogdir = /tmp\nmax_pool = x\nnum_init_children = 7\n");
  EXPECT_TRUE(loaded.has_errors());
  EXPECT_EQ(loaded.settings.num_init_children, 7);
  EXPECT_THAT(
      told(loaded),
      ElementsAre("error pgpool.conf:8 80 is outside the valid range for parameter \"port\" (1024 .. 65535)",
                  "error pgpool.conf:9 syntax error: the value of \"logdir\" must be quoted with '",
                  "error pgpool.conf:10 invalid value for parameter \"max_pool\": \"x\" (A number is wanted.)"));
}

TEST(Load, NumbersBeyondTheHighestNodeAreErrors) {
  EXPECT_THAT(
      told(load_lines("backend_port128 = 5432\nheartbeat_port256 = 9694\n")),
      ElementsAre(
          "error pgpool.conf:8 index 128 is outside the valid range for parameter \"backend_port128\" (0 .. 127)",
          "error pgpool.conf:9 index 256 is outside the valid range for parameter \"heartbeat_port256\" (0 .. 255)"));
}

TEST(Load, IncludesAreRelativeToTheIncludingFile) {
  const Files files({{"/etc/p/main.conf", "include 'sub/a.conf'\nmax_pool = 9\n"},
                     {"/etc/p/sub/a.conf", "port = 11000\nmax_pool = 8\ninclude 'b.conf'\ninclude '/abs.conf'\n"},
                     {"/etc/p/sub/b.conf", "num_init_children = 5\nnonsense 1\n"},
                     {"/abs.conf", std::string(kServers)}});
  const Loaded loaded = load("/etc/p/main.conf", files.reader());
  EXPECT_EQ(loaded.settings.port, 11000);
  EXPECT_EQ(loaded.settings.max_pool, 9);
  EXPECT_EQ(loaded.settings.num_init_children, 5);
  EXPECT_EQ(loaded.settings.backends.size(), 2u);
  EXPECT_THAT(told(loaded), ElementsAre(HasSubstr("/etc/p/sub/b.conf:2 unrecognized")));
  EXPECT_EQ(loaded.settings.beside_config("pool_passwd"), "/etc/p/pool_passwd");
  EXPECT_EQ(loaded.settings.beside_config("/x"), "/x");
}

TEST(Load, MissingFilesAndEndlessIncludesAreErrors) {
  const Files files(
      {{"a", "include 'a'\n"}, {"b", "include 'none'\n"}, {"twice", "include 'twice'\ninclude 'twice'\n"}});
  EXPECT_THAT(told(load("none", files.reader())), testing::Contains("error none could not read file: none"));
  EXPECT_THAT(told(load("b", files.reader())), testing::Contains("error b:1 could not read file: none"));
  EXPECT_THAT(told(load("a", files.reader())), testing::Contains("error a:1 includes are nested more than 10 deep"));
  EXPECT_TRUE(load("twice", files.reader()).has_errors());
}

TEST(Load, FindingsAreBounded) {
  std::string text;
  for (int i = 0; i < 100'000; ++i) text += "= nonsense\n";
  const Loaded loaded = load_text(text, "p", Files({}).reader());
  EXPECT_LE(loaded.findings.size(), kMaxFindings + 10);
  EXPECT_TRUE(loaded.has_errors());
  EXPECT_THAT(told(loaded),
              testing::Contains(fmt::format("error p further errors not listed: {}", 100'000 - kMaxFindings)));
}

TEST(Load, WarningsHoweverManyHideNothingOfWhatFollows) {
  std::string text;
  for (std::size_t i = 0; i < kMaxFindings + 7; ++i) text += "unheard_of = 1\n";
  const Loaded loaded = load_text(text + "num_init_children = 7\n= nonsense\n", "p", Files({}).reader());
  EXPECT_EQ(loaded.settings.num_init_children, 7);
  EXPECT_TRUE(loaded.has_errors());
  EXPECT_THAT(told(loaded), testing::Contains(HasSubstr("error p:209 syntax error")));
  EXPECT_THAT(told(loaded), testing::Contains("warning p further warnings not listed: 7"));
}

TEST(Load, HealthChecksPerNode) {
  const Loaded loaded = load_lines("health_check_period = 10\nhealth_check_period1 = 20\nconnect_timeout0 = 3s\n");
  const Settings& s = loaded.settings;
  EXPECT_EQ(s.health_check(NodeId{0}).health_check_period, std::chrono::seconds(10));
  EXPECT_EQ(s.health_check(NodeId{1}).health_check_period, std::chrono::seconds(20));
  EXPECT_EQ(s.health_check(NodeId{0}).connect_timeout, std::chrono::seconds(3));
  EXPECT_EQ(s.health_check(NodeId{1}).connect_timeout, std::chrono::seconds(10));
  EXPECT_TRUE(told(loaded).empty());
}

TEST(Load, WatchdogNodes) {
  const Loaded loaded = load_lines("hostname0 = 'w'\nwd_port0 = 9000\npgpool_port0 = 9999\nheartbeat_port01 = 9694\n");
  ASSERT_EQ(loaded.settings.watchdog_nodes.size(), 1u);
  EXPECT_EQ(loaded.settings.watchdog_nodes[0].hostname, "w");
  ASSERT_EQ(loaded.settings.heartbeats.size(), 1u);
  EXPECT_EQ(loaded.settings.heartbeats[0].id, 1);
}

struct Check {
  const char* lines;
  const char* finding;
};
class CrossChecks : public testing::TestWithParam<Check> {};
TEST_P(CrossChecks, AreMade) {
  const auto& [lines, finding] = GetParam();
  EXPECT_THAT(told(load_lines(lines)), ElementsAre(finding)) << lines;
}
INSTANTIATE_TEST_SUITE_P(
    All, CrossChecks,
    testing::Values(
        Check{"failover_command = 'f.sh %d %z %y'\n",
              "warning pgpool.conf:8 failover_command: \"%z\" is not known and vanishes"},
        Check{"failback_command = '100%'\n", "warning pgpool.conf:8 failback_command: \"%\" is not known and vanishes"},
        Check{"follow_primary_command = '%q'\n",
              "warning pgpool.conf:8 follow_primary_command: \"%q\" is not known and vanishes"},
        Check{"log_line_prefix = '%-8u %m %%z %-12z'\n",
              "warning pgpool.conf:8 log_line_prefix: \"%-12z\" is not known and vanishes"},
        Check{"ssl = on\n", "error pgpool.conf:8 ssl = on is not supported by this release"},
        Check{"use_watchdog = on\n", "error pgpool.conf:8 use_watchdog = on is not supported by this release"},
        Check{"replication_mode = on\n", "error pgpool.conf:8 replication_mode = on is not supported by this release"},
        Check{"backend_clustering_mode = 'snapshot_isolation'\n",
              "error pgpool.conf:8 backend_clustering_mode = snapshot_isolation is not supported by this release"},
        Check{"backend_clustering_mode = slony\n",
              "error pgpool.conf:8 backend_clustering_mode = slony is not supported by this release"},
        Check{"lobj_lock_table = 'x'\npcp_port = 9898\nssl_key = 'k'\n",
              "warning pgpool.conf these parameters have no effect in this release: ssl_key, lobj_lock_table"},
        Check{"process_management_mode = dynamic\nmin_spare_children = 10\n",
              "error pgpool.conf max_spare_children must be greater than min_spare_children"},
        Check{"process_management_mode = dynamic\nmax_spare_children = 33\n",
              "error pgpool.conf:9 max_spare_children must not be greater than num_init_children"},
        Check{"reserved_connections = 32\n",
              "warning pgpool.conf:8 reserved_connections leaves no place for clients, it is not less than "
              "num_init_children"},
        Check{
            "sr_check_period = 400ms\n",
            "error pgpool.conf:8 invalid value for parameter \"sr_check_period\": \"400ms\" (This would become 0; the "
            "smallest value above 0 is 1s.)"},
        Check{
            "num_init_children = 0.3\n",
            "error pgpool.conf:8 invalid value for parameter \"num_init_children\": \"0.3\" (This would become 0; the "
            "smallest value above 0 is 1.)"},
        Check{"backend_hostname2 = 'a'\nbackend_port2 = 5432\n",
              "warning pgpool.conf:9 nodes 0 and 2 are the same server: a port 5432"},
        Check{"pcp_port = 9999\n", "error pgpool.conf:8 port and pcp_port are both 9999, one of them must be another"},
        Check{"port = 9898\npcp_listen_addresses = ''\n",
              "error pgpool.conf:8 port and pcp_port are both 9898, one of them must be another"},
        Check{"http_port = 9898\n",
              "error pgpool.conf:8 pcp_port and http_port are both 9898, one of them must be another"},
        Check{"database_redirect_preference_list = 'a:1,b:2'\n",
              "warning pgpool.conf:8 database_redirect_preference_list: there is no node 2, \"b:2\" has no effect"},
        Check{"max_pool = 0\n", "error pgpool.conf:8 max_pool = 0 leaves no connection to any server"},
        Check{"log_destination = 'stdout'\n",
              "error pgpool.conf:8 invalid value for parameter \"log_destination\": \"stdout\" (Available values: "
              "stderr, syslog, jsonlog.)"},
        Check{"logging_collector = on\nlog_directory = ''\n",
              "error pgpool.conf:9 log_directory is empty, logging_collector needs it"},
        Check{"log_filename = ''\nlogging_collector = on\n",
              "error pgpool.conf:8 log_filename is empty, logging_collector needs it"},
        Check{
            "log_file_mode = 0999\n",
            "error pgpool.conf:8 invalid value for parameter \"log_file_mode\": \"0999\" (A number that begins with 0 "
            "is octal, of the digits 0 to 7.)"},
        Check{"auth_query = 'select 1'\nauth_query_database = 'd'\n",
              "error pgpool.conf:8 auth_query needs auth_query_user"},
        Check{"auth_query = 'select 1'\nauth_query_user = 'u'\n",
              "warning pgpool.conf:8 auth_query_database is empty, so auth_query runs in whatever database a client "
              "asks for"},
        Check{"backend_flag1 = ALWAYS_PRIMARY\n",
              "warning pgpool.conf 2 nodes have the flag ALWAYS_PRIMARY, the first one is used"},
        Check{"listen_addresses = ''\nunix_socket_directories = ''\n",
              "error pgpool.conf:8 there is nowhere to listen, listen_addresses and unix_socket_directories are empty"},
        Check{"read_only_function_list = 'a'\nwrite_function_list = 'b'\n",
              "warning pgpool.conf:9 write_function_list is ignored, since read_only_function_list is set"},
        Check{"write_function_list = 'f('\n",
              "error pgpool.conf:8 write_function_list: invalid pattern: \"f(\": Unmatched ( or \\("},
        Check{"user_redirect_preference_list = 'x:nowhere'\n",
              "error pgpool.conf:8 user_redirect_preference_list: invalid redirect entry: \"nowhere\" in \"x:nowhere\" "
              "is not primary, standby or a node number"},
        Check{"memory_cache_enabled = on\nmemqcache_cache_block_size = 128MB\n",
              "error pgpool.conf:9 memqcache_total_size (67108864) must not be less than memqcache_cache_block_size "
              "(134217728)"},
        Check{"memory_cache_enabled = on\nmemqcache_maxcache = 1MB\n",
              "error pgpool.conf:9 memqcache_maxcache (1048576) and 64 bytes must fit into memqcache_cache_block_size "
              "(1048576)"},
        Check{"memory_cache_enabled = on\nmemqcache_maxcache = 0\n",
              "warning pgpool.conf:9 memqcache_maxcache is 0, so no result is cached"},
        Check{"memory_cache_enabled = on\nmemqcache_max_num_cache = 0\n",
              "warning pgpool.conf:9 memqcache_max_num_cache is 0, so no result is cached"},
        Check{"memory_cache_enabled = on\nmemqcache_method = memcached\nmemqcache_memcached_port = 70000\n",
              "error pgpool.conf:10 memqcache_memcached_port must be 1 to 65535, it is 70000"},
        Check{"memory_cache_enabled = on\nmemqcache_method = memcached\nmemqcache_memcached_host = ''\n",
              "error pgpool.conf:10 memqcache_memcached_host is empty, memqcache_method = memcached needs it"},
        Check{
            "memory_cache_enabled = on\nmemqcache_method = memcached\nmemqcache_memcached_host = 'cache:11211'\n",
            "error pgpool.conf:10 memqcache_memcached_host is \"cache:11211\", it must be one host or address, or the "
            "path of a socket; the port is memqcache_memcached_port"},
        Check{"memory_cache_enabled = on\nmemqcache_method = memcached\nmemqcache_memcached_host = 'one, two'\n",
              "error pgpool.conf:10 memqcache_memcached_host is \"one, two\", it must be one host or address, or the "
              "path of a socket; the port is memqcache_memcached_port"},
        Check{"memory_cache_enabled = on\nmemqcache_auto_cache_invalidation = off\n",
              "warning pgpool.conf:9 memqcache_auto_cache_invalidation is off and memqcache_expire is 0, so a cached "
              "result is answered whatever becomes of its tables"},
        Check{"dml_adaptive_object_relationship_list = 'a'\n",
              "error pgpool.conf:8 dml_adaptive_object_relationship_list: invalid object relationship: \"a\" is not of "
              "the form object:dependent"}));

TEST(CrossChecks, OnePortMayServeTwoAddresses) {
  EXPECT_THAT(told(load_lines("pcp_port = 9999\npcp_listen_addresses = '127.0.0.2'\npcp_socket_dir = '/run'\n")),
              IsEmpty());
}

TEST(CrossChecks, ASocketOfMemcachedNeedsNoPort) {
  const std::string on = "memory_cache_enabled = on\nmemqcache_method = memcached\nmemqcache_memcached_port = 0\n";
  EXPECT_THAT(told(load_lines(on + "memqcache_memcached_host = '/run/memcached.sock'\n")), IsEmpty());
  EXPECT_TRUE(load_lines(on).has_errors());
}

TEST(CrossChecks, AnAddressOfMemcachedMayHaveColons) {
  const std::string on = "memory_cache_enabled = on\nmemqcache_method = memcached\n";
  EXPECT_THAT(told(load_lines(on + "memqcache_memcached_host = '::1'\n")), IsEmpty());
}

TEST(CrossChecks, RecoveryCommandsNeedDataDirectories) {
  const Loaded loaded = load_lines(
      "recovery_1st_stage_command = 'x'\nbackend_data_directory0 = '/d'\n"
      "recovery_password = 'md5aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa'\n");
  EXPECT_THAT(told(loaded),
              testing::IsSupersetOf({"error pgpool.conf backend_data_directory1 is needed for the recovery commands",
                                     "error pgpool.conf:10 recovery_password must not be an md5 hash"}));
}

TEST(CrossChecks, SocketPathsMustFit) {
  const Loaded loaded = load_lines("unix_socket_directories = '/" + std::string(100, 'x') + "'\n");
  EXPECT_THAT(told(loaded), ElementsAre(HasSubstr("is longer than 107 bytes")));
}

TEST(CrossChecks, WithoutAUserThePrimaryCannotBeFound) {
  const Loaded loaded = load_text(
      "backend_port0 = 5432\nbackend_port1 = 5433\nbackend_hostname0 = 'a'\n"
      "backend_hostname1 = 'b'\n",
      "p", Files({}).reader());
  EXPECT_THAT(told(loaded), ElementsAre(HasSubstr("sr_check_user is empty")));
}

TEST(Load, PatternsAreCompiled) {
  const Loaded loaded = load_lines(
      "write_function_list = 'nextval, set.*'\n"
      "primary_routing_query_pattern_list = '.*vacuum.*;a\\;b'\n"
      "app_name_redirect_preference_list = 'psql:primary,rep[0-9]:1(0.3)'\n"
      "dml_adaptive_object_relationship_list = 'T_1:t_2, f():T3'\n");
  EXPECT_THAT(told(loaded), IsEmpty());
  const Patterns& p = *loaded.settings.patterns;
  EXPECT_TRUE(p.write_functions.matches("SETVAL"));
  EXPECT_EQ(p.primary_routing_queries.first_match("a;b"), 1);
  ASSERT_EQ(p.app_name_redirects.size(), 2u);
  EXPECT_EQ(p.app_name_redirects[1].node, NodeId{1});
  EXPECT_DOUBLE_EQ(p.app_name_redirects[1].ratio, 0.3);
  EXPECT_THAT(p.relations,
              ElementsAre(ObjectRelation{"t_1", false, "t_2", false}, ObjectRelation{"f", true, "t3", false}));
}

}  // namespace
}  // namespace herdgate::config
