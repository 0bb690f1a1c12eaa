// Lists of patterns and of pairs, compiled when the configuration is loaded.
//
// Shape    RegexList::matches(subject): does any pattern match? Redirect: pattern -> preferred node and ratio.
//          Patterns are POSIX extended, ignore case, and are anchored by adding ^ and $ where they are missing (to the
//          text, as Pgpool-II does: 'a|b' becomes '^a|b$'). Double quotes are removed from the subject first.
// Limits   kMaxPatternBytes and kMaxRepetitions for one pattern. Matching takes linear time for patterns RE2 can
//          express with the same meaning; others (back references, GNU escapes) run on the C library's matcher.
// Errors   Errc::bad_pattern, Errc::bad_redirect, Errc::bad_relation; the context names the entry.
// Threads  immutable after construction; matches() is const and safe from any thread. Answers are not remembered here.
// Source   Pgpool-II 4.6 manual, "Load Balancing"; POSIX, "Extended Regular Expressions".
#pragma once
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/ids.h"
#include "base/result.h"

namespace herdgate::config {

class Regex;  // one compiled pattern

class RegexList {
 public:
  static constexpr std::size_t kMaxPatternBytes = 4096;
  static constexpr int kMaxRepetitions = 10'000;  // product of all {n,m} of a pattern
  RegexList() = default;
  static Result<RegexList> compile(std::span<const std::string> patterns);
  bool matches(std::string_view subject) const { return first_match(subject) >= 0; }
  int first_match(std::string_view subject) const;  // index of the first pattern that matches, -1: none
  bool empty() const { return regexes_.empty(); }
  std::size_t size() const { return regexes_.size(); }
  const std::string& pattern(int index) const;  // as written, for EXPLAIN ROUTE

 private:
  std::vector<std::shared_ptr<const Regex>> regexes_;
};

// Where a redirect list sends reads: to any standby, to the primary, or to a node by number.
enum class RedirectTarget : std::uint8_t { primary, standby, node };
struct Redirect {
  RegexList regex;   // one pattern
  std::string text;  // the entry as written
  RedirectTarget target = RedirectTarget::primary;
  NodeId node = kNoNode;  // target == node
  double ratio = 1.0;     // 0..1: how often
};
Result<std::vector<Redirect>> parse_redirects(std::string_view list);

// dml_adaptive: when `object` is written in a transaction, `dependent` counts as written too.
struct ObjectRelation {
  std::string object;  // lower case, without ()
  bool object_is_function = false;
  std::string dependent;
  bool dependent_is_function = false;
  bool operator==(const ObjectRelation&) const = default;
};
Result<std::vector<ObjectRelation>> parse_relations(std::string_view list);

struct Patterns {
  RegexList read_only_functions, write_functions, primary_routing_queries, cache_safe_tables, cache_unsafe_tables;
  std::vector<Redirect> app_name_redirects, database_redirects, user_redirects;
  std::vector<ObjectRelation> relations;
};

}  // namespace herdgate::config
