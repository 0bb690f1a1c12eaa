#include "sql/outline.h"

#include "sql/text_scan.h"

namespace herdgate::sql {
namespace {

constexpr std::size_t kUnclosed = std::string_view::npos;

struct FirstWord {
  std::string_view word;
  Kind kind;
};
constexpr FirstWord kFirstWords[] = {
    {"insert", Kind::insert}, {"update", Kind::update}, {"delete", Kind::delete_},
    {"merge", Kind::merge},   {"select", Kind::select}, {"values", Kind::select},
    {"with", Kind::select},   {"do", Kind::do_block},   {"call", Kind::call},
};

std::optional<Kind> first_kind(std::string_view text, std::size_t at) {
  std::size_t end = at;
  while (end < text.size() && continues_word(text[end])) ++end;
  for (const FirstWord& known : kFirstWords) {
    if (same_word(text.substr(at, end - at), known.word)) return known.kind;
  }
  return std::nullopt;
}

// Offset behind the closing quote of the literal or name that opens at `at`.
std::size_t quote_end(std::string_view text, std::size_t at, bool backslashes) {
  const char quote = text[at];
  for (std::size_t i = at + 1; i < text.size(); ++i) {
    if (backslashes && text[i] == '\\') {
      ++i;
    } else if (text[i] == quote) {
      if (i + 1 >= text.size() || text[i + 1] != quote) return i + 1;
      ++i;
    }
  }
  return kUnclosed;
}

// Offset behind the dollar-quoted literal that opens at `at`; at + 1 when none does.
std::size_t dollar_end(std::string_view text, std::size_t at) {
  std::size_t tag = at + 1;
  if (tag < text.size() && starts_word(text[tag])) {
    while (tag < text.size() && continues_word(text[tag]) && text[tag] != '$') ++tag;
  }
  if (tag >= text.size() || text[tag] != '$') return at + 1;
  const std::string_view delimiter = text.substr(at, tag - at + 1);
  const std::size_t close = text.find(delimiter, tag + 1);
  return close == std::string_view::npos ? kUnclosed : close + delimiter.size();
}

// Offset behind the word at `at`; the quote of E'…' belongs to it, because backslashes mean something in there.
std::size_t word_end(std::string_view text, std::size_t at) {
  std::size_t end = at;
  while (end < text.size() && continues_word(text[end])) ++end;
  const bool escapes = end - at == 1 && (text[at] == 'e' || text[at] == 'E') && end < text.size() && text[end] == '\'';
  return escapes ? quote_end(text, end, true) : end;
}

std::size_t token_end(std::string_view text, std::size_t at, bool standard_conforming_strings) {
  const char c = text[at];
  if (continues_word(c) && c != '$') return word_end(text, at);
  if (c == '\'') return quote_end(text, at, !standard_conforming_strings);
  if (c == '"') return quote_end(text, at, false);
  if (c == '$') return dollar_end(text, at);
  if (c == '-' || c == '/') {
    const std::size_t end = comment_end(text, at);
    return end == at ? at + 1 : end;
  }
  return at + 1;
}

// A name by which a function sets or locks for the session, or a word behind which a table may be made. A name written
// with escapes (U&"…") may be any.
bool leaves_something(Kind kind, std::string_view text, std::size_t at, std::size_t end) {
  std::string_view token = text.substr(at, end - at);
  if (token.starts_with('"')) {
    if (at > 0 && text[at - 1] == '&') return true;
    token.remove_prefix(1);
    token.remove_suffix(1);
  }
  const auto begins = [token](std::string_view with) { return same_word(token.substr(0, with.size()), with); };
  return (kind == Kind::select && same_word(token, "into")) || same_word(token, "set_config") ||
         begins("pg_advisory_") || begins("pg_try_advisory_");
}

}  // namespace

std::optional<Outline> outline(std::string_view text, bool standard_conforming_strings) {
  std::size_t at = scan_start(text).statement;
  const auto kind = first_kind(text, at);
  if (!kind) return std::nullopt;
  bool leaves_nothing = *kind != Kind::do_block && *kind != Kind::call;
  while (at < text.size() && text[at] != ';') {
    const std::size_t end = token_end(text, at, standard_conforming_strings);
    if (end == kUnclosed) return std::nullopt;
    leaves_nothing = leaves_nothing && !leaves_something(*kind, text, at, end);
    at = end;
  }
  while (at < text.size()) {
    const std::size_t end = comment_end(text, at);
    if (end == kUnclosed) return std::nullopt;
    if (end == at && text[at] != ';' && !is_blank(text[at])) return std::nullopt;  // another statement
    at = end == at ? at + 1 : end;
  }
  return Outline{*kind, leaves_nothing};
}

}  // namespace herdgate::sql
