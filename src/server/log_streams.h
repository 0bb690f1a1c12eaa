// The two places a message can go. Used by the writer's thread alone; no call blocks longer than its patience allows.
//
// Shape    StderrStream::write(bytes, patience), SyslogStream::write(message, …): false when it was not (wholly) taken.
// Units    octets.
// Threads  one thread.
// Source   poll(2), pipe(7): a pipe that polls writable takes PIPE_BUF octets without blocking.
#pragma once
#include <atomic>
#include <string>
#include <string_view>

#include "base/clock.h"

namespace herdgate::server {

// How long a write may wait: for ever while the process runs, not at all once it ends.
class Patience {
 public:
  void end_at(TimePoint at) { end_.store(at.time_since_epoch().count(), std::memory_order_relaxed); }
  bool over(TimePoint now) const { return now.time_since_epoch().count() >= end_.load(std::memory_order_relaxed); }

 private:
  std::atomic<TimePoint::rep> end_{TimePoint::max().time_since_epoch().count()};
};

class StderrStream {
 public:
  explicit StderrStream(int fd);
  bool write(std::string_view bytes, const Patience& patience);

 private:
  int fd_;
  bool never_blocks_;  // a regular file; everything else is written in pieces that a pipe takes whole
};

class SyslogStream {
 public:
  explicit SyslogStream(std::string path) : path_(std::move(path)) {}
  ~SyslogStream();
  SyslogStream(const SyslogStream&) = delete;
  SyslogStream& operator=(const SyslogStream&) = delete;
  // `head` is what stands before the text of each datagram: "<131>May  1 10:20:30 pgpool[4711]: ".
  bool write(std::string_view head, std::string_view message, const Patience& patience);

 private:
  bool send(std::string_view datagram, const Patience& patience);
  bool connect();
  std::string path_;
  int fd_ = -1;
  std::uint64_t messages_ = 0;
};

}  // namespace herdgate::server
