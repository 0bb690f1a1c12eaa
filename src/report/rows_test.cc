#include "report/rows.h"

#include <gtest/gtest.h>

#include <algorithm>

namespace herdgate::report {
namespace {

using cluster::NodeStatus;
using cluster::Role;
using Row = std::vector<std::string>;

constexpr WallTime kThen{std::chrono::seconds(1'700'000'000)};

cluster::Node node(int id, NodeStatus status, Role role) {
  cluster::Node n;
  n.id = NodeId(id);
  n.host = "/tmp";
  n.port = 5432 + id;
  n.weight = 1.0 / 3;
  n.status = status;
  n.real_role = role;
  n.status_changed = kThen;
  return n;
}

struct Rows : ::testing::Test {
  config::Settings settings;
  Server server;
  std::string then = format_wall(kThen);

  // A primary, a standby in use, a standby that is down.
  void SetUp() override {
    cluster::View view;
    view.primary = NodeId(0);
    view.nodes = {node(0, NodeStatus::up, Role::primary), node(1, NodeStatus::waiting, Role::standby),
                  node(2, NodeStatus::down, Role::unknown)};
    view.nodes[1].delay_bytes = 4096;
    view.nodes[1].replication_state = "streaming";
    view.nodes[1].replication_sync_state = "async";
    publish(view);
    server.counts.resize(3);
    server.counts[1].select = 42;
  }
  void publish(const cluster::View& view) { server.view = std::make_shared<cluster::View>(view); }
  Row nodes_row(std::size_t i) { return pool_nodes(server, settings, {NodeId(1)}).rows.at(i); }
  void raw_mode() { settings.backend_clustering_mode = config::ClusteringMode::raw; }
};

TEST_F(Rows, PoolNodesInStreamingMode) {
  const Table t = pool_nodes(server, settings, {NodeId(1)});
  EXPECT_EQ(t.columns, (Row{"node_id", "hostname", "port", "status", "pg_status", "lb_weight", "role", "pg_role",
                            "select_cnt", "load_balance_node", "replication_delay", "replication_state",
                            "replication_sync_state", "last_status_change"}));
  ASSERT_EQ(t.rows.size(), 3u);
  EXPECT_EQ(t.rows[0], (Row{"0", "/tmp", "5432", "up", "unknown", "0.333333", "primary", "primary", "0", "false", "0",
                            "", "", then}));
  EXPECT_EQ(t.rows[1], (Row{"1", "/tmp", "5433", "waiting", "unknown", "0.333333", "standby", "standby", "42", "true",
                            "4096", "streaming", "async", then}));
  EXPECT_EQ(t.rows[2], (Row{"2", "/tmp", "5434", "down", "unknown", "0.333333", "standby", "unknown", "0", "false", "0",
                            "", "", then}));
}

TEST_F(Rows, PoolNodesWithHealthChecksKnowsWhetherTheServerIsUp) {
  settings.health_check_period = std::chrono::seconds(10);
  EXPECT_EQ(nodes_row(0)[4], "up");
  EXPECT_EQ(nodes_row(1)[4], "up");
  EXPECT_EQ(nodes_row(2)[4], "down");
}

TEST_F(Rows, PoolNodesInRawMode) {
  raw_mode();
  EXPECT_EQ(nodes_row(0)[6], "main");
  EXPECT_EQ(nodes_row(0)[7], "main");
  EXPECT_EQ(nodes_row(1)[6], "replica");
  EXPECT_EQ(nodes_row(1)[7], "replica");
  EXPECT_EQ(nodes_row(1)[10], "0");
}

TEST_F(Rows, WithoutTheDelayCheckRoleAndDelayAreUnknown) {
  settings.sr_check_period = std::chrono::seconds(0);
  EXPECT_EQ(nodes_row(0)[6], "primary");
  EXPECT_EQ(nodes_row(0)[7], "unknown");
  EXPECT_EQ(nodes_row(1)[10], "0");
}

TEST_F(Rows, DelayByTime) {
  cluster::Node n = node(1, NodeStatus::up, Role::standby);
  for (const auto& [us, text] : std::map<int, std::string>{{0, "0.000000 second"},
                                                           {123456, "0.123456 second"},
                                                           {1'999'999, "1.999999 second"},
                                                           {2'000'000, "2.000000 seconds"},
                                                           {90'500'000, "90.500000 seconds"}}) {
    n.delay_time = std::chrono::microseconds(us);
    EXPECT_EQ(delay_text(n), text);
  }
}

TEST_F(Rows, EveryStatusHasItsWord) {
  cluster::Node n = node(0, NodeStatus::unused, Role::unknown);
  EXPECT_EQ(status_word(n), "unused");
  n.status = NodeStatus::waiting;
  EXPECT_EQ(status_word(n), "waiting");
  n.status = NodeStatus::down;
  EXPECT_EQ(status_word(n), "down");
  n.quarantined = true;
  EXPECT_EQ(status_word(n), "quarantine");
}

TEST_F(Rows, NoViewYetMeansNoRows) {
  server.view = nullptr;
  EXPECT_TRUE(pool_nodes(server, settings, {}).rows.empty());
  EXPECT_TRUE(pool_backend_stats(server, settings).rows.empty());
  EXPECT_TRUE(pool_health_check_stats(server, settings).rows.empty());
}

TEST_F(Rows, BackendStats) {
  server.counts[1] = {1, 2, 3, 4, 5, 6, 7, 8, 9};
  server.counts.resize(2);  // fewer counts than nodes: a node just added
  const Table t = pool_backend_stats(server, settings);
  EXPECT_EQ(t.columns, (Row{"node_id", "hostname", "port", "status", "role", "select_cnt", "insert_cnt", "update_cnt",
                            "delete_cnt", "ddl_cnt", "other_cnt", "panic_cnt", "fatal_cnt", "error_cnt"}));
  EXPECT_EQ(t.rows.at(1),
            (Row{"1", "/tmp", "5433", "waiting", "standby", "1", "2", "3", "4", "5", "6", "7", "8", "9"}));
  EXPECT_EQ(t.rows.at(2), (Row{"2", "/tmp", "5434", "down", "standby", "0", "0", "0", "0", "0", "0", "0", "0", "0"}));
}

TEST_F(Rows, HealthCheckStats) {
  const Table t = pool_health_check_stats(server, settings);
  ASSERT_EQ(t.columns.size(), 20u);
  EXPECT_EQ(t.rows.at(0), (Row{"0", "/tmp",     "5432", "up", "primary", then,       "0", "0", "0", "0",
                               "0", "0.000000", "0",    "0",  "0",       "0.000000", "",  "",  "",  ""}));
}

TEST_F(Rows, HealthCheckStatsAverageOverWhatWasNotSkipped) {
  HealthFigures f;
  f.total = 19, f.success = 12, f.fail = 1, f.skip = 6, f.retries = 3, f.max_retries = 3;
  f.max_duration = std::chrono::milliseconds(260), f.min_duration = std::chrono::milliseconds(2);
  f.all_durations = std::chrono::milliseconds(390);
  f.last = f.last_fail = kThen;
  server.health = std::make_shared<HealthByNode>(HealthByNode{{NodeId(1), f}});
  const Row row = pool_health_check_stats(server, settings).rows.at(1);
  EXPECT_EQ(Row(row.begin() + 6, row.end()),
            (Row{"19", "12", "1", "6", "3", "0.230769", "3", "260", "2", "30.000000", then, "", "", then}));
}

SlotRow busy_slot() {
  SlotRow s;
  s.pid = 7;
  s.started = s.connected.emplace(kThen);
  s.client_connections = 3;
  s.database = "shop";
  s.user = "alice";
  s.status = "Idle";
  return s;
}
LinkRow link(int slot, int node) {
  LinkRow l;
  l.node = NodeId(node);
  l.database = "shop";
  l.user = "alice";
  l.slot_pid = slot;
  l.created = kThen;
  l.uses = 5;
  l.backend_pid = 4711;
  l.in_use = slot != 0;
  return l;
}

TEST_F(Rows, Processes) {
  server.slots = {busy_slot(), {}};
  server.slots[1].pid = 8;
  server.slots[1].started = kThen;
  server.slots[1].status = "Wait for connection";
  server.links = {link(7, 1), link(7, 0)};
  server.links[1].uses = 6;
  const Table t = pool_processes(server);
  EXPECT_EQ(t.columns, (Row{"pool_pid", "start_time", "client_connection_count", "database", "username",
                            "backend_connection_time", "pool_counter", "status"}));
  ASSERT_EQ(t.rows.size(), 2u);
  EXPECT_EQ(t.rows[0], (Row{"7", then, "3", "shop", "alice", then, "6", "Idle"}));
  EXPECT_EQ(t.rows[1], (Row{"8", then, "0", "", "", "", "", "Wait for connection"}));
}

TEST_F(Rows, Pools) {
  server.slots = {busy_slot()};
  server.slots[0].idle_seconds = 5;
  server.slots[0].pins = "LISTEN";
  server.links = {link(7, 0), link(7, 1), link(0, 1), link(0, 1)};
  server.links[1].load_balance_node = true;
  settings.client_idle_limit = std::chrono::seconds(70);
  const Table t = pool_pools(server, settings);
  EXPECT_EQ(t.columns, (Row{"pool_pid", "start_time", "client_connection_count", "pool_id", "backend_id", "database",
                            "username", "backend_connection_time", "client_connection_time",
                            "client_disconnection_time", "client_idle_duration", "majorversion", "minorversion",
                            "pool_counter", "pool_backendpid", "pool_connected", "status", "load_balance_node"}));
  ASSERT_EQ(t.rows.size(), 4u);
  EXPECT_EQ(t.rows[1],
            (Row{"7", then, "3", "0", "1", "shop", "alice", then, then, "", "5 (1:05 before client disconnected)", "3",
                 "0", "5", "4711", "1", "Idle (pinned: LISTEN)", "1"}));
  EXPECT_EQ(t.rows[3], (Row{"0", "", "0", "1", "1", "shop", "alice", then, "", "", "0", "3", "0", "5", "4711", "0",
                            "Wait for connection", "0"}));
}

TEST_F(Rows, VersionAndCache) {
  EXPECT_EQ(pool_version().columns, Row{"pool_version"});
  EXPECT_EQ(pool_version().rows, std::vector<Row>{{"4.6.1 (Herdgate)"}});
  EXPECT_EQ(pool_cache({}).columns.size(), 9u);
  EXPECT_EQ(pool_cache({}).rows.at(0), (Row{"0", "0", "0.00", "0", "0", "0", "0", "0", "0"}));
  server.cache = {30, 10, 1024, 7, 5000, 60000};
  EXPECT_EQ(pool_cache(server).rows.at(0), (Row{"30", "10", "0.75", "1024", "7", "7", "5000", "60000", "0"}));
}

TEST_F(Rows, StatusRowsCarryTheStateOfTheNodes) {
  for (int id = 0; id < 3; ++id) settings.backends.push_back({NodeId(id), "/tmp", 5432 + id, 1, "", "", true, false});
  const Table t = pool_status(server, settings);
  EXPECT_EQ(t.columns, (Row{"item", "value", "description"}));
  const auto value = [&](const std::string& item) {
    const auto found = std::find_if(t.rows.begin(), t.rows.end(), [&](const Row& r) { return r.at(0) == item; });
    return found == t.rows.end() ? "missing" : found->at(1);
  };
  EXPECT_EQ(value("backend_status1"), "waiting");
  EXPECT_EQ(value("backend_status2"), "down");
  EXPECT_EQ(value("standby_delay1"), "4096");
  EXPECT_EQ(value("port"), "9999");
  EXPECT_EQ(value("memqcache_cache_hits"), "0");
}

}  // namespace
}  // namespace herdgate::report
