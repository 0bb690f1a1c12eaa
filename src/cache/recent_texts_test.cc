#include "cache/recent_texts.h"

#include <gtest/gtest.h>

namespace herdgate::cache {
namespace {

TEST(RecentTexts, GivesTheHashOfTheTextUnderTheKeyOfNow) {
  RecentTexts texts;
  const HashKey key{1, 2}, after_a_flush{3, 2};
  const Hash128 id{4, 5}, of_its_slot{4, 5 + RecentTexts::kSlots};
  for (int round = 0; round < 2; ++round) {
    EXPECT_EQ(texts.hash(key, id, "select 1"), text_hash(key, "select 1"));
    EXPECT_EQ(texts.hash(key, id, "select 1"), text_hash(key, "select 1"));
    EXPECT_EQ(texts.hash(key, of_its_slot, "select 2"), text_hash(key, "select 2"));
    EXPECT_EQ(texts.hash(after_a_flush, of_its_slot, "select 2"), text_hash(after_a_flush, "select 2"));
  }
}

TEST(RecentTexts, ATextIsHashedOnce) {
  RecentTexts texts;
  const HashKey key{1, 2};
  const Hash128 id{4, 5};
  texts.hash(key, id, "select 1");
  EXPECT_EQ(texts.hash(key, id, "not looked at"), text_hash(key, "select 1"));
}

// A slot in which nothing was kept must not be taken for one of an id of nothing but zeroes.
TEST(RecentTexts, NothingIsKnownAtFirst) {
  RecentTexts texts;
  const HashKey zero{};
  EXPECT_EQ(texts.hash(zero, {}, "select 1"), text_hash(zero, "select 1"));
}

}  // namespace
}  // namespace herdgate::cache
