// Whether work that is about to be sent to a node has to wait for a change of the herd. Pure.
//
// Shape    hold(input) is asked before a session takes a link, and again when a new snapshot has come.
// Threads  pure.
// Source   ARCHITECTURE.md section 5.
#pragma once
#include <cstdint>

#include "base/ids.h"
#include "cluster/view.h"

namespace herdgate::route {

enum class Hold : std::uint8_t {
  none,
  primary,   // until there is a primary that works
  pause,     // until PGPOOL RESUME
  outcomes,  // until the fate of COMMITs without an answer, or answered by a primary that failed, is known: writing
             // would give their ids out again
};

struct HoldInput {
  const cluster::View& view;
  NodeId node;          // where it would go
  bool write = false;   // it may change the database
  bool begins = false;  // no server works for its transaction yet
  bool paused = false;  // new work in its database is held
  bool outcomes_open = false;
  bool may_miss_own = false;  // whether the session's last commit is still there is being asked: it reads later, too
};
Hold hold(const HoldInput& input);

}  // namespace herdgate::route
