#include "cache/recent_texts.h"

#include <gtest/gtest.h>

namespace herdgate::cache {
namespace {

void expect_made(const RecentTexts::Hashes& got, const HashKey& key, std::string_view text, ByteView types) {
  EXPECT_EQ(got.text, text_hash(key, text));
  EXPECT_EQ(got.statement, statement_hash(key, got.text, types));
}

TEST(RecentTexts, GivesTheHashesOfTheTextUnderTheKeyOfNow) {
  RecentTexts texts;
  const HashKey key{1, 2}, after_a_flush{3, 2};
  const Hash128 id{4, 5}, of_its_slot{4, 5 + RecentTexts::kSlots};
  for (int round = 0; round < 2; ++round) {
    for (int again = 0; again < 2; ++again) expect_made(texts.find(key, id, "select 1", "t"), key, "select 1", "t");
    expect_made(texts.find(key, of_its_slot, "select 2", ""), key, "select 2", "");
    expect_made(texts.find(after_a_flush, of_its_slot, "select 2", ""), after_a_flush, "select 2", "");
  }
}

TEST(RecentTexts, ATextIsHashedOnce) {
  RecentTexts texts;
  const HashKey key{1, 2};
  const Hash128 id{4, 5};
  texts.find(key, id, "select 1", "t");
  expect_made(texts.find(key, id, "not looked at", ""), key, "select 1", "t");
}

// A slot in which nothing was kept must not be taken for one of an id of nothing but zeroes.
TEST(RecentTexts, NothingIsKnownAtFirst) {
  RecentTexts texts;
  const HashKey zero{};
  expect_made(texts.find(zero, {}, "select 1", "t"), zero, "select 1", "t");
}

}  // namespace
}  // namespace herdgate::cache
