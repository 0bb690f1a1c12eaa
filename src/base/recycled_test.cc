#include "base/recycled.h"

#include <gtest/gtest.h>

#include <memory>
#include <thread>
#include <vector>

namespace herdgate {
namespace {

struct Large : Recycled<Large> {
  explicit Large(int v) : value(v) {}
  int value;
  char rest[2000] = {};
};
struct Larger : Large {
  using Large::Large;
  char more[100] = {};
};

// Whatever order they come and go in, no two live in the same place, and none is cut short.
TEST(Recycled, EachHasAPlaceOfItsOwn) {
  std::vector<std::unique_ptr<Large>> live;
  for (int round = 0; round < 3; ++round) {
    for (int i = 0; i < static_cast<int>(2 * Large::kKept); ++i) live.push_back(std::make_unique<Large>(i));
    for (int i = 0; i < static_cast<int>(2 * Large::kKept); ++i) ASSERT_EQ(live[static_cast<std::size_t>(i)]->value, i);
    live.clear();
  }
}

TEST(Recycled, AnotherThreadMayDeleteIt) {
  auto object = std::make_unique<Large>(7);
  std::thread([&] { object.reset(); }).join();
  EXPECT_EQ(std::make_unique<Large>(8)->value, 8);
}

TEST(Recycled, ADerivedClassOfAnotherSizeIsNotPutIntoTheSamePlace) {
  { const Large small(1); }
  std::make_unique<Large>(1).reset();
  const auto larger = std::make_unique<Larger>(2);
  larger->more[99] = 'x';
  EXPECT_EQ(std::make_unique<Large>(3)->value, 3);
}

}  // namespace
}  // namespace herdgate
