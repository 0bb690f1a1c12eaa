// SipHash-2-4 with a 128-bit result: a keyed hash that clients cannot aim at.
//
// Shape    Hash128 hash128(key, bytes), and quicker ones of SipHash-1-3, of 128 and of 64 bits. The key is made once
//          per process from the system's random source.
// Threads  pure.
// Source   Aumasson and Bernstein, "SipHash: a fast short-input PRF", with the 128-bit output extension.
#pragma once
#include <compare>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

namespace herdgate {

struct Hash128 {
  std::uint64_t hi = 0, lo = 0;
  auto operator<=>(const Hash128&) const = default;
  std::string hex() const;  // 32 lower-case digits
};

struct HashKey {
  std::uint64_t k0 = 0, k1 = 0;
  static HashKey random();
};

Hash128 hash128(const HashKey& key, std::string_view bytes);
// SipHash-1-3: where nobody sees the results and texts are hashed by the million.
Hash128 quick_hash128(const HashKey& key, std::string_view bytes);
// SipHash-1-3: for tables whose entries are compared whole.
std::uint64_t hash64(const HashKey& key, std::string_view bytes);

}  // namespace herdgate

template <>
struct std::hash<herdgate::Hash128> {
  std::size_t operator()(const herdgate::Hash128& h) const noexcept { return static_cast<std::size_t>(h.lo); }
};
