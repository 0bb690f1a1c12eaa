// Whatever a server shows as primary_conninfo. What is written is read as the same, and a repointed string leads to one
// place only.
#include <algorithm>
#include <string_view>

#include "cluster/conninfo.h"

using namespace herdgate::cluster;

extern "C" int LLVMFuzzerTestOneInput(const unsigned char* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto settings = parse_conninfo(text);
  if (settings && parse_conninfo(print_conninfo(*settings)).value() != *settings) __builtin_trap();
  const auto there = repoint(text, "b", 1);
  if (there.has_value() != settings.has_value()) __builtin_trap();
  if (!there) return 0;
  const auto again = parse_conninfo(*there);
  const auto places = [](const ConnSetting& s) { return s.key == "host" || s.key == "hostaddr" || s.key == "port"; };
  if (std::count_if(again->begin(), again->end(), places) != 2) __builtin_trap();
  if (running_conninfo(stopped_conninfo(text)) != running_conninfo(text)) __builtin_trap();
  return 0;
}
