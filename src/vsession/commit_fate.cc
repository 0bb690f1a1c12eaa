#include "vsession/commit_fate.h"

namespace herdgate::vsession {

Fate fate_of(const std::optional<std::string>& status) {
  if (!status) return Fate::unknown;
  if (*status == "committed") return Fate::committed;
  if (*status == "aborted") return Fate::rolled_back;
  return *status == "in progress" ? Fate::running : Fate::unknown;
}

Fate fate_of_error(std::string_view text) {
  return text.find("(22023)") != std::string_view::npos ? Fate::rolled_back : Fate::unknown;
}

}  // namespace herdgate::vsession
