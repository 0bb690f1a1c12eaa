#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <random>
#include <thread>

#include "net/poller.h"
#include "net/socket.h"
#include "net/test_kernel.h"

namespace herdgate::net {
namespace {
using namespace std::chrono_literals;

// Sends as a link does: what the socket has not taken is kept, and sent ahead of all else.
class Sender final : public Watcher {
 public:
  Sender(Loop& loop, int fd) : loop_(loop), socket_(fd) { EXPECT_TRUE(loop.watch(socket_.fd(), *this)); }
  ~Sender() override { close(); }
  Sender(const Sender&) = delete;
  Sender& operator=(const Sender&) = delete;

  void send(std::string_view bytes) {
    queue_ += bytes;
    write_some();
  }
  void close() {
    if (!socket_.open()) return;
    loop_.forget(socket_.fd());
    socket_.close();
  }
  void on_ready(unsigned ready) override {
    if (!(ready & kWritable)) return;
    ++told;
    writable_ = true;
    write_some();
  }
  void on_unsent(std::string_view rest, int errno_value) override {
    error = errno_value;
    ++refused;
    writable_ = false;
    queue_.insert(0, rest);
    if (when_refused) loop_.defer(std::exchange(when_refused, nullptr));
  }
  std::size_t kept() const { return queue_.size(); }
  Socket& socket() { return socket_; }

  int error = 0, refused = 0, told = 0;
  std::function<void()> when_refused;  // later in that turn

 private:
  void write_some() {
    while (writable_ && !queue_.empty()) {
      // Two pieces, as a client's answers are.
      const std::size_t half = queue_.size() / 2;
      const std::array<iovec, 2> pieces{{{queue_.data(), half}, {queue_.data() + half, queue_.size() - half}}};
      const Io io = socket_.send_soon(loop_, pieces);
      if (io.state == Io::failed) error = io.errno_value;
      writable_ = io.still_ready;
      queue_.erase(0, io.bytes);
    }
  }
  Loop& loop_;
  Socket socket_;
  std::string queue_;
  bool writable_ = true;
};

std::pair<int, int> make_pair_of() {
  std::array<int, 2> fds{};
  EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds.data()), 0);
  return {fds[0], fds[1]};
}

std::string read_all(int fd, std::size_t most = 1 << 20) {
  std::string got, part(64 * 1024, '\0');
  for (ssize_t n = 1; n > 0 && got.size() < most;) {
    n = ::recv(fd, part.data(), std::min(part.size(), most - got.size()), 0);
    if (n > 0) got.append(part, 0, static_cast<std::size_t>(n));
  }
  return got;
}

class SendTest : public OnEachKernel {
 protected:
  // In one turn, and then one more.
  void in_a_turn(const std::function<void()>& work) {
    loop.after(0ms, work);
    loop.after(1ms, [this] { loop.stop(); });
    run();
  }
};

TEST_P(SendTest, MessagesOfOneTurnArriveInTheirOrder) {
  const auto [ours, theirs] = make_pair_of();
  const auto [mine, others] = make_pair_of();
  Sender a(loop, ours), b(loop, mine);
  in_a_turn([&] {
    a.send("one ");
    b.send("other ");
    a.send("two ");
    b.send("news");
    a.send("three");
  });
  EXPECT_EQ(read_all(theirs), "one two three");
  EXPECT_EQ(read_all(others), "other news");
  ::close(theirs);
  ::close(others);
}

// The kernel says of a UNIX socket that there is room each time its peer has read: nobody waits for that.
TEST_P(SendTest, APeerThatReadsWakesNobody) {
  const auto [ours, theirs] = make_pair_of();
  Sender sender(loop, ours);
  for (int i = 0; i < 3; ++i) {
    in_a_turn([&] { sender.send("four"); });
    EXPECT_EQ(read_all(theirs), "four");
  }
  in_a_turn([] {});
  EXPECT_EQ(loop.counters().events, 0u);
  ::close(theirs);
}

TEST_P(SendTest, ALongMessageDoesNotOvertakeAShortOne) {
  const auto [ours, theirs] = make_pair_of();
  Sender a(loop, ours);
  const std::string much(SendBatch::kLongest, 'x');
  in_a_turn([&] {
    a.send("short");
    a.send(much);
    a.send("end");
  });
  EXPECT_EQ(read_all(theirs), "short" + much + "end");
  ::close(theirs);
}

TEST_P(SendTest, WhatIsSentGoesOutAheadOfTheEnd) {
  const auto [ours, theirs] = make_pair_of();
  const int peer = theirs;
  Sender a(loop, ours);
  std::unique_ptr<Sender> next;
  int successor = -1;
  in_a_turn([&] {
    a.send("farewell");
    a.close();
    const auto [fresh, reads] = make_pair_of();  // the descriptor's number is free for somebody else
    successor = reads;
    next = std::make_unique<Sender>(loop, fresh);
    next->send("welcome");
  });
  std::array<char, 16> buffer{};
  EXPECT_EQ(::recv(peer, buffer.data(), buffer.size(), 0), 8);
  EXPECT_EQ(::recv(peer, buffer.data(), buffer.size(), 0), 0);
  EXPECT_EQ(read_all(successor), "welcome");
  ::close(peer);
  ::close(successor);
}

// Its peer has just sent something, of which the loop has not heard yet.
TEST_P(SendTest, TheEndReachesAPeerThatSendsAllTheTime) {
  const auto [ours, theirs] = make_pair_of();
  const int peer = theirs;
  Sender a(loop, ours);
  loop.after(0ms, [&] {
    loop.after(0ms, [&] {  // watched since the turn before
      EXPECT_EQ(::send(peer, "news", 4, MSG_NOSIGNAL), 4);
      a.close();
    });
  });
  loop.after(1ms, [&] { loop.stop(); });
  run();
  char octet = 0;
  const ssize_t got = ::recv(peer, &octet, 1, 0);
  EXPECT_TRUE(got == 0 || errno == ECONNRESET) << got << " " << errno;
  ::close(peer);
}

// Its polls are given up by another thread, more of them than a ring takes at once.
TEST_P(SendTest, ALoopWhoseThreadHasEndedIsTakenDown) {
  constexpr std::size_t kMany = 1100;
  std::vector<std::unique_ptr<Sender>> senders;
  std::vector<int> peers;
  std::thread worker([&] {
    in_a_turn([&] {
      for (std::size_t i = 0; i < kMany; ++i) {
        const auto [ours, theirs] = make_pair_of();
        senders.push_back(std::make_unique<Sender>(loop, ours));
        peers.push_back(theirs);
      }
      loop.defer([&] {
        for (auto& sender : senders) sender->send("bye");
      });
      loop.stop();
    });
  });
  worker.join();
  senders.clear();
  for (const int peer : peers) {
    EXPECT_EQ(read_all(peer), "bye");
    ::close(peer);
  }
}

// A client is in its queue already when it is given up: the event that ends its poll is told behind that.
TEST_P(SendTest, AListenerGivenUpLeavesItsNumberAlone) {
  const int listener = ::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  ASSERT_EQ(::bind(listener, reinterpret_cast<sockaddr*>(&address), size), 0);
  ASSERT_EQ(::listen(listener, 4), 0);
  ASSERT_EQ(::getsockname(listener, reinterpret_cast<sockaddr*>(&address), &size), 0);
  const Socket client(::socket(AF_INET, SOCK_STREAM, 0));
  ASSERT_EQ(::connect(client.fd(), reinterpret_cast<sockaddr*>(&address), size), 0);
  const auto [ours, theirs] = make_pair_of();
  const int peer = theirs;
  Sender other(loop, ours);
  std::unique_ptr<Sender> next;
  in_a_turn([&] {
    ASSERT_TRUE(loop.watch(listener, other, Loop::Trigger::level));
    loop.send_queued(other.socket().fd());
    other.send("x");
    loop.send_queued(other.socket().fd());  // the poll has been taken, and has ended
    loop.unwatch(listener);
    const auto [fresh, reads] = make_pair_of();
    ASSERT_EQ(::dup2(fresh, listener), listener);
    ::close(fresh);
    next = std::make_unique<Sender>(loop, listener);
    ::close(theirs);
    EXPECT_EQ(::dup2(reads, peer), peer);
    ::close(reads);
  });
  in_a_turn([] {});
  in_a_turn([&] { next->close(); });
  in_a_turn([] {});
  char octet = 0;
  EXPECT_EQ(::recv(peer, &octet, 1, 0), 0) << errno;
  ::close(peer);
}

// The kernel has news of many sockets to tell, of a few at a time.
TEST_P(SendTest, AListenerThatIsClosedLetsNobodyInAmongMuchElse) {
  std::vector<std::unique_ptr<Sender>> senders;
  std::vector<Socket> peers;
  for (int i = 0; i < 100; ++i) {
    const auto [ours, theirs] = make_pair_of();
    senders.push_back(std::make_unique<Sender>(loop, ours));
    peers.emplace_back(theirs);
  }
  const auto listener = std::move(Listener::tcp(loop, "127.0.0.1", 0, 4)->front());
  ASSERT_TRUE(listener->start([](Socket, const Address&) {}, [](const Error&) {}));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  address.sin_port = htons(static_cast<std::uint16_t>(listener->port()));
  in_a_turn([&] {
    loop.after(0ms, [&] {  // all are watched by then
      for (const Socket& peer : peers) EXPECT_EQ(::send(peer.fd(), "x", 1, MSG_NOSIGNAL), 1);
      listener->close();
      const Socket client(::socket(AF_INET, SOCK_STREAM, 0));
      EXPECT_NE(::connect(client.fd(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
      EXPECT_EQ(errno, ECONNREFUSED);
    });
  });
}

TEST_P(SendTest, APeerThatHasGoneIsToldOf) {
  const auto [ours, theirs] = make_pair_of();
  Sender a(loop, ours);
  ::close(theirs);
  in_a_turn([&] { a.send("anybody?"); });
  EXPECT_EQ(a.error, EPIPE);
}

TEST_P(SendTest, ItCanBeAskedForAtOnce) {
  const auto [ours, theirs] = make_pair_of();
  const int peer = theirs;
  Sender a(loop, ours);
  in_a_turn([&] {
    a.send("now");
    loop.send_queued(a.socket().fd());
    EXPECT_EQ(read_all(peer), "now");
    a.send(" then");
    while (a.refused == 0) {  // full, and told so at once
      const std::size_t before = a.kept();
      a.send(std::string(SendBatch::kLongest / 2, 'x'));
      loop.send_queued(a.socket().fd());
      if (a.kept() > before) break;
    }
    EXPECT_GT(a.kept(), 0u);
  });
  ::close(peer);
}

TEST_P(SendTest, WhereOneSocketIsFullOthersDoNotWait) {
  const auto [ours, theirs] = make_pair_of();
  const auto [mine, others] = make_pair_of();
  Sender slow(loop, ours), quick(loop, mine);
  slow.when_refused = [&] {
    quick.send("x");
    loop.after(0ms, [&] { loop.stop(); });
  };
  std::size_t turns = 0;
  std::function<void()> send = [&] {
    if (slow.kept() > 0) return loop.stop();
    ++turns;
    slow.send(std::string(SendBatch::kLongest / 2, 'x'));
    quick.send("x");
    loop.after(0ms, send);
  };
  loop.after(0ms, send);
  run();
  EXPECT_GT(slow.kept(), 0u);
  EXPECT_EQ(quick.told, 0);
  const std::size_t behind = loop.kernel() == Loop::Kernel::io_uring ? 1 : 0;
  EXPECT_EQ(read_all(others).size(), turns + behind);
  ::close(theirs);
  ::close(others);
}

TEST_P(SendTest, MoreSocketsThanABatchHasRoomFor) {
  constexpr std::size_t kMany = SendBatch::kMostEntries + 100;
  std::vector<std::unique_ptr<Sender>> senders;
  std::vector<int> peers;
  for (std::size_t i = 0; i < kMany; ++i) {
    const auto [ours, theirs] = make_pair_of();
    senders.push_back(std::make_unique<Sender>(loop, ours));
    peers.push_back(theirs);
  }
  in_a_turn([&] {
    for (std::size_t i = 0; i < kMany; ++i) senders[i]->send(std::to_string(i) + std::string(1500, '.'));
    for (std::size_t i = 0; i < kMany; ++i) senders[i]->send(std::to_string(i));
  });
  for (std::size_t i = 0; i < kMany; ++i) {
    EXPECT_EQ(read_all(peers[i]), std::to_string(i) + std::string(1500, '.') + std::to_string(i));
    ::close(peers[i]);
  }
}

// Readers that take a little at a time keep the sockets full: every octet must come once, in its order.
TEST_P(SendTest, SlowReadersGetEveryOctetOnce) {
  constexpr std::size_t kStreams = 8, kEach = 3 << 20;
  std::mt19937 random(7);
  struct Stream {
    std::unique_ptr<Sender> sender;
    int peer;
    std::size_t sent = 0, got = 0;
  };
  std::vector<Stream> streams;
  for (std::size_t i = 0; i < kStreams; ++i) {
    const auto [ours, theirs] = make_pair_of();
    const int small = 4096;
    ::setsockopt(ours, SOL_SOCKET, SO_SNDBUF, &small, sizeof small);
    streams.push_back({std::make_unique<Sender>(loop, ours), theirs});
  }
  const auto octet = [](std::size_t stream, std::size_t at) { return static_cast<char>(at * 31 + at / 251 + stream); };
  int refused = 0;
  std::function<void()> step = [&] {
    bool all = true;
    for (std::size_t i = 0; i < kStreams; ++i) {
      Stream& s = streams[i];
      for (int n = 0; n < 3 && s.sent < kEach && s.sender->kept() < 6000; ++n) {
        std::string bytes(std::min(kEach - s.sent, std::size_t{1} + random() % (n == 2 ? 20'000 : 3'000)), '\0');
        for (char& c : bytes) c = octet(i, s.sent++);
        s.sender->send(bytes);
      }
      for (const char c : read_all(s.peer, random() % 12'000)) ASSERT_EQ(c, octet(i, s.got++));
      all = all && s.got == kEach;
      refused += std::exchange(s.sender->refused, 0);
    }
    if (all) return loop.stop();
    loop.after(0ms, step);
  };
  loop.after(0ms, step);
  run();
  for (Stream& s : streams) {
    EXPECT_EQ(s.got, kEach);
    ::close(s.peer);
  }
  EXPECT_TRUE(refused > 100 || loop.kernel() == Loop::Kernel::epoll) << refused << ": the case was not met";
}

INSTANTIATE_TEST_SUITE_P(Each, SendTest, kKernels, kernel_name);

}  // namespace
}  // namespace herdgate::net
