// A log message as one JSON object on a line (log_destination = jsonlog). Pure.
//
// Shape    format_json(facts, who, line) -> "{\"timestamp\":…}\n". What is empty is left out. json_fields() is the one
//          table of the fields; docs/jsonlog.md is generated from it. Names are those of PostgreSQL's jsonlog where it
//          has such a field.
// Limits   kMaxJsonText octets of a message's texts together, before they are escaped; what is longer is cut, and
//          "truncated" says so. Always valid UTF-8: other octets become U+FFFD.
// Threads  pure.
// Source   RFC 8259; PostgreSQL manual, "Using JSON-Format Log Output"; W3C Trace Context for traceparent.
#pragma once
#include <span>
#include <string>
#include <string_view>

#include "base/clock.h"
#include "base/log.h"

namespace herdgate::server {

inline constexpr std::size_t kMaxJsonText = Log::kMaxLineBytes / 2;

struct JsonFacts {
  int pid = 0;
  WallTime said{};
  Verbosity verbosity = Verbosity::normal;
};

struct JsonField {
  std::string_view name, type, meaning;
};
std::span<const JsonField> json_fields();
std::string json_document();  // docs/jsonlog.md

std::string format_json(const JsonFacts& facts, const LogContext& who, const LogLine& line);

}  // namespace herdgate::server
