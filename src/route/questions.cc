// What must be asked of the catalog, and what a write adds to the names that dml_adaptive remembers.
#include <algorithm>

#include "route/conditions.h"

namespace herdgate::route {
namespace {

using sql::Statement;

struct Names {
  bool relations = false, functions = false, in_pg_catalog = false, fires = false;
};

Names names_in(const sql::Facts& facts, const Statement* prepared) {
  Names n;
  const bool by_name = names_prepared(facts);
  for_each_part(facts, prepared, [&](const Statement& s) {
    n.relations |= !s.relations.empty();
    n.functions |= !s.functions.empty();
    n.fires |= runs_triggers(s) && (!by_name || runs(facts.first()));
    for (const sql::Relation& r : s.relations) n.in_pg_catalog |= r.schema == "pg_catalog";
  });
  return n;
}

// Then names may mean what only its own link knows, nothing of the catalog is kept, and the link is reset in the end.
bool has_own_names(const vsession::SessionState& state) {
  return state.unseen || state.has(vsession::Pin::temporary_table);
}

// The tests before those that need answers already say "primary".
bool settled(const vsession::SessionState& state, const config::Settings& settings) {
  return pins_reads(state, settings) || stays_on_transaction_node(state) || by_session(state, settings).has_value() ||
         by_transaction(state, settings).has_value();
}

// The writing flag can no longer change anything: nothing is balanced, or it is set already.
bool flag_is_moot(const vsession::SessionState& state, const config::Settings& settings) {
  return by_session(state, settings).has_value() || state.tx.status == vsession::TxStatus::failed ||
         by_transaction(state, settings) == Rule::transaction_wrote;
}

std::string lower(std::string_view text) {
  std::string out(text);
  std::transform(out.begin(), out.end(), out.begin(), [](unsigned char c) { return std::tolower(c); });
  return out;
}

// The query cache asks what a read depends on and what a write changes. Of DDL it thinks the worst unasked, but for
// the query that fills a new table. LOCK changes nothing, and takes no snapshot, as a question within its transaction
// would.
bool cache_asks(const sql::Facts& facts, const Statement* prepared) {
  bool asks = false;
  for_each_part(facts, prepared,
                [&](const Statement& s) { asks |= (s.kind != sql::Kind::ddl || s.into) && s.kind != sql::Kind::lock; });
  return asks;
}

Needs names_needed(const sql::Facts& facts, const vsession::SessionState& state, const config::Settings& settings,
                   const Statement* prepared) {
  const Names names = names_in(facts, prepared);
  if (!names.relations && !names.functions) return {};
  // Whether a link may go to another session as it is depends on the functions and triggers that run, wherever they do.
  const bool shared = links_are_shared(settings);
  Needs n{.relations = names.fires && shared && !has_own_names(state), .functions = names.functions && shared};
  if (settings.memory_cache_enabled && cache_asks(facts, prepared)) {
    n.relations = names.relations;
    n.functions = names.functions;
    return n;
  }
  if (settings.backend_clustering_mode == config::ClusteringMode::raw) return n;
  if (class_of(facts, prepared, settings) != Class::either) return n;
  n.relations |=
      names.relations && !names.in_pg_catalog && reads_like_select(facts, prepared) && !settled(state, settings);
  n.functions |= names.functions && !flag_is_moot(state, settings);
  return n;
}

}  // namespace

Needs needs(const sql::Facts& facts, const vsession::SessionState& state, const config::Settings& settings,
            const Statement* prepared) {
  Needs n = names_needed(facts, state, settings, prepared);
  n.calls = n.relations && has_function_lists(settings);
  return n;
}

sql::Questions questions(const sql::Facts& facts, const vsession::SessionState& state, const config::Settings& settings,
                         const Statement* prepared) {
  sql::Questions q;
  const Needs wanted = needs(facts, state, settings, prepared);
  if (!wanted.any()) return q;
  q.calls = wanted.calls;
  for_each_part(facts, prepared, [&](const Statement& s) {
    if (wanted.relations) q.relations.insert(q.relations.end(), s.relations.begin(), s.relations.end());
    if (wanted.functions) q.functions.insert(q.functions.end(), s.functions.begin(), s.functions.end());
  });
  return q;
}

std::vector<sql::Relation> adaptive_written(const sql::Facts& facts, const config::Settings& settings,
                                            const Statement* prepared) {
  std::vector<sql::Relation> out;
  const auto add = [&](std::string name) {
    sql::Relation r{.schema = {}, .name = std::move(name)};
    if (std::find(out.begin(), out.end(), r) == out.end()) out.push_back(std::move(r));
  };
  const auto add_dependents = [&](const std::string& object, bool is_function) {
    for (const config::ObjectRelation& pair : settings.patterns->relations)
      if (pair.object == object && pair.object_is_function == is_function && !pair.dependent_is_function)
        add(lower(pair.dependent));
  };
  const bool only_reads = reads_like_select(facts, prepared);
  for_each_part(facts, prepared, [&](const Statement& s) {
    for (const sql::Relation& r : s.relations) {
      if (only_reads) break;
      add(lower(r.name));
      add_dependents(lower(r.name), false);
    }
    for (const sql::Function& f : s.functions) add_dependents(lower(f.name), true);
  });
  return out;
}

}  // namespace herdgate::route
