#include "pool/accounts.h"

#include <gtest/gtest.h>

namespace herdgate::pool {
namespace {

const backend::LinkKey kA{NodeId(0), "db", "a"}, kB{NodeId(0), "db", "b"};

TEST(Accounts, TotalAndOwnLimitsHold) {
  Accounts books(Limits{.total = 3, .per_key = 2});
  EXPECT_TRUE(books.try_open(kA));
  EXPECT_TRUE(books.try_open(kA));
  EXPECT_FALSE(books.try_open(kA)) << "own limit";
  EXPECT_TRUE(books.try_open(kB));
  EXPECT_FALSE(books.try_open(kB)) << "total limit";
  books.closed(kA);
  EXPECT_TRUE(books.try_open(kB));
  EXPECT_EQ(books.links(), 3u);
}

TEST(Accounts, WaitersAreServedInOrderPerKey) {
  Accounts books(Limits{.total = 1, .per_key = 0});
  ASSERT_TRUE(books.try_open(kA));
  const auto first = books.enqueue({kA, WorkerId(0)});
  const auto second = books.enqueue({kB, WorkerId(1)});
  const auto third = books.enqueue({kA, WorkerId(1)});
  ASSERT_TRUE(first && second && third);
  EXPECT_TRUE(books.anybody_waits());
  EXPECT_EQ(books.first_waiting(kA)->ticket, *first);
  EXPECT_EQ(books.first_waiting(kA)->ticket, *third);
  EXPECT_FALSE(books.first_waiting(kA));
  EXPECT_FALSE(books.first_that_may_open()) << "no slot is free";
  books.closed(kA);
  const auto granted = books.first_that_may_open();
  ASSERT_TRUE(granted);
  EXPECT_EQ(granted->ticket, *second);
  EXPECT_EQ(books.links(), 1u) << "the slot is taken for the one who was told";
  EXPECT_FALSE(books.anybody_waits());
}

// A link that is there already proves nothing about a password: who needs the proof only gets a slot.
TEST(Accounts, WhoNeedsAFreshLinkIsNeverGivenAnIdleOne) {
  Accounts books(Limits{.total = 1, .per_key = 0});
  ASSERT_TRUE(books.try_open(kA));
  const auto ticket = books.enqueue({.key = kA, .worker = WorkerId(0), .fresh = true});
  EXPECT_FALSE(books.first_waiting(kA));
  EXPECT_TRUE(books.fresh_wanted(kA));
  EXPECT_FALSE(books.fresh_wanted(kB));
  books.closed(kA);
  EXPECT_EQ(books.first_that_may_open()->ticket, *ticket);
}

TEST(Accounts, AWaiterWhoseKeyIsAtItsLimitDoesNotBlockOthers) {
  Accounts books(Limits{.total = 3, .per_key = 1});
  ASSERT_TRUE(books.try_open(kA));
  const auto a = books.enqueue({kA, WorkerId(0)});
  const auto b = books.enqueue({kB, WorkerId(0)});
  EXPECT_EQ(books.first_that_may_open()->ticket, *b);
  EXPECT_FALSE(books.first_that_may_open());
  EXPECT_TRUE(books.withdraw(*a));
  EXPECT_FALSE(books.withdraw(*a));
}

}  // namespace
}  // namespace herdgate::pool
