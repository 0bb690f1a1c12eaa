// pgpool.conf: bytes in, Settings and findings out.
//
// Shape    load(path, reader, options) -> Loaded. Includes are read through `reader`, so no file system is needed.
//          Reading goes on after an error, so that --check names them all; with has_errors() the settings must not be
//          put in force.
// Limits   kMaxIncludeDepth, kMaxConfigBytes for one file, kMaxFindings.
// Errors   findings with file and line; load() itself never fails.
// Threads  pure.
// Source   Pgpool-II 4.6 manual, "Setting Parameters".
#pragma once
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "config/settings.h"

namespace herdgate::config {

using FileReader = std::function<Result<std::string>(const std::string& path)>;

inline constexpr int kMaxIncludeDepth = 10;
inline constexpr std::size_t kMaxConfigBytes = 16u << 20;
inline constexpr std::size_t kMaxFindings = 200;

enum class Severity : std::uint8_t { info, warning, error };
struct Finding {
  Severity severity = Severity::error;
  std::string file;
  int line = 0;               // 0: concerns the whole configuration
  std::string text;           // lower case, no full stop
  std::string where() const;  // "pgpool.conf:12", or the file alone, or empty
  bool operator==(const Finding&) const = default;
};

struct Loaded {
  Settings settings;
  std::vector<Finding> findings;
  bool has_errors() const;
};

struct LoadOptions {
  bool strict = false;  // --check: an unknown parameter is an error, not a warning
};

Loaded load(const std::string& path, const FileReader& reader, const LoadOptions& options = {});
// The same from text at hand; `path` names it in findings and is the base for includes.
Loaded load_text(std::string_view text, const std::string& path, const FileReader& reader,
                 const LoadOptions& options = {});

bool any_error(const std::vector<Finding>& findings);

}  // namespace herdgate::config
