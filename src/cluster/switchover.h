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
#include <cstdint>
#include <string>

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

// A name for a replication slot out of an application name: what a slot's name may consist of.
std::string slot_name_of(const std::string& application_name);

}  // namespace herdgate::cluster
