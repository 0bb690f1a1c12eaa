// How often something took how long: counts by fixed bounds, as the metrics show them.
//
// Shape    record(duration) counts one; add(other) sums up those of several threads.
// Units    bounds and the sum are Durations (nanoseconds).
// Limits   kBuckets counts; what is above the last bound is counted in one more.
// Threads  belongs to one thread; others get a copy.
#pragma once
#include <array>
#include <chrono>
#include <cstdint>
#include <string_view>

#include "base/clock.h"

namespace herdgate {

class Histogram {
 public:
  struct Bound {
    Duration upper;
    std::string_view seconds;  // as it is shown
  };
  static constexpr std::array<Bound, 15> kBounds{{
      {std::chrono::microseconds(100), "0.0001"},
      {std::chrono::microseconds(250), "0.00025"},
      {std::chrono::microseconds(500), "0.0005"},
      {std::chrono::milliseconds(1), "0.001"},
      {std::chrono::microseconds(2500), "0.0025"},
      {std::chrono::milliseconds(5), "0.005"},
      {std::chrono::milliseconds(10), "0.01"},
      {std::chrono::milliseconds(25), "0.025"},
      {std::chrono::milliseconds(50), "0.05"},
      {std::chrono::milliseconds(100), "0.1"},
      {std::chrono::milliseconds(250), "0.25"},
      {std::chrono::seconds(1), "1.0"},
      {std::chrono::seconds(5), "5.0"},
      {std::chrono::seconds(15), "15.0"},
      {std::chrono::seconds(60), "60.0"},
  }};
  static constexpr std::size_t kBuckets = kBounds.size();

  // From below: most of what is measured is short, and then this is a handful of instructions.
  void record(Duration taken) {
    std::size_t at = 0;
    while (at < kBuckets && taken > kBounds[at].upper) ++at;
    ++counts_[at];
    sum_ += taken;
  }
  void add(const Histogram& other) {
    for (std::size_t i = 0; i < counts_.size(); ++i) counts_[i] += other.counts_[i];
    sum_ += other.sum_;
  }
  // Of this bucket alone; kBuckets: what is above the last bound.
  std::uint64_t count(std::size_t bucket) const { return counts_[bucket]; }
  std::uint64_t total() const {
    std::uint64_t all = 0;
    for (const std::uint64_t count : counts_) all += count;
    return all;
  }
  Duration sum() const { return sum_; }

 private:
  std::array<std::uint64_t, kBuckets + 1> counts_{};
  Duration sum_{};
};

}  // namespace herdgate
