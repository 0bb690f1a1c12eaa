// A bounded memory of things that are true for a while: each entry has an end, and the number of entries a bound.
//
// Shape    put() with the time until which the entry counts; find() gives nothing that is older.
// Limits   at most `bound` entries: two generations of half that size. When the younger one is full, the older one goes
//          as a whole. So no entry is ever searched for, and a flood of new keys costs no more than each key itself.
// Threads  none of its own.
#pragma once
#include <map>
#include <optional>
#include <utility>

#include "base/clock.h"

namespace herdgate::session {

template <class Key, class Value>
class AgedMap {
 public:
  explicit AgedMap(std::size_t bound) : half_(bound < 2 ? 1 : bound / 2) {}

  // A copy, because the entry may go while it is used.
  template <class Like>  // Key, or what compares with it: a view of it that copies nothing
  std::optional<Value> find(const Like& key, TimePoint now) const {
    for (const Generation* generation : {&young_, &old_}) {
      const auto it = generation->find(key);
      if (it != generation->end())
        return it->second.until > now ? std::optional<Value>(it->second.value) : std::nullopt;
    }
    return std::nullopt;
  }
  void put(const Key& key, Value value, TimePoint until) {
    old_.erase(key);
    if (young_.size() >= half_ && !young_.contains(key)) old_ = std::exchange(young_, {});
    young_.insert_or_assign(key, Entry{std::move(value), until});
  }
  void erase(const Key& key) {
    young_.erase(key);
    old_.erase(key);
  }
  void clear() {
    young_.clear();
    old_.clear();
  }
  std::size_t size() const { return young_.size() + old_.size(); }

 private:
  struct Entry {
    Value value;
    TimePoint until;
  };
  using Generation = std::map<Key, Entry, std::less<>>;
  std::size_t half_;
  Generation young_, old_;
};

}  // namespace herdgate::session
