#include "route/conditions.h"

namespace herdgate::route {
namespace {

using config::DisableLoadBalanceOnWrite;
using sql::Kind;
using vsession::TxStatus;

bool is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }

// The original looks at the first octet of a SELECT to see whether a comment leads it; other kinds it does not check,
// but a comment in front of them means the same.
bool begins_well(const Input& in) {
  const Kind kind = in.facts.first().kind;
  if (in.allow_sql_comments || kind == Kind::prepare || kind == Kind::execute || kind == Kind::deallocate) return true;
  const char c = in.settings.ignore_leading_white_space ? in.facts.first_nonblank : in.facts.first_char;
  if (c == '\0' || c == ';') return true;
  if (kind != Kind::select && kind != Kind::empty) return is_letter(c);
  constexpr std::string_view kFirst = "sS(wWtT";
  return kFirst.find(c) != std::string_view::npos;
}

bool wrote_before(const vsession::SessionState& state, DisableLoadBalanceOnWrite mode) {
  switch (mode) {
    case DisableLoadBalanceOnWrite::transaction:
    case DisableLoadBalanceOnWrite::always:
      return state.tx.wrote;
    case DisableLoadBalanceOnWrite::trans_transaction:
      return state.tx.wrote || state.wrote_in_transaction;
    case DisableLoadBalanceOnWrite::off:
    case DisableLoadBalanceOnWrite::dml_adaptive:
      return false;
  }
  return true;
}

template <class Name>
std::string named(std::string_view what, const Name& name) {
  std::string text(what);
  text += ' ';
  if (!name.schema.empty()) text.append(name.schema).append(".");
  return text += name.name;
}

std::optional<Rule> by_relations(const RelationsSeen& seen, std::string& detail) {
  const auto found = [&](Rule rule, const sql::Relation& r) {
    detail = named("relation", r);
    return rule;
  };
  if (seen.system) return found(Rule::system_catalog, *seen.system);
  if (seen.unknown) {
    detail = named("relation", *seen.unknown) + " is not known";
    return Rule::system_catalog;
  }
  if (seen.temporary) return found(Rule::temporary_table, *seen.temporary);
  if (seen.unlogged) return found(Rule::unlogged_table, *seen.unlogged);
  return std::nullopt;
}

std::optional<Rule> by_functions(const Effects& e, std::string& detail) {
  if (e.functions.exports_snapshot) {
    detail = named("function", *e.functions.exports_snapshot);
    return Rule::snapshot_shared;
  }
  if (e.functions.writing) {
    detail = named("function", *e.functions.writing);
    return Rule::writing_function;
  }
  if (e.relations.listed_view) {
    detail = named("view", *e.relations.listed_view);
    return Rule::writing_function;
  }
  if (e.lists) return std::nullopt;
  if (e.functions.unknown) {
    detail = named("function", *e.functions.unknown) + " is not known";
    return Rule::writing_function;
  }
  if (e.relations.writing_view) {
    detail = named("view", *e.relations.writing_view);
    return Rule::writing_function;
  }
  return std::nullopt;
}

}  // namespace

std::optional<Rule> by_session(const vsession::SessionState& state, const config::Settings& settings) {
  if (state.wrote_in_session && settings.disable_load_balance_on_write == DisableLoadBalanceOnWrite::always)
    return Rule::wrote_always;
  if (!settings.load_balance_mode) return Rule::load_balance_off;
  return std::nullopt;
}

std::optional<Rule> by_text(const Input& in, const Effects& e) {
  if (!e.select_like) return Rule::not_select_like;
  if (!begins_well(in)) return Rule::comment_blocks;
  return std::nullopt;
}

std::optional<Rule> by_transaction(const vsession::SessionState& state, const config::Settings& settings) {
  const sql::Isolation isolation = isolation_in_force(state);
  if (state.tx.status != TxStatus::idle) {
    if (state.tx.multi_statement_block) return Rule::multi_statement_block;
    if (wrote_before(state, settings.disable_load_balance_on_write)) return Rule::transaction_wrote;
    if (state.tx.status == TxStatus::failed) return Rule::transaction_failed;
    if (state.tx.snapshot_shared) return Rule::snapshot_shared;
    if (isolation == sql::Isolation::repeatable_read && !read_only_in_force(state)) return Rule::transaction_node;
  }
  if (isolation == sql::Isolation::serializable) return Rule::serializable;
  return std::nullopt;
}

std::optional<Rule> by_names(const Input& in, const Effects& e, std::string& detail) {
  if (const auto rule = by_relations(e.relations, detail)) return rule;
  const config::RegexList& patterns = in.settings.patterns->primary_routing_queries;
  if (!patterns.empty()) {
    if (const int at = patterns.first_match(in.text); at >= 0) {
      detail = "pattern " + patterns.pattern(at);
      return Rule::primary_pattern;
    }
  }
  if (const auto rule = by_functions(e, detail)) return rule;
  if (e.relations.written) {
    detail = named("relation", *e.relations.written);
    return Rule::dml_adaptive;
  }
  return std::nullopt;
}

}  // namespace herdgate::route
