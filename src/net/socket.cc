#include "net/socket.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <numeric>

#include "base/assert.h"

namespace herdgate::net {
namespace {

// A short count means that the direction is drained (read) or full (write): the next edge will tell.
Io outcome(ssize_t moved, std::size_t wanted) {
  if (moved >= 0)
    return {.state = Io::ok,
            .bytes = static_cast<std::size_t>(moved),
            .still_ready = static_cast<std::size_t>(moved) == wanted};
  if (errno == EAGAIN || errno == EWOULDBLOCK) return {.state = Io::would_block};
  return {.state = Io::failed, .errno_value = errno};
}

Io written(Loop& loop, int fd, const Io& io) {
  if (io.state != Io::failed && !io.still_ready) loop.wrote_short(fd);
  return io;
}

// The system calls themselves: the library's functions are cancellation points, which costs two atomic operations each
// in a program of several threads, and nobody here cancels threads.
ssize_t raw_recv(int fd, char* into, std::size_t count) {
  return ::syscall(SYS_recvfrom, fd, into, count, 0, nullptr, nullptr);
}
ssize_t raw_send(int fd, const char* from, std::size_t count) {
  return ::syscall(SYS_sendto, fd, from, count, MSG_NOSIGNAL, nullptr, 0);
}

std::size_t size_of(std::span<const iovec> pieces) {
  const auto add = [](std::size_t sum, const iovec& piece) { return sum + piece.iov_len; };
  return std::accumulate(pieces.begin(), pieces.end(), std::size_t{0}, add);
}

void set_int(int fd, int level, int option, int value) { ::setsockopt(fd, level, option, &value, sizeof value); }

}  // namespace

Socket& Socket::operator=(Socket&& other) noexcept {
  if (this != &other) {
    close();
    fd_ = std::exchange(other.fd_, -1);
  }
  return *this;
}

Io Socket::read(Loop& loop, std::span<char> into) {
  HG_ASSERT(!into.empty());
  ssize_t got;
  do {
    ++loop.counters().receives;
    got = raw_recv(fd_, into.data(), into.size());
  } while (got < 0 && errno == EINTR);
  if (got == 0) return {.state = Io::closed};
  return outcome(got, into.size());
}

Io Socket::write(Loop& loop, std::string_view bytes) {
  if (bytes.empty()) return {.still_ready = true};
  ssize_t put;
  do {
    ++loop.counters().sends;
    put = raw_send(fd_, bytes.data(), bytes.size());
  } while (put < 0 && errno == EINTR);
  return written(loop, fd_, outcome(put, bytes.size()));
}

Io Socket::writev(Loop& loop, std::span<const iovec> pieces) {
  HG_ASSERT(pieces.size() <= kMaxPieces);
  const std::size_t wanted = size_of(pieces);
  if (wanted == 0) return {.still_ready = true};
  msghdr message{};
  message.msg_iov = const_cast<iovec*>(pieces.data());
  message.msg_iovlen = pieces.size();
  ssize_t put;
  do {
    ++loop.counters().sends;
    put = ::sendmsg(fd_, &message, MSG_NOSIGNAL);
  } while (put < 0 && errno == EINTR);
  return written(loop, fd_, outcome(put, wanted));
}

Io Socket::send_soon(Loop& loop, std::span<const iovec> pieces) {
  const std::size_t wanted = size_of(pieces);
  if (wanted == 0) return {.still_ready = true};
  switch (loop.queue_send(fd_, pieces, wanted)) {
    case Loop::Queued::queued:
      ++loop.counters().sends;
      ++loop.counters().sent_by_waits;
      return {.state = Io::ok, .bytes = wanted, .still_ready = true};
    case Loop::Queued::later:
      return {.state = Io::would_block};
    case Loop::Queued::direct:
      break;
  }
  if (pieces.size() > 1) return writev(loop, pieces);
  return write(loop, {static_cast<const char*>(pieces[0].iov_base), pieces[0].iov_len});
}

void Socket::shutdown_write() { ::shutdown(fd_, SHUT_WR); }

// Not repeated on EINTR: Linux has closed the descriptor even then.
void Socket::close() {
  if (fd_ >= 0) ::close(std::exchange(fd_, -1));
}

std::string Address::host() const {
  if (storage.ss_family == AF_INET) {  // each login asks; inet_ntop() goes through printf()
    const auto* octets =
        reinterpret_cast<const unsigned char*>(&reinterpret_cast<const sockaddr_in&>(storage).sin_addr);
    std::array<char, INET_ADDRSTRLEN> text{};
    char* end = text.data();
    for (int i = 0; i < 4; ++i) {
      if (i > 0) *end++ = '.';
      end = std::to_chars(end, text.data() + text.size(), octets[i]).ptr;
    }
    return {text.data(), end};
  }
  if (storage.ss_family != AF_INET6) return "[local]";
  std::array<char, INET6_ADDRSTRLEN> text{};
  const in6_addr& octets = reinterpret_cast<const sockaddr_in6&>(storage).sin6_addr;
  return ::inet_ntop(AF_INET6, &octets, text.data(), text.size());
}

int Address::port() const {
  if (storage.ss_family == AF_INET) return ntohs(reinterpret_cast<const sockaddr_in&>(storage).sin_port);
  if (storage.ss_family == AF_INET6) return ntohs(reinterpret_cast<const sockaddr_in6&>(storage).sin6_port);
  return 0;
}

Peer::Peer(const Address& address) : family_(address.storage.ss_family) {
  if (family_ == AF_INET) {
    const auto& from = reinterpret_cast<const sockaddr_in&>(address.storage);
    std::memcpy(octets_.data(), &from.sin_addr, sizeof from.sin_addr);
    port_ = from.sin_port;
  } else if (family_ == AF_INET6) {
    const auto& from = reinterpret_cast<const sockaddr_in6&>(address.storage);
    std::memcpy(octets_.data(), &from.sin6_addr, sizeof from.sin6_addr);
    port_ = from.sin6_port;
    scope_ = from.sin6_scope_id;
  }
}

Address Peer::address() const {
  Address address;
  address.storage.ss_family = family_;
  address.length = sizeof(sa_family_t);
  if (family_ == AF_INET) {
    auto& to = reinterpret_cast<sockaddr_in&>(address.storage);
    std::memcpy(&to.sin_addr, octets_.data(), sizeof to.sin_addr);
    to.sin_port = port_;
    address.length = sizeof to;
  } else if (family_ == AF_INET6) {
    auto& to = reinterpret_cast<sockaddr_in6&>(address.storage);
    std::memcpy(&to.sin6_addr, octets_.data(), sizeof to.sin6_addr);
    to.sin6_port = port_;
    to.sin6_scope_id = scope_;
    address.length = sizeof to;
  }
  return address;
}

void apply_tcp_options(int fd, const TcpOptions& options) {
  int domain = 0;
  socklen_t size = sizeof domain;
  if (::getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &size) != 0 || (domain != AF_INET && domain != AF_INET6)) return;
  set_int(fd, IPPROTO_TCP, TCP_NODELAY, 1);
  set_int(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
  if (options.keepalives_idle_s > 0) set_int(fd, IPPROTO_TCP, TCP_KEEPIDLE, options.keepalives_idle_s);
  if (options.keepalives_interval_s > 0) set_int(fd, IPPROTO_TCP, TCP_KEEPINTVL, options.keepalives_interval_s);
  if (options.keepalives_count > 0) set_int(fd, IPPROTO_TCP, TCP_KEEPCNT, options.keepalives_count);
  if (options.user_timeout_ms > 0) set_int(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, options.user_timeout_ms);
  if (options.defer_accept) set_int(fd, IPPROTO_TCP, TCP_DEFER_ACCEPT, 1);
}

}  // namespace herdgate::net
