// Up to which moment a standby shows everything, for the query cache. Pure.
//
// Shape    note() what the primary had written when it was asked; of() gives, for what a standby has replayed, the
//          newest such moment that it has passed.
// Limits   kMaxMoments; a standby that has stopped following the primary, or follows another server, may be ahead of it
//          and lack what the primary has: only what it receives on the primary's timeline counts. A standby that is
//          farther behind has none.
// Errors   none: where nothing is known there is no moment.
// Threads  values.
// Source   PostgreSQL manual, "Asynchronous Commit": without synchronous_commit a transaction is acknowledged up to
//          three times wal_writer_delay before pg_current_wal_lsn() covers it. kAsyncCommit allows for delays up to 1
//          s.
#pragma once
#include <cstdint>
#include <deque>
#include <optional>

#include "base/clock.h"
#include "base/ids.h"

namespace herdgate::monitor {

class Replayed {
 public:
  static constexpr std::size_t kMaxMoments = 64;
  static constexpr Duration kAsyncCommit = std::chrono::seconds(3);

  // Positions of different primaries cannot be compared, nor of different timelines.
  void note(NodeId primary, std::uint32_t timeline, TimePoint asked, std::uint64_t position) {
    if (primary != primary_ || timeline != timeline_) moments_.clear();
    primary_ = primary;
    timeline_ = timeline;
    if (moments_.size() == kMaxMoments) moments_.pop_front();
    moments_.push_back({asked, position});
  }
  std::optional<TimePoint> of(std::uint32_t timeline, std::uint64_t position) const {
    if (timeline != timeline_) return std::nullopt;
    for (auto it = moments_.rbegin(); it != moments_.rend(); ++it)
      if (it->position <= position) return it->asked - kAsyncCommit;
    return std::nullopt;
  }

 private:
  struct Moment {
    TimePoint asked;
    std::uint64_t position;
  };
  NodeId primary_ = kNoNode;
  std::uint32_t timeline_ = 0;
  std::deque<Moment> moments_;
};

}  // namespace herdgate::monitor
