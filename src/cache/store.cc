#include "cache/store.h"

#include <algorithm>
#include <bit>
#include <thread>
#include <utility>

#include "cache/shard.h"

namespace herdgate::cache {
namespace {

constexpr int kStampBits = 32, kSlotBits = 28;

Ref ref_of(std::size_t shard, std::uint32_t slot, std::uint32_t stamp) {
  return (static_cast<Ref>(shard) << kSlotBits | slot) << kStampBits | stamp;
}
std::size_t shard_of(Ref ref) { return ref >> (kStampBits + kSlotBits); }
std::uint32_t slot_of(Ref ref) { return static_cast<std::uint32_t>(ref >> kStampBits) & (kMaxSlots - 1); }
std::uint32_t stamp_of(Ref ref) { return static_cast<std::uint32_t>(ref); }

std::size_t shard_of(const Hash128& key) { return key.hi % Store::kShards; }

Answer answer_of(const Fill& fill) {
  const std::size_t size = fill.head.size() + fill.rest.size();
  const std::shared_ptr<char[]> bytes = std::make_shared_for_overwrite<char[]>(size);
  std::copy(fill.head.begin(), fill.head.end(), bytes.get());
  std::copy(fill.rest.begin(), fill.rest.end(), bytes.get() + fill.head.size());
  return {bytes, static_cast<std::uint32_t>(size), static_cast<std::uint32_t>(fill.head.size())};
}

}  // namespace

Doubt& Doubt::operator=(Doubt&& other) noexcept {
  if (this == &other) return *this;
  end(/*known=*/false);
  store_ = std::exchange(other.store_, nullptr);
  database_ = other.database_;
  scope_ = std::move(other.scope_);
  return *this;
}

void Doubt::end(bool known) {
  if (Store* store = std::exchange(store_, nullptr)) store->end(*this, known);
}

Store::Store(const Clock& clock, Options options)
    : clock_(clock), options_(options), shards_(std::make_unique<Shard[]>(kShards)) {
  for (std::size_t i = 0; i < kShards; ++i) shards_[i].sightings = &sightings_;
}
Store::~Store() = default;

// Never removed: entries and doubts point to it. Null: there are too many.
Database* Store::database(std::string_view name) {
  const std::lock_guard lock(databases_mutex_);
  const auto known = databases_.find(name);
  if (known != databases_.end()) return known->second.get();
  // Names come and go. Those that came too late share what others have: they end each other's entries, no more.
  if (databases_.size() >= kMaxDatabases)
    return std::next(databases_.begin(), static_cast<long>(std::hash<std::string_view>{}(name) % kMaxDatabases))
        ->second.get();
  auto made = std::make_unique<Database>();
  // A read that began before it was known may have begun before a change of everything.
  made->whole.last = now();
  made->whole.last_at = clock_.now();
  return databases_.emplace(std::string(name), std::move(made)).first->second.get();
}

std::optional<Answer> Store::find(const Hash128& key) {
  if (!sightings_.may_have(key)) return std::nullopt;
  const TimePoint now = options_.expire.count() > 0 ? clock_.now() : TimePoint{};
  Shard& shard = shards_[shard_of(key)];
  const std::lock_guard lock(shard.mutex);
  Slot* slot = shard.find(key);
  if (slot == nullptr || slot->dead(now)) return std::nullopt;
  slot->used = true;
  ++shard.hits;
  return slot->answer;
}

bool Store::put(const Fill& fill, Database* home) {
  const std::size_t size = fill.head.size() + fill.rest.size();
  if (size > options_.max_answer_bytes) return false;
  Database* into = home != nullptr ? home : database(fill.database);
  const TimePoint now = clock_.now();
  Slot slot{.key = fill.key, .text = fill.text, .answer = answer_of(fill), .database = into};
  if (options_.expire.count() > 0) slot.expires = now + options_.expire;
  const std::size_t at = shard_of(fill.key);
  if (!make_room(at, slot.bytes(), now)) return false;
  const std::size_t bytes = slot.bytes();
  const std::lock_guard lock(into->mutex);
  // Between the look at the doubts and the last of these lines no doubt can begin: it needs the same mutex.
  const bool admitted = all_in_doubt_.load(std::memory_order_acquire) == 0 && into->admits(fill, now);
  if (!admitted) {
    bytes_ -= bytes, --entries_;
    return false;
  }
  slot.generation = into->generation.load(std::memory_order_relaxed);
  Shard& shard = shards_[at];
  Ref ref = 0;
  {
    const std::lock_guard shard_lock(shard.mutex);
    if (Slot* old = shard.find(fill.key)) {
      bytes_ -= shard.erase(static_cast<std::uint32_t>(old - shard.slots.data()));
      --entries_;
    }
    const std::uint32_t place = shard.insert(std::move(slot));
    ref = ref_of(at, place, shard.slots[place].stamp);
  }
  for (const std::uint32_t oid : fill.tables) {
    Table& table = into->table(oid);
    table.refs.push_back(ref);
    if (table.refs.size() >= table.sweep_at) sweep(table);
  }
  return true;
}

// Entries of the table that have gone since, by eviction or because their keys were stored anew.
void Store::sweep(Table& table) {
  std::erase_if(table.refs, [&](Ref ref) {
    Shard& shard = shards_[shard_of(ref)];
    const std::lock_guard lock(shard.mutex);
    const Slot& there = shard.slots[slot_of(ref)];
    return there.database == nullptr || there.stamp != stamp_of(ref);
  });
  table.sweep_at = std::max(Table::kFirstSweep, 2 * table.refs.size());
}

// Takes the room first, then evicts until the limits hold again: two who store at once cannot both take the last.
bool Store::make_room(std::size_t first_shard, std::size_t bytes, TimePoint now) {
  if (bytes > options_.total_bytes || options_.max_entries == 0) return false;
  bytes_ += bytes, ++entries_;
  const auto over = [&] { return bytes_ > options_.total_bytes || entries_ > options_.max_entries; };
  for (std::size_t i = 0; i < kShards && over(); ++i) {
    Shard& shard = shards_[(first_shard + i) % kShards];
    const std::lock_guard lock(shard.mutex);
    while (over()) {
      const std::size_t freed = shard.evict(now);
      if (freed == 0) break;
      bytes_ -= freed, --entries_;
    }
  }
  if (!over()) return true;
  bytes_ -= bytes, --entries_;
  return false;
}

// At most kDroppedAtOnce of the table's entries. True: there are none left.
bool Store::drop_some(Table& table) {
  for (std::size_t i = 0; i < kDroppedAtOnce && !table.refs.empty(); ++i) {
    const Ref ref = table.refs.back();
    table.refs.pop_back();
    Shard& shard = shards_[shard_of(ref)];
    const std::lock_guard lock(shard.mutex);
    const Slot& slot = shard.slots[slot_of(ref)];
    if (slot.database == nullptr || slot.stamp != stamp_of(ref)) continue;
    bytes_ -= shard.erase(slot_of(ref));
    --entries_;
  }
  if (!table.refs.empty()) return false;
  std::vector<Ref>().swap(table.refs);
  table.sweep_at = Table::kFirstSweep;
  return true;
}

// In doubt, a table gets no new entries. Whoever else puts it in doubt meanwhile drops some of the old ones too, and
// goes on when all have gone.
void Store::drop_all(Database& database, const std::vector<std::uint32_t>& oids, std::unique_lock<std::mutex>& lock) {
  for (const std::uint32_t oid : oids) {
    while (!drop_some(database.table(oid))) {
      lock.unlock();
      std::this_thread::yield();
      lock.lock();
    }
  }
}

Doubt Store::doubt(std::string_view name, Scope scope) {
  Doubt doubt;
  if (scope.empty()) return doubt;
  doubt.store_ = this;
  doubt.scope_ = std::move(scope);
  if (doubt.scope_.everything) {
    begin_all();
    return doubt;
  }
  doubt.database_ = this->database(name);
  Database& database = *doubt.database_;
  std::unique_lock lock(database.mutex);
  if (doubt.scope_.database) {
    ++database.whole.in_doubt;
    ++database.generation;
    return doubt;
  }
  for (const std::uint32_t oid : doubt.scope_.tables) ++database.table(oid).changes.in_doubt;
  drop_all(database, doubt.scope_.tables, lock);
  return doubt;
}

void Store::end(const Doubt& doubt, bool known) {
  if (doubt.scope_.everything) return end_all(known);
  if (doubt.database_ == nullptr) return;
  Database& database = *doubt.database_;
  const TimePoint now = clock_.now();
  const std::lock_guard lock(database.mutex);
  const std::uint64_t sequence = ++sequence_;
  if (doubt.scope_.database) return database.whole.end(known, sequence, now);
  for (const std::uint32_t oid : doubt.scope_.tables) database.table(oid).changes.end(known, sequence, now);
}

void Store::begin_all() {
  ++all_in_doubt_;
  const std::lock_guard lock(databases_mutex_);
  for (auto& [name, database] : databases_) {
    const std::lock_guard database_lock(database->mutex);
    ++database->generation;
  }
}

void Store::end_all(bool known) {
  const TimePoint now = clock_.now();
  const std::lock_guard lock(databases_mutex_);
  const std::uint64_t sequence = ++sequence_;
  for (auto& [name, database] : databases_) {
    const std::lock_guard database_lock(database->mutex);
    ++database->whole.in_doubt;
    database->whole.end(known, sequence, now);
  }
  --all_in_doubt_;
}

Tally& Store::tally() {
  const std::lock_guard lock(tallies_mutex_);
  return *tallies_.emplace_back(std::make_unique<Tally>());
}

void Store::outdate() { doubt({}, Scope{.everything = true}).end(/*known=*/true); }

// What is dead already goes for good: whoever asks for that wants to see it, and have its memory.
void Store::flush() {
  outdate();
  const TimePoint now = clock_.now();
  for (std::size_t s = 0; s < kShards; ++s) {
    Shard& shard = shards_[s];
    const std::lock_guard lock(shard.mutex);
    for (std::uint32_t i = 0; i < shard.slots.size(); ++i) {
      if (shard.slots[i].database == nullptr || !shard.slots[i].dead(now)) continue;
      bytes_ -= shard.erase(i);
      --entries_;
    }
  }
}

std::size_t Store::remove(const Hash128& text) {
  std::size_t removed = 0;
  const TimePoint now = clock_.now();
  for (std::size_t s = 0; s < kShards; ++s) {
    Shard& shard = shards_[s];
    const std::lock_guard lock(shard.mutex);
    for (std::uint32_t i = 0; i < shard.slots.size(); ++i) {
      if (shard.slots[i].database == nullptr || shard.slots[i].text != text) continue;
      if (!shard.slots[i].dead(now)) ++removed;
      bytes_ -= shard.erase(i);
      --entries_;
    }
  }
  return removed;
}

Figures Store::figures() const {
  Figures f;
  {
    const std::lock_guard lock(tallies_mutex_);
    for (const std::unique_ptr<Tally>& tally : tallies_) {
      f.hits += tally->hits;
      f.selects += tally->selects;
      f.passed += tally->passed;
    }
  }
  for (std::size_t s = 0; s < kShards; ++s) {
    const std::lock_guard lock(shards_[s].mutex);
    f.hits += shards_[s].hits;
  }
  f.entries = entries_;
  f.entry_slots = std::bit_ceil(std::max<std::size_t>(options_.max_entries, 1));
  f.used_bytes = bytes_;
  f.free_bytes = options_.total_bytes - std::min(options_.total_bytes, f.used_bytes);
  return f;
}

void Store::keep_prepared(std::string_view database, std::string_view gid, Scope scope) {
  const std::lock_guard lock(prepared_mutex_);
  if (prepared_.size() >= kMaxPrepared) prepared_.clear();  // others have finished them, it seems
  prepared_.insert_or_assign({std::string(database), std::string(gid)}, std::move(scope));
}

std::optional<Scope> Store::take_prepared(std::string_view database, std::string_view gid) {
  const std::lock_guard lock(prepared_mutex_);
  const auto at = prepared_.find({std::string(database), std::string(gid)});
  if (at == prepared_.end()) return std::nullopt;
  std::optional<Scope> scope = std::move(at->second);
  prepared_.erase(at);
  return scope;
}

}  // namespace herdgate::cache
