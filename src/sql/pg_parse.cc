// The boundary to the C parser: memory, error trap, settings. What the tree means is pg_statement.cc's business.
//
// The parser reports errors by siglongjmp, so between PG_TRY and the call no object with a destructor may live: that
// stretch is parse_guarded(), written as C. Its notices and warnings would go to stderr; the level set here mutes them.
#include <string>
#include <string_view>

#include "sql/grammar.h"
#include "sql/pg_headers.h"
#include "sql/pg_walk.h"

extern "C" void pg_query_free_top_memory_context(MemoryContext context);

namespace herdgate::sql {
namespace {

constexpr Size kFirstBlockBytes = 32 * 1024;  // kept between parses; enough for all but unusual statements

// The parser's memory on this thread. libpg_query's own set-up makes a pthread key per thread and frees none, so it
// is not used. Thread-local because everything inside the parser is.
class ParserMemory {
 public:
  ParserMemory() {
    MemoryContextInit();
    SetDatabaseEncoding(PG_UTF8);
    parse_ = AllocSetContextCreate(TopMemoryContext, "herdgate parse", 0, kFirstBlockBytes, ALLOCSET_DEFAULT_MAXSIZE);
  }
  ~ParserMemory() {
    MemoryContextSwitchTo(TopMemoryContext);
    pg_query_free_top_memory_context(TopMemoryContext);
  }
  ParserMemory(const ParserMemory&) = delete;
  ParserMemory& operator=(const ParserMemory&) = delete;
  MemoryContext parse() const { return parse_; }

 private:
  MemoryContext parse_;
};

// Everything that one parse took is given back here, whatever way the parse ended.
class ParseScope {
 public:
  explicit ParseScope(MemoryContext context) : context_(context) { MemoryContextSwitchTo(context_); }
  ~ParseScope() {
    MemoryContextSwitchTo(TopMemoryContext);
    MemoryContextReset(context_);
  }
  ParseScope(const ParseScope&) = delete;
  ParseScope& operator=(const ParseScope&) = delete;

 private:
  MemoryContext context_;
};

struct RawTree {
  List* statements = nullptr;
  const char* error = nullptr;  // in the parse context
};

// C in all but name: see the top of the file. `out` is memory, not a register, so it survives the jump.
void parse_guarded(const char* text, bool standard_strings, RawTree* out) {
  MemoryContext parse_context = CurrentMemoryContext;
  backslash_quote = BACKSLASH_QUOTE_SAFE_ENCODING;
  standard_conforming_strings = standard_strings;
  escape_string_warning = false;
  log_min_messages = PANIC;
  PG_TRY();
  { out->statements = raw_parser(text, RAW_PARSE_DEFAULT); }
  PG_CATCH();
  {
    MemoryContextSwitchTo(parse_context);
    out->statements = nullptr;
    out->error = CopyErrorData()->message;
    FlushErrorState();
  }
  PG_END_TRY();
}

// Narrows [begin, end) to what is not blank at its ends.
void trim(std::string_view text, std::size_t& begin, std::size_t& end) {
  constexpr std::string_view kBlank = " \t\n\r\f\v";
  while (begin < end && kBlank.find(text[begin]) != std::string_view::npos) ++begin;
  while (end > begin && kBlank.find(text[end - 1]) != std::string_view::npos) --end;
}

Statement read_statement(const RawStmt& raw, std::string_view text) {
  Statement statement;
  std::size_t begin = raw.stmt_location > 0 ? static_cast<std::size_t>(raw.stmt_location) : 0;
  begin = std::min(begin, text.size());
  std::size_t end = raw.stmt_len > 0 ? std::min(begin + raw.stmt_len, text.size()) : text.size();
  trim(text, begin, end);
  statement.begin = static_cast<std::uint32_t>(begin);
  statement.length = static_cast<std::uint32_t>(end - begin);
  Walk(statement).root(raw.stmt);
  return statement;
}

}  // namespace

Grammar read_grammar(const std::string& text, bool standard_conforming_strings) {
  thread_local const ParserMemory memory;
  const ParseScope scope(memory.parse());
  RawTree tree;
  parse_guarded(text.c_str(), standard_conforming_strings, &tree);
  Grammar grammar;
  if (tree.error != nullptr) {
    grammar.error = tree.error;
    return grammar;
  }
  grammar.statements.reserve(static_cast<std::size_t>(list_length(tree.statements)));
  ListCell* cell = nullptr;
  foreach (cell, tree.statements) {
    grammar.statements.push_back(read_statement(*static_cast<const RawStmt*>(lfirst(cell)), text));
  }
  return grammar;
}

}  // namespace herdgate::sql
