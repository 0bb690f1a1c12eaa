// What the store knows of the tables of one database: who is in doubt, when each changed last, which entries hang on
// it. Internal to this module.
//
// Shape    begin() gives the entries that must go; admits() says whether a read's answer may be stored.
// Limits   see Store.
// Threads  every member under `mutex`, except `generation`: an entry made under another one is dead.
#pragma once
#include <atomic>
#include <mutex>
#include <unordered_map>
#include <vector>

#include "cache/store.h"

namespace herdgate::cache {

// A place in a shard and the stamp of what was put there: 4 bits shard, 28 bits slot, 32 bits stamp.
using Ref = std::uint64_t;
inline constexpr std::size_t kMaxSlots = 1u << 28;

struct Changes {
  int in_doubt = 0;
  std::uint64_t last = 0;        // sequence of the last change
  TimePoint last_at{}, until{};  // when; and how long after an unknown outcome nothing is stored
  bool admits(const Fill& fill, TimePoint now) const {
    if (in_doubt > 0 || fill.began < last || now < until) return false;
    return !fill.seen_to || last == 0 || last_at < *fill.seen_to;
  }
  void end(bool known, std::uint64_t sequence, TimePoint now) {
    --in_doubt;
    last = sequence;
    last_at = now;
    if (!known) until = now + Doubt::kUnknownLingers;
  }
};

struct Table {
  Changes changes;
  std::vector<Ref> refs;  // also of entries that have gone since; swept when it has grown to sweep_at
  static constexpr std::size_t kFirstSweep = 64;
  std::size_t sweep_at = kFirstSweep;
};

struct Database {
  std::mutex mutex;
  std::atomic<std::uint64_t> generation{1};
  Changes whole;   // of changes that may concern any table
  Changes others;  // of tables that are not in `tables` any more
  std::unordered_map<std::uint32_t, Table> tables;

  bool admits(const Fill& fill, TimePoint now) const {
    if (!whole.admits(fill, now)) return false;
    for (const std::uint32_t oid : fill.tables) {
      const auto at = tables.find(oid);
      if (!(at == tables.end() ? others : at->second.changes).admits(fill, now)) return false;
    }
    return true;
  }
  Table& table(std::uint32_t oid) {
    const auto at = tables.find(oid);
    if (at != tables.end()) return at->second;
    if (tables.size() >= Store::kMaxTables) forget();
    Table& made = tables[oid];
    made.changes = others;
    return made;
  }
  // All that are not in doubt. What hangs on them is dead from here on, for nobody knows any more that it does.
  void forget() {
    ++generation;
    std::erase_if(tables, [this](const auto& known) {
      const Changes& c = known.second.changes;
      if (c.in_doubt > 0) return false;
      others.last = std::max(others.last, c.last);
      others.last_at = std::max(others.last_at, c.last_at);
      others.until = std::max(others.until, c.until);
      return true;
    });
  }
};

}  // namespace herdgate::cache
