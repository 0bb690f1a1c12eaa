// Any text must give facts that are whole: at least one statement, slices inside the text, the same on every look.
#include <cstdint>
#include <string_view>

#include "base/assert.h"
#include "sql/facts.h"
#include "sql/facts_describe.h"

using herdgate::sql::Facts;
using herdgate::sql::Kind;
using herdgate::sql::ParseOptions;
using herdgate::sql::Statement;

namespace {

void check(std::string_view text, const ParseOptions& options) {
  const Facts facts = herdgate::sql::parse_facts(text, options);
  HG_ASSERT(!facts.statements.empty());
  const bool unparsable = facts.first().kind == Kind::unparsable;
  HG_ASSERT(unparsable == !facts.parse_error.empty());
  HG_ASSERT(!unparsable || facts.statements.size() == 1);
  std::size_t end = 0;
  for (const Statement& s : facts.statements) {
    HG_ASSERT(s.begin >= end);
    end = s.begin + s.length;
    HG_ASSERT(end <= text.size());
    HG_ASSERT(s.written.size() <= s.relations.size());
  }
  const Facts again = herdgate::sql::parse_facts(text, options);
  HG_ASSERT(again.statements.size() == facts.statements.size());
  HG_ASSERT(describe(again.first()) == describe(facts.first()));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  check(text, {});
  check(text, {.standard_conforming_strings = false, .ascii_safe_encoding = false});
  return 0;
}
