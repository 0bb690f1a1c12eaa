#include "pool/accounts.h"

#include <gtest/gtest.h>

namespace herdgate::pool {
namespace {

const backend::LinkKey kA{NodeId(0), "db", "a"}, kB{NodeId(0), "db", "b"};
const TimePoint kNow{};

TEST(Accounts, TheNodesAndTheKeysLimitsHold) {
  Accounts books(Limits{.per_node = 3, .per_key = 2});
  EXPECT_TRUE(books.try_open(kA));
  EXPECT_TRUE(books.try_open(kA));
  EXPECT_FALSE(books.try_open(kA)) << "own limit";
  EXPECT_TRUE(books.try_open(kB));
  EXPECT_FALSE(books.try_open(kB)) << "the limit of the node";
  books.not_opened(kA, kNow);
  EXPECT_TRUE(books.try_open(kB));
  EXPECT_EQ(books.links(), 3u);
}

// issue: the links to all nodes together were bounded, so that those to one node left none for the others.
TEST(Accounts, EachNodeHasItsOwnLimitAndItsOwnQueue) {
  const backend::LinkKey there{NodeId(1), "db", "a"};
  Accounts books(Limits{.per_node = 1, .per_key = 0});
  ASSERT_TRUE(books.try_open(kA));
  EXPECT_TRUE(books.full(NodeId(0)));
  EXPECT_FALSE(books.full(NodeId(1)));
  ASSERT_TRUE(books.try_open(there));
  EXPECT_EQ(books.links(), 2u);
  const auto first = books.enqueue({{NodeId(1), "db", "b"}, WorkerId(0)});
  EXPECT_FALSE(books.next_for(kA).make_room) << "what is closed at one node is no room at another";
  const auto second = books.enqueue({kB, WorkerId(0)});
  EXPECT_TRUE(books.next_for(kA).make_room);
  books.not_opened(kA, kNow);
  EXPECT_EQ(books.first_that_may_open()->ticket, *second) << "the older one's node is full";
  EXPECT_FALSE(books.first_that_may_open());
  books.not_opened(there, kNow);
  EXPECT_EQ(books.first_that_may_open()->ticket, *first) << "and it recovers";
}

TEST(Accounts, WhatAServerHasNoRoomForIsNotAskedOfIt) {
  const TimePoint now{};
  const NodeId node(0);
  Accounts books(Limits{.per_node = 10, .per_key = 0});
  for (int i = 0; i < 4; ++i) ASSERT_TRUE(books.try_open(kA));
  const Accounts::Refused early = books.refused(kA, now);
  EXPECT_EQ(early.others, 0u);
  EXPECT_EQ(early.opening, 3u);
  EXPECT_FALSE(early.first || early.alone());
  for (int i = 0; i < 3; ++i) books.opened(node);
  ASSERT_TRUE(books.try_open(kA)) << "there may be room for one more";
  const Accounts::Refused refused = books.refused(kA, now);
  EXPECT_TRUE(refused.first);
  EXPECT_EQ(refused.others, 3u);
  EXPECT_TRUE(books.full(node));
  EXPECT_FALSE(books.full(NodeId(1)));
  EXPECT_FALSE(books.try_open(kB));
  ASSERT_TRUE(books.try_open(kB, /*beyond_ceiling=*/true));
  EXPECT_FALSE(books.refused(kB, now).first);
  ASSERT_TRUE(books.enqueue({kB, WorkerId(0)}));
  EXPECT_TRUE(books.next_for(kA).make_room);
  books.not_opened(kA, kNow);
  ASSERT_TRUE(books.first_that_may_open());
  books.opened(node);
  EXPECT_EQ(books.ceiling(node), 4u) << "there may be room for one more";
  books.feel_for_room(now);
  EXPECT_EQ(books.ceiling(node), 4u) << "nobody waits";
  ASSERT_TRUE(books.try_open(kB));
  EXPECT_TRUE(books.enqueue({kB, WorkerId(0)}));
  EXPECT_FALSE(books.first_that_may_open());
  books.feel_for_room(now);
  EXPECT_TRUE(books.first_that_may_open());
  books.feel_for_room(now + Accounts::kCeilingLife);
  EXPECT_FALSE(books.ceiling(node));
}

TEST(Accounts, TheServerBoundsWhomNoLimitOfOursDoes) {
  Accounts books(Limits{.per_node = 3, .per_key = 2});
  for (const auto& key : {kA, kA, kB}) ASSERT_TRUE(books.try_open(key));
  EXPECT_FALSE(books.server_bounds(kB)) << "the limit of the node";
  books.opened(NodeId(0));
  books.refused(kB, kNow);
  EXPECT_TRUE(books.server_bounds(kB));
  EXPECT_FALSE(books.server_bounds(kA)) << "its own limit";
  books.not_opened(kA, kNow);
  EXPECT_FALSE(books.server_bounds(kA)) << "there is room";
  EXPECT_FALSE(books.server_bounds({NodeId(1), "db", "a"}));
}

TEST(Accounts, WhereNobodyGotInThoseWhomTheServerHasRefusedAreTold) {
  const NodeId node(0);
  Accounts books(Limits{.per_node = 10, .per_key = 0});
  ASSERT_TRUE(books.try_open(kA) && books.try_open(kA) && books.try_open(kB));
  EXPECT_EQ(books.refused(kA, kNow).opening, 2u);
  const auto told = books.enqueue({.key = kA, .worker = WorkerId(1), .refused = true});
  const auto untried = books.enqueue({kA, WorkerId(0)});
  EXPECT_FALSE(books.refused(kB, kNow).alone());
  EXPECT_TRUE(books.in_vain(node).empty()) << "one is still getting in";
  const Accounts::Refused last = books.refused(kA, kNow);
  EXPECT_TRUE(last.alone());
  EXPECT_FALSE(last.leaving);
  EXPECT_FALSE(books.first_that_may_open());
  const std::vector<Waiting> refused = books.in_vain(node);
  ASSERT_EQ(refused.size(), 1u);
  EXPECT_EQ(refused[0].ticket, *told);
  EXPECT_EQ(books.first_that_may_open()->ticket, *untried) << "it is tried";
  EXPECT_TRUE(books.in_vain(node).empty());
}

TEST(Accounts, AServersProcessOutlivesItsLink) {
  Accounts books(Limits{.per_node = 10, .per_key = 0});
  ASSERT_TRUE(books.try_open(kA));
  books.opened(NodeId(0));
  books.closed(kA, kNow);
  for (const bool leaving : {true, false}) {
    ASSERT_TRUE(books.try_open(kA));
    EXPECT_EQ(books.refused(kA, leaving ? kNow : kNow + Accounts::kLeaves).leaving, leaving);
    EXPECT_FALSE(books.try_open(kA));
    books.feel_for_room(kNow);
    EXPECT_FALSE(books.ceiling(NodeId(0))) << "nobody waits at it";
  }
}

TEST(Accounts, LinksCrowdANodeWhoseCeilingTheyReach) {
  Accounts books(Limits{.per_node = 100, .per_key = 0});
  for (int i = 0; i < 41; ++i) ASSERT_TRUE(books.try_open(kA));
  EXPECT_FALSE(books.crowds(NodeId(0)));
  for (int i = 0; i < 40; ++i) books.opened(NodeId(0));
  EXPECT_EQ(books.refused(kA, TimePoint{}).others, 40u);
  for (std::size_t i = 0; i < Accounts::kLeftToOthers; ++i) {
    EXPECT_TRUE(books.crowds(NodeId(0)));
    books.not_opened(kA, kNow);
  }
  EXPECT_FALSE(books.crowds(NodeId(0)));
}

// Up to the end they have what the server keeps for superusers: others need room below that.
TEST(Accounts, ASuperusersLinksLeaveMoreToOthers) {
  Accounts books(Limits{.per_node = 100, .per_key = 0});
  for (int i = 0; i < 41; ++i) ASSERT_TRUE(books.try_open(kA));
  for (int i = 0; i < 40; ++i) books.opened(NodeId(0), /*superuser=*/i == 7);
  books.refused(kA, TimePoint{});
  for (std::size_t i = 0; i < Accounts::kLeftToOthers + Accounts::kOnlySuperusers; ++i) {
    EXPECT_TRUE(books.crowds(NodeId(0)));
    books.not_opened(kA, kNow);
  }
  EXPECT_FALSE(books.crowds(NodeId(0)));
}

TEST(Accounts, WaitersAreServedInOrderPerKey) {
  Accounts books(Limits{.per_node = 1, .per_key = 0});
  ASSERT_TRUE(books.try_open(kA));
  const auto first = books.enqueue({kA, WorkerId(0)});
  const auto second = books.enqueue({kB, WorkerId(1)});
  const auto third = books.enqueue({kA, WorkerId(1)});
  ASSERT_TRUE(first && second && third);
  EXPECT_TRUE(books.anybody_waits());
  EXPECT_EQ(books.next_for(kA).taker->ticket, *first);
  EXPECT_EQ(books.next_for(kA).taker->ticket, *third);
  EXPECT_FALSE(books.next_for(kA).taker);
  EXPECT_TRUE(books.next_for(kA).make_room) << "for the second";
  EXPECT_FALSE(books.first_that_may_open()) << "no slot is free";
  books.not_opened(kA, kNow);
  const auto granted = books.first_that_may_open();
  ASSERT_TRUE(granted);
  EXPECT_EQ(granted->ticket, *second);
  EXPECT_EQ(books.links(), 1u) << "the slot is taken for the one who was told";
  EXPECT_FALSE(books.anybody_waits());
}

// A link that is there already proves nothing about a password: who needs the proof only gets a slot.
TEST(Accounts, WhoNeedsAFreshLinkIsNeverGivenAnIdleOne) {
  Accounts books(Limits{.per_node = 1, .per_key = 0});
  ASSERT_TRUE(books.try_open(kA));
  const auto ticket = books.enqueue({.key = kA, .worker = WorkerId(0), .fresh = true});
  EXPECT_FALSE(books.next_for(kA).taker);
  EXPECT_TRUE(books.fresh_wanted(kA));
  EXPECT_FALSE(books.fresh_wanted(kB));
  books.not_opened(kA, kNow);
  EXPECT_EQ(books.first_that_may_open()->ticket, *ticket);
}

// issue: younger ones of the key were given each link, so that a login waited in vain.
TEST(Accounts, WhoNeedsAFreshLinkHasItsTurn) {
  Accounts books(Limits{.per_node = 5, .per_key = 1});
  ASSERT_TRUE(books.try_open(kA));
  const auto first = books.enqueue({kA, WorkerId(0)});
  ASSERT_TRUE(books.enqueue({.key = kA, .worker = WorkerId(0), .fresh = true}));
  ASSERT_TRUE(books.enqueue({kA, WorkerId(0)}));
  EXPECT_EQ(books.next_for(kA).taker->ticket, *first);
  const Accounts::Turn turn = books.next_for(kA);
  EXPECT_FALSE(turn.taker);
  EXPECT_TRUE(turn.make_room);
}

// issue: one of another key waited as long as the first key had somebody in the queue.
TEST(Accounts, YoungerOnesOfTheLinksKeyOvertakeForAWhile) {
  Accounts books(Limits{.per_node = 1, .per_key = 1});
  ASSERT_TRUE(books.try_open(kA));
  const auto other = books.enqueue({kB, WorkerId(0)});
  for (int i = 0; i < Accounts::kMostOvertaken; ++i) {
    const auto younger = books.enqueue({kA, WorkerId(0)});
    const Accounts::Turn turn = books.next_for(kA);
    ASSERT_TRUE(turn.taker);
    EXPECT_EQ(turn.taker->ticket, *younger);
  }
  const auto last = books.enqueue({kA, WorkerId(0)});
  EXPECT_TRUE(books.next_for(kA).make_room);
  books.not_opened(kA, kNow);
  EXPECT_EQ(books.first_that_may_open()->ticket, *other);
  EXPECT_FALSE(books.next_for(kB).taker);
  EXPECT_TRUE(books.next_for(kB).make_room) << "and it recovers";
  books.not_opened(kB, kNow);
  EXPECT_EQ(books.first_that_may_open()->ticket, *last);
}

TEST(Accounts, ALinkIsNotClosedForWhoCouldNotOpenOne) {
  Accounts books(Limits{.per_node = 2, .per_key = 1});
  ASSERT_TRUE(books.try_open(kA) && books.try_open(kB));
  ASSERT_TRUE(books.enqueue({kB, WorkerId(0)}));
  EXPECT_FALSE(books.next_for(kA).make_room);
}

TEST(Accounts, AWaiterWhoseKeyIsAtItsLimitDoesNotBlockOthers) {
  Accounts books(Limits{.per_node = 3, .per_key = 1});
  ASSERT_TRUE(books.try_open(kA));
  const auto a = books.enqueue({kA, WorkerId(0)});
  const auto b = books.enqueue({kB, WorkerId(0)});
  EXPECT_EQ(books.first_that_may_open()->ticket, *b);
  EXPECT_FALSE(books.first_that_may_open());
  EXPECT_TRUE(books.withdraw(kA, *a));
  EXPECT_FALSE(books.withdraw(kA, *a));
}

// issue: at each return of a link the whole queue was gone through, under the lock of the process.
TEST(Accounts, HoweverManyWaitFewAreLookedAt) {
  Accounts books(Limits{.per_node = 2, .per_key = 1});
  ASSERT_TRUE(books.try_open(kA) && books.try_open(kB));
  for (int i = 0; i < 1000; ++i) ASSERT_TRUE(books.enqueue({kA, WorkerId(0)}));
  for (int i = 0; i < 10; ++i) {
    const auto mine = books.enqueue({kB, WorkerId(0)});
    const std::uint64_t before = books.looked_at();
    EXPECT_EQ(books.next_for(kB).taker->ticket, *mine);
    books.not_opened(kB, kNow);
    EXPECT_FALSE(books.first_that_may_open()) << "all who wait are at their limit";
    EXPECT_LE(books.looked_at() - before, 3u);
    ASSERT_TRUE(books.try_open(kB));
  }
  EXPECT_EQ(books.waiting(), 1000u);
  books.set_limits({.per_node = 3, .per_key = 2});
  EXPECT_EQ(books.first_that_may_open()->key, kA) << "and they have their turn";
}

// What links have been given at their logins. Times are seconds since the clock's beginning.
struct AccountsDefaults : ::testing::Test {
  using Learned = Accounts::Learned;
  static TimePoint at(int seconds) { return TimePoint{} + std::chrono::hours(1) + std::chrono::seconds(seconds); }
  Learned learned(int opened, int now, int defaults) {
    return books.learned(kA, {at(opened), at(now), books.settings_epoch(), Defaults(defaults)});
  }
  Accounts books{Limits{.per_node = 9, .per_key = 0}};
  KeyAccountPtr account = books.key_account(kA);
};

TEST_F(AccountsDefaults, TheNewestLinkSaysWhatCounts) {
  EXPECT_EQ(account->defaults, Defaults::unknown);
  EXPECT_EQ(learned(10, 10, 1), Learned::as_others);
  EXPECT_EQ(learned(20, 20, 1), Learned::as_others);
  EXPECT_EQ(learned(30, 30, 2), Learned::newer);
  EXPECT_EQ(account->defaults, Defaults(2));
  EXPECT_EQ(learned(25, 40, 1), Learned::older) << "opened before, asked later";
  EXPECT_EQ(account->defaults, Defaults(2));
  EXPECT_EQ(learned(35, 41, 2), Learned::as_others);
}

TEST_F(AccountsDefaults, LinksThatDifferAllTheTimeAreLeftAlone) {
  learned(10, 10, 1);
  EXPECT_EQ(learned(11, 11, 2), Learned::newer);
  EXPECT_EQ(learned(12, 12, 3), Learned::as_others);
  EXPECT_EQ(learned(15, 15, 4), Learned::as_others);
  EXPECT_EQ(account->defaults, Defaults(4));
  EXPECT_EQ(learned(21, 21, 5), Learned::newer) << "and it recovers";
}

TEST_F(AccountsDefaults, WithTheLastLinkTheyAreForgotten) {
  ASSERT_TRUE(books.try_open(kA) && books.try_open(kA));
  learned(10, 10, 1);
  books.not_opened(kA, kNow);
  EXPECT_EQ(account->defaults, Defaults(1));
  books.not_opened(kA, kNow);
  EXPECT_EQ(account->defaults, Defaults::unknown);
  EXPECT_EQ(learned(5, 20, 2), Learned::as_others);
}

TEST_F(AccountsDefaults, ANewConfigurationBeginsAnew) {
  learned(10, 10, 1);
  const std::uint64_t before = books.settings_epoch();
  books.settings_changed();
  EXPECT_EQ(account->defaults, Defaults::unknown);
  EXPECT_EQ(books.learned(kA, {at(30), at(30), before, Defaults(1)}), Learned::as_others);
  EXPECT_EQ(account->defaults, Defaults::unknown) << "it was asked before";
  EXPECT_EQ(learned(5, 31, 2), Learned::as_others) << "an old link, asked again";
  EXPECT_EQ(account->defaults, Defaults(2));
}

}  // namespace
}  // namespace herdgate::pool
