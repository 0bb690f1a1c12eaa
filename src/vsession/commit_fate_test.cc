#include "vsession/commit_fate.h"

#include <gtest/gtest.h>

namespace herdgate::vsession {
namespace {

TEST(CommitFate, IsWhatTheServerSays) {
  EXPECT_EQ(fate_of("committed"), Fate::committed);
  EXPECT_EQ(fate_of("aborted"), Fate::rolled_back);
  EXPECT_EQ(fate_of("in progress"), Fate::running);
}

TEST(CommitFate, IsNotGuessed) {
  EXPECT_EQ(fate_of(std::nullopt), Fate::unknown);
  EXPECT_EQ(fate_of(""), Fate::unknown);
  for (const char* state : {"", "57P01", "42883"}) EXPECT_EQ(fate_of_error(state), Fate::unknown) << state;
}

TEST(CommitFate, AnIdOfTheFutureWasNotCommitted) { EXPECT_EQ(fate_of_error("22023"), Fate::rolled_back); }

TEST(Missing, TheQuestionNamesEveryId) {
  EXPECT_NE(missing_query({7, 4294967301}).find("'{7,4294967301}'"), std::string::npos);
  EXPECT_NE(missing_query({}).find("'{}'"), std::string::npos);
}

TEST(Missing, AnArrayIsRead) {
  using Ids = std::vector<std::uint64_t>;
  EXPECT_EQ(missing_in("{}"), Ids{});
  EXPECT_EQ(missing_in("{5}"), Ids{5});
  EXPECT_EQ(missing_in("{5,4294967301}"), (Ids{5, 4294967301}));
}

TEST(Missing, WhatIsNoArrayIsNoAnswer) {
  EXPECT_EQ(missing_in(std::nullopt), std::nullopt) << "a standby";
  for (const char* text : {"", "{", "5", "{5,x}", "{x}", "{5;6}", "{-5}"})
    EXPECT_EQ(missing_in(text), std::nullopt) << text;
}

}  // namespace
}  // namespace herdgate::vsession
