#include "cache/key.h"

#include <algorithm>
#include <cctype>

namespace herdgate::cache {
namespace {

void add(Bytes& out, std::string_view part) {
  append_u32(out, static_cast<std::uint32_t>(part.size()));
  out.append(part);
}

void add(Bytes& out, const Hash128& hash) {
  out.append(reinterpret_cast<const char*>(&hash.hi), sizeof hash.hi);
  out.append(reinterpret_cast<const char*>(&hash.lo), sizeof hash.lo);
}

bool is_word(char c) { return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_'; }

constexpr std::string_view kMoments[] = {"now", "today", "tomorrow", "yesterday"};

bool word_at(std::string_view text, std::size_t at, std::string_view word) {
  if (text.size() - at < word.size()) return false;
  for (std::size_t i = 0; i < word.size(); ++i) {
    if (std::tolower(static_cast<unsigned char>(text[at + i])) != word[i]) return false;
  }
  return at + word.size() == text.size() || !is_word(text[at + word.size()]);
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
  Bytes parts;
  add(parts, database);
  add(parts, user);
  for (const auto& [name, value] : settings) {
    if (changes_no_answer(name)) continue;
    add(parts, name);
    add(parts, value);
  }
  return hash128(key, parts);
}

Hash128 key_of(const HashKey& key, const Read& read) {
  Bytes parts;
  parts.reserve(64 + read.text.size() + read.types.size() + read.bind.size());
  parts.push_back(static_cast<char>(read.form));
  add(parts, read.viewer);
  add(parts, read.text);
  if (read.form == Form::extended) {
    add(parts, read.types);
    add(parts, read.bind);
  }
  return hash128(key, parts);
}

Hash128 text_key(const HashKey& key, std::string_view database, std::string_view user, std::string_view text) {
  Bytes parts("T");
  add(parts, database);
  add(parts, user);
  add(parts, text);
  return hash128(key, parts);
}

bool names_a_moment(std::string_view text) {
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (i > 0 && is_word(text[i - 1])) continue;
    for (const std::string_view word : kMoments) {
      if (word_at(text, i, word)) return true;
    }
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
