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
  EXPECT_EQ(fate_of_error("query failed: connection closed"), Fate::unknown);
}

TEST(CommitFate, AnIdOfTheFutureWasNotCommitted) {
  EXPECT_EQ(fate_of_error("query failed: transaction ID 800 is in the future (22023)"), Fate::rolled_back);
}

}  // namespace
}  // namespace herdgate::vsession
