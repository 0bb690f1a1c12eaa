// What the kernel counts of this process.
//
// Shape    process_figures() reads /proc/self; parse_stat() takes the text of its `stat`.
// Limits   counting the descriptors takes about a millisecond for each thousand.
// Errors   nullopt: /proc cannot be read.
// Threads  any; reads files, so not on a loop.
// Source   proc(5).
#pragma once
#include <optional>
#include <string_view>

#include "report/figures.h"

namespace herdgate::server {

std::optional<report::ProcessFigures> process_figures();

// Processor time, memory and threads; nullopt: not understood.
struct ProcessUnits {
  double ticks_per_second = 100;
  std::uint64_t page_bytes = 4096;
};
std::optional<report::ProcessFigures> parse_stat(std::string_view text, const ProcessUnits& units);

}  // namespace herdgate::server
