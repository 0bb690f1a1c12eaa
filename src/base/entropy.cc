#include "base/entropy.h"

#include <string.h>
#include <sys/random.h>

#include <algorithm>
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

RandomStock::~RandomStock() { ::explicit_bzero(octets_.data(), octets_.size()); }

void RandomStock::fill(std::span<char> octets) {
  while (!octets.empty()) {
    if (left_ == 0) {
      fill_random(octets_);
      left_ = kBytes;
    }
    const std::size_t take = std::min(octets.size(), left_);
    char* from = octets_.data() + (kBytes - left_);
    std::copy_n(from, take, octets.data());
    ::explicit_bzero(from, take);
    octets = octets.subspan(take);
    left_ -= take;
  }
}

}  // namespace herdgate
