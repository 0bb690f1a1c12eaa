#include "net/socket.h"

#include <arpa/inet.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <filesystem>
#include <fstream>
#include <latch>
#include <thread>

#include "net/errc.h"
#include "net/test_kernel.h"

// Stands before the C library's: "A and B" has the addresses of both.
extern "C" int getaddrinfo(const char* name, const char* service, const addrinfo* hints, addrinfo** list) {
  static const auto real = reinterpret_cast<decltype(&getaddrinfo)>(::dlsym(RTLD_NEXT, "getaddrinfo"));
  const std::string names = name == nullptr ? "" : name;
  const std::size_t both = names.find(" and ");
  if (both == std::string::npos) return real(name, service, hints, list);
  if (const int code = real(names.substr(0, both).c_str(), service, hints, list); code != 0) return code;
  return real(names.substr(both + 5).c_str(), service, hints, &(*list)->ai_next);
}

namespace herdgate::net {
namespace {
using namespace std::chrono_literals;

class SocketTest : public OnEachKernel {
 protected:
  void SetUp() override {
    OnEachKernel::SetUp();
    std::string pattern = std::filesystem::temp_directory_path() / "hg_net_XXXXXX";
    folder = ::mkdtemp(pattern.data());
  }
  void TearDown() override { std::filesystem::remove_all(folder); }
  // Connects and waits for the answer.
  Result<Socket> connect_to(const Destination& to, Duration within = kGiveUp) {
    std::optional<Result<Socket>> answer;
    ConnectOptions options;
    options.deadline = Deadline::after(clock.now(), within);
    const auto connecting = connect(loop, pool, to, options, [&](Result<Socket> socket) {
      answer.emplace(std::move(socket));
      loop.stop();
    });
    EXPECT_FALSE(answer) << "done was called from within connect()";
    run();
    return answer ? std::move(*answer) : Result<Socket>(fail(Errc::timed_out, "no answer at all"));
  }
  std::unique_ptr<Listener> tcp_listener(const std::string& address, int port = 0) {
    auto made = Listener::tcp(loop, address, port, 16);
    EXPECT_TRUE(made) << made.error().text();
    return made && !made->empty() ? std::move(made->front()) : nullptr;
  }
  void accept_into(Listener& listener, std::vector<Socket>& sockets, std::vector<Address>* peers = nullptr) {
    const auto accepted = [&sockets, peers](Socket socket, const Address& peer) {
      sockets.push_back(std::move(socket));
      if (peers) peers->push_back(peer);
    };
    ASSERT_TRUE(listener.start(accepted, [](const Error& error) { ADD_FAILURE() << error.text(); }));
  }
  // Runs the loop until `condition` holds; it is looked at after each turn.
  void run_until(std::function<bool()> condition) {
    std::function<void()> look = [&] { condition() ? loop.stop() : static_cast<void>(loop.after(1ms, look)); };
    look();
    run();
  }

  BlockingPool pool{2};
  std::string folder;
};

std::pair<Socket, Socket> socket_pair() {
  std::array<int, 2> fds{};
  EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds.data()), 0);
  return {Socket(fds[0]), Socket(fds[1])};
}

TEST_P(SocketTest, ReadsSayWhetherMoreMayBeThere) {
  auto [a, b] = socket_pair();
  std::array<char, 4> buffer{};
  EXPECT_EQ(b.read(loop, buffer).state, Io::would_block);
  EXPECT_EQ(a.write(loop, "sixoct").bytes, 6u);
  Io io = b.read(loop, buffer);
  EXPECT_EQ(io.bytes, 4u);
  EXPECT_TRUE(io.still_ready);
  io = b.read(loop, buffer);
  EXPECT_EQ(io.bytes, 2u);
  EXPECT_FALSE(io.still_ready);
  a.shutdown_write();
  EXPECT_EQ(b.read(loop, buffer).state, Io::closed);
  EXPECT_EQ(loop.counters().receives, 4u);
  EXPECT_EQ(loop.counters().sends, 1u);
}

TEST_P(SocketTest, AFullSocketTakesAPartAndThenBlocks) {
  auto [a, b] = socket_pair();
  const std::string much(8 << 20, 'x');
  std::size_t sent = 0;
  Io io;
  do {
    io = a.write(loop, std::string_view(much).substr(sent));
    sent += io.bytes;
  } while (io.still_ready && sent < much.size());
  EXPECT_LT(sent, much.size());
  EXPECT_FALSE(io.still_ready);
}

TEST_P(SocketTest, PiecesGoOutInOneCall) {
  auto [a, b] = socket_pair();
  std::string first = "ab", second = "", third = "cde";
  const std::array<iovec, 3> pieces{{{first.data(), 2}, {second.data(), 0}, {third.data(), 3}}};
  const Io io = a.writev(loop, pieces);
  EXPECT_EQ(io.bytes, 5u);
  EXPECT_TRUE(io.still_ready);
  EXPECT_EQ(loop.counters().sends, 1u);
  std::array<char, 16> buffer{};
  EXPECT_EQ(b.read(loop, buffer).bytes, 5u);
  EXPECT_EQ(std::string_view(buffer.data(), 5), "abcde");
}

TEST_P(SocketTest, WritingToAClosedPeerFailsWithoutASignal) {
  auto [a, b] = socket_pair();
  b.close();
  const Io io = a.write(loop, "x");
  EXPECT_EQ(io.state, Io::failed);
  EXPECT_EQ(io.errno_value, EPIPE);
}

TEST_P(SocketTest, ConnectsByTcpAndTellsTheAddress) {
  const auto listener = tcp_listener("127.0.0.1");
  std::vector<Socket> accepted;
  std::vector<Address> peers;
  accept_into(*listener, accepted, &peers);
  auto socket = connect_to({"127.0.0.1", listener->port()});
  ASSERT_TRUE(socket) << socket.error().text();
  run_until([&] { return !accepted.empty(); });
  EXPECT_EQ(peers[0].host(), "127.0.0.1");
  EXPECT_GT(peers[0].port(), 0);
  EXPECT_FALSE(peers[0].is_unix());
  // Handed over: neither non-blocking mode nor close-on-exec may be forgotten, on either side.
  for (const int fd : {socket->fd(), accepted[0].fd()}) {
    EXPECT_TRUE(::fcntl(fd, F_GETFL) & O_NONBLOCK);
    EXPECT_TRUE(::fcntl(fd, F_GETFD) & FD_CLOEXEC);
  }
  EXPECT_EQ(socket->write(loop, "hi").bytes, 2u);
  std::array<char, 8> buffer{};
  run_until([&] { return accepted[0].read(loop, buffer).bytes == 2; });
}

TEST_P(SocketTest, ConnectsByNameTryingEveryAddress) {
  // Only one of the addresses of localhost is served.
  const auto listener = tcp_listener("127.0.0.1");
  std::vector<Socket> accepted;
  accept_into(*listener, accepted);
  const auto socket = connect_to({"localhost", listener->port()});
  EXPECT_TRUE(socket) << socket.error().text();
}

TEST_P(SocketTest, ARefusedConnectionNamesTheDestination) {
  int port = 0;
  { port = tcp_listener("127.0.0.1")->port(); }
  const auto socket = connect_to({"127.0.0.1", port});
  ASSERT_FALSE(socket);
  EXPECT_EQ(socket.error().code, make_error_code(Errc::nobody_listens));
  EXPECT_EQ(socket.error().context, fmt::format("127.0.0.1:{}: Connection refused", port));
}

TEST_P(SocketTest, WhereThereCanBeNoSocketItIsNotSaidThatNobodyListens) {
  EXPECT_EQ(connect_to({"/dev/null", 1}).error().code, make_error_code(Errc::connect_failed));
  EXPECT_EQ(connect_to({"/nowhere", 1}).error().code, make_error_code(Errc::nobody_listens));
}

// To a multicast address there is no route, on any machine.
TEST_P(SocketTest, AnAddressOfAFamilyThatThisMachineDoesNotHaveLeavesItToTheOthers) {
  int port = 0;
  { port = tcp_listener("127.0.0.1")->port(); }
  const auto failure = [&](const std::string& host) { return connect_to({host, port}).error().code; };
  EXPECT_EQ(failure("ff0e::1 and 127.0.0.1"), make_error_code(Errc::nobody_listens));
  EXPECT_EQ(failure("127.0.0.1 and ff0e::1"), make_error_code(Errc::nobody_listens));
  EXPECT_EQ(failure("ff0e::1"), make_error_code(Errc::connect_failed));
  EXPECT_EQ(failure("127.0.0.1 and 224.0.0.1"), make_error_code(Errc::connect_failed));
}

// The peer has not heard of us, so nothing is known of it.
TEST_P(SocketTest, WithoutADescriptorItIsOurOwnShortage) {
  const auto listener = tcp_listener("127.0.0.1");
  std::vector<Socket> held, accepted;
  rlimit before{};
  ::getrlimit(RLIMIT_NOFILE, &before);
  rlimit low = before;
  { low.rlim_cur = static_cast<rlim_t>(Socket(::dup(0)).fd()) + 2; }
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &low), 0);
  for (int fd = ::dup(0); fd >= 0; fd = ::dup(0)) held.emplace_back(fd);
  const auto socket = connect_to({"127.0.0.1", listener->port()});
  held.clear();
  ::setrlimit(RLIMIT_NOFILE, &before);
  ASSERT_FALSE(socket);
  EXPECT_EQ(socket.error().code, make_error_code(Errc::own_shortage));
  EXPECT_EQ(socket.error().context, fmt::format("127.0.0.1:{}: Too many open files", listener->port()));
  EXPECT_TRUE(connect_to({"127.0.0.1", listener->port()})) << "and it recovers";
}

TEST_P(SocketTest, AnUnknownNameIsAnError) {
  const auto socket = connect_to({"name with blanks", 5432});
  ASSERT_FALSE(socket);
  EXPECT_EQ(socket.error().code, make_error_code(Errc::name_not_found));
}

// A listener whose queue is full does not answer: the deadline must end the attempt.
TEST_P(SocketTest, ADeadlineEndsTheAttempt) {
  const std::string path = folder + "/.s.PGSQL.1";
  auto listener = Listener::unix_socket(loop, {.path = path, .group = {}, .mode = 0700, .backlog = 1});
  ASSERT_TRUE(listener) << listener.error().text();
  std::vector<Socket> held;
  Result<Socket> last = Socket();
  do {
    last = connect_to({folder, 1}, 20ms);
    if (last) held.push_back(std::move(*last));
  } while (last && held.size() < 16);
  ASSERT_FALSE(last);
  EXPECT_EQ(last.error().code, make_error_code(Errc::timed_out));
  // And it recovers: when there is room, the next attempt gets in.
  std::vector<Socket> accepted;
  accept_into(**listener, accepted);
  EXPECT_TRUE(connect_to({folder, 1}));
}

TEST_P(SocketTest, GivingUpMeansNoAnswer) {
  const auto listener = tcp_listener("127.0.0.1");
  auto connecting = connect(loop, pool, {"localhost", listener->port()}, {}, [](Result<Socket>) { FAIL(); });
  loop.after(0ms, [&] { connecting.reset(); });
  loop.after(50ms, [&] { loop.stop(); });
  run();
}

TEST_P(SocketTest, TheAnswerMayDestroyTheAttempt) {
  const auto listener = tcp_listener("127.0.0.1");
  std::unique_ptr<Connecting> connecting;
  connecting = connect(loop, pool, {"127.0.0.1", listener->port()}, {}, [&](Result<Socket> socket) {
    EXPECT_TRUE(socket);
    connecting.reset();
    loop.stop();
  });
  run();
  EXPECT_FALSE(connecting);
}

TEST_P(SocketTest, AStarMeansBothFamilies) {
  auto listeners = Listener::tcp(loop, "*", 0, 16);
  ASSERT_TRUE(listeners) << listeners.error().text();
  for (const auto& listener : *listeners) EXPECT_EQ(listener->port(), listeners->front()->port());
  const Socket v6(::socket(AF_INET6, SOCK_STREAM, 0));
  EXPECT_EQ(listeners->size(), v6.open() ? 2u : 1u);
}

TEST_P(SocketTest, APortInUseIsSaid) {
  const auto first = tcp_listener("127.0.0.1");
  const auto second = Listener::tcp(loop, "127.0.0.1", first->port(), 16);
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code, make_error_code(Errc::address_in_use));
}

int option_of(const Socket& socket, int level, int option) {
  int value = -1;
  socklen_t size = sizeof value;
  EXPECT_EQ(::getsockopt(socket.fd(), level, option, &value, &size), 0);
  return value;
}

// They are set once, on the listening socket: what the kernel does with them is its own affair, so it is asked.
TEST_P(SocketTest, AcceptedSocketsHaveTheOptionsOfTheirListener) {
  for (const char* address : {"127.0.0.1", "::1"}) {
    const TcpOptions options{
        .keepalives_idle_s = 61, .keepalives_interval_s = 7, .keepalives_count = 3, .user_timeout_ms = 4500};
    const auto listeners = Listener::tcp(loop, address, 0, 16, &options);
    if (!listeners && std::string_view(address) == "::1") continue;  // no IPv6 here
    ASSERT_TRUE(listeners) << listeners.error().text();
    std::vector<Socket> accepted;
    accept_into(*listeners->front(), accepted);
    const auto client = connect_to({address, listeners->front()->port()});
    ASSERT_TRUE(client);
    run_until([&] { return !accepted.empty(); });
    EXPECT_NE(option_of(accepted[0], IPPROTO_TCP, TCP_NODELAY), 0);
    EXPECT_NE(option_of(accepted[0], SOL_SOCKET, SO_KEEPALIVE), 0);
    EXPECT_EQ(option_of(accepted[0], IPPROTO_TCP, TCP_KEEPIDLE), 61);
    EXPECT_EQ(option_of(accepted[0], IPPROTO_TCP, TCP_KEEPINTVL), 7);
    EXPECT_EQ(option_of(accepted[0], IPPROTO_TCP, TCP_KEEPCNT), 3);
    EXPECT_EQ(option_of(accepted[0], IPPROTO_TCP, TCP_USER_TIMEOUT), 4500);
  }
}

// A silent one comes in as well, later.
TEST_P(SocketTest, WhoHasSpokenIsReadAtOnceWhenAcceptsAreDeferred) {
  const TcpOptions options{.defer_accept = true};
  const auto listeners = Listener::tcp(loop, "127.0.0.1", 0, 16, &options);
  ASSERT_TRUE(listeners);
  std::vector<Socket> accepted;
  accept_into(*listeners->front(), accepted);
  auto speaker = connect_to({"127.0.0.1", listeners->front()->port()});
  ASSERT_TRUE(speaker);
  EXPECT_TRUE(accepted.empty());
  speaker->write(loop, "hello");
  run_until([&] { return !accepted.empty(); });
  std::array<char, 16> buffer;
  EXPECT_EQ(accepted[0].read(loop, buffer).bytes, 5u);
  const auto silent = connect_to({"127.0.0.1", listeners->front()->port()});
  ASSERT_TRUE(silent);
  run_until([&] { return accepted.size() == 2; });
}

TEST_P(SocketTest, WithoutOptionsAcceptedSocketsHaveTheSystems) {
  const auto listener = tcp_listener("127.0.0.1");
  std::vector<Socket> accepted;
  accept_into(*listener, accepted);
  ASSERT_TRUE(connect_to({"127.0.0.1", listener->port()}));
  run_until([&] { return !accepted.empty(); });
  EXPECT_EQ(option_of(accepted[0], IPPROTO_TCP, TCP_NODELAY), 0);
  EXPECT_EQ(option_of(accepted[0], SOL_SOCKET, SO_KEEPALIVE), 0);
}

// Its level tells of those who are in the queue still: nobody is forgotten there, though each turn takes one.
TEST_P(SocketTest, AQueueOfClientsIsAcceptedOneByOne) {
  const auto listener = tcp_listener("127.0.0.1");
  const int port = listener->port();
  std::vector<Socket> clients, accepted;
  for (int i = 0; i < 10; ++i) {
    auto client = connect_to({"127.0.0.1", port});
    ASSERT_TRUE(client);
    clients.push_back(std::move(*client));
  }
  accept_into(*listener, accepted);
  run_until([&] { return accepted.size() == 10; });
  listener->close();
  EXPECT_FALSE(connect_to({"127.0.0.1", port}));
}

class UnixListener : public SocketTest {
 protected:
  std::string path() const { return folder + "/.s.PGSQL.5"; }
  Result<std::unique_ptr<Listener>> listen(const std::string& group = {}) {
    return Listener::unix_socket(loop, {.path = path(), .group = group, .mode = 0750, .backlog = 8});
  }
};

TEST_P(UnixListener, HasItsModeAndLeavesNoFile) {
  {
    const auto listener = listen();
    ASSERT_TRUE(listener) << listener.error().text();
    struct stat about {};
    ASSERT_EQ(::stat(path().c_str(), &about), 0);
    EXPECT_EQ(about.st_mode & 07777, 0750u);
  }
  EXPECT_FALSE(std::filesystem::exists(path()));
}

TEST_P(UnixListener, AcceptsAndCallsThePeerLocal) {
  const auto listener = listen(std::to_string(::getgid()));
  ASSERT_TRUE(listener) << listener.error().text();
  std::vector<Socket> accepted;
  std::vector<Address> peers;
  accept_into(**listener, accepted, &peers);
  const auto socket = connect_to({folder, 5});
  ASSERT_TRUE(socket) << socket.error().text();
  run_until([&] { return !accepted.empty(); });
  EXPECT_TRUE(peers[0].is_unix());
  EXPECT_EQ(peers[0].host(), "[local]");
  EXPECT_EQ(peers[0].port(), 0);
}

TEST_P(UnixListener, ClosedItRefusesClientsAndLeavesNoFile) {
  const auto listener = listen();
  ASSERT_TRUE(listener) << listener.error().text();
  std::vector<Socket> accepted;
  accept_into(**listener, accepted);
  ASSERT_TRUE(connect_to({folder, 5}));
  run_until([&] { return !accepted.empty(); });
  (*listener)->close();
  EXPECT_FALSE(std::filesystem::exists(path()));
  EXPECT_FALSE(connect_to({folder, 5}));
  const auto again = listen();  // the place is free
  ASSERT_TRUE(again) << again.error().text();
  (*listener)->close();  // and closing twice does not take it away
  EXPECT_TRUE(std::filesystem::exists(path()));
}

TEST_P(UnixListener, ServesOnAnotherLoopThanItWasMadeFor) {
  Loop maker{clock};
  const auto listener = Listener::unix_socket(maker, {.path = path(), .group = {}, .mode = 0700, .backlog = 8});
  ASSERT_TRUE(listener) << listener.error().text();
  (*listener)->serve_on(loop);
  std::vector<Socket> accepted;
  accept_into(**listener, accepted);
  ASSERT_TRUE(connect_to({folder, 5}));
  run_until([&] { return !accepted.empty(); });
}

TEST_P(UnixListener, TakesTheFileOfADeadServerButNotOfALiveOne) {
  {
    const Socket dead(::socket(AF_UNIX, SOCK_STREAM, 0));
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    path().copy(address.sun_path, sizeof address.sun_path - 1);
    ASSERT_EQ(::bind(dead.fd(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  }
  const auto first = listen();
  ASSERT_TRUE(first) << first.error().text();
  const auto second = listen();
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code, make_error_code(Errc::address_in_use));
  EXPECT_TRUE(std::filesystem::exists(path()));
}

TEST_P(UnixListener, LeavesAFileThatIsNoSocketAlone) {
  std::ofstream(path()) << "precious";
  const auto listener = listen();
  ASSERT_FALSE(listener);
  EXPECT_EQ(std::filesystem::file_size(path()), 8u);
}

TEST_P(UnixListener, RefusesUnknownGroupsAndLongPaths) {
  EXPECT_FALSE(listen("no_such_group_here"));
  EXPECT_FALSE(std::filesystem::exists(path()));
  const auto too_long = Listener::unix_socket(loop, {.path = folder + "/" + std::string(200, 'x')});
  ASSERT_FALSE(too_long);
  EXPECT_EQ(too_long.error().code, make_error_code(Errc::bad_address));
}

TEST_P(UnixListener, PausedItLeavesClientsInTheQueue) {
  const auto listener = listen();
  ASSERT_TRUE(listener);
  std::vector<Socket> accepted;
  accept_into(**listener, accepted);
  (*listener)->pause();
  const auto socket = connect_to({folder, 5});
  ASSERT_TRUE(socket);
  loop.after(20ms, [&] { loop.stop(); });
  run();
  EXPECT_TRUE(accepted.empty());
  (*listener)->resume();
  run_until([&] { return accepted.size() == 1; });
}

// Paused it is not looked at: its level would turn the loop for nothing.
TEST_P(UnixListener, PausedByItsCallbackItLetsTheLoopSleep) {
  const auto listener = listen();
  ASSERT_TRUE(listener);
  int accepted = 0;
  const auto one = [&](Socket, const Address&) {
    ++accepted;
    (*listener)->pause();
  };
  ASSERT_TRUE((*listener)->start(one, [](const Error& error) { ADD_FAILURE() << error.text(); }));
  const auto first = connect_to({folder, 5}), second = connect_to({folder, 5});
  ASSERT_TRUE(first && second);
  const auto waits_before = loop.counters().waits;
  loop.after(100ms, [&] { loop.stop(); });
  run();
  EXPECT_EQ(accepted, 1);
  EXPECT_LE(loop.counters().waits - waits_before, 4u);
  (*listener)->resume();
  run_until([&] { return accepted == 2; });
}

// With no descriptor left it says so once, does not spin, and goes on when there is one again.
TEST_P(UnixListener, SurvivesTheDescriptorLimit) {
  const auto listener = listen();
  ASSERT_TRUE(listener);
  int accepted = 0, troubles = 0;
  std::vector<Socket> held;
  ASSERT_TRUE((*listener)->start([&](Socket, const Address&) { ++accepted; }, [&](const Error&) { ++troubles; }));
  auto socket = connect_to({folder, 5});
  ASSERT_TRUE(socket);
  run_until([&] { return accepted == 1; });
  rlimit before{};
  ::getrlimit(RLIMIT_NOFILE, &before);
  const Socket spare(::dup(0));
  rlimit low = before;
  low.rlim_cur = static_cast<rlim_t>(spare.fd()) + 2;
  const Socket waiting(::socket(AF_UNIX, SOCK_STREAM, 0));
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &low), 0);
  for (int fd = ::dup(0); fd >= 0; fd = ::dup(0)) held.emplace_back(fd);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  path().copy(address.sun_path, sizeof address.sun_path - 1);
  ASSERT_EQ(::connect(waiting.fd(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  const auto waits_before = loop.counters().waits;
  loop.after(250ms, [&] { loop.stop(); });
  run();
  EXPECT_EQ(accepted, 1);
  EXPECT_EQ(troubles, 1);
  EXPECT_LE(loop.counters().waits - waits_before, 12u);
  held.clear();
  ::setrlimit(RLIMIT_NOFILE, &before);
  run_until([&] { return accepted == 2; });
}

// Where there is no room clients wait in the kernel's queue; it is said once, also when one that leaves lets one in.
TEST_P(UnixListener, AcceptsOnlyWhereThereIsRoom) {
  const auto listener = listen();
  ASSERT_TRUE(listener);
  std::vector<Socket> inside, outside;
  std::vector<Error> troubles;
  std::size_t places = 1;
  const auto accepted = [&](Socket socket, const Address&) { inside.push_back(std::move(socket)); };
  const auto troubled = [&](const Error& error) { troubles.push_back(error); };
  ASSERT_TRUE((*listener)->start(accepted, troubled, [&] { return inside.size() < places; }));
  for (int i = 0; i < 3; ++i) {
    auto socket = connect_to({folder, 5});
    ASSERT_TRUE(socket);
    outside.push_back(std::move(*socket));
  }
  run_until([&] { return !troubles.empty(); });
  EXPECT_EQ(inside.size(), 1u);
  EXPECT_EQ(troubles[0].code, make_error_code(Errc::no_room));
  for (places = 2; places <= 3; ++places) {
    run_until([&] { return inside.size() == places; });
  }
  EXPECT_EQ(troubles.size(), 1u);
}

TEST_P(SocketTest, ThePoolRunsJobsElsewhereAndAnswersAtHome) {
  const auto home = std::this_thread::get_id();
  std::atomic<bool> elsewhere{false};
  ASSERT_TRUE(pool.submit(
      loop, [&] { elsewhere = std::this_thread::get_id() != home; },
      [&] {
        EXPECT_EQ(std::this_thread::get_id(), home);
        loop.stop();
      }));
  run();
  EXPECT_TRUE(elsewhere);
}

TEST_P(SocketTest, AFullPoolRefuses) {
  std::latch open(1), busy(1);
  {
    BlockingPool small(1);
    ASSERT_TRUE(small.submit(
        loop,
        [&] {
          busy.count_down();
          open.wait();
        },
        [] {}));
    busy.wait();  // the one thread has taken its job; from here on everything queues
    for (std::size_t i = 0; i < BlockingPool::kMaxQueued; ++i)
      ASSERT_TRUE(small.submit(
          loop, [] {}, [] {}));
    EXPECT_FALSE(small.submit(
        loop, [] {}, [] {}));
    open.count_down();
  }
}

TEST(Address, HostIsWrittenAsEverybodyWritesIt) {
  for (const char* text : {"0.0.0.0", "127.0.0.1", "255.255.255.255", "10.2.30.104"}) {
    Address address;
    auto& ip = reinterpret_cast<sockaddr_in&>(address.storage);
    ip.sin_family = AF_INET;
    ASSERT_EQ(::inet_pton(AF_INET, text, &ip.sin_addr), 1);
    EXPECT_EQ(address.host(), text);
  }
}

INSTANTIATE_TEST_SUITE_P(Each, SocketTest, kKernels, kernel_name);
INSTANTIATE_TEST_SUITE_P(Each, UnixListener, kKernels, kernel_name);

}  // namespace
}  // namespace herdgate::net
