#include "base/clock.h"

#include <fmt/format.h>

#include <ctime>

namespace herdgate {

std::string format_wall(WallTime t, bool with_ms) {
  const std::time_t seconds = std::chrono::system_clock::to_time_t(t);
  std::tm tm{};
  localtime_r(&seconds, &tm);
  char text[32];
  std::strftime(text, sizeof text, "%Y-%m-%d %H:%M:%S", &tm);
  if (!with_ms) return text;
  const auto ms = std::chrono::duration_cast<std::chrono::milliseconds>(t.time_since_epoch()).count() % 1000;
  return fmt::format("{}.{:03}", text, ms);
}

}  // namespace herdgate
