// Any text must give facts that are whole: at least one statement, slices inside the text, the same on every look, and
// the same from the cache, which shares facts between texts that differ in their numbers only.
#include <cstdint>
#include <string>
#include <string_view>

#include "base/assert.h"
#include "sql/facts.h"
#include "sql/facts_describe.h"

using herdgate::sql::Facts;
using herdgate::sql::FactsCache;
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

void check_cached(FactsCache& cache, std::string_view text) {
  const auto kept = cache.facts(text, {});
  const Facts fresh = herdgate::sql::parse_facts(text, {});
  HG_ASSERT(kept->parse_error.empty() == fresh.parse_error.empty());
  HG_ASSERT(kept->statements.size() == fresh.statements.size());
  for (std::size_t i = 0; i < fresh.statements.size(); ++i) {
    HG_ASSERT(describe(kept->statements[i]) == describe(fresh.statements[i]));
  }
}

// The text itself, others of the same shape (each digit another one), and the first again.
void check_cache(std::string_view text) {
  FactsCache cache(16);
  std::string other(text);
  for (int step = 0; step < 3; ++step) {
    check_cached(cache, other);
    for (char& c : other) {
      if (c >= '0' && c <= '9') c = static_cast<char>('0' + (c - '0' + 3) % 10);
    }
  }
  check_cached(cache, text);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  check(text, {});
  check(text, {.standard_conforming_strings = false, .ascii_safe_encoding = false});
  check_cache(text);
  return 0;
}
