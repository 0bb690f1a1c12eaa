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

}  // namespace
}  // namespace herdgate
