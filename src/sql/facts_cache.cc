// The LRU in front of the parser. A hit is a keyed hash and a comparison of the whole text: the hash alone would let
// one text pass for another, an unkeyed one would let clients fill one bucket.
#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <list>
#include <unordered_map>

#include "base/hash.h"
#include "sql/facts.h"
#include "sql/text_shape.h"

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
  for (const std::string& name : s.dotted) bytes += bytes_of(name);
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
  TextShape shape;  // of a whole text: without numbers
  Key key;          // its view is into shape.text
  std::shared_ptr<const Facts> facts;
  std::size_t bytes = 0;
  std::uint8_t guessed_at = 0;  // its place among the guesses
};

std::uint8_t option_bits(const ParseOptions& options) {
  return static_cast<std::uint8_t>((options.standard_conforming_strings ? 1 : 0) |
                                   (options.ascii_safe_encoding ? 2 : 0));
}

// May texts of one shape share these facts? Not where a number is one of them.
bool same_for_all_numbers(const Facts& facts) {
  if (facts.multi()) return false;
  const Statement& s = facts.first();
  const bool plain = s.kind == Kind::select || s.kind == Kind::insert || s.kind == Kind::update ||
                     s.kind == Kind::delete_ || s.kind == Kind::merge;
  const auto names_a_process = [](const Function& f) { return f.name == "pg_terminate_backend"; };
  const bool numbers_count = std::any_of(s.functions.begin(), s.functions.end(), names_a_process);
  return plain && s.settings.empty() && !numbers_count && !s.too_deep;
}

constexpr std::uint8_t kShapeBit = 4;  // among the option bits: the key is a shape, not a text

// Where to look first for what was found of a text before: texts that begin alike share a place, the newest has it.
std::uint8_t guess_of(std::string_view text) {
  std::array<std::uint64_t, 2> begin{};
  if (!text.empty()) std::memcpy(begin.data(), text.data(), std::min(text.size(), sizeof begin));
  return static_cast<std::uint8_t>(((begin[0] ^ std::rotl(begin[1], 29)) * 0x9e3779b97f4a7c15ULL) >> 56);
}

}  // namespace

struct FactsCache::Store {
  using Entries = std::list<Entry>;  // most recently used first

  void insert(const Key& key, const std::vector<std::uint32_t>& numbers, std::shared_ptr<const Facts> facts) {
    entries.push_front(Entry{TextShape{std::string(key.text), numbers}, key, std::move(facts)});
    Entry& entry = entries.front();
    entry.key.text = entry.shape.text;
    // An entry's own parts and its place in the index count, so that many small texts stay within the bound too.
    entry.bytes = sizeof(Entry) + 8 * sizeof(void*) + entry.shape.text.capacity() + numbers.size() * sizeof numbers[0] +
                  bytes_of(*entry.facts);
    bytes += entry.bytes;
    index.emplace(entry.key, entries.begin());
    while (entries.size() > max_entries || bytes > max_bytes) drop_oldest();
  }
  void drop_oldest() {
    forget_guess(entries.back());
    index.erase(entries.back().key);
    bytes -= entries.back().bytes;
    entries.pop_back();
  }

  std::size_t max_entries, max_bytes;
  HashKey hash_key = HashKey::random();
  Entries entries{};
  std::unordered_map<Key, Entries::iterator, KeyHash> index{};
  std::size_t bytes = 0;
  std::uint64_t hits = 0, misses = 0, last_serial = 0;
  TextShape shape{};  // scratch space
  struct Guess {
    Entry* entry = nullptr;
    Entries::iterator place{};
  };
  std::array<Guess, 256> guesses{};

  // The short way: the text is compared as a whole with what a text that begins like it found last, so that no hash is
  // needed, and a wrong guess costs time only.
  const Entry* guess(std::string_view text, std::uint8_t options) {
    const Guess& guess = guesses[guess_of(text)];
    if (guess.entry == nullptr || (guess.entry->key.options & ~kShapeBit) != options ||
        !has_shape(text, guess.entry->shape))
      return nullptr;
    ++hits;
    if (guess.place != entries.begin()) entries.splice(entries.begin(), entries, guess.place);
    return guess.entry;
  }
  void forget_guess(const Entry& entry) {
    if (guesses[entry.guessed_at].entry == &entry) guesses[entry.guessed_at].entry = nullptr;
  }
  // What is first among the entries has just been found or made for this text.
  void remember_guess(std::string_view text) {
    Entry& entry = entries.front();
    forget_guess(entry);
    entry.guessed_at = guess_of(text);
    guesses[entry.guessed_at] = Guess{&entry, entries.begin()};
  }

  std::shared_ptr<const Facts> find(const Key& key, std::string_view text) {
    const auto found = index.find(key);
    if (found == index.end()) return nullptr;
    ++hits;
    if (found->second != entries.begin()) entries.splice(entries.begin(), entries, found->second);
    remember_guess(text);
    return found->second->facts;
  }
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
  const std::uint8_t bits = option_bits(options);
  if (const Entry* known = store.guess(text, bits)) return known->facts;
  const bool shaped = options.ascii_safe_encoding && shape_of(text, store.shape);
  Key shape;
  if (shaped) {
    shape =
        Key{store.shape.text, hash64(store.hash_key, store.shape.text), static_cast<std::uint8_t>(bits | kShapeBit)};
    if (auto found = store.find(shape, text)) return found;
  }
  const Key key{text, hash64(store.hash_key, text), bits};
  if (auto found = store.find(key, text)) return found;
  ++store.misses;
  Facts parsed = parse_facts(text, options);
  const bool shared = shaped && same_for_all_numbers(parsed);
  if (shared) parsed.statements.front().begin = parsed.statements.front().length = 0;  // other texts, other lengths
  if (!shared) store.shape.numbers.clear();
  parsed.serial = ++store.last_serial;
  auto facts = std::make_shared<const Facts>(std::move(parsed));
  store.insert(shared ? shape : key, store.shape.numbers, facts);
  if (!store.entries.empty()) store.remember_guess(text);
  return facts;
}

std::uint64_t FactsCache::hits() const { return store_->hits; }
std::uint64_t FactsCache::misses() const { return store_->misses; }

}  // namespace herdgate::sql
