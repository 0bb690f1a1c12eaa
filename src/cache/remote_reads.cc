// Readers: look-ups, what an answer stands on, and its storing.
#include <algorithm>

#include "cache/remote.h"
#include "cache/remote_counter.h"

namespace herdgate::cache {
namespace {

using Patience = MemcachedLink::Patience;

}  // namespace

struct Remote::Looking {
  std::string database;
  std::vector<Ask> asks;
  std::uint64_t epoch = 0;
  std::function<void(std::vector<Found>)> done;
  std::map<std::string, std::optional<std::uint64_t>> counters;  // as memcached has just said, by their own names
  Names asked;                                                   // of them, now
  std::vector<std::optional<RemoteEntry>> entries;
  std::vector<std::uint64_t> nonces;
};

// A counter as it was seen. Nothing: it is not there.
std::optional<std::uint64_t> Remote::see(const std::string& wire_name, const std::optional<Bytes>& value) {
  std::string_view figure = value ? std::string_view(*value) : std::string_view();
  while (figure.ends_with(' ')) figure.remove_suffix(1);
  const std::optional<std::uint64_t> count = decimal(figure);
  if (count) {
    see_count(wire_name, *count);
    return count;
  }
  known_.erase(wire_name);
  if (value) {
    MemcachedRequest request;
    request.remove(wire_name);
    link_.ask(std::move(request), Patience::full, nullptr);
  }
  return std::nullopt;
}

void Remote::see_count(const std::string& wire_name, std::uint64_t count, std::uint64_t added_by_us) {
  if (known_.size() >= kMaxKnown) known_.clear();
  const TimePoint now = loop_.clock().now();  // not of the turn: the change may be younger than that
  const auto [at, fresh] = known_.try_emplace(wire_name);
  Known& known = at->second;
  if (wire_name == all_name_ && (fresh || known.value != count)) sharing_.hear_count(epoch_, count, added_by_us);
  if (fresh || birth_of(known.value) != birth_of(count)) {
    known = {.value = count, .since = now, .born_since = now, .doubtful_since = {}};
  } else if (known.value != count) {
    known.value = count;
    known.since = now;
  }
  if (!in_doubt(count)) return known.doubtful_since.reset();
  if (!known.doubtful_since) known.doubtful_since = now, known.doubtful_looks = 0;
  if (++known.doubtful_looks < kDoubtfulLooks || now - *known.doubtful_since < kDoubtEnds) return;
  // Whoever is at work marks the new one; whoever is not left the mark when he died, and has not said what he defined.
  if (wire_name[kKindAt] == kWide) ++sharing_.owed;
  MemcachedRequest request;
  request.remove(wire_name);
  link_.ask(std::move(request), Patience::full, nullptr);
  known_.erase(at);
}

void Remote::hint(const Hash128& key, const std::vector<std::uint32_t>& tables) {
  if (hints_.size() >= kMaxHints) hints_.clear();
  hints_.insert_or_assign(key, tables);
}

bool Remote::look_up(std::string_view database, std::vector<Ask> asks, std::function<void(std::vector<Found>)> done) {
  if (!usable() || asks.size() > kMaxAsks) return false;
  const auto looking = std::make_shared<Looking>();
  looking->database = database;
  looking->epoch = epoch_;
  looking->done = std::move(done);
  MemcachedRequest request;
  std::vector<std::uint32_t> tables;
  for (const Ask& ask : asks) {
    request.keys.push_back(wire_name('v', ask.key));
    request.keys.push_back(wire_name('x', ask.text));
    if (const auto hinted = hints_.find(ask.key); hinted != hints_.end())
      tables.insert(tables.end(), hinted->second.begin(), hinted->second.end());
  }
  std::sort(tables.begin(), tables.end());
  tables.erase(std::unique(tables.begin(), tables.end()), tables.end());
  looking->asks = std::move(asks);
  looking->asked = counters_of(database, tables);
  for (std::string& name : wire_names(looking->asked)) request.keys.push_back(std::move(name));
  request.keys.push_back(definitions_name(database));
  request.keys.push_back(epoch_key());  // last: what was said before it was said in this epoch
  return link_.ask(std::move(request), Patience::short_,
                   [this, looking](MemcachedAnswer answer) { first_answer(looking, std::move(answer)); });
}

// The number of a text; 0: not known. What is no number would stand in the way of a new one for ever.
std::uint64_t Remote::see_nonce(const Hash128& text, const std::optional<Bytes>& value) {
  const std::uint64_t nonce = value ? decimal(*value).value_or(0) : 0;
  if (value && nonce == 0) {
    MemcachedRequest request;
    request.remove(wire_name('x', text));
    link_.ask(std::move(request), Patience::full, nullptr);
  }
  return nonce;
}

// Takes what was said of the counters that were asked for, from the place `first` on.
bool Remote::take_counters(Looking& looking, const MemcachedAnswer& answer, std::size_t first) {
  if (!answer.ok || !see_epoch(answer.values.back()) || looking.epoch != epoch_) return false;
  see_definitions(looking.database, answer.values[answer.values.size() - 2]);
  Names missing;
  for (std::size_t i = 0; i < looking.asked.size(); ++i) {
    const std::string name = counter_name(looking.asked[i]);
    const auto value = see(name, answer.values[first + i]);
    looking.counters[looking.asked[i]] = value;
    if (!value) missing.push_back(name);
  }
  make_counters(missing);
  return true;
}

void Remote::make_counters(const Names& wire_names) {
  if (wire_names.empty()) return;
  MemcachedRequest request;
  for (const std::string& name : wire_names) request.add(name, std::to_string(new_counter(random_.bits())));
  link_.ask(std::move(request), Patience::full, nullptr);
}

void Remote::first_answer(const std::shared_ptr<Looking>& looking, MemcachedAnswer answer) {
  if (!take_counters(*looking, answer, 2 * looking->asks.size())) return looking->done({});
  looking->asked.clear();
  for (std::size_t i = 0; i < looking->asks.size(); ++i) {
    const std::optional<Bytes>& octets = answer.values[2 * i];
    const std::optional<Bytes>& nonce = answer.values[2 * i + 1];
    looking->nonces.push_back(see_nonce(looking->asks[i].text, nonce));
    std::optional<RemoteEntry>& entry = looking->entries.emplace_back();
    if (octets) entry = decode(hash_key(), looking->asks[i].key, *octets);
    if (!entry) continue;
    hint(looking->asks[i].key, entry->tables);
    for (const std::uint32_t table : entry->tables) {
      const std::string counter = counter_of(looking->database, table);
      if (looking->counters.try_emplace(counter).second) looking->asked.push_back(counter);
    }
  }
  if (looking->asked.empty()) return conclude(looking);
  MemcachedRequest request;
  request.keys = wire_names(looking->asked);
  request.keys.push_back(definitions_name(looking->database));
  request.keys.push_back(epoch_key());
  const bool asked = link_.ask(std::move(request), Patience::short_, [this, looking](const MemcachedAnswer& second) {
    if (!take_counters(*looking, second, 0)) return looking->done({});
    conclude(looking);
  });
  if (!asked) looking->done({});
}

void Remote::conclude(const std::shared_ptr<Looking>& looking) {
  std::vector<Found> found(looking->asks.size());
  for (std::size_t i = 0; i < found.size(); ++i) {
    found[i].nonce = looking->nonces[i];
    std::optional<RemoteEntry>& entry = looking->entries[i];
    if (entry && usable() && stands(*looking, *entry, looking->nonces[i])) found[i].answer = std::move(entry->answer);
  }
  looking->done(std::move(found));
}

bool Remote::stands(const Looking& looking, const RemoteEntry& entry, std::uint64_t nonce) {
  if (nonce == 0 || nonce != entry.footing.nonce) return false;
  const Names names = counters_of(looking.database, entry.tables);
  for (std::size_t i = 0; i < names.size(); ++i) {
    const auto at = looking.counters.find(names[i]);
    if (at == looking.counters.end() || at->second != entry.footing.counters[i]) return false;
  }
  return true;
}

bool Remote::learn(std::string_view database, const Hash128& key, const std::vector<std::uint32_t>& tables,
                   std::function<void()> done) {
  const auto hinted = hints_.find(key);
  // Under the same name there may be another table now.
  if (!usable() || (hinted != hints_.end() && hinted->second == tables)) return false;
  hint(key, tables);
  const auto looking = std::make_shared<Looking>();
  looking->database = database;
  looking->epoch = epoch_;
  looking->asked = counters_of(database, tables);
  MemcachedRequest request;
  request.keys = wire_names(looking->asked);
  request.keys.push_back(definitions_name(database));
  request.keys.push_back(epoch_key());
  return link_.ask(std::move(request), Patience::short_,
                   [this, looking, done = std::move(done)](const MemcachedAnswer& answer) {
                     take_counters(*looking, answer, 0);
                     done();
                   });
}

// What is known of the counters may be old: then the entry will not stand. It must never be too new.
std::optional<Footing> Remote::footing(const Fill& fill) const {
  if (!usable()) return std::nullopt;
  Footing footing{.epoch = epoch_, .nonce = fill.footing.nonce, .counters = {}};
  const TimePoint now = loop_.now();
  for (const std::string& name : wire_names(counters_of(fill.database, fill.tables))) {
    const auto at = known_.find(name);
    if (at == known_.end()) return std::nullopt;
    const Known& known = at->second;
    if (in_doubt(known.value) || now - known.born_since < kNewCounterWaits) return std::nullopt;
    // A standby that had replayed all that was committed before we saw this value shows the change that made it.
    if (fill.seen_to && known.since >= *fill.seen_to) return std::nullopt;
    footing.counters.push_back(known.value);
  }
  return footing;
}

void Remote::put(Fill fill) {
  const bool fits =
      fill.head.size() + fill.rest.size() <= max_answer_bytes() && fill.tables.size() <= kMaxTablesOfEntry;
  if (!usable() || fill.footing.epoch != epoch_ || !fits || !link_.room_for_store()) return;
  if (fill.footing.nonce != 0) return store(fill);
  const std::string name = wire_name('x', fill.text);
  MemcachedRequest request;
  request.add(name, std::to_string(random_.bits() | 1));
  request.keys = {name};
  const auto kept = std::make_shared<Fill>(std::move(fill));
  link_.ask(std::move(request), Patience::full, [this, kept](const MemcachedAnswer& answer) {
    if (!answer.ok || kept->footing.epoch != epoch_ || !answer.values[0]) return;
    kept->footing.nonce = decimal(*answer.values[0]).value_or(0);
    if (kept->footing.nonce != 0) store(*kept);
  });
}

void Remote::store(const Fill& fill) {
  MemcachedRequest request;
  request.set(wire_name('v', fill.key), sharing_.expiry, encode(hash_key(), fill));
  link_.ask(std::move(request), Patience::full, nullptr);
}

// An entry stands on its text too: all entries of the text go at once.
bool Remote::remove(const Hash128& text, std::function<void(bool was_there)> done) {
  if (!link_.up() || epoch_ == 0) return false;
  MemcachedRequest request;
  request.remove(wire_name('x', text));
  return link_.ask(std::move(request), Patience::full, [done = std::move(done)](const MemcachedAnswer& answer) {
    done(answer.ok && answer.lines[0].kind == MemcachedReply::deleted);
  });
}

}  // namespace herdgate::cache
