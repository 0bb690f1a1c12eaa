#include "route/explain.h"

#include <fmt/format.h>

#include <algorithm>

#include "route/effects.h"
#include "route/hold.h"

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
  const bool stands_in = view.primary == kNoNode && view.primary_awaited;
  const bool primary = id == view.write_node() && !stands_in;
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

std::string function_text(const sql::Function& f, const sql::FunctionAnswer* a) {
  if (a == nullptr) return "not looked up";
  if (!a->exists) return f.by_dot ? "none, it is a column" : "does not exist";
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
  // A choice by weights may fall on another node each time it is made.
  const route::LbChoice* choice = in.lb_choice;
  const bool by_weights = choice != nullptr && choice->rule == Rule::load_balance && choice->detail.empty();
  if (by_weights) {
    rows.push_back({"chosen by", "weights"});
  } else if (choice != nullptr && choice->node == in.lb_node) {
    rows.push_back({"chosen by", choice->detail.empty() ? std::string(rule_name(choice->rule)) : choice->detail});
  }
  if (in.lb_node != in.view.write_node()) rows.push_back({"its delay", delay_text(*node, in.settings)});
}

template <class T>
const T* at_or_null(const std::vector<T>& all, std::size_t at) {
  return at < all.size() ? &all[at] : nullptr;
}

void add_names(const Explain& in, std::vector<ExplainRow>& rows) {
  std::vector<ExplainRow> functions;
  std::size_t r = 0, f = 0;
  for_each_part(in.facts, in.prepared, [&](const Statement& s) {
    for (const sql::Relation& x : s.relations)
      rows.push_back({"relation", full_name(x) + ": " + relation_text(at_or_null(in.answers.relations, r++))});
    for (const sql::Function& x : s.functions)
      functions.push_back({"function", full_name(x) + ": " + function_text(x, at_or_null(in.answers.functions, f++))});
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
  const HoldInput alone{.view = in.view, .node = in.plan.node, .write = in.plan.write, .begins = true};
  if (hold(alone) == Hold::primary) rows.push_back({"waits for", "a primary"});
  rows.push_back({"rule", std::string(rule_name(in.plan.rule))});
  rows.push_back({"reason", std::string(rule_sentence(in.plan.rule))});
  if (!in.plan.detail.empty()) rows.push_back({"detail", in.plan.detail});
  rows.push_back({"effects", effects_text(in.plan)});
  add_reads_node(in, rows);
  add_names(in, rows);
  if (!in.facts.parse_error.empty()) rows.push_back({"parse error", in.facts.parse_error});
  return rows;
}

}  // namespace herdgate::route
