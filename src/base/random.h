// A random number source handed to whoever draws: tests hand in a fixed one.
//
// Shape    splitmix64: one word of state. For choices among nodes and the like, never for secrets.
// Source   Steele, Lea and Flood, "Fast splittable pseudorandom number generators".
#pragma once
#include <cstdint>

namespace herdgate {

class Random {
 public:
  explicit Random(std::uint64_t seed) : state_(seed) {}
  // Uniform in [0, 1).
  double fraction() { return static_cast<double>(bits() >> 11) * 0x1p-53; }
  std::uint64_t bits() {
    std::uint64_t z = state_ += 0x9e3779b97f4a7c15ULL;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
    return z ^ (z >> 31);
  }

 private:
  std::uint64_t state_;
};

}  // namespace herdgate
