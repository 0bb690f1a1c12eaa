#include "session/shared.h"

#include <gtest/gtest.h>

namespace herdgate::session {
namespace {

CancelRegister::Target target(std::uint64_t session) { return {WorkerId(0), SessionId(session)}; }

TEST(StoredSecret, AnEmptyPasswordIsNone) {
  using Kind = config::SecretKind;
  for (const Kind kind : {Kind::plain, Kind::text, Kind::aes}) {
    EXPECT_FALSE(stored_secret({.user = "alice", .kind = kind, .value = ""}).known());
    EXPECT_TRUE(stored_secret({.user = "alice", .kind = kind, .value = "x"}).known());
  }
}

TEST(CancelRegister, OnlyNumberAndSecretTogetherFindASession) {
  CancelRegister cancels;
  cancels.add(7, "abcd", target(1));
  ASSERT_TRUE(cancels.find(7, "abcd"));
  EXPECT_EQ(cancels.find(7, "abcd")->session, SessionId(1));
  EXPECT_FALSE(cancels.find(7, "abce"));
  EXPECT_FALSE(cancels.find(7, "abcde"));
  EXPECT_FALSE(cancels.find(7, ""));
  EXPECT_FALSE(cancels.find(8, "abcd"));
}

// Servers number their processes each for itself: two sessions may have been told the same.
TEST(CancelRegister, TwoOfOneNumberAreToldApart) {
  CancelRegister cancels;
  cancels.add(7, "abcd", target(1));
  cancels.add(7, "efgh", target(2));
  EXPECT_EQ(cancels.find(7, "abcd")->session, SessionId(1));
  EXPECT_EQ(cancels.find(7, "efgh")->session, SessionId(2));
  cancels.remove(7, "wxyz");
  cancels.remove(7, "abcd");
  EXPECT_FALSE(cancels.find(7, "abcd"));
  EXPECT_EQ(cancels.find(7, "efgh")->session, SessionId(2));
  cancels.remove(7, "efgh");
  EXPECT_FALSE(cancels.find(7, "efgh"));
}

}  // namespace
}  // namespace herdgate::session
