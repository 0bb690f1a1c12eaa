// One part of the store: slots, an index over them, and the hand that looks for what may go. Internal to this module.
//
// Shape    find(), insert(), erase(), evict(). The index is an open table of slot numbers, found by the key's octets.
//          Some of these stand beside the number, so that a search reads no slot but the one it looks for.
// Threads  every member under `mutex`.
#pragma once
#include <cstdint>
#include <mutex>
#include <vector>

#include "cache/database.h"

namespace herdgate::cache {

struct Slot {
  Hash128 key, text;
  Answer answer;
  const Database* database = nullptr;  // null: free
  std::uint64_t generation = 0;
  TimePoint expires = TimePoint::max();
  std::uint32_t stamp = 0;  // counts what has been put here
  bool used = false;        // since the hand came by
  bool dead(TimePoint now) const {
    return generation != database->generation.load(std::memory_order_acquire) || now >= expires;
  }
  std::size_t bytes() const { return answer.size + Store::kEntryOverhead; }
};

struct alignas(64) Store::Shard {
  struct Place {
    std::uint32_t slot = 0;  // 0: nothing; else its number + 1
    std::uint32_t mark = 0;  // of its key
  };
  // What a miss needs fills the first line of the processor's cache.
  std::mutex mutex;
  std::vector<Place> index;
  std::vector<Slot> slots;
  std::uint64_t hits = 0;
  std::size_t filled = 0;
  std::vector<std::uint32_t> free;
  std::size_t hand = 0;
  Sightings* sightings = nullptr;  // of the store; told of each entry that comes or goes

  Slot* find(const Hash128& key);
  std::uint32_t insert(Slot&& slot);
  std::size_t erase(std::uint32_t slot);  // gives the octets that it held
  // Frees the first entry that was not used since the hand's last round; 0: there is none.
  std::size_t evict(TimePoint now);

 private:
  static std::uint32_t mark_of(const Hash128& key) { return static_cast<std::uint32_t>(key.hi >> 32); }
  std::size_t place_of(const Hash128& key) const;
  void grow();
};

}  // namespace herdgate::cache
