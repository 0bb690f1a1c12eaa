// Octets from the system's random source, fit for secrets.
#pragma once
#include <array>
#include <cstddef>
#include <span>

namespace herdgate {

// A system call, and no more: some ten times cheaper than a library's generator for the few octets of a cancel secret.
void fill_random(std::span<char> octets);

// The same octets, fetched for many small secrets at once. What has been given out is overwritten here.
//
// Threads  its owner's; made after the last fork() without exec(), or two processes would give out the same.
class RandomStock {
 public:
  static constexpr std::size_t kBytes = 512;
  RandomStock() = default;
  RandomStock(const RandomStock&) = delete;
  RandomStock& operator=(const RandomStock&) = delete;
  ~RandomStock();
  void fill(std::span<char> octets);

 private:
  std::array<char, kBytes> octets_;
  std::size_t left_ = 0;  // at the end
};

}  // namespace herdgate
