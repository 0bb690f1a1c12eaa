#include "cluster/state_file.h"

#include <gtest/gtest.h>

#include <cstring>

namespace herdgate::cluster {
namespace {

using S = SavedStatus;

TEST(StateFile, ReadsWordsInAnyCaseWithBlanksAround) {
  const StateFile f = parse_state_file("up\n DOWN \t\r\nUnused\nuP");
  EXPECT_EQ(f.nodes, (std::vector{S::up, S::down, S::unused, S::up}));
  EXPECT_TRUE(f.complaints.empty());
}

TEST(StateFile, NamesTheLineItDoesNotUnderstandAndCountsItAsUp) {
  const StateFile f = parse_state_file("down\nsleeping\n\ndown\n");
  EXPECT_EQ(f.nodes, (std::vector{S::down, S::up, S::up, S::down}));
  ASSERT_EQ(f.complaints.size(), 2u);
  EXPECT_EQ(f.complaints[0], "line 2: \"sleeping\" is none of up, down, unused");
  EXPECT_EQ(f.complaints[1], "line 3: \"\" is none of up, down, unused");
}

TEST(StateFile, HostileBytesAreShownAsQuestionMarksAndCut) {
  const StateFile f = parse_state_file("\x1b[2J" + std::string(10'000, 'x'));
  ASSERT_EQ(f.complaints.size(), 1u);
  EXPECT_EQ(f.complaints[0], "line 1: \"?[2j" + std::string(28, 'x') + "\" is none of up, down, unused");
}

TEST(StateFile, ReadsTheOldBinaryForm) {
  const std::uint32_t numbers[] = {2, 3, 1, 0, 77};
  const StateFile f = parse_state_file({reinterpret_cast<const char*>(numbers), sizeof numbers});
  EXPECT_EQ(f.nodes, (std::vector{S::up, S::down, S::up, S::unused, S::up}));
  ASSERT_EQ(f.complaints.size(), 1u);
  EXPECT_EQ(f.complaints[0], "node 4: no such status number: 77");
}

TEST(StateFile, LooksAtNoMoreThanTheNodesThereCanBe) {
  std::string text;
  for (int i = 0; i < 100'000; ++i) text += "down\n";
  EXPECT_EQ(parse_state_file(text).nodes.size(), 128u);
  EXPECT_EQ(parse_state_file(std::string(4'000, '\0')).nodes.size(), 128u);
  EXPECT_TRUE(parse_state_file("").nodes.empty());
}

TEST(StateFile, WhatIsPrintedIsReadBack) {
  std::vector<Node> nodes(3);
  nodes[0].id = NodeId(0);
  nodes[0].status = NodeStatus::up;
  nodes[1].id = NodeId(2);
  nodes[1].status = NodeStatus::down;
  nodes[2].id = NodeId(3);
  nodes[2].status = NodeStatus::waiting;
  EXPECT_EQ(print_state_file(nodes), "up\nunused\ndown\nup\n");
  EXPECT_EQ(parse_state_file(print_state_file(nodes)).nodes, (std::vector{S::up, S::unused, S::down, S::up}));
}

}  // namespace
}  // namespace herdgate::cluster
