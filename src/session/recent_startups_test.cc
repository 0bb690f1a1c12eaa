#include "session/recent_startups.h"

#include <gtest/gtest.h>

namespace herdgate::session {
namespace {

const HashKey kKey{};
vsession::ParameterSetPtr some_set() {
  return std::make_shared<vsession::ParameterSet>(std::vector<vsession::Parameter>{}, kKey);
}

TEST(RecentStartups, TheSameWordsInTheSameOrderGiveTheSameSet) {
  RecentStartups recent;
  const auto made = some_set();
  recent.add({{"datestyle", "iso"}, {"timezone", "utc"}}, made);
  EXPECT_EQ(recent.find({{"datestyle", "iso"}, {"timezone", "utc"}}), made);
  EXPECT_EQ(recent.find({{"timezone", "utc"}, {"datestyle", "iso"}}), nullptr);  // the last of one name counts
  EXPECT_EQ(recent.find({{"datestyle", "iso"}}), nullptr);
  EXPECT_EQ(recent.find({{"datestyle", "iso"}, {"timezone", "UTC"}}), nullptr);
  EXPECT_EQ(recent.find({}), nullptr);
}

TEST(RecentStartups, TheOldestMakesWay) {
  RecentStartups recent;
  for (std::size_t i = 0; i <= RecentStartups::kKept; ++i) recent.add({{"a", std::to_string(i)}}, some_set());
  EXPECT_EQ(recent.find({{"a", "0"}}), nullptr);
  for (std::size_t i = 1; i <= RecentStartups::kKept; ++i) EXPECT_NE(recent.find({{"a", std::to_string(i)}}), nullptr);
}

}  // namespace
}  // namespace herdgate::session
