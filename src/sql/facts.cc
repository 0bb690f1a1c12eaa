#include "sql/facts.h"

#include <algorithm>
#include <array>

#include "sql/grammar.h"
#include "sql/outline.h"
#include "sql/text_scan.h"

namespace herdgate::sql {
namespace {

constexpr std::array<std::string_view, static_cast<std::size_t>(Kind::other) + 1> kKindNames = {
    "empty",
    "unparsable",
    "pool_command",
    "select",
    "insert",
    "update",
    "delete",
    "merge",
    "truncate",
    "copy_from",
    "copy_to",
    "begin",
    "commit",
    "rollback",
    "savepoint",
    "release",
    "rollback_to",
    "prepare_transaction",
    "commit_prepared",
    "rollback_prepared",
    "set",
    "reset",
    "show",
    "discard",
    "set_constraints",
    "explain",
    "prepare",
    "execute",
    "deallocate",
    "declare_cursor",
    "fetch",
    "close_cursor",
    "listen",
    "unlisten",
    "notify",
    "lock",
    "call",
    "do_block",
    "load",
    "checkpoint",
    "ddl",
    "other",
};

// What the scanner may read again before a text is refused: some 10 ms. Shorter texts cannot reach it.
constexpr std::size_t kMaxRereads = 1 << 20, kHarmlessBytes = 1024;

// The grammar quotes the token it stopped at, which may be a literal of any length.
constexpr std::size_t kMaxErrorBytes = 256;

// Cuts between characters of UTF-8.
void shorten(std::string& error) {
  if (error.size() <= kMaxErrorBytes) return;
  std::size_t end = kMaxErrorBytes;
  while (end > 0 && (static_cast<unsigned char>(error[end]) & 0xC0) == 0x80) --end;
  error.resize(end);
}

Statement whole_text(Kind kind, std::string_view text) {
  Statement statement;
  statement.kind = kind;
  statement.length = static_cast<std::uint32_t>(std::min<std::size_t>(text.size(), UINT32_MAX));
  return statement;
}

// Why the text must not be given to the parser; empty when it may.
std::string_view unsafe(std::string_view text, const ParseOptions& options) {
  if (text.size() > kHarmlessBytes && scanner_rereads(text) > kMaxRereads) {
    return "text holds a run of operators that would take too long to parse";
  }
  if (text.find('\0') != std::string_view::npos) return "text holds an octet 0";
  // Such encodings start every character of more than one octet with a high one, so plain ASCII is safe in all.
  const auto high = [](char c) { return static_cast<unsigned char>(c) >= 0x80; };
  if (!options.ascii_safe_encoding && std::ranges::any_of(text, high)) {
    return "client_encoding is one whose characters cannot be told from quotes";
  }
  return {};
}

void read_statements(std::string_view text, const ParseOptions& options, Facts& facts) {
  if (const std::string_view reason = unsafe(text, options); !reason.empty()) {
    facts.parse_error = reason;
    facts.statements.push_back(whole_text(Kind::unparsable, text));
    return;
  }
  if (auto words = text.size() <= kMaxParsedText ? pool_command(text) : std::nullopt) {
    facts.statements.push_back(whole_text(Kind::pool_command, text));
    facts.statements.back().pool_words = std::move(*words);
    return;
  }
  if (text.size() > kMaxParsedText) {
    const auto known = outline(text, options.standard_conforming_strings);
    if (!known) facts.parse_error = "text is too long to be parsed";
    facts.statements.push_back(whole_text(known ? known->kind : Kind::unparsable, text));
    facts.statements.back().too_deep = known.has_value();
    facts.statements.back().leaves_nothing = known && known->leaves_nothing;
    return;
  }
  Grammar grammar = read_grammar(std::string(text), options.standard_conforming_strings);
  facts.statements = std::move(grammar.statements);
  facts.parse_error = std::move(grammar.error);
  shorten(facts.parse_error);
  if (facts.statements.empty()) {
    facts.statements.push_back(whole_text(facts.parse_error.empty() ? Kind::empty : Kind::unparsable, text));
  }
}

}  // namespace

std::string_view kind_name(Kind kind) { return kKindNames[static_cast<std::size_t>(kind)]; }

Facts parse_facts(std::string_view text, const ParseOptions& options) {
  Facts facts;
  const TextStart start = scan_start(text);
  facts.leading_comment = start.comment;
  facts.first_char = start.first_char;
  facts.first_nonblank = start.first_nonblank;
  facts.traceparent = find_traceparent(text);
  read_statements(text, options, facts);
  return facts;
}

}  // namespace herdgate::sql
