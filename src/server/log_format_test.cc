#include "server/log_format.h"

#include <gtest/gtest.h>

#include "config/check.h"

namespace herdgate::server {
namespace {

const LineFacts kFacts{.pid = 4711, .time = "2024-05-01 10:20:30", .time_ms = "2024-05-01 10:20:30.123"};

LogContext session() { return {.application = "psql", .process = "child", .user = "ann", .database = "shop"}; }

TEST(LogPrefix, EscapesAsTheTableSays) {
  const struct {
    std::string_view pattern, expected;
  } rows[] = {
      {"", ""},
      {"plain ", "plain "},
      {"%m: %a pid %p: ", "2024-05-01 10:20:30.123: psql pid 4711: "},
      {"%t", "2024-05-01 10:20:30"},
      {"%P", "child"},
      {"%u@%d", "ann@shop"},
      {"%l", "1"},
      {"100%%", "100%"},
      {"[%6u]", "[   ann]"},
      {"[%-6u]", "[ann   ]"},
      {"[%2u]", "[ann]"},
      {"[%-8p][%8p]", "[4711    ][    4711]"},
      {"[%-%]", "[%]"},
      {"[%-u]", "[ann]"},
      {"[%q]", "[]"},
      {"end%", "end"},
      {"end%-12", "end"},
  };
  for (const auto& row : rows) {
    LogContext who = session();
    EXPECT_EQ(format_prefix(row.pattern, kFacts, who), row.expected) << row.pattern;
  }
}

TEST(LogPrefix, WhatTheConfigurationTakesForKnownIs) {
  for (char letter = ' '; letter < 0x7f; ++letter) {
    if (letter == '-' || (letter >= '0' && letter <= '9')) continue;  // a width
    LogContext who = session();
    const bool known = config::kPrefixLetters.find(letter) != std::string_view::npos;
    EXPECT_EQ(format_prefix(std::string("%") + letter, kFacts, who) != "", known) << letter;
  }
}

TEST(LogPrefix, WithoutASessionThereIsNoUser) {
  LogContext who;
  EXPECT_EQ(format_prefix("%a %u %d", kFacts, who), "main [No Connection] [No Connection]");
}

TEST(LogPrefix, AClientThatHasNotSaidItsNameIsUnknown) {
  LogContext who{.application = "child", .session = 1};
  EXPECT_EQ(format_prefix("%a %u %d", kFacts, who), "child [unknown] [unknown]");
}

TEST(LogPrefix, NamesBeginNoLineOfTheirOwn) {
  LogContext who{.application = "a\nb\x1b[1m", .user = "u\r\n", .database = "d\t\x7f", .session = 1};
  EXPECT_EQ(format_prefix("%a|%u|%d", kFacts, who), "a?b?[1m|u??|d??");
}

TEST(LogPrefix, PaddingIsBounded) {
  LogContext who = session();
  EXPECT_EQ(format_prefix("%99999999999999999999u", kFacts, who).size(), static_cast<std::size_t>(kMaxPadding));
}

TEST(LogMessage, HasEveryPartOnALineOfItsOwn) {
  LogContext who = session();
  const LogLine line{.level = Level::warning,
                     .text = "a",
                     .detail = "b.",
                     .hint = "c.",
                     .query = "d",
                     .context = "e",
                     .sqlstate = "57P01",
                     .file = "/src/x/y.cc",
                     .line = 7};
  EXPECT_EQ(format_message("%l ", Verbosity::normal, kFacts, who, line),
            "1 WARNING:  a\n2 DETAIL:  b.\n3 HINT:  c.\n4 QUERY:  d\n5 CONTEXT:  e\n");
  EXPECT_EQ(format_message("", Verbosity::terse, kFacts, who, line), "WARNING:  a\n");
  EXPECT_EQ(format_message("", Verbosity::verbose, kFacts, who, line),
            "WARNING:  57P01: a\nDETAIL:  b.\nHINT:  c.\nQUERY:  d\nCONTEXT:  e\nLOCATION:  y.cc:7\n");
}

TEST(LogMessage, NobodyForgesALine) {
  LogContext who;
  const std::string_view text("select 1\nFATAL:  x\0y", 20);
  EXPECT_EQ(format_message("p ", Verbosity::normal, kFacts, who, {.text = text}), "p LOG:  select 1\n\tFATAL:  x?y\n");
}

TEST(LogMessage, IsCutAtItsLimit) {
  LogContext who;
  const std::string text(3 * Log::kMaxLineBytes, 'x');
  const std::string out = format_message("", Verbosity::normal, kFacts, who, {.text = text, .detail = text});
  EXPECT_EQ(out.size(), Log::kMaxLineBytes);
  EXPECT_EQ(out.back(), '\n');
}

}  // namespace
}  // namespace herdgate::server
