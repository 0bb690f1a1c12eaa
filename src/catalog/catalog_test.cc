#include "catalog/catalog.h"

#include <gtest/gtest.h>

#include <cstring>
#include <regex>

#include "catalog/errc.h"

namespace herdgate::catalog {
namespace {

using Rows = std::vector<std::vector<std::string>>;

class FixedClock final : public Clock {
 public:
  TimePoint now() const override { return time; }
  WallTime wall() const override { return {}; }
  TimePoint time{};
};

struct CatalogTest : ::testing::Test {
  FixedClock clock;
  Epochs epochs;
  Viewpoint alice{"shop", "alice", "public", false};

  Catalog make(std::size_t max_entries = 256, Duration expire = Duration::zero()) {
    return Catalog(clock, epochs, {max_entries, expire});
  }
  static sql::Questions relation(const std::string& name) { return {{{"", name}}, {}}; }
  static Rows plain() { return {{"r", "0", "public", "t", ""}}; }
  void teach(Catalog& c, const Viewpoint& who, const std::string& name) {
    ASSERT_TRUE(c.learn(who, c.lookup(who, relation(name)), plain()));
  }
  static bool knows(Catalog& c, const Viewpoint& who, const std::string& name) {
    return c.lookup(who, relation(name)).open.empty();
  }
};

TEST_F(CatalogTest, AsksOnceAndThenKnows) {
  Catalog c = make();
  const sql::Questions q{{{"", "v"}, {"s", "t"}}, {{"", "now"}, {"", "nextval"}}};
  Found f = c.lookup(alice, q);
  EXPECT_EQ(f.open.relations.size(), 2u);
  EXPECT_EQ(f.open.functions.size(), 2u);
  const auto learned = c.learn(alice, f,
                               {{"r", "0", "public", "v", "v"},
                                {"d", "0", "", "", "u"},
                                {"d", "0", "", "", "cs"},
                                {"b", "0", "public", "base", ""},
                                {"w", "0", "", "", ""},
                                {"r", "1", "s", "t", "tu"},
                                {"f", "0", "", "", "sz"},
                                {"f", "1", "", "", "vu"}});
  ASSERT_TRUE(learned);
  const sql::RelationAnswer& v = learned->relations[0];
  EXPECT_TRUE(v.exists && v.view && v.below_unlogged && v.below_system && v.below_writing_function && v.row_security);
  EXPECT_FALSE(v.system_catalog || v.temporary || v.unlogged || v.below_temporary);
  EXPECT_EQ(v.below, (std::vector<sql::Relation>{{"public", "base"}}));
  EXPECT_TRUE(learned->relations[1].temporary && learned->relations[1].unlogged);
  EXPECT_TRUE(learned->functions[0].stable && learned->functions[0].returns_time_zone_type);
  EXPECT_FALSE(learned->functions[0].is_volatile || learned->functions[0].user_defined);
  EXPECT_TRUE(learned->functions[1].is_volatile && learned->functions[1].user_defined);

  f = c.lookup(alice, q);  // the temporary one is asked again
  EXPECT_EQ(f.open.relations, (std::vector<sql::Relation>{{"s", "t"}}));
  EXPECT_EQ(f.open_relations, (std::vector<std::size_t>{1}));
  EXPECT_TRUE(f.open.functions.empty());
  EXPECT_TRUE(f.answers.relations[0].below_writing_function);
  EXPECT_TRUE(f.answers.functions[1].is_volatile);
  const auto again = c.learn(alice, f, {{"r", "0", "s", "t", ""}});
  ASSERT_TRUE(again);
  EXPECT_TRUE(again->relations[0].view) << "answers from the cache and from the server are put together";
  EXPECT_TRUE(again->relations[1].exists);
  EXPECT_TRUE(c.lookup(alice, q).open.empty());
}

TEST_F(CatalogTest, WhatDoesNotExistIsNotKept) {
  Catalog c = make();
  const sql::Questions q{{{"", "later"}}, {{"", "later"}}};
  const auto learned = c.learn(alice, c.lookup(alice, q), {});
  ASSERT_TRUE(learned);
  EXPECT_FALSE(learned->relations[0].exists);
  EXPECT_FALSE(learned->functions[0].exists);
  EXPECT_EQ(c.lookup(alice, q).open.relations.size(), 1u);
  EXPECT_EQ(c.lookup(alice, q).open.functions.size(), 1u);
}

TEST_F(CatalogTest, AFunctionOfTheSessionIsNotKept) {
  Catalog c = make();
  const sql::Questions q{{}, {{"pg_temp", "f"}, {"s", "f"}}};
  ASSERT_TRUE(c.learn(alice, c.lookup(alice, q), {{"f", "0", "", "", "u"}, {"f", "1", "", "", "u"}}));
  EXPECT_EQ(c.lookup(alice, q).open.functions, (std::vector<sql::Function>{{"pg_temp", "f"}}));
}

TEST_F(CatalogTest, TheOldestUsedGoesFirst) {
  Catalog c = make(2);
  teach(c, alice, "a");
  teach(c, alice, "b");
  EXPECT_TRUE(knows(c, alice, "a"));  // now b is the oldest
  teach(c, alice, "c");
  EXPECT_TRUE(knows(c, alice, "a"));
  EXPECT_FALSE(knows(c, alice, "b"));
  EXPECT_TRUE(knows(c, alice, "c"));
}

TEST_F(CatalogTest, NoRoomMeansNothingIsKeptAndStillAnswered) {
  Catalog c = make(0);
  const auto learned = c.learn(alice, c.lookup(alice, relation("a")), plain());
  ASSERT_TRUE(learned);
  EXPECT_TRUE(learned->relations[0].exists);
  EXPECT_FALSE(knows(c, alice, "a"));
}

TEST_F(CatalogTest, AnswersExpire) {
  Catalog c = make(10, std::chrono::seconds(5));
  teach(c, alice, "a");
  clock.time += std::chrono::seconds(5) - std::chrono::nanoseconds(1);
  EXPECT_TRUE(knows(c, alice, "a"));
  clock.time += std::chrono::nanoseconds(1);
  EXPECT_FALSE(knows(c, alice, "a"));
}

TEST_F(CatalogTest, AnEpochEndsWhatWasKnownOfThatDatabase) {
  Catalog c = make();
  teach(c, alice, "a");
  epochs.raise("shop");
  EXPECT_FALSE(knows(c, alice, "a"));
  teach(c, alice, "a");
  EXPECT_TRUE(knows(c, alice, "a"));
}

TEST_F(CatalogTest, AnAnswerAskedBeforeDdlIsOldWhenItArrivesAfter) {
  Catalog c = make();
  const Found f = c.lookup(alice, relation("a"));
  epochs.raise("shop");
  ASSERT_TRUE(c.learn(alice, f, plain()));
  EXPECT_FALSE(knows(c, alice, "a"));
}

TEST_F(CatalogTest, OldAnswersServeTheirAskerOnly) {
  Catalog c = make();
  Found f = c.lookup(alice, relation("a"));
  f.old = true;
  const auto learned = c.learn(alice, f, {{"r", "0", "public", "a", ""}, {"e", "0", "", "", ""}});
  ASSERT_TRUE(learned);
  EXPECT_TRUE(learned->old && learned->relations[0].exists);
  EXPECT_FALSE(knows(c, alice, "a"));
  EXPECT_FALSE(c.event_triggers("shop"));
  teach(c, alice, "a");
  EXPECT_FALSE(c.lookup(alice, relation("a")).answers.old);
  EXPECT_EQ(c.event_triggers("shop"), false);
  epochs.define("shop");
  EXPECT_FALSE(c.event_triggers("shop").has_value());
  EXPECT_EQ(c.had_event_triggers("shop"), false);
  EXPECT_FALSE(c.had_event_triggers("other").has_value());
}

TEST_F(CatalogTest, HowOldAnEpochIsAtLeast) {
  Catalog c = make();
  const TimePoint first = clock.time;
  EXPECT_EQ(c.lookup(alice, relation("a")).since, first);
  clock.time += std::chrono::seconds(5);
  EXPECT_EQ(c.lookup(alice, relation("b")).since, first);
  epochs.raise("shop");
  clock.time += std::chrono::seconds(5);
  EXPECT_EQ(c.lookup(alice, relation("b")).since, first + std::chrono::seconds(10));
}

TEST_F(CatalogTest, EveryViewpointHasItsOwnAnswers) {
  Catalog c = make();
  teach(c, alice, "a");
  EXPECT_FALSE(knows(c, {"shop", "bob", "public"}, "a"));
  EXPECT_FALSE(knows(c, {"shop", "alice", "other, public"}, "a"));
  EXPECT_FALSE(knows(c, {"store", "alice", "public"}, "a"));
  EXPECT_FALSE(c.lookup(alice, {{{"public", "a"}}, {}}).open.empty());
  EXPECT_FALSE(c.lookup(alice, {{}, {{"", "a"}}}).open.empty()) << "a function of the same name";
  EXPECT_TRUE(knows(c, alice, "a"));
}

TEST_F(CatalogTest, ASessionWithNamesOfItsOwnNeitherUsesNorKeeps) {
  Catalog c = make();
  teach(c, alice, "a");
  Viewpoint own = alice;
  own.own_names = true;
  EXPECT_FALSE(knows(c, own, "a"));
  teach(c, own, "b");
  EXPECT_FALSE(knows(c, alice, "b"));
}

TEST_F(CatalogTest, WhereThePathMayBeAnotherOneOnlyNamesWithoutSchemaAreOnesOwn) {
  Catalog c = make();
  teach(c, alice, "a");
  Viewpoint doubtful = alice;
  doubtful.path = Viewpoint::Path::not_kept;
  EXPECT_TRUE(knows(c, doubtful, "a"));
  teach(c, doubtful, "b");
  EXPECT_FALSE(knows(c, alice, "b"));
  doubtful.path = Viewpoint::Path::own;
  EXPECT_FALSE(knows(c, doubtful, "a"));
  teach(c, doubtful, "b");
  EXPECT_FALSE(knows(c, alice, "b"));
  const sql::Questions with_schema{{{"public", "c"}}, {{"", "f"}}};
  const auto learned =
      c.learn(doubtful, c.lookup(doubtful, with_schema), {{"r", "0", "public", "c", ""}, {"f", "0", "", "", ""}});
  ASSERT_TRUE(learned.has_value());
  for (const Viewpoint& who : {alice, doubtful}) EXPECT_TRUE(c.lookup(who, with_schema).open.empty());
  EXPECT_FALSE(c.lookup(doubtful, {{{"pg_temp", "c"}}, {}}).open.empty());
}

TEST_F(CatalogTest, ManyDatabasesDoNotGrowTheCache) {
  Catalog c = make();
  for (int i = 0; i < 1000; ++i) teach(c, {"db" + std::to_string(i), "alice", "public"}, "a");
  int known = 0;
  for (int i = 999; i >= 0; --i) known += knows(c, {"db" + std::to_string(i), "alice", "public"}, "a");
  EXPECT_GE(known, 1);
  EXPECT_LE(known, static_cast<int>(kMaxDatabases));
}

TEST_F(CatalogTest, RowsThatWereNotAskedForAreRefused) {
  Catalog c = make();
  const Found f = c.lookup(alice, {{{"", "a"}}, {{"", "f"}}});
  for (const Rows& rows :
       {Rows{{"r", "0", "public", "t"}}, Rows{{"r", "1", "public", "t", ""}}, Rows{{"y", "0", "public", "t", ""}},
        Rows{{"r", "", "public", "t", ""}}, Rows{{"r", "0x", "public", "t", ""}}, Rows{{"f", "1", "", "", ""}},
        Rows{{"", "0", "", "", ""}}, Rows{{"r", "-1", "public", "t", ""}}, Rows{{}}}) {
    const auto learned = c.learn(alice, f, rows);
    ASSERT_FALSE(learned);
    EXPECT_EQ(learned.error().code, Errc::bad_answer);
  }
  EXPECT_FALSE(knows(c, alice, "a"));
}

TEST_F(CatalogTest, BeyondTheLimitTheWorstIsAssumedAndNotKept) {
  Catalog c = make(10'000);
  sql::Questions q;
  for (std::size_t i = 0; i <= kMaxQuestions; ++i) q.relations.push_back({"", "r" + std::to_string(i)});
  q.functions.push_back({"", "f"});
  const Found f = c.lookup(alice, q);
  const std::string text = query_for(f.open);
  EXPECT_NE(text.find("E'r255'"), std::string::npos);
  EXPECT_EQ(text.find("E'r256'"), std::string::npos);
  EXPECT_EQ(text.find("E'f'"), std::string::npos);
  const auto learned = c.learn(alice, f, {});
  ASSERT_TRUE(learned);
  EXPECT_FALSE(learned->relations[255].exists);
  EXPECT_TRUE(learned->relations[256].below_writing_function);
  EXPECT_TRUE(learned->functions[0].is_volatile);
  EXPECT_FALSE(c.lookup(alice, {{}, {{"", "f"}}}).open.empty());
}

TEST_F(CatalogTest, WhatAReadReachesAndWhatAWriteReachesBeside) {
  Catalog c = make();
  const auto learned = c.learn(alice, c.lookup(alice, {{{"", "a"}, {"", "b"}}, {}}),
                               {{"r", "0", "s", "a", ""},
                                {"o", "0", "10", "", ""},
                                {"o", "0", "11", "", ""},
                                {"t", "0", "12", "", ""},
                                {"r", "1", "s", "b", "k"},
                                {"o", "1", "20", "", ""},
                                {"x", "1", "", "", ""},
                                {"x", "1", "", "", "d"},
                                {"x", "1", "", "", "l"}});
  ASSERT_TRUE(learned);
  EXPECT_EQ(learned->relations[0].reads, (std::vector<std::uint32_t>{10, 11}));
  EXPECT_EQ(learned->relations[0].cascades, (std::vector<std::uint32_t>{12}));
  EXPECT_FALSE(learned->relations[0].side_effects || learned->relations[0].other_kind);
  EXPECT_EQ(learned->relations[1].reads, (std::vector<std::uint32_t>{20}));
  EXPECT_TRUE(learned->relations[1].side_effects && learned->relations[1].other_kind);
  EXPECT_TRUE(learned->relations[1].may_define && !learned->relations[0].may_define);
  EXPECT_TRUE(learned->relations[1].leaves_state && !learned->relations[0].leaves_state);
}

TEST_F(CatalogTest, OfTooManyTheWorstIsAssumed) {
  Catalog c = make();
  Rows rows{{"r", "0", "public", "p", ""}};
  for (std::size_t i = 0; i <= kMaxBelow; ++i) rows.push_back({"o", "0", std::to_string(100 + i), "", ""});
  const auto learned = c.learn(alice, c.lookup(alice, relation("p")), rows);
  ASSERT_TRUE(learned);
  EXPECT_TRUE(learned->relations[0].side_effects && learned->relations[0].other_kind);
}

TEST_F(CatalogTest, AViewOverTooManyRelationsCountsAsWriting) {
  Catalog c = make();
  Rows rows{{"r", "0", "public", "v", "v"}};
  for (std::size_t i = 0; i <= kMaxBelow; ++i) rows.push_back({"b", "0", "public", "t" + std::to_string(i), ""});
  const auto learned = c.learn(alice, c.lookup(alice, relation("v")), rows);
  ASSERT_TRUE(learned);
  EXPECT_TRUE(learned->relations[0].below_writing_function);
}

TEST_F(CatalogTest, WhatViewsCallIsAskedForWhereItCounts) {
  Catalog c = make();
  sql::Questions q{{{"", "v"}, {"", "w"}, {"", "t"}}, {}};
  const Rows plain{{"r", "0", "public", "v", "v"}, {"r", "1", "public", "w", "v"}, {"r", "2", "public", "t", ""}};
  ASSERT_TRUE(c.learn(alice, c.lookup(alice, q), plain));
  EXPECT_TRUE(c.lookup(alice, q).open.empty());
  EXPECT_FALSE(c.lookup(alice, q).answers.relations[0].calls);

  q.calls = true;  // the lists have been set since
  const Found f = c.lookup(alice, q);
  EXPECT_EQ(f.open.relations, (std::vector<sql::Relation>{{"", "v"}, {"", "w"}})) << "not of the table";
  EXPECT_TRUE(f.open.calls);
  const auto learned = c.learn(alice, f,
                               {{"r", "0", "public", "v", "v"},
                                {"n", "0", "public", "wf", "v"},
                                {"n", "0", "pg_catalog", "lower", ""},
                                {"r", "1", "public", "w", "v"}});
  ASSERT_TRUE(learned);
  const auto& calls = learned->relations[0].calls;
  ASSERT_TRUE(calls && calls->size() == 2u);
  EXPECT_TRUE(calls->at(0).schema == "public" && calls->at(0).name == "wf" && calls->at(0).is_volatile);
  EXPECT_TRUE(calls->at(1).name == "lower" && !calls->at(1).is_volatile);
  EXPECT_TRUE(learned->relations[1].calls && learned->relations[1].calls->empty());
  EXPECT_TRUE(c.lookup(alice, q).open.empty());
  q.calls = false;
  EXPECT_TRUE(c.lookup(alice, q).open.empty());
}

TEST_F(CatalogTest, AViewThatCallsTooManyFunctionsIsSaidToDoSo) {
  Catalog c = make();
  sql::Questions q = relation("v");
  q.calls = true;
  Rows rows{{"r", "0", "public", "v", "v"}};
  for (std::size_t i = 0; i <= kMaxBelow; ++i) rows.push_back({"n", "0", "public", "f" + std::to_string(i), ""});
  const auto learned = c.learn(alice, c.lookup(alice, q), rows);
  ASSERT_TRUE(learned);
  EXPECT_TRUE(learned->relations[0].too_many_calls);
  EXPECT_TRUE(c.lookup(alice, q).open.empty());
}

TEST(CatalogQuery, LiteralsCannotBeLeft) {
  const std::string text = query_for({{{"a'b", "c\\'d"}}, {}});
  EXPECT_NE(text.find("(0, E'a''b'::pg_catalog.name, E'c\\\\''d'::pg_catalog.name)"), std::string::npos) << text;
}

// Outside of literals no operator may stand without its schema, or a search_path could replace it.
TEST(CatalogQuery, EveryOperatorNamesItsSchema) {
  std::string text = query_for({{{"", "a"}, {"s", "b"}}, {{"", "f"}}, /*calls=*/true});
  for (const char* written : {"OPERATOR(pg_catalog.=)", "OPERATOR(pg_catalog.<>)", "OPERATOR(pg_catalog.||)",
                              "OPERATOR(pg_catalog.<)", "OPERATOR(pg_catalog.>)"}) {
    EXPECT_NE(text.find(written), std::string::npos);
    for (auto at = text.find(written); at != std::string::npos; at = text.find(written))
      text.erase(at, strlen(written));
  }
  text = std::regex_replace(text, std::regex("'[^']*'"), "");
  EXPECT_EQ(text.find_first_of("=<>|"), std::string::npos) << text;
  for (const char* word : {" IN ", " BETWEEN ", " LIKE ", " USING ", " DISTINCT FROM ", " ANY"})
    EXPECT_EQ(text.find(word), std::string::npos) << word;
}

TEST(Epochs, DdlThatChangesNoColumnsLeavesPreparedStatementsAlone) {
  Epochs epochs;
  const std::size_t at = Epochs::place("shop");
  const auto raises = [&](const char* tag) {
    const std::uint64_t names = epochs.current_at(at), results = epochs.results_at(at);
    epochs.raise("shop", Epochs::change_by(tag));
    EXPECT_EQ(epochs.current_at(at), names + 1) << tag;
    return epochs.results_at(at) != results;
  };
  for (const char* tag :
       {"CREATE TABLE", "CREATE INDEX", "CREATE TABLE AS", "DROP INDEX", "GRANT", "VACUUM", "ANALYZE"})
    EXPECT_FALSE(raises(tag)) << tag;
  for (const char* tag : {"ALTER TABLE", "DROP TABLE", "CREATE VIEW", "ALTER TYPE", "ALTER VIEW", "DROP FUNCTION", ""})
    EXPECT_TRUE(raises(tag)) << tag;
}

// Under the name of a dropped database another one may be created.
TEST(Epochs, WhatConcernsDatabasesRaisesThatOfEachName) {
  Epochs epochs;
  for (const char* tag : {"DROP DATABASE", "ALTER DATABASE"}) {
    const std::uint64_t names = epochs.current("shop"), results = epochs.results_at(Epochs::place("shop"));
    epochs.raise("postgres", Epochs::change_by(tag));
    EXPECT_EQ(epochs.current("shop"), names + 1) << tag;
    EXPECT_EQ(epochs.results_at(Epochs::place("shop")), results + 1) << tag;
  }
  const std::uint64_t defined = epochs.definitions_at(Epochs::place("shop"));
  epochs.define("postgres");
  EXPECT_EQ(epochs.definitions_at(Epochs::place("shop")), defined);
  epochs.define_in_all(Epochs::Change::names);
  EXPECT_EQ(epochs.definitions_at(Epochs::place("shop")), defined + 1);
}

}  // namespace
}  // namespace herdgate::catalog
