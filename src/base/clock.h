// Time: monotonic points for deadlines, wall time for people; a clock interface so that tests own the time.
#pragma once
#include <chrono>
#include <string>

namespace herdgate {

using Duration = std::chrono::steady_clock::duration;
using TimePoint = std::chrono::steady_clock::time_point;
using WallTime = std::chrono::system_clock::time_point;

// A point in time after which a wait is given up. `never` is for waits that another deadline already bounds.
struct Deadline {
  TimePoint at = TimePoint::max();
  static Deadline never() { return {}; }
  static Deadline after(TimePoint now, Duration d) { return {now + d}; }
  bool passed(TimePoint now) const { return now >= at; }
};

class Clock {
 public:
  virtual ~Clock() = default;
  virtual TimePoint now() const = 0;
  virtual WallTime wall() const = 0;
};

class SystemClock final : public Clock {
 public:
  TimePoint now() const override { return std::chrono::steady_clock::now(); }
  WallTime wall() const override { return std::chrono::system_clock::now(); }
};

// "2024-05-01 10:20:30", local time, as SHOW and PCP print it. With milliseconds: "2024-05-01 10:20:30.123".
std::string format_wall(WallTime t, bool with_ms = false);

}  // namespace herdgate
