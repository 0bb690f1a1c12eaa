// One event loop, one thread: edge-triggered readiness, timers, deferred work, and posts from other threads.
//
// Shape    A Watcher is registered once; on_ready tells which directions may have become ready. Edge-triggered: the
//          owner remembers readiness until a read or write comes back short (see Socket). Most sockets have room for
//          all that is written, and that they have room again is told from the first write on that came back short:
//          otherwise a UNIX socket would tell of each message that its peer has read. A listening socket is watched by
//          its level: who is in its queue is told again at each turn.
//          It waits by epoll or by io_uring. By the latter short messages of a turn go together, with the wait, in one
//          system call: Socket::send_soon().
// Limits   kEventsPerWait events are taken per wait of epoll; timers and posts are bounded by what their owners create.
// Errors   watch() fails when the kernel refuses (descriptor limit); everything else cannot fail.
// Threads  run() belongs to one thread, and so does every other call except post() and stop().
// Source   epoll(7): a short read on a stream socket means that it is drained, so no read is spent on EAGAIN.
#pragma once
#include <sys/uio.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string_view>

#include "base/clock.h"
#include "base/result.h"

namespace herdgate::net {

// kHangup: the peer closed, fully or half; kBroken: the connection has failed, nothing can be sent any more.
inline constexpr unsigned kReadable = 1, kWritable = 2, kHangup = 4, kBroken = 8;

class Watcher {
 public:
  virtual ~Watcher() = default;
  // May unwatch and destroy itself or others; events still queued for an unwatched descriptor are dropped.
  virtual void on_ready(unsigned ready) = 0;
  // A hint: on_ready() comes after `others` more events of this turn, 2 or 1. It may fetch what that will touch, at 1
  // what is found by way of what was fetched at 2. It does nothing else.
  virtual void approach(int others) const { static_cast<void>(others); }
  // Of what it sent by Socket::send_soon() the socket has not taken `rest`, which comes ahead of all that is sent
  // later; errno_value: the connection has failed, 0: it is full, and on_ready() tells when it is not. It keeps the
  // octets and sends nothing now.
  virtual void on_unsent(std::string_view rest, int errno_value);
};

using TimerId = std::uint64_t;  // 0 = none
inline constexpr int kEventsPerWait = 256;

// Figures of one loop; plain numbers, read by the owner's thread only (others read a copy taken by post()).
struct LoopCounters {
  std::uint64_t waits = 0, events = 0, receives = 0, sends = 0, posts = 0;
  std::uint64_t sent_by_waits = 0;  // of the sends: no system calls of their own
};

class Loop {
 public:
  enum class Kernel { epoll, io_uring };  // io_uring: where it can be used
  explicit Loop(const Clock& clock, Kernel kernel = Kernel::epoll);
  ~Loop();
  Loop(const Loop&) = delete;
  Loop& operator=(const Loop&) = delete;

  // edge: kWritable is told once a write has come back short. edges: of both directions from the start, for who waits
  // for a connection. level: kReadable only, at each turn for as long as it holds.
  enum class Trigger { edge, edges, level };
  Result<Done> watch(int fd, Watcher& watcher, Trigger trigger = Trigger::edge);
  void unwatch(int fd);
  void forget(int fd);       // the same for a descriptor that is closed next: the kernel's part happens by itself then
  void wrote_short(int fd);  // Socket's: kWritable is told from now on

  Kernel kernel() const;

  // Of Socket::send_soon(). later: on_ready() tells when.
  enum class Queued { queued, later, direct };
  Queued queue_send(int fd, std::span<const iovec> pieces, std::size_t total);
  // What of this turn waits to be sent by `fd` is sent now; on_unsent() may come from within.
  void send_queued(int fd);

  TimerId after(Duration delay, std::function<void()> work);
  void cancel(TimerId id);  // 0 and ids that have fired are fine

  void defer(std::function<void()> work);  // runs at the end of this turn, before the next wait
  void post(std::function<void()> work);   // thread-safe; runs on the loop's thread soon

  TimePoint now() const;  // as of the start of this turn; no system call
  const Clock& clock() const;
  LoopCounters& counters();
  int ready_now() const;  // descriptors that this turn began with

  void run();   // until stop()
  void stop();  // thread-safe

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// Why Kernel::io_uring would be epoll here: the kernel is older than 6.1, or forbids it.
Result<Done> ring_usable();

}  // namespace herdgate::net
