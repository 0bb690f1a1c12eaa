// What the proxy knows of the herd at one moment: an immutable snapshot with an epoch, published by the control thread.
//
// Shape    View{epoch, nodes, primary}; nodes are indexed by position, ids may have gaps. Readers hold a shared_ptr for
//          one request and never see a half-changed cluster.
// Units    delay in bytes of WAL or in microseconds, as the settings say.
// Threads  immutable; passed between threads by shared_ptr<const View>.
#pragma once
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/ids.h"

namespace herdgate::cluster {

// Numbers as PCP prints them. `waiting`: usable, no connection made yet.
enum class NodeStatus : std::uint8_t { unused = 0, waiting = 1, up = 2, down = 3 };
enum class Role : std::uint8_t { unknown, primary, standby };

// A standby shows whatever was committed and acknowledged before `moment`. It was asked after `asked`: should it have
// crashed since, it may show less for a while, so that only who was connected by then can rely on it.
struct ReplayedTo {
  TimePoint moment, asked;
  bool operator==(const ReplayedTo&) const = default;
};

struct Node {
  NodeId id;
  std::string host;  // empty was replaced by /tmp
  int port = 0;
  double weight = 0;  // share of the total, 0..1
  NodeStatus status = NodeStatus::waiting;
  bool quarantined = false;
  bool allow_to_failover = true, always_primary = false;
  Role real_role = Role::unknown;  // by pg_is_in_recovery, when it was last asked
  std::optional<std::uint64_t> delay_bytes;
  std::optional<std::chrono::microseconds> delay_time;
  std::optional<ReplayedTo> replayed_to;                  // of a standby, while the query cache is on
  std::string replication_state, replication_sync_state;  // as in pg_stat_replication, or empty
  WallTime status_changed{};
  std::string status_reason;  // why, in words
  bool operator==(const Node&) const = default;
  bool live() const { return (status == NodeStatus::waiting || status == NodeStatus::up) && !quarantined; }
};

struct View {
  std::uint64_t epoch = 0;
  std::vector<Node> nodes;
  NodeId primary = kNoNode;  // found as primary; kNoNode: none known, main stands in
  // A planned change of the primary is under way: what would begin a write waits, what has begun may end.
  bool switching = false;
  // Writes should wait: the primary is down, all nodes say that they are standbys, or a session could not work with the
  // primary and no probe has decided yet.
  bool primary_awaited = false;
  const Node* find(NodeId id) const {
    for (const Node& n : nodes)
      if (n.id == id) return &n;
    return nullptr;
  }
  NodeId main() const {  // lowest-numbered live node
    for (const Node& n : nodes)
      if (n.live()) return n.id;
    return kNoNode;
  }
  // Where writes go: the primary when it lives, else (none was ever found) the main node.
  NodeId write_node() const { return primary != kNoNode ? primary : main(); }
};
using ViewPtr = std::shared_ptr<const View>;

}  // namespace herdgate::cluster
