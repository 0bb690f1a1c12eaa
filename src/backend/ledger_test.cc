#include "backend/ledger.h"

#include <gtest/gtest.h>

#include <string>

namespace herdgate::backend {
namespace {

// Feeds message letters; returns for each what became of it: '.' belongs, '!' finishes its entry, 'X' broken. What
// ends is written into `ended` as note and first letter of how: "1o 2s".
std::string feed(Ledger& ledger, std::string_view letters, std::string* ended = nullptr) {
  std::string out;
  for (const char letter : letters) {
    const Verdict verdict = ledger.on_message(letter);
    if (verdict.action == Verdict::Action::broken) {
      out += 'X';
      continue;
    }
    out += verdict.done ? '!' : '.';
    if (!verdict.done) continue;
    ledger.finish(verdict.error, [&](const Debt& debt, Ended how) {
      if (ended == nullptr) return;
      *ended += fmt::format("{}{} ", debt.note, how == Ended::ok ? 'o' : how == Ended::failed ? 'f' : 's');
    });
  }
  return out;
}

void owe(Ledger& ledger, std::initializer_list<Owes> all) {
  std::uint16_t note = 0;
  for (const Owes what : all) ledger.owe(Debt{what, Fate::forward, ++note, 0, {}});
}

using enum Owes;

TEST(Ledger, AnExtendedBatchIsAnsweredInOrder) {
  Ledger ledger;
  owe(ledger, {parse, bind, describe, execute, sync});
  std::string ended;
  EXPECT_EQ(feed(ledger, "12TDDDCZ", &ended), "!!!...!!");
  EXPECT_EQ(ended, "1o 2o 3o 4o 5o ");
  EXPECT_TRUE(ledger.empty());
}

TEST(Ledger, AnErrorSkipsUpToSyncAndNoFurther) {
  Ledger ledger;
  owe(ledger, {parse, bind, execute, sync, parse, sync});
  std::string ended;
  EXPECT_EQ(feed(ledger, "1EZ1Z", &ended), "!!!!!");
  EXPECT_EQ(ended, "1o 2f 3s 4o 5o 6o ");
}

TEST(Ledger, AfterAnErrorWithoutSyncWhatIsSentIsNotOwed) {
  Ledger ledger;
  owe(ledger, {parse});
  feed(ledger, "E");
  owe(ledger, {bind, execute, query});
  EXPECT_TRUE(ledger.empty()) << "the server ignores all of it";
  owe(ledger, {sync});
  EXPECT_EQ(feed(ledger, "Z"), "!");
  owe(ledger, {bind});
  EXPECT_FALSE(ledger.empty());
}

TEST(Ledger, ASimpleQueryEndsWithReadyForQueryEvenWhenItFails) {
  Ledger ledger;
  owe(ledger, {query, query});
  std::string ended;
  EXPECT_EQ(feed(ledger, "TDCEZTDCZ", &ended), "....!...!");
  EXPECT_EQ(ended, "1o 2o ");
}

TEST(Ledger, WhatNobodyIsOwedBreaksTheLink) {
  Ledger ledger;
  EXPECT_EQ(feed(ledger, "Z"), "X");
  owe(ledger, {parse});
  EXPECT_EQ(feed(ledger, "2"), "X");
  EXPECT_EQ(feed(ledger, "Z"), "X");
  EXPECT_EQ(feed(ledger, "D"), "X");
  EXPECT_EQ(feed(ledger, "1"), "!");
  owe(ledger, {sync});
  EXPECT_EQ(feed(ledger, "C"), "X");
}

TEST(Ledger, ALocalReplyWaitsForItsTurn) {
  Ledger ledger;
  ledger.owe(Debt{execute, Fate::forward, 1, 0, {}});
  ledger.owe(Debt{local, Fate::forward, 2, 0, "3xxxx"});
  ledger.owe(Debt{sync, Fate::forward, 3, 0, {}});
  EXPECT_FALSE(ledger.local_due());
  feed(ledger, "C");
  ASSERT_TRUE(ledger.local_due());
  EXPECT_EQ(feed(ledger, "Z"), "X") << "the local reply comes first";
  EXPECT_EQ(ledger.pop().local, "3xxxx");
  EXPECT_EQ(feed(ledger, "Z"), "!");
}

TEST(Ledger, CopyInIsSeenAndEnds) {
  Ledger ledger;
  owe(ledger, {query});
  feed(ledger, "G");
  EXPECT_TRUE(ledger.in_copy_in());
  feed(ledger, "E");
  EXPECT_FALSE(ledger.in_copy_in());
  feed(ledger, "Z");
  owe(ledger, {execute});
  feed(ledger, "G");
  EXPECT_TRUE(ledger.in_copy_in());
  feed(ledger, "C");
  EXPECT_FALSE(ledger.in_copy_in());
}

TEST(Ledger, AnErrorAtSyncIsFollowedByReady) {
  Ledger ledger;
  owe(ledger, {execute, sync});
  std::string ended;
  EXPECT_EQ(feed(ledger, "CEZ", &ended), "!.!");
  EXPECT_EQ(ended, "1o 2o ");
}

// The ledger stays small however long a link lives.
TEST(Ledger, MemoryIsReused) {
  Ledger ledger;
  for (int i = 0; i < 100'000; ++i) {
    owe(ledger, {execute, sync});
    if (i % 3 == 0) owe(ledger, {sync});
    feed(ledger, i % 3 == 0 ? "CZZ" : "CZ");
  }
  EXPECT_TRUE(ledger.empty());
}

}  // namespace
}  // namespace herdgate::backend
