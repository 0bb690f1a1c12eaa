#include "server/log_json.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

namespace herdgate::server {
namespace {
using nlohmann::json;

const JsonFacts kFacts{.pid = 4711, .said = WallTime(std::chrono::milliseconds(1'714'564'830'007))};
constexpr std::string_view kTrace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

LogContext session() {
  return {.application = "psql", .process = "CHILD", .user = "ann", .database = "shop", .session = 7, .lines = 3};
}

LogLine everything() {
  return {.level = Level::warning,
          .text = "a",
          .detail = "b",
          .hint = "c",
          .query = "d",
          .context = "e",
          .sqlstate = "57P01",
          .file = "/x/y.cc",
          .line = 12};
}

TEST(LogJson, SaysTheSameFactsAsTheLine) {
  EXPECT_EQ(format_json(kFacts, session(), everything()),
            R"({"timestamp":"2024-05-01T12:00:30.007Z","pid":4711,"session_id":7,"backend_type":"CHILD",)"
            R"("application_name":"psql","user":"ann","dbname":"shop","line_num":3,"error_severity":"WARNING",)"
            R"("state_code":"57P01","message":"a","detail":"b","hint":"c","internal_query":"d","context":"e"})"
            "\n");
  EXPECT_EQ(format_json({.pid = 1, .said = kFacts.said, .verbosity = Verbosity::terse}, {}, everything()),
            R"({"timestamp":"2024-05-01T12:00:30.007Z","pid":1,"backend_type":"MAIN","application_name":"main",)"
            R"("line_num":0,"error_severity":"WARNING","state_code":"57P01","message":"a"})"
            "\n");
}

TEST(LogJson, EveryFieldIsInTheTableAndEveryRowOfItIsWritten) {
  LogContext who = session();
  who.trace = kTrace;
  LogLine line = everything();
  const std::string lengthy(2 * kMaxJsonText, 'x');
  JsonFacts facts = kFacts;
  facts.verbosity = Verbosity::verbose;
  json seen = json::parse(format_json(facts, who, line));
  line.context = lengthy;
  seen.update(json::parse(format_json(facts, who, line)));
  std::set<std::string, std::less<>> named, written;
  for (const JsonField& field : json_fields()) named.emplace(field.name);
  for (const auto& [name, value] : seen.items()) {
    written.insert(name);
    for (const JsonField& field : json_fields()) {
      if (field.name == name && field.type == "string") {
        EXPECT_TRUE(value.is_string()) << name;
      }
      if (field.name == name && field.type == "number") {
        EXPECT_TRUE(value.is_number()) << name;
      }
    }
  }
  EXPECT_EQ(named, written);
  EXPECT_EQ(seen["trace_id"], "0af7651916cd43dd8448eb211c80319c");
  EXPECT_EQ(seen["span_id"], "b7ad6b7169203331");
}

TEST(LogJson, AnyOctetsMakeOneLineOfValidJson) {
  std::string all;
  for (int i = 0; i < 256; ++i) all += static_cast<char>(i);
  const std::string_view cases[] = {all,   "\xE2\x82",     "\xC0\x80", "\xED\xA0\x80", "\xF4\x90\x80\x80",
                                    "ä€😀", "a\nb\tc\"d\\e"};
  for (const std::string_view text : cases) {
    const std::string line = format_json(kFacts, session(), {.text = text});
    EXPECT_EQ(line.find('\n'), line.size() - 1);
    EXPECT_TRUE(json::accept(line)) << line;
  }
  EXPECT_EQ(json::parse(format_json(kFacts, session(), {.text = "ä€😀\xC0\"\n"}))["message"], "ä€😀\uFFFD\"\n");
}

TEST(LogJson, LongTextsAreCutBetweenCharacters) {
  std::string text = "x";
  while (text.size() < 2 * kMaxJsonText) text += "ä";
  const std::string line = format_json(kFacts, session(), {.text = text, .detail = "gone"});
  EXPECT_LE(line.size(), kMaxJsonText + 1000);
  const json object = json::parse(line);
  EXPECT_EQ(object["truncated"], true);
  EXPECT_EQ(object["message"].get<std::string>().find("\uFFFD"), std::string::npos);
}

}  // namespace
}  // namespace herdgate::server
