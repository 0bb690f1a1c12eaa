// The built-in failover's decisions: which standby is promoted, and whether an acknowledged commit could be missing.
// Pure.
//
// Shape    parse_sync_names() reads synchronous_standby_names; judge() takes what the standbys said and names the one
//          to promote, or why none may be.
// Units    positions in octets of WAL.
// Errors   words for the log, without a full stop.
// Threads  values.
// Source   PostgreSQL manual, "synchronous_standby_names".
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/ids.h"
#include "cluster/upstream.h"

namespace herdgate::cluster {

// A commit was acknowledged after `count` of `names` had it. FIRST and ANY are not told apart: which standbys were
// connected when a commit was acknowledged is not known, so any `count` of them may hold it alone.
struct SyncRule {
  std::size_t count = 0;  // 0: asynchronous
  std::vector<std::string> names;
  bool everyone = false;  // '*'
  bool operator==(const SyncRule&) const = default;
};
// nullopt: not understood.
std::optional<SyncRule> parse_sync_names(std::string_view text);
// In one line, what is read as the same rule. nullopt: a name cannot stand in a line.
std::optional<std::string> print_sync_names(const SyncRule& rule);

struct Candidate {
  NodeId id;
  std::string application_name;
  bool usable = true;  // false: it is down for the proxy and only counts
  bool answered = false;
  bool primary = false;    // it did answer, but it is out of recovery
  bool stray = false;      // … and was so while the old primary worked: nobody has promoted it in that one's place
  bool receiving = false;  // from the old primary, or from another standby
  std::string host = {};   // where it is …
  int port = 0;
  std::optional<Upstream> upstream = {};  // … and what it receives from
  std::vector<std::string> fed = {};      // application names of those that receive from it
  std::size_t senders = 0;                // how many receive from it
  std::uint64_t position = 0;             // received or replayed, whichever is further
  std::int64_t timeline = 0;              // … of that
  std::string trouble;                    // why it did not answer
};

struct Situation {
  std::vector<Candidate> standbys;                    // all that are configured, also those that are down
  std::optional<SyncRule> rule;                       // of the old primary when it was last asked
  std::optional<std::uint64_t> old_primary_position;  // when it was last asked
  NodeId wanted = kNoNode;
  bool recalled = false;                                  // the rule, from a proxy that died since: see judge()
  std::optional<std::int64_t> old_primary_timeline = {};  // when it was last asked
};

struct Verdict {
  NodeId promote = kNoNode;  // kNoNode: none, `text` says why
  std::string text;          // what may be lost, or that nothing is
};
// One that has gone on to a later timeline than the old primary's followed somebody who was promoted beside it. It
// lacks what that one acknowledged since: no candidate, and as good as silent. Of a recalled rule: what was done while
// no proxy ran is not known, so nobody may be out of recovery, nor on a later timeline.
Verdict judge(const Situation& situation);
// A node in use, other than the old primary, that is out of recovery: somebody has promoted it, and it is the primary.
// One that is down for the proxy is none: an older primary may have come back. Nor is a stray. kNoNode: there is none.
NodeId promoted_already(const Situation& situation, NodeId old_primary);
// One that receives, and not from another one of them that answers, a standby or a false primary: from the old primary,
// for all that is known. nullptr: there is none.
const Candidate* fed_by_old_primary(const std::vector<Candidate>& standbys);
bool has_more(const Candidate& a, const Candidate& b);

}  // namespace herdgate::cluster
