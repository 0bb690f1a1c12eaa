#include "cache/key.h"

#include <algorithm>
#include <array>
#include <cstring>

namespace herdgate::cache {
namespace {

// What a key is made of, in one piece; `room` octets are enough for all of it. Most fit in the object itself.
class Parts {
 public:
  explicit Parts(std::size_t room) {
    if (room <= sizeof small_) return;
    large_.resize(room);
    at_ = begin_ = large_.data();
  }
  Parts(const Parts&) = delete;
  Parts& operator=(const Parts&) = delete;

  static constexpr std::size_t kPerPart = 4;  // its length
  void add(char c) { *at_++ = c; }
  void add(std::string_view part) {
    const std::uint32_t length = static_cast<std::uint32_t>(part.size());
    put(&length, sizeof length);
    put(part.data(), part.size());
  }
  void add(const Hash128& hash) {
    put(&hash.hi, sizeof hash.hi);
    put(&hash.lo, sizeof hash.lo);
  }
  std::string_view all() const { return {begin_, static_cast<std::size_t>(at_ - begin_)}; }

 private:
  void put(const void* from, std::size_t size) {
    if (size == 0) return;  // it may be null
    std::memcpy(at_, from, size);
    at_ += size;
  }
  char small_[512];
  Bytes large_;
  char* begin_ = small_;
  char* at_ = small_;
};

// What each octet is in a word: 0, no part of one; else itself in lower case. Digits end one: 'today0:0' is a moment.
constexpr std::array<char, 256> kWordOctets = [] {
  std::array<char, 256> octets{};
  for (int c = 'a'; c <= 'z'; ++c) {
    octets[static_cast<std::size_t>(c)] = static_cast<char>(c);
    octets[static_cast<std::size_t>(c - 'a' + 'A')] = static_cast<char>(c);
  }
  octets['_'] = '_';
  return octets;
}();
char word_octet(char c) { return kWordOctets[static_cast<unsigned char>(c)]; }

constexpr std::string_view kMoments[] = {"now", "today", "tomorrow", "yesterday"};

// Are there a first and a second letter of one, in either case, side by side? kStep + 1 octets are read.
constexpr std::size_t kStep = 16;
bool may_begin_one(const char* octets) {
  using Octets [[gnu::vector_size(kStep)]] = char;
  Octets first, second;
  std::memcpy(&first, octets, kStep);
  std::memcpy(&second, octets + 1, kStep);
  first |= 0x20;
  second |= 0x20;
  const auto found = (((first == 'n') | (first == 't')) & (second == 'o')) | ((first == 'y') & (second == 'e'));
  std::uint64_t halves[2];
  static_assert(sizeof halves == sizeof found);
  std::memcpy(halves, &found, sizeof halves);
  return (halves[0] | halves[1]) != 0;
}

bool word_at(std::string_view text, std::size_t at, std::string_view word) {
  if (text.size() - at < word.size()) return false;
  for (std::size_t i = 0; i < word.size(); ++i) {
    if (word_octet(text[at + i]) != word[i]) return false;
  }
  return at + word.size() == text.size() || word_octet(text[at + word.size()]) == 0;
}

bool one_begins(std::string_view text, std::size_t from, std::size_t to) {
  for (std::size_t i = from; i < to; ++i) {
    if (i > 0 && word_octet(text[i - 1]) != 0) continue;
    const auto stands_here = [&](std::string_view word) { return word_at(text, i, word); };
    if (std::any_of(std::begin(kMoments), std::end(kMoments), stands_here)) return true;
  }
  return false;
}

// A backslash before something else than a backslash.
bool has_escape(std::string_view text) {
  for (std::size_t at = text.find('\\'); at != text.npos; at = text.find('\\', at + 2)) {
    if (at + 1 == text.size() || text[at + 1] != '\\') return true;
  }
  return false;
}

// E'…' or e'…', which is no end of a longer word.
bool has_escape_string(std::string_view text) {
  for (std::size_t at = text.find('\''); at != text.npos; at = text.find('\'', at + 1)) {
    if (at == 0 || word_octet(text[at - 1]) != 'e') continue;
    if (at == 1 || (word_octet(text[at - 2]) == 0 && !(text[at - 2] >= '0' && text[at - 2] <= '9'))) return true;
  }
  return false;
}

// A quote, white space with a new line or a comment in it, and a quote: one literal.
bool has_continued_string(std::string_view text) {
  for (std::size_t at = text.find('\''); at != text.npos; at = text.find('\'', at + 1)) {
    const std::size_t next = text.find_first_not_of(" \t\n\r\f\v", at + 1);
    if (next == text.npos) return false;
    const bool new_line = text.substr(at + 1, next - at - 1).find_first_of("\n\r") != text.npos;
    if (text.substr(next).starts_with("--") || (text[next] == '\'' && new_line)) return true;
  }
  return false;
}

Hash128 sum(const Hash128& a, const Hash128& b) { return {a.hi ^ b.hi, a.lo ^ b.lo}; }

}  // namespace

// Of the time limits: a read that hit one had no answer to keep.
bool changes_no_answer(std::string_view parameter) {
  constexpr std::string_view kNone[] = {"application_name", "idle_in_transaction_session_timeout",
                                        "idle_session_timeout", "lock_timeout", "statement_timeout"};
  return std::find(std::begin(kNone), std::end(kNone), parameter) != std::end(kNone);
}

Hash128 viewer_of(const HashKey& key, std::string_view database, std::string_view user,
                  const std::vector<Setting>& settings) {
  std::size_t room = database.size() + user.size() + 2 * Parts::kPerPart;
  for (const auto& [name, value] : settings) room += name.size() + value.size() + 2 * Parts::kPerPart;
  Parts parts(room);
  parts.add(database);
  parts.add(user);
  for (const auto& [name, value] : settings) {
    if (changes_no_answer(name)) continue;
    parts.add(name);
    parts.add(value);
  }
  return hash128(key, parts.all());
}

Hash128 text_hash(const HashKey& key, std::string_view text) { return quick_hash128(key, text); }

// Hashes of different things are made with different keys, so that one of a text is none of a Bind.
Hash128 statement_hash(const HashKey& key, const Hash128& text, ByteView types) {
  Parts parts(sizeof text + Parts::kPerPart + types.size());
  parts.add(text);
  parts.add(types);
  return quick_hash128({~key.k0, key.k1}, parts.all());
}

Hash128 key_of(const Hash128& viewer, const Hash128& text) { return sum(viewer, text); }

Hash128 key_of(const HashKey& key, const Hash128& viewer, const Hash128& statement, ByteView bind) {
  return sum(sum(viewer, statement), quick_hash128({key.k0, ~key.k1}, bind));
}

Hash128 owner_of(const HashKey& key, std::string_view database, std::string_view user) {
  Parts parts(1 + database.size() + user.size() + 2 * Parts::kPerPart);
  parts.add('T');
  parts.add(database);
  parts.add(user);
  return hash128(key, parts.all());
}

Hash128 text_key(const Hash128& owner, const Hash128& text) { return sum(owner, text); }

// Sixteen octets at a time, by the first two letters of a word: few texts come further. The last ones are copied, so
// that nothing is read behind the text.
bool names_a_moment(std::string_view text) {
  std::size_t at = 0;
  for (; at + kStep < text.size(); at += kStep) {
    if (may_begin_one(text.data() + at) && one_begins(text, at, at + kStep)) return true;
  }
  char last[kStep + 1] = {};
  text.copy(last, kStep, at);
  return may_begin_one(last) && one_begins(text, at, text.size());
}

bool text_names_a_moment(std::string_view text, bool standard_strings) {
  if (names_a_moment(text)) return true;
  if (has_escape(text) && (!standard_strings || has_escape_string(text))) return true;
  if (text.find("U&'") != text.npos || text.find("u&'") != text.npos) return true;
  return text.find_first_of("\n\r") != text.npos && has_continued_string(text);
}

// Anything that is not as it should be counts as naming one: it is not cached.
bool bind_names_a_moment(ByteView bind) {
  const auto short_at = [&](std::size_t at) { return static_cast<std::size_t>(load_u16(bind.data() + at)); };
  if (bind.size() < 2) return true;
  std::size_t at = 2 + 2 * short_at(0);
  if (bind.size() < at + 2) return true;
  std::size_t values = short_at(at);
  for (at += 2; values > 0; --values) {
    if (bind.size() < at + 4) return true;
    const auto length = static_cast<std::int32_t>(load_u32(bind.data() + at));
    at += 4;
    if (length <= 0) continue;
    if (bind.size() - at < static_cast<std::size_t>(length)) return true;
    if (names_a_moment(bind.substr(at, static_cast<std::size_t>(length)))) return true;
    at += static_cast<std::size_t>(length);
  }
  return false;
}

}  // namespace herdgate::cache
