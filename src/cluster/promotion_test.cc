#include "cluster/promotion.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace herdgate::cluster {
namespace {

using Names = std::vector<std::string>;

TEST(SyncNames, EveryFormIsUnderstood) {
  EXPECT_EQ(parse_sync_names(""), (SyncRule{}));
  EXPECT_EQ(parse_sync_names("a, b"), (SyncRule{1, {"a", "b"}, false}));
  EXPECT_EQ(parse_sync_names("2 (a, \"B c\", d)"), (SyncRule{2, {"a", "B c", "d"}, false}));
  EXPECT_EQ(parse_sync_names("FIRST 2 (a,b)"), (SyncRule{2, {"a", "b"}, false}));
  EXPECT_EQ(parse_sync_names("any 1 (a, b, c)"), (SyncRule{1, {"a", "b", "c"}, false}));
  EXPECT_EQ(parse_sync_names("*"), (SyncRule{1, {"*"}, true}));
  EXPECT_EQ(parse_sync_names("ANY 2 (*)"), (SyncRule{2, {"*"}, true}));
  EXPECT_EQ(parse_sync_names("\"a\"\"b\""), (SyncRule{1, {"a\"b"}, false}));
  EXPECT_EQ(parse_sync_names("any"), std::nullopt);
  EXPECT_EQ(parse_sync_names("first, b"), std::nullopt) << "a word of the grammar, not a name";
}

TEST(SyncNames, NonsenseIsNotUnderstood) {
  for (const char* text : {"2 (a", "2 a", "2 ()", "a,", ",", "\"a", "ANY (a)", "a b"})
    EXPECT_EQ(parse_sync_names(text), std::nullopt) << text;
}

TEST(SyncNames, AreReadAsTheyWerePrinted) {
  for (const char* text : {"", "a, b", "2 (a, \"B c\", \"d\"\"e\")", "any 1 (a, \"*\")", "FIRST 3 (\"2\", b, c)"}) {
    const auto rule = parse_sync_names(text);
    ASSERT_TRUE(rule) << text;
    EXPECT_EQ(parse_sync_names(print_sync_names(*rule).value()), rule) << text;
  }
  EXPECT_EQ(print_sync_names({2, {"a", "*"}, true}), "ANY 2 (*)");
  EXPECT_EQ(print_sync_names({1, {"a\nb"}, false}), std::nullopt);
}

Candidate at(int id, std::uint64_t position) {
  Candidate c;
  c.id = NodeId(id);
  c.application_name = "n" + std::to_string(id);
  c.answered = true;
  c.position = position;
  c.timeline = 1;
  return c;
}
Candidate silent(int id) {
  Candidate c = at(id, 0);
  c.answered = false;
  return c;
}

TEST(Judge, TheFurthestIsPromoted) {
  EXPECT_EQ(judge({{at(1, 100), at(2, 200)}, SyncRule{}, 150, kNoNode}).promote, NodeId(2));
  EXPECT_EQ(judge({{at(1, 200), at(2, 200)}, SyncRule{}, {}, kNoNode}).promote, NodeId(1));
  EXPECT_EQ(judge({{at(1, 200), at(2, 200)}, SyncRule{}, {}, NodeId(2)}).promote, NodeId(2));
  Candidate newer = at(2, 50);
  newer.timeline = 2;
  EXPECT_EQ(judge({{at(1, 200), newer}, SyncRule{}, {}, kNoNode}).promote, NodeId(2)) << "the primary was never asked";
  EXPECT_EQ(judge({{at(1, 200), newer}, SyncRule{}, {}, kNoNode, false, 2}).promote, NodeId(2));
}

// It has followed one that was promoted while the old primary worked.
TEST(Judge, WhoIsOnALaterTimelineThanTheOldPrimaryHasDiverged) {
  Candidate diverged = at(2, 50);
  diverged.timeline = 2;
  const SyncRule one{1, {"n1"}, false}, two{1, {"n1", "n2"}, false};
  const auto judged = [&](const SyncRule& rule) {
    return judge({{at(1, 200), diverged}, rule, {}, kNoNode, false, 1});
  };
  EXPECT_EQ(judged(one).promote, NodeId(1));
  EXPECT_EQ(judged(SyncRule{}).promote, NodeId(1));
  EXPECT_EQ(judged(two).text,
            "1 of 2 synchronous standbys answer, 2 are needed; node 2: it is on timeline 2, the old primary was on 1");
  diverged.usable = false;
  EXPECT_EQ(judged(one).promote, NodeId(1)) << "nor does one that is down stand in the way";
  diverged.receiving = true;
  EXPECT_EQ(judged(one).promote, NodeId(1)) << "not from the old primary, which cannot send it that timeline";
  EXPECT_EQ(judge({{diverged}, SyncRule{}, {}, kNoNode, false, 1}).text,
            "no standby answers; node 2: it is on timeline 2, the old primary was on 1");
}

TEST(Judge, ANodeThatIsDownCountsButIsNotPromoted) {
  Candidate down = at(2, 100);
  down.usable = false;
  const SyncRule any1{1, {"n1", "n2"}, false};
  EXPECT_EQ(judge({{at(1, 100), down}, any1, {}, kNoNode}).promote, NodeId(1));
  down.position = 200;
  EXPECT_EQ(judge({{at(1, 100), down}, any1, {}, kNoNode}).text,
            "node 2 has received more than the others, but it is down");
  EXPECT_EQ(judge({{at(1, 100), down}, SyncRule{}, {}, kNoNode}).promote, NodeId(1));
  EXPECT_EQ(judge({{down}, SyncRule{}, {}, kNoNode}).promote, kNoNode);
}

TEST(Judge, AStandbyThatStillReceivesForbidsIt) {
  Candidate receiving = at(2, 200);
  receiving.receiving = true;
  const Verdict v = judge({{at(1, 100), receiving}, SyncRule{}, {}, kNoNode});
  EXPECT_EQ(v.promote, kNoNode);
  EXPECT_EQ(v.text, "node 2 still receives from the old primary");
}

TEST(FedByOldPrimary, WhoReceivesFromAnotherStandbyIsNot) {
  Candidate upper = at(1, 200), lower = at(2, 200);
  upper.host = lower.host = "/tmp";
  upper.port = 5433;
  lower.port = 5434;
  lower.receiving = true;
  lower.upstream = {"localhost", 5433};
  upper.fed = {"pg_receivewal", "walreceiver"};
  EXPECT_EQ(fed_by_old_primary({upper, lower}), nullptr);
  upper.usable = lower.usable = false;
  EXPECT_EQ(fed_by_old_primary({upper, lower}), nullptr) << "nor one that is down for the proxy";
  const auto fed = [&] {
    const std::vector<Candidate> standbys{upper, lower};
    const Candidate* found = fed_by_old_primary(standbys);
    return found ? found->id : kNoNode;
  };
  lower.upstream->port = 5432;
  EXPECT_EQ(fed(), NodeId(2)) << "the old primary";
  lower.upstream->port = 5434;
  EXPECT_EQ(fed(), NodeId(2)) << "itself";
  lower.upstream.reset();
  EXPECT_EQ(fed(), NodeId(2)) << "who knows";
  lower.upstream = {"localhost", 5433};
  upper.fed.clear();
  EXPECT_EQ(fed(), NodeId(2)) << "it was pointed elsewhere";
  upper.fed = {"pg_receivewal", "n2"};
  lower.upstream->host = "db1.example";
  EXPECT_EQ(fed(), kNoNode) << "by its name";
  lower.application_name = upper.application_name;
  EXPECT_EQ(fed(), NodeId(2)) << "a name that is not its alone";
  lower.application_name = "n2";
  upper.answered = false;
  EXPECT_EQ(fed(), NodeId(2)) << "it may be a primary";
  upper.primary = true;
  EXPECT_EQ(fed(), kNoNode) << "it is one, and none that was the primary";
  upper.stray = true;
  EXPECT_EQ(fed(), kNoNode) << "in use";
  upper.primary = upper.stray = false;
  upper.answered = upper.receiving = true;
  upper.upstream = {"/tmp", 5432};
  EXPECT_EQ(fed(), NodeId(1)) << "all hang on the old primary";
}

TEST(PromotedAlready, IsOneInUseThatIsOutOfRecovery) {
  Candidate promoted = silent(2);
  promoted.primary = true;
  EXPECT_EQ(promoted_already({{at(1, 100), promoted}, SyncRule{}, {}, kNoNode}, NodeId(0)), NodeId(2));
  EXPECT_EQ(promoted_already({{at(1, 100), at(2, 100)}, SyncRule{}, {}, kNoNode}, NodeId(0)), kNoNode);
  EXPECT_EQ(promoted_already({{at(1, 100), promoted}, SyncRule{}, {}, kNoNode}, NodeId(2)), kNoNode)
      << "the old primary of a switchover";
  promoted.stray = true;
  EXPECT_EQ(promoted_already({{at(1, 100), promoted}, SyncRule{}, {}, kNoNode}, NodeId(0)), kNoNode)
      << "a false primary";
  promoted.stray = false;
  promoted.usable = false;
  EXPECT_EQ(promoted_already({{at(1, 100), promoted}, SyncRule{}, {}, kNoNode}, NodeId(0)), kNoNode)
      << "an older primary that has come back";
}

TEST(Judge, EnoughSynchronousStandbysMustAnswer) {
  const SyncRule any1{1, {"n1", "n2"}, false}, all2{2, {"n1", "n2"}, false}, any2of3{2, {"n1", "n2", "n3"}, false};
  EXPECT_EQ(judge({{at(1, 100), silent(2)}, any1, {}, kNoNode}).promote, kNoNode);
  EXPECT_EQ(judge({{at(1, 100), silent(2)}, any1, {}, kNoNode}).text,
            "1 of 2 synchronous standbys answer, 2 are needed");
  EXPECT_EQ(judge({{at(1, 100), silent(2)}, all2, {}, kNoNode}).promote, NodeId(1));
  EXPECT_EQ(judge({{at(1, 100), silent(2), at(3, 90)}, any2of3, {}, kNoNode}).promote, NodeId(1));
  EXPECT_EQ(judge({{at(1, 100), silent(2), silent(3)}, any2of3, {}, kNoNode}).promote, kNoNode);
}

TEST(Judge, AStandbyThatIsNotSynchronousDoesNotCountButMayWin) {
  const SyncRule one{1, {"n1"}, false};
  EXPECT_EQ(judge({{silent(1), at(2, 100)}, one, {}, kNoNode}).promote, kNoNode);
  EXPECT_EQ(judge({{at(1, 90), at(2, 100)}, one, {}, kNoNode}).promote, NodeId(2));
}

TEST(Judge, StandbysOfOneNameAreAllNeeded) {
  Candidate other = silent(2);
  other.application_name = "n1";
  const Verdict verdict = judge({{at(1, 100), other}, SyncRule{1, {"n1"}, false}, {}, kNoNode});
  EXPECT_EQ(verdict.promote, kNoNode) << "the silent one may have acknowledged alone";
  EXPECT_THAT(verdict.text, testing::HasSubstr("1 of 2 synchronous standbys answer, 2 are needed"));
  other.answered = true;
  EXPECT_EQ(judge({{at(1, 100), other}, SyncRule{1, {"n1"}, false}, {}, kNoNode}).promote, NodeId(1));
}

TEST(Judge, AStarMeansAllThatAreConfigured) {
  const SyncRule star{1, {"*"}, true};
  EXPECT_EQ(judge({{at(1, 1), silent(2)}, star, {}, kNoNode}).promote, kNoNode);
  EXPECT_EQ(judge({{at(1, 1), at(2, 1)}, star, {}, kNoNode}).promote, NodeId(1));
}

TEST(Judge, AnUnknownRuleNeedsAll) {
  EXPECT_EQ(judge({{at(1, 1), silent(2)}, std::nullopt, {}, kNoNode}).promote, kNoNode);
  EXPECT_EQ(judge({{at(1, 1), at(2, 1)}, std::nullopt, {}, kNoNode}).promote, NodeId(1));
}

TEST(Judge, WithARecalledRuleNobodyMayBeOutOfRecovery) {
  Situation s{{at(1, 100), silent(2), silent(3)}, SyncRule{3, {"n1", "n2", "n3"}, false}, {}, kNoNode};
  s.standbys[1].primary = true;
  EXPECT_EQ(judge(s).promote, NodeId(1));
  s.recalled = true;
  EXPECT_EQ(judge(s).text, "node 2 is out of recovery, but not in use as the primary");
  s.standbys[1].primary = false;
  EXPECT_EQ(judge(s).promote, NodeId(1));
  s.standbys[0].timeline = 2;
  EXPECT_EQ(judge(s).promote, NodeId(1)) << "whether it was promoted meanwhile is not known";
  s.old_primary_timeline = 1;
  EXPECT_EQ(judge(s).text, "node 1 is on timeline 2, the old primary was on 1 when it was noted");
}

TEST(Judge, WithAsynchronousReplicationTheLossIsNamed) {
  EXPECT_EQ(judge({{at(1, 100)}, SyncRule{}, 160, kNoNode}).text,
            "asynchronous replication: at least 60 bytes of WAL of the old primary are lost");
  EXPECT_NE(judge({{at(1, 100)}, SyncRule{}, 100, kNoNode}).text.find("may be lost"), std::string::npos);
  Candidate forbidden = silent(1);
  forbidden.trouble = "must be superuser";
  EXPECT_EQ(judge({{forbidden, silent(2)}, SyncRule{}, {}, kNoNode}).text,
            "no standby answers; node 1: must be superuser");
}

}  // namespace
}  // namespace herdgate::cluster
