// The service on real sockets, on a loop in a thread of its own, with figures from the test.
#include "admin/http_server.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <deque>
#include <thread>

#include "admin/http_request.h"
#include "admin/test_client.h"
#include "base/testing.h"

using namespace std::literals;
using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

namespace herdgate::admin {
namespace {

class Client {
 public:
  explicit Client(int port) : fd_(connected(port)) {}
  Client(Client&& other) noexcept : fd_(std::exchange(other.fd_, -1)), input_(std::move(other.input_)) {}
  ~Client() {
    if (fd_ >= 0) ::close(fd_);
  }

  // False: the other side has gone.
  bool send(std::string_view octets) {
    while (!octets.empty()) {
      const ssize_t sent = ::send(fd_, octets.data(), octets.size(), MSG_NOSIGNAL);
      if (sent <= 0) return false;
      octets.remove_prefix(static_cast<std::size_t>(sent));
    }
    return true;
  }
  void get(std::string_view target, std::string_view fields = {}) {
    send(fmt::format("GET {} HTTP/1.1\r\nHost: h\r\n{}\r\n", target, fields));
  }
  // One answer, head and body; empty at the end of the stream.
  std::string hear(bool has_body = true) {
    std::size_t head = 0;
    while ((head = input_.find("\r\n\r\n")) == std::string::npos)
      if (!more()) return {};
    std::size_t whole = head + 4;
    const std::size_t length = input_.find("Content-Length: ");
    if (has_body && length < head) whole += std::strtoul(input_.c_str() + length + 16, nullptr, 10);
    while (input_.size() < whole)
      if (!more()) return "cut: " + input_;
    const std::string answer = input_.substr(0, whole);
    input_.erase(0, whole);
    return answer;
  }
  bool hears_within(std::chrono::milliseconds limit) {
    pollfd entry{fd_, POLLIN, 0};
    return ::poll(&entry, 1, static_cast<int>(limit.count())) > 0;
  }
  // The other side has closed or reset the connection, read or not; waits for a moment.
  bool hung_up() {
    pollfd entry{fd_, POLLRDHUP, 0};
    return ::poll(&entry, 1, 10'000) > 0;
  }
  bool at_end() { return input_.empty() && !more(); }

 private:
  bool more() {
    char buffer[4096];
    const ssize_t got = ::recv(fd_, buffer, sizeof buffer, 0);
    EXPECT_FALSE(got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) << "nothing came";
    if (got <= 0) return false;
    input_.append(buffer, static_cast<std::size_t>(got));
    return true;
  }
  int fd_;
  std::string input_;
};

class HttpService : public testing::Test {
 protected:
  void SetUp() override {
    auto set = std::make_shared<config::Settings>();
    set->http_listen_addresses = {"127.0.0.1"};
    set->http_port = 0;
    settings = set;
    HttpMeans means{.loop = loop,
                    .log = log,
                    .settings = [this] { return settings; },
                    .gather =
                        [this](HttpMeans::Gathered done) {
                          ++gathered;
                          if (!answers) return;
                          auto figures = std::make_shared<report::Figures>();
                          figures->view = std::make_shared<cluster::View>();
                          figures->primary_changes = 42;
                          for (int i = 0; i < pools; ++i)
                            figures->pools.push_back({NodeId(0), std::string(200, 'd'), std::to_string(i), {}, 0});
                          loop.defer([figures, done] { done(figures); });
                        },
                    .not_ready = [this] { return ready ? std::string() : std::string("no node is usable"); },
                    .limits = limits};
    server = std::make_unique<HttpServer>(std::move(means));
    const auto opened = server->open();
    ASSERT_TRUE(opened) << opened.error().text();
    port = server->ports().at(0);
    thread = std::thread([this] { loop.run(); });
  }
  void TearDown() override {
    loop.stop();
    thread.join();
    server.reset();
  }
  // And it recovers: a new client is served.
  void expect_service() {
    Client client(port);
    client.get("/healthz");
    EXPECT_THAT(client.hear(), StartsWith("HTTP/1.1 200 OK\r\n"));
  }

  SystemClock clock;
  SilentLog sink;
  Log log{sink};
  net::Loop loop{clock};
  config::SettingsPtr settings;
  std::unique_ptr<HttpServer> server;
  std::thread thread;
  std::atomic<bool> ready{true}, answers{true};
  std::atomic<int> gathered{0}, pools{0};
  HttpLimits limits{.request = 300ms, .answer = 300ms, .take = 300ms, .keep = 300ms, .farewell = 300ms};
  int port = 0;
};

class PatientHttpService : public HttpService {
 protected:
  PatientHttpService() { limits = {}; }
};

TEST_F(PatientHttpService, PagesOverOneConnection) {
  Client client(port);
  client.get("/metrics");
  std::string answer = client.hear();
  EXPECT_THAT(answer, StartsWith("HTTP/1.1 200 OK\r\n"));
  EXPECT_THAT(answer, HasSubstr("\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\n"));
  EXPECT_THAT(answer, HasSubstr("\nherdgate_primary_changes_total 42\n"));
  client.get("/metrics", "Accept: application/openmetrics-text;version=1.0.0,*/*;q=0.1\r\n");
  answer = client.hear();
  EXPECT_THAT(answer, HasSubstr("\r\nContent-Type: application/openmetrics-text; version=1.0.0; charset=utf-8\r\n"));
  EXPECT_THAT(answer, HasSubstr("\n# EOF\n"));
  client.get("/api/state");
  answer = client.hear();
  EXPECT_THAT(answer, HasSubstr("\r\nContent-Type: application/json\r\n"));
  EXPECT_THAT(answer, HasSubstr("\"primary\": null"));
  client.get("/nothing");
  EXPECT_THAT(client.hear(), StartsWith("HTTP/1.1 404 Not Found\r\n"));
  client.get("/readyz");
  EXPECT_THAT(client.hear(), StartsWith("HTTP/1.1 200 OK\r\n"));
  ready = false;
  client.get("/readyz");
  answer = client.hear();
  EXPECT_THAT(answer, StartsWith("HTTP/1.1 503 Service Unavailable\r\n"));
  EXPECT_THAT(answer, HasSubstr("no node is usable\n"));
  ready = true;
  client.get("/readyz", "Connection: close\r\n");
  EXPECT_THAT(client.hear(), HasSubstr("\r\nConnection: close\r\n"));
  EXPECT_TRUE(client.at_end());
}

TEST_F(PatientHttpService, HeadHasTheHeadOfGet) {
  Client client(port);
  client.send("HEAD /healthz HTTP/1.1\r\nHost: h\r\n\r\n");
  EXPECT_THAT(client.hear(/*has_body=*/false), HasSubstr("Content-Length: 6\r\n"));
  client.get("/healthz");  // what comes next is its answer, not a body
  EXPECT_THAT(client.hear(), HasSubstr("\r\n\r\nalive\n"));
}

TEST_F(PatientHttpService, OtherMethodsAndBodiesAreRefused) {
  Client client(port);
  client.send("DELETE /metrics HTTP/1.1\r\nHost: h\r\n\r\n");
  std::string answer = client.hear();
  EXPECT_THAT(answer, StartsWith("HTTP/1.1 405 Method Not Allowed\r\n"));
  EXPECT_THAT(answer, HasSubstr("\r\nAllow: GET, HEAD\r\n"));
  client.send("POST /metrics HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello");
  EXPECT_THAT(client.hear(), StartsWith("HTTP/1.1 405"));
  EXPECT_TRUE(client.at_end());  // the body is not taken for a request
  Client other(port);
  other.get("/metrics", "Transfer-Encoding: chunked\r\n");
  EXPECT_THAT(other.hear(), StartsWith("HTTP/1.1 413"));
  EXPECT_TRUE(other.at_end());
  expect_service();
}

TEST_F(PatientHttpService, OldClientsAreServed) {
  Client client(port);
  client.send("GET /healthz HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
  EXPECT_THAT(client.hear(), HasSubstr("\r\nConnection: keep-alive\r\n"));
  client.send("GET /healthz HTTP/1.0\r\n\r\n");
  EXPECT_THAT(client.hear(), HasSubstr("\r\nConnection: close\r\n"));
  EXPECT_TRUE(client.at_end());
}

TEST_F(PatientHttpService, PipelinedRequestsAreAnsweredInOrder) {
  Client client(port);
  std::string many;
  for (int i = 0; i < 50; ++i) {
    many += "GET /healthz HTTP/1.1\r\nHost: h\r\n\r\nGET /metrics HTTP/1.1\r\nHost: h\r\n\r\n";
    many += "GET /no HTTP/1.1\r\nHost: h\r\n\r\n";
  }
  std::thread writer([&] { EXPECT_TRUE(client.send(many)); });
  for (int i = 0; i < 50; ++i) {
    EXPECT_THAT(client.hear(), HasSubstr("alive\n"));
    EXPECT_THAT(client.hear(), HasSubstr("herdgate_workers"));
    EXPECT_THAT(client.hear(), StartsWith("HTTP/1.1 404"));
  }
  writer.join();
}

TEST_F(PatientHttpService, WhatIsTooLongOrNoHttpHearsSoAndEnds) {
  Client large(port);
  large.send("GET /metrics HTTP/1.1\r\nX: " + std::string(100'000, 'x') + "\r\n\r\n");
  EXPECT_THAT(large.hear(), StartsWith("HTTP/1.1 431 Request Header Fields Too Large\r\n"));
  EXPECT_TRUE(large.at_end());
  Client nonsense(port);
  nonsense.send("\x16\x03\x01 not http\r\n\r\n" + std::string(100'000, '\xff'));
  EXPECT_THAT(nonsense.hear(), StartsWith("HTTP/1.1 400 Bad Request\r\n"));
  EXPECT_TRUE(nonsense.at_end());
  expect_service();
}

// The last ones stay; those that were silent longest made room.
TEST_F(PatientHttpService, SilentConnectionsMakeRoom) {
  std::deque<Client> silent;
  for (std::size_t i = 0; i < 3 * kMaxConnections; ++i) {
    silent.emplace_back(port);
    silent.back().send("GET /metr");
  }
  for (int i = 0; i < 3; ++i) expect_service();
  EXPECT_TRUE(silent.front().at_end());
  silent.back().send("ics HTTP/1.1\r\nHost: h\r\n\r\n");
  EXPECT_THAT(silent.back().hear(), StartsWith("HTTP/1.1 200"));
}

// A drop at a time does not win more time.
TEST_F(HttpService, ASlowRequestEndsInTime) {
  Client client(port);
  const auto began = std::chrono::steady_clock::now();
  std::string drop = "GET /metrics HTTP/1.1\r\nX: ";
  while (!client.hears_within(10ms) && client.send(std::exchange(drop, "x"))) {
  }
  EXPECT_THAT(client.hear(), StartsWith("HTTP/1.1 408 Request Timeout\r\n"));
  EXPECT_GE(std::chrono::steady_clock::now() - began, limits.request);
  EXPECT_TRUE(client.at_end());
  expect_service();
}

TEST_F(HttpService, WhoSaysNothingIsLeft) {
  Client never(port);
  EXPECT_TRUE(never.at_end());
  Client once(port);
  once.get("/healthz");
  EXPECT_THAT(once.hear(), HasSubstr("alive\n"));
  EXPECT_TRUE(once.at_end());
  expect_service();
}

// The answers fill the buffers on the way, then nobody takes them.
TEST_F(HttpService, AnswersThatAreNotTakenAreNotKept) {
  pools = 1000;
  Client client(port);
  for (int i = 0; i < 1000 && client.send("GET /metrics HTTP/1.1\r\nHost: h\r\n\r\n"); ++i) {
  }
  while (!client.hung_up()) {
  }
  expect_service();
}

TEST_F(HttpService, FiguresThatDoNotComeAreNotWaitedForWithoutEnd) {
  answers = false;
  Client client(port);
  client.get("/metrics");
  EXPECT_THAT(client.hear(), StartsWith("HTTP/1.1 503 Service Unavailable\r\n"));
  EXPECT_TRUE(client.at_end());
  expect_service();  // what asks no worker still works
}

// Many who ask at once cause few rounds; each gets figures that were taken after its question.
TEST_F(PatientHttpService, OneGatheringServesMany) {
  std::deque<Client> clients;
  for (std::size_t i = 0; i < kMaxConnections; ++i) clients.emplace_back(port);
  for (int round = 0; round < 5; ++round) {
    for (Client& client : clients) client.get("/metrics");
    for (Client& client : clients) EXPECT_THAT(client.hear(), HasSubstr("herdgate_primary_changes_total 42\n"));
  }
  EXPECT_GE(gathered, 5);
  EXPECT_LT(gathered, 5 * static_cast<int>(kMaxConnections));
}

}  // namespace
}  // namespace herdgate::admin
