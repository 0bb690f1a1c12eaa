// An assertion that stays on in release builds: a broken invariant in a pooler is a wrong answer to a client,
// and stopping is better than that.
#pragma once

namespace herdgate {
[[noreturn]] void assertion_failed(const char* condition, const char* file, int line);
}

#define HG_ASSERT(condition) \
  ((condition) ? static_cast<void>(0) : ::herdgate::assertion_failed(#condition, __FILE__, __LINE__))
