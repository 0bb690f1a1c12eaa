// Which databases' new work is held, by PGPOOL PAUSE or pcp_pause, and until when. Pure: the caller brings the time.
//
// Shape    set() pauses or resumes one database, or with "" all of them; holds() asks; end_old() lets go what has
//          been held for its time. What came of a set() is told in words, for the log and for whoever asked.
// Limits   kMaxDatabases pauses at once.
// Errors   Outcome::taken is false when there is no room for one more pause; then nothing has changed.
// Threads  values; the control thread changes its own and publishes copies in Snapshot.
#pragma once
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"

namespace herdgate::session {

struct Pauses {
  static constexpr std::size_t kMaxDatabases = 1000;
  struct Change {
    std::string database;  // "": all
    bool on = true;
  };
  struct Outcome {
    bool taken = true;
    std::string words;  // "new work in all databases is held"; else what could not be done
  };

  // A pause of all holds beside those of single databases: who resumes one of them leaves it in force, and a resume of
  // all ends every one. `limit` zero: the pause does not end by itself; a second one begins its time anew.
  Outcome set(const Change& change, TimePoint now, std::chrono::seconds limit);
  bool has_room(std::string_view database) const {
    return databases.size() < kMaxDatabases || databases.find(database) != databases.end();
  }
  bool holds(std::string_view database) const {
    return databases.find("") != databases.end() || databases.find(database) != databases.end();
  }
  std::vector<std::string> end_old(TimePoint now);  // the databases whose time is over
  TimePoint next_end() const;                       // TimePoint::max(): nothing ends by itself

  std::map<std::string, Deadline, std::less<>> databases;
};

// "all databases", "database "x"".
std::string paused_subject(std::string_view database);
// For whoever finds no room; `database` is the one that was to be paused.
std::string no_room_to_pause(std::string_view database);
std::string no_room_detail();

}  // namespace herdgate::session
