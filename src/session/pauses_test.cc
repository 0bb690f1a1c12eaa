#include "session/pauses.h"

#include <gtest/gtest.h>

namespace herdgate::session {
namespace {

using namespace std::chrono_literals;
using Names = std::vector<std::string>;

class PausesTest : public testing::Test {
 protected:
  std::string pause(const std::string& database, std::chrono::seconds limit = 60s) {
    return pauses.set({database, true}, now, limit).words;
  }
  std::string resume(const std::string& database) { return pauses.set({database, false}, now, 60s).words; }

  Pauses pauses;
  TimePoint now = TimePoint() + 1h;
};

TEST_F(PausesTest, OneDatabase) {
  EXPECT_EQ(pause("a"), "new work in database \"a\" is held for at most 60 s");
  EXPECT_TRUE(pauses.holds("a"));
  EXPECT_FALSE(pauses.holds("b"));
  EXPECT_EQ(resume("a"), "new work in database \"a\" goes on");
  EXPECT_FALSE(pauses.holds("a"));
}

TEST_F(PausesTest, AllDatabases) {
  EXPECT_EQ(pause(""), "new work in all databases is held for at most 60 s");
  EXPECT_TRUE(pauses.holds("a"));
  EXPECT_EQ(resume(""), "new work in all databases goes on");
  EXPECT_FALSE(pauses.holds("a"));
}

TEST_F(PausesTest, WhoResumesOneOfAllIsToldThatItIsStillHeld) {
  pause("a");
  pause("");
  EXPECT_EQ(resume("a"), "new work in database \"a\" is still held: all databases are paused");
  EXPECT_EQ(resume("b"), "new work in database \"b\" is still held: all databases are paused");
  EXPECT_TRUE(pauses.holds("a"));
  EXPECT_EQ(resume(""), "new work in all databases goes on");
  EXPECT_FALSE(pauses.holds("a"));
}

TEST_F(PausesTest, AResumeOfAllEndsThoseOfSingleDatabases) {
  pause("a");
  pause("b");
  EXPECT_EQ(resume(""), "new work in all databases goes on");
  EXPECT_TRUE(pauses.databases.empty());
}

TEST_F(PausesTest, ResumedWithoutAPause) {
  EXPECT_EQ(resume("a"), "new work in database \"a\" was not held");
  EXPECT_EQ(resume(""), "new work in all databases was not held");
}

TEST_F(PausesTest, EachEndsAtItsOwnTime) {
  EXPECT_EQ(pauses.next_end(), TimePoint::max());
  EXPECT_EQ(pause("for ever", 0s), "new work in database \"for ever\" is held");
  EXPECT_EQ(pauses.next_end(), TimePoint::max());
  pause("a", 10s);
  pause("b", 20s);
  EXPECT_EQ(pauses.next_end(), now + 10s);
  now += 9s;
  EXPECT_EQ(pauses.end_old(now), Names());
  pause("a", 10s);  // twice: its time begins anew
  EXPECT_EQ(pauses.next_end(), now + 10s);
  now += 11s;
  EXPECT_EQ(pauses.end_old(now), (Names{"a", "b"}));
  EXPECT_EQ(pauses.end_old(now + 1000h), Names());
  EXPECT_TRUE(pauses.holds("for ever"));
}

TEST_F(PausesTest, NoRoomForOneMore) {
  for (std::size_t i = 0; i < Pauses::kMaxDatabases; ++i) pause(std::to_string(i));
  const Pauses::Outcome outcome = pauses.set({"a", true}, now, 60s);
  EXPECT_FALSE(outcome.taken);
  EXPECT_EQ(outcome.words, "could not pause database \"a\"");
  EXPECT_FALSE(pauses.holds("a"));
  EXPECT_TRUE(pauses.set({"7", true}, now, 60s).taken);  // that one has its place
  resume("7");
  EXPECT_TRUE(pauses.set({"a", true}, now, 60s).taken);
  EXPECT_TRUE(pauses.holds("a"));
}

}  // namespace
}  // namespace herdgate::session
