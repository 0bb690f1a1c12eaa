#include "config/patterns.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "config/errc.h"

namespace herdgate::config {
namespace {

struct Case {
  const char* pattern;
  const char* subject;
  bool matches;
};
class Matching : public testing::TestWithParam<Case> {};
TEST_P(Matching, IsAsPosixSays) {
  const auto& [pattern, subject, matches] = GetParam();
  const std::vector<std::string> patterns{pattern};
  const auto list = RegexList::compile(patterns);
  ASSERT_TRUE(list) << pattern << ": " << list.error().text();
  EXPECT_EQ(list->matches(subject), matches) << pattern << " on " << subject;
}
INSTANTIATE_TEST_SUITE_P(
    Table, Matching,
    testing::Values(Case{"nextval", "nextval", true}, Case{"nextval", "NextVal", true},
                    Case{"nextval", "nextvalue", false}, Case{"nextval", "xnextval", false},
                    Case{"^next", "next", true}, Case{"val$", "val", true}, Case{"set.*", "setval", true},
                    Case{"set.*", "set\nval", true}, Case{"a|b", "ax", true},  // anchors go to the text: ^a|b$
                    Case{"a|b", "xb", true}, Case{"a|b", "xbx", false}, Case{"public.t", "\"public\".\"t\"", true},
                    Case{"[[:digit:]]+", "123", true}, Case{"f{2,3}", "fff", true}, Case{"f{2,3}", "f", false},
                    // These stay with the C library: back references and GNU escapes.
                    Case{"(a)\\1", "aa", true}, Case{"(a)\\1", "ab", false}, Case{"\\w+", "ab_1", true},
                    Case{"a{,2}", "aa", true}, Case{"[a\\]+", "a\\", true}, Case{"a\\.b", "axb", false},
                    Case{"a\\.b", "a.b", true}, Case{"", "", true}, Case{"", "x", false}));

TEST(RegexList, GivesTheFirstPatternThatMatches) {
  const std::vector<std::string> patterns{"x", "y.*", "ya"};
  const auto list = RegexList::compile(patterns);
  ASSERT_TRUE(list);
  EXPECT_EQ(list->first_match("ya"), 1);
  EXPECT_EQ(list->pattern(1), "y.*");
  EXPECT_EQ(list->first_match("z"), -1);
  EXPECT_EQ(RegexList().first_match("z"), -1);
}

TEST(RegexList, RefusesNonsenseWithTheReason) {
  for (const char* pattern : {"f(", "[a", "a{1", "*(", "a{2,1}", "[[:nothing:]]"}) {
    const std::vector<std::string> patterns{pattern};
    const auto list = RegexList::compile(patterns);
    ASSERT_FALSE(list) << pattern;
    EXPECT_EQ(list.error().code, make_error_code(Errc::bad_pattern));
    EXPECT_THAT(list.error().context, testing::HasSubstr(pattern));
  }
}

TEST(RegexList, BoundsLengthAndRepetitions) {
  const std::vector<std::string> longest{std::string(RegexList::kMaxPatternBytes + 1, 'a')};
  EXPECT_FALSE(RegexList::compile(longest));
  const std::vector<std::string> nested{"((a{1,255}){1,255}){1,255}"};
  EXPECT_FALSE(RegexList::compile(nested));
}

// A statement of a client must not make the matcher take quadratic or worse time: RE2 does this in milliseconds.
TEST(RegexList, LongSubjectsTakeLinearTime) {
  const std::vector<std::string> patterns{"(.*)(.*)(.*)(.*)(.*)[^a]x"};
  const auto list = RegexList::compile(patterns);
  ASSERT_TRUE(list);
  EXPECT_FALSE(list->matches(std::string(1 << 20, 'a')));
}

TEST(Redirects, AreRead) {
  const auto list = parse_redirects(" postgres:primary , [[:alpha:]]+:standby(0.25), a:b:3(1.0),x:STANDBY(0)");
  ASSERT_TRUE(list) << list.error().text();
  ASSERT_EQ(list->size(), 4u);
  EXPECT_EQ((*list)[0].target, RedirectTarget::primary);
  EXPECT_DOUBLE_EQ((*list)[0].ratio, 1.0);
  EXPECT_EQ((*list)[1].target, RedirectTarget::standby);
  EXPECT_DOUBLE_EQ((*list)[1].ratio, 0.25);
  EXPECT_TRUE((*list)[1].regex.matches("abc"));
  EXPECT_EQ((*list)[2].node, NodeId{3});
  EXPECT_TRUE((*list)[2].regex.matches("a:b"));
  EXPECT_DOUBLE_EQ((*list)[3].ratio, 0);
  EXPECT_TRUE(parse_redirects("")->empty());
}

TEST(Redirects, RefuseNonsense) {
  for (const char* text : {"x", "x:", ":primary", "x:master", "x:128", "x:-1", "x:1(2)", "x:1(a)", "x:1(-0.5)", "x:1()",
                           "x:1(0.5", "(:primary", "x:1(0.5)y"})
    EXPECT_FALSE(parse_redirects(text)) << text;
}

TEST(Relations, RefuseNonsense) {
  for (const char* text : {"a", "a:", ":b", "a:b:c", "a(:b", "a b:c", "():b"})
    EXPECT_FALSE(parse_relations(text)) << text;
  EXPECT_TRUE(parse_relations("a:b, c():d"));
}

}  // namespace
}  // namespace herdgate::config
