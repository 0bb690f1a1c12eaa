// An answer as it lies in memcached, and what it stands on. Pure.
//
// Shape    encode() and decode(). The octets carry a mark, their length and a keyed checksum over everything else, the
//          key under which they were stored, the counters they stand on, and the answer.
// Errors   decode() gives nothing for octets that are not an entry of this key, whatever they are.
// Threads  pure.
// Source   docs/decisions/0003-memcached.md says what the counters are.
#pragma once
#include <cstdint>
#include <optional>
#include <vector>

#include "cache/store.h"

namespace herdgate::cache {

struct RemoteEntry {
  Footing footing;
  std::vector<std::uint32_t> tables;
  Answer answer;
};

// Octets that an entry has beside its answer, at most, with so many tables.
std::size_t entry_overhead(std::size_t tables);
Bytes encode(const HashKey& hash, const Fill& fill);
std::optional<RemoteEntry> decode(const HashKey& hash, const Hash128& key, ByteView octets);

}  // namespace herdgate::cache
