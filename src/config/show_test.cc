#include "config/show.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "config/errc.h"
#include "config/load.h"
#include "config/parameter.h"
#include "config/session_settings.h"

namespace herdgate::config {
namespace {

Settings sample() {
  const FileReader none = [](const std::string& path) -> Result<std::string> { return fail(Errc::unreadable, path); };
  return load_text(
             "backend_hostname0 = 'a'\nbackend_port0 = 5432\nbackend_weight0 = 1\nbackend_flag0 = ALWAYS_PRIMARY\n"
             "backend_hostname2 = 'c'\nbackend_port2 = 5434\nbackend_weight2 = 1\n"
             "sr_check_password = 'secret'\nunix_socket_permissions = 0770\nsyslog_facility = LOCAL3\n"
             "reset_query_list = 'ABORT; DISCARD ALL'\nlisten_addresses = 'x, y'\nhealth_check_period2 = 70\n",
             "p", none)
      .settings;
}

std::string value_of(const std::vector<ShowRow>& rows, std::string_view item) {
  const auto at = std::ranges::find(rows, item, &ShowRow::item);
  return at == rows.end() ? "(no row)" : at->value;
}

TEST(PgpoolShow, SingleValues) {
  const Settings s = sample();
  EXPECT_EQ(show_value(s, "port").value(), "9999");
  EXPECT_EQ(show_value(s, "PORT").value(), "9999");
  EXPECT_EQ(show_value(s, "authentication_timeout").value(), "1min");
  EXPECT_EQ(show_value(s, "memqcache_cache_block_size").value(), "1MB");
  EXPECT_EQ(show_value(s, "connection_cache").value(), "on");
  EXPECT_EQ(show_value(s, "unix_socket_permissions").value(), "0770");
  EXPECT_EQ(show_value(s, "sr_check_password").value(), "*****");
  EXPECT_EQ(show_value(s, "pool_passwd").value(), "*****");
  EXPECT_EQ(show_value(s, "backend_clustering_mode").value(), "streaming_replication");
  EXPECT_EQ(show_value(s, "backend_hostname2").value(), "c");
  EXPECT_EQ(show_value(s, "backend_flag0").value(), "ALLOW_TO_FAILOVER|ALWAYS_PRIMARY");
  EXPECT_EQ(show_value(s, "health_check_period2").value(), "70");
  EXPECT_EQ(show_value(s, "backend_hostname1").value(), "");
  EXPECT_EQ(show_value(s, "delegate_ip").value(), "");
  EXPECT_EQ(show_value(s, "fail_over_on_backend_error").value(), "on");
  EXPECT_EQ(show(s, "Backend_Port2")->column, "backend_port2");
}

TEST(PgpoolShow, UnknownNamesAreErrors) {
  const Settings s = sample();
  for (const char* name : {"nothing", "", "port1", "work_dir"}) {
    const auto shown = show(s, name);
    ASSERT_FALSE(shown) << name;
    EXPECT_EQ(shown.error().context, fmt::format("config variable \"{}\" not found", name));
  }
}

TEST(PgpoolShow, NumbersBeyondTheHighestNodeAreErrors) {
  EXPECT_EQ(show(sample(), "backend_hostname200").error().context,
            "invalid index 200 for configuration parameter \"backend_hostname\"\nallowed index is between 0 and 127");
}

TEST(PgpoolShow, ArraysAndGroupsGiveRows) {
  const Settings s = sample();
  const auto ports = show(s, "backend_port");
  ASSERT_TRUE(ports);
  EXPECT_FALSE(ports->single);
  ASSERT_EQ(ports->rows.size(), 2u);
  EXPECT_EQ(ports->rows[1].item, "backend_port2");
  EXPECT_EQ(ports->rows[1].value, "5434");
  EXPECT_EQ(show(s, "backend")->rows.size(), 12u);
  const auto checks = show(s, "health_check");
  ASSERT_EQ(checks->rows.size(), 24u);
  EXPECT_EQ(checks->rows[0].item, "health_check_timeout");
  EXPECT_EQ(checks->rows[8].item, "health_check_timeout0");
  EXPECT_EQ(checks->rows[16].item, "health_check_timeout2");
  EXPECT_EQ(value_of(checks->rows, "connect_timeout2"), "10000");
  EXPECT_EQ(show(s, "health_check_period")->rows.size(), 3u);
  EXPECT_EQ(show(s, "backend")->rows[6].item, "backend_port2");
  EXPECT_TRUE(show(s, "watchdog")->rows.empty());
  EXPECT_TRUE(show(s, "heartbeat")->rows.empty());
}

TEST(PgpoolShow, AllHasGroupsFirstThenLongNamesFirstAndHidesOldSpellings) {
  const auto rows = show_all(sample()).rows;
  EXPECT_TRUE(rows[0].item.starts_with("backend_"));
  EXPECT_EQ(value_of(rows, "delegate_IP"), "(no row)");
  EXPECT_EQ(value_of(rows, "fail_over_on_backend_error"), "(no row)");
  EXPECT_EQ(value_of(rows, "port"), "9999");
  constexpr std::size_t kGrouped = 36;
  for (std::size_t i = kGrouped + 1; i < rows.size(); ++i)
    EXPECT_LE(rows[i].item.size(), rows[i - 1].item.size()) << rows[i].item;
}

TEST(PoolStatus, ValuesArePlainNumbers) {
  PoolStatusLive live;
  live.backend_status[2] = "up";
  live.standby_delay[2] = "12";
  const auto rows = pool_status_rows(sample(), live);
  EXPECT_EQ(rows.front().item, "backend_clustering_mode");
  EXPECT_EQ(rows.front().value, "1");
  EXPECT_EQ(value_of(rows, "listen_addresses"), "x,y");
  EXPECT_EQ(value_of(rows, "authentication_timeout"), "60");
  EXPECT_EQ(value_of(rows, "unix_socket_permissions"), "0770");
  EXPECT_EQ(value_of(rows, "connection_cache"), "1");
  EXPECT_EQ(value_of(rows, "ssl"), "0");
  EXPECT_EQ(value_of(rows, "reset_query_list"), "ABORT;DISCARD ALL");
  EXPECT_EQ(value_of(rows, "log_min_messages"), "19");
  EXPECT_EQ(value_of(rows, "client_min_messages"), "18");
  EXPECT_EQ(value_of(rows, "log_error_verbosity"), "1");
  EXPECT_EQ(value_of(rows, "syslog_facility"), "LOCAL3");
  EXPECT_EQ(value_of(rows, "disable_load_balance_on_write"), "2");
  EXPECT_EQ(value_of(rows, "sr_check_password"), "*****");
  EXPECT_EQ(value_of(rows, "pool_passwd"), "pool_passwd");
  EXPECT_EQ(value_of(rows, "memqcache_cache_oiddir"), "/var/log/pgpool/oiddir");
  EXPECT_EQ(value_of(rows, "memqcache_oiddir"), "(no row)");
  EXPECT_EQ(value_of(rows, "memqcache_total_size"), "67108864");
  EXPECT_EQ(value_of(rows, "backend_weight2"), "0.500000");
  EXPECT_EQ(value_of(rows, "backend_status2"), "up");
  EXPECT_EQ(value_of(rows, "standby_delay2"), "12");
  EXPECT_EQ(value_of(rows, "backend_data_directory2"), "");
  EXPECT_EQ(value_of(rows, "backend_hostname1"), "(no row)");
  EXPECT_EQ(value_of(rows, "pool_mode"), "1");
}

TEST(PoolStatus, RowsKeepTheirOrder) {
  const auto rows = pool_status_rows(sample());
  const auto at = [&](std::string_view item) { return std::ranges::find(rows, item, &ShowRow::item) - rows.begin(); };
  const char* kOrdered[] = {"listen_addresses",
                            "pool_passwd",
                            "ssl",
                            "max_pool",
                            "log_destination",
                            "load_balance_mode",
                            "sr_check_period",
                            "health_check_period",
                            "failover_command",
                            "use_watchdog",
                            "wd_monitoring_interfaces_list",
                            "memqcache_cache_oiddir",
                            "memqcache_cache_hits",
                            "cache_unsafe_memqcache_table_list",
                            "backend_hostname0",
                            "backend_application_name0",
                            "backend_hostname2",
                            "backend_application_name2",
                            "pool_mode"};
  for (std::size_t i = 1; i < std::size(kOrdered); ++i) EXPECT_LT(at(kOrdered[i - 1]), at(kOrdered[i])) << kOrdered[i];
  EXPECT_LT(at("pool_mode"), static_cast<std::ptrdiff_t>(rows.size()));
}

TEST(PoolStatus, LongValuesAreCut) {
  Settings s = sample();
  s.failover_command = std::string(2000, 'x');
  EXPECT_EQ(value_of(pool_status_rows(s), "failover_command").size(), kMaxStatusValueBytes);
}

TEST(SessionSettings, SetAndReset) {
  const Settings file = sample();
  SessionSettings own;
  EXPECT_FALSE(own.log_statement(file));
  EXPECT_TRUE(own.set("log_statement", "on"));
  EXPECT_TRUE(own.log_statement(file));
  EXPECT_TRUE(own.set("LOG_MIN_MESSAGES", "debug5"));
  EXPECT_EQ(own.log_min_messages(file), Level::debug5);
  EXPECT_TRUE(own.set("client_idle_limit", "2min"));
  EXPECT_EQ(own.client_idle_limit(file), std::chrono::minutes(2));
  EXPECT_EQ(show_value(own.over(file), "client_idle_limit").value(), "2min");
  EXPECT_TRUE(own.reset("log_statement"));
  EXPECT_FALSE(own.log_statement(file));
  own.reset_all();
  EXPECT_EQ(own.log_min_messages(file), Level::warning);
  EXPECT_LE(sizeof own, 128u);
}

TEST(SessionSettings, EveryParameterOfContextSessionCanBeSetAndReset) {
  const Settings file;
  int count = 0;
  for (const Parameter& p : parameters()) {
    if (p.context != Context::session) continue;
    ++count;
    SessionSettings own;
    const Value usual = default_value(p);
    const std::string other =
        p.kind == Kind::boolean ? (std::get<bool>(usual) ? "off" : "on")
        : p.kind == Kind::word
            ? (p.name == "log_backend_messages" || p.name == "log_error_verbosity" ? "verbose" : "error")
            : "17";
    ASSERT_TRUE(own.set(p.name, other)) << p.name;
    EXPECT_NE(p.get(own.over(file), kNoIndex), usual) << p.name;
    ASSERT_TRUE(own.reset(p.name)) << p.name;
    EXPECT_EQ(p.get(own.over(file), kNoIndex), usual) << p.name;
  }
  EXPECT_EQ(count, 12);
}

TEST(SessionSettings, ErrorsAreWordedAsTheOriginalDoes) {
  SessionSettings own;
  EXPECT_EQ(own.set("nothing", "1").error().context, "config variable \"nothing\" not found");
  EXPECT_EQ(own.reset("nothing").error().context, "config variable \"nothing\" not found");
  EXPECT_EQ(own.set("port", "1").error().context, "invalid Context, value for parameter \"port\" cannot be changed");
  EXPECT_EQ(own.reset("backend_port0").error().context,
            "invalid Context, value for parameter \"backend_port0\" cannot be changed");
  EXPECT_EQ(own.set("client_idle_limit", "-5").error().context,
            "-5 is outside the valid range for parameter \"client_idle_limit\" (0 .. 2147483647)");
  EXPECT_EQ(own.set("client_idle_limit", "5x").error().context,
            "invalid value for parameter \"client_idle_limit\": \"5x\"\n"
            "Valid units for this parameter are us, ms, s, min, h, d.");
  EXPECT_EQ(own.set("log_error_verbosity", "x").error().context,
            "invalid value for parameter \"log_error_verbosity\": \"x\"\nAvailable values: terse, default, verbose.");
  EXPECT_EQ(own.set("log_statement", "x").error().code, make_error_code(Errc::bad_value));
  EXPECT_FALSE(own.set("client_idle_limit", "-1"));
  EXPECT_FALSE(own.log_statement(Settings{}));
}

}  // namespace
}  // namespace herdgate::config
