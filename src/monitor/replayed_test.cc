#include "monitor/replayed.h"

#include <gtest/gtest.h>

namespace herdgate::monitor {
namespace {

TimePoint at(int seconds) { return TimePoint(std::chrono::seconds(seconds)); }
TimePoint shows(int seconds) { return at(seconds) - Replayed::kAsyncCommit; }

TEST(ReplayedTo, TheNewestMomentThatWasPassed) {
  Replayed r;
  EXPECT_FALSE(r.of(1000));
  r.note(NodeId(0), at(10), 100);
  r.note(NodeId(0), at(20), 200);
  r.note(NodeId(0), at(30), 300);
  EXPECT_FALSE(r.of(99));
  EXPECT_EQ(r.of(100), shows(10));
  EXPECT_EQ(r.of(299), shows(20));
  EXPECT_EQ(r.of(300), shows(30));
  EXPECT_EQ(r.of(9999), shows(30));
}

TEST(ReplayedTo, AnotherPrimaryBeginsAnew) {
  Replayed r;
  r.note(NodeId(0), at(10), 100);
  r.note(NodeId(1), at(20), 200);
  EXPECT_FALSE(r.of(150)) << "replayed of the old primary's";
  EXPECT_EQ(r.of(200), shows(20));
}

TEST(ReplayedTo, WhatIsTooFarBehindHasNone) {
  Replayed r;
  for (int i = 0; i <= static_cast<int>(Replayed::kMaxMoments); ++i) r.note(NodeId(0), at(i), 100 + i);
  EXPECT_FALSE(r.of(100));
  EXPECT_EQ(r.of(101), shows(1));
}

}  // namespace
}  // namespace herdgate::monitor
