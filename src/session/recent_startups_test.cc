#include "session/recent_startups.h"

#include <gtest/gtest.h>

namespace herdgate::session {
namespace {

TEST(RecentStartups, TheSameOctetsAskForTheSame) {
  RecentStartups recent;
  const auto asked = std::make_shared<const Asked>();
  recent.add("user\0alice\0", asked);
  EXPECT_EQ(recent.find("user\0alice\0"), asked);
  EXPECT_EQ(recent.find(ByteView("user\0alicf\0", 11)), nullptr);
  EXPECT_EQ(recent.find("use"), nullptr);
  EXPECT_EQ(recent.find({}), nullptr);  // an empty place is nobody's
}

TEST(RecentStartups, TheOldestMakesWay) {
  RecentStartups recent;
  for (std::size_t i = 0; i <= RecentStartups::kKept; ++i)
    recent.add(std::to_string(i), std::make_shared<const Asked>());
  EXPECT_EQ(recent.find("0"), nullptr);
  for (std::size_t i = 1; i <= RecentStartups::kKept; ++i) EXPECT_NE(recent.find(std::to_string(i)), nullptr);
}

TEST(RecentStartups, LongPacketsAreNotKept) {
  RecentStartups recent;
  recent.add(std::string(RecentStartups::kMaxPacket + 1, 'x'), std::make_shared<const Asked>());
  EXPECT_EQ(recent.find(std::string(RecentStartups::kMaxPacket + 1, 'x')), nullptr);
}

}  // namespace
}  // namespace herdgate::session
