#include "monitor/replayed.h"

#include <gtest/gtest.h>

namespace herdgate::monitor {
namespace {

TimePoint at(int seconds) { return TimePoint(std::chrono::seconds(seconds)); }
TimePoint shows(int seconds) { return at(seconds) - Replayed::kAsyncCommit; }

TEST(ReplayedTo, TheNewestMomentThatWasPassed) {
  Replayed r;
  EXPECT_FALSE(r.of(1, 1000));
  r.note(NodeId(0), 1, at(10), 100);
  r.note(NodeId(0), 1, at(20), 200);
  r.note(NodeId(0), 1, at(30), 300);
  EXPECT_FALSE(r.of(1, 99));
  EXPECT_EQ(r.of(1, 100), shows(10));
  EXPECT_EQ(r.of(1, 299), shows(20));
  EXPECT_EQ(r.of(1, 300), shows(30));
  EXPECT_EQ(r.of(1, 9999), shows(30));
}

TEST(ReplayedTo, AnotherPrimaryBeginsAnew) {
  Replayed r;
  r.note(NodeId(0), 1, at(10), 100);
  r.note(NodeId(1), 1, at(20), 200);
  EXPECT_FALSE(r.of(1, 150)) << "replayed of the old primary's";
  EXPECT_EQ(r.of(1, 200), shows(20));
}

TEST(ReplayedTo, OfTheSameTimelineOnly) {
  Replayed r;
  r.note(NodeId(0), 1, at(10), 100);
  EXPECT_FALSE(r.of(2, 500)) << "ahead, but of another history";
  r.note(NodeId(0), 3, at(20), 90);
  EXPECT_FALSE(r.of(1, 500)) << "it has not followed";
  EXPECT_EQ(r.of(3, 90), shows(20));
}

TEST(ReplayedTo, WhatIsTooFarBehindHasNone) {
  Replayed r;
  for (int i = 0; i <= static_cast<int>(Replayed::kMaxMoments); ++i) r.note(NodeId(0), 1, at(i), 100 + i);
  EXPECT_FALSE(r.of(1, 100));
  EXPECT_EQ(r.of(1, 101), shows(1));
}

}  // namespace
}  // namespace herdgate::monitor
