// When which node is probed. Pure: time points in, node ids out; the monitor keeps one timer for next().
//
// Shape    A round probes all healthy nodes together, once a period, so that their positions in the WAL can be
//          compared. A node that is in trouble leaves the rounds and is probed on its own, at growing pauses, until it
//          is well. A hint brings one probe forward.
// Limits   pauses between kTroubledPause and kLongestPause; a hint causes at most one probe in kHintPause.
// Errors   none; ids that are not watched are ignored.
// Threads  a value.
#pragma once
#include <map>
#include <vector>

#include "base/clock.h"
#include "base/ids.h"

namespace herdgate::monitor {

inline constexpr Duration kTroubledPause = std::chrono::seconds(1);
inline constexpr Duration kLongestPause = std::chrono::seconds(10);
inline constexpr Duration kHintPause = std::chrono::milliseconds(200);

struct Due {
  bool round = false;         // a round begins: these nodes belong to it
  std::vector<NodeId> nodes;  // of the round
  std::vector<NodeId> alone;  // troubled or hinted ones
};

class Schedule {
 public:
  // Nodes to watch from now on; known ones keep their state, new ones belong to the next round, which is at once.
  void watch(const std::vector<NodeId>& nodes, TimePoint now);
  void set_period(Duration period, TimePoint now);  // a shorter one brings the next round forward
  // What is to be started now; it counts as running until ended().
  Due due(TimePoint now);
  void ended(NodeId id, bool healthy, TimePoint now);
  void hint(NodeId id, TimePoint now);
  TimePoint next() const;  // when to call due() again; TimePoint::max() when nothing is awaited

 private:
  struct Item {
    bool running = false, troubled = false;
    Duration pause = kTroubledPause;
    TimePoint started = TimePoint::min();
    TimePoint own = TimePoint::max();  // when it is due on its own
  };
  std::map<NodeId, Item> items_;
  Duration period_ = kLongestPause;
  TimePoint round_began_ = TimePoint::min(), round_due_ = TimePoint::min();
};

}  // namespace herdgate::monitor
