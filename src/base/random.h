// A random number source handed to whoever draws: tests hand in a fixed one.
#pragma once
#include <cstdint>
#include <random>

namespace herdgate {

class Random {
 public:
  explicit Random(std::uint64_t seed) : engine_(seed) {}
  // Uniform in [0, 1).
  double fraction() { return std::generate_canonical<double, 32>(engine_); }
  std::uint64_t bits() { return engine_(); }

 private:
  std::mt19937_64 engine_;
};

}  // namespace herdgate
