// Ping-pong of 64 octets over CLIENTS connections for SECONDS, one message under way on each.
//
// Usage: load serve PORT                        an echo server; ends at SIGTERM
//        load drive PORT CLIENTS SECONDS        prints the number of round trips
// Both are bare epoll loops on one thread, level-triggered.
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace {

constexpr std::size_t kOctets = 64;

sockaddr_in loopback(const char* port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  address.sin_port = htons(static_cast<std::uint16_t>(std::atoi(port)));
  return address;
}

void add(int epoll, int fd) {
  const int on = 1;
  ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.fd = fd;
  ::epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event);
}

// Answers whatever comes with the same; returns the messages moved. `listening` may be -1.
long turn(int epoll, int listening) {
  std::array<epoll_event, 256> events;
  std::array<char, 4096> buffer;
  long moved = 0;
  const int count = ::epoll_wait(epoll, events.data(), static_cast<int>(events.size()), 100);
  for (int i = 0; i < count; ++i) {
    const int fd = events[static_cast<std::size_t>(i)].data.fd;
    if (fd == listening) {
      add(epoll, ::accept(fd, nullptr, nullptr));
      continue;
    }
    const ssize_t got = ::recv(fd, buffer.data(), buffer.size(), 0);
    if (got <= 0) {
      ::close(fd);
      continue;
    }
    if (::send(fd, buffer.data(), static_cast<std::size_t>(got), MSG_NOSIGNAL) == got) ++moved;
  }
  return moved;
}

int serve(const char* port) {
  const int listening = ::socket(AF_INET, SOCK_STREAM, 0), on = 1, epoll = ::epoll_create1(0);
  ::setsockopt(listening, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  const sockaddr_in address = loopback(port);
  if (::bind(listening, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) return 1;
  ::listen(listening, 256);
  add(epoll, listening);
  for (;;) turn(epoll, listening);
}

int drive(const char* port, int clients, int seconds) {
  const int epoll = ::epoll_create1(0);
  const sockaddr_in address = loopback(port);
  const std::array<char, kOctets> message{};
  for (int i = 0; i < clients; ++i) {
    const int fd = ::socket(AF_INET, SOCK_STREAM, 0);
    if (::connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) return 1;
    add(epoll, fd);
    if (::send(fd, message.data(), message.size(), 0) != static_cast<ssize_t>(kOctets)) return 1;
  }
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(seconds);
  long trips = 0;
  while (std::chrono::steady_clock::now() < end) trips += turn(epoll, -1);
  std::printf("%ld\n", trips);
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc == 3 && std::strcmp(argv[1], "serve") == 0) return serve(argv[2]);
  if (argc == 5 && std::strcmp(argv[1], "drive") == 0) return drive(argv[2], std::atoi(argv[3]), std::atoi(argv[4]));
  return 2;
}
