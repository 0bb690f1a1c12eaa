// What a Loop waits with: epoll, or io_uring where the kernel has what is needed of it.
//
// Shape    A descriptor is added with a mark, which its events carry; whether a mark is still of interest is the loop's
//          affair. io_uring besides takes short messages into a batch, which goes with the next wait() in one system
//          call (SendBatch).
// Limits   epoll gives kEventsPerWait events for each wait(), io_uring what the kernel has ready (some 40 from 6.13
//          on).
// Errors   make_ring() says why there is none: the kernel is too old, or forbids it.
// Threads  made anywhere, then of the thread that waits first. When that has ended, nobody cares for removals.
// Source   io_uring(7), io_uring_enter(2), epoll(7).
#pragma once
#include <sys/uio.h>

#include <cstdint>
#include <memory>
#include <span>
#include <string_view>

#include "base/result.h"
#include "net/loop.h"

namespace herdgate::net {

// Messages on their way. Each is copied, and given to the kernel when the batch goes; the kernel takes it there and
// then, wholly or in part, and never later. A socket has one entry in a batch: what is sent behind it is added to it.
class SendBatch {
 public:
  static constexpr std::size_t kLongest = 8 * 1024;  // of an entry, in octets
  static constexpr std::size_t kRoom = 256 * 1024;   // of all
  static constexpr std::uint32_t kMostEntries = 256;
  static constexpr std::uint32_t kNone = ~std::uint32_t{0};

  // What a socket did not take; the bytes live until next().
  struct Refused {
    std::uint64_t mark;
    std::string_view rest;
    int errno_value;  // 0: it is full
  };

  virtual ~SendBatch() = default;
  virtual std::uint64_t number() const = 0;  // of the batch that is being filled
  // The new entry's place, or kNone where there is no room.
  virtual std::uint32_t begin(int fd, std::uint64_t mark, std::span<const iovec> pieces, std::size_t total) = 0;
  // False: it has grown too long, or has gone already.
  virtual bool append(std::uint32_t entry, std::span<const iovec> pieces, std::size_t total) = 0;
  virtual void go() = 0;  // now, without waiting
  // Sent by go(): what its socket refused of it, once.
  virtual bool refused(std::uint32_t entry, Refused& what) = 0;
};

class Poller {
 public:
  struct Event {
    std::uint64_t mark;
    unsigned ready;
  };
  enum class Interest { input_edge, edges, input_level };  // edges: of both directions
  virtual ~Poller() = default;
  virtual Result<Done> add(int fd, std::uint64_t mark, Interest interest) = 0;
  virtual void remove(int fd, std::uint64_t mark) = 0;
  // Of one added with input_edge: edges from now on, whose mark is `fresh`; what is ready already is told again.
  virtual void widen(int fd, std::uint64_t mark, std::uint64_t fresh) = 0;
  // The descriptor is closed next.
  virtual void forget(int fd, std::uint64_t mark) = 0;
  virtual std::span<const Event> wait(int timeout_ms) = 0;  // -1: until something happens
  // Marks that give no events any more unless arm_again() is called: those of interest are. Until the next wait().
  virtual std::span<const std::uint64_t> ended() = 0;
  virtual void arm_again(std::uint64_t mark) = 0;
  virtual SendBatch* batch() = 0;  // null: it has none
  // What sockets refused of the batch that went with wait(). Then next() begins another one.
  virtual std::span<const SendBatch::Refused> refused() = 0;
  virtual void next() = 0;
};

std::unique_ptr<Poller> make_epoll();  // throws std::system_error: no loop can exist then
Result<std::unique_ptr<Poller>> make_ring();

unsigned ready_of(std::uint32_t events);  // of EPOLLIN and its like, which poll(2) has the same values for

}  // namespace herdgate::net
