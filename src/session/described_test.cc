#include "session/described.h"

#include <gtest/gtest.h>

namespace herdgate::session {
namespace {

constexpr HashKey kKey{1, 2};
constexpr ByteView kNoParameters("\0\0", 2), kOneInteger("\0\1\0\0\0\x17", 6), kOneText("\0\1\0\0\0\x19", 6);

Bytes field(std::string_view name, std::uint32_t table, std::uint32_t type, char format) {
  Bytes out;
  append_cstr(out, name);
  append_u32(out, table);
  out.append("\0\1", 2);
  append_u32(out, type);
  out.append("\0\4", 2);
  append_u32(out, 0xffffffff);
  out.append({'\0', format});
  return out;
}

TEST(Described, IsNamesAndTypes) {
  const Bytes one = Bytes("\0\1", 2) + field("a", 100, 23, 0);
  const auto known = described_as(kKey, kNoParameters, one);
  ASSERT_TRUE(known);
  const auto differs = [&](ByteView parameters, const Bytes& columns) {
    const auto other = described_as(kKey, parameters, columns);
    return !other || !(*other == *known);
  };
  EXPECT_FALSE(differs(kNoParameters, Bytes("\0\1", 2) + field("a", 200, 23, 1))) << "another table, another format";
  EXPECT_TRUE(differs(kNoParameters, Bytes("\0\1", 2) + field("b", 100, 23, 0)));
  EXPECT_TRUE(differs(kNoParameters, Bytes("\0\1", 2) + field("a", 100, 25, 0)));
  EXPECT_TRUE(differs(kNoParameters, Bytes("\0\2", 2) + field("a", 100, 23, 0) + field("a", 100, 23, 0)));
  EXPECT_TRUE(differs(kNoParameters, {}));
  EXPECT_TRUE(differs(kOneInteger, one));
}

TEST(Described, WithoutRowsIsItsParameters) {
  const auto known = described_as(kKey, kOneInteger, {});
  ASSERT_TRUE(known);
  EXPECT_EQ(*known, *described_as(kKey, kOneInteger, {}));
  EXPECT_FALSE(*known == *described_as(kKey, kOneText, {}));
  EXPECT_EQ(known->parameters, kOneInteger) << "as a Parse has them";
}

TEST(Described, IsNothingWhereItCannotBeRead) {
  const Bytes one = Bytes("\0\1", 2) + field("a", 100, 23, 0);
  for (std::size_t size = 1; size < one.size(); ++size)
    EXPECT_FALSE(described_as(kKey, kNoParameters, ByteView(one).substr(0, size))) << size;
  EXPECT_FALSE(described_as(kKey, kNoParameters, one + "x"));
  for (std::size_t size = 0; size < kOneText.size(); ++size)
    EXPECT_FALSE(described_as(kKey, kOneText.substr(0, size), one)) << size;
}

}  // namespace
}  // namespace herdgate::session
