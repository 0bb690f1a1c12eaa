// What nodes said of themselves while they were the primary: what the built-in failover needs to know of a primary that
// cannot be asked any more.
//
// Shape    probes and promotions are noted, of() is asked when a primary is lost.
// Units    positions in octets of WAL.
// Limits   one entry per node.
// Errors   what was not understood or not asked counts as unknown: then all standbys are needed.
// Threads  pure.
#pragma once
#include <cstdint>
#include <map>
#include <optional>
#include <utility>

#include "cluster/promotion.h"
#include "monitor/replication.h"

namespace herdgate::monitor {

class PrimaryFacts {
 public:
  struct Facts {
    std::optional<cluster::SyncRule> rule;
    std::optional<std::uint64_t> position;
    std::optional<std::int64_t> timeline;
    bool recalled = false;  // out of the note of a proxy that died
  };
  // A probe's answer. `lost`: the primary that is being replaced; what it said counts until that is over, though it may
  // answer as a standby meanwhile. Of any other standby the words are old: another promotion may have other names.
  void note(NodeId node, const Answer& answer, NodeId lost);
  // The node has become the primary and said this, before anybody could commit there. nullopt: it was not understood.
  void promoted(NodeId node, const Facts& said) { facts_[node] = said; }
  void recalled(NodeId node, Facts said) {
    said.recalled = true;
    facts_[node] = std::move(said);
  }
  Facts of(NodeId node) const;

 private:
  std::map<NodeId, Facts> facts_;
};

}  // namespace herdgate::monitor
