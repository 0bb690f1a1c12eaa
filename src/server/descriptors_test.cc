#include "server/descriptors.h"

#include <gtest/gtest.h>

#include <limits>

namespace herdgate::server {
namespace {

TEST(Descriptors, EnoughIsSilentFewWarnTooFewRefuse) {
  const DescriptorNeed need = needed_descriptors(/*num_init_children=*/100, /*max_pool=*/4, /*nodes=*/3);
  EXPECT_EQ(need.links, 1200) << "max_pool x num_init_children to each node";
  EXPECT_EQ(need.most(), 1300 + kOwnDescriptors);
  EXPECT_FALSE(judge_descriptors(need, need.most()).value());
  const auto warned = judge_descriptors(need, need.most() - 1);
  ASSERT_TRUE(warned && *warned);
  EXPECT_EQ(
      **warned,
      "100 clients and 1200 server connections may need 1600 file descriptors, the limit is 1599; in force are 399 "
      "client sockets, waiting ones included, and 900 server connections");
  const auto tight =
      judge_descriptors(needed_descriptors(/*num_init_children=*/700, /*max_pool=*/4, /*nodes=*/3), 1024);
  EXPECT_NE(tight.value().value().find("and 18 server connections"), std::string::npos) << **tight;
  EXPECT_TRUE(judge_descriptors(need, need.least()).value());
  EXPECT_FALSE(judge_descriptors(need, need.least() - 1));
}

TEST(Descriptors, AbsurdNumbersDoNotOverflow) {
  constexpr int kMax = std::numeric_limits<int>::max();
  const DescriptorNeed need = needed_descriptors(kMax, kMax, 128);
  EXPECT_GT(need.most(), need.least());
  EXPECT_FALSE(judge_descriptors(need, 1'000'000));
}

TEST(Descriptors, WhatComesFromOutsideLeavesOurOwn) {
  const DescriptorNeed need = needed_descriptors(/*num_init_children=*/100, /*max_pool=*/4, /*nodes=*/3);
  for (std::int64_t limit = need.least(); limit < 2 * need.most(); ++limit) {
    const SocketBounds bounds = socket_bounds(need, limit);
    EXPECT_EQ(bounds.clients + bounds.links, limit - kOwnDescriptors);
    EXPECT_GE(bounds.clients, need.clients);
    EXPECT_GE(bounds.links, need.nodes);
    EXPECT_LE(bounds.links, need.links);
  }
  EXPECT_EQ(socket_bounds(need, 2000).links, 1200) << "all, where they fit";
  EXPECT_EQ(socket_bounds(need, 800).clients, 200) << "not num_init_children alone: some wait or cancel";
}

TEST(Descriptors, TheLimitIsRaised) { EXPECT_GT(raise_descriptor_limit(), 0); }

}  // namespace
}  // namespace herdgate::server
