#include "session/unit_messages.h"

#include <gtest/gtest.h>

#include "wire/frontend.h"

namespace herdgate::session {
namespace {
using Shape = UnitMessage::Shape;
using namespace std::string_view_literals;

Bytes message(char type, ByteView payload) {
  Bytes out;
  wire::put_message(out, type, payload);
  return out;
}

std::vector<UnitMessage> apart(const Bytes& unit) {
  std::vector<UnitMessage> list;
  take_apart(unit, list);
  return list;
}

TEST(UnitMessages, NamesAndWhatFollowsThem) {
  const Bytes bind = message('B', "portal\0name\0\0\0\0\1\0\0\0\1x\0\0"sv), parse = message('P', "s\0select 1\0\0\0"sv);
  const Bytes unit = parse + bind + message('D', "Sname\0"sv) + message('C', "Pportal\0"sv) +
                     message('E', "portal\0\0\0\0\7"sv) + message('S', "");
  const auto list = apart(unit);
  ASSERT_EQ(list.size(), 6U);
  Bytes whole;
  for (const UnitMessage& m : list) {
    EXPECT_TRUE(m.good()) << m.type;
    EXPECT_EQ(m.known, nullptr);
    whole.append(m.whole);
  }
  EXPECT_EQ(whole, unit);
  EXPECT_EQ(list[0].payload(), "s\0select 1\0\0\0"sv);
  EXPECT_EQ(list[1].portal, "portal");
  EXPECT_EQ(list[1].statement, "name");
  EXPECT_EQ(list[1].rest(), "\0\0\0\1\0\0\0\1x\0\0"sv);
  EXPECT_EQ(list[2].what, 'S');
  EXPECT_EQ(list[2].statement, "name");
  EXPECT_EQ(list[3].what, 'P');
  EXPECT_EQ(list[3].portal, "portal");
  EXPECT_EQ(list[4].portal, "portal");
  EXPECT_EQ(list[4].max_rows, 7U);
  EXPECT_EQ(list[5].type, 'S');
}

TEST(UnitMessages, EmptyNames) {
  const Bytes unit = message('B', "\0\0\0\0\0\0\0\0"sv) + message('E', "\0\0\0\0\0"sv);
  const auto list = apart(unit);
  ASSERT_EQ(list.size(), 2U);
  EXPECT_TRUE(list[0].good() && list[1].good());
  EXPECT_EQ(list[0].statement, "");
  EXPECT_EQ(list[0].rest(), "\0\0\0\0\0\0"sv);
  const Bytes short_one = message('B', "\0\0"sv);
  EXPECT_EQ(apart(short_one)[0].rest(), "");
}

TEST(UnitMessages, WhatIsWrongIsSaidOfTheMessageAlone) {
  const auto list = apart(message('D', "Xname\0"sv) + message('E', "no end"sv) + message('C', ""sv) +
                          message('B', "only one\0"sv) + message('B', "a\0b\0"sv));
  ASSERT_EQ(list.size(), 5U);
  EXPECT_EQ(list[0].shape, Shape::malformed);
  EXPECT_EQ(list[1].shape, Shape::malformed);
  EXPECT_EQ(list[2].shape, Shape::malformed);
  EXPECT_EQ(list[3].shape, Shape::cut);
  EXPECT_EQ(list[4].shape, Shape::good);
}

// A Bind that streams: its length says more than is there.
TEST(UnitMessages, ABindOfWhichOnlyTheHeadIsThere) {
  const Bytes bind = message('B', Bytes("p\0s\0"sv) + Bytes(1000, 'x'));
  const Bytes some = bind.substr(0, 20), less = bind.substr(0, 7);
  EXPECT_EQ(apart(some)[0].rest(), Bytes(11, 'x'));
  EXPECT_EQ(apart(less)[0].shape, Shape::cut);
}

TEST(UnitMessages, AreTakenApartIntoAUsedList) {
  std::vector<UnitMessage> list;
  take_apart(message('H', "") + message('S', ""), list);
  take_apart(message('S', ""), list);
  EXPECT_EQ(list.size(), 1U);
}

}  // namespace
}  // namespace herdgate::session
