// The LRU in front of the parser. A hit is a keyed hash and a comparison of the whole text: the hash alone would let
// one text pass for another, an unkeyed one would let clients fill one bucket.
#include <list>
#include <unordered_map>

#include "base/hash.h"
#include "sql/facts.h"

namespace herdgate::sql {
namespace {

std::size_t bytes_of(const std::string& text) { return sizeof(std::string) + (text.size() > 15 ? text.capacity() : 0); }

template <class Name>
std::size_t bytes_of(const std::vector<Name>& names) {
  std::size_t bytes = 0;
  for (const Name& n : names) bytes += bytes_of(n.schema) + bytes_of(n.name);
  return bytes;
}

std::size_t bytes_of(const Statement& s) {
  std::size_t bytes = sizeof(Statement) + bytes_of(s.relations) + bytes_of(s.written) + bytes_of(s.functions) +
                      s.name.capacity() + s.ddl_tag.capacity() + s.transaction.snapshot.capacity();
  for (const std::string& word : s.pool_words) bytes += bytes_of(word);
  for (const Setting& setting : s.settings) {
    bytes += sizeof(Setting) + setting.name.capacity();
    for (const std::string& value : setting.values) bytes += bytes_of(value);
  }
  return bytes + (s.inner ? bytes_of(*s.inner) : 0);
}

std::size_t bytes_of(const Facts& facts) {
  std::size_t bytes = sizeof(Facts) + facts.parse_error.capacity() + facts.traceparent.capacity();
  for (const Statement& s : facts.statements) bytes += bytes_of(s);
  return bytes;
}

struct Key {
  std::string_view text;
  std::uint64_t hash = 0;
  std::uint8_t options = 0;
  bool operator==(const Key& other) const {
    return hash == other.hash && options == other.options && text == other.text;
  }
};

struct KeyHash {
  std::size_t operator()(const Key& key) const noexcept { return static_cast<std::size_t>(key.hash); }
};

struct Entry {
  std::string text;
  Key key;  // its view is into `text`
  std::shared_ptr<const Facts> facts;
  std::size_t bytes = 0;
};

std::uint8_t option_bits(const ParseOptions& options) {
  return static_cast<std::uint8_t>((options.standard_conforming_strings ? 1 : 0) |
                                   (options.ascii_safe_encoding ? 2 : 0));
}

}  // namespace

struct FactsCache::Store {
  using Entries = std::list<Entry>;  // most recently used first

  void insert(const Key& key, std::shared_ptr<const Facts> facts) {
    entries.push_front(Entry{std::string(key.text), key, std::move(facts), 0});
    Entry& entry = entries.front();
    entry.key.text = entry.text;
    // An entry's own parts and its place in the index count, so that many small texts stay within the bound too.
    entry.bytes = sizeof(Entry) + 8 * sizeof(void*) + entry.text.capacity() + bytes_of(*entry.facts);
    bytes += entry.bytes;
    index.emplace(entry.key, entries.begin());
    while (entries.size() > max_entries || bytes > max_bytes) drop_oldest();
  }
  void drop_oldest() {
    index.erase(entries.back().key);
    bytes -= entries.back().bytes;
    entries.pop_back();
  }

  std::size_t max_entries, max_bytes;
  HashKey hash_key = HashKey::random();
  Entries entries{};
  std::unordered_map<Key, Entries::iterator, KeyHash> index{};
  std::size_t bytes = 0;
  std::uint64_t hits = 0, misses = 0;
};

FactsCache::FactsCache(std::size_t max_entries, std::size_t max_bytes)
    : store_(std::make_unique<Store>(Store{.max_entries = max_entries, .max_bytes = max_bytes})) {}
FactsCache::~FactsCache() = default;

std::shared_ptr<const Facts> FactsCache::facts(std::string_view text, const ParseOptions& options) {
  Store& store = *store_;
  if (text.size() > kMaxCachedText) {
    ++store.misses;
    return std::make_shared<const Facts>(parse_facts(text, options));
  }
  const Key key{text, hash128(store.hash_key, text).lo, option_bits(options)};
  if (const auto found = store.index.find(key); found != store.index.end()) {
    ++store.hits;
    store.entries.splice(store.entries.begin(), store.entries, found->second);
    return found->second->facts;
  }
  ++store.misses;
  auto facts = std::make_shared<const Facts>(parse_facts(text, options));
  store.insert(key, facts);
  return facts;
}

std::uint64_t FactsCache::hits() const { return store_->hits; }
std::uint64_t FactsCache::misses() const { return store_->misses; }

}  // namespace herdgate::sql
