#include "pool/server_link.h"

#include <gtest/gtest.h>

namespace herdgate::pool {
namespace {

constexpr SessionId kOne{1}, kOther{2};

TEST(InternedStatements, OneThatIsKeptForASessionServesNoOther) {
  InternedStatements interned;
  interned.add("a", 10, 0);
  EXPECT_TRUE(interned.serves("a", kOne) && interned.serves("a", kOther));
  interned.keep_for("a", kOne);
  EXPECT_TRUE(interned.touch("a"));
  EXPECT_TRUE(interned.serves("a", kOne));
  EXPECT_FALSE(interned.serves("a", kOther));
  EXPECT_TRUE(interned.serves("b", kOther));
  // Made anew it is everybody's.
  interned.remove("a");
  interned.add("a", 10, 0);
  EXPECT_TRUE(interned.serves("a", kOther));
}

TEST(InternedStatements, WhatGoesForWantOfRoomIsKeptForNobody) {
  InternedStatements interned;
  interned.add("a", 1, 0);
  interned.keep_for("a", kOne);
  EXPECT_EQ(interned.add("b", 1, 0), std::vector<std::string>{"a"});
  interned.keep_for("b", kOther);
  EXPECT_FALSE(interned.serves("b", kOne));
  interned.clear();
  interned.add("b", 1, 0);
  EXPECT_TRUE(interned.serves("b", kOne));
}

}  // namespace
}  // namespace herdgate::pool
