// PCP requests against a server of the test's own: what is asked of it, and what goes back.
#include "admin/pcp_commands.h"

#include <gtest/gtest.h>

#include "pcp/reply.h"
#include "report/pcp_rows.h"

namespace herdgate::admin {
namespace {

using cluster::NodeStatus;
using pcp::Ask;
using Row = std::vector<std::string>;

class FakeServer final : public Services, public cluster::Control {
 public:
  FakeServer() {
    auto view = std::make_shared<cluster::View>();
    for (const int id : {0, 2}) {
      cluster::Node node;
      node.id = NodeId(id);
      node.host = "h";
      node.port = 5432;
      node.weight = 0.5;
      node.status = id == 0 ? NodeStatus::up : NodeStatus::waiting;
      node.status_changed = WallTime(std::chrono::seconds(1795393754));
      view->nodes.push_back(node);
    }
    view->primary = NodeId(0);
    server.view = view;
  }
  config::SettingsPtr settings() const override { return std::make_shared<const config::Settings>(set); }
  void report(std::function<void(const report::Server&)> done) override { done(server); }
  cluster::Control& cluster() override { return *this; }
  void stop(StopMode mode) override { did.push_back("stop " + std::to_string(static_cast<int>(mode))); }
  Refused reload() override { return note("reload"); }
  Refused rotate_log() override { return note("rotate"); }
  Refused drop_query_cache() override { return note("drop"); }
  void pause(const std::string& database, bool on, PauseAnswered answered) override {
    auto refused = note(fmt::format("{} \"{}\"", on ? "pause" : "resume", database));
    answered(refused, refused ? "" : "it is " + did.back());
  }
  void request(const cluster::Request& r, Answered answered) override {
    answered(note(fmt::format("{} {}", static_cast<int>(r.kind), r.node.value)));
  }
  void detach_gracefully(NodeId node, Answered answered) override {
    answered(note(fmt::format("gracefully {}", node.value)));
  }
  void recover(NodeId node, Answered answered) override { answered(note(fmt::format("recover {}", node.value))); }
  std::string busy_with() const override { return busy; }

  config::Settings set;
  report::Server server;
  std::vector<std::string> did;
  Refused refusal;
  std::string busy;

 private:
  Refused note(std::string what) {
    did.push_back(std::move(what));
    return refusal;
  }
};

class Commands : public testing::Test {
 protected:
  // The answer as a client understands it; nothing is left over and the letter is the right one.
  pcp::Reply ask(Ask what, int number = 0, char option = 0, std::string name = {}) {
    std::optional<PcpCommands::Answer> answer;
    commands.run({what, number, option, std::move(name), {}}, [&](PcpCommands::Answer a) { answer = std::move(a); });
    pcp::Reply reply;
    EXPECT_TRUE(answer);
    if (answer->trouble) {
      reply.trouble = answer->trouble;
      return reply;
    }
    bool whole = false;
    for (ByteView rest = answer->reply; !rest.empty();) {
      EXPECT_FALSE(whole);
      const auto frame = pcp::first_frame(rest, pcp::kReplyLimit);
      EXPECT_TRUE(frame && *frame);
      EXPECT_EQ((**frame).letter, pcp::reply_letter(what));
      whole = *reply.add(**frame);
      rest.remove_prefix((**frame).whole_bytes);
    }
    EXPECT_TRUE(whole);
    if (answer->afterwards) answer->afterwards();
    return reply;
  }
  std::string error(Ask what, int number = 0, char option = 0) {
    const auto trouble = ask(what, number, option).trouble;
    return trouble ? fmt::format("{}: {} | {}", trouble->severity, trouble->message, trouble->detail) : "done";
  }

  FakeServer server;
  PcpCommands commands{server};
};

TEST_F(Commands, NodesAsTheOriginalSendsThem) {
  const pcp::Reply all = ask(Ask::node_info, -1);
  ASSERT_EQ(all.rows.size(), 2u);
  EXPECT_EQ(all.rows[0], (Row{"h", "5432", "2", "0", "unknown", "1073741823.500000", "2", "unknown", "0", "0", "", "",
                              "1795393754"}));
  EXPECT_EQ(ask(Ask::node_info, 2).rows.at(0).at(6), "3");
  EXPECT_EQ(error(Ask::node_info, 1), "ERROR: informing node info failed | invalid node ID : 1");
  EXPECT_EQ(ask(Ask::node_count).values, (Row{"3"}));  // ids go from 0 to 2
}

TEST_F(Commands, DelayByTimeIsMarked) {
  auto view = std::make_shared<cluster::View>(*server.server.view);
  view->nodes[1].delay_time = std::chrono::microseconds(1500000);
  view->nodes[1].replication_state = "streaming";
  server.server.view = view;
  const Row row = ask(Ask::node_info, 2).rows.at(0);
  EXPECT_EQ(row[8], "1");
  EXPECT_EQ(row[9], "1500000");
  EXPECT_EQ(row[10], "streaming");
  EXPECT_EQ(ask(Ask::node_info, 0).rows.at(0).at(8), "0");
}

TEST_F(Commands, RowsOfTheirShowTwins) {
  EXPECT_EQ(ask(Ask::health_check_stats, 2).values, report::pool_health_check_stats(server.server, server.set).rows[1]);
  EXPECT_EQ(error(Ask::health_check_stats, 9), "ERROR: informing health check stats info failed | invalid node ID 9");
  const auto status = report::pool_status(server.server, server.set).rows;
  EXPECT_EQ(ask(Ask::pool_status).rows, status);
}

TEST_F(Commands, Processes) {
  report::SlotRow slot;
  slot.pid = 17;
  report::LinkRow link;
  link.node = NodeId(0), link.slot_pid = 17, link.database = "d";
  server.server.slots = {slot};
  EXPECT_EQ(ask(Ask::process_count).values, (Row{"1", "17"}));
  EXPECT_EQ(ask(Ask::process_info, 17).rows.size(), 0u);  // a client without a link
  server.server.links = {link};
  EXPECT_EQ(ask(Ask::process_info, 0).rows, report::pool_pools(server.server, server.set).rows);
  EXPECT_EQ(ask(Ask::process_info, 17).rows.size(), 1u);
  EXPECT_EQ(error(Ask::process_info, 99), "ERROR: informing process info failed | invalid process ID : 99");
}

TEST_F(Commands, ChangesOfNodes) {
  EXPECT_EQ(error(Ask::attach, 2), "done");
  EXPECT_EQ(error(Ask::detach, 2), "done");
  EXPECT_EQ(error(Ask::detach_gracefully, 2), "done");
  EXPECT_EQ(error(Ask::promote, 2, 'n'), "done");
  EXPECT_EQ(error(Ask::promote_gracefully, 2, 's'), "done");
  EXPECT_EQ(error(Ask::recover, 2), "done");
  const auto kind = [](cluster::Request::Kind k) { return std::to_string(static_cast<int>(k)) + " 2"; };
  EXPECT_EQ(server.did, (Row{kind(cluster::Request::attach), kind(cluster::Request::detach), "gracefully 2",
                             kind(cluster::Request::promote), kind(cluster::Request::switchover), "recover 2"}));
  server.refusal = cluster::Refusal{Level::error, "no", "because"};
  EXPECT_EQ(error(Ask::attach, 2), "ERROR: no | because");
  server.refusal->level = Level::fatal;
  EXPECT_EQ(error(Ask::detach_gracefully, 2), "FATAL: no | because");
}

TEST_F(Commands, PromotionsThatCannotBe) {
  EXPECT_EQ(error(Ask::promote, 0, 'n'),
            "FATAL: invalid promote request | specified node is already primary node, can't promote node id 0");
  EXPECT_EQ(error(Ask::promote, 9, 'n'), "ERROR: could not process promote request | node id 9 is not valid");
  EXPECT_EQ(error(Ask::promote, 2, 'x'), "ERROR: could not process promote request | invalid promote option \"x\"");
  server.set.backend_clustering_mode = config::ClusteringMode::raw;
  EXPECT_EQ(error(Ask::promote, 2, 'n').substr(0, 6), "FATAL:");
  EXPECT_TRUE(server.did.empty());
}

TEST_F(Commands, RecoveriesThatCannotBe) {
  EXPECT_EQ(error(Ask::recover, 0),
            "ERROR: process recovery request failed | primary server cannot be recovered by online recovery.");
  EXPECT_EQ(error(Ask::recover, 9), "ERROR: process recovery request failed | node id 9 is not valid");
  EXPECT_TRUE(server.did.empty());
}

TEST_F(Commands, StopsAfterTheAnswer) {
  EXPECT_EQ(error(Ask::stop, 0, 'f'), "done");
  EXPECT_EQ(error(Ask::stop_cluster, 0, 's'), "done");
  EXPECT_EQ(server.did, (Row{"stop 1", "stop 0"}));
  EXPECT_EQ(error(Ask::stop, 0, 'x'),
            "ERROR: PCP: error while processing shutdown request | invalid shutdown mode \"x\"");
}

TEST_F(Commands, NotWhileTheClusterChanges) {
  server.busy = "failover";
  const char* const kNotNow = "ERROR: failed to process PCP request at the moment | failover is in progress";
  EXPECT_EQ(error(Ask::stop, 0, 'f'), kNotNow);
  EXPECT_EQ(error(Ask::recover, 2), kNotNow);
  EXPECT_EQ(error(Ask::detach, 2), "done");
  server.busy.clear();
  EXPECT_EQ(error(Ask::stop, 0, 'f'), "done");
}

TEST_F(Commands, PausesAndResumes) {
  EXPECT_EQ(ask(Ask::pause, 0, 0, "db").values, (Row{"it is pause \"db\""}));
  EXPECT_EQ(ask(Ask::pause).values, (Row{"it is pause \"\""}));
  EXPECT_EQ(ask(Ask::resume, 0, 0, "db").values, (Row{"it is resume \"db\""}));
  server.busy = "failover";  // that is when one may want it
  EXPECT_EQ(ask(Ask::resume).values, (Row{"it is resume \"\""}));
  server.refusal = cluster::Refusal{Level::error, "no", "because"};
  EXPECT_EQ(error(Ask::pause), "ERROR: no | because");
}

TEST_F(Commands, TheRest) {
  EXPECT_EQ(error(Ask::reload, 0, 'l'), "done");
  EXPECT_EQ(error(Ask::rotate_log, 0, 'l'), "done");
  EXPECT_EQ(error(Ask::rotate_log, 0, 'c'),
            "ERROR: PCP: error while processing log rotation request for cluster | watchdog is not enabled");
  EXPECT_EQ(error(Ask::drop_cache), "done");
  EXPECT_EQ(server.did, (Row{"reload", "rotate", "drop"}));
  EXPECT_EQ(error(Ask::watchdog_info, -1), "ERROR: PCP: informing watchdog info failed | watchdog is not enabled");
}

}  // namespace
}  // namespace herdgate::admin
