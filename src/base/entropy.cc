#include "base/entropy.h"

#include <sys/random.h>

#include <cerrno>

#include "base/assert.h"

namespace herdgate {

void fill_random(std::span<char> octets) {
  while (!octets.empty()) {
    const ssize_t got = ::getrandom(octets.data(), octets.size(), 0);
    HG_ASSERT(got > 0 || errno == EINTR);
    if (got > 0) octets = octets.subspan(static_cast<std::size_t>(got));
  }
}

}  // namespace herdgate
