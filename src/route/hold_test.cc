#include "route/hold.h"

#include <gtest/gtest.h>

namespace herdgate::route {
namespace {

cluster::View herd(NodeId primary, bool awaited) {
  cluster::View view;
  for (int i = 0; i < 3; ++i) {
    cluster::Node node;
    node.id = NodeId(i);
    view.nodes.push_back(node);
  }
  view.primary = primary;
  view.primary_awaited = awaited;
  return view;
}

TEST(Hold, NothingWaitsInACalmHerd) {
  const cluster::View calm = herd(NodeId(0), false);
  for (const bool write : {false, true})
    EXPECT_EQ(hold({.view = calm, .node = NodeId(0), .write = write, .begins = true}), Hold::none);
}

TEST(Hold, WhatGoesToThePrimaryWaitsForOne) {
  const cluster::View searching = herd(NodeId(0), true);
  EXPECT_EQ(hold({.view = searching, .node = NodeId(0), .write = true, .begins = true}), Hold::primary);
  EXPECT_EQ(hold({.view = searching, .node = NodeId(0)}), Hold::primary);
  EXPECT_EQ(hold({.view = searching, .node = NodeId(1)}), Hold::none);
}

TEST(Hold, WhereNoneWasEverFoundOnlyWritesWait) {
  const cluster::View unknown = herd(kNoNode, true);
  EXPECT_EQ(hold({.view = unknown, .node = NodeId(0), .write = true}), Hold::primary);
  EXPECT_EQ(hold({.view = unknown, .node = NodeId(0)}), Hold::none);
}

TEST(Hold, APlannedChangeLetsWhatHasBegunEnd) {
  cluster::View switching = herd(NodeId(0), false);
  switching.switching = true;
  EXPECT_EQ(hold({.view = switching, .node = NodeId(0), .write = true, .begins = true}), Hold::primary);
  EXPECT_EQ(hold({.view = switching, .node = NodeId(0), .write = true, .begins = false}), Hold::none);
  EXPECT_EQ(hold({.view = switching, .node = NodeId(1), .begins = true}), Hold::none);
}

TEST(Hold, WritesThatBeginWaitForOutcomesThatAreAskedFor) {
  const cluster::View calm = herd(NodeId(1), false);
  const auto held = [&](bool write, bool begins) {
    return hold({.view = calm, .node = NodeId(1), .write = write, .begins = begins, .outcomes_open = true});
  };
  EXPECT_EQ(held(true, true), Hold::outcomes);
  EXPECT_EQ(held(false, true), Hold::none);
  EXPECT_EQ(held(true, false), Hold::none);
}

TEST(Hold, WhoseCommitMayBeLostReadsLaterToo) {
  const cluster::View calm = herd(NodeId(1), false);
  const auto held = [&](NodeId node, bool begins) {
    return hold({.view = calm, .node = node, .begins = begins, .outcomes_open = true, .may_miss_own = true});
  };
  EXPECT_EQ(held(NodeId(1), true), Hold::outcomes);
  EXPECT_EQ(held(NodeId(2), true), Hold::outcomes) << "a standby follows the new primary";
  EXPECT_EQ(held(NodeId(1), false), Hold::none);
}

TEST(Hold, APauseHoldsWhatBeginsAndNothingElse) {
  const cluster::View calm = herd(NodeId(0), false);
  EXPECT_EQ(hold({.view = calm, .node = NodeId(1), .begins = true, .paused = true}), Hold::pause);
  EXPECT_EQ(hold({.view = calm, .node = NodeId(0), .write = true, .begins = false, .paused = true}), Hold::none);
  // In a failover the transaction that is open waits for the primary, paused or not.
  const cluster::View searching = herd(NodeId(0), true);
  EXPECT_EQ(hold({.view = searching, .node = NodeId(0), .write = true, .begins = false, .paused = true}),
            Hold::primary);
}

}  // namespace
}  // namespace herdgate::route
