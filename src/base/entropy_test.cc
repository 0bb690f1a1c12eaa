#include "base/entropy.h"

#include <gtest/gtest.h>

#include <array>
#include <set>
#include <string>

namespace herdgate {
namespace {

TEST(Entropy, FillsAllAndNeverTheSame) {
  std::set<std::string> drawn;
  for (int i = 0; i < 100; ++i) {
    std::string octets(32, '\0');
    fill_random(octets);
    drawn.insert(octets.substr(0, 16));
    drawn.insert(octets.substr(16));
  }
  EXPECT_EQ(drawn.size(), 200u);
}

TEST(Entropy, AsksForMoreThanOneCallGives) {
  std::string octets(1000, '\0');  // a signal may cut what is over 256
  fill_random(octets);
  EXPECT_GT(std::set<char>(octets.begin() + 900, octets.end()).size(), 10u);
  fill_random({});
}

// Across the end of the stock and for more than it holds: nothing is given out twice, nothing stays as it was.
TEST(Entropy, AStockNeverGivesTheSameTwice) {
  RandomStock stock;
  std::set<std::string> drawn;
  constexpr std::size_t kSmall = 170, kBig = 128;
  for (std::size_t i = 0; i < kSmall; ++i) {
    std::string octets(12, '\0');
    stock.fill(octets);
    drawn.insert(octets);
  }
  std::string many(kBig * 12, '\0');
  static_assert(kSmall * 12 > 3 * RandomStock::kBytes && kBig * 12 > 2 * RandomStock::kBytes);
  stock.fill(many);
  for (std::size_t at = 0; at < many.size(); at += 12) drawn.insert(many.substr(at, 12));
  EXPECT_EQ(drawn.size(), kSmall + kBig);
}

}  // namespace
}  // namespace herdgate
