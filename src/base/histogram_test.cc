#include "base/histogram.h"

#include <gtest/gtest.h>

#include <cstdlib>

using namespace std::literals;

namespace herdgate {
namespace {

TEST(Histogram, ABoundBelongsToItsBucket) {
  Histogram times;
  times.record(0ns);
  times.record(100us);
  times.record(100us + 1ns);
  times.record(60s);
  times.record(61s);
  EXPECT_EQ(times.count(0), 2u);
  EXPECT_EQ(times.count(1), 1u);
  EXPECT_EQ(times.count(Histogram::kBuckets - 1), 1u);
  EXPECT_EQ(times.count(Histogram::kBuckets), 1u);
  EXPECT_EQ(times.total(), 5u);
  EXPECT_EQ(times.sum(), 121s + 200us + 1ns);
}

TEST(Histogram, SumsAreThoseOfBoth) {
  Histogram one, other;
  one.record(1s);
  other.record(1s);
  other.record(2ms);
  one.add(other);
  EXPECT_EQ(one.total(), 3u);
  EXPECT_EQ(one.count(4), 1u);
  EXPECT_EQ(one.sum(), 2s + 2ms);
}

TEST(Histogram, BoundsAscendAndAreShownAsTheyAre) {
  Duration before{};
  for (const Histogram::Bound& bound : Histogram::kBounds) {
    EXPECT_GT(bound.upper, before);
    before = bound.upper;
    const double shown = std::strtod(std::string(bound.seconds).c_str(), nullptr);
    EXPECT_DOUBLE_EQ(shown, std::chrono::duration<double>(bound.upper).count());
  }
}

}  // namespace
}  // namespace herdgate
