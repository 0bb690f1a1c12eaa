#include "cluster/switchover.h"

#include <gtest/gtest.h>

namespace herdgate::cluster {
namespace {

SwitchoverFacts good() {
  SwitchoverFacts f{NodeId(0), NodeId(1)};
  f.primary = f.superuser = f.hot_standby = f.standby = f.streams = true;
  f.restart = "public.pgpool_restart_as_standby";
  f.written = f.replayed = 1000;
  return f;
}

TEST(Switchover, EachConditionHasItsOwnWords) {
  EXPECT_EQ(objection_to(good()), "");
  struct Case {
    void (*spoil)(SwitchoverFacts&);
    const char* words;
  };
  const Case cases[] = {
      {[](SwitchoverFacts& f) { f.primary = false; }, "node 0 is not the primary"},
      {[](SwitchoverFacts& f) { f.superuser = false; }, "is no superuser"},
      {[](SwitchoverFacts& f) { f.restart.clear(); }, "CREATE EXTENSION pgpool_recovery"},
      {[](SwitchoverFacts& f) { f.hot_standby = false; }, "node 0 has hot_standby off"},
      {[](SwitchoverFacts& f) { f.standby = false; }, "node 1 is no standby"},
      {[](SwitchoverFacts& f) { f.streams = false; }, "node 1 does not receive from the primary"},
      {[](SwitchoverFacts& f) { f.trouble = "why"; }, "node 1 has a strange setting: why"},
      {[](SwitchoverFacts& f) { f.written = f.replayed + kMaxSwitchoverLag + 1; }, "bytes of WAL behind"},
  };
  for (const Case& c : cases) {
    SwitchoverFacts f = good();
    c.spoil(f);
    EXPECT_NE(objection_to(f).find(c.words), std::string::npos) << objection_to(f);
  }
  SwitchoverFacts ahead = good();  // it has replayed more than was asked for a moment before
  ahead.replayed = 2000;
  EXPECT_EQ(objection_to(ahead), "");
}

Candidate candidate(int id, std::uint64_t position, bool answered = true, std::int64_t timeline = 1) {
  Candidate c;
  c.id = NodeId(id);
  c.position = position;
  c.answered = answered;
  c.timeline = timeline;
  return c;
}

NodeId judged(std::vector<Candidate> all) {
  Situation s;
  s.standbys = std::move(all);
  s.wanted = NodeId(1);
  return judge_switchover(s, NodeId(0)).promote;
}

TEST(Switchover, TheWantedNodeMustLackNothing) {
  EXPECT_EQ(judged({candidate(0, 1000), candidate(1, 1000), candidate(2, 900)}), NodeId(1));
  EXPECT_EQ(judged({candidate(0, 1000), candidate(1, 1008), candidate(2, 1000)}), NodeId(1));
  EXPECT_EQ(judged({candidate(0, 1000, true, 2), candidate(1, 1000)}), NodeId(1)) << "the control file is behind";
}

TEST(Switchover, ElseTheOldPrimaryTakesOverAgain) {
  EXPECT_EQ(judged({candidate(0, 1000), candidate(1, 999), candidate(2, 1000)}), NodeId(0));
  EXPECT_EQ(judged({candidate(0, 1000), candidate(1, 0, false), candidate(2, 1000)}), NodeId(0));
}

TEST(Switchover, WithoutTheOldPrimaryNobodyIsPromoted) {
  EXPECT_EQ(judged({candidate(0, 0, false), candidate(1, 1000), candidate(2, 1000)}), kNoNode);
}

TEST(Switchover, SlotNamesConsistOfWhatASlotMayBeCalled) {
  EXPECT_EQ(slot_name_of("node0"), "node0");
  EXPECT_EQ(slot_name_of("Node-0 äb"), "node_0___b");
  EXPECT_EQ(slot_name_of(std::string(100, 'x')).size(), 63u);
}

}  // namespace
}  // namespace herdgate::cluster
