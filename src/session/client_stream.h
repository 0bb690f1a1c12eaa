// The client's side of a session: gathers what is to be sent, writes it at once, keeps what the socket did not take.
//
// Shape    add() collects pieces, in order; flush() sends them in one system call. Stable pieces are views that live
//          until flush(); others are copied. What is left after a write is kept, and its sender should be paused.
// Limits   pending() is what the peer has not taken; the session pauses its server link while it is not zero. Own
//          replies are small or bounded by their makers.
// Errors   broken() once a write failed; then nothing more is sent.
// Threads  the worker of its session.
#pragma once
#include <vector>

#include "base/bytes.h"
#include "net/socket.h"

namespace herdgate::session {

class ClientStream {
 public:
  ClientStream(net::Loop& loop, net::Socket socket) : loop_(loop), socket_(std::move(socket)) {}
  int fd() const { return socket_.fd(); }
  net::Socket& socket() { return socket_; }

  void add(ByteView bytes, bool stable);
  // Own bytes for this batch: append whole messages here, then call added_own().
  Bytes& own() { return own_; }
  void added_own();
  void flush();
  bool on_writable();  // true when everything kept has gone out
  std::size_t pending() const { return kept_.size() - kept_sent_; }
  bool nothing_gathered() const { return pieces_.empty(); }
  bool broken() const { return broken_; }
  std::uint64_t bytes_out() const { return bytes_out_; }
  void close();

 private:
  struct Part {
    const char* data;  // null: offset into own_
    std::size_t offset, size;
  };
  void keep_from(std::size_t sent);
  net::Loop& loop_;
  net::Socket socket_;
  std::vector<Part> pieces_;
  Bytes own_;
  std::size_t own_covered_ = 0;
  Bytes kept_;
  std::size_t kept_sent_ = 0;
  std::uint64_t bytes_out_ = 0;
  bool writable_ = true, broken_ = false;
};

}  // namespace herdgate::session
