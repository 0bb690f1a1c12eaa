// Octets: views, big-endian loads and stores, conversions between text and bytes. No allocation except Bytes.
#pragma once
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>

namespace herdgate {

// Wire data is kept in std::string / std::string_view of raw octets: cheap to append, compare and hash.
using Bytes = std::string;
using ByteView = std::string_view;

inline std::uint16_t load_u16(const char* p) {
  const auto* u = reinterpret_cast<const unsigned char*>(p);
  return static_cast<std::uint16_t>(u[0] << 8 | u[1]);
}
inline std::uint32_t load_u32(const char* p) {
  std::uint32_t v;
  std::memcpy(&v, p, 4);
  return __builtin_bswap32(v);
}
inline std::uint64_t load_u64(const char* p) {
  std::uint64_t v;
  std::memcpy(&v, p, 8);
  return __builtin_bswap64(v);
}
inline void store_u32(char* p, std::uint32_t v) {
  v = __builtin_bswap32(v);
  std::memcpy(p, &v, 4);
}
inline void append_u16(Bytes& out, std::uint16_t v) {
  const char b[2] = {static_cast<char>(v >> 8), static_cast<char>(v)};
  out.append(b, 2);
}
inline void append_u32(Bytes& out, std::uint32_t v) {
  char b[4];
  store_u32(b, v);
  out.append(b, 4);
}
inline void append_cstr(Bytes& out, std::string_view text) {
  out.append(text);
  out.push_back('\0');
}

}  // namespace herdgate
