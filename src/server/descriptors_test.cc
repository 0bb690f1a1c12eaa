#include "server/descriptors.h"

#include <gtest/gtest.h>

#include <limits>

namespace herdgate::server {
namespace {

TEST(Descriptors, EnoughIsSilentFewWarnTooFewRefuse) {
  const DescriptorNeed need = needed_descriptors(/*num_init_children=*/100, /*max_pool=*/4, /*nodes=*/3);
  EXPECT_EQ(need.links, 1200);
  EXPECT_EQ(need.most(), 1300 + kOwnDescriptors);
  EXPECT_FALSE(judge_descriptors(need, need.most()).value());
  const auto warned = judge_descriptors(need, need.most() - 1);
  ASSERT_TRUE(warned && *warned);
  EXPECT_EQ(**warned, "100 clients and 1200 server connections may need 1600 file descriptors, the limit is 1599");
  EXPECT_TRUE(judge_descriptors(need, need.least()).value());
  EXPECT_FALSE(judge_descriptors(need, need.least() - 1));
}

TEST(Descriptors, AbsurdNumbersDoNotOverflow) {
  constexpr int kMax = std::numeric_limits<int>::max();
  const DescriptorNeed need = needed_descriptors(kMax, kMax, 128);
  EXPECT_GT(need.most(), need.least());
  EXPECT_FALSE(judge_descriptors(need, 1'000'000));
}

TEST(Descriptors, TheLimitIsRaised) { EXPECT_GT(raise_descriptor_limit(), 0); }

}  // namespace
}  // namespace herdgate::server
