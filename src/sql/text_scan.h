// What can be said about a text without the grammar: its comments, its first octets, our own commands.
//
// Shape    scan_start(text) → where the statement begins and what stood before it; pool_command(text) → its words.
// Errors   none; a text that is not well formed is simply not recognised.
// Threads  pure.
// Source   Pgpool-II 4.6 manual, "SQL type command", "memory_cache_enabled" (comments), sqlcommenter specification.
#pragma once
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "sql/facts.h"

namespace herdgate::sql {

bool is_blank(char c);
bool starts_word(char c);
bool continues_word(char c);
// Whether `a` is the word `lower_b`, in any case.
bool same_word(std::string_view a, std::string_view lower_b);
// End of the comment that starts at `at`, or npos when it is not closed; `at` itself when no comment starts there.
// Block comments nest.
std::size_t comment_end(std::string_view text, std::size_t at);

struct TextStart {
  std::size_t statement = 0;  // offset of the first octet that is neither blank nor comment
  LeadingComment comment = LeadingComment::none;
  char first_char = '\0', first_nonblank = '\0';
};
TextStart scan_start(std::string_view text);

// The words of SHOW POOL_… or PGPOOL …, names in lower case, literals without their quotes. nullopt: not such a
// command, or something follows it. The text behind PGPOOL EXPLAIN ROUTE is one word, as it stands.
std::optional<std::vector<std::string>> pool_command(std::string_view text);

// An upper bound of the octets that PostgreSQL's scanner reads more than once. It reads a run of operator characters to
// its end and then puts back all but a first part, at every comment that opens in it and at every plus or minus: a run
// of a million takes it hours. Ordinary text stays below its own length.
std::size_t scanner_rereads(std::string_view text);

// The value of traceparent in the comment before or behind the statement; empty when there is none that is well formed.
std::string find_traceparent(std::string_view text);

}  // namespace herdgate::sql
