#include "monitor/old_work.h"

#include <gtest/gtest.h>

namespace herdgate::monitor {
namespace {

using std::chrono::hours;
using std::chrono::milliseconds;
using std::chrono::seconds;

OldWork judged(std::optional<std::string> age, Duration since, const char* hidden = "f", const char* recovery = "f") {
  return old_work({{recovery, std::move(age), hidden}}, since);
}

TEST(OldWork, WhereNobodyWorksItIsOver) {
  EXPECT_EQ(judged(std::nullopt, milliseconds(5)), OldWork::over);
  EXPECT_EQ(judged(std::nullopt, Duration::zero()), OldWork::over);
}

TEST(OldWork, WhatBeganBeforeTheMomentGoesOn) {
  EXPECT_EQ(judged("5000000", seconds(2)), OldWork::goes_on);
  EXPECT_EQ(judged("2000000", seconds(2)), OldWork::goes_on);
  EXPECT_EQ(judged("1000000", seconds(2)), OldWork::over);
  EXPECT_EQ(judged("0", Duration::zero()), OldWork::goes_on);
}

TEST(OldWork, ClocksMayRunApart) {
  EXPECT_EQ(judged("99000000", seconds(100)), OldWork::goes_on);
  EXPECT_EQ(judged("98999999", seconds(100)), OldWork::over);
  EXPECT_EQ(judged("3564000000", hours(1)), OldWork::goes_on);
}

TEST(OldWork, AClockSetBackProvesNothing) { EXPECT_EQ(judged("-1", seconds(2)), OldWork::goes_on); }

TEST(OldWork, WhatIsNotSeenIsNotOver) {
  EXPECT_EQ(judged(std::nullopt, seconds(2), "t"), OldWork::hidden);
  EXPECT_EQ(judged("1000", seconds(2), "t"), OldWork::hidden);
  EXPECT_EQ(judged("3000000", seconds(2), "t"), OldWork::goes_on);
}

TEST(OldWork, AStandbySaysNothing) {
  EXPECT_EQ(judged(std::nullopt, seconds(2), "f", "t"), OldWork::elsewhere);
  EXPECT_EQ(judged("3000000", seconds(2), "f", "t"), OldWork::elsewhere);
}

TEST(OldWork, WhatIsNotUnderstoodIsNotOver) {
  EXPECT_EQ(old_work({}, seconds(2)), OldWork::elsewhere);
  EXPECT_EQ(old_work({{"f", std::nullopt}}, seconds(2)), OldWork::elsewhere);
  EXPECT_EQ(old_work({{std::nullopt, std::nullopt, "f"}}, seconds(2)), OldWork::elsewhere);
  EXPECT_EQ(old_work({{"f", std::nullopt, std::nullopt}}, seconds(2)), OldWork::elsewhere);
  EXPECT_EQ(judged("much", seconds(2)), OldWork::goes_on);
  EXPECT_EQ(judged("1000x", seconds(2)), OldWork::goes_on);
}

}  // namespace
}  // namespace herdgate::monitor
