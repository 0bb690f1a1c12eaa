#include "route/explain.h"

#include <fmt/format.h>

#include <algorithm>

#include "route/effects.h"

namespace herdgate::route {
namespace {

using sql::Kind;
using sql::Statement;

template <class Name>
std::string full_name(const Name& name) {
  return name.schema.empty() ? name.name : name.schema + "." + name.name;
}

std::string kinds_of(const sql::Facts& facts) {
  std::string out;
  for (const Statement& s : facts.statements) {
    if (!out.empty()) out += ", ";
    out += sql::kind_name(s.kind);
    if (s.inner) out.append(" of ").append(sql::kind_name(s.inner->kind));
  }
  return out;
}

std::string node_text(const cluster::View& view, NodeId id) {
  const cluster::Node* node = view.find(id);
  if (node == nullptr) return "none";
  const bool primary = id == view.write_node();
  return fmt::format("{} ({}:{}, {}{})", id.value, node->host, node->port, primary ? "primary" : "standby",
                     node->live() ? "" : ", not live");
}

std::string effects_text(const Plan& plan) {
  std::string out;
  const auto add = [&](bool on, std::string_view word) {
    if (!on) return;
    if (!out.empty()) out += ", ";
    out += word;
  };
  add(plan.write, "counts as a write");
  add(plan.both, "takes effect on every connection of the session");
  add(plan.opaque, "may leave unknown state on the connection");
  add(plan.rerunnable, "may be run again elsewhere");
  return out.empty() ? "none" : out;
}

std::string view_text(const sql::RelationAnswer& a) {
  std::string out = "view";
  for (std::size_t i = 0; i < a.below.size(); ++i) out += (i == 0 ? " over " : ", ") + full_name(a.below[i]);
  if (a.below_system) out += "; a system catalog is below";
  if (a.below_temporary) out += "; a temporary table is below";
  if (a.below_unlogged) out += "; an unlogged table is below";
  if (a.below_writing_function) out += "; it calls a volatile function";
  return out;
}

std::string relation_text(const sql::RelationAnswer* a) {
  if (a == nullptr) return "not looked up";
  if (!a->exists) return "does not exist";
  std::string out = "table";
  if (a->view) out = view_text(*a);
  if (a->system_catalog) out = "system catalog";
  if (a->temporary) out = "temporary " + out;
  if (a->unlogged) out = "unlogged " + out;
  if (a->row_security) out += ", row security";
  return out;
}

std::string function_text(const sql::FunctionAnswer* a) {
  if (a == nullptr) return "not looked up";
  if (!a->exists) return "does not exist";
  std::string out = a->is_volatile ? "volatile" : a->stable ? "stable" : "immutable";
  return out + (a->user_defined ? ", user-defined" : ", built in");
}

std::string delay_text(const cluster::Node& node, const config::Settings& settings) {
  std::string out;
  if (node.delay_time) {
    out = fmt::format("{} ms", std::chrono::duration_cast<std::chrono::milliseconds>(*node.delay_time).count());
  } else if (node.delay_bytes) {
    out = fmt::format("{} bytes", *node.delay_bytes);
  } else {
    return "not measured";
  }
  return out + (too_late(node, settings) ? ", more than the threshold" : "");
}

// The node that this session's reads go to, how it was chosen, and how far it lags behind.
void add_reads_node(const Explain& in, std::vector<ExplainRow>& rows) {
  const cluster::Node* node = in.view.find(in.lb_node);
  if (node == nullptr) return;
  rows.push_back({"node for reads", node_text(in.view, in.lb_node)});
  if (in.lb_choice != nullptr && in.lb_choice->node == in.lb_node)
    rows.push_back({"chosen by", in.lb_choice->rule == Rule::load_balance && in.lb_choice->detail.empty() ? "weights"
                                 : in.lb_choice->detail.empty() ? std::string(rule_name(in.lb_choice->rule))
                                                                : in.lb_choice->detail});
  if (in.lb_node != in.view.write_node()) rows.push_back({"its delay", delay_text(*node, in.settings)});
}

template <class T>
const T* at_or_null(const std::vector<T>& all, std::size_t at) {
  return at < all.size() ? &all[at] : nullptr;
}

// What keeps a result out of the query cache by the shape of the statement alone; empty: nothing does.
std::string_view shape_excludes(const sql::Facts& facts) {
  if (facts.multi()) return "several statements";
  const Statement& s = facts.first();
  if (s.kind == Kind::unparsable || s.too_deep) return "the text could not be examined";
  if (s.kind != Kind::select) return "not a SELECT";
  if (facts.leading_comment == sql::LeadingComment::no_query_cache) return "NO QUERY CACHE comment";
  if (facts.leading_comment == sql::LeadingComment::force_query_cache) return {};
  if (s.into) return "SELECT INTO";
  if (s.locking) return "rows are locked";
  if (s.writing_with_top || s.writing_with_any) return "WITH changes data";
  if (s.tablesample) return "TABLESAMPLE";
  if (s.current_time) return "the current time is used";
  if (s.time_zone_cast) return "a cast depends on the time zone";
  return {};
}

std::string relation_excludes(const sql::Relation& r, const sql::RelationAnswer* a, const config::Patterns& p) {
  const std::string name = full_name(r);
  if (p.cache_unsafe_tables.matches(name)) return fmt::format("{} is in cache_unsafe_memqcache_table_list", name);
  if (r.schema == "pg_catalog") return fmt::format("{} is a system catalog", name);
  if (a == nullptr) return {};
  if (a->system_catalog) return fmt::format("{} is a system catalog", name);
  if (a->temporary) return fmt::format("{} is temporary", name);
  if (a->row_security) return fmt::format("{} has row security", name);
  const bool safe = p.cache_safe_tables.matches(name);
  if (a->unlogged && !safe) return fmt::format("{} is unlogged", name);
  if (a->view && !safe) return fmt::format("{} is a view", name);
  return {};
}

std::string function_excludes(const sql::Function& f, const sql::FunctionAnswer* a) {
  if (a == nullptr) return {};
  const std::string name = full_name(f);
  if (a->is_volatile) return fmt::format("function {} is volatile", name);
  if (a->stable) return fmt::format("function {} is not immutable", name);
  if (a->returns_time_zone_type) return fmt::format("function {} returns a time with time zone", name);
  return {};
}

std::string names_exclude(const Explain& in) {
  std::size_t r = 0, f = 0;
  std::string why;
  for_each_part(in.facts, in.prepared, [&](const Statement& s) {
    for (const sql::Relation& x : s.relations) {
      const auto* a = at_or_null(in.answers.relations, r++);
      if (why.empty()) why = relation_excludes(x, a, *in.settings.patterns);
    }
    for (const sql::Function& x : s.functions) {
      const auto* a = at_or_null(in.answers.functions, f++);
      if (why.empty()) why = function_excludes(x, a);
    }
  });
  return why;
}

std::string cacheable_text(const Explain& in) {
  if (const auto shape = shape_excludes(in.facts); !shape.empty()) return fmt::format("no: {}", shape);
  const bool forced = in.facts.leading_comment == sql::LeadingComment::force_query_cache;
  if (const std::string why = forced ? std::string{} : names_exclude(in); !why.empty()) return "no: " + why;
  return "unknown (query cache not built yet)";
}

void add_names(const Explain& in, std::vector<ExplainRow>& rows) {
  std::vector<ExplainRow> functions;
  std::size_t r = 0, f = 0;
  for_each_part(in.facts, in.prepared, [&](const Statement& s) {
    for (const sql::Relation& x : s.relations)
      rows.push_back({"relation", full_name(x) + ": " + relation_text(at_or_null(in.answers.relations, r++))});
    for (const sql::Function& x : s.functions)
      functions.push_back({"function", full_name(x) + ": " + function_text(at_or_null(in.answers.functions, f++))});
  });
  rows.insert(rows.end(), functions.begin(), functions.end());
}

}  // namespace

std::vector<ExplainRow> explain_route(const Explain& in) {
  std::vector<ExplainRow> rows;
  rows.push_back({"statement", kinds_of(in.facts)});
  const Class cls = class_of(in.facts, in.prepared, in.settings);
  rows.push_back({"class", std::string(class_name(cls))});
  rows.push_back({"node", node_text(in.view, in.plan.node)});
  rows.push_back({"rule", std::string(rule_name(in.plan.rule))});
  rows.push_back({"reason", std::string(rule_sentence(in.plan.rule))});
  if (!in.plan.detail.empty()) rows.push_back({"detail", in.plan.detail});
  rows.push_back({"effects", effects_text(in.plan)});
  add_reads_node(in, rows);
  add_names(in, rows);
  if (!in.facts.parse_error.empty()) rows.push_back({"parse error", in.facts.parse_error});
  rows.push_back({"cacheable", cacheable_text(in)});
  return rows;
}

}  // namespace herdgate::route
