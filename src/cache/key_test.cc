#include "cache/key.h"

#include <gtest/gtest.h>

#include <set>

namespace herdgate::cache {
namespace {

const HashKey kKey{1, 2};

std::string bind(const std::vector<std::string>& values) {
  Bytes out("\0\0", 2);
  append_u16(out, static_cast<std::uint16_t>(values.size()));
  for (const std::string& value : values) {
    append_u32(out, static_cast<std::uint32_t>(value.size()));
    out += value;
  }
  return out + std::string("\0\0", 2);
}

TEST(Key, WhateverChangesAnAnswerChangesTheKey) {
  std::set<Hash128> seen;
  int cases = 0;
  enum class Form { simple, extended };
  struct Case {
    Hash128 viewer;
    Form form;
    std::string_view text;
    std::string types = {}, bind = {};
  };
  const auto add = [&](const Case& c) {
    const Hash128 text = text_hash(kKey, c.text);
    const Hash128 key = c.form == Form::simple ? key_of(c.viewer, text)
                                               : key_of(kKey, c.viewer, statement_hash(kKey, text, c.types), c.bind);
    ++cases;
    EXPECT_TRUE(seen.insert(key).second) << "case " << cases;
  };
  const auto viewer = [&](std::string_view d, std::string_view u, std::vector<Setting> s) {
    return viewer_of(kKey, d, u, s);
  };
  const Hash128 plain = viewer("db", "user", {});
  add({plain, Form::simple, "select 1"});
  add({plain, Form::simple, "select  1"});
  add({plain, Form::simple, "SELECT 1"});
  add({plain, Form::extended, "select 1"});
  add({plain, Form::extended, "select 1", "x"});
  add({plain, Form::extended, "select 1", "", "x"});
  add({plain, Form::extended, "select 1x"});
  add({plain, Form::extended, "select 1", "x", "x"});
  add({plain, Form::extended, "select 1", bind({}), bind({"1"})});
  add({plain, Form::extended, "select 1", bind({}), bind({"2"})});
  add({viewer("db2", "user", {}), Form::simple, "select 1"});
  add({viewer("db", "user2", {}), Form::simple, "select 1"});
  add({viewer("dbu", "ser", {}), Form::simple, "select 1"});
  add({viewer("db", "user", {{"timezone", "UTC"}}), Form::simple, "select 1"});
  add({viewer("db", "user", {{"timezone", "CET"}}), Form::simple, "select 1"});
  add({viewer("db", "user", {{"timezon", "eCET"}}), Form::simple, "select 1"});
  for (const char* name : {"role", "search_path", "datestyle", "intervalstyle", "extra_float_digits", "bytea_output",
                           "client_encoding", "lc_monetary", "row_security", "standard_conforming_strings", "my.own"})
    add({viewer("db", "user", {{name, "x"}}), Form::simple, "select 1"});
}

TEST(Key, WhatChangesNoAnswerDoesNot) {
  EXPECT_EQ(viewer_of(kKey, "d", "u", {}), viewer_of(kKey, "d", "u", {{"application_name", "a"}}));
  EXPECT_EQ(viewer_of(kKey, "d", "u", {{"timezone", "x"}}),
            viewer_of(kKey, "d", "u", {{"statement_timeout", "1s"}, {"timezone", "x"}}));
}

TEST(Key, ATextHasOneNameForAllItsVariants) {
  const auto key = [](std::string_view database, std::string_view user, std::string_view text) {
    return text_key(owner_of(kKey, database, user), text_hash(kKey, text));
  };
  EXPECT_EQ(key("d", "u", "select 1"), key("d", "u", "select 1"));
  EXPECT_NE(key("d", "u", "select 1"), key("d", "v", "select 1"));
  EXPECT_NE(key("d", "u", "select 1"), key("du", "", "select 1"));
  EXPECT_NE(key("d", "u", "select 1"), key("d", "u", "select 2"));
}

TEST(Key, WordsThatMeanAMoment) {
  for (const char* text : {"now", "select 'Now'", "'TODAY'", "date'tomorrow'", "x yesterday 10:00", "('now')"})
    EXPECT_TRUE(names_a_moment(text)) << text;
  for (const char* text : {"today0:0", "2now", "now2"}) EXPECT_TRUE(names_a_moment(text)) << text;
  for (const char* text : {"", "know", "nowhere", "now_", "_now", "snow", "no", "todays"})
    EXPECT_FALSE(names_a_moment(text)) << text;
  // Wherever it stands among the octets that are looked at together, and in either case.
  for (const std::string word : {"now", "TODAY", "toMorrow", "yEsterday"}) {
    for (std::size_t at = 0; at < 50; ++at) {
      for (std::size_t behind = 0; behind < 20; ++behind) {
        const std::string text = std::string(at, '.') + word + std::string(behind, ' ');
        EXPECT_TRUE(names_a_moment(text)) << text;
        EXPECT_FALSE(names_a_moment(std::string(at, '.') + "x" + word + std::string(behind, ' '))) << text;
        EXPECT_FALSE(names_a_moment(text.substr(0, at + word.size()) + "x" + std::string(behind, ' '))) << text;
      }
    }
  }
  for (const char* text :
       {"E'to\\144ay'", "(e'\\x6eow')", "U&'x'", "u&'x'", "'to'\n'day'", "'to' \t\r\n 'day'", "'a' --\n'b'"})
    EXPECT_TRUE(text_names_a_moment(text)) << text;
  for (const char* text : {"'\\d'", "name'\\d'", "E'x'", "'it''s'\n", "'a' 'b'", "'a',\n'b'", "u&x", "E'a\\\\b'"})
    EXPECT_FALSE(text_names_a_moment(text)) << text;
  EXPECT_TRUE(text_names_a_moment("'\\d'", /*standard_strings=*/false));
  EXPECT_TRUE(bind_names_a_moment(bind({"1", "today"})));
  const std::string padded = std::string(62, ' ').append("now");  // its length, 65, is a letter
  EXPECT_TRUE(bind_names_a_moment(bind({padded})));
  EXPECT_FALSE(bind_names_a_moment(bind({"1", "2020-01-01", "know"})));
  EXPECT_FALSE(bind_names_a_moment(bind({})));
}

TEST(Key, ABrokenBindCountsAsNamingOne) {
  const std::string whole = bind({"abc", "def"});
  for (std::size_t size = 0; size + 2 < whole.size(); ++size)
    EXPECT_TRUE(bind_names_a_moment(std::string_view(whole).substr(0, size))) << size;
}

}  // namespace
}  // namespace herdgate::cache
