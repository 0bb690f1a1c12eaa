#include "cache/defaults.h"

#include <gtest/gtest.h>

namespace herdgate::cache {
namespace {

TEST(Defaults, TheSameRowsHaveTheSameFingerprintEverywhere) {
  EXPECT_EQ(defaults_of("rows"), defaults_of("rows"));
  EXPECT_NE(defaults_of("rows"), defaults_of("row"));
  EXPECT_NE(defaults_of("rows"), 0u);
}

TEST(Defaults, WhoSaysNothingOrTooMuchIsNotKnown) {
  EXPECT_EQ(defaults_of(""), 0u);
  EXPECT_NE(defaults_of(std::string(kMaxDefaultsBytes, 'x')), 0u);
  EXPECT_EQ(defaults_of(std::string(kMaxDefaultsBytes + 1, 'x')), 0u);
}

TEST(Defaults, TheySayWhetherTransactionsHaveOneSnapshot) {
  const std::string name = "default_transaction_isolation";
  const auto row = [&](std::string_view value) {
    return name + std::string("\0\0\0", 3) + static_cast<char>(value.size()) + std::string(value) + "D";
  };
  EXPECT_FALSE(give_one_snapshot(defaults_of(row("read committed"))));
  EXPECT_FALSE(give_one_snapshot(defaults_of(row("read uncommitted"))));
  EXPECT_TRUE(give_one_snapshot(defaults_of(row("repeatable read"))));
  EXPECT_TRUE(give_one_snapshot(defaults_of(row("serializable"))));
  for (const std::string& odd : {name, name + "\xff", name + "\xff\xff\xff\xff", std::string("rows")})
    EXPECT_TRUE(give_one_snapshot(defaults_of(odd)));
}

// The role's own search_path is in force when it is asked.
TEST(Defaults, TheQuestionNamesFunctionsAndTablesInFull) {
  const std::string& text = defaults_question();
  for (const char* name : {"current_setting(", "unnest(", "split_part(", "strpos(", "pg_db_role_setting", "pg_database",
                           "pg_roles", "current_database(", "concat("}) {
    for (std::size_t at = text.find(name); at != std::string::npos; at = text.find(name, at + 1))
      EXPECT_EQ(text.substr(at - 11, 11), "pg_catalog.") << name;
  }
  EXPECT_EQ(text.find(" = "), std::string::npos);
  EXPECT_EQ(text.find(" > "), std::string::npos);
}

}  // namespace
}  // namespace herdgate::cache
