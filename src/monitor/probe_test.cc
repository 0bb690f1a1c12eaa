// Probes against servers that are none, and, with HERDGATE_TEST_NODES ("host:port host:port …", the primary first, as
// tests/integration/test_monitor.py gives it), against real ones.
#include "monitor/probe.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <sstream>

#include "base/bytes.h"
#include "base/testing.h"
#include "monitor/monitor.h"

namespace herdgate::monitor {
namespace {

using cluster::Outcome;
using std::chrono::milliseconds;
using std::chrono::seconds;

struct ProbeTest : ::testing::Test {
  SystemClock clock;
  net::Loop loop{clock};
  net::BlockingPool blocking{1};
  backend::Scratch scratch;
  ProbeLogins logins{loop};
  bool keeps = false;

  Answer probe(const net::Destination& to, const std::string& user, Duration limit = seconds(10),
               const std::string& database = "postgres") {
    ProbeTarget t;
    t.node = NodeId(0);
    t.to = to;
    t.user = user;
    t.database = database;
    t.connect_limit = t.whole_limit = limit;
    t.may_keep = keeps;
    Answer got;
    got.text = "no answer";
    const auto probing = start_probe(
        {loop, blocking, scratch}, t,
        [&](Answer answer) {
          got = std::move(answer);
          loop.stop();
        },
        &logins);
    loop.run();
    return got;
  }
};

// Accepts and sends `greeting` at once, then says nothing more.
class Impostor {
 public:
  Impostor(net::Loop& loop, std::string greeting) : loop_(loop), greeting_(std::move(greeting)) {
    auto listeners = net::Listener::tcp(loop_, "127.0.0.1", 0, 16);
    listener_ = std::move(listeners->front());
    EXPECT_TRUE(listener_->start(
        [this](net::Socket socket, const net::Address&) {
          if (!greeting_.empty()) socket.write(loop_, greeting_);
          held_.push_back(std::move(socket));
        },
        [](const Error&) {}));
  }
  net::Destination at() const { return {"127.0.0.1", listener_->port()}; }

 private:
  net::Loop& loop_;
  std::string greeting_;
  std::unique_ptr<net::Listener> listener_;
  std::vector<net::Socket> held_;
};

// ErrorResponse with this SQLSTATE.
std::string refusal(const std::string& sqlstate) {
  using std::string_literals::operator""s;
  const std::string fields = "SFATAL\0C"s + sqlstate + "\0Mno\0\0"s;
  Bytes message = "E";
  append_u32(message, static_cast<std::uint32_t>(fields.size() + 4));
  return message + fields;
}

TEST_F(ProbeTest, AServerThatIsFullWorksOneThatStartsUpMayNot) {
  for (const auto& [sqlstate, outcome] : {std::pair("53300", Outcome::refused), std::pair("28P01", Outcome::refused),
                                          std::pair("57P03", Outcome::not_ready)}) {
    Impostor server(loop, refusal(sqlstate));
    EXPECT_EQ(probe(server.at(), "check").outcome, outcome) << sqlstate;
  }
}

TEST_F(ProbeTest, NobodyListens) {
  const net::Destination nobody{"/nonexistent", 5432};
  for (const char* user : {"", "check"}) {
    const Answer a = probe(nobody, user);
    EXPECT_EQ(a.outcome, Outcome::unreachable);
    EXPECT_TRUE(a.text.starts_with("could not connect: /nonexistent")) << a.text;
  }
}

TEST_F(ProbeTest, AServerThatSaysNothingIsGivenUpAfterTheLimit) {
  const Impostor frozen(loop, "");
  for (const char* user : {"", "check"}) {
    const Answer a = probe(frozen.at(), user, milliseconds(100));
    EXPECT_EQ(a.outcome, Outcome::unreachable);
    EXPECT_NE(a.text.find("timed out"), std::string::npos) << a.text;
  }
}

TEST_F(ProbeTest, WhatSpeaksAnotherProtocolIsNoServer) {
  const Impostor web(loop, "HTTP/1.1 400 Bad Request\r\n\r\n");
  for (const char* user : {"", "check"}) EXPECT_EQ(probe(web.at(), user, seconds(2)).outcome, Outcome::unreachable);
  const Impostor random(loop, std::string("R\xff\xff\xff\xff\0\0\0\0", 9));
  EXPECT_EQ(probe(random.at(), "check", seconds(2)).outcome, Outcome::unreachable);
}

// ---- real servers

std::vector<net::Destination> real_nodes() {
  std::vector<net::Destination> nodes;
  const char* text = std::getenv("HERDGATE_TEST_NODES");
  std::istringstream in(text ? text : "");
  for (std::string word; in >> word;) {
    const std::size_t colon = word.rfind(':');
    nodes.push_back({word.substr(0, colon), std::stoi(word.substr(colon + 1))});
  }
  return nodes;
}

struct ProbeReal : ProbeTest {
  std::vector<net::Destination> nodes = real_nodes();
  void SetUp() override {
    if (nodes.empty()) GTEST_SKIP() << "HERDGATE_TEST_NODES is not set";
  }
};

TEST_F(ProbeReal, RolesAndPositions) {
  const Answer primary = probe(nodes[0], "postgres");
  EXPECT_EQ(primary.outcome, Outcome::healthy) << primary.text;
  EXPECT_EQ(primary.in_recovery, false);
  EXPECT_GT(primary.position.value_or(0), 0u);
  ASSERT_EQ(primary.senders.size(), nodes.size() - 1);
  for (const Sender& sender : primary.senders) EXPECT_EQ(sender.state, "streaming");
  for (std::size_t i = 1; i < nodes.size(); ++i) {
    const Answer standby = probe(nodes[i], "postgres");
    EXPECT_EQ(standby.in_recovery, true) << standby.text;
    EXPECT_GT(standby.position.value_or(0), 0u);
    EXPECT_TRUE(standby.senders.empty());
  }
}

TEST_F(ProbeReal, APingNeedsNoUser) {
  const Answer a = probe(nodes[0], "");
  EXPECT_EQ(a.outcome, Outcome::healthy) << a.text;
  EXPECT_EQ(a.in_recovery, std::nullopt);
}

TEST_F(ProbeReal, ARefusedLoginSaysWhyAndProvesALivingServer) {
  const Answer a = probe(nodes[0], "postgres", seconds(10), "no_such_database");
  EXPECT_EQ(a.outcome, Outcome::refused);
  EXPECT_NE(a.text.find("no_such_database"), std::string::npos) << a.text;
}

// The primary's own words: how many logins there are now, and whether the one before is still there.
TEST_F(ProbeReal, ALoginServesTheNextProbesAndAnEndedOneIsMadeAnew) {
  const auto told = [&](const std::string& sql) {
    backend::Rows rows;
    backend::Client asks(
        loop, blocking, scratch,
        {{NodeId(0), "postgres", "postgres"}, nodes[0], Deadline::after(clock.now(), seconds(10)), {}, {}});
    asks.query(sql, Deadline::after(clock.now(), seconds(10)), [&](Result<backend::Rows> got) {
      if (got) rows = std::move(*got);
      loop.stop();
    });
    loop.run();
    return rows.empty() ? std::string() : rows[0][0].value_or("");
  };
  // Not who asks here, or did a moment ago.
  const std::string others =
      " FROM pg_stat_activity WHERE query LIKE '%LEFT JOIN pg_catalog.pg_stat_replication%' AND "
      "query NOT LIKE '%pg_stat_activity%'";
  EXPECT_EQ(probe(nodes[0], "postgres").outcome, Outcome::healthy);
  // A process that has been left takes a moment to end.
  const auto all_end = [&] {
    const TimePoint limit = clock.now() + seconds(20);
    while (told("SELECT count(*)" + others) != "0" && clock.now() < limit) {
    }
    return told("SELECT count(*)" + others) == "0";
  };
  EXPECT_TRUE(all_end()) << "who does not ask for it does not leave one";
  keeps = true;
  EXPECT_EQ(probe(nodes[0], "postgres").outcome, Outcome::healthy);
  const std::string first = told("SELECT pid" + others);
  EXPECT_FALSE(first.empty());
  EXPECT_EQ(probe(nodes[0], "postgres").in_recovery, false);
  EXPECT_EQ(told("SELECT pid" + others), first);
  told("SELECT pg_terminate_backend(" + first + ", 5000)");
  EXPECT_EQ(probe(nodes[0], "postgres").outcome, Outcome::healthy);
  const std::string second = told("SELECT pid" + others);
  EXPECT_FALSE(second.empty() || second == first);
  const net::TimerId later = loop.after(ProbeLogins::kLife + milliseconds(100), [&] { loop.stop(); });
  loop.run();
  loop.cancel(later);
  EXPECT_TRUE(all_end()) << "not longer than its life";
}

TEST_F(ProbeReal, TheMonitorFindsTheHerd) {
  auto settings = std::make_shared<config::Settings>();
  settings->sr_check_user = "postgres";
  settings->logdir = "/nonexistent";
  for (std::size_t i = 0; i < nodes.size(); ++i) {
    const int id = static_cast<int>(i);
    settings->backends.push_back(
        {NodeId(id), nodes[i].host, nodes[i].port, 1, "", "node" + std::to_string(id), true, false});
  }
  SilentLog sink;
  Log log(sink);
  bool found = false;
  const auto complete = [&](const cluster::View& view) {
    return view.primary == NodeId(0) && std::all_of(view.nodes.begin(), view.nodes.end(), [](const cluster::Node& n) {
             return n.delay_bytes.has_value() && (n.id == NodeId(0) || n.replication_state == "streaming");
           });
  };
  Hooks hooks;
  hooks.publish = [&](cluster::ViewPtr view) {
    found = complete(*view);
    if (found) loop.stop();
  };
  Monitor monitor({loop, blocking, scratch}, log, std::move(hooks));
  const net::TimerId guard = loop.after(seconds(30), [&] { loop.stop(); });
  monitor.start(settings, false);
  loop.run();
  loop.cancel(guard);
  EXPECT_TRUE(found);
}

}  // namespace
}  // namespace herdgate::monitor
