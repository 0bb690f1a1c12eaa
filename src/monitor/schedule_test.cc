#include "monitor/schedule.h"

#include <gtest/gtest.h>

namespace herdgate::monitor {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

const NodeId kA(0), kB(1), kC(2);
using Ids = std::vector<NodeId>;

struct Scheduled : ::testing::Test {
  Schedule schedule;
  TimePoint now{seconds(1000)};

  void SetUp() override {
    schedule.set_period(seconds(10), now);
    schedule.watch({kA, kB}, now);
  }
  Due due_at(Duration after) { return schedule.due(now += after); }
  void well(NodeId id) { schedule.ended(id, true, now); }
  void ill(NodeId id) { schedule.ended(id, false, now); }
  void first_round() {
    EXPECT_TRUE(schedule.due(now).round);
    well(kA);
    well(kB);
  }
};

TEST_F(Scheduled, ARoundAtOnceAndThenOnceAPeriod) {
  EXPECT_LE(schedule.next(), now);
  const Due first = schedule.due(now);
  EXPECT_TRUE(first.round);
  EXPECT_EQ(first.nodes, (Ids{kA, kB}));
  EXPECT_TRUE(first.alone.empty());
  well(kA);
  well(kB);
  EXPECT_EQ(schedule.next(), now + seconds(10));
  EXPECT_FALSE(due_at(seconds(9)).round);
  EXPECT_EQ(due_at(seconds(1)).nodes, (Ids{kA, kB}));
}

TEST_F(Scheduled, ANodeThatHangsIsNotProbedTwiceAndHoldsUpNobody) {
  schedule.due(now);
  well(kA);
  EXPECT_EQ(due_at(seconds(10)).nodes, Ids{kA});
  well(kB);
  well(kA);
  EXPECT_EQ(due_at(seconds(10)).nodes, (Ids{kA, kB}));
}

TEST_F(Scheduled, ATroubledNodeIsProbedAloneAtGrowingPausesThatStayBounded) {
  schedule.due(now);
  well(kA);
  std::vector<int> pauses;
  for (int i = 0; i < 7; ++i) {
    ill(kB);
    const TimePoint ended = now;
    Due due;
    do {  // rounds of A pass by
      now = schedule.next();
      due = schedule.due(now);
      for (NodeId id : due.nodes) {
        EXPECT_EQ(id, kA);
        well(id);
      }
    } while (due.alone.empty());
    EXPECT_EQ(due.alone, Ids{kB});
    pauses.push_back(static_cast<int>(std::chrono::duration_cast<seconds>(now - ended).count()));
  }
  EXPECT_EQ(pauses, (std::vector<int>{1, 2, 4, 8, 10, 10, 10}));
  well(kB);
  EXPECT_LE(schedule.next(), now + kTroubledPause) << "its delay is to be known soon";
  now = schedule.next();
  EXPECT_EQ(schedule.due(now).nodes, (Ids{kA, kB})) << "it is back in the rounds";
}

TEST_F(Scheduled, RecoveryMakesTheNextTroubleStartWithAShortPauseAgain) {
  schedule.due(now);
  well(kA);
  for (int i = 0; i < 5; ++i) {
    ill(kB);
    now += seconds(10);
    schedule.due(now);
    well(kA);
  }
  well(kB);
  schedule.due(now += kTroubledPause);
  well(kA);
  well(kB);
  schedule.hint(kB, now += seconds(5));
  EXPECT_EQ(schedule.due(now).alone, Ids{kB});
  ill(kB);
  EXPECT_EQ(schedule.next(), now + kTroubledPause);
}

TEST_F(Scheduled, AHintCausesOneProbeAtOnce) {
  first_round();
  now += seconds(3);
  for (int i = 0; i < 1000; ++i) schedule.hint(kB, now);
  EXPECT_EQ(schedule.next(), now);
  const Due due = schedule.due(now);
  EXPECT_FALSE(due.round);
  EXPECT_EQ(due.alone, Ids{kB});
  EXPECT_TRUE(schedule.due(now).alone.empty());
}

TEST_F(Scheduled, HintsInAStormAreRateLimited) {
  first_round();
  int probes = 0;
  const TimePoint end = now + seconds(9);
  for (; now < end; now += milliseconds(10)) {
    schedule.hint(kB, now);
    if (!schedule.due(now).alone.empty()) {
      ++probes;
      well(kB);
    }
  }
  EXPECT_GE(probes, 43);
  EXPECT_LE(probes, 46);
}

TEST_F(Scheduled, AHintDuringAProbeIsNotLost) {
  first_round();
  schedule.hint(kB, now += seconds(3));
  schedule.due(now);
  schedule.hint(kB, now);
  EXPECT_EQ(schedule.next(), now + seconds(7)) << "nothing but the round while it runs";
  well(kB);
  EXPECT_EQ(schedule.next(), now + kHintPause);
  EXPECT_EQ(due_at(kHintPause).alone, Ids{kB});
}

TEST_F(Scheduled, AShorterPeriodBringsTheRoundForwardALongerOnePutsItOff) {
  first_round();
  schedule.set_period(seconds(1), now);
  EXPECT_EQ(schedule.next(), now + seconds(1));
  schedule.set_period(seconds(30), now);
  EXPECT_EQ(schedule.next(), now + seconds(30));
  now += seconds(20);
  schedule.set_period(seconds(5), now);
  EXPECT_EQ(schedule.next(), now);
}

TEST_F(Scheduled, NodesComeAndGo) {
  first_round();
  now += seconds(2);
  schedule.watch({kA, kC}, now);
  const Due due = schedule.due(now);
  EXPECT_TRUE(due.round);
  EXPECT_EQ(due.nodes, (Ids{kA, kC}));
  schedule.ended(kB, false, now);
  schedule.hint(kB, now);
  EXPECT_EQ(schedule.next(), now + seconds(10));
  schedule.watch({}, now);
  EXPECT_EQ(schedule.next(), TimePoint::max());
  EXPECT_FALSE(schedule.due(now + seconds(100)).round);
}

}  // namespace
}  // namespace herdgate::monitor
