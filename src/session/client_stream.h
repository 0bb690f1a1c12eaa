// The client's side of a session: gathers what is to be sent, writes it at once, keeps what the socket did not take.
//
// Shape    add() collects pieces, in order; flush() sends them in one system call. Stable pieces are views that live
//          until flush(); others are copied. What is left after a write is kept, and its sender should be paused.
// Limits   pending() is what the peer has not taken; the session pauses its server link while it is not zero. Own
//          replies are small or bounded by their makers. Without anything to send it holds no buffer.
// Errors   broken() once a write failed; then nothing more is sent.
// Threads  the worker of its session.
#pragma once
#include <memory>
#include <vector>

#include "base/bytes.h"
#include "net/socket.h"

namespace herdgate::session {

// What is on its way to one client.
struct Gathering {
  using Spare = std::vector<std::unique_ptr<Gathering>>;  // of a worker, used by its clients in turn
  static constexpr std::size_t kMaxSpare = 64, kMaxKeptCapacity = 16 * 1024;
  struct Part {
    const char* data;  // null: offset into own
    std::size_t offset, size;
  };
  std::vector<Part> pieces;
  Bytes own;
  std::size_t own_covered = 0;
  Bytes kept;  // what the socket did not take
  std::size_t kept_sent = 0;
};

class ClientStream {
 public:
  ClientStream(net::Loop& loop, net::Socket socket, Gathering::Spare& spare)
      : loop_(loop), spare_(spare), socket_(std::move(socket)) {}
  int fd() const { return socket_.fd(); }
  net::Socket& socket() { return socket_; }

  void add(ByteView bytes, bool stable);
  // Own bytes for this batch: append whole messages here, then call added_own().
  Bytes& own() { return gathering().own; }
  void added_own();
  std::size_t gathered_own() const { return out_ ? out_->own.size() : 0; }
  void flush();
  bool on_writable();  // true when everything kept has gone out
  std::size_t pending() const { return out_ ? out_->kept.size() - out_->kept_sent : 0; }
  // Of what flush() has sent the socket has not taken `rest`; errno_value: nor will it.
  void took_less(ByteView rest, int errno_value);
  bool all_sent();  // now, without waiting for the end of the turn
  bool broken() const { return broken_; }
  void close();  // what the socket takes of the rest is sent first

 private:
  Gathering& gathering();
  void let_go();
  void keep_from(std::size_t sent);
  net::Loop& loop_;
  Gathering::Spare& spare_;
  std::unique_ptr<Gathering> out_;  // null: nothing to send
  net::Socket socket_;
  bool writable_ = true, broken_ = false;
};

}  // namespace herdgate::session
