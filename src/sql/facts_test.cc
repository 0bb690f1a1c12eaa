// parse_facts against the golden file facts_cases.txt, and what a line of text cannot say: slices, comments, depth,
// encodings, hostile input.
#include "sql/facts.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <thread>

#include "sql/facts_describe.h"

namespace herdgate::sql {
namespace {

struct Case {
  std::string sql;
  std::vector<std::string> expected;  // one line per statement
  int line = 0;
};

// A case is lines of SQL, then one line "-> …" per statement. Lines that start with '#' are remarks.
std::vector<Case> read_cases(const std::string& path) {
  std::ifstream in(path);
  std::vector<Case> cases;
  Case current;
  std::string line;
  const auto finish = [&] {
    if (!current.sql.empty()) cases.push_back(current);
    current = Case{};
  };
  for (int number = 1; std::getline(in, line); ++number) {
    if (line.starts_with("#")) continue;
    if (line.starts_with("-> ")) {
      current.expected.push_back(line.substr(3));
    } else if (line.empty()) {
      finish();
    } else {
      if (!current.expected.empty()) finish();
      if (current.sql.empty()) current.line = number;
      current.sql += (current.sql.empty() ? "" : "\n") + line;
    }
  }
  finish();
  return cases;
}

std::vector<std::string> described(const Facts& facts) {
  std::vector<std::string> out;
  for (const Statement& s : facts.statements) out.push_back(describe(s));
  return out;
}

Facts parse(std::string_view text) { return parse_facts(text, {}); }

TEST(Facts, AreAsTheGoldenFileSays) {
  const auto cases = read_cases(HG_SOURCE_DIR "/src/sql/facts_cases.txt");
  ASSERT_GE(cases.size(), 200u);
  for (const Case& c : cases) {
    const Facts facts = parse(c.sql);
    EXPECT_EQ(described(facts), c.expected)
        << "facts_cases.txt:" << c.line << ": " << c.sql << " " << facts.parse_error;
  }
}

TEST(Facts, GoldenFileNamesEveryKind) {
  std::vector<std::string> seen;
  for (const Case& c : read_cases(HG_SOURCE_DIR "/src/sql/facts_cases.txt")) {
    for (const std::string& line : c.expected) seen.push_back(line.substr(0, line.find(' ')));
  }
  for (int k = 0; k < static_cast<int>(Kind::other); ++k) {
    EXPECT_THAT(seen, testing::Contains(std::string(kind_name(static_cast<Kind>(k)))));
  }
}

std::string slice(std::string_view text, const Statement& s) { return std::string(text.substr(s.begin, s.length)); }

TEST(Facts, SlicesLeaveOutBlanksAndSemicolons) {
  const std::string text = "  select 1 ;\n\n update t set a = ';' ; ;; /* last */ delete from u  ";
  const Facts facts = parse(text);
  ASSERT_EQ(facts.statements.size(), 3u);
  EXPECT_EQ(slice(text, facts.statements[0]), "select 1");
  EXPECT_EQ(slice(text, facts.statements[1]), "update t set a = ';'");
  EXPECT_EQ(slice(text, facts.statements[2]), "/* last */ delete from u");
  EXPECT_TRUE(facts.multi());
}

TEST(Facts, InnerStatementHasTheSliceOfTheOuterOne) {
  const std::string text = "select 1; prepare p as select 2 ";
  const Facts facts = parse(text);
  EXPECT_EQ(slice(text, *facts.statements[1].inner), "prepare p as select 2");
}

TEST(Facts, KnowTheFirstCharacters) {
  EXPECT_EQ(parse("").first_char, '\0');
  EXPECT_EQ(parse("").first_nonblank, '\0');
  EXPECT_EQ(parse(" \n ").first_char, ' ');
  EXPECT_EQ(parse(" \n ").first_nonblank, '\0');
  EXPECT_EQ(parse(" \tSELECT 1").first_char, ' ');
  EXPECT_EQ(parse(" \tSELECT 1").first_nonblank, 'S');
  EXPECT_EQ(parse("/* x */ SELECT 1").first_nonblank, '/');
}

TEST(Facts, KnowTheLeadingComment) {
  EXPECT_EQ(parse("select 1 /* x */").leading_comment, LeadingComment::none);
  EXPECT_EQ(parse(" /* x */ select 1").leading_comment, LeadingComment::other);
  EXPECT_EQ(parse("-- x\nselect 1").leading_comment, LeadingComment::other);
  EXPECT_EQ(parse("/*FORCE QUERY CACHE*/ select 1").leading_comment, LeadingComment::force_query_cache);
  EXPECT_EQ(parse("/*no Query cache*/select 1").leading_comment, LeadingComment::no_query_cache);
  // The words count only as the very first octets and written exactly so.
  EXPECT_EQ(parse(" /*FORCE QUERY CACHE*/ select 1").leading_comment, LeadingComment::other);
  EXPECT_EQ(parse("/* FORCE QUERY CACHE */ select 1").leading_comment, LeadingComment::other);
}

TEST(Facts, FindTraceparent) {
  const std::string id = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
  EXPECT_EQ(parse("select 1 /*traceparent='" + id + "',tracestate='a'*/").traceparent, id);
  EXPECT_EQ(parse("select 1 /*action='x',traceparent='" + id + "'*/ ; ").traceparent, id);
  EXPECT_EQ(parse("/*traceparent='" + id + "'*/ select 1").traceparent, id);
  EXPECT_EQ(parse("select 1 /*traceparent='00-xyz'*/").traceparent, "");
  EXPECT_EQ(parse("select 'traceparent=''" + id + "'''").traceparent, "");
  EXPECT_EQ(parse("select 1 */").traceparent, "");
}

TEST(Facts, SayWhatTheGrammarSaid) {
  const Facts facts = parse("selct 1");
  EXPECT_EQ(facts.first().kind, Kind::unparsable);
  EXPECT_EQ(facts.parse_error, "syntax error at or near \"selct\"");
  EXPECT_FALSE(facts.multi());
  // One bad statement makes the whole text unparsable: the server would run none of it either.
  EXPECT_EQ(parse("select 1; selct 2").statements.size(), 1u);
}

TEST(Facts, BackslashesFollowStandardConformingStrings) {
  const std::string text = R"(select 'a\'; delete from t; --')";
  EXPECT_EQ(parse_facts(text, {.standard_conforming_strings = true}).statements.size(), 2u);
  const Facts off = parse_facts(text, {.standard_conforming_strings = false});
  EXPECT_EQ(described(off), std::vector<std::string>{"select"});
  // The setting does not stay for the next text.
  EXPECT_EQ(parse(text).statements.size(), 2u);
}

TEST(Facts, UnsafeEncodingsAreParsedOnlyWhenPlainAscii) {
  const ParseOptions sjis{.ascii_safe_encoding = false};
  EXPECT_EQ(parse_facts("select 1", sjis).first().kind, Kind::select);
  EXPECT_EQ(parse_facts("show pool_nodes", sjis).first().kind, Kind::pool_command);
  const Facts facts = parse_facts("select '\x95\x5c'", sjis);
  EXPECT_EQ(facts.first().kind, Kind::unparsable);
  EXPECT_FALSE(facts.parse_error.empty());
}

TEST(Facts, OctetZeroIsRefused) {
  const Facts facts = parse(std::string_view("select 1\0; drop table t", 23));
  EXPECT_EQ(facts.first().kind, Kind::unparsable);
  EXPECT_FALSE(facts.parse_error.empty());
}

std::string repeated(std::string_view piece, int times) {
  std::string out;
  out.reserve(piece.size() * static_cast<std::size_t>(times));
  for (int i = 0; i < times; ++i) out += piece;
  return out;
}

TEST(Facts, ManyTermsAreTooDeep) {
  const Facts facts = parse("select 1" + repeated("+1", 300'000));
  EXPECT_EQ(facts.first().kind, Kind::select);
  EXPECT_TRUE(facts.first().too_deep);
}

TEST(Facts, TooDeepInsideCountsOutside) {
  const Facts facts = parse("explain select 1" + repeated("+1", 5'000));
  EXPECT_TRUE(facts.first().too_deep);
  EXPECT_TRUE(facts.first().inner->too_deep);
}

TEST(Facts, DepthJustBelowTheLimitIsWalkedWhole) {
  const Facts facts = parse("select nextval('s')" + repeated("+1", kMaxDepth - 10));
  EXPECT_FALSE(facts.first().too_deep);
  EXPECT_EQ(describe(facts.first()), "select fn=nextval");
}

TEST(Facts, HugeNestingEndsInAnErrorNotInACrash) {
  for (const char* piece : {"(",    "select (", "array[", "case when ", "not ", "- ", "a.",  "x[", "(select ", "/*",
                            "/**/", "''",       "+",      "-",          "-+",   "*+", "/*+", "$a", "$a$",      "U&'",
                            "\"",   "e'",       "1_",     "--\n",       "'\n",  "..", "1..", ":"}) {
    const Facts facts = parse("select " + repeated(piece, 1'000'000));
    EXPECT_FALSE(facts.statements.empty()) << piece;
    EXPECT_TRUE(facts.first().kind == Kind::unparsable || facts.first().kind == Kind::empty ||
                facts.first().kind == Kind::select)
        << piece;
  }
}

TEST(Facts, OrdinaryOperatorsAndBannersAreParsed) {
  const std::string banner = "/*" + std::string(500, '*') + "*/\n-- " + std::string(500, '-') + "\n/*+---+---+*/\n";
  const Facts facts = parse(repeated(banner, 200) + "select 1" + repeated("+ -1 * +2", 1'000));
  EXPECT_EQ(facts.first().kind, Kind::select);
}

TEST(Facts, WideStatementsAreWalkedWhole) {
  std::string text = "select 1 from t0";
  for (int i = 1; i < 20'000; ++i) text += ", t" + std::to_string(i % 10'000);
  const Facts facts =
      parse(text + " where a in (1" + repeated(",1", 100'000) + ") and " + repeated("b and ", 50'000) + "f()");
  EXPECT_FALSE(facts.first().too_deep);
  EXPECT_EQ(facts.first().relations.size(), 10'000u);
  EXPECT_EQ(facts.first().functions.size(), 1u);
}

TEST(Facts, ManyCommonTableExpressionsTakeLinearTime) {
  std::string text = "with c0 as (select 1)";
  for (int i = 1; i < 20'000; ++i) text += fmt::format(", c{} as (select * from c{}, r{})", i, i - 1, i);
  const Facts facts = parse(text + " select * from c0, real");
  EXPECT_EQ(facts.first().relations.size(), 20'000u);
}

TEST(Facts, ErrorsAreShort) {
  const Facts facts = parse("select '" + std::string(100'000, 'x'));
  EXPECT_THAT(facts.parse_error, testing::StartsWith("unterminated quoted string at or near \"'xxx"));
  EXPECT_LE(facts.parse_error.size(), 256u);
}

// Longer than the parser may see: only the kind is known.
struct LongCase {
  std::string before, after;
  Kind kind;
  bool standard_conforming_strings = true;
};

TEST(Facts, LongTextsAreOutlined) {
  const LongCase cases[] = {
      {"insert into t values ('", "')", Kind::insert},
      {"/* c */ -- d\n INSERT into t values ('", "') ; ; -- e", Kind::insert},
      {"insert into t values ($a$;$$ ' ", " $a$, \"a;\"\"b\", e'\\';', 'it''s;', U&'\\') /* ; */", Kind::insert},
      {"with c as (select 1) select '", "'", Kind::select},
      {"select $1, a$b$ from t where c = '", "'", Kind::select},
      {"do $$ begin perform '", "'; end $$;", Kind::do_block},
      {"insert into t values ('\\'; ", "')", Kind::insert, false},
      {"insert into t values ('\\'); ", "", Kind::unparsable},
      {"insert into t values ('", "'); select 1", Kind::unparsable},
      {"insert into t values ('", "); select 1", Kind::unparsable},
      {"insert into t values (1) /* ", "", Kind::unparsable},
      {"insert into t values (1); /* ", "", Kind::unparsable},
      {"insert into t values ($a$", "$b$)", Kind::unparsable},
      {"begin; insert into t values ('", "')", Kind::unparsable},
      {"inserted '", "'", Kind::unparsable},
      {"set a to '", "'", Kind::unparsable},
  };
  for (const LongCase& c : cases) {
    const std::string text = c.before + std::string(kMaxParsedText, 'x') + c.after;
    const Facts facts = parse_facts(text, {.standard_conforming_strings = c.standard_conforming_strings});
    EXPECT_EQ(facts.first().kind, c.kind) << c.before;
    EXPECT_EQ(facts.first().too_deep, c.kind != Kind::unparsable) << c.before;
    EXPECT_EQ(facts.parse_error.empty(), c.kind != Kind::unparsable) << c.before;
    EXPECT_EQ(facts.statements.size(), 1u);
  }
}

TEST(Facts, ManyStatements) {
  const Facts facts = parse(repeated("select 1;", 50'000));
  EXPECT_EQ(facts.statements.size(), 50'000u);
}

TEST(Facts, LongIdentifiersAreCutAsTheServerCutsThem) {
  const Facts facts = parse("select * from " + std::string(100, 'x') + ", \"" + repeated("\xc3\xa9", 40) + "\"");
  EXPECT_EQ(facts.first().relations[0].name, std::string(63, 'x'));
  EXPECT_EQ(facts.first().relations[1].name, repeated("\xc3\xa9", 31));  // 62 octets: no half character
}

TEST(Facts, NothingIsPrinted) {
  testing::internal::CaptureStderr();
  parse("selct");
  parse("create global temporary table t (a int)");
  parse("select 'a\\'");
  parse_facts("select 'a\\n', " + std::string(100, 'y'), {.standard_conforming_strings = false});
  EXPECT_EQ(testing::internal::GetCapturedStderr(), "");
}

// The parser's memory is per thread; errors in one must not disturb another.
TEST(Facts, ThreadsParseOnTheirOwn) {
  std::vector<std::thread> threads;
  std::array<int, 8> good{};
  for (std::size_t t = 0; t < good.size(); ++t) {
    threads.emplace_back([&good, t] {
      for (int i = 0; i < 300; ++i) {
        good[t] += parse("select f(a) from t" + std::to_string(i)).first().relations[0].name == "t" + std::to_string(i);
        good[t] += parse("select from where").first().kind == Kind::unparsable;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_THAT(good, testing::Each(600));
}

TEST(FactsCache, GivesTheSameFactsAgain) {
  FactsCache cache(100);
  const auto first = cache.facts("select 1", {});
  EXPECT_EQ(cache.facts(std::string("select 1"), {}), first);
  EXPECT_EQ(cache.hits(), 1u);
  EXPECT_EQ(cache.misses(), 1u);
  EXPECT_NE(cache.facts("select 1 ", {}), first);
}

TEST(FactsCache, TakesAnEmptyViewOfNothing) {
  FactsCache cache(100);
  EXPECT_EQ(cache.facts(std::string_view(), {})->first().kind, Kind::empty);
  EXPECT_EQ(cache.facts(std::string_view(), {})->first().kind, Kind::empty);
}

TEST(FactsCache, OptionsArePartOfTheKey) {
  FactsCache cache(100);
  const std::string text = R"(select 'a\'; delete from t; --')";
  EXPECT_EQ(cache.facts(text, {})->statements.size(), 2u);
  EXPECT_EQ(cache.facts(text, {.standard_conforming_strings = false})->statements.size(), 1u);
  EXPECT_EQ(cache.facts(text, {})->statements.size(), 2u);
}

TEST(FactsCache, DropsTheLeastRecentlyUsed) {
  FactsCache cache(2);
  const auto kept = cache.facts("select c1", {});
  cache.facts("select c2", {});
  cache.facts("select c1", {});
  cache.facts("select c3", {});  // drops 2
  EXPECT_EQ(cache.facts("select c1", {}), kept);
  EXPECT_EQ(cache.misses(), 3u);
  cache.facts("select c2", {});
  EXPECT_EQ(cache.misses(), 4u);
}

TEST(FactsCache, StaysWithinItsBytes) {
  FactsCache cache(1'000'000, 64 * 1024);
  for (int round = 0; round < 2; ++round) {
    for (int i = 0; i < 1'000; ++i) cache.facts("select c" + std::to_string(i), {});
  }
  // Everything would fit by count, nothing is left of a round by bytes.
  EXPECT_EQ(cache.hits(), 0u);
}

TEST(FactsCache, KeepsNoHugeTextsAndWorksWithoutRoom) {
  FactsCache cache(10);
  const std::string text = "select '" + std::string(FactsCache::kMaxCachedText, 'x') + "'";
  EXPECT_NE(cache.facts(text, {}), cache.facts(text, {}));
  FactsCache none(0);
  EXPECT_EQ(none.facts("select 1", {})->first().kind, Kind::select);
  EXPECT_EQ(none.facts("select 1", {})->first().kind, Kind::select);
  EXPECT_EQ(none.hits(), 0u);
}

}  // namespace
}  // namespace herdgate::sql

namespace herdgate::sql {
namespace {

TEST(FactsCache, TextsThatDifferInNumbersOnlyAreParsedOnce) {
  FactsCache cache(100);
  const auto first = cache.facts("SELECT abalance FROM pgbench_accounts WHERE aid = 17", {});
  EXPECT_EQ(cache.facts("SELECT abalance FROM pgbench_accounts WHERE aid = 4711", {}), first);
  EXPECT_EQ(cache.facts("SELECT abalance FROM pgbench_accounts WHERE aid = 1.5", {}), first);
  EXPECT_EQ(cache.misses(), 1u);
}

// Whatever a number could change must not be shared.
TEST(FactsCache, NumbersThatMatterAreNotShared) {
  FactsCache cache(1000);
  const std::pair<const char*, const char*> pairs[] = {
      {"select * from t1", "select * from t2"},
      {"select * from \"1\"", "select * from \"2\""},
      {"select pg_terminate_backend(17)", "select pg_terminate_backend(18)"},
      {"set statement_timeout = 1", "set statement_timeout = 2"},
      {"select set_config('work_mem', '64', false), 1", "select set_config('work_mem', '65', false), 1"},
      {"select 1 t", "select 1from t"},
      {"select '1' from t", "select '2' from t"},
      {"select $$1$$", "select $$2$$"},
      {"select 1 /* 1 */", "select 1 /* 2 */"},
      {"select 'a\\' , 1, ' from x", "select 'a\\' , 2, ' from x"},
  };
  for (const auto& [a, b] : pairs) EXPECT_NE(cache.facts(a, {}), cache.facts(b, {})) << a << " | " << b;
}

// Texts that begin alike push each other off the short way; each still finds its own, and what was dropped is not
// found.
TEST(FactsCache, TextsThatBeginAlikeFindTheirOwn) {
  FactsCache cache(8);
  for (int round = 0; round < 3; ++round) {
    for (const std::string name : {"a", "b", "c", "d", "e", "f", "g", "h", "i", "j"}) {
      const std::string begin = round == 1 ? "select 1, x from " : "select t.id, t.x from ";
      const auto facts = cache.facts(begin + name, {});
      EXPECT_EQ(facts->first().relations.at(0).name, name);
      EXPECT_EQ(cache.facts(begin + name, {}), facts);
    }
  }
}

TEST(FactsCache, NumbersAtTheBeginningOutliveWhatWasFoundByThem) {
  FactsCache cache(1);
  for (int i = 0; i < 600; ++i) {
    EXPECT_EQ(cache.facts("select " + std::to_string(i * 7919), {})->first().kind, Kind::select);
    if (i % 3 == 0) {
      EXPECT_EQ(cache.facts("update t set a = b", {})->first().kind, Kind::update);
    }
  }
}

}  // namespace
}  // namespace herdgate::sql
