// The work of a failover as values: what is demanded, what is being done, what waits. Parts of cluster::State.
//
// Shape    Demands wait in a queue and are worked off one at a time, in order. Following runs beside them: scripts that
//          rebuild standbys take long and attach nodes themselves.
// Threads  values.
// Source   Pgpool-II 4.6 manual, "Failover and Failback".
#pragma once
#include <array>
#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/ids.h"

namespace herdgate::cluster {

// How long the standbys may take to answer when a successor is chosen; one that is later is not chosen.
inline constexpr std::chrono::milliseconds kSuccessorWait{1000};
inline constexpr std::chrono::milliseconds kSearchPause{200};  // between two looks for the new primary
// How long, after failover_command has ended, its node may take to be promoted when another one says it is the primary.
inline constexpr std::chrono::milliseconds kHeirPatience{5000};
inline constexpr std::chrono::milliseconds kBuiltinRetryPause{1000};
inline constexpr std::chrono::milliseconds kBuiltinLatePause{10'000};  // after search_primary_node_timeout

// How long a switchover that is taken up again waits for the old primary; then it is a failover like any other.
inline constexpr std::chrono::milliseconds kResumePatience{30'000};

// Reasons that the machine itself looks at.
inline constexpr const char* kByRequest = "by request";
inline constexpr const char* kAnswersAgain = "answers again";

// Why a node is taken out of use, for those who count.
enum class Cause : std::uint8_t {
  request,  // of a person
  health_check,
  connection,     // a probe after a session's hint, or in a failover, found nobody there
  false_primary,  // detach_false_primary
  promotion,      // another node has become the primary
  switchover,
  left_behind,  // a standby that could not follow the new primary
};
// By Cause, as the metrics name them.
inline constexpr std::array<std::string_view, 7> kCauses{"request",   "health_check", "connection", "false_primary",
                                                         "promotion", "switchover",   "left_behind"};

struct Demand {
  enum Kind : std::uint8_t {
    down,
    attach,
    promote,
    switchover,
    quarantine,
    search,  // goes on with a search for the primary that gave way to something else
  };
  Kind kind = down;
  NodeId node;
  std::string reason;
  Cause cause = Cause::request;  // of what takes a node out of use
  NodeId follows = kNoNode;      // see Request
  bool operator==(const Demand&) const = default;
};

// What there was before the primary was lost; kept until another one is found.
struct LostPrimary {
  NodeId primary = kNoNode;  // kNoNode: none was known
  NodeId old_main = kNoNode;
  NodeId heir = kNoNode;  // chosen as successor; when it dies, the next one is promoted in its place
  std::chrono::milliseconds searched{0};
  bool said = false;      // that it is looked for
  bool overdue = false;   // … that search_primary_node_timeout is over
  bool planned = false;   // built-in switchover: it was stopped on purpose and comes back as a standby
  bool resumed = false;   // … by a proxy that did not live to see the end
  std::string complaint;  // why the built-in failover promotes nobody; said once per text
  // Whom the built-in failover has pointed at the one that it has promoted.
  std::vector<NodeId> pointed;
  bool operator==(const LostPrimary&) const = default;
};

struct Operation {
  enum Stage : std::uint8_t {
    asking,      // which of the others live
    commanding,  // failover_command or failback_command
    promoting,   // built-in
    checking,    // built-in switchover: can it work at all?
    draining,    // … new writes wait, those under way may end
    stopping,    // … the old primary is stopped and comes back as a standby
    searching,   // for the new primary
  };
  Demand demand;
  Stage stage = commanding;
  NodeId old_main = kNoNode, old_primary = kNoNode, new_main = kNoNode;
  std::vector<NodeId> awaited;   // asking: who has not answered
  std::vector<NodeId> silent;    // asking: who did not answer, but stays in use until its health check says so
  std::vector<NodeId> commands;  // nodes for which the command has still to run; the first is under way
  std::vector<NodeId> downed;
  std::string problem;  // why a built-in switchover was given up
  bool operator==(const Operation&) const = default;
};

// follow_primary_command, one node after another.
struct Following {
  NodeId primary = kNoNode, old_primary = kNoNode, old_main = kNoNode;
  std::vector<NodeId> left;   // the first is under way …
  NodeId outgoing = kNoNode;  // … when the script for this one has ended, which rebuilds it for the primary of before
  bool operator==(const Following&) const = default;
};

// ---- what is to be carried out

// For those who count; nothing is to be done.
struct OutOfUse {
  NodeId node;
  Cause cause = Cause::request;
};

struct RunCommand {
  enum Kind : std::uint8_t { failover, failback, follow_primary };
  Kind kind = failover;
  NodeId node;
  std::string line;  // for /bin/sh
};

// Built-in: make one of the standbys the primary.
struct Promotion {
  NodeId old_primary;            // the one that wrote last, not a successor that died before it was promoted
  std::vector<NodeId> standbys;  // live ones
  std::vector<NodeId> strays;  // … that were out of recovery while it worked: no candidates, and none has promoted them
  NodeId wanted = kNoNode;     // asked for by a person
  bool planned = false;        // switchover: the old primary is a standby by now, and takes over again if need be
  bool resumed = false;        // … of a proxy that died: what has happened since is not known
  bool patient = true;         // … the old primary is waited for still
};

// Built-in switchover: what is done with the servers at each stage.
struct SwitchStep {
  enum Kind : std::uint8_t { check, drain, stop };
  Kind kind = check;
  NodeId from = kNoNode, to = kNoNode;
  std::uint64_t operation = 0;
};

// A built-in switchover is over, for whoever asked for it.
struct SwitchoverEnd {
  NodeId to = kNoNode;
  std::string problem;  // empty: done
};

// Rings once; a later alarm of the same number replaces it. Those of operations that are over are ignored.
struct Alarm {
  enum Kind : std::uint8_t { successors, search };
  Kind kind = successors;
  std::uint64_t operation = 0;
  Duration after{};
};

}  // namespace herdgate::cluster
