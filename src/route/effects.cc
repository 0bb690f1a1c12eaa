#include "route/effects.h"

#include <algorithm>

namespace herdgate::route {
namespace {

using sql::Kind;
using sql::Statement;
using vsession::TxStatus;

bool same_name(std::string_view a, std::string_view b) {
  return a.size() == b.size() && std::equal(a.begin(), a.end(), b.begin(), [](unsigned char x, unsigned char y) {
           return std::tolower(x) == std::tolower(y);
         });
}

bool written_by(const Statement& s, const sql::Relation& r) {
  return std::find(s.written.begin(), s.written.end(), r) != s.written.end();
}

bool listed(const config::RegexList& list, std::string_view schema, const std::string& name) {
  return schema.empty() ? list.matches(name) : list.matches(std::string(schema) + "." + name);
}

// A view's text has no spelling of its own, so the list may name the function with its schema or without.
bool listed(const config::RegexList& list, const sql::RelationAnswer::Call& call) {
  return listed(list, {}, call.name) || listed(list, call.schema, call.name);
}

// read_only_function_list is made with texts in mind, not with what views call: what is not volatile reads.
bool writes_by_list(const config::Patterns& patterns, const sql::RelationAnswer& view) {
  if (!view.view) return false;
  if (view.too_many_calls || !view.calls) return true;  // not known: the lists are newer than the answer
  const bool reads_listed = !patterns.read_only_functions.empty();
  return std::any_of(view.calls->begin(), view.calls->end(), [&](const sql::RelationAnswer::Call& call) {
    if (reads_listed) return call.is_volatile && !listed(patterns.read_only_functions, call);
    return listed(patterns.write_functions, call);
  });
}

// Looks at relations, part by part, with a position in the answers.
class RelationWalk {
 public:
  RelationWalk(const Input& in, RelationsSeen& seen)
      : in_(in),
        seen_(seen),
        trace_(in.settings.check_temp_table == config::CheckTempTable::trace),
        ask_temp_(in.settings.check_temp_table == config::CheckTempTable::catalog ||
                  in.settings.check_temp_table == config::CheckTempTable::on),
        adaptive_(in.settings.disable_load_balance_on_write == config::DisableLoadBalanceOnWrite::dml_adaptive &&
                  in.state.tx.status != TxStatus::idle &&
                  (!in.state.tx.written.empty() || in.state.tx.written_overflow)),
        shared_(links_are_shared(in.settings)),
        lists_(has_function_lists(in.settings)) {}

  void look(const Statement& s) {
    const bool fires = shared_ && runs_triggers(s);
    for (const sql::Relation& r : s.relations) {
      const std::size_t at = next_++;
      const sql::RelationAnswer* answer = at < in_.answers.relations.size() ? &in_.answers.relations[at] : nullptr;
      by_name(r);
      if (answer != nullptr)
        by_answer(r, *answer);
      else
        first(seen_.unknown, r);
      if (fires && (answer == nullptr || answer->leaves_state) && written_by(s, r)) first(seen_.stateful, r);
    }
  }

 private:
  static void first(const sql::Relation*& slot, const sql::Relation& r) {
    if (slot == nullptr) slot = &r;
  }
  void by_name(const sql::Relation& r) {
    if (!r.schema.empty()) {
      if (r.schema == "pg_catalog") first(seen_.system, r);
      if ((trace_ || ask_temp_) && r.schema.starts_with("pg_temp")) first(seen_.temporary, r);
    }
    if (trace_ && traced(r)) first(seen_.temporary, r);
    if (adaptive_ && written(r)) first(seen_.written, r);
  }
  void by_answer(const sql::Relation& r, const sql::RelationAnswer& a) {
    if (a.system_catalog) first(seen_.system, r);
    if (a.temporary && ask_temp_) first(seen_.temporary, r);
    // What a materialized view was made of is not read with it. Of a table children and partitions are.
    const bool reads_below = !a.materialized;
    if ((a.unlogged || (reads_below && a.below_unlogged)) && in_.check_unlogged_table) first(seen_.unlogged, r);
    if (a.view && reads_below) by_view(r, a);
  }
  void by_view(const sql::Relation& r, const sql::RelationAnswer& a) {
    if (a.below_system) first(seen_.system, r);
    if (a.below_temporary && ask_temp_) first(seen_.temporary, r);
    if (a.below_writing_function) first(seen_.writing_view, r);
    if (lists_ && seen_.listed_view == nullptr && writes_by_list(*in_.settings.patterns, a)) seen_.listed_view = &r;
    if (adaptive_ && std::any_of(a.below.begin(), a.below.end(), [&](const auto& b) { return written(b); }))
      first(seen_.written, r);
  }
  bool traced(const sql::Relation& r) const {
    const auto& names = in_.state.temp_tables;
    return std::any_of(names.begin(), names.end(), [&](const std::string& n) { return same_name(n, r.name); });
  }
  bool written(const sql::Relation& r) const {
    const auto& names = in_.state.tx.written;
    return in_.state.tx.written_overflow ||
           std::any_of(names.begin(), names.end(), [&](const sql::Relation& w) { return same_name(w.name, r.name); });
  }

  const Input& in_;
  RelationsSeen& seen_;
  std::size_t next_ = 0;
  const bool trace_, ask_temp_, adaptive_, shared_, lists_;
};

// Built in and volatile, but leaving nothing that a session could take amiss.
bool is_harmless(std::string_view function) {
  constexpr std::string_view kHarmless[] = {"nextval", "currval",         "setval",          "lastval",
                                            "random",  "gen_random_uuid", "clock_timestamp", "timeofday"};
  return std::find(std::begin(kHarmless), std::end(kHarmless), function) != std::end(kHarmless);
}

bool of_the_system(const sql::Function& f) { return f.schema.empty() || f.schema == "pg_catalog"; }

// On a standby it would be another lock than that of the same number on the primary.
bool takes_advisory_lock(const sql::Function& f) {
  return of_the_system(f) && (f.name.starts_with("pg_advisory_") || f.name.starts_with("pg_try_advisory_"));
}

// What it sets could not be set again elsewhere: its arguments are no constants.
bool sets_unseen(const Statement& s, const sql::Function& f) {
  return s.sets_unseen && f.name == "set_config" && of_the_system(f);
}

class FunctionWalk {
 public:
  FunctionWalk(const Input& in, FunctionsSeen& seen) : in_(in), seen_(seen), patterns_(*in.settings.patterns) {}

  void look(const Statement& s) {
    for (const sql::Function& f : s.functions) {
      const std::size_t at = next_++;
      const sql::FunctionAnswer* answer = at < in_.answers.functions.size() ? &in_.answers.functions[at] : nullptr;
      if (f.by_dot && answer != nullptr && !answer->exists) continue;  // a field
      if (answer == nullptr && seen_.unknown == nullptr) seen_.unknown = &f;
      seen_.unseen |= sql::runs_text(f.name);
      if (answer != nullptr && hidden(f, *answer)) seen_.unseen = seen_.any_volatile = true;
      if (f.name == "pg_export_snapshot") seen_.exports_snapshot = &f;
      if (answer != nullptr) seen_.volatile_user |= answer->sets;
      if (answer != nullptr && answer->is_volatile) {
        seen_.any_volatile = true;
        seen_.may_set |= !answer->user_defined && !is_harmless(f.name);
        seen_.volatile_user |= answer->user_defined;
      }
      // Whatever the lists say: the session would hang on a standby.
      const bool hangs = takes_advisory_lock(f) || sets_unseen(s, f);
      if (seen_.writing == nullptr && (hangs || writes(f, answer))) seen_.writing = &f;
    }
  }

 private:
  // It may exist when its turn comes: in pg_catalog nothing comes to be, and without a schema all were looked at.
  bool hidden(const sql::Function& f, const sql::FunctionAnswer& answer) const {
    return !answer.exists && (f.schema.empty() ? in_.facts.multi() : f.schema != "pg_catalog");
  }
  bool writes(const sql::Function& f, const sql::FunctionAnswer* answer) const {
    if (f.by_dot && answer != nullptr && !answer->is_volatile) return false;  // most likely a field all the same
    if (!patterns_.read_only_functions.empty()) return !listed(patterns_.read_only_functions, f.schema, f.name);
    if (!patterns_.write_functions.empty()) return listed(patterns_.write_functions, f.schema, f.name);
    return answer != nullptr && answer->is_volatile;
  }

  const Input& in_;
  FunctionsSeen& seen_;
  const config::Patterns& patterns_;
  std::size_t next_ = 0;
};

bool part_may_be_balanced(const Statement& s) {
  const bool kind = s.kind == Kind::select || s.kind == Kind::show || s.kind == Kind::copy_to ||
                    s.kind == Kind::explain || s.kind == Kind::empty;
  return kind && select_like(s);
}

// Kinds whose running leaves a link in a state that nobody has seen.
bool leaves_unknown_state(const Statement& s) {
  return s.too_deep || s.kind == Kind::call || s.kind == Kind::do_block || s.kind == Kind::load ||
         s.kind == Kind::unparsable;
}

// What it does with the rows there are calls what it may not name: CHECK of an older constraint, say. (Index
// expressions and materialized views leave no settings behind: the server sees to that.)
bool calls_unnamed(const Statement& s) {
  return s.kind == Kind::ddl && (s.ddl_tag == "ALTER TABLE" || s.ddl_tag == "ALTER DOMAIN");
}

// A statement of class `both` changes the session, not the database; LOCK counts as a write, so that the reads after it
// go where the lock is held.
bool writes_by_class(const Statement& s) {
  if (s.kind == Kind::lock || s.too_deep) return true;
  return runs(s) && classify(s) == Class::primary && s.transaction.snapshot.empty();
}

// It changes no row: the server gives it no transaction id, and takes no snapshot for it.
bool is_idless(Kind kind) {
  constexpr Kind kIdless[] = {Kind::set,      Kind::set_constraints, Kind::lock, Kind::listen,
                              Kind::unlisten, Kind::notify,          Kind::load};
  return std::find(std::begin(kIdless), std::end(kIdless), kind) != std::end(kIdless);
}

// Whatever a statement is, when it runs.
bool asks_functions(const config::Settings& settings) {
  return links_are_shared(settings) || settings.memory_cache_enabled;
}

// Runs a prepared statement that nobody looked up: it may do anything.
bool runs_unknown(const Statement& s, const Statement* body) {
  return body == nullptr && runs(s) && classify(s) == Class::same_as_prepare;
}

void sum_up(const Input& in, Effects& e) {
  const bool by_name = names_prepared(in.facts);
  const Statement* body = by_name ? body_of(in.prepared) : nullptr;
  bool any_runs = false, by_class = false, takes_id = false, unknown_state = false, defines = false, ddl = false;
  for (const Statement& s : in.facts.statements) {
    any_runs |= runs(s);
    by_class |= runs_unknown(s, body);
    unknown_state |= runs_unknown(s, body);
    by_class |= writes_by_class(s);
    takes_id |= runs_unknown(s, body) || (writes_by_class(s) && !is_idless(s.kind));
    unknown_state |= leaves_unknown_state(s);
    defines |= s.kind == Kind::ddl;
    ddl |= calls_unnamed(s);
  }
  if (body != nullptr && any_runs) {
    by_class |= writes_by_class(*body);
    takes_id |= writes_by_class(*body);
    unknown_state |= leaves_unknown_state(*body);
  }
  const bool unseen = e.functions.unknown != nullptr;
  e.write = by_class || (any_runs && e.writes_by_function());
  e.idless = by_class && !takes_id && !(any_runs && e.writes_by_function());
  const bool sets =
      unknown_state || (any_runs && (e.functions.unseen || e.functions.volatile_user ||
                                     e.relations.writing_view != nullptr || e.relations.stateful != nullptr));
  ddl = (ddl || (defines && e.functions.may_set)) && links_are_shared(in.settings);
  e.opaque = sets || ddl || (any_runs && unseen);
  e.unseen = asks_functions(in.settings) ? e.opaque : sets;
  e.rerunnable = e.cls == Class::either && e.select_like && !e.write && !e.functions.any_volatile && !unseen &&
                 e.relations.unknown == nullptr && e.relations.writing_view == nullptr &&
                 in.state.tx.status == TxStatus::idle && in.state.pins == 0 && !in.cut_unit &&
                 e.relations.temporary == nullptr && in.facts.first().kind != Kind::prepare &&
                 in.facts.first().kind != Kind::deallocate;
}

}  // namespace

bool runs(const Statement& s) {
  if (s.kind == Kind::explain) return s.explain_analyze;
  return s.kind != Kind::prepare && s.kind != Kind::deallocate;
}

bool runs_triggers(const Statement& s) {
  return !s.written.empty() && runs(s) && s.kind != Kind::ddl && s.kind != Kind::other && !s.into;
}

bool names_prepared(const sql::Facts& facts) {
  if (facts.multi()) return false;
  const Statement& s = facts.first();
  if (s.kind == Kind::execute) return true;
  if (s.kind == Kind::deallocate) return !s.all;
  return s.kind == Kind::explain && s.inner && s.inner->kind == Kind::execute;
}

Class class_of(const sql::Facts& facts, const Statement* prepared, const config::Settings& settings) {
  if (facts.multi()) {
    const bool reads = settings.multi_statement_load_balance &&
                       std::all_of(facts.statements.begin(), facts.statements.end(), part_may_be_balanced);
    return reads ? Class::either : Class::primary;
  }
  const Class own = classify(facts.first());
  if (own != Class::same_as_prepare) return own;
  const Statement* body = body_of(prepared);
  if (body == nullptr) return Class::primary;
  // EXPLAIN EXECUTE without ANALYZE runs nothing, but only a node that has the statement can explain it.
  return classify(*body);
}

bool reads_like_select(const sql::Facts& facts, const Statement* prepared) {
  if (names_prepared(facts)) return prepared != nullptr && select_like(*body_of(prepared));
  return std::all_of(facts.statements.begin(), facts.statements.end(), select_like);
}

Effects effects_of(const Input& in) {
  Effects e;
  e.lists = has_function_lists(in.settings);
  e.cls = class_of(in.facts, in.prepared, in.settings);
  e.select_like = reads_like_select(in.facts, in.prepared);
  RelationWalk relations(in, e.relations);
  FunctionWalk functions(in, e.functions);
  for_each_part(in.facts, in.prepared, [&](const Statement& s) {
    relations.look(s);
    functions.look(s);
  });
  sum_up(in, e);
  return e;
}

sql::Isolation isolation_in_force(const vsession::SessionState& state) {
  if (state.tx.status == TxStatus::idle) return state.default_isolation;
  if (state.tx.isolation_explicit) return state.tx.isolation;
  return std::max(state.tx.isolation, state.default_isolation);
}

bool read_only_in_force(const vsession::SessionState& state) {
  if (state.tx.status == TxStatus::idle) return state.default_read_only;
  return state.tx.read_only || (state.default_read_only && !state.tx.read_write_explicit);
}

}  // namespace herdgate::route
