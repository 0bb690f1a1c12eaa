// The files on disk in logdir: pgpool_status, pgpool_unfinished and backend_down_request. Written whole beside its name
// and renamed, so that no reader sees half of it.
//
// Limits   kMaxStateFileBytes are read.
// Errors   Errc::state_file_unreadable, Errc::state_file_unwritable, with path and the system's words. A file that is
//          not there is no error.
// Threads  any; writes of one path must not overlap.
#pragma once
#include <chrono>
#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"

namespace herdgate::monitor {

inline constexpr std::size_t kMaxStateFileBytes = 64 * 1024;

// Absolute, because going into the background changes the working folder. So it is asked for before, and kept.
std::string state_path(const std::string& folder, std::string_view name);
Result<std::optional<std::string>> read_state_file(const std::string& path);
enum class Durable : bool { no, yes };  // yes: it is there after a loss of power too
Result<Done> write_state_file(const std::string& path, const std::string& text, Durable durable = Durable::no);
Result<Done> remove_state_file(const std::string& path);
// What writers of that path left that were killed: our own, older than kLeftAfter.
inline constexpr std::chrono::minutes kLeftAfter{1};
void remove_leftovers(const std::string& path);

}  // namespace herdgate::monitor
