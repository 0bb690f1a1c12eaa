// A connection to a PCP server, for programs that do one thing and end: calls block.
//
// Shape    open() connects and logs in; ask() sends a request and gives its whole answer; the destructor says goodbye.
// Errors   a Failure with the text that the programs print: trouble with the network, or what the server said.
// Threads  one.
// Source   Pgpool-II 4.6 manual, "PCP Commands".
#pragma once
#include <string>

#include "pcp/reply.h"

namespace herdgate::pcp_client {

inline constexpr const char* kDefaultSocketFolder = "/tmp";

struct Failure {
  std::string text;  // whole lines, for stderr
};
template <class T>
using OrFailure = tl::expected<T, Failure>;

struct Login {
  std::string host;  // empty: the UNIX socket in /tmp; a leading slash: the one in that folder
  int port = 0;
  std::string user, password;
  bool debug = false;
};

class Connection {
 public:
  static OrFailure<Connection> open(const Login& login);
  Connection(Connection&& other) noexcept;
  Connection& operator=(Connection&&) = delete;
  ~Connection();
  OrFailure<pcp::Reply> ask(const pcp::Request& request);

 private:
  Connection(int fd, bool debug) : fd_(fd), debug_(debug) {}
  OrFailure<Done> log_in(const Login& login);
  OrFailure<Done> send(const pcp::Request& request);
  OrFailure<Done> read_more();
  // The next frame; its payload is good until the next call.
  OrFailure<pcp::Frame> receive();

  int fd_;
  bool debug_;
  Bytes input_;
  std::size_t used_ = 0;  // octets at the front that were handed out
};

}  // namespace herdgate::pcp_client
