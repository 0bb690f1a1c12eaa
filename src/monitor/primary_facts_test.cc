#include "monitor/primary_facts.h"

#include <gtest/gtest.h>

namespace herdgate::monitor {
namespace {

Answer primary(const char* names, std::uint64_t position) {
  Answer a;
  a.in_recovery = false;
  a.sync_names = names;
  a.position = position;
  a.timeline = 4;
  return a;
}
Answer standby() {
  Answer a;
  a.in_recovery = true;
  a.position = 7;
  return a;
}
Answer gone() {
  Answer a;
  a.outcome = cluster::Outcome::unreachable;
  return a;
}

constexpr NodeId kOld{0}, kNew{1};

TEST(PrimaryFacts, NothingIsKnownOfANodeThatWasNeverAsked) {
  const PrimaryFacts facts;
  EXPECT_FALSE(facts.of(kOld).rule);
  EXPECT_FALSE(facts.of(kOld).position);
}

TEST(PrimaryFacts, TheLastWordsOfAPrimaryStayWhenItIsGone) {
  PrimaryFacts facts;
  facts.note(kOld, primary("", 10), kNoNode);
  facts.note(kOld, primary("ANY 2 (a, b, c)", 20), kNoNode);
  facts.note(kOld, gone(), kNoNode);
  ASSERT_TRUE(facts.of(kOld).rule);
  EXPECT_EQ(facts.of(kOld).rule->count, 2u);
  EXPECT_EQ(facts.of(kOld).position, 20u);
  EXPECT_EQ(facts.of(kOld).timeline, 4);
}

TEST(PrimaryFacts, NamesThatAreNotUnderstoodAreUnknown) {
  PrimaryFacts facts;
  facts.note(kOld, primary("", 10), kNoNode);
  facts.note(kOld, primary("ANY (", 20), kNoNode);
  EXPECT_FALSE(facts.of(kOld).rule) << "not asynchronous, as it was before";
}

// It may die before the next probe.
TEST(PrimaryFacts, APromotedNodeIsKnownAtOnce) {
  PrimaryFacts facts;
  facts.promoted(kNew, {cluster::parse_sync_names("ANY 1 (a, b)"), 30, 5});
  ASSERT_TRUE(facts.of(kNew).rule);
  EXPECT_EQ(facts.of(kNew).rule->count, 1u);
  EXPECT_EQ(facts.of(kNew).position, 30u);
  EXPECT_EQ(facts.of(kNew).timeline, 5);
}

TEST(PrimaryFacts, APromotedNodeThatDidNotSayIsUnknownWhateverItSaidOnce) {
  PrimaryFacts facts;
  facts.note(kNew, primary("", 10), kNoNode);
  facts.promoted(kNew, {});
  EXPECT_FALSE(facts.of(kNew).rule);
}

// A year later somebody promotes it by hand, with names that were changed meanwhile, and it dies before it is asked.
TEST(PrimaryFacts, AStandbyThatOnceWasThePrimaryIsUnknown) {
  PrimaryFacts facts;
  facts.note(kOld, primary("", 10), kNoNode);
  facts.note(kOld, standby(), kNoNode);
  EXPECT_FALSE(facts.of(kOld).rule);
}

TEST(PrimaryFacts, ThePrimaryBeingReplacedCountsAlsoWhenItAnswersAsAStandby) {
  PrimaryFacts facts;
  facts.note(kOld, primary("ANY 1 (a)", 10), kNoNode);
  facts.note(kOld, standby(), kOld);
  EXPECT_TRUE(facts.of(kOld).rule);
}

}  // namespace
}  // namespace herdgate::monitor
