#include "sql/trace_context.h"

#include <gtest/gtest.h>

#include <random>
#include <string>

namespace herdgate::sql {
namespace {

const std::string kTrace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
const std::string kOther = "00-1af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00";
std::string pair(const std::string& value) { return "traceparent='" + value + "'"; }

TEST(TraceContext, IsFoundInFrontAndBehind) {
  const struct {
    std::string text, expected;
  } rows[] = {
      {"", ""},
      {"select 1", ""},
      {"select 1 /*" + pair(kTrace) + "*/", kTrace},
      {"select 1 /*" + pair(kTrace) + "*/ ;\n", kTrace},
      {"/*" + pair(kTrace) + "*/ select 1", kTrace},
      {" \n/* " + pair(kTrace) + " */select 1", kTrace},
      {"select 1 /*action='%2Fparam*d',controller='index'," + pair(kTrace) + ",tracestate='a%3D1'*/", kTrace},
      {"select 1 /*a='it\\'s', " + pair(kTrace) + "*/", kTrace},
      {"/*" + pair(kOther) + "*/ select 1 /*" + pair(kTrace) + "*/", kTrace},
      {"/*" + pair(kTrace) + "*/ select 1 /*nothing*/", kTrace},
      {"select '/*" + pair(kTrace) + "*/'", ""},
      {"select /*" + pair(kTrace) + "*/ 1", ""},
      {"select 1 -- " + pair(kTrace), ""},
      {"select 1 /*x" + pair(kTrace) + "*/", ""},
      {"select 1 /*a='" + pair(kTrace), ""},
      {"select 1 /*" + pair(kTrace), ""},
      {pair(kTrace) + "*/", ""},
      {"*/", ""},
      {"/*/", ""},
      {"/**/", ""},
      {"select 1 /*" + pair(kTrace + "0") + "*/", ""},
      {"select 1 /*" + pair(kTrace.substr(1)) + "*/", ""},
      {"select 1 /*" + pair("ff" + kTrace.substr(2)) + "*/", ""},
      {"select 1 /*" + pair("00-00000000000000000000000000000000-b7ad6b7169203331-01") + "*/", ""},
      {"select 1 /*" + pair("00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01") + "*/", ""},
      {"select 1 /*" + pair("00-0AF7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01") + "*/", ""},
      {"select 1 /*" + pair("00_0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01") + "*/", ""},
      {"select 1 /*" + std::string(kMaxComment, ' ') + pair(kTrace) + "*/", ""},
      {"/*" + std::string(kMaxComment, ' ') + pair(kTrace) + "*/ select 1", ""},
  };
  for (const auto& row : rows) EXPECT_EQ(traceparent(row.text), row.expected) << row.text;
}

// Pieces of the grammar in any order: what is found is always a traceparent within the text.
TEST(TraceContext, SurvivesAnyText) {
  std::mt19937 random(5);
  const std::string pieces[] = {"/*", "*/", "'", "traceparent",       "=", ",", kTrace, "\\", " ",
                                ";",  "\n", "x", std::string(1, '\0')};
  for (int round = 0; round < 20'000; ++round) {
    std::string text;
    for (std::size_t n = random() % 12; n > 0; --n) text += pieces[random() % std::size(pieces)];
    const std::string_view found = traceparent(text);
    if (found.empty()) continue;
    EXPECT_EQ(found, kTrace);
    EXPECT_GE(found.data(), text.data());
    EXPECT_LE(found.data() + found.size(), text.data() + text.size());
  }
}

}  // namespace
}  // namespace herdgate::sql
