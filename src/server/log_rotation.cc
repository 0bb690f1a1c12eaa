#include "server/log_rotation.h"

#include <array>
#include <ctime>
#include <string_view>

namespace herdgate::server {
namespace {

std::tm local(std::time_t seconds) {
  std::tm tm{};
  ::localtime_r(&seconds, &tm);
  return tm;
}

}  // namespace

std::string log_file_path(const RotationRules& rules, WallTime when) {
  const std::tm tm = local(std::chrono::system_clock::to_time_t(when));
  std::array<char, kMaxFileName + 1> name{};
  std::size_t size = std::strftime(name.data(), name.size(), rules.filename.c_str(), &tm);
  // A name that comes out too long, or empty, is used as it is written.
  const std::string file = size > 0 ? std::string(name.data(), size) : rules.filename.substr(0, kMaxFileName);
  return rules.directory + "/" + file;
}

std::string json_path(const std::string& path) {
  constexpr std::string_view kPlain = ".log";
  const bool plain = path.size() > kPlain.size() && path.ends_with(kPlain);
  return (plain ? path.substr(0, path.size() - kPlain.size()) : path) + ".json";
}

// Longer than this is never: a moment after the year 2262 has no place in WallTime.
constexpr std::chrono::minutes kLongestAge = std::chrono::duration_cast<std::chrono::minutes>(std::chrono::years(100));

// In local time, so that files of a day begin at midnight; a change of the clocks moves one of them.
std::optional<WallTime> next_rotation(WallTime now, std::chrono::minutes age) {
  if (age.count() <= 0 || age > kLongestAge) return std::nullopt;
  const std::time_t seconds = std::chrono::system_clock::to_time_t(now);
  const std::int64_t interval = static_cast<std::int64_t>(age.count()) * 60;
  const std::int64_t shifted = seconds + local(seconds).tm_gmtoff;
  return std::chrono::system_clock::from_time_t(seconds + (interval - shifted % interval));
}

}  // namespace herdgate::server
