// decide() and questions() on hand-made facts: what the golden files cannot say in SQL.
#include <gtest/gtest.h>

#include <cstdlib>
#include <new>

#include "route/route.h"

namespace {
std::size_t allocations = 0;  // of this test program, one thread
}
#if defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define HG_OWN_OPERATORS  // its runtime brings them: there nothing is counted
#endif
#endif
#ifndef HG_OWN_OPERATORS
// Not inlined: the compiler would see malloc and free through only one of them.
[[gnu::noinline]] void* operator new(std::size_t size) {
  ++allocations;
  if (void* p = std::malloc(size)) return p;
  throw std::bad_alloc();
}
[[gnu::noinline]] void operator delete(void* p) noexcept { std::free(p); }
[[gnu::noinline]] void operator delete(void* p, std::size_t) noexcept { std::free(p); }
#endif

namespace herdgate::route {
namespace {

sql::Statement statement(sql::Kind kind) {
  sql::Statement s;
  s.kind = kind;
  return s;
}

sql::Facts facts_of(sql::Statement s, char first = 's') {
  sql::Facts f;
  f.statements.push_back(std::move(s));
  f.first_char = f.first_nonblank = first;
  return f;
}

sql::Facts select_from(std::vector<sql::Relation> relations, std::vector<sql::Function> functions = {}) {
  sql::Statement s = statement(sql::Kind::select);
  s.relations = std::move(relations);
  s.functions = std::move(functions);
  return facts_of(std::move(s));
}

cluster::View three_nodes() {
  cluster::View v;
  for (int i = 0; i < 3; ++i)
    v.nodes.push_back({.id = NodeId{i}, .host = "h", .port = 5432, .weight = 1, .status = cluster::NodeStatus::up});
  v.primary = NodeId{0};
  return v;
}

struct Scene {
  sql::Facts facts;
  vsession::SessionState state;
  sql::Answers answers;
  cluster::View view = three_nodes();
  config::Settings settings;
  Scene() { state.lb_node = NodeId{1}; }
  Plan plan(const sql::Statement* prepared = nullptr) const {
    return decide(
        {.facts = facts, .state = state, .answers = answers, .view = view, .settings = settings, .prepared = prepared});
  }
  sql::Questions asked(const sql::Statement* prepared = nullptr) const {
    return questions(facts, state, settings, prepared);
  }
};

TEST(Decide, AllocatesNothingForAPlainSelect) {
  Scene x;
  x.facts = select_from({{"", "pgbench_accounts"}, {"public", "pgbench_branches"}}, {{"", "abs"}});
  x.answers.relations.assign(2, {.exists = true});
  x.answers.functions.assign(1, {.exists = true});
  const std::size_t before = allocations;
  const Plan plan = x.plan();
  EXPECT_EQ(allocations, before);
  EXPECT_EQ(plan.rule, Rule::load_balance);
  EXPECT_EQ(plan.node, NodeId{1});
  EXPECT_TRUE(plan.rerunnable);
}

TEST(Decide, AllocatesNothingForAPlainWrite) {
  Scene x;
  x.facts = facts_of(statement(sql::Kind::insert), 'i');
  const std::size_t before = allocations;
  const Plan plan = x.plan();
  EXPECT_EQ(allocations, before);
  EXPECT_EQ(plan.rule, Rule::class_primary);
}

// A catalog that could not be asked must never send a read to a standby.
TEST(Decide, MissingAnswersCountAsTheWorst) {
  Scene x;
  x.facts = select_from({{"", "t"}});
  EXPECT_EQ(x.plan().rule, Rule::system_catalog);
  EXPECT_EQ(x.plan().detail, "relation t is not known");
  EXPECT_FALSE(x.plan().rerunnable);
  x.facts = select_from({}, {{"s", "f"}});
  EXPECT_EQ(x.plan().rule, Rule::writing_function);
  EXPECT_EQ(x.plan().detail, "function s.f is not known");
  EXPECT_TRUE(x.plan().write);
  EXPECT_TRUE(x.plan().opaque);
}

// Where links are shared, DDL that may run what it does not name, or that names what may set something, has them reset.
TEST(Decide, WhatDdlCallsMayLeaveSomethingOnASharedLink) {
  Scene x;
  x.facts = facts_of(statement(sql::Kind::ddl), 'a');
  sql::Statement& ddl = x.facts.statements.front();
  ddl.ddl_tag = "ALTER TABLE";
  EXPECT_FALSE(x.plan().opaque || x.plan().unseen);
  x.settings.pool_mode = config::PoolMode::transaction;
  EXPECT_TRUE(x.plan().opaque && x.plan().unseen);
  ddl.ddl_tag = "CREATE TABLE";
  EXPECT_FALSE(x.plan().opaque);
  x.answers.functions.assign(1, {.exists = true, .is_volatile = true});
  for (const auto& [name, leaves] : {std::pair{"set_config", true}, std::pair{"nextval", false}}) {
    ddl.functions = {{"", name}};
    EXPECT_EQ(x.plan().opaque, leaves) << name;
  }
}

TEST(Decide, AnswersBelongToTheStatementsInOrder) {
  Scene x;
  x.facts = select_from({{"", "a"}, {"", "b"}});
  x.facts.statements.push_back(statement(sql::Kind::select));
  x.facts.statements.back().relations = {{"", "c"}};
  EXPECT_EQ(x.asked().relations, (std::vector<sql::Relation>{{"", "a"}, {"", "b"}, {"", "c"}}));
  x.answers.relations.assign(3, {.exists = true});
  EXPECT_EQ(x.plan().node, NodeId{1});
  x.answers.relations[2].unlogged = true;
  EXPECT_EQ(x.plan().rule, Rule::unlogged_table);
  EXPECT_EQ(x.plan().detail, "relation c");
}

TEST(Decide, ExecuteIsJudgedByThePreparedStatement) {
  Scene x;
  x.facts = facts_of(statement(sql::Kind::execute), 'e');
  sql::Statement prepare = statement(sql::Kind::prepare);
  prepare.inner = std::make_unique<sql::Statement>(statement(sql::Kind::select));
  prepare.inner->relations = {{"", "t"}};
  prepare.relations = prepare.inner->relations;
  // Given as PREPARE or as the statement inside it, the questions are the same.
  EXPECT_EQ(x.asked(&prepare).relations.size(), 1U);
  EXPECT_EQ(x.asked(prepare.inner.get()).relations.size(), 1U);
  EXPECT_TRUE(x.asked().empty());
  x.answers.relations.assign(1, {.exists = true});
  EXPECT_EQ(x.plan(&prepare).node, NodeId{1});
  EXPECT_EQ(x.plan(prepare.inner.get()).rule, Rule::follows_prepare);
  x.answers.relations[0].temporary = true;
  EXPECT_EQ(x.plan(&prepare).node, NodeId{0});
  EXPECT_EQ(x.plan(&prepare).detail, "temporary_table: relation t");
}

TEST(Decide, ChoosesForItselfWhenTheSessionsNodeIsGone) {
  Scene x;
  x.facts = select_from({});
  x.view.nodes[1].status = cluster::NodeStatus::down;
  const auto at = [&](double draw2) {
    return decide({.facts = x.facts,
                   .state = x.state,
                   .answers = x.answers,
                   .view = x.view,
                   .settings = x.settings,
                   .draw2 = draw2})
        .node;
  };
  EXPECT_EQ(at(0.4), NodeId{0});
  EXPECT_EQ(at(0.6), NodeId{2});
}

TEST(Decide, PreparedIsIgnoredWhereTheTextNamesNone) {
  Scene x;
  x.facts = select_from({});
  const sql::Statement insert = statement(sql::Kind::insert);
  EXPECT_EQ(x.plan(&insert).node, NodeId{1});
  EXPECT_FALSE(x.plan(&insert).write);
}

TEST(Questions, AreNotAskedWhereTheAnswerIsMoot) {
  Scene x;
  x.facts = select_from({{"", "t"}}, {{"", "f"}});
  EXPECT_EQ(x.asked().relations.size(), 1U);
  EXPECT_EQ(x.asked().functions.size(), 1U);

  x.settings.load_balance_mode = false;
  EXPECT_TRUE(x.asked().empty());

  x.settings = {};
  x.settings.backend_clustering_mode = config::ClusteringMode::raw;
  EXPECT_TRUE(x.asked().empty());

  x.settings = {};
  x.state.tx.status = vsession::TxStatus::open;
  x.state.tx.wrote = true;
  EXPECT_TRUE(x.asked().empty());
}

// The writing flag must still be known where the relations no longer matter.
TEST(Questions, FunctionsAreAskedForTheWritingFlag) {
  Scene x;
  x.facts = select_from({{"", "t"}}, {{"", "f"}});
  x.state.tx.status = vsession::TxStatus::open;
  x.state.tx.isolation = sql::Isolation::serializable;
  x.state.tx.isolation_explicit = true;
  EXPECT_TRUE(x.asked().relations.empty());
  EXPECT_EQ(x.asked().functions.size(), 1U);

  x.state = {};
  x.facts = select_from({{"pg_catalog", "pg_class"}}, {{"", "f"}});
  EXPECT_TRUE(x.asked().relations.empty());
  EXPECT_EQ(x.asked().functions.size(), 1U);
}

TEST(Questions, OfWritesOnlyWhereLinksAreShared) {
  Scene x;
  x.facts = facts_of(statement(sql::Kind::insert), 'i');
  x.facts.statements.front().relations = {{"", "t"}};
  x.facts.statements.front().functions = {{"", "f"}};
  EXPECT_TRUE(x.asked().empty());
  x.settings.pool_mode = config::PoolMode::transaction;
  EXPECT_TRUE(x.asked().relations.empty());
  EXPECT_EQ(x.asked().functions.size(), 1U);
  x.settings.pool_mode = config::PoolMode::session;
  x.settings.skip_clean_reset = true;
  EXPECT_EQ(x.asked().functions.size(), 1U);
}

TEST(AdaptiveWritten, NamesOfAWriteAndItsDependents) {
  Scene x;
  auto patterns = std::make_shared<config::Patterns>();
  auto pairs = config::parse_relations("t1:t2,fill():t3,t1:t4");
  ASSERT_TRUE(pairs);
  patterns->relations = *pairs;
  x.settings.patterns = patterns;
  x.facts = facts_of(statement(sql::Kind::insert), 'i');
  x.facts.statements.front().relations = {{"public", "T1"}, {"", "src"}};
  const std::vector<sql::Relation> expected{{"", "t1"}, {"", "t2"}, {"", "t4"}, {"", "src"}};
  EXPECT_EQ(adaptive_written(x.facts, x.settings), expected);
  // A read adds nothing of its own, but a function in it may stand for tables.
  x.facts = select_from({{"", "t1"}}, {{"", "fill"}, {"", "t1"}});
  EXPECT_EQ(adaptive_written(x.facts, x.settings), (std::vector<sql::Relation>{{"", "t3"}}));
}

TEST(Rules, EachHasANameAndASentence) {
  for (int i = 0; i < kRules; ++i) {
    const auto rule = static_cast<Rule>(i);
    EXPECT_FALSE(rule_name(rule).empty());
    EXPECT_TRUE(rule_sentence(rule).ends_with(".")) << rule_name(rule);
    for (int j = 0; j < i; ++j) EXPECT_NE(rule_name(rule), rule_name(static_cast<Rule>(j)));
  }
}

}  // namespace
}  // namespace herdgate::route
