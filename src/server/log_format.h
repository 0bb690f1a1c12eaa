// A log message as text: prefix, level, details. Pure.
//
// Shape    format_message(settings, facts, who, line) -> "PREFIX LEVEL: TEXT\n" and a line each for DETAIL, HINT,
//          QUERY, CONTEXT and LOCATION, each with the prefix. Line feeds inside a text become "\n\t", so that nobody
//          can make a line of his own.
// Limits   Log::kMaxLineBytes for the whole; padding at most kMaxPadding.
// Threads  pure; `who` counts its lines (%l).
// Source   Pgpool-II 4.6 manual, "log_line_prefix", "log_error_verbosity".
#pragma once
#include <string>
#include <string_view>

#include "base/clock.h"
#include "base/log.h"

namespace herdgate::server {

inline constexpr int kMaxPadding = 1000;

// What a line is made of besides its own words.
struct LineFacts {
  int pid = 0;
  std::string_view time;     // %t
  std::string_view time_ms;  // %m
};

std::string format_prefix(std::string_view pattern, const LineFacts& facts, LogContext& who);
std::string format_message(std::string_view pattern, Verbosity verbosity, const LineFacts& facts, LogContext& who,
                           const LogLine& line);

}  // namespace herdgate::server
