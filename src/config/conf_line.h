// One line of pgpool.conf.
//
// Shape    parse_conf_line(line) -> key and value, or nullopt for an empty line or a comment.
//            key = value    key value    include 'file'    # comment
//          A value is 'quoted' (backslash sequences pass through unchanged), a number with an optional unit, or a bare
//          word [A-Za-z_][A-Za-z0-9_-._:/]*.
// Errors   Errc::syntax with the reason.
// Threads  pure.
// Source   Pgpool-II 4.6 manual, "Setting Parameters".
#pragma once
#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"

namespace herdgate::config {

struct ConfLine {
  std::string key, value;
};
Result<std::optional<ConfLine>> parse_conf_line(std::string_view line);

}  // namespace herdgate::config
