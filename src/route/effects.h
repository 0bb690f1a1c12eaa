// What a request does, seen through the catalog's answers and the settings, before any node is chosen.
//
// Shape    effects_of(input) walks each name once and keeps pointers to the first of each sort; decide() turns them
//          into a node. The numbers are those of the manual. Internal to this module.
// Units    names are views into the Facts of the input.
// Threads  pure.
#pragma once
#include "route/route.h"

namespace herdgate::route {

// The statement that an EXECUTE runs: the one inside PREPARE, or the one given.
inline const sql::Statement* body_of(const sql::Statement* prepared) {
  return prepared != nullptr && prepared->kind == sql::Kind::prepare && prepared->inner ? prepared->inner.get()
                                                                                        : prepared;
}
// Does the text refer to a prepared statement by name: EXECUTE, DEALLOCATE name, EXPLAIN EXECUTE?
bool names_prepared(const sql::Facts& facts);

// What a session leaves on a link may reach another one: then it matters what functions and triggers do there.
inline bool links_are_shared(const config::Settings& settings) {
  return settings.pool_mode == config::PoolMode::transaction || settings.skip_clean_reset;
}
// Is read_only_function_list or write_function_list set?
inline bool has_function_lists(const config::Settings& settings) {
  return !settings.patterns->read_only_functions.empty() || !settings.patterns->write_functions.empty();
}
// EXPLAIN without ANALYZE plans and PREPARE keeps: neither runs what it contains.
bool runs(const sql::Statement& statement);
// Runs the triggers of what it writes.
bool runs_triggers(const sql::Statement& statement);

// Calls f(statement) for the statements whose names are asked about, in the order of questions().
template <class F>
void for_each_part(const sql::Facts& facts, const sql::Statement* prepared, F&& f) {
  for (const sql::Statement& s : facts.statements) f(s);
  if (prepared != nullptr && names_prepared(facts)) f(*body_of(prepared));
}

// Class of the whole text: that of its statement, with EXECUTE resolved; several statements are `either` only when each
// of them is one that is balanced.
Class class_of(const sql::Facts& facts, const sql::Statement* prepared, const config::Settings& settings);
// The same for select_like().
bool reads_like_select(const sql::Facts& facts, const sql::Statement* prepared);

// Names that decide, each the first of its sort in the order of the text.
struct RelationsSeen {
  const sql::Relation* system = nullptr;
  const sql::Relation* temporary = nullptr;
  const sql::Relation* unlogged = nullptr;
  const sql::Relation* written = nullptr;       // dml_adaptive: written in this transaction
  const sql::Relation* writing_view = nullptr;  // a view that calls a volatile function
  const sql::Relation* listed_view = nullptr;   // a view that calls a function that writes by the lists
  const sql::Relation* unknown = nullptr;       // not answered
  const sql::Relation* stateful = nullptr;      // written, and a trigger of it may leave something in the session
};
struct FunctionsSeen {
  const sql::Function* writing = nullptr;           // by the lists, or volatile when there are no lists
  const sql::Function* exports_snapshot = nullptr;  // pg_export_snapshot
  const sql::Function* unknown = nullptr;           // not answered
  bool any_volatile = false, volatile_user = false;
  bool unseen = false;   // may run what nobody has looked at: a text, or a function that was not found
  bool may_set = false;  // one that is built in and volatile, and not known to be harmless: set_config for one
};

struct Effects {
  Class cls = Class::primary;
  bool select_like = false;
  bool lists = false;  // has_function_lists()
  bool write = false, idless = false, opaque = false, unseen = false, rerunnable = false;
  RelationsSeen relations;
  FunctionsSeen functions;
  bool writes_by_function() const {
    return functions.writing != nullptr || relations.listed_view != nullptr ||
           (!lists && (functions.unknown != nullptr || relations.writing_view != nullptr));
  }
};
Effects effects_of(const Input& input);

// Isolation in force in the open transaction, or that the next one will have.
sql::Isolation isolation_in_force(const vsession::SessionState& state);
bool read_only_in_force(const vsession::SessionState& state);

}  // namespace herdgate::route
