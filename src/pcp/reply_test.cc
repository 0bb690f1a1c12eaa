#include "pcp/reply.h"

#include <gtest/gtest.h>

#include "pcp/errc.h"

using namespace std::literals;

namespace herdgate::pcp {
namespace {

Result<bool> feed(Reply& reply, ByteView octets) {
  Result<bool> whole = false;
  while (!octets.empty()) {
    const auto frame = first_frame(octets, kReplyLimit);
    if (!frame || !*frame) return fail(Errc::bad_length, "in the test itself");
    whole = reply.add(**frame);
    if (!whole) break;
    octets.remove_prefix((**frame).whole_bytes);
  }
  return whole;
}

Bytes framed(char letter, ByteView payload) {
  Bytes out;
  put_frame(out, letter, payload);
  return out;
}

// What Pgpool-II 4.6.1 sent.
TEST(Reply, RowsOfTheOriginal) {
  Reply reply;
  EXPECT_TRUE(*feed(reply,
                    "i\0\0\0\x10"
                    "ArraySize\0"
                    "1\0"
                    "i\0\0\0\x51NodeInfo\0"
                    "127.0.0.1\0"
                    "27650\0"
                    "1\0"
                    "0\0up\0"
                    "1073741823.500000\0"
                    "2\0primary\0"
                    "0\0"
                    "0\0\0\0"
                    "1795393856\0"
                    "i\0\0\0\x14"
                    "CommandComplete\0"s));
  ASSERT_EQ(reply.rows.size(), 1u);
  EXPECT_EQ(reply.rows[0], (std::vector<std::string>{"127.0.0.1", "27650", "1", "0", "up", "1073741823.500000", "2",
                                                     "primary", "0", "0", "", "", "1795393856"}));
  EXPECT_TRUE(reply.values.empty());
}

TEST(Reply, ValuesAndACountInRawOctets) {
  Reply count;
  EXPECT_TRUE(*feed(count,
                    "l\0\0\0\x16"
                    "CommandComplete\0"
                    "2\0"s));
  EXPECT_EQ(count.values, (std::vector<std::string>{"2"}));
  Reply config;
  EXPECT_FALSE(*feed(config,
                     "b\0\0\0\x12"
                     "ArraySize\0\0\0\0\xa4"s));
  EXPECT_FALSE(*feed(config, framed('b',
                                    "ProcessConfig\0port\0"
                                    "1\0d\0"s)));
  EXPECT_EQ(config.rows.size(), 1u);
}

TEST(Reply, TroubleAndNotices) {
  Reply reply;
  EXPECT_FALSE(*feed(reply, framed('N', "SDEBUG\0Mhello\0\0"s)));
  EXPECT_TRUE(*feed(reply, framed('E', "SERROR\0Mno such thing\0Dbad\0\0"s)));
  EXPECT_EQ(reply.notices.at(0).message, "hello");
  EXPECT_EQ(reply.trouble->message, "no such thing");
  EXPECT_EQ(reply.trouble->detail, "bad");
}

TEST(Reply, WhatNoAnswerHas) {
  Reply reply;
  EXPECT_FALSE(reply.add({'i', "", 5}));
  EXPECT_FALSE(reply.add({'i', "Nonsense\0"s, 5}));
}

}  // namespace
}  // namespace herdgate::pcp
