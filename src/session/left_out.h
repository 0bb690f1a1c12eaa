// Nodes that could not be connected to for the moment: their server has no room, or for trouble of ours: the name
// service is silent, descriptors are short, too many passwords are being hashed. Whoever can do without them does so
// for a moment, then one session tries again.
//
// Limits   as many as there are nodes, each for kPause at a time.
// Threads  one worker.
#pragma once
#include <chrono>
#include <map>

#include "base/clock.h"
#include "base/ids.h"

namespace herdgate::session {

class LeftOut {
 public:
  static constexpr Duration kPause = std::chrono::seconds(10);  // that long a name may be waited for, too
  void add(NodeId node, TimePoint now) { until_[node] = now + kPause; }
  // Somebody tries to connect: the others wait for what comes of it.
  void tried(NodeId node, TimePoint now) {
    if (const auto at = until_.find(node); at != until_.end()) at->second = now + kPause;
  }
  void reached(NodeId node) { until_.erase(node); }
  bool contains(NodeId node, TimePoint now) const {
    if (until_.empty()) return false;
    const auto at = until_.find(node);
    return at != until_.end() && now < at->second;
  }

 private:
  std::map<NodeId, TimePoint> until_;
};

}  // namespace herdgate::session
