#include "report/figures.h"

#include <gtest/gtest.h>

namespace herdgate::report {
namespace {

TEST(Figures, PoolsAreInOrderAndBounded) {
  Figures few;
  few.pools = {{NodeId(1), "b", "u", {}, 0}, {NodeId(0), "b", "u", {}, 0}, {NodeId(7), "a", "z", {}, 0}};
  keep_first_pools(few);
  ASSERT_EQ(few.pools.size(), 3u);
  EXPECT_EQ(few.pools[0].database, "a");
  EXPECT_EQ(few.pools[1].node, NodeId(0));
  EXPECT_EQ(few.pools_left_out, 0u);

  Figures many;
  for (std::size_t i = 0; i < Figures::kMaxPools + 5; ++i)
    many.pools.push_back({NodeId(0), "d", std::to_string(10'000 - i), {}, 0});
  keep_first_pools(many);
  EXPECT_EQ(many.pools.size(), Figures::kMaxPools);
  EXPECT_EQ(many.pools_left_out, 5u);
  EXPECT_LT(many.pools.front().user, many.pools.back().user);
}

}  // namespace
}  // namespace herdgate::report
