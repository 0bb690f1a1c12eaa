// The monitor with probes that answer as the test says, on a real loop. Every wait ends with an event.
#include "monitor/monitor.h"

#include <gtest/gtest.h>

#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <fstream>

#include "base/testing.h"
#include "monitor/state_store.h"

namespace herdgate::monitor {
namespace {

using cluster::NodeStatus;
using cluster::Outcome;
using cluster::View;

// Answers at once (by the loop), or never while it hangs.
class FakeProbe final : public Probing {
 public:
  FakeProbe(net::Loop& loop, ProbeDone done, const Answer* answer) {
    if (!answer) return;
    loop.defer([alive = alive_, done = std::move(done), answer = *answer] {
      if (*alive) done(answer);
    });
  }
  ~FakeProbe() override { *alive_ = false; }

 private:
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

Answer primary(std::uint64_t position) {
  Answer a;
  a.in_recovery = false;
  a.position = position;
  return a;
}
Answer standby(std::uint64_t position) {
  Answer a = primary(position);
  a.in_recovery = true;
  return a;
}
Answer gone() {
  Answer a;
  a.outcome = Outcome::unreachable;
  a.text = "could not connect: connection refused";
  return a;
}

struct MonitorTest : ::testing::Test {
  static constexpr Duration kPatience = std::chrono::seconds(20);
  SystemClock clock;
  net::Loop loop{clock};
  net::BlockingPool blocking{1};
  backend::Scratch scratch;
  LogLines lines;
  Log log{lines};
  std::filesystem::path folder;
  config::Settings settings;
  std::map<int, Answer> world, when_asked;  // … at once, in a failover
  std::set<int> hanging;
  std::map<int, int> probes;
  std::vector<ProbeTarget> targets;
  std::function<void()> changed = [] {}, gate_empty;
  std::optional<std::function<void()>> unsettled;  // there: the workers take their time, and this is to be called then
  int gate_opened = 0, first_looks = 0, reloads = 0, alterations = 0, crashes = 0, renamings = 0;
  std::unique_ptr<Monitor> monitor;

  void SetUp() override {
    log.set_threshold(Level::debug5);
    std::string name = std::filesystem::temp_directory_path() / "herdgate_XXXXXX";
    ASSERT_NE(::mkdtemp(name.data()), nullptr);
    folder = name;
    settings.logdir = folder;
    settings.sr_check_user = "check";
    for (int id = 0; id < 2; ++id)
      settings.backends.push_back({NodeId(id), "/tmp", 5432 + id, 1, "", "node" + std::to_string(id), true, false});
    world = {{0, primary(5000)}, {1, standby(4000)}};
    Hooks hooks;
    hooks.publish = [this](cluster::ViewPtr) { loop.defer([this] { changed(); }); };
    hooks.shut_gate = [this](std::function<void()> empty) { gate_empty = std::move(empty); };
    hooks.first_look = [this] {
      ++first_looks;
      changed();
    };
    hooks.open_gate = [this] { ++gate_opened; };
    hooks.settled = [this](std::function<void()> then) {
      if (unsettled)
        unsettled = std::move(then);
      else
        loop.defer(std::move(then));
    };
    hooks.reloaded = [this] { ++reloads; };
    hooks.defaults_altered = [this] { ++alterations; };
    hooks.primary_crashed = [this] { ++crashes; };
    hooks.names_changed = [this] { ++renamings; };
    hooks.probe = [this](const ProbeTarget& target, ProbeDone done) -> std::unique_ptr<Probing> {
      const int id = target.node.value;
      ++probes[id];
      targets.push_back(target);
      loop.defer([this] { changed(); });
      const bool asked = target.whole_limit == kAskLimit && when_asked.count(id);
      const Answer* answer = asked ? &when_asked.at(id) : hanging.count(id) ? nullptr : &world.at(id);
      return std::make_unique<FakeProbe>(loop, std::move(done), answer);
    };
    monitor = std::make_unique<Monitor>(ProbeMeans{loop, blocking, scratch}, log, std::move(hooks));
  }
  void TearDown() override {
    monitor.reset();
    // The status file may still be on its way to the disk: a job behind the pool's last one says when it is there.
    bool written = false;
    ASSERT_TRUE(blocking.submit(
        loop, [] {},
        [&] {
          written = true;
          loop.stop();
        }));
    loop.run();
    ASSERT_TRUE(written);
    std::filesystem::remove_all(folder);
  }
  void start(bool discard = false) { monitor->start(std::make_shared<config::Settings>(settings), discard); }
  // Runs the loop until the condition holds; it is looked at after every change and probe.
  void until(const std::function<bool()>& condition) {
    bool late = false;
    const net::TimerId guard = loop.after(kPatience, [&] {
      late = true;
      loop.stop();
    });
    changed = [&] {
      if (condition()) loop.stop();
    };
    loop.defer([this] { changed(); });
    loop.run();
    loop.cancel(guard);
    changed = [] {};
    ASSERT_FALSE(late) << lines.text;
  }
  // The same for what has no event of its own.
  void until_polled(const std::function<bool()>& condition) {
    net::TimerId timer = 0;
    std::function<void()> poll = [&] {
      changed();
      timer = loop.after(std::chrono::milliseconds(2), poll);
    };
    poll();
    until(condition);
    loop.cancel(timer);
  }
  const cluster::Node& node(int id) { return *monitor->view()->find(NodeId(id)); }
  void asked_again(int id) {
    const int before = probes[id];
    monitor->connection_failed(NodeId(id));
    until([&] { return probes[id] > before; });
    until_polled([&] { return node(id).status == NodeStatus::up; });
  }
  void attach(int id) {
    monitor->request({cluster::Request::attach, NodeId(id)},
                     [](const std::optional<cluster::Refusal>& refusal) { EXPECT_FALSE(refusal) << refusal->text; });
  }
  std::string file() { return read_state_file(folder / "pgpool_status").value().value_or("no file"); }
};

TEST_F(MonitorTest, FindsThePrimaryAndTheDelay) {
  world[0].senders = {{"node1", "streaming", "async", std::nullopt}};
  start();
  until([&] { return node(1).delay_bytes.has_value(); });
  EXPECT_EQ(monitor->view()->primary, NodeId(0));
  EXPECT_EQ(node(1).delay_bytes, 1000u);
  EXPECT_EQ(node(1).replication_state, "streaming");
  EXPECT_EQ(probes[0], 1);
  EXPECT_EQ(probes[1], 1);
  until_polled([&] { return file() == "up\nup\n"; });
}

TEST_F(MonitorTest, ANodeThatIsGoneIsMarkedDownOnceAndComesBackWhenItIsAttached) {
  start();
  until([&] { return node(1).delay_bytes.has_value(); });
  world[1] = gone();
  monitor->connection_failed(NodeId(1));
  until([&] { return node(1).status == NodeStatus::down; });
  EXPECT_EQ(lines.count("=== Starting degeneration. shutdown host /tmp(5433) ==="), 1u);
  EXPECT_EQ(lines.count("connection refused"), 1u);
  until_polled([&] { return file() == "up\ndown\n"; });
  world[1] = standby(5000);
  attach(1);
  until([&] { return node(1).live() && node(1).delay_bytes.has_value(); });
  EXPECT_EQ(lines.count("=== Failback done. reconnect host /tmp(5433) ==="), 1u);
  EXPECT_EQ(node(1).delay_bytes, 0u);
  until_polled([&] { return file() == "up\nup\n"; });
}

TEST_F(MonitorTest, AStormOfHintsCausesFewProbes) {
  start();
  until([&] { return node(1).delay_bytes.has_value(); });
  for (int i = 0; i < 10'000; ++i) monitor->connection_failed(NodeId(1));
  until([&] { return probes[1] == 2; });
  EXPECT_EQ(probes[0], 1);
  EXPECT_TRUE(node(1).live());
}

TEST_F(MonitorTest, ANodeThatHangsDoesNotHoldUpTheOthers) {
  hanging.insert(1);
  start();
  until([&] { return monitor->view()->primary == NodeId(0); });
  EXPECT_TRUE(node(1).live()) << "its own deadline decides, not the others";
}

TEST_F(MonitorTest, AServerThatHasReadItsConfigurationAnewIsNoticed) {
  world[0].configured = "17.5";
  start();
  until_polled([&] { return node(0).status == NodeStatus::up && node(1).status == NodeStatus::up; });
  asked_again(0);
  EXPECT_EQ(reloads, 0) << "the same, and one that does not say";
  world[0].configured = "18.25";
  asked_again(0);
  until_polled([&] { return reloads == 1; });
  world[1].configured = "3.5";
  asked_again(1);
  asked_again(0);
  EXPECT_EQ(reloads, 1) << "it had not been asked before";
  world[0].counting_since = "2026-01-01 00:00:00+00";
  world[1].counting_since = "2026-01-01 00:00:00+00";
  asked_again(0);
  asked_again(1);
  EXPECT_EQ(crashes, 0) << "it had not said before";
  world[0].counting_since = "2026-01-02 00:00:00+00";
  world[1].counting_since = "2026-01-02 00:00:00+00";
  asked_again(1);
  EXPECT_EQ(crashes, 0) << "a standby";
  asked_again(0);
  until_polled([&] { return crashes == 1; });
  world[1].defaults = "d41d8cd9";
  asked_again(1);
  EXPECT_EQ(alterations, 0) << "it had not said before";
  world[1].defaults = "0cc175b9";
  asked_again(1);
  until_polled([&] { return alterations == 1; });
  EXPECT_EQ(reloads, 1);
}

// Of a node by itself: a standby follows later.
TEST_F(MonitorTest, NamesThatMeanSomethingElseAreTold) {
  const auto says = [this](const char* before, const char* all, std::uint32_t newest) {
    world[1].names_before = before;
    world[1].names = all;
    world[1].newest_name = newest;
    asked_again(1);
  };
  start();
  until_polled([&] { return node(0).status == NodeStatus::up && node(1).status == NodeStatus::up; });
  says("of none", "a", 10);
  EXPECT_EQ(renamings, 0) << "it had not said before";
  says("a", "a and b", 20);
  EXPECT_EQ(targets.back().newest_name, 10u);
  EXPECT_EQ(renamings, 0) << "one that is new";
  says("a and b", "a and b", 20);
  says("", "", 0);  // could not be asked
  says("a and b", "a and b", 20);
  EXPECT_EQ(renamings, 0);
  says("b and a", "b and a", 20);
  until_polled([&] { return renamings == 1; });
  says("b and a", "b and a", 20);
  EXPECT_EQ(renamings, 1);
}

TEST_F(MonitorTest, WithoutAPrimaryTheSearchGoesOnEverySecond) {
  world[0] = standby(1);
  start();
  until([&] { return probes[0] >= 3; });
  EXPECT_EQ(lines.count("waiting for finding a primary node"), 1u);
  world[1] = primary(7);
  until([&] { return monitor->view()->primary == NodeId(1); });
}

TEST_F(MonitorTest, WhenThePrimaryIsDownASuccessorIsFoundSoon) {
  start();
  until([&] { return node(1).delay_bytes.has_value(); });
  world = {{0, gone()}, {1, primary(9000)}};
  monitor->connection_failed(NodeId(0));
  until([&] { return monitor->view()->primary == NodeId(1); });
  EXPECT_EQ(node(0).status, NodeStatus::down);
  EXPECT_EQ(lines.count("failover: set new primary node: 1"), 1u);
}

TEST_F(MonitorTest, TheStatusFileHoldsANodeDown) {
  std::ofstream(folder / "pgpool_status") << "up\ndown\n";
  start();
  until([&] { return monitor->view()->primary == NodeId(0); });
  EXPECT_EQ(node(1).status, NodeStatus::down);
  EXPECT_EQ(probes[1], 0);
}

TEST_F(MonitorTest, DiscardRemovesTheFileFirst) {
  std::ofstream(folder / "pgpool_status") << "up\ndown\n";
  start(/*discard=*/true);
  until([&] { return node(1).delay_bytes.has_value(); });
  EXPECT_TRUE(node(1).live());
}

TEST_F(MonitorTest, AFolderThatIsNotThereIsOneWarningAndNoStop) {
  settings.logdir = folder / "missing";
  start();
  until_polled([&] { return lines.count("could not write the status file") == 1; });
  world[1] = gone();
  monitor->connection_failed(NodeId(1));
  until([&] { return node(1).status == NodeStatus::down; });
  world[1] = standby(1);
  attach(1);
  until([&] { return node(1).live(); });
  EXPECT_EQ(lines.count("could not write the status file"), 1u);
}

TEST_F(MonitorTest, ProbesLogInAsTheCheckUserWithTheConfiguredLimits) {
  settings.sr_check_database = "";
  settings.connect_timeout = std::chrono::milliseconds(1500);
  settings.health_check_timeout = std::chrono::seconds(0);
  start();
  until([&] { return targets.size() == 2; });
  EXPECT_EQ(targets[1].user, "check");
  EXPECT_EQ(targets[1].database, "postgres");
  EXPECT_EQ(targets[1].to.host, "/tmp");
  EXPECT_EQ(targets[1].to.port, 5433);
  EXPECT_EQ(targets[1].connect_limit, std::chrono::milliseconds(1500));
  EXPECT_EQ(targets[1].whole_limit, kProbeLimit);
}

TEST_F(MonitorTest, WithoutAUserNodesAreOnlyPinged) {
  settings.sr_check_user = "";
  world = {{0, {}}, {1, {}}};
  start();
  until_polled([&] { return lines.count("waiting for finding a primary node") == 1; });
  EXPECT_TRUE(targets[0].user.empty());
  EXPECT_EQ(monitor->view()->primary, kNoNode);
  EXPECT_EQ(monitor->view()->write_node(), NodeId(0));
}

TEST_F(MonitorTest, AReloadAddsANode) {
  start();
  until([&] { return node(1).delay_bytes.has_value(); });
  settings.backends.push_back({NodeId(2), "/tmp", 5434, 1, "", "", true, false});
  world[2] = standby(4500);
  monitor->reload(std::make_shared<config::Settings>(settings));
  EXPECT_EQ(node(2).status, NodeStatus::down);
  until([&] { return node(2).live() && node(2).delay_bytes.has_value(); });
  EXPECT_EQ(node(2).delay_bytes, 500u);
}

TEST_F(MonitorTest, AProbeThatLogsInMakesANodeUp) {
  start();
  until([&] { return node(1).delay_bytes.has_value(); });
  EXPECT_EQ(node(1).status, NodeStatus::up);
}

TEST_F(MonitorTest, FirstConnectionMakesANodeUp) {
  settings.sr_check_user = "";  // then probes do not log in
  start();
  until([&] { return probes[1] == 1; });
  EXPECT_EQ(node(1).status, NodeStatus::waiting);
  monitor->first_connection(NodeId(1));
  EXPECT_EQ(node(1).status, NodeStatus::up);
}

using Refused = std::optional<cluster::Refusal>;

TEST_F(MonitorTest, TheFirstLookIsOverWhenThePrimaryIsKnown) {
  world = {{0, standby(1)}, {1, primary(2)}};
  start();
  EXPECT_EQ(first_looks, 0);
  until([&] { return first_looks == 1; });
  EXPECT_EQ(monitor->view()->primary, NodeId(1));
  until([&] { return node(0).delay_bytes.has_value(); });
  EXPECT_EQ(first_looks, 1);
}

TEST_F(MonitorTest, TheFirstLookIsOverWhenThereIsNoPrimaryOrANodeHangs) {
  world[0] = gone();
  hanging.insert(1);
  start();
  until([&] { return probes[0] > 1; });
  EXPECT_EQ(first_looks, 0) << "node 1 may be the primary";
  EXPECT_TRUE(node(0).live()) << "… and a script is to know";
  until([&] { return first_looks == 1; });
}

TEST_F(MonitorTest, AGracefulDetachWaitsForTheSessions) {
  start();
  until([&] { return node(1).delay_bytes.has_value(); });
  bool answered = false;
  monitor->detach_gracefully(NodeId(1), [&](const Refused& refusal) { answered = !refusal; });
  EXPECT_TRUE(node(1).live());
  EXPECT_EQ(monitor->busy_with(), "graceful detach");
  Refused second;
  monitor->detach_gracefully(NodeId(0), [&](const Refused& refusal) { second = refusal; });
  gate_empty();
  EXPECT_EQ(node(1).status, NodeStatus::down);
  EXPECT_EQ(gate_opened, 1);
  until_polled([&] { return answered && second; });
  EXPECT_EQ(second->detail, "graceful detach is in progress");
  EXPECT_EQ(monitor->busy_with(), "");
}

TEST_F(MonitorTest, AGracefulDetachThatIsRefusedInTheEndSaysSo) {
  start();
  until([&] { return node(1).delay_bytes.has_value(); });
  Refused refusal;
  monitor->detach_gracefully(NodeId(1), [&](const Refused& r) { refusal = r; });
  world[1] = gone();
  monitor->connection_failed(NodeId(1));
  until([&] { return node(1).status == NodeStatus::down; });
  gate_empty();
  until_polled([&] { return refusal.has_value(); });
  EXPECT_EQ(refusal->text, "invalid degenerate backend request, node id : 1 status: [down] is not valid for failover");
  EXPECT_EQ(gate_opened, 1);
}

TEST_F(MonitorTest, AGracefulDetachGivesUpWhenSessionsStay) {
  settings.recovery_timeout = std::chrono::seconds(0);
  start();
  until([&] { return node(1).delay_bytes.has_value(); });
  bool answered = false;
  monitor->detach_gracefully(NodeId(1), [&](const Refused& refusal) { answered = !refusal; });
  until_polled([&] { return answered; });
  EXPECT_TRUE(node(1).live());
  EXPECT_EQ(gate_opened, 1);
  gate_empty();  // too late
  EXPECT_TRUE(node(1).live());
}

TEST_F(MonitorTest, AGracefulDetachOfANodeThatIsDownIsRefusedAtOnce) {
  start();
  until([&] { return node(1).delay_bytes.has_value(); });
  Refused refusal;
  monitor->detach_gracefully(NodeId(7), [&](const Refused& r) { refusal = r; });
  until_polled([&] { return refusal.has_value(); });
  EXPECT_EQ(refusal->level, Level::error);
  EXPECT_FALSE(gate_empty);
}

TEST_F(MonitorTest, CommandsRunAndTheirFailureIsNamed) {
  settings.failover_command = "echo d=%d m=%m; exit 4";
  start();
  until([&] { return node(1).delay_bytes.has_value(); });
  monitor->request({cluster::Request::detach, NodeId(1)}, [](const Refused& refusal) { EXPECT_FALSE(refusal); });
  until_polled([&] { return lines.count("=== Failover done.") == 1; });
  EXPECT_EQ(lines.count("execute command: echo d=1 m=0; exit 4"), 1u);
  EXPECT_EQ(lines.count("failover_command: d=1 m=0"), 1u);
  EXPECT_EQ(lines.count("failover_command for node 1 failed"), 1u);
  EXPECT_EQ(lines.count("DETAIL: exit code 4."), 1u);
}

// A server that takes connections and never says a word.
class SilentServer {
 public:
  explicit SilentServer(const std::string& path) : fd_(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::strncpy(address.sun_path, path.c_str(), sizeof address.sun_path - 1);
    EXPECT_EQ(::bind(fd_, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
    EXPECT_EQ(::listen(fd_, 16), 0);
  }
  ~SilentServer() { ::close(fd_); }

 private:
  int fd_;
};

TEST_F(MonitorTest, WhoIsToFollowAPrimaryIsLetGoWhenThePrimaryIsLost) {
  const SilentServer zero(folder / ".s.PGSQL.5432"), one(folder / ".s.PGSQL.5433");
  for (config::Backend& backend : settings.backends) backend.hostname = folder;
  settings.failover_method = config::FailoverMethod::builtin;
  std::ofstream(folder / "pgpool_status") << "up\ndown\n";
  start();
  until([&] { return monitor->view()->primary == NodeId(0); });
  Refused refusal;
  const auto ask = [&] {
    refusal.reset();
    monitor->request({cluster::Request::attach, NodeId(1)}, [&](const Refused& r) { refusal = r; });
  };
  ask();
  world[0] = gone();
  monitor->connection_failed(NodeId(0));
  until_polled([&] { return refusal.has_value(); });
  EXPECT_EQ(refusal->text, "node 1 is not attached");
  EXPECT_EQ(refusal->detail, "it was to follow node 0, which is not the primary any more.");
  EXPECT_EQ(node(1).status, NodeStatus::down);
}

TEST_F(MonitorTest, AStandbyTooOldForTheBuiltInFailoverIsNamedOnce) {
  settings.failover_method = config::FailoverMethod::builtin;
  world[1].wal_receiver_timeout = std::chrono::seconds(1);
  world[1].version = "120022";
  world[1].stopped = true;  // it is not pointed anywhere either
  start();
  until([&] { return node(1).delay_bytes.has_value(); });
  monitor->connection_failed(NodeId(1));
  until([&] { return probes[1] >= 2; });
  until_polled([&] { return lines.count("the built-in failover cannot use node 1") == 1; });
  EXPECT_EQ(lines.count("failover_method = builtin needs PostgreSQL 13 or later"), 1u);
  EXPECT_EQ(lines.count("was cut off from its primary"), 0u);
}

TEST_F(MonitorTest, ASwitchoverThatDidNotEndIsTakenUpUntilThereIsAPrimary) {
  settings.failover_method = config::FailoverMethod::builtin;
  const std::string note = folder / "pgpool_unfinished";
  ASSERT_TRUE(write_state_file(note, "switchover  from  0 to 1\n", Durable::yes));
  world = {{0, standby(5000)}, {1, standby(5000)}};
  start(/*discard=*/true);  // -D is about the status file only
  EXPECT_EQ(node(0).status, NodeStatus::down);
  EXPECT_EQ(monitor->view()->primary, NodeId(0));
  EXPECT_TRUE(monitor->view()->primary_awaited);
  until([&] { return probes[1] > 0; });
  // It is noted anew, and the next proxy must know as much as this one.
  until_polled(
      [&] { return read_state_file(note).value().value_or("").starts_with("switchover from 0 to 1\nnoted "); });
  world[1] = primary(5100);  // somebody promoted it by hand
  monitor->connection_failed(NodeId(1));
  until_polled([&] { return monitor->view()->primary == NodeId(1) && !std::filesystem::exists(note); });
  EXPECT_EQ(lines.count("a switchover from node 0 to node 1 did not end"), 1u);
  EXPECT_EQ(node(0).status, NodeStatus::down);
}

// The names of a primary that was asked are in the note, and stay there when the next proxy dies too.
TEST_F(MonitorTest, TheNoteKeepsTheLastWordsOfThePrimary) {
  settings.failover_method = config::FailoverMethod::builtin;
  const std::string note = folder / "pgpool_unfinished";
  const std::string words =
      "failover from 0\nsynchronous_standby_names ANY 1 (\"node1\")\nposition 5000\ntimeline 3\nnoted ";
  world[0].sync_names = "node1";
  world[0].timeline = 3;
  start();
  until([&] { return monitor->view()->primary == NodeId(0) && probes[1] > 0; });
  world = {{0, gone()}, {1, standby(4000)}};
  monitor->connection_failed(NodeId(0));
  until_polled([&] { return read_state_file(note).value_or("").value_or("").starts_with(words); });
  const std::string before = read_state_file(note).value().value();
  start();
  until_polled([&] { return lines.count("a failover of node 0 did not end") == 1; });
  until_polled([&] { return read_state_file(note).value().value().starts_with(words); });
  // Too old: what was done meanwhile is not known.
  ASSERT_TRUE(write_state_file(note, words + "1000\n"));
  Hooks hooks;
  hooks.publish = [](const cluster::ViewPtr&) {};
  hooks.probe = [this](const ProbeTarget&, ProbeDone done) {
    return std::make_unique<FakeProbe>(loop, std::move(done), nullptr);
  };
  monitor = std::make_unique<Monitor>(ProbeMeans{loop, blocking, scratch}, log, std::move(hooks));
  start();
  until_polled([&] { return read_state_file(note).value().value().starts_with("failover from 0\nnoted 1"); });
}

// It may die before it is probed.
TEST_F(MonitorTest, WhatAPrimarySaysThatWasAskedInAFailoverIsKnown) {
  settings.failover_method = config::FailoverMethod::builtin;
  const std::string note = folder / "pgpool_unfinished";
  start();
  until([&] { return monitor->view()->primary == NodeId(0) && probes[1] > 0; });
  world[0] = gone();
  world[1].outcome = Outcome::not_ready;
  world[1].in_recovery.reset();
  when_asked[1] = primary(6000);
  when_asked[1].sync_names = "node0";
  when_asked[1].timeline = 2;
  monitor->connection_failed(NodeId(0));
  until([&] { return monitor->view()->primary == NodeId(1); });
  world[1] = gone();
  monitor->connection_failed(NodeId(1));
  until_polled([&] { return read_state_file(note).value_or("").value_or("").starts_with("failover from 1\n"); });
  const std::string words = "failover from 1\nsynchronous_standby_names ANY 1 (\"node0\")\nposition 6000\ntimeline 2\n";
  EXPECT_TRUE(read_state_file(note).value().value().starts_with(words)) << read_state_file(note).value().value();
}

// The one primary is found and the next one lost in the same turn: what was demanded while the promotion was open.
TEST_F(MonitorTest, TheNoteNamesThePrimaryThatIsLostNow) {
  settings.failover_method = config::FailoverMethod::builtin;
  for (config::Backend& backend : settings.backends) backend.hostname = folder;
  const std::string note = folder / "pgpool_unfinished";
  const auto noted = [&](const char* words) {
    return read_state_file(note).value_or("").value_or("").starts_with(words);
  };
  start();
  until([&] { return monitor->view()->primary == NodeId(0) && probes[1] > 0; });
  unsettled.emplace();
  world = {{0, gone()}, {1, standby(4000)}};
  monitor->connection_failed(NodeId(0));
  until_polled([&] { return *unsettled && noted("failover from 0\n"); });
  world[1] = primary(6000);  // somebody else has promoted it
  monitor->connection_failed(NodeId(1));
  until([&] { return monitor->view()->primary == NodeId(1); });
  world[1] = gone();
  const int before = probes[1];
  monitor->connection_failed(NodeId(1));
  until([&] { return probes[1] > before; });
  monitor->connection_failed(NodeId(1));
  until([&] { return probes[1] > before + 1; });  // so the first has ended
  EXPECT_TRUE(node(1).live()) << "the promotion is open";
  std::exchange(unsettled, std::nullopt).value()();
  until_polled([&] { return noted("failover from 1\n"); });
  EXPECT_EQ(node(1).status, NodeStatus::down);
}

TEST_F(MonitorTest, ANoteThatIsNotUnderstoodOrNotForUsIsLeftAlone) {
  const std::string note = folder / "pgpool_unfinished";
  for (const char* text : {"switchover from 0 to 1\n", "what?\n"}) {  // failover_method is command
    ASSERT_TRUE(write_state_file(note, text));
    start();
    until([&] { return monitor->view()->primary == NodeId(0); });
    EXPECT_EQ(read_state_file(note).value(), text);
    EXPECT_EQ(node(0).status, NodeStatus::up);
  }
  EXPECT_EQ(lines.count("It is not taken up"), 1u);
  EXPECT_EQ(lines.count("is not understood"), 1u);
}

TEST_F(MonitorTest, DestroyedWhileProbesRunItIsSilent) {
  hanging = {0, 1};
  start();
  until([&] { return probes[1] == 1; });
  monitor.reset();
  loop.defer([this] { loop.stop(); });
  loop.run();
}

TEST_F(MonitorTest, WhatWasDecidedLastIsInTheStatusFileWhenItEnds) {
  std::ofstream(folder / "pgpool_status") << "up\ndown\n";
  start();
  until([&] { return monitor->view()->primary == NodeId(0); });
  monitor->request({cluster::Request::attach, NodeId(1)}, [](const auto& refusal) { EXPECT_FALSE(refusal); });
  monitor->request({cluster::Request::detach, NodeId(0)}, [](const auto& refusal) { EXPECT_FALSE(refusal); });
  monitor.reset();
  EXPECT_EQ(file(), "down\nup\n");
}

TEST(Outcomes, WhatErrorsSayAboutANode) {
  using backend::Errc;
  EXPECT_EQ(outcome_of({Errc::connect_failed, "connection refused"}), Outcome::unreachable);
  EXPECT_EQ(outcome_of({Errc::nobody_listens, "connection refused"}), Outcome::unreachable);
  EXPECT_EQ(outcome_of({Errc::timed_out, ""}), Outcome::unreachable);
  EXPECT_EQ(outcome_of({Errc::closed_by_server, ""}), Outcome::unreachable);
  EXPECT_EQ(outcome_of({Errc::protocol_broken, ""}), Outcome::unreachable);
  EXPECT_EQ(outcome_of({Errc::name_not_found, "db1: Name or service not known"}), Outcome::unreachable);
  EXPECT_EQ(outcome_of({Errc::not_looked_up, "db1:5432"}), Outcome::not_ready) << "trouble of ours, not of the server";
  EXPECT_EQ(outcome_of({Errc::login_refused, "the database system is starting up"}), Outcome::not_ready);
  EXPECT_EQ(outcome_of({Errc::login_failed, "password authentication failed"}), Outcome::refused);
  EXPECT_EQ(outcome_of({Errc::query_failed, "permission denied"}), Outcome::refused);
  EXPECT_EQ(outcome_of({Errc::own_shortage, "db1:5432: Too many open files"}), Outcome::not_ready)
      << "our own shortage must not take the herd down";
}

}  // namespace
}  // namespace herdgate::monitor
