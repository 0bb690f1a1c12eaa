#include "failure.h"

#include <fmt/format.h>

namespace herdgate::wd_cli {

std::string Failure::lines() const {
  std::string out = fmt::format("ERROR: {}\n", text);
  if (!detail.empty()) out += fmt::format("DETAIL: {}\n", detail);
  if (!hint.empty()) out += fmt::format("HINT: {}\n", hint);
  return out;
}

}  // namespace herdgate::wd_cli
