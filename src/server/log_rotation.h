// Names of log files and the times at which they change. Pure.
//
// Shape    log_file_path(rules, when) -> "/var/log/pgpool/pgpool-2024-05-01_000000.log"; json_path(path) -> the same
//          with .json. next_rotation(now, age) -> the next multiple of `age` in local time.
// Limits   a name has at most kMaxFileName octets.
// Threads  pure (but for the time zone of the process).
// Source   PostgreSQL manual, "log_filename", "log_rotation_age"; strftime(3).
#pragma once
#include <chrono>
#include <cstdint>
#include <optional>
#include <string>

#include "base/clock.h"

namespace herdgate::server {

inline constexpr std::size_t kMaxFileName = 255;

struct RotationRules {
  std::string directory, filename;
  unsigned mode = 0600;
  std::chrono::minutes age{0};   // 0: never by time
  std::uint64_t size_bytes = 0;  // 0: never by size
  bool truncate = false;         // a file of the same name is emptied when its time comes again
  bool operator==(const RotationRules&) const = default;
};

std::string log_file_path(const RotationRules& rules, WallTime when);
std::string json_path(const std::string& path);
std::optional<WallTime> next_rotation(WallTime now, std::chrono::minutes age);

}  // namespace herdgate::server
