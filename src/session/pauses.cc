#include "session/pauses.h"

#include <fmt/format.h>

#include <algorithm>

namespace herdgate::session {

Pauses::Outcome Pauses::set(const Change& change, TimePoint now, std::chrono::seconds limit) {
  const std::string what = paused_subject(change.database);
  if (change.on) {
    if (!has_room(change.database)) return {false, no_room_to_pause(change.database)};
    const bool limited = limit.count() > 0;
    databases[change.database] = limited ? Deadline::after(now, limit) : Deadline::never();
    return {true, fmt::format("new work in {} is held{}", what,
                              limited ? fmt::format(" for at most {} s", limit.count()) : "")};
  }
  const bool held = change.database.empty() ? !databases.empty() : databases.contains(change.database);
  if (change.database.empty()) {
    databases.clear();
  } else {
    databases.erase(change.database);
  }
  if (holds(change.database))
    return {true, fmt::format("new work in {} is still held: all databases are paused", what)};
  return {true, fmt::format("new work in {} {}", what, held ? "goes on" : "was not held")};
}

std::vector<std::string> Pauses::end_old(TimePoint now) {
  std::vector<std::string> ended;
  std::erase_if(databases, [&](const auto& pause) {
    if (!pause.second.passed(now)) return false;
    ended.push_back(pause.first);
    return true;
  });
  return ended;
}

TimePoint Pauses::next_end() const {
  TimePoint next = TimePoint::max();
  for (const auto& [database, end] : databases) next = std::min(next, end.at);
  return next;
}

std::string paused_subject(std::string_view database) {
  return database.empty() ? "all databases" : fmt::format("database \"{}\"", database);
}

std::string no_room_to_pause(std::string_view database) {
  return fmt::format("could not pause {}", paused_subject(database));
}

std::string no_room_detail() { return fmt::format("{} databases are paused already.", Pauses::kMaxDatabases); }

}  // namespace herdgate::session
