#include "cache/shard.h"

namespace herdgate::cache {

static_assert(Sightings::kSlots % Store::kShards == 0, "all keys of a slot are under one mutex");

// Where the key is in the index, or the free place where it would be.
std::size_t Store::Shard::place_of(const Hash128& key) const {
  const std::size_t mask = index.size() - 1;
  std::size_t at = key.lo & mask;
  const std::uint32_t mark = mark_of(key);
  const auto is = [&](const Place& place) { return place.mark == mark && slots[place.slot - 1].key == key; };
  while (index[at].slot != 0 && !is(index[at])) at = (at + 1) & mask;
  return at;
}

Slot* Store::Shard::find(const Hash128& key) {
  if (index.empty()) return nullptr;
  const std::uint32_t found = index[place_of(key)].slot;
  return found == 0 ? nullptr : &slots[found - 1];
}

// At most three quarters of the index are in use, so that a search ends soon.
void Store::Shard::grow() {
  if ((filled + 1) * 4 <= index.size() * 3) return;
  index.assign(index.empty() ? 64 : index.size() * 2, {});
  for (std::uint32_t i = 0; i < slots.size(); ++i) {
    if (slots[i].database != nullptr) index[place_of(slots[i].key)] = {i + 1, mark_of(slots[i].key)};
  }
}

std::uint32_t Store::Shard::insert(Slot&& slot) {
  grow();
  if (free.empty()) {
    slots.emplace_back();
    free.push_back(static_cast<std::uint32_t>(slots.size() - 1));
  }
  const std::uint32_t at = free.back();
  free.pop_back();
  slot.stamp = slots[at].stamp + 1;
  slots[at] = std::move(slot);
  index[place_of(slots[at].key)] = {at + 1, mark_of(slots[at].key)};
  ++filled;
  sightings->added(slots[at].key);
  return at;
}

std::size_t Store::Shard::erase(std::uint32_t slot) {
  const std::size_t freed = slots[slot].bytes();
  const std::size_t mask = index.size() - 1;
  std::size_t hole = place_of(slots[slot].key);
  index[hole] = {};
  // What was pushed on by it moves up, so that no search ends too early.
  for (std::size_t at = (hole + 1) & mask; index[at].slot != 0; at = (at + 1) & mask) {
    const std::size_t home = slots[index[at].slot - 1].key.lo & mask;
    if (((at - home) & mask) < ((at - hole) & mask)) continue;
    index[hole] = index[at];
    index[at] = {};
    hole = at;
  }
  slots[slot].answer = {};
  slots[slot].database = nullptr;
  sightings->removed(slots[slot].key);
  free.push_back(slot);
  --filled;
  return freed;
}

std::size_t Store::Shard::evict(TimePoint now) {
  for (std::size_t steps = 2 * slots.size(); steps > 0; --steps) {
    hand = hand + 1 < slots.size() ? hand + 1 : 0;
    Slot& slot = slots[hand];
    if (slot.database == nullptr) continue;
    if (slot.dead(now) || !slot.used) return erase(static_cast<std::uint32_t>(hand));
    slot.used = false;
  }
  return 0;
}

}  // namespace herdgate::cache
