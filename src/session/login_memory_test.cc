// What logins taught counts for a while, and never grows beyond its bound.
#include "session/login_memory.h"

#include <gtest/gtest.h>

namespace herdgate::session {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr TimePoint kStart{std::chrono::hours(1)};
const LoginMemory::Who kWho{"db", "me"};

auth::Credentials password(const std::string& text) {
  auth::Credentials c;
  c.kind = auth::Credentials::Kind::plain;
  c.user = "me";
  c.secret = auth::Secret(text);
  return c;
}

auth::StoredSecret md5_entry() { return {auth::StoredSecret::Kind::md5, auth::Secret("md5" + std::string(32, '0'))}; }

TEST(AgedMap, AnEntryCountsUntilItsEnd) {
  AgedMap<int, int> map(10);
  map.put(1, 7, kStart + seconds(5));
  EXPECT_EQ(map.find(1, kStart), 7);
  EXPECT_EQ(map.find(1, kStart + seconds(5)), std::nullopt);
  EXPECT_EQ(map.find(2, kStart), std::nullopt);
  map.put(1, 8, kStart + seconds(20));
  EXPECT_EQ(map.find(1, kStart + seconds(5)), 8);
  map.erase(1);
  EXPECT_EQ(map.find(1, kStart), std::nullopt);
}

TEST(AgedMap, IsBoundedAndKeepsTheYounger) {
  AgedMap<int, int> map(10);
  for (int i = 0; i < 1000; ++i) {
    map.put(i, i, kStart);
    EXPECT_LE(map.size(), 10u);
    EXPECT_EQ(map.find(i, TimePoint::min()), i);
    if (i >= 4) {
      EXPECT_EQ(map.find(i - 4, TimePoint::min()), i - 4);
    }
  }
  map.put(998, 1, kStart);  // known already, in whichever half
  EXPECT_EQ(map.find(998, TimePoint::min()), 1);
  map.clear();
  EXPECT_EQ(map.size(), 0u);
}

TEST(LoginMemory, AProofHasAnAge) {
  LoginMemory memory;
  EXPECT_FALSE(memory.proved(kWho, kStart));
  memory.remember_proof(kWho, password("secret"), kStart);
  memory.remember_method(kWho, auth::ServerMethod::md5, kStart);
  const TimePoint last = kStart + LoginMemory::kProofRenews - milliseconds(1);
  ASSERT_TRUE(memory.proved(kWho, last));
  EXPECT_TRUE(auth::same_secret(*memory.proved(kWho, last), password("secret")));
  EXPECT_EQ(memory.method({kWho.database, kWho.user}, last), auth::ServerMethod::md5);
  // Learning the method anew does not make the proof any younger.
  memory.remember_method(kWho, auth::ServerMethod::md5, last);
  EXPECT_FALSE(memory.proved(kWho, kStart + LoginMemory::kProofLives));
  EXPECT_TRUE(memory.method({kWho.database, kWho.user}, kStart + LoginMemory::kProofLives));
}

TEST(LoginMemory, OneLoginRenewsWhileTheOthersGetIn) {
  LoginMemory memory;
  memory.remember_proof(kWho, password("secret"), kStart);
  TimePoint now = kStart + LoginMemory::kProofRenews;
  EXPECT_FALSE(memory.proved(kWho, now));  // this one asks the server
  for (int i = 0; i < 100; ++i) EXPECT_TRUE(memory.proved(kWho, now + milliseconds(i)));
  now += LoginMemory::kRenewal;  // it has not come back: another one
  EXPECT_FALSE(memory.proved(kWho, now));
  EXPECT_TRUE(memory.proved(kWho, now));
  memory.remember_proof(kWho, password("secret"), now);
  EXPECT_TRUE(memory.proved(kWho, now + LoginMemory::kRenewal));
  // Asking alone keeps nothing alive.
  for (TimePoint t = now; t < now + 2 * LoginMemory::kProofLives; t += seconds(1)) (void)memory.proved(kWho, t);
  EXPECT_FALSE(memory.proved(kWho, now + LoginMemory::kProofLives));
}

TEST(LoginMemory, ForgetsWhatAServerRefused) {
  LoginMemory memory;
  memory.remember_proof(kWho, password("secret"), kStart);
  memory.remember_method(kWho, auth::ServerMethod::md5, kStart);
  memory.remember_proof({"other", "me"}, password("secret"), kStart);
  memory.forget(kWho);
  EXPECT_FALSE(memory.proved(kWho, kStart));
  EXPECT_FALSE(memory.method({kWho.database, kWho.user}, kStart));
  EXPECT_TRUE(memory.proved({"other", "me"}, kStart));
}

TEST(LoginMemory, AMissingUserIsAskedForSoonerThanAKnownOne) {
  LoginMemory memory;
  memory.remember_verifier(kWho, md5_entry(), kStart);
  memory.remember_verifier({"db", "nobody"}, {}, kStart);
  ASSERT_TRUE(memory.verifier({"db", "nobody"}, kStart));
  EXPECT_FALSE(memory.verifier({"db", "nobody"}, kStart)->known());
  EXPECT_FALSE(memory.verifier({"db", "nobody"}, kStart + LoginMemory::kMissingLives));
  ASSERT_TRUE(memory.verifier(kWho, kStart + LoginMemory::kMissingLives));
  EXPECT_TRUE(memory.verifier(kWho, kStart)->known());
  EXPECT_FALSE(memory.verifier(kWho, kStart + LoginMemory::kVerifierLives));
}

TEST(LoginMemory, ADoubtedVerifierIsAskedForAgainButNotAtOnce) {
  LoginMemory memory;
  memory.remember_verifier(kWho, md5_entry(), kStart);
  memory.doubt_verifier(kWho, kStart + milliseconds(10));
  EXPECT_TRUE(memory.verifier(kWho, kStart + milliseconds(10)));
  memory.doubt_verifier(kWho, kStart + LoginMemory::kVerifierRests);
  EXPECT_FALSE(memory.verifier(kWho, kStart + LoginMemory::kVerifierRests));
  // A guess at a user who does not exist asks nobody.
  memory.remember_verifier(kWho, {}, kStart);
  memory.doubt_verifier(kWho, kStart + LoginMemory::kVerifierRests);
  EXPECT_TRUE(memory.verifier(kWho, kStart + LoginMemory::kVerifierRests));
}

TEST(LoginMemory, WhatServersReportStaysUntilItIsCleared) {
  LoginMemory memory;
  LoginMemory::Reported values = std::make_shared<const LoginMemory::Report>();
  memory.remember_reported("db", "me", Hash128{1, 2}, values);
  EXPECT_EQ(memory.reported({"db", "me"}, Hash128{1, 2}), values);
  EXPECT_EQ(memory.reported({"db", "me"}, Hash128{1, 3}), nullptr);
  memory.clear();
  EXPECT_EQ(memory.reported({"db", "me"}, Hash128{1, 2}), nullptr);
}

}  // namespace
}  // namespace herdgate::session
