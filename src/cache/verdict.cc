#include "cache/verdict.h"

#include <fmt/format.h>

#include <algorithm>

#include "cache/key.h"

namespace herdgate::cache {
namespace {

using sql::Kind;
using sql::LeadingComment;
using sql::Statement;

template <class Name>
std::string full_name(const Name& name) {
  return name.schema.empty() ? name.name : name.schema + "." + name.name;
}

// By the form of the text, for which FORCE QUERY CACHE makes no difference either.
std::string_view never(const sql::Facts& facts) {
  const Statement& s = facts.first();
  if (facts.multi()) return "several statements";
  if (s.kind == Kind::unparsable || s.too_deep) return "the text could not be examined";
  if (s.kind != Kind::select) return "not a SELECT";
  if (facts.leading_comment == LeadingComment::no_query_cache) return "NO QUERY CACHE comment";
  if (s.into) return "SELECT INTO";
  if (s.writing_with_top || s.writing_with_any || !s.written.empty()) return "WITH changes data";
  if (!s.settings.empty()) return "it changes a setting";
  return {};
}

std::string_view by_form(const Asked& in) {
  const Statement& s = in.facts.first();
  if (in.facts.leading_comment == LeadingComment::other && !in.allow_sql_comments) return "a comment comes first";
  if (s.locking) return "rows are locked";
  if (s.tablesample) return "TABLESAMPLE";
  if (s.locks_shown) return "xmax, cmin or cmax is read";
  if (s.current_time) return "the current time is used";
  if (s.time_zone_cast) return "a cast depends on the time zone";
  return {};
}

std::string by_relation(const sql::Relation& r, const sql::RelationAnswer& a, const config::Patterns& patterns) {
  const auto name = [&r] { return full_name(r); };  // made only where it is needed: most have nothing against them
  if (!patterns.cache_unsafe_tables.empty() && patterns.cache_unsafe_tables.matches(name()))
    return fmt::format("{} is in cache_unsafe_memqcache_table_list", name());
  if (!a.exists) return fmt::format("{} was not found", name());
  if (a.too_many) return fmt::format("too many relations are below {}, or too many names are in the text", name());
  if (r.schema == "pg_catalog" || a.system_catalog) return fmt::format("{} is a system catalog", name());
  if (a.temporary) return fmt::format("{} is temporary", name());
  if (a.row_security) return fmt::format("{} has row security", name());
  if (a.other_kind) return fmt::format("{} is neither a table nor a view", name());
  const bool safe = (a.unlogged || a.view || a.below_unlogged) && patterns.cache_safe_tables.matches(name());
  if (a.unlogged && !safe) return fmt::format("{} is unlogged", name());
  if (a.view && !safe) return fmt::format("{} is a view", name());
  if (a.below_system) return fmt::format("a system catalog is below {}", name());
  if (a.below_temporary) return fmt::format("a temporary table is below {}", name());
  if (a.below_unlogged && !safe) return fmt::format("an unlogged table is below {}", name());
  if (a.below_writing_function) return fmt::format("{} calls a volatile function", name());
  return {};
}

std::string by_function(const sql::Function& f, const sql::FunctionAnswer& a) {
  const auto name = [&f] { return full_name(f); };
  if (!a.exists) return f.by_dot ? std::string() : fmt::format("function {} was not found", name());
  if (f.schema.starts_with("pg_temp")) return fmt::format("function {} is the session's own", name());
  if (a.is_volatile) return fmt::format("function {} is volatile", name());
  if (a.stable) return fmt::format("function {} is not immutable", name());
  if (a.returns_time_zone_type) return fmt::format("function {} returns a time with time zone", name());
  return {};
}

std::string by_names(const Asked& in) {
  const Statement& s = in.facts.first();
  for (std::size_t i = 0; i < s.relations.size(); ++i) {
    if (std::string why = by_relation(s.relations[i], in.answers.relations[i], in.patterns); !why.empty()) return why;
    if (sql::calls_row_function(s, in.answers.relations[i], /*that_writes=*/false))
      return fmt::format("{} has functions of its rows that are not immutable", full_name(s.relations[i]));
  }
  for (std::size_t i = 0; i < s.functions.size(); ++i) {
    if (std::string why = by_function(s.functions[i], in.answers.functions[i]); !why.empty()) return why;
  }
  return {};
}

std::string why_not(const Asked& in) {
  if (in.text.size() > sql::FactsCache::kMaxCachedText) return "its text is too long";
  if (const std::string_view why = never(in.facts); !why.empty()) return std::string(why);
  const Statement& s = in.facts.first();
  // Without the tables no change of them would be noticed, whatever a comment demands.
  if (in.answers.relations.size() < s.relations.size() || in.answers.functions.size() < s.functions.size())
    return "what it names was not looked up";
  if (in.answers.old) return "what it names was looked up in a snapshot that may be old";
  if (in.facts.leading_comment == LeadingComment::force_query_cache) return {};
  if (const std::string_view why = by_form(in); !why.empty()) return std::string(why);
  return by_names(in);
}

}  // namespace

bool may_be_cached(const sql::Facts& facts, bool allow_sql_comments) {
  if (!never(facts).empty()) return false;
  return facts.leading_comment != LeadingComment::other || allow_sql_comments;
}

bool means_a_moment(const sql::Facts& facts, std::string_view text, bool standard_strings) {
  return facts.leading_comment != LeadingComment::force_query_cache && text_names_a_moment(text, standard_strings);
}

Verdict verdict(const Asked& asked) {
  Verdict v = standing_verdict(asked);
  if (v.ok() && means_a_moment(asked.facts, asked.text, asked.standard_strings))
    v.refusal = "it may mean the current time (now, today, …)";
  return v;
}

Verdict standing_verdict(const Asked& asked) {
  Verdict v;
  v.refusal = why_not(asked);
  if (!v.ok()) return v;
  for (std::size_t i = 0; i < asked.facts.first().relations.size(); ++i) {
    const std::vector<std::uint32_t>& reads = asked.answers.relations[i].reads;
    if (asked.answers.relations[i].exists && reads.empty()) {
      v.refusal = "its tables are not known";
      return v;
    }
    v.tables.insert(v.tables.end(), reads.begin(), reads.end());
  }
  std::sort(v.tables.begin(), v.tables.end());
  v.tables.erase(std::unique(v.tables.begin(), v.tables.end()), v.tables.end());
  return v;
}

std::string_view refusal(const Situation& now) {
  if (now.failed_transaction) return "the transaction has failed";
  if (now.wrote) return "the transaction has written";
  if (now.one_snapshot) return "the transaction has one snapshot";
  if (now.temporary) return "the session has temporary tables";
  if (now.unknown_state) return "the session's state is not known";
  if (now.role_changed) return "the session has changed its role";
  return {};
}

}  // namespace herdgate::cache
