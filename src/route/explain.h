// PGPOOL EXPLAIN ROUTE: a plan and what led to it, as rows for people. Pure.
//
// Shape    explain_route(input) -> rows of item and value; the plan is the one that decide() gave for the same values.
// Threads  pure.
#pragma once
#include <string>
#include <vector>

#include "route/route.h"

namespace herdgate::route {

struct Explain {
  const sql::Facts& facts;
  const Plan& plan;
  const sql::Answers& answers;
  const cluster::View& view;
  const config::Settings& settings;
  const sql::Statement* prepared = nullptr;  // as in Input
  NodeId lb_node = kNoNode;                  // the session's node for reads; kNoNode: not told
  const LbChoice* lb_choice = nullptr;       // why that node, when it is known
};
struct ExplainRow {
  std::string item, value;
  bool operator==(const ExplainRow&) const = default;
};
std::vector<ExplainRow> explain_route(const Explain& input);

}  // namespace herdgate::route
