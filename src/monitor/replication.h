// What the nodes answered, made into delays. Pure.
//
// Shape    Answer is what one probe brought home; replication_report() compares those of one round.
// Units    WAL positions in octets since its beginning: high word × 2^32 + low word. (Pgpool-II counts a high word as
//          0xffffffff − 16 MB; the real distance is used here.)
// Errors   an unreadable position or time counts as unknown.
// Threads  values.
// Source   PostgreSQL manual, "pg_lsn Type", "pg_stat_replication".
#pragma once
#include <chrono>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "cluster/state.h"

namespace herdgate::monitor {

// One row of pg_stat_replication.
struct Sender {
  std::string application_name, state, sync_state;
  std::optional<std::chrono::microseconds> replay_lag;  // unknown to the server while nothing is written
};

struct Answer {
  cluster::Outcome outcome = cluster::Outcome::healthy;
  std::string text;       // what went wrong
  bool nameless = false;  // unreachable: there is no such name, said the name service; no server was asked
  std::optional<bool> in_recovery;
  std::optional<std::uint64_t> position;  // written so far (primary), replayed so far (standby)
  std::optional<std::uint32_t> timeline;  // that it writes (primary), or receives at present (standby)
  std::string counting_since;             // its statistics, in its words: anew after a crash; empty: not known
  std::string configured;                 // when it read its configuration last, in its words; empty: not known
  std::string defaults;                   // a digest of all ALTER ROLE and DATABASE … SET; empty: not known
  // Digests of what its roles and databases are called, of all and of those with an oid up to the one in the question;
  // empty: not known.
  std::string names, names_before;
  std::uint32_t newest_name = 0;                                  // the greatest oid of these
  std::vector<Sender> senders;                                    // primary only
  std::optional<std::string> sync_names;                          // primary only: synchronous_standby_names
  std::optional<cluster::Upstream> upstream;                      // standby only, while it receives
  std::optional<std::chrono::microseconds> wal_receiver_timeout;  // standby only
  bool stopped = false;  // standby only: a built-in failover that did not end has cut it off
  std::string version;   // standby only: server_version_num
};

std::optional<std::uint64_t> parse_position(std::string_view text);             // "16/B374D848"
std::optional<std::chrono::microseconds> parse_seconds(std::string_view text);  // "0.001234"

struct RoundOptions {
  NodeId primary = kNoNode;
  std::map<NodeId, std::string> application_names;  // backend_application_nameN
};
// Empty when the primary is unknown or did not answer in this round: then no delay is known.
cluster::ReplicationReport replication_report(const std::map<NodeId, Answer>& round, const RoundOptions& options);

}  // namespace herdgate::monitor
