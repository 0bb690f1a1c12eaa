#include "cache/admission.h"

#include <gtest/gtest.h>

#include <map>

namespace herdgate::cache {
namespace {

Hash128 key(std::uint64_t n) { return {n * 0x9e3779b97f4a7c15ULL >> 7, n * 0xff51afd7ed558ccdULL}; }

class AdmissionTest : public ::testing::Test {
 protected:
  // A read as a session makes it. True: it is kept.
  bool read(std::uint64_t n) {
    if (kept[n]) {
      admission.hit();
      return true;
    }
    const bool wanted = admission.wants(key(n));
    admission.missed(key(n));
    return kept[n] = wanted;
  }
  void flood(unsigned reads) {
    for (unsigned i = 0; i < reads; ++i) read(next++);
  }
  std::uint64_t next = 1'000'000;
  std::map<std::uint64_t, bool> kept;
  Sightings sightings;
  Admission admission{sightings};
};

TEST_F(AdmissionTest, AtFirstEverythingIsKeptAtItsFirstRead) {
  for (std::uint64_t n = 0; n < Admission::kWindow - 1; ++n) EXPECT_TRUE(read(n));
  EXPECT_FALSE(admission.selective());
}

TEST_F(AdmissionTest, AWindowOfReadsThatComeOnceMakesItSelective) {
  flood(Admission::kWindow);
  EXPECT_TRUE(admission.selective());
  EXPECT_FALSE(read(1));
  EXPECT_TRUE(read(1)) << "the second time";
  EXPECT_FALSE(read(2));
}

TEST_F(AdmissionTest, WhatTheBoundLetsPass) {
  for (const unsigned useful : {Admission::kUseful - 1, Admission::kUseful}) {
    Admission fresh(sightings);
    for (unsigned i = 0; i < useful; ++i) fresh.hit();
    for (unsigned i = useful; i < Admission::kWindow; ++i) fresh.missed(key(next++));
    EXPECT_EQ(fresh.selective(), useful < Admission::kUseful) << useful;
  }
}

// What was found for a while is asked of servers again, for each change of a table takes it away.
TEST_F(AdmissionTest, ReadsThatWritersTakeAwayAgainAndAgainAreNoFlood) {
  for (unsigned i = 0; i < 4 * Admission::kWindow; ++i) admission.missed(key(i % 100));
  EXPECT_FALSE(admission.selective());
}

TEST_F(AdmissionTest, ItEndsAsSoonAsReadsComeAgainAndNotBefore) {
  flood(3 * Admission::kWindow);
  for (std::uint64_t n = 0; n < Admission::kUseful; ++n) EXPECT_FALSE(read(n)) << n;
  for (std::uint64_t n = 0; n < Admission::kUseful; ++n) {
    EXPECT_TRUE(admission.selective()) << n;
    EXPECT_TRUE(read(n)) << n;
  }
  EXPECT_FALSE(admission.selective());
  EXPECT_TRUE(read(5000)) << "at once again";
}

TEST_F(AdmissionTest, AFloodBesideReadsThatComeAgainDoesNotEndIt) {
  flood(Admission::kWindow);
  for (unsigned i = 0; i < 20 * Admission::kWindow; ++i) {
    flood(1);
    if (i % 100 == 0) read(7);
    ASSERT_TRUE(admission.selective()) << i;
  }
  EXPECT_TRUE(kept[7]);
}

// The limit that the header states: a set of as many keys as the store has room for by default, read evenly.
TEST_F(AdmissionTest, AMillionKeysReadEvenlyAreNoFlood) {
  std::uint64_t random = 4711;
  unsigned selective = 0;
  constexpr unsigned kReads = 1'000'000;
  for (unsigned i = 0; i < kReads; ++i) {
    random = random * 2862933555777941757ULL + 3037000493ULL;
    admission.missed(key((random >> 20) % 1'000'000));
    if (i > 4 * Sightings::kSlots) selective += admission.selective() ? 1 : 0;
  }
  EXPECT_LT(selective, kReads / 100);
}

// Two workers have one memory of what was read.
TEST_F(AdmissionTest, WhatOneWorkerHasSeenAnotherKeeps) {
  Admission other(sightings);
  flood(Admission::kWindow);
  for (unsigned i = 0; i < Admission::kWindow; ++i) other.missed(key(next++));
  ASSERT_TRUE(other.selective());
  EXPECT_FALSE(read(1));
  EXPECT_TRUE(other.wants(key(1)));
}

TEST(Admission, TellsOnceAMinuteOfWhatIsTooLarge) {
  Sightings sightings;
  Admission admission(sightings);
  const TimePoint start{};
  EXPECT_TRUE(admission.tells_of_large(start));
  EXPECT_FALSE(admission.tells_of_large(start));
  EXPECT_FALSE(admission.tells_of_large(start + Admission::kTellsEach - std::chrono::milliseconds(1)));
  EXPECT_TRUE(admission.tells_of_large(start + Admission::kTellsEach)) << "what was not told does not put it off";
  EXPECT_FALSE(admission.tells_of_large(start + Admission::kTellsEach));
}

}  // namespace
}  // namespace herdgate::cache
