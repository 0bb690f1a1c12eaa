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

// What each octet is in a word: 0, no part of one; else itself in lower case.
constexpr std::array<char, 256> kWordOctets = [] {
  std::array<char, 256> octets{};
  for (int c = '0'; c <= '9'; ++c) octets[static_cast<std::size_t>(c)] = static_cast<char>(c);
  for (int c = 'a'; c <= 'z'; ++c) {
    octets[static_cast<std::size_t>(c)] = static_cast<char>(c);
    octets[static_cast<std::size_t>(c - 'a' + 'A')] = static_cast<char>(c);
  }
  octets['_'] = '_';
  return octets;
}();
char word_octet(char c) { return kWordOctets[static_cast<unsigned char>(c)]; }

constexpr std::string_view kMoments[] = {"now", "today", "tomorrow", "yesterday"};
bool begins_one(char c) { return c == 'n' || c == 't' || c == 'y'; }

bool word_at(std::string_view text, std::size_t at, std::string_view word) {
  if (text.size() - at < word.size()) return false;
  for (std::size_t i = 0; i < word.size(); ++i) {
    if (word_octet(text[at + i]) != word[i]) return false;
  }
  return at + word.size() == text.size() || word_octet(text[at + word.size()]) == 0;
}

}  // namespace

// Of the time limits: a read that hit one had no answer to keep.
bool changes_no_answer(std::string_view parameter) {
  constexpr std::string_view kNone[] = {
      "application_name",     "client_min_messages", "idle_in_transaction_session_timeout",
      "idle_session_timeout", "lock_timeout",        "statement_timeout"};
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

Hash128 key_of(const HashKey& key, const Read& read) {
  const std::size_t fixed = 1 + sizeof read.viewer + 3 * Parts::kPerPart;
  Parts parts(fixed + read.text.size() + read.types.size() + read.bind.size());
  parts.add(static_cast<char>(read.form));
  parts.add(read.viewer);
  parts.add(read.text);
  if (read.form == Form::extended) {
    parts.add(read.types);
    parts.add(read.bind);
  }
  return hash128(key, parts.all());
}

Hash128 text_key(const HashKey& key, std::string_view database, std::string_view user, std::string_view text) {
  Parts parts(1 + database.size() + user.size() + text.size() + 3 * Parts::kPerPart);
  parts.add('T');
  parts.add(database);
  parts.add(user);
  parts.add(text);
  return hash128(key, parts.all());
}

bool names_a_moment(std::string_view text) {
  char before = 0;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char here = word_octet(text[i]);
    if (before == 0 && begins_one(here)) {
      const auto stands_here = [&](std::string_view word) { return word_at(text, i, word); };
      if (std::any_of(std::begin(kMoments), std::end(kMoments), stands_here)) return true;
    }
    before = here;
  }
  return false;
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
