// The service on real sockets, on a loop in a thread of its own, with a server that answers from the test.
#include "admin/pcp_server.h"

#include <gtest/gtest.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <atomic>
#include <thread>

#include "admin/test_client.h"
#include "auth/digest.h"
#include "base/testing.h"
#include "pcp/reply.h"

using namespace std::literals;

namespace herdgate::admin {
namespace {

using pcp::Ask;

class Herd final : public Services, public cluster::Control {
 public:
  config::SettingsPtr settings() const override { return std::make_shared<const config::Settings>(set); }
  void report(std::function<void(const report::Server&)> done) override { done({}); }
  cluster::Control& cluster() override { return *this; }
  void stop(StopMode) override { ++stops; }
  Refused reload() override { return {}; }
  Refused rotate_log() override { return {}; }
  Refused drop_query_cache() override { return {}; }
  void pause(const std::string&, bool, PauseAnswered answered) override { answered({}, {}); }
  void request(const cluster::Request&, Answered answered) override { answered({}); }
  void detach_gracefully(NodeId, Answered answered) override { answered({}); }
  void recover(NodeId, Answered answered) override { answered({}); }
  std::string busy_with() const override { return {}; }

  config::Settings set;
  std::atomic<int> stops{0};
};

// Set ahead while the loop's thread reads it.
class AheadClock final : public Clock {
 public:
  TimePoint now() const override { return system_.now() + ahead_.load(); }
  WallTime wall() const override { return system_.wall(); }
  void advance(Duration by) { ahead_ = ahead_.load() + by; }

 private:
  SystemClock system_;
  std::atomic<Duration> ahead_{Duration::zero()};
};

// Of connections that have gone.
class EndCount final : public LogSink {
 public:
  void write(LogContext&, const LogLine& line) override { ended += line.text == "PCP connection ended" ? 1 : 0; }
  std::atomic<int> ended{0};
};

class Client {
 public:
  explicit Client(int port) : fd_(connected(port)) {
    const int at_once = 1;
    ::setsockopt(fd_, IPPROTO_TCP, TCP_NODELAY, &at_once, sizeof at_once);
  }
  ~Client() { ::close(fd_); }
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;

  void send(ByteView octets) {
    EXPECT_EQ(::send(fd_, octets.data(), octets.size(), MSG_NOSIGNAL), ssize_t(octets.size()));
  }
  // False: the server has closed it.
  bool tries_to_send(char octet) { return ::send(fd_, &octet, 1, MSG_NOSIGNAL) == 1; }
  bool tries_to_send(ByteView octets) { return ::send(fd_, octets.data(), octets.size(), MSG_NOSIGNAL) > 0; }
  void hang_up() { ::shutdown(fd_, SHUT_RDWR); }
  void ask(const pcp::Request& request) {
    Bytes out;
    pcp::put_request(out, request);
    send(out);
  }
  // One frame's letter and payload; an empty letter at the end of the stream.
  std::pair<char, Bytes> hear() {
    for (;;) {
      const auto frame = pcp::first_frame(input_, pcp::kReplyLimit);
      if (frame && *frame) {
        std::pair<char, Bytes> out{(**frame).letter, Bytes((**frame).payload)};
        input_.erase(0, (**frame).whole_bytes);
        return out;
      }
      char buffer[4096];
      const ssize_t got = ::recv(fd_, buffer, sizeof buffer, 0);
      if (got <= 0) return {0, got == 0 ? "" : "nothing came"};
      input_.append(buffer, static_cast<std::size_t>(got));
    }
  }
  char log_in(const std::string& password = "pw") {
    ask({Ask::salt, 0, 0, {}, {}});
    const auto [letter, salt] = hear();
    if (letter != 'm') return letter;
    ask({Ask::login, 0, 0, "u", *pcp::login_proof(*auth::md5_hex(password), "u", salt)});
    return hear().first;
  }

 private:
  int fd_;
  Bytes input_;
};

class Service : public testing::Test {
 protected:
  void SetUp() override {
    herd.set.pcp_listen_addresses = {"127.0.0.1"};
    herd.set.pcp_socket_dir = {};
    herd.set.pcp_port = 0;
    herd.set.authentication_timeout = limit;
    herd.set.log_pcp_processes = true;
    const auto users = [] { return Result<std::string>("u:" + *auth::md5_hex("pw") + "\n"); };
    server = std::make_unique<PcpServer>(PcpMeans{loop, blocking, log, users}, herd);
    const auto opened = server->open();
    ASSERT_TRUE(opened) << opened.error().text();
    port = server->ports().at(0);
    thread = std::thread([this] { loop.run(); });
  }
  void TearDown() override {
    loop.stop();
    thread.join();
    blocking.stop();
    server.reset();
  }

  // Everything that has reached the server before, the time included, has been seen by it afterwards.
  static bool ask_and_hear(Client& other) {
    other.ask({Ask::node_count, 0, 0, {}, {}});
    return other.hear().first == 'l';
  }

  AheadClock clock;
  EndCount sink;
  Log log{sink};
  net::Loop loop{clock};
  net::BlockingPool blocking{1};
  Herd herd;
  std::unique_ptr<PcpServer> server;
  std::thread thread;
  int port = 0;
  std::chrono::seconds limit{60};
};

TEST_F(Service, LoginAndRequests) {
  Client client(port);
  ASSERT_EQ(client.log_in(), 'r');
  client.ask({Ask::node_count, 0, 0, {}, {}});
  EXPECT_EQ(client.hear(), (std::pair{'l',
                                      "CommandComplete\0"
                                      "0\0"s}));
  client.ask({Ask::bye, 0, 0, {}, {}});
  EXPECT_EQ(client.hear(), (std::pair{'\0', ""s}));
}

TEST_F(Service, AWrongPasswordAndThenARightOne) {
  Client wrong(port);
  EXPECT_EQ(wrong.log_in("no"), 'E');
  EXPECT_EQ(wrong.hear(), (std::pair{'\0', ""s}));
  EXPECT_EQ(Client(port).log_in(), 'r');
}

// Unread input must not make the kernel reset the connection before the reason has been read.
TEST_F(Service, TheLastWordArrivesBeforeTheEnd) {
  Client client(port);
  client.send("M\xff\xff\xff\xff" + std::string(200000, 'x'));
  const auto [letter, payload] = client.hear();
  EXPECT_EQ(letter, 'E');
  EXPECT_NE(payload.find("incorrect packet length (-1)"), Bytes::npos);
}

TEST_F(Service, TheStopComesAfterItsAnswer) {
  Client client(port);
  ASSERT_EQ(client.log_in(), 'r');
  client.ask({Ask::stop, 0, pcp::option::kFast, {}, {}});
  EXPECT_EQ(client.hear().first, 't');
  client.ask({Ask::node_count, 0, 0, {}, {}});
  EXPECT_EQ(client.hear().first, 'l');
  EXPECT_EQ(herd.stops, 1);
}

TEST_F(Service, MoreThanAreServedHearWhyNot) {
  std::vector<std::unique_ptr<Client>> clients;
  for (std::size_t i = 0; i < kMaxClients; ++i) {
    clients.push_back(std::make_unique<Client>(port));
    ASSERT_EQ(clients.back()->log_in(), 'r');
  }
  Client late(port);
  const auto [letter, payload] = late.hear();
  EXPECT_EQ(letter, 'E');
  EXPECT_NE(payload.find("too many PCP clients"), Bytes::npos);
  clients.front()->ask({Ask::bye, 0, 0, {}, {}});
  EXPECT_EQ(clients.front()->hear().first, '\0');
  clients.erase(clients.begin());
  // The place is free when the server has seen the end; until then the next one is refused as well.
  char answer = 'E';
  for (int tries = 0; answer == 'E' && tries < 1000; ++tries) answer = Client(port).log_in();
  EXPECT_EQ(answer, 'r');
}

TEST_F(Service, OctetsThatTrickleInDoNotPutOffTheLoginsEnd) {
  Client other(port), slow(port);
  ASSERT_EQ(other.log_in(), 'r');
  for (const char octet : "M\0\0"s) {
    ASSERT_TRUE(slow.tries_to_send(octet));
    ASSERT_TRUE(ask_and_hear(other));
    clock.advance(limit * 2 / 5);
  }
  ASSERT_TRUE(ask_and_hear(other));
  EXPECT_NE(slow.hear().second.find("PCP authentication timed out"), Bytes::npos);
}

TEST_F(Service, OctetsBehindTheLastWordPutOffTheEndNoMore) {
  Client other(port), slow(port);
  ASSERT_EQ(other.log_in(), 'r');
  slow.send("?\0\0\0\4"s);
  ASSERT_EQ(slow.hear().first, 'E');
  for (int octets = 0; octets < 10; ++octets) {
    (void)slow.tries_to_send('x');  // it may be closed
    ASSERT_TRUE(ask_and_hear(other));
    clock.advance(kLingerLimit * 2 / 5);
    ASSERT_TRUE(ask_and_hear(other));
  }
  EXPECT_EQ(sink.ended, 1);
}

TEST_F(Service, TheLoginsTimeGoesOnBehindAChallenge) {
  Client other(port), slow(port);
  ASSERT_EQ(other.log_in(), 'r');
  clock.advance(limit * 4 / 5);
  ASSERT_TRUE(ask_and_hear(other));
  slow.ask({Ask::salt, 0, 0, {}, {}});
  ASSERT_EQ(slow.hear().first, 'm');
  clock.advance(limit * 2 / 5);
  ASSERT_TRUE(ask_and_hear(other));
  EXPECT_NE(slow.hear().second.find("PCP authentication timed out"), Bytes::npos);
}

// Sends the same over and over, and takes what comes: faster than it can be served.
class Flood {
 public:
  Flood(Client& client, ByteView what) : client_(client) {
    for (int times = 0; times < 10'000; ++times) octets_ += what;
    hears_ = std::thread([this] {
      while (client_.hear().first != 0) {
      }
    });
    sends_ = std::thread([this] {
      while (client_.tries_to_send(octets_)) ++sent;
      refused = true;
    });
  }
  ~Flood() {
    client_.hang_up();
    sends_.join();
    hears_.join();
  }
  std::atomic<int> sent{0};
  std::atomic<bool> refused{false};

 private:
  Client& client_;
  Bytes octets_;
  std::thread sends_, hears_;
};

TEST_F(Service, AFloodOfRequestsLeavesTheOthersTheirTurn) {
  Client other(port), client(port);
  ASSERT_EQ(other.log_in(), 'r');
  ASSERT_EQ(client.log_in(), 'r');
  const Flood flood(client, "L\0\0\0\4"s);
  while (flood.sent < 5) std::this_thread::yield();
  for (int times = 0; times < 20; ++times) ASSERT_TRUE(ask_and_hear(other));
}

TEST_F(Service, AFloodBeforeTheLoginIsEnded) {
  Client other(port);
  ASSERT_EQ(other.log_in(), 'r');
  for (const ByteView what : {"M\0\0\0\4"sv, "?\0\0\0\4"sv}) {
    Client client(port);
    const Flood flood(client, what);
    for (int times = 0; times < 20; ++times) ASSERT_TRUE(ask_and_hear(other));
    while (!flood.refused) std::this_thread::yield();
  }
}

class ImpatientService : public Service {
 protected:
  ImpatientService() { limit = std::chrono::seconds(1); }
};

TEST_F(ImpatientService, HalfAPacketIsNotWaitedForForEver) {
  Client half(port);
  half.send("M\0"s);
  EXPECT_NE(half.hear().second.find("PCP authentication timed out"), Bytes::npos);
  EXPECT_EQ(Client(port).log_in(), 'r');
}

}  // namespace
}  // namespace herdgate::admin
