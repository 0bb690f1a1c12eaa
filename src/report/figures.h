// The figures of the running server, as the metrics and /api/state show them. Put together on the control thread.
//
// Shape    one snapshot of all workers; nodes are by position in view->nodes.
// Limits   kMaxPools pools, the first by name; the others are counted.
// Threads  values.
#pragma once
#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/histogram.h"
#include "cluster/operation.h"
#include "report/snapshot.h"

namespace herdgate::report {

// Nodes taken out of use, by cause, and taken back into use; written by the control thread.
struct FailoverFigures {
  std::array<std::uint64_t, cluster::kCauses.size()> lost{};
  std::uint64_t returned = 0;
};

struct LinkFigures {
  std::uint64_t used = 0, idle = 0;
};

struct NodeFigures {
  NodeCounts counts;
  LinkFigures links;
  Histogram query_times, link_waits;
  FailoverFigures failovers;
};

// The links of one node, database and user.
struct PoolFigures {
  NodeId node;
  std::string database, user;
  LinkFigures links;
  std::uint64_t waiting = 0;
};

enum class Refusal : std::uint8_t { limit, authentication, other };
inline constexpr std::array<std::string_view, 3> kRefusals{"limit", "authentication", "other"};  // by Refusal

struct ClientFigures {
  std::uint64_t inside = 0, waiting = 0, limit = 0;
  std::uint64_t connections = 0, logins = 0;
  std::array<std::uint64_t, kRefusals.size()> refused{};
};

struct LogFigures {
  std::uint64_t accepted = 0, lost = 0;
};

// Of the process, as the kernel counts them.
struct ProcessFigures {
  double cpu_seconds = 0;
  std::uint64_t virtual_bytes = 0, resident_bytes = 0, open_fds = 0, max_fds = 0, threads = 0;
};

struct Figures {
  static constexpr std::size_t kMaxPools = 1000;
  cluster::ViewPtr view;
  std::shared_ptr<const HealthByNode> health;  // null: nothing is checked
  std::vector<NodeFigures> nodes;
  Histogram local_query_times;  // answered without a server
  std::vector<PoolFigures> pools;
  std::uint64_t pools_left_out = 0;
  std::uint64_t links_limit = 0, pool_links_limit = 0;  // of each node; of each kind, 0: none
  ClientFigures clients;
  bool cache_on = false;
  CacheFigures cache;
  std::uint64_t primary_changes = 0;
  LogFigures log;
  std::optional<ProcessFigures> process;  // nullopt: the kernel did not say
  std::size_t workers = 0;
  WallTime started{};
};

// Puts the pools into order, by database, user and node, and keeps kMaxPools of them.
void keep_first_pools(Figures& figures);

}  // namespace herdgate::report
