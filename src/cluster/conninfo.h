// primary_conninfo: read as libpq reads it, pointed at another server, or at none. Pure.
//
// Shape    parse_conninfo() takes "key=value …" and postgresql:// alike and gives settings in their
//          order (a later one of the same key counts); repoint() makes the string of a standby that is to follow
//          another server: all settings stay but those that say where, be it one host or a list. stopped_conninfo() is
//          one that connects to nobody.
// Errors   Errc::conninfo_not_understood where libpq would refuse the form. No text of the string is in it: a
//          password may be there. Whether libpq knows a key it finds out itself.
// Threads  values.
// Source   PostgreSQL manual, "Connection Strings"; what libpq 15 was seen to do.
#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "cluster/errc.h"

namespace herdgate::cluster {

struct ConnSetting {
  std::string key, value;
  bool operator==(const ConnSetting&) const = default;
};
Result<std::vector<ConnSetting>> parse_conninfo(std::string_view text);
std::string print_conninfo(const std::vector<ConnSetting>& settings);  // as key=value

// With another host and port. Not empty: another application_name, too.
Result<std::string> repoint(std::string_view conninfo, const std::string& host, int port,
                            const std::string& application_name = {});

// A connection string that libpq refuses before it connects, for a standby that must not receive for now. The old one
// stays in it, so that whoever finds it can put it back. Stopped twice is stopped once.
inline constexpr std::string_view kStoppedMark = "stopped_by_pgpool=1 ";
std::string stopped_conninfo(std::string_view conninfo);
std::string running_conninfo(std::string_view conninfo);  // also of one that was not stopped

}  // namespace herdgate::cluster
