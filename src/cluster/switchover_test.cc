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

// Two candidates as after a stop: node 0 was the primary, node 1 is to be the next.
Situation stopped(std::vector<Candidate> all) {
  Situation s;
  s.standbys = std::move(all);
  s.wanted = NodeId(1);
  return s;
}
Candidate out_of_recovery(int id) {
  Candidate c = candidate(id, 0, false);
  c.primary = true;
  return c;
}
Candidate down(Candidate c) {
  c.usable = false;
  return c;
}
int resumed(std::vector<Candidate> all, bool patient = true) {
  return judge_resumed(stopped(std::move(all)), NodeId(0), patient).promote.value;
}

TEST(ResumedSwitchover, TheWantedNodeOrTheOldPrimaryWhicheverLacksNothing) {
  const Candidate old = down(candidate(0, 1000));
  EXPECT_EQ(resumed({old, candidate(1, 1000), candidate(2, 900)}), 1);
  EXPECT_EQ(resumed({old, candidate(1, 990), candidate(2, 900)}), 0);
  EXPECT_EQ(resumed({old, down(candidate(1, 1000)), candidate(2, 900)}), 0) << "it is not in use any more";
  EXPECT_EQ(resumed({old, candidate(1, 1000), down(candidate(2, 0, false))}), 1) << "it was out of use before";
}

TEST(ResumedSwitchover, NobodyIsPromotedWhileOthersMayHaveBeenAtWork) {
  const Candidate old = down(candidate(0, 1000)), next = candidate(1, 1000);
  EXPECT_EQ(resumed({old, next, out_of_recovery(2)}), kNoNode.value);
  EXPECT_EQ(resumed({old, next, down(out_of_recovery(2))}), kNoNode.value);
  EXPECT_EQ(resumed({down(out_of_recovery(0)), next, out_of_recovery(2)}), kNoNode.value) << "two primaries";
  EXPECT_EQ(resumed({old, next, candidate(2, 0, false)}), kNoNode.value)
      << "it may have been promoted, and acknowledged";
  EXPECT_EQ(resumed({old, next, down(candidate(2, 1001))}), kNoNode.value);
  EXPECT_EQ(resumed({old, next, down(candidate(2, 900, true, 2))}), kNoNode.value) << "a later timeline";
  EXPECT_EQ(resumed({down(candidate(0, 900, true, 2)), next}), 0) << "it was promoted again meanwhile";
  Candidate busy = candidate(2, 1000);
  busy.receiving = true;
  EXPECT_EQ(resumed({old, next, busy}), kNoNode.value);
  EXPECT_EQ(resumed({down(out_of_recovery(0)), next}), 0);
  EXPECT_EQ(judge_resumed(stopped({out_of_recovery(0), next}), NodeId(0), true).text, "it was not stopped");
}

// They followed one that was promoted while the old primary worked, and lack what that one acknowledged since.
TEST(ResumedSwitchover, WhoIsOnALaterTimelineThanTheOldPrimaryHasDiverged) {
  const Candidate old = down(candidate(0, 1000));
  const auto judged = [&](std::vector<Candidate> all, std::int64_t timeline) {
    Situation s = stopped(std::move(all));
    s.old_primary_timeline = timeline;
    return judge_resumed(s, NodeId(0), true).promote.value;
  };
  EXPECT_EQ(judged({old, candidate(1, 50, true, 2)}, 1), 0);
  Candidate other = candidate(2, 2000, true, 2);
  EXPECT_EQ(judged({old, candidate(1, 1000), other}, 1), 1);
  other.receiving = true;
  EXPECT_EQ(judged({old, candidate(1, 1000), down(other)}, 1), 1) << "not from the old primary";
  EXPECT_EQ(judged({old, candidate(1, 50, true, 2)}, 2), 1) << "that of the old primary";
  EXPECT_EQ(judged({down(candidate(0, 1000, true, 2)), candidate(1, 900, true, 2), candidate(2, 900)}, 1), 0)
      << "it was promoted again meanwhile, and has a standby";

  Situation s = stopped({old, candidate(1, 50, true, 2)});
  const char* const words = "node 1 is on timeline 2, the old primary was on 1: others may have been at work";
  EXPECT_EQ(judge_resumed(s, NodeId(0), true).text, words) << "the timeline of the old primary's end is not known";
  s.old_primary_timeline = 1;
  s.recalled = true;
  EXPECT_EQ(judge_resumed(s, NodeId(0), true).text, words);
}

TEST(ResumedSwitchover, WithoutTheOldPrimaryItIsWaitedForAndThenItIsAFailover) {
  const Candidate gone = down(candidate(0, 0, false)), next = candidate(1, 1000);
  for (const bool patient : {true, false}) {
    EXPECT_EQ(resumed({gone, next, candidate(2, 900)}, patient), patient ? kNoNode.value : 1);
    EXPECT_EQ(resumed({gone, next, candidate(2, 1001)}, patient), patient ? kNoNode.value : 2);
    EXPECT_EQ(resumed({gone, next, down(candidate(2, 0, false))}, patient), kNoNode.value) << "nobody knows the rule";
  }
}

TEST(ResumedSwitchover, WithoutTheOldPrimaryItsRuleCountsWhereItIsKnown) {
  Situation s = stopped({down(candidate(0, 0, false)), candidate(1, 1000), down(candidate(2, 0, false))});
  EXPECT_EQ(judge_resumed(s, NodeId(0), false).promote, kNoNode);
  for (const std::size_t count : {0u, 2u, 1u}) {
    s.rule = SyncRule{count, {"*"}, true};
    EXPECT_EQ(judge_resumed(s, NodeId(0), true).promote, kNoNode);
    EXPECT_EQ(judge_resumed(s, NodeId(0), false).promote, count == 1 ? kNoNode : NodeId(1)) << count;
  }
}

TEST(ResumedSwitchover, ReceiversNeedSendersAmongTheNodes) {
  Candidate a = candidate(0, 1), b = candidate(1, 1);
  EXPECT_TRUE(fed_from_within({a, b}));
  a.receiving = b.receiving = true;
  a.senders = 1;
  EXPECT_FALSE(fed_from_within({a, b})) << "one of them has a primary that we do not know";
  b.senders = 1;
  EXPECT_TRUE(fed_from_within({a, b}));
  b.answered = false;
  EXPECT_TRUE(fed_from_within({a, b}));
}

TEST(Unfinished, IsReadAsItWasWritten) {
  const Unfinished unfinished{NodeId(0), NodeId(12)};
  EXPECT_EQ(print_unfinished(unfinished), "switchover from 0 to 12\n");
  EXPECT_EQ(parse_unfinished(print_unfinished(unfinished)), unfinished);
  EXPECT_EQ(print_unfinished({NodeId(3), kNoNode}), "failover from 3\n");
  EXPECT_EQ(parse_unfinished("failover from 3\n"), (Unfinished{NodeId(3), kNoNode}));
  for (const char* text : {"", "failover from", "failover from 0 to 1", "failover from -1", "switchover from 0 to",
                           "switchover from 0 to 1 2", "switchover from 1 to 1", "x from 0 to 1",
                           "switchover from -1 to 1", "switchover from a to b"})
    EXPECT_EQ(parse_unfinished(text), std::nullopt) << text;
}

TEST(Unfinished, KeepsTheLastWordsOfThePrimary) {
  const Unfinished all{NodeId(0), kNoNode, SyncRule{2, {"node1", "a b"}, false}, 50331648, 3, 1795857000};
  EXPECT_EQ(print_unfinished(all),
            "failover from 0\nsynchronous_standby_names ANY 2 (\"node1\", \"a b\")\nposition 50331648\n"
            "timeline 3\nnoted 1795857000\n");
  EXPECT_EQ(parse_unfinished(print_unfinished(all)), all);
  const Unfinished asynchronous{NodeId(0), NodeId(1), SyncRule{}, 7};
  EXPECT_EQ(parse_unfinished(print_unfinished(asynchronous)), asynchronous);
  const std::string first = "failover from 0\n";
  for (const char* line : {"synchronous_standby_names ANY (", "position -1", "position x", "position ", "noted 1 2",
                           "timeline x", "x", "", "position 99999999999999999999"})
    EXPECT_EQ(parse_unfinished(first + line + "\n"), std::nullopt) << line;
}

TEST(Unfinished, LastWordsCountForAWhile) {
  Unfinished unfinished{NodeId(0)};
  const WallTime now{std::chrono::seconds(1795857000)};
  EXPECT_FALSE(last_words_count(unfinished, now)) << "not known when";
  unfinished.noted_s = 1795857000;
  EXPECT_TRUE(last_words_count(unfinished, now));
  EXPECT_TRUE(last_words_count(unfinished, now + kLastWordsCount));
  EXPECT_FALSE(last_words_count(unfinished, now + kLastWordsCount + std::chrono::seconds(1)));
  EXPECT_FALSE(last_words_count(unfinished, now - kLastWordsCount - std::chrono::seconds(1)));
}

TEST(Switchover, SlotNamesConsistOfWhatASlotMayBeCalled) {
  EXPECT_EQ(slot_name_of("node0"), "node0");
  EXPECT_EQ(slot_name_of("Node-0 äb"), "node_0___b");
  EXPECT_EQ(slot_name_of(std::string(100, 'x')).size(), 63u);
}

}  // namespace
}  // namespace herdgate::cluster
