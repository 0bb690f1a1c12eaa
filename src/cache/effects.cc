#include "cache/effects.h"

#include <algorithm>
#include <functional>
#include <iterator>
#include <string>

namespace herdgate::cache {
namespace {

using sql::Kind;
using sql::Statement;

// The places of a statement's names among the answers.
struct Place {
  std::size_t relations = 0, functions = 0;
};

// Of the DDL that ends nothing by itself: what runs event triggers, by their firing matrix, and what does not.
constexpr std::string_view kFires[] = {"COMMENT", "CREATE INDEX", "REINDEX"};
constexpr std::string_view kHarmless[] = {"ANALYZE", "CREATE DATABASE", "CREATE TABLESPACE"};

template <class List>
bool among(std::string_view tag, const List& list) {
  return std::find(std::begin(list), std::end(list), tag) != std::end(list);
}

// By its name alone. UPDATE of pg_settings is SET.
bool may_be_catalog(const sql::Relation& r) {
  return (r.schema.empty() || r.schema == "pg_catalog") && r.name.starts_with("pg_") && r.name != "pg_settings";
}

// A table of pg_catalog, or a view that may pass a write on to one. Nothing passes through PostgreSQL's own views but
// what UPDATE of pg_settings sets.
bool writes_catalog(const sql::RelationAnswer& a) { return a.view ? a.below_system : a.system_catalog; }

bool fires(const Statement& s) { return s.creates_temp || (s.kind == Kind::ddl && among(s.ddl_tag, kFires)); }

class Gathering {
 public:
  Gathering(const sql::Answers& answers, Effects& out) : answers_(answers), out_(out) {}

  void add(const Statement& s) {
    if (runs(s)) statement(s);
    place_.relations += s.relations.size();
    place_.functions += s.functions.size();
  }
  void add_unknown() { unknown_with_definitions(); }

 private:
  static bool runs(const Statement& s) {
    if (s.kind == Kind::explain) return s.explain_analyze;
    return s.kind != Kind::prepare && s.kind != Kind::deallocate;
  }
  void statement(const Statement& s);
  void control(const Statement& s);
  void renames(const Statement& s);
  void ddl(const Statement& s);
  void written(const Statement& s);
  void creates(const Statement& s);
  void functions(const Statement& s);
  void unknown() { out_.scope.database = out_.unknown_state = true; }
  void unknown_with_definitions() {
    unknown();
    may_define();
  }
  // What a text that is not seen defines may be the rights of a role, which count in every database.
  void may_define() { out_.scope.everything = out_.defines = true; }

  const sql::Answers& answers_;
  Effects& out_;
  Place place_;
};

void Gathering::control(const Statement& s) {
  switch (s.kind) {
    case Kind::prepare_transaction:
      out_.prepares = s.name;
      out_.ends_transaction = out_.takes_back = true;
      return;
    case Kind::commit:
    case Kind::rollback:
      out_.ends_transaction = out_.takes_back = true;
      return;
    case Kind::rollback_to:
      out_.takes_back = true;
      return;
    case Kind::commit_prepared:
      out_.commits_prepared = s.name;
      return;
    case Kind::rollback_prepared:
      out_.rolls_back_prepared = s.name;
      return;
    case Kind::load:
      out_.unknown_state = true;
      return;
    default:
      return;
  }
}

// Of what creates or drops something for good the database goes anyway.
void Gathering::renames(const Statement& s) {
  constexpr std::string_view kSettings[] = {"search_path", "role", "session_authorization"};
  for (const sql::Setting& setting : s.settings) {
    out_.renames |= setting.form == sql::SetForm::reset_all ||
                    std::find(std::begin(kSettings), std::end(kSettings), setting.name) != std::end(kSettings);
  }
  out_.renames |= s.sets_unseen;
  out_.renames |= s.creates_temp || s.kind == Kind::discard;
}

void Gathering::statement(const Statement& s) {
  control(s);
  renames(s);
  out_.fires |= fires(s);
  out_.heeds |= fires(s);
  switch (s.kind) {
    case Kind::ddl:
      return ddl(s);
    case Kind::lock:
      return;
    case Kind::call:
      unknown();
      return functions(s);
    case Kind::unparsable:  // there may be a COMMIT in it
      out_.ends_transaction = out_.takes_back = true;
      return unknown_with_definitions();
    case Kind::do_block:
      return unknown_with_definitions();
    case Kind::truncate:  // CASCADE takes whatever refers to it
      out_.scope.database = true;
      return written(s);
    case Kind::other:
      out_.scope.database = out_.defines = true;
      return;
    default:
      break;
  }
  if (s.too_deep) return unknown_with_definitions();
  if (s.into) return creates(s);
  written(s);
  functions(s);
}

// SELECT INTO, CREATE TABLE AS. What it fills is new; what its query changes is not.
void Gathering::creates(const Statement& s) {
  out_.scope.database |= !s.creates_temp || s.writing_with_any;
  out_.defines |= !s.creates_temp;  // it may hide an older one
  const Statement* query = &s;
  while (query->inner) query = query->inner.get();
  if (query->kind == Kind::execute) return unknown_with_definitions();
  functions(s);
}

// Another definition may change any answer, be it by a new table that hides the old one.
void Gathering::ddl(const Statement& s) {
  constexpr std::string_view kEverything[] = {"ALTER TABLE",   "ALTER DATABASE", "ALTER ROLE", "ALTER ROLE SET",
                                              "DROP DATABASE", "DROP ROLE",      "DROP OWNED", "REASSIGN OWNED",
                                              "ALTER SYSTEM",  "GRANT ROLE"};  // WITH INHERIT FALSE takes away
  if (s.into) creates(s);
  if (fires(s) || among(s.ddl_tag, kHarmless) || (s.ddl_tag == "ALTER ROLE" && s.role_login_only)) return;
  out_.scope.database = out_.defines = true;
  out_.scope.everything |= among(s.ddl_tag, kEverything) || s.ddl_tag.starts_with("REVOKE") || s.grants_role;
}

void Gathering::written(const Statement& s) {
  for (const sql::Relation& target : s.written) {
    const auto at = std::find(s.relations.begin(), s.relations.end(), target);
    const std::size_t place = place_.relations + static_cast<std::size_t>(at - s.relations.begin());
    if (at == s.relations.end() || place >= answers_.relations.size()) {
      out_.scope.database = true;
      if (may_be_catalog(target)) may_define();
      continue;
    }
    const sql::RelationAnswer& a = answers_.relations[place];
    out_.by_name |= target.schema.empty();
    if (writes_catalog(a)) may_define();
    out_.scope.database |= a.side_effects;
    if (a.side_effects && a.may_define) may_define();
    out_.unknown_state |= a.leaves_state;
    if (a.temporary && !a.view) continue;  // by a temporary view any table is written
    out_.scope.database |= !a.exists || a.reads.empty();
    out_.scope.add({a.reads});
    out_.scope.add({a.cascades});
  }
}

// It may exist when its turn comes: in pg_catalog nothing comes to be, and without a schema all were looked at.
bool hidden(const sql::Function& f, const sql::FunctionAnswer& a, bool defines) {
  return !a.exists && !f.by_dot && (f.schema.empty() ? defines : f.schema != "pg_catalog");
}

void Gathering::functions(const Statement& s) {
  for (std::size_t i = 0; i < s.functions.size(); ++i) {
    const std::size_t place = place_.functions + i;
    if (place >= answers_.functions.size() && s.functions[i].by_dot) return unknown();
    if (sql::runs_text(s.functions[i].name) || place >= answers_.functions.size()) return unknown_with_definitions();
    const sql::FunctionAnswer& a = answers_.functions[place];
    if (hidden(s.functions[i], a, out_.defines)) return unknown_with_definitions();
    out_.heeds |= a.user_defined || s.functions[i].by_dot;
    if (a.is_volatile && a.user_defined) unknown();
    out_.unknown_state |= a.sets;
    if (a.may_define) may_define();
  }
  for (std::size_t i = 0; i < s.relations.size(); ++i) {  // views that call one
    const std::size_t place = place_.relations + i;
    out_.scope.database |= place >= answers_.relations.size();
    if (place >= answers_.relations.size()) continue;
    const sql::RelationAnswer& a = answers_.relations[place];
    out_.heeds |= a.view || sql::calls_row_function(s, a, /*that_writes=*/false);
    if (a.below_writing_function || sql::calls_row_function(s, a, /*that_writes=*/true)) unknown();
    if (a.below_writing_function && a.may_define) may_define();
  }
}

bool names_prepared(const Statement& s) {
  return s.kind == Kind::execute || (s.kind == Kind::explain && s.inner && s.inner->kind == Kind::execute);
}

const Statement* body_of(const Statement* prepared) {
  return prepared != nullptr && prepared->kind == Kind::prepare && prepared->inner ? prepared->inner.get() : prepared;
}

}  // namespace

void Scope::add(const Scope& other) {
  database |= other.database;
  everything |= other.everything;
  for (const std::uint32_t table : other.tables) {
    if (std::find(tables.begin(), tables.end(), table) == tables.end()) tables.push_back(table);
  }
}

Scope Scope::beyond(const Scope& other) const {
  if (other.everything) return {};
  if (everything) return {.everything = true};
  if (other.database) return {};
  if (database) return {.database = true};
  Scope rest;
  const auto there = [&](std::uint32_t table) {
    return std::find(other.tables.begin(), other.tables.end(), table) != other.tables.end();
  };
  std::copy_if(tables.begin(), tables.end(), std::back_inserter(rest.tables), std::not_fn(there));
  return rest;
}

bool may_fire(const sql::Facts& facts) { return std::any_of(facts.statements.begin(), facts.statements.end(), fires); }

Effects effects_of(const sql::Facts& facts, const sql::Answers& answers, const Statement* prepared) {
  static const sql::Answers kNotKnown;
  Effects out;
  Gathering gathering(answers.old ? kNotKnown : answers, out);
  for (const Statement& s : facts.statements) gathering.add(s);
  for (const Statement& s : facts.statements) {
    if (!names_prepared(s) || (s.kind == Kind::explain && !s.explain_analyze)) continue;
    if (prepared == nullptr || facts.multi()) {
      gathering.add_unknown();
    } else {
      gathering.add(*body_of(prepared));
    }
  }
  out.scope.database |= out.renames && out.by_name;
  return out;
}

}  // namespace herdgate::cache
