// A counter in memcached: what its 64 bits say. Pure.
#pragma once
#include <cstdint>

namespace herdgate::cache {

inline constexpr int kDoubtBits = 16, kBirthShift = 40;
inline constexpr std::uint64_t kOneChange = 1ULL << kDoubtBits;
inline constexpr std::uint64_t kBeginsDoubt = kOneChange + 1, kEndsDoubt = kOneChange - 1;

inline bool in_doubt(std::uint64_t counter) { return (counter & (kOneChange - 1)) != 0; }
// Tells a counter from another one that has taken its place.
inline std::uint64_t birth_of(std::uint64_t counter) { return counter >> kBirthShift; }
inline std::uint64_t new_counter(std::uint64_t random) { return random & ~(kOneChange - 1); }

}  // namespace herdgate::cache
