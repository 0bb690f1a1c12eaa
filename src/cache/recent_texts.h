// Hashes of the texts of prepared statements, made lately: a client runs one text many times.
//
// Shape    hash() gives text_hash(key, text); `id` tells the text from every other: that of the prepared statement.
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
  const Hash128& hash(const HashKey& key, const Hash128& id, std::string_view text) {
    Slot& slot = slots_[id.lo % kSlots];
    if (slot.id != id || slot.key != key.k0 || !slot.used) slot = {id, key.k0, text_hash(key, text), true};
    return slot.hash;
  }

 private:
  struct Slot {
    Hash128 id;
    std::uint64_t key = 0;  // its first half: the second is always the same where keys change (memcached)
    Hash128 hash;
    bool used = false;
  };
  std::array<Slot, kSlots> slots_;
};

}  // namespace herdgate::cache
