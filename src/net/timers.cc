#include "net/timers.h"

#include <utility>

namespace herdgate::net {

bool Timers::earlier(std::uint32_t a, std::uint32_t b) const {
  const Slot &x = slots_[a], &y = slots_[b];
  return x.at != y.at ? x.at < y.at : x.sequence < y.sequence;
}

void Timers::put(std::uint32_t place, std::uint32_t slot) {
  heap_[place] = slot;
  slots_[slot].place = place;
}

void Timers::rise(std::uint32_t place) {
  const std::uint32_t slot = heap_[place];
  while (place > 0 && earlier(slot, heap_[(place - 1) / 2])) {
    put(place, heap_[(place - 1) / 2]);
    place = (place - 1) / 2;
  }
  put(place, slot);
}

void Timers::sink(std::uint32_t place) {
  const std::uint32_t slot = heap_[place];
  const auto size = static_cast<std::uint32_t>(heap_.size());
  for (;;) {
    std::uint32_t child = place * 2 + 1;
    if (child >= size) break;
    if (child + 1 < size && earlier(heap_[child + 1], heap_[child])) ++child;
    if (!earlier(heap_[child], slot)) break;
    put(place, heap_[child]);
    place = child;
  }
  put(place, slot);
}

Timers::Id Timers::add(TimePoint at, std::function<void()> work) {
  if (free_.empty()) {
    free_.push_back(static_cast<std::uint32_t>(slots_.size()));
    slots_.emplace_back();
  }
  const std::uint32_t number = free_.back();
  free_.pop_back();
  Slot& slot = slots_[number];
  slot.at = at;
  slot.sequence = sequence_++;
  slot.used = true;
  slot.work = std::move(work);
  heap_.push_back(number);
  rise(static_cast<std::uint32_t>(heap_.size() - 1));
  return static_cast<Id>(slot.generation) << 32 | (number + 1);
}

std::function<void()> Timers::drop(std::uint32_t number) {
  Slot& slot = slots_[number];
  const std::uint32_t place = slot.place, last = heap_.back();
  heap_.pop_back();
  if (last != number) {
    put(place, last);
    rise(place);
    sink(slots_[last].place);
  }
  slot.used = false;
  if (++slot.generation == 0) slot.generation = 1;
  free_.push_back(number);
  return std::exchange(slot.work, nullptr);
}

void Timers::remove(Id id) {
  const auto number = static_cast<std::uint32_t>(id) - 1;
  if (id == 0 || number >= slots_.size()) return;
  if (slots_[number].used && slots_[number].generation == id >> 32) drop(number);
}

std::function<void()> Timers::take_due(TimePoint now, std::uint64_t mark) {
  if (heap_.empty()) return nullptr;
  const Slot& first = slots_[heap_.front()];
  // A timer added later than `mark` with an earlier time than the rest waits, with all behind it, for the next turn.
  if (first.at > now || first.sequence >= mark) return nullptr;
  return drop(heap_.front());
}

}  // namespace herdgate::net
