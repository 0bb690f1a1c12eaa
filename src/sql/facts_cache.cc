// The LRU in front of the parser. A hit is a keyed hash and a comparison of the whole text: the hash alone would let
// one text pass for another, an unkeyed one would let clients fill one bucket.
#include <algorithm>
#include <array>
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

// What a character means to shape_of(); plain and word characters are copied as they are.
enum CharClass : std::uint8_t { kPlain, kWord, kDigit, kQuote, kMinus, kSlash, kOpaque };

constexpr std::array<CharClass, 256> char_classes() {
  std::array<CharClass, 256> classes{};
  for (int c = 0; c < 256; ++c) {
    const bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || c >= 0x80;
    classes[static_cast<std::size_t>(c)] = letter ? kWord : c >= '0' && c <= '9' ? kDigit : kPlain;
  }
  classes['\''] = kQuote, classes['-'] = kMinus, classes['/'] = kSlash;
  classes['"'] = classes['$'] = classes['\\'] = kOpaque;
  return classes;
}
constexpr std::array<CharClass, 256> kClasses = char_classes();
CharClass class_of(char c) { return kClasses[static_cast<unsigned char>(c)]; }
bool in_word(char c) { return class_of(c) == kWord || class_of(c) == kDigit; }

// The text with every number replaced by 0: applications that put values into their texts send few shapes. False where
// that could hide something: quoted names, comments, dollar quotes, backslashes, and digits that run into a word.
bool shape_of(std::string_view text, std::string& shape) {
  shape.resize(text.size());  // a shape is never longer
  char* out = shape.data();
  bool numbers = false;
  const char* const end = text.data() + text.size();
  for (const char* p = text.data(); p < end;) {
    const CharClass is = class_of(*p);
    const char next = p + 1 < end ? p[1] : '\0';
    if (is == kOpaque || (is == kMinus && next == '-') || (is == kSlash && next == '*')) return false;
    if (is == kQuote) {  // a constant stays as it is: 'now' means something
      const char* const close = std::find(p + 1, end, '\'');
      if (close == end || std::find(p, close, '\\') != close) return false;
      out = std::copy(p, close + 1, out);
      p = close + 1;
    } else if (is == kDigit && (p == text.data() || !in_word(p[-1]))) {
      while (p < end && (class_of(*p) == kDigit || *p == '.')) ++p;
      if (p < end && (in_word(*p) || *p == '$')) return false;
      *out++ = '0';
      numbers = true;
    } else {
      do *out++ = *p++;
      while (p < end && class_of(*p) <= kWord);
    }
  }
  shape.resize(static_cast<std::size_t>(out - shape.data()));
  return numbers;
}

// May texts of one shape share these facts? Not where a number is one of them.
bool same_for_all_numbers(const Facts& facts) {
  if (facts.multi()) return false;
  const Statement& s = facts.first();
  const bool plain = s.kind == Kind::select || s.kind == Kind::insert || s.kind == Kind::update ||
                     s.kind == Kind::delete_ || s.kind == Kind::merge;
  return plain && s.settings.empty() && !s.terminate_pid && !s.too_deep;
}

constexpr std::uint8_t kShapeBit = 4;  // among the option bits: the key is a shape, not a text

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
  std::uint64_t hits = 0, misses = 0, last_serial = 0;
  std::string shape{};

  std::shared_ptr<const Facts> find(const Key& key) {
    const auto found = index.find(key);
    if (found == index.end()) return nullptr;
    ++hits;
    if (found->second != entries.begin()) entries.splice(entries.begin(), entries, found->second);
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
  const bool shaped = options.ascii_safe_encoding && shape_of(text, store.shape);
  Key shape;
  if (shaped) {
    shape = Key{store.shape, hash64(store.hash_key, store.shape),
                static_cast<std::uint8_t>(option_bits(options) | kShapeBit)};
    if (auto found = store.find(shape)) return found;
  }
  const Key key{text, hash64(store.hash_key, text), option_bits(options)};
  if (auto found = store.find(key)) return found;
  ++store.misses;
  Facts parsed = parse_facts(text, options);
  const bool shared = shaped && same_for_all_numbers(parsed);
  if (shared) parsed.statements.front().begin = parsed.statements.front().length = 0;  // other texts, other lengths
  parsed.serial = ++store.last_serial;
  auto facts = std::make_shared<const Facts>(std::move(parsed));
  store.insert(shared ? shape : key, facts);
  return facts;
}

std::uint64_t FactsCache::hits() const { return store_->hits; }
std::uint64_t FactsCache::misses() const { return store_->misses; }

}  // namespace herdgate::sql
