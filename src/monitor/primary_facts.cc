#include "monitor/primary_facts.h"

namespace herdgate::monitor {

void PrimaryFacts::note(NodeId node, const Answer& answer, NodeId lost) {
  if (answer.sync_names)
    facts_[node] = {cluster::parse_sync_names(*answer.sync_names), answer.position, answer.timeline};
  if (answer.in_recovery == true && node != lost) facts_.erase(node);
}

PrimaryFacts::Facts PrimaryFacts::of(NodeId node) const {
  const auto known = facts_.find(node);
  return known == facts_.end() ? Facts{} : known->second;
}

}  // namespace herdgate::monitor
