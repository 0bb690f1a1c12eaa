// Plain snapshots of the running server, taken on the control thread, from which SHOW, PCP and metrics are made.
//
// Shape    each struct is one row's facts; rows.h turns them into text columns.
// Threads  values.
#pragma once
#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/ids.h"
#include "cluster/view.h"

namespace herdgate::report {

// Statements sent to a node since start, by class; kept as relaxed atomics per worker, summed here.
struct NodeCounts {
  std::uint64_t select = 0, insert = 0, update = 0, del = 0, ddl = 0, other = 0, panic = 0, fatal = 0, error = 0;
};

// One client slot ("child" in Pgpool-II's words).
struct SlotRow {
  int pid = 0;  // a number that names the slot (PGPOOL KILL takes it)
  WallTime started{};
  std::uint64_t client_connections = 0;
  std::string database, user, application;
  std::string client_host;
  int client_port = 0;
  std::string status;  // "Wait for connection", "Idle", "Idle in transaction", "Execute command", …
  std::optional<WallTime> connected{}, disconnected{};
  std::int64_t idle_seconds = 0;
  std::string pins;  // why it keeps its link, empty if not pinned
  NodeId lb_node = kNoNode;
};
// One server link.
struct LinkRow {
  NodeId node;
  std::string database, user;
  int slot_pid = 0;  // slot using it now, 0 = idle in the pool
  WallTime created{};
  std::uint64_t uses = 0;
  int backend_pid = 0;
  bool in_use = false;
  int protocol_major = 3, protocol_minor = 0;
  std::string pins;
  bool load_balance_node = false;
};
// The health checks of one node since start. A check counts once, however often it was tried; skipped ones count in
// the total, not in the averages.
struct HealthFigures {
  std::uint64_t total = 0, success = 0, fail = 0, skip = 0;
  std::uint64_t retries = 0, max_retries = 0;
  std::chrono::milliseconds max_duration{0}, min_duration{0}, all_durations{0};
  std::optional<WallTime> last, last_success, last_skip, last_fail;
};
using HealthByNode = std::map<NodeId, HealthFigures>;

// The query cache. Bytes are those of whole entries.
struct CacheFigures {
  std::uint64_t hits = 0, selects = 0;  // selects: SELECTs that a server answered
  std::uint64_t hash_entries = 0, entries = 0, used_bytes = 0, free_bytes = 0;
  std::uint64_t passed = 0;  // of selects: not kept, by memqcache_selective
};

struct Server {
  cluster::ViewPtr view;
  std::shared_ptr<const HealthByNode> health;  // null: nothing is checked
  std::vector<NodeCounts> counts;              // by position in view->nodes
  std::vector<SlotRow> slots;
  std::vector<LinkRow> links;
  WallTime started{};
  CacheFigures cache;  // all zero while memory_cache_enabled is off
};

}  // namespace herdgate::report
