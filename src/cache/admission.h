// Whether the answer of a read is worth keeping: not in a flood of reads none of which comes twice. There each would
// pay for a copy, a store and an eviction, and what others ask for again would be pushed out.
//
// Shape    Admission counts, for one worker, how many look-ups of a window were of use: hits, and reads of what was
//          read before (Sightings). After a window in which less than kUseful were, it is selective: then wants() is
//          true only for a key that was seen before. It ends as soon as kUseful of a window have been of use. hit() for
//          what was found; missed() for what a server is asked, and may be kept. tells_of_large() says how loud the log
//          is about an answer that is too large.
// Limits   those of Sightings. Of a set of keys read evenly, one in (1 + size / kSlots) is seen again in time: with
//          kUseful, sets up to 31 * kSlots are told from a flood, twice what memqcache_max_num_cache lets the store
//          hold.
// Errors   none: nothing but speed hangs on it.
// Threads  its worker's.
// Source   our own; docs/life_of_a_query.md, "The query cache".
#pragma once
#include <cstdint>
#include <optional>

#include "base/clock.h"
#include "base/hash.h"
#include "cache/sightings.h"

namespace herdgate::cache {

class Admission {
 public:
  // A hit saves some thirty times what keeping an answer costs: below one in 32 keeping all does not pay.
  static constexpr unsigned kWindow = 2048, kUseful = kWindow / 32;
  static constexpr std::chrono::seconds kTellsEach{60};
  explicit Admission(Sightings& sightings) : sightings_(sightings) {}
  bool selective() const { return selective_; }
  bool wants(const Hash128& key) const { return !selective_ || sightings_.seen(key); }
  void hit() { count(true); }
  void missed(const Hash128& key) {
    count(sightings_.seen(key));
    sightings_.note(key);
  }
  // True once in kTellsEach: whoever reads what is too large may do so a thousand times a second.
  bool tells_of_large(TimePoint now) {
    if (told_at_ && now - *told_at_ < kTellsEach) return false;
    told_at_ = now;
    return true;
  }

 private:
  void count(bool useful) {
    if (useful && ++useful_ == kUseful) selective_ = false;
    if (++looked_ < kWindow) return;
    selective_ = useful_ < kUseful;
    looked_ = useful_ = 0;
  }
  Sightings& sightings_;
  unsigned looked_ = 0, useful_ = 0;
  bool selective_ = false;
  std::optional<TimePoint> told_at_;
};

}  // namespace herdgate::cache
