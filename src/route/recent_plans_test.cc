#include "route/recent_plans.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <random>
#include <set>

#include "route/golden_case.h"

namespace herdgate::route {
namespace {
using golden::Scenario;

// All statements of the golden files, and the names that mean something in them.
struct Golden {
  std::set<std::string> statements, names;
};

Golden read_golden() {
  Golden all;
  for (const auto& entry : std::filesystem::directory_iterator(HG_SOURCE_DIR "/src/route/golden")) {
    std::ifstream in(entry.path());
    for (std::string line; std::getline(in, line);) {
      const auto arrow = line.rfind(" => ");
      if (arrow != std::string::npos) {
        all.statements.insert(line.substr(0, arrow));
      } else if (line.starts_with("relation ") || line.starts_with("function ") || line.starts_with("prepare ")) {
        all.names.insert(line);
      }
    }
  }
  return all;
}

// Everything that a session can be while the settings and the view stay as they are.
constexpr const char* kStates[] = {"state: lb=1",
                                   "state: lb=0",
                                   "state: lb=2",
                                   "state: lb=7",
                                   "state: lb=1 session_wrote",
                                   "state: lb=1 wrote tx=open",
                                   "state: lb=1 tx=open",
                                   "state: lb=1 tx=failed",
                                   "state: lb=1 wrote",
                                   "state: lb=1 tx=open isolation=serializable",
                                   "state: lb=1 tx=open isolation=repeatable_read",
                                   "state: lb=1 tx=open read_only",
                                   "state: lb=1 tx=open default_isolation=serializable",
                                   "state: lb=1 tx=open default_read_only",
                                   "state: lb=1 tx=open default_read_only read_write",
                                   "state: lb=1 tx=open overflow",
                                   "state: lb=1 tx=open wrote session_wrote",
                                   "state: lb=1 tx=open block",
                                   "state: lb=1 tx=open snapshot_shared",
                                   "state: lb=1 tx=open isolation=repeatable_read tx_node=2",
                                   "state: lb=1 tx_node=2",
                                   "state: lb=1 default_isolation=serializable",
                                   "state: lb=1 default_isolation=repeatable_read",
                                   "state: lb=1 default_read_only",
                                   "state: lb=1 pins=1 temp=t",
                                   "state: lb=1 pins=2",
                                   "state: lb=1 temp=accounts,t",
                                   "state: lb=1 written=t,accounts tx=open"};
constexpr const char* kInputs[] = {"input:", "input: comments", "input: cut_unit", "input: draw=0.9 draw2=0.9"};
constexpr const char* kSettings[] = {"settings: load_balance_mode = on",
                                     "settings: disable_load_balance_on_write = 'always'",
                                     "settings: disable_load_balance_on_write = 'dml_adaptive'",
                                     "settings: disable_load_balance_on_write = 'trans_transaction'",
                                     "settings: statement_level_load_balance = on",
                                     "settings: prefer_lower_delay_standby = on",
                                     "settings: primary_routing_query_pattern_list = '.*[0-9].*'",
                                     "settings: write_function_list = 'f,nextval'",
                                     "settings: check_temp_table = trace",
                                     "settings: pool_mode = transaction",
                                     "settings: backend_clustering_mode = 'raw'"};

std::string seen(const Plan& plan) {
  return fmt::format("{} {} {}{}{}{}{} {}", plan.node.value, rule_name(plan.rule), plan.write, plan.both, plan.opaque,
                     plan.unseen, plan.rerunnable, plan.detail);
}

// Which way chose the node for reads is told by decide() alone, and it changes nothing.
Plan without_choice(Plan plan) {
  if (plan.rule == Rule::redirect) plan.rule = Rule::load_balance;
  if (plan.rule == Rule::load_balance) plan.detail.clear();
  return plan;
}

// Whatever was planned before, in whichever state: what is recalled is what decide() says now.
TEST(RecentPlans, SayWhatDecideSays) {
  const Golden golden = read_golden();
  ASSERT_GT(golden.statements.size(), 200u);
  sql::FactsCache cache(100'000, 1 << 30);
  std::vector<std::pair<std::string, std::shared_ptr<const sql::Facts>>> statements;
  for (const std::string& text : golden.statements) statements.emplace_back(text, cache.facts(text, {}));
  std::mt19937 random(20261127);
  for (const char* setting : kSettings) {
    Scenario scenario;
    scenario.read("view: 0 primary; 1 standby delay=100 ms=5; 2 standby; 3 standby down");
    scenario.read(setting);
    for (const std::string& name : golden.names) scenario.read(name);
    RecentPlans recent;
    for (int round = 0; round < 60; ++round) {
      scenario.read(kStates[random() % std::size(kStates)]);
      scenario.read(kInputs[random() % std::size(kInputs)]);
      for (int i = 0; i < 100; ++i) {
        const auto& [text, facts] = statements[random() % statements.size()];
        const Plan expected = without_choice(scenario.decide(text));
        ASSERT_EQ(seen(without_choice(scenario.recall(text, *facts, recent))), seen(expected)) << setting << "\n"
                                                                                               << text;
      }
    }
  }
}

struct Plain {
  sql::FactsCache cache{10};
  std::shared_ptr<const sql::Facts> facts = cache.facts("select * from t", {});
  Scenario scenario;
  sql::Answers answers;
  Plain() {
    scenario.read("view: 0 primary; 1 standby");
    scenario.read("state: lb=1");
  }
  Input input() const {
    return {.facts = *facts,
            .state = scenario.state,
            .answers = answers,
            .view = scenario.view,
            .settings = scenario.settings,
            .database = "shop"};
  }
};

constexpr TimePoint kNow{std::chrono::seconds(100)};

TEST(RecentPlans, KnowWhatWasKeptUntilItsTime) {
  const Plain plain;
  const Input in = plain.input();
  const Asked asked{in, "alice", "public", 3};
  RecentPlans recent;
  EXPECT_EQ(recent.find(asked, kNow), nullptr);
  const sql::Answers answers{.relations = {{.exists = true}}, .functions = {}};
  recent.keep(asked, {Plan{.node = NodeId{1}}, answers}, kNow + std::chrono::seconds(1));
  ASSERT_NE(recent.find(asked, kNow), nullptr);
  EXPECT_EQ(recent.find(asked, kNow)->plan.node, NodeId{1});
  EXPECT_EQ(recent.find(asked, kNow)->answers.relations.size(), 1u);
  EXPECT_EQ(recent.find(asked, kNow + std::chrono::seconds(1)), nullptr);
  recent.clear();
  EXPECT_EQ(recent.find(asked, kNow), nullptr);
}

TEST(RecentPlans, ForWhomTheCatalogAnswersCounts) {
  const Plain plain;
  const Input in = plain.input();
  RecentPlans recent;
  recent.keep(Asked{in, "alice", "public", 3}, {Plan{.node = NodeId{1}}, {}}, TimePoint::max());
  EXPECT_EQ(recent.find(Asked{in, "bob", "public", 3}, kNow), nullptr);
  EXPECT_EQ(recent.find(Asked{in, "alice", "", 3}, kNow), nullptr);
  EXPECT_EQ(recent.find(Asked{in, "alice", "public", 4}, kNow), nullptr);
  Input elsewhere = plain.input();
  elsewhere.database = "shed";
  EXPECT_EQ(recent.find(Asked{elsewhere, "alice", "public", 3}, kNow), nullptr);
  EXPECT_NE(recent.find(Asked{in, "alice", "public", 3}, kNow), nullptr);
}

}  // namespace
}  // namespace herdgate::route
