// The built-in switchover's decisions: may it begin, and who is the primary after the old one was stopped? Pure.
//
// Shape    objection_to() takes what both servers said while the old primary works; judge_switchover() what all said
//          after it came back as a standby.
// Units    positions in octets of WAL.
// Limits   kMaxSwitchoverLag: a server that stops waits until its standbys have everything.
// Errors   words for the asker, without a full stop.
// Threads  values.
// Source   PostgreSQL manual, "Streaming Replication", "Hot Standby".
#pragma once
#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "cluster/promotion.h"

namespace herdgate::cluster {

inline constexpr std::uint64_t kMaxSwitchoverLag = 64 << 20;

struct SwitchoverFacts {
  NodeId from, to;
  // of the primary
  bool primary = false;      // out of recovery
  bool superuser = false;    // whom we logged in as
  bool hot_standby = false;  // it answers questions when it is a standby
  std::string restart;       // the extension's function with its schema; empty: not there
  std::uint64_t written = 0;
  // of the standby
  bool standby = false;
  bool streams = false;
  std::uint64_t replayed = 0;
  std::string trouble;  // with its primary_conninfo, which the old primary's is made of
};
// Empty: it may begin.
std::string objection_to(const SwitchoverFacts& facts);

// The wanted one if it lacks nothing of what the old primary has, else the old primary, which has all that was
// acknowledged; neither of them answers: none.
Verdict judge_switchover(const Situation& situation, NodeId old_primary);

// The same for a switchover of a proxy that died, when others may have been at work since. A primary is left alone: the
// old one was not stopped, any other forbids it. All that are in use must answer, and nobody may have more than the one
// that is chosen. One that has gone on to a later timeline than the old primary does not count; where it is not known
// for certain which that was, or of a recalled one, it forbids it. `patient` no longer: without the old primary it is a
// failover like any other, see judge().
Verdict judge_resumed(const Situation& situation, NodeId old_primary, bool patient);
// With nobody out of recovery: do all receive from one another?
bool fed_from_within(const std::vector<Candidate>& standbys);

// How long what a note says of the old primary counts. A proxy that died is started again within seconds; later
// somebody may have been at work on the servers, and all standbys must answer, as if nothing were known.
inline constexpr std::chrono::minutes kLastWordsCount{10};

// What is kept on disk from before the old primary is stopped, or from its loss on, until there is a primary again.
// nullopt: not understood.
struct Unfinished {
  NodeId from = kNoNode, to = kNoNode;  // to: of a switchover; kNoNode: a failover
  // Of `from` when it was last asked; nullopt: not known.
  std::optional<SyncRule> rule;
  std::optional<std::uint64_t> position;
  std::optional<std::int64_t> timeline;
  std::int64_t noted_s = 0;  // since 1970; 0: not known
  bool operator==(const Unfinished&) const = default;
};
bool last_words_count(const Unfinished& unfinished, WallTime now);
std::string print_unfinished(const Unfinished& unfinished);
std::optional<Unfinished> parse_unfinished(std::string_view text);

// A name for a replication slot out of an application name: what a slot's name may consist of.
std::string slot_name_of(const std::string& application_name);

}  // namespace herdgate::cluster
