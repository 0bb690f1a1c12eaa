// Asks the processor to bring memory nearer that will be needed soon. A hint: it never fails, whatever the address.
//
// Shape    prefetch(at, bytes). Worth it where something else is done meanwhile: a miss costs as much as a hundred
//          instructions, and of many sessions each finds its own memory cold.
// Units    octets.
// Limits   the caller's: each line of the processor's cache is one instruction.
// Errors   none.
// Threads  any.
// Source   docs/performance.md, "What limits each row".
#pragma once
#include <cstddef>

namespace herdgate {

inline constexpr std::size_t kCacheLine = 64;

inline void prefetch(const void* at, std::size_t bytes) {
  const char* const from = static_cast<const char*>(at);
  for (std::size_t i = 0; i < bytes; i += kCacheLine) __builtin_prefetch(from + i);
}

}  // namespace herdgate
