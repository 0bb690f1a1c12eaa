#include "base/hash.h"

#include <fmt/format.h>
#include <openssl/rand.h>

#include <bit>
#include <cstring>

#include "base/assert.h"

namespace herdgate {
namespace {

// Rounds: how many for each block of eight octets, and at the end.
template <int Rounds, int Last>
struct SipState {
  std::uint64_t v0, v1, v2, v3;
  void round() {
    v0 += v1, v1 = std::rotl(v1, 13), v1 ^= v0, v0 = std::rotl(v0, 32);
    v2 += v3, v3 = std::rotl(v3, 16), v3 ^= v2;
    v0 += v3, v3 = std::rotl(v3, 21), v3 ^= v0;
    v2 += v1, v1 = std::rotl(v1, 17), v1 ^= v2, v2 = std::rotl(v2, 32);
  }
  void block(std::uint64_t m) {
    v3 ^= m;
    for (int i = 0; i < Rounds; ++i) round();
    v0 ^= m;
  }
  void all(std::string_view bytes) {
    const char* p = bytes.data();
    std::size_t left = bytes.size();
    for (; left >= 8; left -= 8, p += 8) {
      std::uint64_t m;
      std::memcpy(&m, p, 8);
      block(m);
    }
    const std::uint64_t size = static_cast<std::uint64_t>(bytes.size()) << 56;
    block(size | (bytes.size() < 8 ? few(p, left) : end_of(bytes, left)));
  }
  // The last `left` octets, of fewer than eight in all.
  static std::uint64_t few(const char* p, std::size_t left) {
    std::uint64_t last = 0;
    for (std::size_t i = 0; i < left; ++i)
      last |= static_cast<std::uint64_t>(static_cast<unsigned char>(p[i])) << (8 * i);
    return last;
  }
  // … of eight or more: read at once, with some that have been taken already, which are shifted out.
  static std::uint64_t end_of(std::string_view bytes, std::size_t left) {
    std::uint64_t last;
    std::memcpy(&last, bytes.data() + bytes.size() - 8, 8);
    return left == 0 ? 0 : last >> (64 - 8 * left);
  }
  std::uint64_t finish() {
    for (int i = 0; i < Last; ++i) round();
    return v0 ^ v1 ^ v2 ^ v3;
  }
};

// These constants spell "somepseudorandomlygeneratedbytes".
template <int Rounds, int Last>
SipState<Rounds, Last> sip_start(const HashKey& key) {
  return {key.k0 ^ 0x736f6d6570736575ULL, key.k1 ^ 0x646f72616e646f6dULL, key.k0 ^ 0x6c7967656e657261ULL,
          key.k1 ^ 0x7465646279746573ULL};
}

template <int Rounds, int Last>
Hash128 sip128(const HashKey& key, std::string_view bytes) {
  auto s = sip_start<Rounds, Last>(key);
  s.v1 ^= 0xee;  // marks the 128-bit variant
  s.all(bytes);
  s.v2 ^= 0xee;
  Hash128 h;
  h.lo = s.finish();
  s.v1 ^= 0xdd;
  h.hi = s.finish();
  return h;
}

}  // namespace

HashKey HashKey::random() {
  HashKey key;
  HG_ASSERT(RAND_bytes(reinterpret_cast<unsigned char*>(&key), sizeof key) == 1);
  return key;
}

std::string Hash128::hex() const { return fmt::format("{:016x}{:016x}", hi, lo); }

Hash128 hash128(const HashKey& key, std::string_view bytes) { return sip128<2, 4>(key, bytes); }

Hash128 quick_hash128(const HashKey& key, std::string_view bytes) { return sip128<1, 3>(key, bytes); }

std::uint64_t hash64(const HashKey& key, std::string_view bytes) {
  auto s = sip_start<1, 3>(key);
  s.all(bytes);
  s.v2 ^= 0xff;
  return s.finish();
}

}  // namespace herdgate
