#include "session/known_columns.h"

#include <gtest/gtest.h>

namespace herdgate::session {
namespace {

constexpr HashKey kKey{1, 2};

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

constexpr Hash128 kNone;  // no parameters

TEST(KnownColumns, AreNamesAndTypes) {
  const Bytes one = Bytes("\0\1", 2) + field("a", 100, 23, 0);
  const auto known = columns_of(kKey, one, kNone);
  ASSERT_TRUE(known);
  EXPECT_EQ(columns_of(kKey, Bytes("\0\1", 2) + field("a", 200, 23, 1), kNone),
            known);  // another table, another format
  EXPECT_NE(columns_of(kKey, Bytes("\0\1", 2) + field("b", 100, 23, 0), kNone), known);
  EXPECT_NE(columns_of(kKey, Bytes("\0\1", 2) + field("a", 100, 25, 0), kNone), known);
  EXPECT_NE(columns_of(kKey, Bytes("\0\2", 2) + field("a", 100, 23, 0) + field("a", 100, 23, 0), kNone), known);
  EXPECT_NE(columns_of(kKey, {}, kNone), known);
  EXPECT_TRUE(columns_of(kKey, {}, kNone));
  EXPECT_NE(columns_of(kKey, one, Hash128{1, 2}), known) << "other parameters";
  EXPECT_NE(columns_of(kKey, {}, Hash128{1, 2}), columns_of(kKey, {}, kNone));
}

TEST(KnownColumns, OfWhatCannotBeReadThereAreNone) {
  const Bytes one = Bytes("\0\1", 2) + field("a", 100, 23, 0);
  for (std::size_t size = 1; size < one.size(); ++size)
    EXPECT_FALSE(columns_of(kKey, ByteView(one).substr(0, size), kNone)) << size;
  EXPECT_FALSE(columns_of(kKey, one + "x", kNone));
}

TEST(KnownColumns, AreBounded) {
  KnownColumns known;
  known.keep("first", Hash128{1, 1});
  ASSERT_TRUE(known.find("first"));
  for (std::size_t i = 0; i < KnownColumns::kMost; ++i) known.keep("s" + std::to_string(i), Hash128{i, 0});
  EXPECT_FALSE(known.find("first"));
  EXPECT_EQ(known.find("s" + std::to_string(KnownColumns::kMost - 1)), (Hash128{KnownColumns::kMost - 1, 0}));
}

}  // namespace
}  // namespace herdgate::session
