// The timers of one loop: a binary heap whose entries know their place, so that a cancelled timer leaves at once.
//
// Shape    add() -> id; remove(id); take_due(now) hands out, one by one, what is due. Equal times come in order of
//          add(). Setting an idle timer far ahead and cancelling it before it fires, the common case, moves a few
//          entries only, and what was cancelled takes no room (a lazy heap would hold 60 s worth of cancelled timers).
// Threads  belongs to its loop's thread.
#pragma once
#include <cstdint>
#include <functional>
#include <vector>

#include "base/clock.h"

namespace herdgate::net {

class Timers {
 public:
  using Id = std::uint64_t;  // 0 = none; never used twice
  Id add(TimePoint at, std::function<void()> work);
  void remove(Id id);  // 0 and ids that are gone are fine
  bool empty() const { return heap_.empty(); }
  std::size_t size() const { return heap_.size(); }
  TimePoint next() const { return slots_[heap_.front()].at; }
  // A mark between what was added before and what comes later: work that adds a timer of no delay runs a turn later.
  std::uint64_t mark() const { return sequence_; }
  // Empty function: nothing is due at `now` among the timers added before `mark`.
  std::function<void()> take_due(TimePoint now, std::uint64_t mark);

 private:
  struct Slot {
    TimePoint at{};
    std::uint64_t sequence = 0;
    std::uint32_t place = 0, generation = 1;
    bool used = false;
    std::function<void()> work;
  };
  bool earlier(std::uint32_t a, std::uint32_t b) const;
  void put(std::uint32_t place, std::uint32_t slot);
  void rise(std::uint32_t place);
  void sink(std::uint32_t place);
  std::function<void()> drop(std::uint32_t slot);

  std::vector<Slot> slots_;
  std::vector<std::uint32_t> heap_, free_;
  std::uint64_t sequence_ = 0;
};

}  // namespace herdgate::net
