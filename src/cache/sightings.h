// For each key a few octets that all workers read without a lock: was it asked for lately, and can the store have it?
//
// Shape    note() and seen(): which keys were read lately. added(), removed() and may_have(): how many entries there
//          are of the keys of one slot. Both stand side by side, so that a read that is not kept, as in a flood,
//          touches one line of the processor's cache and no mutex.
// Limits   kSlots keys; a later one may take an earlier one's place among the sightings. Counts end at kMany and stay
//          there: then a search is made that could have been spared.
// Errors   none. Two keys of one slot with the same 15 bits are taken for one by seen(); may_have() is never false for
//          what has been stored, but for a moment on other workers, where that is a miss.
// Threads  any; added() and removed() under the mutex of the key's shard, which is the same for all keys of a slot.
// Source   our own; docs/life_of_a_query.md, "The query cache".
#pragma once
#include <atomic>
#include <cstdint>
#include <memory>

#include "base/hash.h"

namespace herdgate::cache {

class Sightings {
 public:
  static constexpr std::size_t kSlots = 1 << 16;
  static constexpr std::uint16_t kMany = 0xffff;
  Sightings() : slots_(std::make_unique<Slot[]>(kSlots)) {}
  bool seen(const Hash128& key) const { return slot(key).mark.load(std::memory_order_relaxed) == mark(key); }
  void note(const Hash128& key) { slot(key).mark.store(mark(key), std::memory_order_relaxed); }
  bool may_have(const Hash128& key) const { return slot(key).stored.load(std::memory_order_relaxed) != 0; }
  void added(const Hash128& key) { change(key, 1); }
  void removed(const Hash128& key) { change(key, -1); }

 private:
  struct Slot {
    std::atomic<std::uint16_t> mark{0}, stored{0};
  };
  Slot& slot(const Hash128& key) const { return slots_[key.hi % kSlots]; }
  static std::uint16_t mark(const Hash128& key) { return static_cast<std::uint16_t>(key.lo) | 1; }  // 0: nobody
  void change(const Hash128& key, int by) {
    std::atomic<std::uint16_t>& stored = slot(key).stored;
    const std::uint16_t now = stored.load(std::memory_order_relaxed);
    if (now != kMany) stored.store(static_cast<std::uint16_t>(now + by), std::memory_order_relaxed);
  }
  std::unique_ptr<Slot[]> slots_;
};

}  // namespace herdgate::cache
