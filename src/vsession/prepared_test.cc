#include <gtest/gtest.h>

#include "vsession/script.h"

namespace herdgate::vsession {
namespace {
using namespace std::string_view_literals;

constexpr HashKey kKey{5, 6};
const ByteView kNoTypes = "\0\0"sv;

TEST(Prepared, DefinedFoundAndClosed) {
  VirtualSession session(kKey);
  const auto facts = std::make_shared<sql::Facts>(sql::parse_facts("select 1", {}));
  const auto made = session.define("s", "select 1", kNoTypes, facts);
  ASSERT_TRUE(made);
  EXPECT_EQ((*made)->facts, facts);
  EXPECT_EQ((*made)->server_name, "hg_" + (*made)->id.hex());
  EXPECT_EQ(session.find_prepared("s"), *made);
  session.close_prepared("s");
  EXPECT_EQ(session.find_prepared("s"), nullptr);
  session.close_prepared("s");  // no error, as with a server
}

TEST(Prepared, ANameCannotBeDefinedTwice) {
  VirtualSession session(kKey);
  ASSERT_TRUE(session.define("s", "select 1", kNoTypes, nullptr));
  const auto again = session.define("s", "select 1", kNoTypes, nullptr);
  ASSERT_FALSE(again);
  EXPECT_TRUE(again.error() == make_error_code(Errc::duplicate_prepared));
  Script script(session);
  script.step("prepare p as select 1");
  EXPECT_FALSE(session.define("p", "select 1", kNoTypes, nullptr));
}

TEST(Prepared, TheUnnamedOneIsReplacedAndNeverInterned) {
  VirtualSession session(kKey);
  const auto first = session.define("", "select 1", kNoTypes, nullptr);
  const auto second = session.define("", "select 1", kNoTypes, nullptr);
  ASSERT_TRUE(first && second);
  EXPECT_NE((*first)->generation, (*second)->generation);
  EXPECT_EQ((*second)->server_name, "");
  EXPECT_EQ(session.find_prepared(""), *second);
}

TEST(Prepared, DeallocateAllLeavesTheUnnamedOne) {
  VirtualSession session(kKey);
  ASSERT_TRUE(session.define("", "select 1", kNoTypes, nullptr));
  ASSERT_TRUE(session.define("s", "select 1", kNoTypes, nullptr));
  Script script(session);
  script.step("deallocate all");
  EXPECT_NE(session.find_prepared(""), nullptr);
  EXPECT_EQ(session.find_prepared("s"), nullptr);
}

TEST(Prepared, SharedNamesDependOnAllThatGivesMeaning) {
  VirtualSession session(kKey), other(kKey);
  const auto name = [](VirtualSession& s, const char* as, std::string_view text, ByteView types) {
    return (*s.define(as, text, types, nullptr))->server_name;
  };
  const std::string first = name(session, "a", "select $1", kNoTypes);
  EXPECT_EQ(name(other, "b", "select $1", kNoTypes), first);  // another session, another name: the same statement
  EXPECT_NE(name(session, "c", "select  $1", kNoTypes), first);
  EXPECT_NE(name(session, "d", "select $1", "\0\1\0\0\0\x17"sv), first);
  Script script(session);
  script.step("set client_encoding = latin1");
  EXPECT_NE(name(session, "e", "select $1", kNoTypes), first);
  script.step("reset client_encoding");
  EXPECT_EQ(name(session, "f", "select $1", kNoTypes), first);
  script.step("set standard_conforming_strings = off");
  EXPECT_NE(name(session, "g", "select $1", kNoTypes), first);
}

TEST(Prepared, AreBounded) {
  VirtualSession session(kKey);
  for (std::size_t i = 0; i < VirtualSession::kMaxPrepared; ++i)
    ASSERT_TRUE(session.define("s" + std::to_string(i), "select 1", kNoTypes, nullptr));
  const auto refused = session.define("more", "select 1", kNoTypes, nullptr);
  ASSERT_FALSE(refused);
  EXPECT_TRUE(refused.error() == make_error_code(Errc::too_many_prepared));
  Script script(session);
  script.step("prepare p as select 1");
  EXPECT_EQ(pin_names(session.state().pins), "unparsed_state");
}

// The one found last is remembered: not beyond its end, and not when another takes its name.
TEST(Prepared, WhatWasFoundLastIsNotFoundOnceItIsGone) {
  VirtualSession session(kKey);
  for (const std::string_view end : {"close", "deallocate s", "deallocate all", "discard all"}) {
    ASSERT_TRUE(session.define("s", "select 1", kNoTypes, nullptr));
    ASSERT_TRUE(session.find_prepared("s"));
    if (end == "close") {
      session.close_prepared("s");
    } else {
      Script(session).step(end);
    }
    EXPECT_FALSE(session.find_prepared("s")) << end;
  }
  ASSERT_TRUE(session.define("", "select 1", kNoTypes, nullptr));
  EXPECT_EQ(session.find_prepared("")->query, "select 1");
  ASSERT_TRUE(session.define("", "select 2", kNoTypes, nullptr));
  EXPECT_EQ(session.find_prepared("")->query, "select 2");
}

TEST(Prepared, SqlOnesKeepTheirTextAndFacts) {
  VirtualSession session(kKey);
  Script script(session);
  script.query("select 1; prepare p (int) as select * from t where a = $1; select 2");
  const PreparedPtr made = session.find_prepared("p");
  ASSERT_TRUE(made);
  EXPECT_EQ(made->query, "prepare p (int) as select * from t where a = $1");
  EXPECT_EQ(made->server_name, "p");
  ASSERT_TRUE(made->facts);
  EXPECT_EQ(made->facts->first().kind, sql::Kind::select) << "of what a Bind runs";
  EXPECT_EQ(session.prepared_by_sql(), 1u);
  script.step("deallocate p");
  EXPECT_EQ(session.prepared_by_sql(), 0u);
}

TEST(Prepared, IsSharedOnlyWhereColumnsAreSureToBeTheSame) {
  VirtualSession session(kKey);
  Script script(session);
  const auto defined = [&](std::uint64_t results) {
    session.close_prepared("s");
    return (*session.define("s", "select * from t", kNoTypes, nullptr, results))->server_name;
  };
  const std::string first = defined(0);
  EXPECT_EQ(defined(0), first);
  EXPECT_NE(defined(1), first);
  script.step("set search_path to tenant, public");
  const std::string elsewhere = defined(0);
  EXPECT_NE(elsewhere, first);
  script.step("set search_path to tenant, other");
  EXPECT_NE(defined(0), elsewhere);
  script.step("reset search_path");
  EXPECT_EQ(defined(0), first);
  script.step("set role r");
  EXPECT_NE(defined(0), first);
}

}  // namespace
}  // namespace herdgate::vsession
