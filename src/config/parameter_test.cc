#include "config/parameter.h"

#include <gtest/gtest.h>

#include <fstream>
#include <set>
#include <sstream>

#include "config/errc.h"

namespace herdgate::config {
namespace {

struct Fact {
  std::string name, usual, unit, min, max, words, context, numbered;
};

std::vector<Fact> facts_of_4_6() {
  std::vector<Fact> facts;
  std::ifstream in(HG_SOURCE_DIR "/src/config/testdata/parameters_4_6.tsv");
  for (std::string line; std::getline(in, line);) {
    if (line.starts_with('#')) continue;
    std::vector<std::string> columns(1);
    for (const char c : line) {
      if (c == '\t') {
        columns.emplace_back();
      } else {
        columns.back().push_back(c);
      }
    }
    EXPECT_EQ(columns.size(), 8u) << line;
    facts.push_back({columns[0], columns[1], columns[2], columns[3], columns[4], columns[5], columns[6], columns[7]});
  }
  return facts;
}

const Parameter& row(std::string_view name) {
  const auto named = find_parameter(name, true);
  EXPECT_TRUE(named.has_value()) << name;
  return *named->parameter;
}

std::string unquoted(std::string text) {
  if (text.starts_with('\'')) text = text.substr(1, text.size() - 2);
  return text;
}

// What the manual says is in the table, and nothing else but our own.
TEST(ParameterTable, HasExactlyTheParametersOf46AndOurs) {
  std::set<std::string> known;
  for (const Fact& fact : facts_of_4_6()) known.insert(fact.name);
  EXPECT_EQ(known.size(), 180u);
  std::set<std::string> ours;
  for (const Parameter& p : parameters()) {
    if (!p.ours()) {
      EXPECT_EQ(known.erase(std::string(p.name)), 1u) << p.name;
    } else {
      EXPECT_TRUE(ours.insert(std::string(p.name)).second) << p.name;
    }
  }
  EXPECT_TRUE(known.empty()) << *known.begin();
  EXPECT_EQ(ours.size(), 30u);
}

TEST(ParameterTable, DefaultsAreThoseOfTheManual) {
  for (const Fact& fact : facts_of_4_6()) {
    const Parameter& p = row(fact.name);
    if (!p.alias_of.empty()) continue;
    const std::string text = unquoted(fact.usual);
    // Numbers that mean "not set" stand outside their own range.
    if (p.kind == Kind::integer && p.shape.min > 0 && text == "0") {
      EXPECT_EQ(default_value(p), Value{std::int64_t{0}}) << fact.name;
      continue;
    }
    const auto parsed = parse_value(p, text);
    ASSERT_TRUE(parsed.has_value()) << fact.name << ": " << parsed.error().text();
    EXPECT_EQ(default_value(p), *parsed) << fact.name;
  }
}

TEST(ParameterTable, ContextsAndNumbersAreThoseOfTheManual) {
  for (const Fact& fact : facts_of_4_6()) {
    const Parameter& p = row(fact.name);
    const Context context = fact.context == "startup"  ? Context::startup
                            : fact.context == "reload" ? Context::reload
                                                       : Context::session;
    EXPECT_EQ(p.context, context) << fact.name;
    const bool optional = fact.numbered == "optional";
    EXPECT_EQ(p.index == Index::per_node, optional) << fact.name;
    EXPECT_EQ(p.index != Index::none, fact.numbered != "no") << fact.name;
    EXPECT_EQ(find_parameter(fact.name).has_value(), fact.numbered != "yes") << fact.name;
    EXPECT_EQ(find_parameter(fact.name + "0").has_value(), fact.numbered != "no") << fact.name;
  }
}

TEST(ParameterTable, NumbersAreHeldToTheirRange) {
  for (const Fact& fact : facts_of_4_6()) {
    const Parameter& p = row(fact.name);
    if (fact.min.empty() || p.kind == Kind::real) continue;
    const int base = p.shape.octal ? 8 : 10;
    const long long low = std::stoll(fact.min, nullptr, base);
    const auto high = std::stoll(fact.max, nullptr, fact.max == "0777" ? 8 : 10);
    EXPECT_TRUE(parse_value(p, std::to_string(low))) << fact.name;
    EXPECT_TRUE(parse_value(p, std::to_string(high))) << fact.name;
    const auto below = parse_value(p, std::to_string(low - 1));
    ASSERT_FALSE(below) << fact.name;
    EXPECT_EQ(below.error().code, make_error_code(Errc::bad_value));
    EXPECT_NE(below.error().context.find(fact.name), std::string::npos);
    if (high != std::numeric_limits<long long>::max()) {
      EXPECT_FALSE(parse_value(p, std::to_string(high + 1))) << fact.name;
    }
    EXPECT_FALSE(parse_value(p, "99999999999999999999")) << fact.name;
    EXPECT_FALSE(parse_value(p, "many")) << fact.name;
    EXPECT_FALSE(parse_value(p, "")) << fact.name;
  }
}

TEST(ParameterTable, EnumsTakeTheirWordsAndNoOthers) {
  int enums = 0;
  for (const Fact& fact : facts_of_4_6()) {
    if (fact.words.empty()) continue;
    ++enums;
    const Parameter& p = row(fact.name);
    std::istringstream words(fact.words);
    std::size_t count = 0;
    for (std::string word; std::getline(words, word, '|'); ++count) {
      std::string upper = word;
      for (char& c : upper) c = static_cast<char>(std::toupper(c));
      const auto parsed = parse_value(p, upper);
      ASSERT_TRUE(parsed) << fact.name << " " << word;
      EXPECT_EQ(format_value(p, *parsed), word) << fact.name;
    }
    EXPECT_EQ(count, static_cast<std::size_t>(std::ranges::count(p.shape.words, false, &EnumWord::hidden)));
    const auto bad = parse_value(p, "perhaps");
    ASSERT_FALSE(bad) << fact.name;
    EXPECT_NE(bad.error().context.find(fact.words.substr(0, fact.words.find('|'))), std::string::npos);
  }
  EXPECT_EQ(enums, 14);
}

TEST(ParameterTable, EveryRowIsDescribedAndBadBooleansAreRefused) {
  for (const Parameter& p : parameters()) {
    EXPECT_FALSE(p.description.empty()) << p.name;
    EXPECT_FALSE(p.description.ends_with('.')) << p.name;
    if (p.kind == Kind::boolean) {
      EXPECT_FALSE(parse_value(p, "maybe")) << p.name;
    }
  }
}

TEST(ParameterTable, NumbersInNamesMayHaveLeadingZerosAndStayInRange) {
  EXPECT_EQ(find_parameter("heartbeat_port01")->index, 1);
  EXPECT_EQ(find_parameter("backend_port127")->index, 127);
  EXPECT_FALSE(find_parameter("backend_port128"));
  EXPECT_EQ(find_parameter("heartbeat_port255")->index, 255);
  EXPECT_FALSE(find_parameter("heartbeat_port256"));
  EXPECT_FALSE(find_parameter("backend_port99999999999999999999"));
  EXPECT_FALSE(find_parameter("port1"));
  EXPECT_FALSE(find_parameter("0"));
  EXPECT_FALSE(find_parameter(""));
}

struct Syntax {
  const char* name;
  const char* text;
  const char* shown;  // as PGPOOL SHOW prints it; nullptr: an error
};
class ValueSyntax : public testing::TestWithParam<Syntax> {};
TEST_P(ValueSyntax, IsRead) {
  const auto& [name, text, shown] = GetParam();
  const Parameter& p = row(name);
  const auto parsed = parse_value(p, text);
  ASSERT_EQ(parsed.has_value(), shown != nullptr) << name << " = " << text;
  if (shown == nullptr) return;
  EXPECT_EQ(format_value(p, *parsed), shown) << name << " = " << text;
}
INSTANTIATE_TEST_SUITE_P(Booleans, ValueSyntax,
                         testing::Values(Syntax{"log_statement", "on", "on"}, Syntax{"log_statement", "OFF", "off"},
                                         Syntax{"log_statement", "true", "on"}, Syntax{"log_statement", "F", "off"},
                                         Syntax{"log_statement", "yes", "on"}, Syntax{"log_statement", "n", "off"},
                                         Syntax{"log_statement", "1", "on"}, Syntax{"log_statement", "0", "off"},
                                         Syntax{"log_statement", "of", "off"}, Syntax{"log_statement", "o", nullptr},
                                         Syntax{"log_statement", "", nullptr}, Syntax{"log_statement", "onn", nullptr},
                                         Syntax{"log_statement", "2", nullptr}, Syntax{"log_statement", " on ", "on"}));
INSTANTIATE_TEST_SUITE_P(Integers, ValueSyntax,
                         testing::Values(Syntax{"max_pool", "12", "12"}, Syntax{"max_pool", "012", "10"},
                                         Syntax{"max_pool", "0x1F", "31"}, Syntax{"max_pool", "2.5", "2"},
                                         Syntax{"max_pool", "3.7", "4"}, Syntax{"max_pool", "1e2", "100"},
                                         Syntax{"max_pool", ".9", "1"}, Syntax{"max_pool", "+7", "7"},
                                         Syntax{"max_pool", "-1", nullptr}, Syntax{"max_pool", "5s", nullptr},
                                         Syntax{"max_pool", "5 5", nullptr}, Syntax{"max_pool", "0x", nullptr},
                                         Syntax{"max_pool", "1e400", nullptr}, Syntax{"max_pool", "nan", nullptr},
                                         Syntax{"max_pool", "-", nullptr},
                                         Syntax{"unix_socket_permissions", "0770", "0770"},
                                         Syntax{"unix_socket_permissions", "01000", nullptr},
                                         Syntax{"unix_socket_permissions", "511", "0777"},
                                         Syntax{"client_idle_limit_in_recovery", "-1", "-1"}));
INSTANTIATE_TEST_SUITE_P(
    Units, ValueSyntax,
    testing::Values(Syntax{"authentication_timeout", "5min", "5min"}, Syntax{"authentication_timeout", "300", "5min"},
                    Syntax{"authentication_timeout", "300 s", "5min"}, Syntax{"authentication_timeout", "2h", "2h"},
                    Syntax{"authentication_timeout", "1d", "1d"}, Syntax{"authentication_timeout", "1500ms", "2s"},
                    Syntax{"authentication_timeout", "1.5min", "90s"}, Syntax{"authentication_timeout", "0", "0"},
                    Syntax{"authentication_timeout", "1us", nullptr}, Syntax{"authentication_timeout", "5 kB", nullptr},
                    Syntax{"authentication_timeout", "5MIN", nullptr}, Syntax{"connect_timeout", "10s", "10s"},
                    Syntax{"connect_timeout", "1", "1ms"}, Syntax{"log_rotation_age", "1d", "1d"},
                    Syntax{"log_rotation_age", "90s", "2min"}, Syntax{"log_rotation_size", "10MB", "10MB"},
                    Syntax{"log_rotation_size", "3GB", nullptr}, Syntax{"memqcache_total_size", "64MB", "64MB"},
                    Syntax{"memqcache_total_size", "1TB", "1TB"}, Syntax{"memqcache_total_size", "1000B", "1000B"},
                    Syntax{"memqcache_total_size", "9223372036854775807", "9223372036854775807B"},
                    Syntax{"memqcache_total_size", "9999999TB", nullptr},
                    Syntax{"delay_threshold", "9223372036854775808", nullptr}));
INSTANTIATE_TEST_SUITE_P(Lists, ValueSyntax,
                         testing::Values(Syntax{"listen_addresses", " a , b,c ", "a,b,c"},
                                         Syntax{"listen_addresses", "", ""}, Syntax{"listen_addresses", ",,", ""},
                                         Syntax{"reset_query_list", "ABORT; DISCARD ALL;", "ABORT;DISCARD ALL"},
                                         Syntax{"primary_routing_query_pattern_list", "a\\;b;c", "a\\;b;c"},
                                         Syntax{"write_function_list", "a\\,b", "a\\,b"}));
INSTANTIATE_TEST_SUITE_P(Flags, ValueSyntax,
                         testing::Values(Syntax{"backend_flag", "allow_to_failover", "ALLOW_TO_FAILOVER"},
                                         Syntax{"backend_flag", "DISALLOW_TO_FAILOVER | ALWAYS_PRIMARY",
                                                "DISALLOW_TO_FAILOVER|ALWAYS_PRIMARY"},
                                         Syntax{"backend_flag", "ALLOW_TO_FAILOVER|DISALLOW_TO_FAILOVER", nullptr},
                                         Syntax{"backend_flag", "", nullptr}, Syntax{"backend_flag", "ALLOW", nullptr},
                                         Syntax{"backend_flag", "ALWAYS_PRIMARY|", nullptr}));
INSTANTIATE_TEST_SUITE_P(Reals, ValueSyntax,
                         testing::Values(Syntax{"backend_weight", "1", "1"}, Syntax{"backend_weight", "0.5", "0.5"},
                                         Syntax{"backend_weight", "-1", nullptr},
                                         Syntax{"backend_weight", "1e9", nullptr},
                                         Syntax{"backend_weight", "inf", nullptr},
                                         Syntax{"backend_weight", "1x", nullptr}));

}  // namespace
}  // namespace herdgate::config
