// The rows of PGPOOL EXPLAIN ROUTE, on the statements and answers of the golden scenarios.
#include "route/explain.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "route/golden_case.h"

namespace herdgate::route {
namespace {

using ::testing::ElementsAre;

std::string rows_of(const golden::Scenario& s, std::string_view text) {
  const sql::Facts facts = sql::parse_facts(text, {});
  const sql::Answers answers = s.answer(questions(facts, s.state, s.settings));
  const Plan plan = s.decide(text);
  std::string out;
  for (const ExplainRow& row :
       explain_route({.facts = facts, .plan = plan, .answers = answers, .view = s.view, .settings = s.settings}))
    out += row.item + "|" + row.value + "\n";
  return out;
}

TEST(ExplainRoute, ABalancedRead) {
  const golden::Scenario s;
  EXPECT_EQ(rows_of(s, "SELECT abs(a) FROM public.t1"),
            "statement|select\n"
            "class|either\n"
            "node|1 (n1:5432, standby)\n"
            "rule|load_balance\n"
            "reason|The statement only reads and is balanced.\n"
            "effects|may be run again elsewhere\n"
            "relation|public.t1: table\n"
            "function|abs: immutable, built in\n");
}

TEST(ExplainRoute, TheNodeForReads) {
  golden::Scenario s;
  const sql::Facts facts = sql::parse_facts("SELECT 1", {});
  const Plan plan = s.decide("SELECT 1");
  const NodeId standby(1);
  LbChoice choice{standby, Rule::load_balance, {}};
  const auto rows = [&] {
    std::string out;
    for (const ExplainRow& row : explain_route({.facts = facts,
                                 .plan = plan,
                                 .answers = {},
                                 .view = s.view,
                                 .settings = s.settings,
                                 .lb_node = standby,
                                 .lb_choice = &choice})) {
      if (row.item == "node for reads" || row.item == "chosen by" || row.item == "its delay")
        out += row.item + "|" + row.value + "\n";
    }
    return out;
  };
  for (cluster::Node& node : s.view.nodes) node.delay_bytes = 4096, node.real_role = cluster::Role::standby;
  EXPECT_EQ(rows(), "node for reads|1 (n1:5432, standby)\nchosen by|weights\nits delay|4096 bytes\n");
  s.settings.delay_threshold = 100;
  choice = {standby, Rule::redirect, "user_redirect_preference_list me:1"};
  EXPECT_EQ(rows(),
            "node for reads|1 (n1:5432, standby)\nchosen by|user_redirect_preference_list me:1\n"
            "its delay|4096 bytes, more than the threshold\n");
  choice.node = NodeId(2);  // another draw: it does not tell how node 1 was chosen
  EXPECT_EQ(rows(), "node for reads|1 (n1:5432, standby)\nits delay|4096 bytes, more than the threshold\n");
}

TEST(ExplainRoute, WhereAllAreStandbysAWriteWaits) {
  golden::Scenario s;
  s.view.primary = kNoNode;
  s.view.primary_awaited = true;
  for (cluster::Node& node : s.view.nodes) node.real_role = cluster::Role::standby;
  const std::string write = rows_of(s, "INSERT INTO t1 VALUES (1)");
  EXPECT_NE(write.find("node|0 (n0:5432, standby)\nwaits for|a primary\n"), std::string::npos) << write;
  const std::string read = rows_of(s, "SELECT 1");
  EXPECT_EQ(read.find("waits for"), std::string::npos) << read;
}

TEST(ExplainRoute, AWritingFunction) {
  golden::Scenario s;
  s.read("function fill: volatile user");
  s.read("relation v: view below=t1,t2 below_unlogged row_security");
  EXPECT_EQ(rows_of(s, "SELECT my.fill(1) FROM v"),
            "statement|select\n"
            "class|either\n"
            "node|0 (n0:5432, primary)\n"
            "rule|unlogged_table\n"
            "reason|An unlogged table is used (check_unlogged_table).\n"
            "detail|relation v\n"
            "effects|counts as a write, may leave unknown state on the connection\n"
            "relation|v: view over public.t1, public.t2; an unlogged table is below, row security\n"
            "function|my.fill: volatile, user-defined\n");
}

TEST(ExplainRoute, AWriteAndItsText) {
  const golden::Scenario s;
  EXPECT_EQ(rows_of(s, "SELECT 1; INSERT INTO t1 VALUES (now())"),
            "statement|select, insert\n"
            "class|primary\n"
            "node|0 (n0:5432, primary)\n"
            "rule|multi_statement\n"
            "reason|The text has several statements that do not all just read.\n"
            "effects|counts as a write, may leave unknown state on the connection\n"
            "relation|t1: not looked up\n"
            "function|now: not looked up\n");
}

TEST(ExplainRoute, UnparsableTextSaysWhy) {
  const golden::Scenario s;
  const std::string rows = rows_of(s, "SELEC 1");
  EXPECT_NE(rows.find("rule|unparsable\n"), std::string::npos) << rows;
  EXPECT_NE(rows.find("parse error|syntax error"), std::string::npos) << rows;
}

TEST(ExplainRoute, NodesThatAreNotThere) {
  golden::Scenario s;
  s.read("view: 0 primary down; 1 standby");
  EXPECT_NE(rows_of(s, "DELETE FROM t1").find("node|0 (n0:5432, primary, not live)\n"), std::string::npos);
  s.read("view: 0 down; 1 down");
  EXPECT_NE(rows_of(s, "SELECT 1").find("node|none\n"), std::string::npos);
}

}  // namespace
}  // namespace herdgate::route
