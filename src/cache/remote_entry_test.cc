#include "cache/remote_entry.h"

#include <gtest/gtest.h>

#include "base/random.h"

namespace herdgate::cache {
namespace {

constexpr HashKey kHash{11, 22};
constexpr Hash128 kKey{33, 44};

Fill fill(std::vector<std::uint32_t> tables, std::string_view head, std::string_view rest) {
  Fill f;
  f.key = kKey;
  f.tables = std::move(tables);
  f.footing = {.epoch = kHash.k0, .nonce = 55, .counters = {66, 77}};
  for (const std::uint32_t table : f.tables) f.footing.counters.push_back(table * 1'000'000'007ULL);
  f.head = head;
  f.rest = rest;
  return f;
}

const std::vector<Fill>& fills() {
  static const std::vector<Fill> all{
      fill({}, "", ""), fill({}, "T", ""), fill({16384}, "", "D"), fill({16384, 4294967295U, 1}, "Thead", "Drows\0and"),
      fill(std::vector<std::uint32_t>(100, 5), std::string(300, 'T'), std::string(3000, 'D'))};
  return all;
}

TEST(RemoteEntry, RoundTrip) {
  for (const Fill& f : fills()) {
    const Bytes octets = encode(kHash, f);
    EXPECT_EQ(octets.size(), entry_overhead(f.tables.size()) + f.head.size() + f.rest.size());
    const auto entry = decode(kHash, kKey, octets);
    ASSERT_TRUE(entry);
    EXPECT_EQ(entry->tables, f.tables);
    EXPECT_EQ(entry->footing.epoch, f.footing.epoch);
    EXPECT_EQ(entry->footing.nonce, f.footing.nonce);
    EXPECT_EQ(entry->footing.counters, f.footing.counters);
    EXPECT_EQ(entry->answer.head(), f.head);
    EXPECT_EQ(entry->answer.rest(), f.rest);
  }
}

TEST(RemoteEntry, AnyBitFlipped) {
  for (const Fill& f : fills()) {
    Bytes octets = encode(kHash, f);
    for (std::size_t i = 0; i < octets.size(); ++i) {
      for (int bit = 0; bit < 8; ++bit) {
        octets[i] = static_cast<char>(octets[i] ^ (1 << bit));
        ASSERT_FALSE(decode(kHash, kKey, octets)) << i;
        octets[i] = static_cast<char>(octets[i] ^ (1 << bit));
      }
    }
    EXPECT_TRUE(decode(kHash, kKey, octets));
  }
}

TEST(RemoteEntry, TooShortOrTooLong) {
  for (const Fill& f : fills()) {
    const Bytes octets = encode(kHash, f);
    for (std::size_t size = 0; size < octets.size(); ++size)
      ASSERT_FALSE(decode(kHash, kKey, ByteView(octets).substr(0, size))) << size;
    EXPECT_FALSE(decode(kHash, kKey, octets + '\0'));
    EXPECT_FALSE(decode(kHash, kKey, octets + octets));
  }
}

TEST(RemoteEntry, OfAnotherKeyOrEpoch) {
  const Bytes octets = encode(kHash, fills().back());
  EXPECT_FALSE(decode(kHash, {kKey.hi, kKey.lo + 1}, octets));
  EXPECT_FALSE(decode({kHash.k0 + 1, kHash.k1}, kKey, octets));
  EXPECT_FALSE(decode({kHash.k0, kHash.k1 + 1}, kKey, octets));
}

// Whoever can make the checksum can say what he likes, but must not make us read what is not there.
TEST(RemoteEntry, RightChecksumAndWrongLengths) {
  constexpr std::size_t kBodyAt = 24, kNumbersAt = kBodyAt + 16 + 3 * 8;
  const auto signed_with = [](std::size_t at, std::uint32_t number) {
    Bytes octets = encode(kHash, fill({1, 2}, "Th", "Drows"));
    Bytes four;
    append_u32(four, number);
    octets.replace(at, 4, four);
    const Hash128 sum = hash128(kHash, ByteView(octets).substr(kBodyAt));
    Bytes sixteen;
    for (const std::uint64_t half : {sum.hi, sum.lo}) {
      append_u32(sixteen, static_cast<std::uint32_t>(half >> 32));
      append_u32(sixteen, static_cast<std::uint32_t>(half));
    }
    return octets.replace(8, 16, sixteen);
  };
  EXPECT_TRUE(decode(kHash, kKey, signed_with(kNumbersAt, 2)));
  for (const std::uint32_t wrong : {0U, 1U, 3U, 357913942U, 4294967295U})
    EXPECT_FALSE(decode(kHash, kKey, signed_with(kNumbersAt, wrong))) << wrong;
  for (const std::uint32_t wrong : {0U, 6U, 8U, 4294967295U})
    EXPECT_FALSE(decode(kHash, kKey, signed_with(kNumbersAt + 4, wrong))) << wrong;
  for (const std::uint32_t wrong : {8U, 4294967295U})
    EXPECT_FALSE(decode(kHash, kKey, signed_with(kNumbersAt + 8, wrong))) << wrong;
}

TEST(RemoteEntry, RandomOctets) {
  Random random(2);
  for (int round = 0; round < 10'000; ++round) {
    Bytes octets = round % 2 ? "HGC\x01" : "";
    const std::size_t size = random.bits() % 200;
    for (std::size_t i = 0; i < size; ++i) octets += static_cast<char>(random.bits());
    ASSERT_FALSE(decode(kHash, kKey, octets));
  }
}

}  // namespace
}  // namespace herdgate::cache
