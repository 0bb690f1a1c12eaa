// What unit tests of many modules stand in for the log and the clock.
//
// Shape    SilentLog drops lines; LogLines keeps them: `text` has "LEVEL: text", "DETAIL: …" and "HINT: …", each on a line.
//          MovableClock is the system's, set ahead by `ahead`.
// Limits   none.
// Errors   none.
// Threads  LogLines and MovableClock: one at a time.
// Source   our own.
#pragma once
#include <fmt/format.h>

#include <string>
#include <string_view>

#include "base/clock.h"
#include "base/log.h"

namespace herdgate {

class SilentLog final : public LogSink {
 public:
  void write(LogContext&, const LogLine&) override {}
};

class LogLines final : public LogSink {
 public:
  void write(LogContext&, const LogLine& line) override {
    text += fmt::format("{}: {}\n", level_name(line.level), line.text);
    if (!line.detail.empty()) text += fmt::format("DETAIL: {}\n", line.detail);
    if (!line.hint.empty()) text += fmt::format("HINT: {}\n", line.hint);
  }
  std::size_t count(std::string_view part) const {
    std::size_t found = 0;
    for (std::size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++found;
    return found;
  }
  std::string text;
};

class MovableClock final : public Clock {
 public:
  TimePoint now() const override { return std::chrono::steady_clock::now() + ahead; }
  WallTime wall() const override { return std::chrono::system_clock::now() + ahead; }
  Duration ahead{};
};

}  // namespace herdgate
