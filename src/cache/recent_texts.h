// Hashes of the texts of prepared statements, made lately: a client runs one text many times.
//
// Shape    find() gives the hashes of a text and its types; `id` tells them from all others: that of the prepared
//          statement.
// Limits   kSlots texts; a later one may take an earlier one's place.
// Errors   none.
// Threads  its worker's.
// Source   our own.
#pragma once
#include <array>
#include <string_view>

#include "cache/key.h"

namespace herdgate::cache {

class RecentTexts {
 public:
  static constexpr std::size_t kSlots = 256;
  struct Hashes {
    Hash128 text, statement;
  };
  static Hashes made(const HashKey& key, std::string_view text, ByteView types) {
    const Hash128 hash = text_hash(key, text);
    return {hash, statement_hash(key, hash, types)};
  }
  const Hashes& find(const HashKey& key, const Hash128& id, std::string_view text, ByteView types) {
    Slot& slot = slots_[id.lo % kSlots];
    if (slot.id != id || slot.key != key.k0 || !slot.used) slot = {id, key.k0, made(key, text, types), true};
    return slot.hashes;
  }

 private:
  struct Slot {
    Hash128 id;
    std::uint64_t key = 0;  // its first half: the second is always the same where keys change (memcached)
    Hashes hashes;
    bool used = false;
  };
  std::array<Slot, kSlots> slots_;
};

}  // namespace herdgate::cache
