#include "cache/remote.h"

#include <algorithm>

#include "base/entropy.h"
#include "cache/remote_counter.h"

namespace herdgate::cache {
namespace {

std::uint64_t random_seed() {
  std::uint64_t seed = 0;
  fill_random({reinterpret_cast<char*>(&seed), sizeof seed});
  return seed;
}

// A name of which memcached takes it, whatever a database is called.
Hash128 digest(const HashKey& key, char kind, std::string_view name) {
  Bytes parts(1, kind);
  parts += name;
  return hash128(key, parts);
}

std::string epoch_name(const std::string& space) {
  constexpr std::string_view kName = "herdgate-epoch-1";
  if (space.empty()) return std::string(kName);
  return fmt::format("{}-{}", kName, digest(HashKey{}, 's', space).hex());
}

using Patience = MemcachedLink::Patience;

}  // namespace

// Told under the lock: who hears the same a moment later goes on by it.
void Sharing::hear_epoch(std::uint64_t epoch) {
  const std::lock_guard lock(heard.mutex);
  if (epoch == 0 || epoch == heard.epoch) return;
  heard.epoch = epoch;
  heard.all = 0;
  heard.numbers.clear();
  tell({});
}

void Sharing::hear_number(std::uint64_t epoch, std::string_view database, std::uint64_t number,
                          std::uint64_t added_by_us) {
  const std::lock_guard lock(heard.mutex);
  if (epoch != heard.epoch) return tell(database);
  if (heard.numbers.size() >= Remote::kMaxDefinitions) heard.numbers.clear();
  const auto [at, fresh] = heard.numbers.try_emplace(std::string(database), number);
  const std::uint64_t before = std::exchange(at->second, number);
  if (fresh || (before != number && before + added_by_us != number)) tell(database);
}

// One that is less is older: each change adds to it.
void Sharing::hear_count(std::uint64_t epoch, std::uint64_t count, std::uint64_t added_by_us) {
  const std::lock_guard lock(heard.mutex);
  if (epoch != heard.epoch) return tell({});
  if (birth_of(count) == birth_of(heard.all) && count <= heard.all) return;
  if (std::exchange(heard.all, count) + added_by_us != count) tell({});
}

Remote::Remote(net::Loop& loop, net::BlockingPool& blocking, Log& log, Sharing& sharing)
    : loop_(loop),
      log_(log),
      sharing_(sharing),
      link_({.loop = loop,
             .blocking = blocking,
             .to = sharing.to,
             .most_value_bytes = sharing.max_answer_bytes + entry_overhead(kMaxTablesOfEntry),
             .hooks = {.up = [this] { link_up(); },
                       .troubled = [this](const std::string& why) { troubled(why); },
                       .lost = [this] { link_lost(); }}}),
      random_(random_seed()),
      epoch_key_(epoch_name(sharing.space)) {}

Remote::~Remote() { loop_.cancel(tick_timer_); }

void Remote::start() {
  link_.start();
  tick();
}

// Once in a while: what is owed, what was marked long ago, and whether memcached is still there.
void Remote::tick() {
  tick_timer_ = loop_.after(kTick, [this] { tick(); });
  ticked_ = loop_.now();
  pay();
  check_marks();
  if (link_.up() && link_.quiet()) ask_epoch();
}

void Remote::link_up() {
  ask_epoch();
  pay();
}

// Something may have been changed of which memcached has not heard, by us or by others who have lost it as well.
void Remote::link_lost() {
  ++sharing_.owed;
  forget_births();
}

void Remote::forget_births() {
  for (auto& [id, open] : open_) {
    counts_as_unmarked(open, true);
    for (auto& birth : open.births) birth.reset();
  }
}

// Once a minute at most, and no "back" without it.
void Remote::troubled(const std::string& why) {
  Sharing::Telling& telling = sharing_.telling;
  const std::lock_guard lock(telling.mutex);
  if (!std::exchange(in_trouble_, true)) ++telling.in_trouble;
  if (telling.told_at && loop_.now() - *telling.told_at < kSaysEach) return;
  telling.told = true;
  telling.told_at = loop_.now();
  HG_LOG(log_, who_, Level::warning, "memcached is in trouble, the query cache is passed by: {}", why);
}

// The last of the workers says it: until then some sessions pass the cache by.
void Remote::well() {
  if (!in_trouble_ || !sharing_.usable() || !link_.quick()) return;
  Sharing::Telling& telling = sharing_.telling;
  const std::lock_guard lock(telling.mutex);
  in_trouble_ = false;
  if (--telling.in_trouble == 0 && std::exchange(telling.told, false))
    HG_LOG(log_, who_, Level::log, "memcached is back, the query cache is in use");
}

// The epoch is a part of every name: whoever changes it has emptied the cache.

void Remote::ask_epoch() {
  link_.ask({.keys = {epoch_key()}}, Patience::full, [this](const MemcachedAnswer& answer) {
    if (answer.ok) see_epoch(answer.values[0]);
  });
}

// False: what else the same answer says is of another epoch, or of none.
bool Remote::see_epoch(const std::optional<Bytes>& value) {
  const std::optional<std::uint64_t> now = value ? decimal(*value) : std::nullopt;
  if (!now || *now == 0) {
    adopt(0);
    make_epoch(/*remove_old=*/value.has_value());
    return false;
  }
  if (*now != epoch_) {
    adopt(*now);
    return false;
  }
  well();
  return true;
}

// It was lost, or there never was one. Whoever comes first makes it.
void Remote::make_epoch(bool remove_old) {
  MemcachedRequest request;
  if (remove_old) request.remove(epoch_key());
  request.add(epoch_key(), std::to_string(random_.bits() >> 1 | 1));
  request.keys = {epoch_key()};
  link_.ask(std::move(request), Patience::full, [this](const MemcachedAnswer& answer) {
    const std::optional<std::uint64_t> made = answer.ok && answer.values[0] ? decimal(*answer.values[0]) : std::nullopt;
    if (made && *made != 0) adopt(*made);
  });
}

void Remote::adopt(std::uint64_t epoch) {
  if (epoch == epoch_) return;
  epoch_ = epoch;
  all_name_ = counter_name(counter_of_all());
  known_.clear();
  definitions_.clear();
  sharing_.hear_epoch(epoch);
  hints_.clear();
  forget_births();
  check_marks();
}

void Remote::pay() {
  const std::uint64_t owed = sharing_.owed.load();
  if (sharing_.paid.load() >= owed || !link_.up()) return;
  MemcachedRequest request;
  request.increase(epoch_key(), 1);
  request.add(epoch_key(), std::to_string(random_.bits() >> 1 | 1));
  request.keys = {epoch_key()};
  link_.ask(std::move(request), Patience::full, [this, owed](const MemcachedAnswer& answer) {
    if (!answer.ok) return;
    const bool changed =
        answer.lines[0].kind == MemcachedReply::number || answer.lines[1].kind == MemcachedReply::stored;
    const auto now = answer.values[0] ? decimal(*answer.values[0]) : std::nullopt;
    if (!changed || !now || *now == 0) return;
    adopt(*now);
    std::uint64_t paid = sharing_.paid.load();
    while (paid < owed && !sharing_.paid.compare_exchange_weak(paid, owed)) {
    }
    well();
  });
}

// Not there: it was evicted, maybe with what it would have said. What is seen first may be news too.
void Remote::see_definitions(std::string_view database, const std::optional<Bytes>& value) {
  const auto known = definitions_.find(database);
  const std::optional<std::uint64_t> now = value ? decimal(*value) : std::nullopt;
  if (now && known != definitions_.end() && known->second == *now) return;
  if (now) {
    know_definitions(database, *now);
    return sharing_.hear_number(epoch_, database, *now);
  }
  if (known != definitions_.end()) definitions_.erase(known);
  MemcachedRequest request;
  if (value) request.remove(definitions_name(database));
  request.add(definitions_name(database), std::to_string(random_.bits()));
  link_.ask(std::move(request), Patience::full, nullptr);
  sharing_.tell(database);
}

// At the end of what is asked for with a mark.
void Remote::ask_definitions(MemcachedRequest& request, std::string_view database) const {
  request.keys.insert(request.keys.end(), {definitions_name(database), all_name_, epoch_key()});
}

// False: what was asked in `epoch` says nothing, memcached has not answered or there is another one.
bool Remote::hear_definitions(std::string_view database, std::uint64_t epoch, const MemcachedAnswer& answer) {
  if (!answer.ok || !see_epoch(answer.values.back()) || epoch != epoch_) return false;
  const std::size_t first = answer.values.size() - 3;
  see_definitions(database, answer.values[first]);
  if (!see(all_name_, answer.values[first + 1])) {
    sharing_.tell({});
    make_counters({all_name_});
  }
  return true;
}

Remote::Definitions Remote::known_definitions(std::string_view database) const {
  Definitions known;
  if (const auto at = definitions_.find(database); at != definitions_.end()) known.number = at->second;
  if (const auto at = known_.find(all_name_); at != known_.end()) known.all = at->second.value;
  return known;
}

void Remote::know_definitions(std::string_view database, std::uint64_t number) {
  if (definitions_.size() >= kMaxDefinitions) definitions_.clear();
  definitions_.insert_or_assign(std::string(database), number);
}

// Ahead of the doubts' end on the same connection: who sees the one sees the other.
// Where the outcome is unknown this process has not told itself when the server was done.
void Remote::say_definitions(const Open& open) {
  const bool of_all = open.counters == Names{counter_of_all()};
  if (open.until) sharing_.tell(of_all ? std::string_view() : open.database);
  if (!of_all) return say_definitions(open.database);
  if (open.births[0]) return;  // the end says it to the others
  MemcachedRequest request;
  request.increase(all_name_, kOneChange);  // somebody has made it meanwhile; else it is news when it comes
  if (epoch_ == 0 || !link_.ask(std::move(request), Patience::full, nullptr)) ++sharing_.owed;
}

// Unless it is said in the epoch that everybody is in, nobody hears it.
void Remote::say_definitions(const std::string& database) {
  MemcachedRequest request;
  request.increase(definitions_name(database), 1);
  request.add(definitions_name(database), std::to_string(random_.bits()));
  request.keys = {epoch_key()};
  const auto done = [this, database, epoch = epoch_](const MemcachedAnswer& answer) {
    if (!answer.ok) return;  // with the connection: a flush is owed
    if (!see_epoch(answer.values[0]) || epoch != epoch_) return say_definitions(database);
    definitions_said(database, answer);
  };
  if (epoch_ == 0 || !link_.ask(std::move(request), Patience::full, done)) ++sharing_.owed;
}

// Another number than the next one: somebody else has defined something too.
void Remote::definitions_said(const std::string& database, const MemcachedAnswer& answer) {
  const MemcachedAnswer::Line& increased = answer.lines[0];
  if (increased.kind == MemcachedReply::number) {
    know_definitions(database, increased.count);
    return sharing_.hear_number(epoch_, database, increased.count, 1);
  }
  if (answer.lines[1].kind != MemcachedReply::stored) ++sharing_.owed;
  sharing_.tell(database);
}

std::string Remote::wire_name(char kind, std::string_view name) const {
  return fmt::format("hg{}{}", kind, digest(hash_key(), kind, name).hex());
}

std::string Remote::counter_of(std::string_view database, std::uint32_t table) {
  return fmt::format("t{} {}", table, database);
}

Remote::Names Remote::counters_of(std::string_view database, const std::vector<std::uint32_t>& tables) {
  Names names{counter_of_all(), counter_of(database)};
  for (const std::uint32_t table : tables) names.push_back(counter_of(database, table));
  return names;
}

Remote::Names Remote::wire_names(const Names& counters) const {
  Names names;
  names.reserve(counters.size() + 1);
  for (const std::string& counter : counters) names.push_back(counter_name(counter));
  return names;
}

}  // namespace herdgate::cache
