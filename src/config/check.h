// Rules that concern several parameters of a configuration, or the whole of it. Used by load().
//
// Shape    check_settings(settings, findings, places): completes the settings (nodes without port go, empty host names
//          become /tmp, patterns are compiled) and adds findings.
// Threads  pure.
// Source   Pgpool-II 4.6 manual, "Server Configuration".
#pragma once
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "config/load.h"

namespace herdgate::config {

// Where a parameter was set last; by name with number.
struct Place {
  std::string file;
  int line = 0;
};
using Places = std::map<std::string, Place, std::less<>>;

// What may stand behind a % in failover_command and its like, and, after a width, in log_line_prefix.
inline constexpr std::string_view kCommandLetters = "dhpDmHrRMPNS%";
inline constexpr std::string_view kPrefixLetters = "aPudpltm%";

void check_settings(Settings& settings, std::vector<Finding>& findings, const Places& places);

}  // namespace herdgate::config
