// Health checks with probes that answer as the test says, on a real loop. Every wait ends with an event.
#include "monitor/health_check.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <set>

#include "base/testing.h"

namespace herdgate::monitor {
namespace {

using cluster::Outcome;

class FakeProbe final : public Probing {
 public:
  FakeProbe(net::Loop& loop, ProbeDone done, std::optional<Answer> answer) {
    if (!answer) return;
    loop.defer([alive = alive_, done = std::move(done), answer = *answer] {
      if (*alive) done(answer);
    });
  }
  ~FakeProbe() override { *alive_ = false; }

 private:
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

struct HealthTest : ::testing::Test {
  SystemClock clock;
  net::Loop loop{clock};
  LogLines lines;
  Log log{lines};
  config::Settings settings;
  std::map<int, std::deque<Outcome>> answers;  // the last one stays
  std::set<int> hanging, unwanted;
  std::vector<ProbeTarget> targets;
  std::vector<cluster::HealthChecked> ended;
  std::function<bool()> enough = [] { return false; };
  std::unique_ptr<HealthChecks> checks;

  void SetUp() override {
    settings.health_check_period = std::chrono::seconds(1);
    settings.health_check_retry_delay = std::chrono::seconds(0);
    settings.health_check_user = "checker";
    for (int id = 0; id < 2; ++id) settings.backends.push_back({NodeId(id), "/tmp", 5432 + id});
    answers = {{0, {Outcome::healthy}}, {1, {Outcome::healthy}}};
  }
  std::optional<Answer> answer_of(int id) {
    if (hanging.count(id)) return std::nullopt;
    Answer answer;
    answer.outcome = answers[id].front();
    if (answers[id].size() > 1) answers[id].pop_front();
    if (answer.outcome == Outcome::unreachable) answer.text = "could not connect: timed out";
    return answer;
  }
  void look() {
    if (enough()) loop.stop();
  }
  void until(std::function<bool()> condition) {
    enough = std::move(condition);
    bool late = false;
    const net::TimerId guard = loop.after(std::chrono::seconds(20), [&] {
      late = true;
      loop.stop();
    });
    loop.defer([this] { look(); });
    loop.run();
    loop.cancel(guard);
    ASSERT_FALSE(late) << lines.text;
  }
  void start() {
    HealthChecks::Hooks hooks;
    hooks.probe = [this](const ProbeTarget& target, ProbeDone done) -> std::unique_ptr<Probing> {
      targets.push_back(target);
      return std::make_unique<FakeProbe>(loop, std::move(done), answer_of(target.node.value));
    };
    hooks.wanted = [this](NodeId id) { return unwanted.count(id.value) == 0; };
    hooks.ended = [this](const cluster::HealthChecked& event) {
      ended.push_back(event);
      look();
    };
    hooks.counted = [this](const report::HealthByNode&) { loop.defer([this] { look(); }); };
    checks = std::make_unique<HealthChecks>(loop, log, std::move(hooks));
    checks->configure(std::make_shared<config::Settings>(settings));
  }
  const report::HealthFigures& figures(int id) { return checks->figures().at(NodeId(id)); }
};

TEST_F(HealthTest, EveryNodeIsCheckedWithItsOwnValues) {
  settings.own_health_checks[1].health_check_user = "other";
  settings.own_health_checks[1].health_check_timeout = std::chrono::seconds(3);
  settings.own_health_checks[1].connect_timeout = std::chrono::milliseconds(700);
  settings.own_health_checks[1].health_check_database = "app";
  start();
  until([&] { return ended.size() == 2; });
  EXPECT_EQ(targets[0].user, "checker");
  EXPECT_EQ(targets[0].database, "postgres");
  EXPECT_EQ(targets[0].whole_limit, std::chrono::seconds(20));
  EXPECT_EQ(targets[1].user, "other");
  EXPECT_EQ(targets[1].database, "app");
  EXPECT_EQ(targets[1].whole_limit, std::chrono::seconds(3));
  EXPECT_EQ(targets[1].connect_limit, std::chrono::milliseconds(700));
  EXPECT_EQ(figures(0).success, 1u);
  EXPECT_TRUE(figures(0).last_success.has_value());
}

TEST_F(HealthTest, APeriodOfZeroChecksNothing) {
  settings.own_health_checks[1].health_check_period = std::chrono::seconds(0);
  start();
  until([&] { return figures(0).total == 2; });
  EXPECT_EQ(checks->figures().count(NodeId(1)), 0u);
}

TEST_F(HealthTest, AHangingNodeDelaysNone) {
  hanging.insert(0);
  start();
  until([&] { return figures(1).total == 2; });
  EXPECT_EQ(figures(0).total, 0u);
}

TEST_F(HealthTest, RetriesComeBeforeTheVerdict) {
  settings.health_check_max_retries = 2;
  settings.health_check_retry_delay = std::chrono::seconds(1);
  settings.own_health_checks[0].health_check_retry_delay = std::chrono::seconds(0);
  answers[0] = {Outcome::unreachable, Outcome::unreachable, Outcome::unreachable, Outcome::healthy};
  answers[1] = {Outcome::unreachable, Outcome::healthy};
  start();
  until([&] { return ended.size() == 2; });
  EXPECT_EQ(ended[0].node, NodeId(0));
  EXPECT_EQ(ended[0].outcome, Outcome::unreachable);
  EXPECT_EQ(ended[1].node, NodeId(1));
  EXPECT_EQ(ended[1].outcome, Outcome::healthy);
  EXPECT_NE(lines.text.find("health check failed on node 0 (timeout:1)"), std::string::npos);
  EXPECT_NE(lines.text.find("health check retrying on DB node: 0 (round:2)"), std::string::npos);
  EXPECT_NE(lines.text.find("health check retrying on DB node: 1 succeeded"), std::string::npos);
  EXPECT_EQ(figures(0).fail, 1u);
  EXPECT_EQ(figures(0).max_retries, 2u);
  EXPECT_EQ(figures(1).retries, 1u);
  EXPECT_GE(figures(1).max_duration, std::chrono::milliseconds(900)) << "the pause belongs to the check";
}

TEST_F(HealthTest, AServerThatRefusesIsAlive) {
  answers[0] = {Outcome::refused};
  answers[1] = {Outcome::not_ready};
  start();
  until([&] { return ended.size() == 2; });
  EXPECT_EQ(figures(0).fail + figures(1).fail, 0u);
}

TEST_F(HealthTest, NodesThatAreDownAreSkipped) {
  unwanted.insert(1);
  start();
  until([&] { return figures(1).skip == 2; });
  EXPECT_EQ(figures(1).total, 2u);
  EXPECT_EQ(figures(1).success, 0u);
  unwanted.clear();
  until([&] { return figures(1).success == 1; });
}

TEST_F(HealthTest, AReloadTakesNodesInAndOut) {
  start();
  until([&] { return ended.size() == 2; });
  settings.backends.pop_back();
  settings.backends.push_back({NodeId(3), "/tmp", 5435});
  answers[3] = {Outcome::healthy};
  checks->configure(std::make_shared<config::Settings>(settings));
  until([&] { return figures(3).success == 1; });
  EXPECT_EQ(checks->figures().count(NodeId(1)), 0u);
}

TEST_F(HealthTest, ReloadsMoreOftenThanThePeriodDoNotPutItOff) {
  start();
  until([&] { return ended.size() == 2; });
  net::TimerId timer = 0;
  const std::function<void()> reload = [&] {
    checks->configure(std::make_shared<config::Settings>(settings));
    timer = loop.after(std::chrono::milliseconds(200), reload);
  };
  reload();
  until([&] { return figures(0).total == 2; });
  loop.cancel(timer);
}

TEST_F(HealthTest, AReloadWithAShorterPeriodCountsAtOnceAndALongerOneAfterTheNextCheck) {
  settings.own_health_checks[0].health_check_period = std::chrono::hours(1);
  start();
  until([&] { return ended.size() == 2; });
  settings.own_health_checks[0].health_check_period = std::chrono::seconds(1);
  settings.own_health_checks[1].health_check_period = std::chrono::hours(1);
  checks->configure(std::make_shared<config::Settings>(settings));
  until([&] { return figures(0).total == 3; });
  EXPECT_EQ(figures(1).total, 2u);
}

TEST_F(HealthTest, TheTestFileMakesANodeFailOnce) {
  std::string name = std::filesystem::temp_directory_path() / "herdgate_XXXXXX";
  ASSERT_NE(::mkdtemp(name.data()), nullptr);
  settings.logdir = name;
  settings.health_check_test = true;
  std::ofstream(name + "/backend_down_request") << "0\tup\n1\tdown\n";
  start();
  until([&] { return figures(1).fail == 1 && figures(1).success == 1; });
  EXPECT_EQ(figures(0).fail, 0u);
  std::ifstream in(name + "/backend_down_request");
  const std::string text((std::istreambuf_iterator<char>(in)), {});
  EXPECT_EQ(text, "0\tup\n1\talready_down\n");
  std::filesystem::remove_all(name);
}

}  // namespace
}  // namespace herdgate::monitor
