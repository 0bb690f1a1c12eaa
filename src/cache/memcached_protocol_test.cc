#include "cache/memcached_protocol.h"

#include <gtest/gtest.h>

#include <vector>

#include "base/random.h"

namespace herdgate::cache {
namespace {

constexpr std::size_t kMostBytes = 100;
using Kind = MemcachedReply::Kind;

struct Got {
  Kind kind;
  std::uint64_t count;
  std::string key, data;
  bool operator==(const Got&) const = default;
};

void take(MemcachedReplies& replies, std::vector<Got>& got) {
  while (const auto r = replies.next()) got.push_back({r->kind, r->count, std::string(r->key), std::string(r->data)});
}

TEST(MemcachedProtocol, SaysWhatIsAsked) {
  Bytes out;
  put_set(out, "k", 7, "a\r\nb");
  put_add(out, "l", "");
  put_increase(out, "m", 18446744073709551615U);
  put_delete(out, "n");
  const std::vector<std::string> keys{"o", "p"};
  put_get(out, keys);
  EXPECT_EQ(out, "set k 0 7 4\r\na\r\nb\r\nadd l 0 0 0\r\n\r\nincr m 18446744073709551615\r\ndelete n\r\nget o p\r\n");
}

struct Whole {
  std::string_view octets;
  std::vector<Got> replies;
};

const std::vector<Whole>& wholes() {
  static const std::vector<Whole> all{
      {"STORED\r\n", {{Kind::stored, 0, "", ""}}},
      {"NOT_STORED\r\n", {{Kind::not_stored, 0, "", ""}}},
      {"DELETED\r\n", {{Kind::deleted, 0, "", ""}}},
      {"NOT_FOUND\r\n", {{Kind::not_found, 0, "", ""}}},
      {"END\r\n", {{Kind::end, 0, "", ""}}},
      {"0\r\n", {{Kind::number, 0, "", ""}}},
      {"18446744073709551615\r\n", {{Kind::number, 18446744073709551615U, "", ""}}},
      {"9  \r\n", {{Kind::number, 9, "", ""}}},
      {"SERVER_ERROR out of memory\r\n", {{Kind::refused, 0, "", "out of memory"}}},
      {"CLIENT_ERROR no number\r\n", {{Kind::refused, 0, "", "no number"}}},
      {"VALUE k 0 0\r\n\r\nEND\r\n", {{Kind::value, 0, "k", ""}, {Kind::end, 0, "", ""}}},
      {"VALUE k 0 5 77\r\na\r\nbc\r\nEND\r\n", {{Kind::value, 0, "k", "a\r\nbc"}, {Kind::end, 0, "", ""}}},
      {"VALUE k 4294967295 5\r\nEND\r\n\r\nVALUE l 0 1\r\nx\r\nEND\r\n4\r\n",
       {{Kind::value, 0, "k", "END\r\n"},
        {Kind::value, 0, "l", "x"},
        {Kind::end, 0, "", ""},
        {Kind::number, 4, "", ""}}},
  };
  return all;
}

TEST(MemcachedProtocol, RepliesCutAnywhere) {
  for (const Whole& whole : wholes()) {
    for (std::size_t cut = 0; cut <= whole.octets.size(); ++cut) {
      MemcachedReplies replies(kMostBytes);
      std::vector<Got> got;
      replies.feed(whole.octets.substr(0, cut));
      take(replies, got);
      if (cut < whole.octets.size()) {
        EXPECT_LT(got.size(), whole.replies.size()) << whole.octets << cut;
      }
      replies.feed(whole.octets.substr(cut));
      take(replies, got);
      EXPECT_EQ(got, whole.replies) << whole.octets << cut;
      EXPECT_EQ(replies.broken(), "");
      EXPECT_EQ(replies.buffered(), 0U);
    }
  }
}

TEST(MemcachedProtocol, RepliesOctetByOctet) {
  for (const Whole& whole : wholes()) {
    MemcachedReplies replies(kMostBytes);
    std::vector<Got> got;
    for (const char octet : whole.octets) {
      replies.feed({&octet, 1});
      take(replies, got);
    }
    EXPECT_EQ(got, whole.replies) << whole.octets;
  }
}

TEST(MemcachedProtocol, WhatIsNoReplyBreaksForGood) {
  const std::string long_line(MemcachedReplies::kMaxLine + 3, 'x');
  for (const std::string_view octets :
       {std::string_view("ERROR\r\n"), std::string_view("\r\n"), std::string_view("stored\r\n"),
        std::string_view("STORED \r\n"), std::string_view("-1\r\n"), std::string_view("1 2\r\n"),
        std::string_view("18446744073709551616\r\n"), std::string_view("VALUE \r\n"), std::string_view("VALUE k\r\n"),
        std::string_view("VALUE k 0\r\n"), std::string_view("VALUE k 0 -1\r\n"),
        std::string_view("VALUE k x 1\r\na\r\n"), std::string_view("VALUE k 0 1x\r\na\r\n"),
        std::string_view("VALUE  0 1\r\na\r\n"), std::string_view("VALUE k 0 2\r\na\r\nEND\r\n"),
        std::string_view("VALUE k 0 1\r\nab\r\nEND\r\n"), std::string_view("VALUE k 0 101\r\n"),
        std::string_view("VALUE k 0 18446744073709551615\r\n"), std::string_view(long_line)}) {
    MemcachedReplies replies(kMostBytes);
    replies.feed(octets);
    EXPECT_FALSE(replies.next()) << octets;
    EXPECT_NE(replies.broken(), "") << octets;
    replies.feed("STORED\r\n");
    EXPECT_FALSE(replies.next()) << octets;
    EXPECT_EQ(replies.buffered(), 0U);
  }
}

TEST(MemcachedProtocol, AValueOfTheGreatestLength) {
  MemcachedReplies replies(kMostBytes);
  replies.feed("VALUE k 0 100\r\n" + std::string(100, 'x') + "\r\n");
  const auto reply = replies.next();
  ASSERT_TRUE(reply);
  EXPECT_EQ(reply->data.size(), 100U);
}

TEST(MemcachedProtocol, RandomOctetsNeverHoldMoreThanTheLimit) {
  Random random(1);
  constexpr std::string_view kPieces[] = {"VALUE k 0 ", "STORED", "\r\n", "\r", "\n", "END\r\n", "12", " ", "x", "99"};
  for (int round = 0; round < 20'000; ++round) {
    MemcachedReplies replies(kMostBytes);
    std::vector<Got> got;
    for (int i = 0; i < 12; ++i) {
      replies.feed(kPieces[random.bits() % std::size(kPieces)]);
      take(replies, got);
      ASSERT_LE(replies.buffered(), kMostBytes + MemcachedReplies::kMaxLine + 4);
    }
    for (const Got& g : got) ASSERT_LE(g.data.size(), kMostBytes);
  }
}

TEST(MemcachedProtocol, Decimal) {
  EXPECT_EQ(decimal("0"), 0U);
  EXPECT_EQ(decimal("007"), 7U);
  for (const std::string_view text : {"", " 1", "1 ", "+1", "-1", "0x1", "1.0", "18446744073709551616"})
    EXPECT_FALSE(decimal(text)) << text;
}

}  // namespace
}  // namespace herdgate::cache
