// What must be asked of a server's catalog about the names in a statement, and what it answered.
//
// Shape    Questions are made by `route`, answered by `catalog`, read by `route` and `cache`; same order in all three.
// Threads  values.
#pragma once
#include <algorithm>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "sql/facts.h"

namespace herdgate::sql {

// One relation name as one session sees it (its database, role, search_path).
struct RelationAnswer {
  bool exists = false;
  bool system_catalog = false;
  bool temporary = false;
  bool unlogged = false;
  bool view = false;  // view or materialized view: `below` holds what it is made of
  bool materialized = false;
  bool row_security = false;
  std::vector<Relation> below;  // base relations of a view, qualified, transitively
  bool below_temporary = false, below_unlogged = false, below_system = false;
  bool below_writing_function = false;  // the view calls a volatile function
  // The functions that the view calls, through views within it too.
  struct Call {
    std::string schema, name;
    bool is_volatile = false;
  };
  std::optional<std::vector<Call>> calls;  // nothing: not asked for (Questions::calls)
  bool too_many_calls = false;             // they are not known whole
  bool too_many = false;                   // names or relations below it: what it depends on is not known whole
  bool other_kind = false;  // it, or something below it, is neither a table nor a view: a foreign table, a sequence
  // For the query cache, by oid. What a read of it depends on: itself, what a view is made of, children and partitions.
  std::vector<std::uint32_t> reads;
  // What a write to it may change beside that: tables whose foreign keys cascade, and their children.
  std::vector<std::uint32_t> cascades;
  bool side_effects = false;  // a write to it runs triggers or rules that may change anything
  bool leaves_state = false;  // a trigger that a write to it runs may set, lock or create in the session: by its source
  // Functions that take its rows and are not immutable: t.f calls f(t).
  struct RowFunction {
    std::string name;
    bool writes = false;  // it is volatile
  };
  std::vector<RowFunction> row_functions;
  bool may_define = false;  // what a write to it or a view's query runs may create, alter or drop: by its source
};
// Does the statement name one of these like a column?
inline bool calls_row_function(const Statement& s, const RelationAnswer& a, bool that_writes) {
  return std::any_of(a.row_functions.begin(), a.row_functions.end(), [&](const RelationAnswer::RowFunction& f) {
    return (f.writes || !that_writes) && std::find(s.dotted.begin(), s.dotted.end(), f.name) != s.dotted.end();
  });
}
struct FunctionAnswer {
  bool exists = false;
  bool is_volatile = false;             // any overload of that name (in that schema, if written)
  bool stable = false;                  // none volatile, at least one not immutable
  bool user_defined = false;            // not in pg_catalog: may leave session state behind when volatile
  bool returns_time_zone_type = false;  // timestamptz, timetz
  bool may_define = false;              // volatile, user_defined, and its source may create, alter or drop
  bool sets = false;                    // user_defined, whatever its volatility, and its source names set_config
};
struct Answers {
  std::vector<RelationAnswer> relations;
  std::vector<FunctionAnswer> functions;
  bool old = false;  // as of an earlier moment perhaps: others may have defined something since, that writes will meet
};
struct Questions {
  std::vector<Relation> relations;
  std::vector<Function> functions;
  bool calls = false;  // also the functions that views call, by name
  bool empty() const { return relations.empty() && functions.empty(); }
};

}  // namespace herdgate::sql
