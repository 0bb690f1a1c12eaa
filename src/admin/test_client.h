// For unit tests of the services: a blocking connection to a port of this host.
//
// Shape    connected(port) gives its descriptor; receives give up after kPatience.
// Limits   none.
// Errors   a connection refused is a failed expectation.
// Threads  the caller's.
// Source   our own.
#pragma once
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>

namespace herdgate::admin {

inline int connected(int port) {
  constexpr timeval kPatience{20, 0};
  const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in to{};
  to.sin_family = AF_INET;
  to.sin_port = htons(static_cast<std::uint16_t>(port));
  to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  ::setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &kPatience, sizeof kPatience);
  EXPECT_EQ(::connect(fd, reinterpret_cast<const sockaddr*>(&to), sizeof to), 0);
  return fd;
}

}  // namespace herdgate::admin
