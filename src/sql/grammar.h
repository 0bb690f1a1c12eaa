// PostgreSQL's grammar behind a plain function: the only way from the rest of the program to the C parser.
//
// Shape    text in, one Statement per statement of it out; or what the grammar said.
// Limits   as the parser's own: its stack holds 10,000 levels; the walk goes kMaxDepth deep.
// Errors   Grammar::error, in PostgreSQL's words; then there are no statements.
// Threads  any. The parser's memory belongs to the thread and is given back when the thread ends.
// Source   libpg_query 17 (PostgreSQL 17's raw_parser).
#pragma once
#include <string>
#include <vector>

#include "sql/facts.h"

namespace herdgate::sql {

struct Grammar {
  std::vector<Statement> statements;  // empty: nothing but blanks, comments and semicolons
  std::string error;                  // not empty: the grammar refuses the text
};

// The text must hold no octet 0: the parser takes it for the end.
Grammar read_grammar(const std::string& text, bool standard_conforming_strings);

}  // namespace herdgate::sql
