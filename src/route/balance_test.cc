// The load balance node over many fixed draws: shares must be those of the weights and ratios, every time the same.
#include <gtest/gtest.h>

#include <cmath>
#include <map>

#include "base/random.h"
#include "route/route.h"

namespace herdgate::route {
namespace {

constexpr int kDraws = 100'000;
constexpr std::uint64_t kSeed = 20240501;

cluster::View nodes(const std::vector<double>& weights) {
  cluster::View v;
  for (std::size_t i = 0; i < weights.size(); ++i)
    v.nodes.push_back({.id = NodeId{static_cast<int>(i)}, .weight = weights[i], .status = cluster::NodeStatus::up});
  v.primary = NodeId{0};
  return v;
}

config::Settings with_users(std::string_view redirects) {
  config::Settings s;
  auto patterns = std::make_shared<config::Patterns>();
  auto list = config::parse_redirects(redirects);
  EXPECT_TRUE(list) << (list ? "" : list.error().text());
  if (list) patterns->user_redirects = *std::move(list);
  s.patterns = patterns;
  return s;
}

using Counts = std::map<int, int>;

Counts drawn(const cluster::View& view, const config::Settings& settings, std::string_view user = "alice") {
  Random random(kSeed);
  Counts out;
  for (int i = 0; i < kDraws; ++i) {
    const LbInput in{.view = view,
                     .settings = settings,
                     .user = user,
                     .database = {},
                     .application_name = {},
                     .draw = random.fraction(),
                     .draw2 = random.fraction()};
    ++out[choose_lb_node(in).node.value];
  }
  return out;
}

// Sum of (seen - expected)^2 / expected. With up to five degrees of freedom a fair choice stays below 30 but for one
// case in 50,000; the draws are fixed, so this cannot fail by chance.
double chi_square(const Counts& seen, const std::map<int, double>& shares) {
  double sum = 0;
  int counted = 0;
  for (const auto& [node, share] : shares) {
    const auto it = seen.find(node);
    const int n = it == seen.end() ? 0 : it->second;
    counted += n;
    sum += std::pow(n - share * kDraws, 2) / (share * kDraws);
  }
  return counted == kDraws ? sum : INFINITY;  // a node was chosen that may never be
}
constexpr double kFair = 30;

TEST(ChooseLbNode, FollowsTheWeights) {
  EXPECT_LT(chi_square(drawn(nodes({1, 1, 1}), {}), {{0, 1 / 3.0}, {1, 1 / 3.0}, {2, 1 / 3.0}}), kFair);
  EXPECT_LT(chi_square(drawn(nodes({0, 1, 3}), {}), {{1, 0.25}, {2, 0.75}}), kFair);
  EXPECT_LT(chi_square(drawn(nodes({0.1, 0.2, 0.3, 0.4}), {}), {{0, 0.1}, {1, 0.2}, {2, 0.3}, {3, 0.4}}), kFair);
  // The bound is tight enough to notice a wrong share.
  EXPECT_GT(chi_square(drawn(nodes({0, 1, 3}), {}), {{1, 0.26}, {2, 0.74}}), kFair);
}

TEST(ChooseLbNode, LeavesOutNodesThatAreNotLive) {
  cluster::View v = nodes({1, 1, 2});
  v.nodes[0].status = cluster::NodeStatus::down;
  EXPECT_LT(chi_square(drawn(v, {}), {{1, 1 / 3.0}, {2, 2 / 3.0}}), kFair);
  v.nodes[2].quarantined = true;
  EXPECT_LT(chi_square(drawn(v, {}), {{1, 1.0}}), kFair);
}

TEST(ChooseLbNode, RatioOfANumberedNodeAndOfThePrimary) {
  // 0.4 to node 2, the rest by weight among 0 (1) and 1 (2).
  EXPECT_LT(chi_square(drawn(nodes({1, 2, 5}), with_users("alice:2(0.4)")), {{0, 0.2}, {1, 0.4}, {2, 0.4}}), kFair);
  EXPECT_LT(chi_square(drawn(nodes({1, 2, 6}), with_users("alice:primary(0.2)")), {{0, 0.2}, {1, 0.2}, {2, 0.6}}),
            kFair);
  EXPECT_LT(chi_square(drawn(nodes({1, 1, 1}), with_users("alice:primary")), {{0, 1.0}}), kFair);
}

TEST(ChooseLbNode, RatioOfStandby) {
  EXPECT_LT(chi_square(drawn(nodes({4, 1, 3}), with_users("alice:standby(0.6)")), {{0, 0.4}, {1, 0.15}, {2, 0.45}}),
            kFair);
  EXPECT_LT(chi_square(drawn(nodes({4, 1, 3}), with_users("alice:standby")), {{1, 0.25}, {2, 0.75}}), kFair);
}

TEST(ChooseLbNode, OthersAreNotRedirected) {
  EXPECT_LT(chi_square(drawn(nodes({1, 1}), with_users("alice:1")), {{1, 1.0}}), kFair);
  EXPECT_LT(chi_square(drawn(nodes({1, 1}), with_users("alice:1"), "bob"), {{0, 0.5}, {1, 0.5}}), kFair);
}

// The last node must be reached, and never passed, at the very end of the range.
TEST(ChooseLbNode, BothEndsOfTheDraw) {
  const cluster::View v = nodes({0.1, 0.2, 0.7});
  const config::Settings settings;
  const auto at = [&](double draw) {
    return choose_lb_node({.view = v,
                           .settings = settings,
                           .user = {},
                           .database = {},
                           .application_name = {},
                           .draw = 0,
                           .draw2 = draw})
        .node;
  };
  EXPECT_EQ(at(0), NodeId{0});
  EXPECT_EQ(at(std::nextafter(1.0, 0.0)), NodeId{2});
}

TEST(LeastDelayedStandby, TiesAreDecidedByWeight) {
  cluster::View v = nodes({1, 1, 3, 1});
  v.nodes[1].delay_bytes = v.nodes[2].delay_bytes = 10;
  v.nodes[3].delay_bytes = 11;
  config::Settings settings;
  settings.delay_threshold = 100;
  Random random(kSeed);
  Counts seen;
  for (int i = 0; i < kDraws; ++i) ++seen[least_delayed_standby(v, settings, random.fraction()).value];
  EXPECT_LT(chi_square(seen, {{1, 0.25}, {2, 0.75}}), kFair);
}

TEST(TooLate, IsStrictlyGreater) {
  config::Settings settings;
  settings.delay_threshold = 10;
  cluster::Node node{.real_role = cluster::Role::standby, .delay_bytes = 10};
  EXPECT_FALSE(too_late(node, settings));
  node.delay_bytes = 11;
  EXPECT_TRUE(too_late(node, settings));
  settings.sr_check_period = std::chrono::seconds{0};
  EXPECT_FALSE(too_late(node, settings));
}

TEST(TooLate, ByTimeMakesBytesMeaningless) {
  config::Settings settings;
  settings.delay_threshold = 10;
  settings.delay_threshold_by_time = std::chrono::milliseconds{5};
  cluster::Node node{.real_role = cluster::Role::standby, .delay_bytes = 1000};
  EXPECT_FALSE(too_late(node, settings));  // PostgreSQL 9.6 and older give no time
  node.delay_time = std::chrono::microseconds{5000};
  EXPECT_FALSE(too_late(node, settings));
  node.delay_time = std::chrono::microseconds{5001};
  EXPECT_TRUE(too_late(node, settings));
  node.real_role = cluster::Role::primary;
  EXPECT_FALSE(too_late(node, settings));
}

TEST(Balance, ANodeInDoubtIsChosenOnlyWhenThereIsNoOther) {
  const auto chosen = [](const cluster::View& view, const config::Settings& settings) {
    LbInput in{.view = view, .settings = settings, .user = "alice", .database = {}, .application_name = {}};
    in.avoid = NodeId{0};
    return choose_lb_node(in).node;
  };
  const config::Settings plain = with_users("");
  EXPECT_EQ(chosen(nodes({1, 1}), plain), NodeId{1});
  EXPECT_EQ(chosen(nodes({1, 0}), plain), NodeId{0});
  EXPECT_EQ(chosen(nodes({1, 1}), with_users("alice:primary(1.0)")), NodeId{1});
  EXPECT_EQ(chosen(nodes({1, 1}), with_users("alice:0(1.0)")), NodeId{1});
}

}  // namespace
}  // namespace herdgate::route
