// What a text too long for the parser is, from its quotes and its first word alone.
//
// Shape    outline(text) → the kind of the one statement that it holds, and whether a word in it may leave something
//          with the session (a setting, an advisory lock, a table); nullopt when it holds several, is not closed, or
//          begins with a word that says too little. The statement is not looked into: it must count as a write.
// Errors   none.
// Threads  pure.
// Source   PostgreSQL manual, "Lexical Structure".
#pragma once
#include <optional>
#include <string_view>

#include "sql/facts.h"

namespace herdgate::sql {

struct Outline {
  Kind kind;
  bool leaves_nothing;  // but what a reset of its link takes away
};

std::optional<Outline> outline(std::string_view text, bool standard_conforming_strings);

}  // namespace herdgate::sql
