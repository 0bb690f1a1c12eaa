// Octets from the system's random source, fit for secrets.
#pragma once
#include <span>

namespace herdgate {

// A system call, and no more: some ten times cheaper than a library's generator for the few octets of a cancel secret.
void fill_random(std::span<char> octets);

}  // namespace herdgate
