#include "backend/reported.h"

#include <algorithm>
#include <cctype>
#include <functional>

namespace herdgate::backend {
namespace {

std::uint64_t mixed(int place, std::string_view value) {
  if (value.empty()) return 0;
  constexpr std::uint64_t kOdd = 0x9e3779b97f4a7c15;
  return (std::hash<std::string_view>()(value) + static_cast<std::uint64_t>(place)) * kOdd;
}

char lower(char c) { return static_cast<char>(std::tolower(static_cast<unsigned char>(c))); }

}  // namespace

int Reported::place(std::string_view name) {
  const auto same = [name](std::string_view known) {
    return std::ranges::equal(known, name, [](char a, char b) { return lower(a) == lower(b); });
  };
  const auto at = std::ranges::find_if(kNames, same);
  return at == kNames.end() ? -1 : static_cast<int>(at - kNames.begin());
}

std::string Reported::key(int place) {
  std::string key(kNames[static_cast<std::size_t>(place)]);
  std::ranges::transform(key, key.begin(), lower);
  return key;
}

void Reported::set(int place, std::string_view value) {
  std::string& now = values_[static_cast<std::size_t>(place)];
  hash_ ^= mixed(place, now) ^ mixed(place, value);
  now = value;
}

}  // namespace herdgate::backend
