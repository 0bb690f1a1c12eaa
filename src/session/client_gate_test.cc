#include <gtest/gtest.h>

#include "session/shared.h"

namespace herdgate::session {
namespace {

ClientGate::Waiting client(std::uint64_t id) { return {WorkerId(0), SessionId(id)}; }

TEST(ClientGate, WhileItIsShutNewOnesWaitAndTheLastOneOutIsTold) {
  ClientGate gate;
  ASSERT_EQ(gate.enter(client(1), 2, 0), ClientGate::Entry::in);
  ASSERT_EQ(gate.enter(client(2), 2, 0), ClientGate::Entry::in);
  int told = 0;
  gate.shut([&] { ++told; });
  EXPECT_EQ(gate.enter(client(3), 9, 0), ClientGate::Entry::wait);
  EXPECT_EQ(gate.leave(2), std::nullopt) << "nobody comes in for it";
  EXPECT_EQ(told, 0);
  EXPECT_EQ(gate.leave(2), std::nullopt);
  EXPECT_EQ(told, 1);
  EXPECT_EQ(gate.enter(client(4), 2, 0), ClientGate::Entry::wait);
  EXPECT_EQ(gate.enter(client(5), 2, 0), ClientGate::Entry::wait);
  const auto in = gate.open(2);
  ASSERT_EQ(in.size(), 2u) << "as many as there is room for";
  EXPECT_EQ(in[0].session, SessionId(3));
  EXPECT_EQ(in[1].session, SessionId(4));
  EXPECT_EQ(gate.inside(), 2u);
  ASSERT_TRUE(gate.leave(2).has_value()) << "the last one waits as before";
}

TEST(ClientGate, WhoGoesLeavesTheOrderOfTheOthers) {
  ClientGate gate;
  ASSERT_EQ(gate.enter(client(1), 1, 0), ClientGate::Entry::in);
  for (std::uint64_t id = 2; id <= 5; ++id) ASSERT_EQ(gate.enter(client(id), 1, 0), ClientGate::Entry::wait);
  gate.withdraw(SessionId(2));
  gate.withdraw(SessionId(4));
  gate.withdraw(SessionId(4));
  EXPECT_EQ(gate.waiting(), 2u);
  EXPECT_EQ(gate.leave(1)->session, SessionId(3));
  gate.withdraw(SessionId(3));  // it has its place already
  EXPECT_EQ(gate.leave(1)->session, SessionId(5));
  EXPECT_EQ(gate.leave(1), std::nullopt);
}

TEST(ClientGate, AnEmptyHouseIsToldAtOnceAndOpeningForgetsWhoAsked) {
  ClientGate gate;
  int told = 0;
  gate.shut([&] { ++told; });
  EXPECT_EQ(told, 1);
  EXPECT_TRUE(gate.open(5).empty());
  ASSERT_EQ(gate.enter(client(1), 5, 0), ClientGate::Entry::in);
  gate.shut([&] { ++told; });
  gate.open(5);
  EXPECT_EQ(gate.leave(5), std::nullopt);
  EXPECT_EQ(told, 1) << "it was opened again";
}

}  // namespace
}  // namespace herdgate::session
