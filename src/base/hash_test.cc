#include "base/hash.h"

#include <gtest/gtest.h>

namespace herdgate {
namespace {

// First two vectors of the reference implementation's 128-bit table: key 00..0f, input of 0 and 1 octets.
TEST(Hash128, MatchesTheReferenceVectors) {
  const HashKey key{0x0706050403020100ULL, 0x0f0e0d0c0b0a0908ULL};
  const Hash128 empty = hash128(key, "");
  EXPECT_EQ(empty.lo, 0xe6a825ba047f81a3ULL);
  EXPECT_EQ(empty.hi, 0x930255c71472f66dULL);
  const Hash128 one = hash128(key, std::string_view("\0", 1));
  EXPECT_EQ(one.lo, 0x44af996bd8c187daULL);
  EXPECT_EQ(one.hi, 0x45fc229b11597634ULL);
}

TEST(Hash128, EveryLengthAndKeyMatters) {
  const HashKey key{1, 2};
  std::string text;
  Hash128 before = hash128(key, text);
  for (int i = 0; i < 40; ++i) {
    text.push_back('\0');
    const Hash128 now = hash128(key, text);
    EXPECT_NE(now, before);
    EXPECT_NE(now, hash128(HashKey{1, 3}, text));
    before = now;
  }
  EXPECT_EQ(before.hex().size(), 32u);
}

TEST(QuickHash128, EveryOctetMatters) {
  const HashKey key{1, 2};
  const std::string text(40, 'a');
  const Hash128 whole = quick_hash128(key, text);
  EXPECT_NE(whole, hash128(key, text));
  EXPECT_NE(whole, quick_hash128(HashKey{1, 3}, text));
  EXPECT_NE(whole.hi, whole.lo);
  for (std::size_t at = 0; at < text.size(); ++at) {
    std::string other = text;
    other[at] = 'b';
    const Hash128 now = quick_hash128(key, other);
    EXPECT_TRUE(now.hi != whole.hi && now.lo != whole.lo) << at;
    EXPECT_NE(quick_hash128(key, text.substr(0, at)), whole);
  }
}

// The values are those of Python, whose own hash of octets this is under an empty key (PYTHONHASHSEED=0).
TEST(Hash64, IsSipHash13) {
  EXPECT_EQ(hash64({}, "a"), 0x407448d2b89b1813ULL);
  EXPECT_EQ(hash64({}, "abcdefg"), 0x6db12aae9070f506ULL);
  EXPECT_EQ(hash64({}, "abcdefgh"), 0x3f7b849c0b8e35eaULL);
  EXPECT_EQ(hash64({}, "SELECT abalance FROM pgbench_accounts WHERE aid = 0;"), 0x2bfd393f2bc21396ULL);
  EXPECT_NE(hash64({1, 2}, "a"), hash64({1, 3}, "a"));
}

}  // namespace
}  // namespace herdgate
