#include "monitor/replication.h"

#include <gtest/gtest.h>

namespace herdgate::monitor {
namespace {

using std::chrono::microseconds;

TEST(Replication, PositionsAreReadWithBothWords) {
  EXPECT_EQ(parse_position("0/0"), 0u);
  EXPECT_EQ(parse_position("16/B374D848"), 0x16B374D848u);
  EXPECT_EQ(parse_position("FFFFFFFF/FFFFFFFF"), ~std::uint64_t{0});
  for (const char* bad : {"", "/", "1/", "/1", "1", "1/2/3", "x/1", "1/100000000", "-1/2", " 1/2", "1/2 "})
    EXPECT_EQ(parse_position(bad), std::nullopt) << bad;
}

TEST(Replication, SecondsAreReadInEveryFormOfAFloat) {
  EXPECT_EQ(parse_seconds("0.001234"), microseconds(1234));
  EXPECT_EQ(parse_seconds("1e-06"), microseconds(1));
  EXPECT_EQ(parse_seconds("12"), microseconds(12'000'000));
  EXPECT_EQ(parse_seconds("-0.5"), microseconds(0)) << "clocks may run apart";
  for (const char* bad : {"", "x", "1s", "nan", "inf", "1e300"}) EXPECT_EQ(parse_seconds(bad), std::nullopt) << bad;
}

Answer at(std::optional<std::uint64_t> position) {
  Answer a;
  a.position = position;
  return a;
}

struct Round : ::testing::Test {
  std::map<NodeId, Answer> round{{NodeId(0), at(5000)}, {NodeId(1), at(4000)}, {NodeId(2), at(6000)}};
  RoundOptions options{NodeId(0), {{NodeId(1), "one"}, {NodeId(2), ""}}};
  cluster::NodeReplication of(int id) {
    for (const auto& n : replication_report(round, options).nodes)
      if (n.node == NodeId(id)) return n;
    ADD_FAILURE() << "no node " << id;
    return {};
  }
};

TEST_F(Round, DelayIsTheDistanceToThePrimaryAndNeverNegative) {
  EXPECT_EQ(of(0).delay_bytes, 0u);
  EXPECT_EQ(of(1).delay_bytes, 1000u);
  EXPECT_EQ(of(2).delay_bytes, 0u) << "the standby was asked later";
}

TEST_F(Round, ItIsToldWhereThePrimaryIs) { EXPECT_EQ(replication_report(round, options).primary_position, 5000u); }

TEST_F(Round, AStandbyWithoutAPositionHasNoDelay) {
  round[NodeId(1)].position.reset();
  EXPECT_EQ(of(1).delay_bytes, std::nullopt);
}

TEST_F(Round, SendersAreMatchedByTheirApplicationName) {
  round[NodeId(0)].senders = {{"other", "catchup", "async", microseconds(9)},
                              {"one", "streaming", "sync", microseconds(1500)},
                              {"", "startup", "potential", microseconds(7)}};
  EXPECT_EQ(of(1).state, "streaming");
  EXPECT_EQ(of(1).sync_state, "sync");
  EXPECT_EQ(of(1).delay_time, microseconds(1500));
  EXPECT_EQ(of(2).state, "") << "an empty name matches nobody";
  EXPECT_EQ(of(2).delay_time, std::nullopt);
}

TEST_F(Round, AnUnknownLagOfAKnownSenderIsNone) {
  round[NodeId(0)].senders = {{"one", "streaming", "async", std::nullopt}};
  EXPECT_EQ(of(1).delay_time, microseconds(0));
}

TEST_F(Round, OfASenderThatCatchesUpNoLagIsKnownYet) {
  round[NodeId(0)].senders = {{"one", "catchup", "async", std::nullopt}};
  EXPECT_EQ(of(1).delay_time, std::nullopt);
  round[NodeId(0)].senders = {{"one", "catchup", "async", microseconds(7)}};
  EXPECT_EQ(of(1).delay_time, microseconds(7));
}

TEST_F(Round, ByTimeThePrimaryKnowsTheDelayOfOneThatDoesNotAnswer) {
  round.erase(NodeId(1));
  round[NodeId(0)].senders = {{"one", "streaming", "async", microseconds(1500)}};
  EXPECT_EQ(of(1).delay_time, microseconds(1500));
  EXPECT_EQ(of(1).delay_bytes, std::nullopt);
}

TEST_F(Round, WithoutThePrimarysAnswerNothingIsKnown) {
  options.primary = kNoNode;
  EXPECT_TRUE(replication_report(round, options).nodes.empty());
  options.primary = NodeId(7);
  EXPECT_TRUE(replication_report(round, options).nodes.empty());
  options.primary = NodeId(0);
  round[NodeId(0)].position.reset();
  EXPECT_TRUE(replication_report(round, options).nodes.empty());
}

}  // namespace
}  // namespace herdgate::monitor
