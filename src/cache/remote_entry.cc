#include "cache/remote_entry.h"

#include <algorithm>

namespace herdgate::cache {
namespace {

constexpr std::string_view kMark = "HGC\x01";
constexpr std::size_t kHashBytes = 16, kHead = kMark.size() + 4 + kHashBytes;  // mark, length of all, checksum
// Key, nonce, two counters, number of tables, lengths of the answer and of its head.
constexpr std::size_t kFixed = kHashBytes + 3 * 8 + 3 * 4;

void append_u64(Bytes& out, std::uint64_t v) {
  append_u32(out, static_cast<std::uint32_t>(v >> 32));
  append_u32(out, static_cast<std::uint32_t>(v));
}

void append_hash(Bytes& out, const Hash128& h) {
  append_u64(out, h.hi);
  append_u64(out, h.lo);
}

// Takes numbers from the front of octets that are known to be long enough.
struct Taking {
  ByteView rest;
  std::uint32_t u32() {
    const std::uint32_t v = load_u32(rest.data());
    rest.remove_prefix(4);
    return v;
  }
  std::uint64_t u64() {
    const std::uint64_t v = load_u64(rest.data());
    rest.remove_prefix(8);
    return v;
  }
  Hash128 hash() {
    const std::uint64_t hi = u64();
    return {hi, u64()};
  }
};

Answer answer_of(ByteView octets, std::uint32_t head_bytes) {
  const std::shared_ptr<char[]> bytes = std::make_shared<char[]>(octets.size());
  std::copy(octets.begin(), octets.end(), bytes.get());
  return {bytes, static_cast<std::uint32_t>(octets.size()), head_bytes};
}

}  // namespace

std::size_t entry_overhead(std::size_t tables) { return kHead + kFixed + tables * 12; }

Bytes encode(const HashKey& hash, const Fill& fill) {
  Bytes body;
  const std::size_t answer = fill.head.size() + fill.rest.size();
  body.reserve(kFixed + fill.tables.size() * 12 + answer);
  append_hash(body, fill.key);
  append_u64(body, fill.footing.nonce);
  append_u64(body, fill.footing.counters[0]);
  append_u64(body, fill.footing.counters[1]);
  append_u32(body, static_cast<std::uint32_t>(fill.tables.size()));
  append_u32(body, static_cast<std::uint32_t>(answer));
  append_u32(body, static_cast<std::uint32_t>(fill.head.size()));
  for (std::size_t i = 0; i < fill.tables.size(); ++i) {
    append_u32(body, fill.tables[i]);
    append_u64(body, fill.footing.counters[i + 2]);
  }
  body += fill.head;
  body += fill.rest;
  Bytes out(kMark);
  out.reserve(kHead + body.size());
  append_u32(out, static_cast<std::uint32_t>(kHead + body.size()));
  append_hash(out, hash128(hash, body));
  return out += body;
}

std::optional<RemoteEntry> decode(const HashKey& hash, const Hash128& key, ByteView octets) {
  if (octets.size() < kHead + kFixed || !octets.starts_with(kMark)) return std::nullopt;
  Taking in{octets.substr(kMark.size())};
  if (in.u32() != octets.size()) return std::nullopt;
  const Hash128 sum = in.hash();
  if (hash128(hash, in.rest) != sum || in.hash() != key) return std::nullopt;
  RemoteEntry entry;
  entry.footing.epoch = hash.k0;
  entry.footing.nonce = in.u64();
  entry.footing.counters = {in.u64()};
  entry.footing.counters.push_back(in.u64());
  const std::size_t tables = in.u32(), answer = in.u32(), head = in.u32();
  if (in.rest.size() != tables * 12 + answer || head > answer) return std::nullopt;
  for (std::size_t i = 0; i < tables; ++i) {
    entry.tables.push_back(in.u32());
    entry.footing.counters.push_back(in.u64());
  }
  entry.answer = answer_of(in.rest, static_cast<std::uint32_t>(head));
  return entry;
}

}  // namespace herdgate::cache
