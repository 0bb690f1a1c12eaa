// The answers that are kept, in the memory of this process: bounded, shared by all workers, and true.
//
// Shape    Readers: now() when the read is planned, find() for a hit, put() with what the server sent. Writers: a Doubt
//          over what they may change, from before the sending of what commits it until its outcome is known. At its
//          beginning the entries go; while it lasts, and for reads that began before its end, nothing is stored.
//          So no entry outlives a change that any client can have seen.
// Units    sequence: counts the ends of doubts; a read that began at n knows of the changes up to n.
// Limits   total_bytes and max_entries, by second chance: what was used since the hand's last round stays once more;
//          max_answer_bytes for one answer; kMaxDatabases (further names share a database with another), kMaxTables
//          (beyond it those not in doubt are forgotten, the database's entries go, and reads that began earlier are
//          refused), kMaxPrepared transactions.
//          A doubt lets others at its database each time when kDroppedAtOnce entries have gone.
// Errors   none: what does not fit or is in doubt is not stored.
// Threads  any. One mutex per shard for hits, one per database for stores and writers, held for map operations and the
//          dropping of kDroppedAtOnce entries. Order: databases, one database, one shard. Each of several writers of a
//          table goes on when all of its entries have gone, whoever drops them.
// Source   Pgpool-II 4.6 manual, "In Memory Query Cache"; docs/life_of_a_query.md, "The query cache".
#pragma once
#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "base/clock.h"
#include "base/hash.h"
#include "cache/effects.h"
#include "cache/sightings.h"

namespace herdgate::cache {

// Whole messages: RowDescription first (`head_bytes`, 0: there is none), then the rows and CommandComplete.
struct Answer {
  std::shared_ptr<const char[]> bytes;
  std::uint32_t size = 0, head_bytes = 0;
  ByteView head() const { return {bytes.get(), head_bytes}; }
  ByteView rest() const { return {bytes.get() + head_bytes, size - head_bytes}; }
};

// With memcached: what an entry stands on, as it was known before its read was sent.
struct Footing {
  std::uint64_t epoch = 0;
  std::uint64_t nonce = 0;              // of its text; 0: not known
  std::vector<std::uint64_t> counters;  // of everything, of the database, of its tables in their order
};

// A read whose answer came whole.
struct Fill {
  Hash128 key, text;  // text: see text_key()
  std::string database;
  std::vector<std::uint32_t> tables;
  std::uint64_t began = 0;           // now() when it was planned
  std::optional<TimePoint> seen_to;  // from a standby: it had replayed whatever was committed before this moment
  Bytes head, rest;
  Footing footing;
};

struct Figures {
  std::uint64_t hits = 0, selects = 0;  // selects: SELECTs that a server answered
  std::uint64_t passed = 0;             // of these not kept, as nobody had asked for them before (admission.h)
  std::size_t entries = 0, entry_slots = 0, used_bytes = 0, free_bytes = 0;
};

// What one worker counts, in a line of its own, so that workers do not wait for each other's. Read by any.
struct alignas(64) Tally {
  std::atomic<std::uint64_t> hits{0};  // found in memcached
  std::atomic<std::uint64_t> selects{0}, passed{0};
  static void count(std::atomic<std::uint64_t>& one) {
    one.store(one.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
  }
};

class Store;
struct Database;
struct Table;

// While it lives, what it covers is in doubt. Unless it was told the outcome, it ends as unknown: then the server may
// still be working, and what was in doubt stays out of the cache for kUnknownLingers.
class Doubt {
 public:
  static constexpr Duration kUnknownLingers = std::chrono::minutes(10);
  Doubt() = default;
  ~Doubt() { end(/*known=*/false); }
  Doubt(Doubt&& other) noexcept { *this = std::move(other); }
  Doubt& operator=(Doubt&& other) noexcept;
  void end(bool known);
  bool active() const { return store_ != nullptr; }

 private:
  friend class Store;
  Store* store_ = nullptr;
  Database* database_ = nullptr;
  Scope scope_;
};

class Store {
 public:
  static constexpr std::size_t kShards = 16, kMaxDatabases = 1000, kMaxTables = 100'000, kMaxPrepared = 10'000;
  static constexpr std::size_t kDroppedAtOnce = 256;
  static constexpr std::size_t kEntryOverhead = 184;  // a slot, its places in index and tables, the allocation's head
  struct Options {
    std::size_t total_bytes = 64 << 20, max_entries = 1'000'000, max_answer_bytes = 400 << 10;
    std::chrono::seconds expire{0};  // 0: never
  };
  Store(const Clock& clock, Options options);
  ~Store();
  Store(const Store&) = delete;
  Store& operator=(const Store&) = delete;

  std::size_t max_answer_bytes() const { return options_.max_answer_bytes; }
  std::uint64_t now() const { return sequence_.load(std::memory_order_acquire); }
  std::optional<Answer> find(const Hash128& key);
  // `home`: home(fill.database), where the caller has it.
  bool put(const Fill& fill, Database* home = nullptr);
  Database* home(std::string_view database) { return this->database(database); }  // for good
  Doubt doubt(std::string_view database, Scope scope);
  void outdate();  // everything, and every read under way; quick
  void flush();    // the same, and the memory is given back
  std::size_t remove(const Hash128& text);
  Tally& tally();  // a new one, for as long as the store lives
  Sightings& sightings() { return sightings_; }
  Figures figures() const;

  // What a prepared transaction changes when it is committed. Of one that is not known, nobody knows what.
  void keep_prepared(std::string_view database, std::string_view gid, Scope scope);
  std::optional<Scope> take_prepared(std::string_view database, std::string_view gid);

 private:
  friend class Doubt;
  struct Shard;
  Database* database(std::string_view name);
  bool admits(Database& database, const Fill& fill) const;
  void end(const Doubt& doubt, bool known);
  void begin_all();
  void end_all(bool known);
  bool make_room(std::size_t first_shard, std::size_t bytes, TimePoint now);
  void sweep(Table& table);
  bool drop_some(Table& table);
  void drop_all(Database& database, const std::vector<std::uint32_t>& oids, std::unique_lock<std::mutex>& lock);

  const Clock& clock_;
  const Options options_;
  // Read by every look-up, changed by none.
  alignas(64) std::atomic<std::uint64_t> sequence_{0};
  Sightings sightings_;
  std::unique_ptr<Shard[]> shards_;
  // Changed by what is stored.
  alignas(64) std::atomic<std::size_t> bytes_{0}, entries_{0};
  mutable std::mutex tallies_mutex_;
  std::vector<std::unique_ptr<Tally>> tallies_;
  mutable std::mutex databases_mutex_;
  std::map<std::string, std::unique_ptr<Database>, std::less<>> databases_;
  std::mutex prepared_mutex_;
  std::map<std::pair<std::string, std::string>, Scope> prepared_;
  std::atomic<int> all_in_doubt_{0};
};

}  // namespace herdgate::cache
