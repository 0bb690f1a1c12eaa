// For tests: a worker with its sessions between clients on socket pairs and servers that follow a script, on one loop.
//
// Shape    SessionTest is the fixture: log_in() gives a client, answer() what it hears, until() turns the loop. A
//          client hears words (word_of); ExtendedServer, Transactional and Heard are scripts for the servers.
// Limits   a condition has kPatience to come true.
// Errors   the test fails.
// Threads  the test's.
#pragma once
#include <gtest/gtest.h>
#include <sys/socket.h>

#include <algorithm>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/testing.h"
#include "pool/fake_server.h"
#include "session/session.h"
#include "wire/backend.h"
#include "wire/frontend.h"

namespace herdgate::session {

struct OneWorker final : Workers {
  Worker& worker(WorkerId) override { return *only; }
  std::size_t count() const override { return 1; }
  void hint_node_trouble(NodeId node, const std::string&, std::string_view) override { troubles.push_back(node.value); }
  void outcomes_closed() override {}
  void pause(const Pauses::Change&, WorkerId, PauseDone done) override {
    only->post([done = std::move(done)] { done({}); });
  }
  void hint_node_reached(NodeId) override {}
  void hint_server_reloads() override {}
  void post_all_others(WorkerId, std::function<void(pool::Pool&)>) override {}
  void post(WorkerId, std::function<void(pool::Pool&)> work) override {
    only->post([this, work = std::move(work)] { work(only->pool()); });
  }
  Worker* only = nullptr;
  std::vector<int> troubles;
};

// What a client hears, as one word a message: the type, and of errors, rows and ReadyForQuery what is in them.
inline std::string word_of(char type, ByteView payload) {
  std::string word(1, type);
  if (type == wire::be::kError) return word + std::string(wire::parse_report(payload)->sqlstate);
  if (type == wire::be::kReady) return word + *wire::parse_ready(payload);
  if (type == wire::be::kDataRow) return word + std::string(wire::parse_data_row(payload)->front().value_or("null"));
  return word;
}

struct Client final : net::Watcher {
  Client(net::Loop& l, net::Socket s) : loop(l), socket(std::move(s)) { (void)loop.watch(socket.fd(), *this); }
  ~Client() override { leave(); }
  void leave() {
    if (!socket.open()) return;
    loop.unwatch(socket.fd());
    socket.close();
  }
  void on_ready(unsigned) override {
    char chunk[4096];
    for (;;) {
      const net::Io io = socket.read(loop, chunk);
      if (io.state == net::Io::closed || io.state == net::Io::failed) closed = true;
      if (io.state != net::Io::ok) break;
      octets += io.bytes;
      in.append(chunk, io.bytes);
    }
    while (in.size() >= wire::kHeaderBytes && in.size() > load_u32(in.data() + 1)) {
      const std::size_t total = load_u32(in.data() + 1) + 1;
      const ByteView payload = ByteView(in).substr(wire::kHeaderBytes, total - wire::kHeaderBytes);
      if (in[0] == wire::be::kBackendKeyData) key = Bytes(payload);
      if (in[0] == wire::be::kNotice) notice = wire::parse_report(payload)->message;
      heard += word_of(in[0], payload) + " ";
      in.erase(0, total);
    }
  }
  void send(ByteView bytes) { (void)socket.write(loop, bytes); }
  void query(std::string_view sql) {
    Bytes out;
    wire::put_query(out, sql);
    send(out);
  }
  std::string take() { return std::exchange(heard, {}); }

  net::Loop& loop;
  net::Socket socket;
  Bytes in, key;
  std::string heard, notice;  // the last one's text
  std::size_t octets = 0;
  bool closed = false;
};

inline Bytes row(const std::string& value) {
  Bytes out;
  wire::put_text_row(out, std::vector<std::string>{value});
  return out;
}

inline Bytes columns() {
  Bytes out;
  wire::put_text_row_description(out, std::vector<std::string>{"text"});
  return out;
}

inline Bytes end_of_query() {
  Bytes out;
  wire::put_command_complete(out, "SELECT 1");
  wire::put_ready(out, 'I');
  return out;
}

// Parse, Bind and Execute of one statement.
inline Bytes statement(std::string_view sql) {
  Bytes out;
  wire::put_parse(out, {"", sql, ByteView("\0\0", 2)});
  wire::put_bind(out, {"", "", ByteView("\0\0\0\0\0\0", 6)});
  wire::put_execute(out, "", 0);
  return out;
}

inline Bytes sync() {
  Bytes out;
  wire::put_empty(out, wire::fe::kSync);
  return out;
}

struct SessionTest : ::testing::Test {
  static constexpr Duration kPatience = std::chrono::seconds(20);
  static constexpr auto kWaitTimeout = std::chrono::seconds(5);
  MovableClock clock;
  LogLines sink;
  Log log{sink};
  net::BlockingPool blocking{1};
  Shared shared{log, pool::Limits{.per_node = 8, .per_key = 0}};
  OneWorker workers;
  std::unique_ptr<Worker> worker;
  std::unique_ptr<pool::FakeServer> primary, standby;
  std::vector<std::unique_ptr<Client>> clients;

  void SetUp() override {
    worker = std::make_unique<Worker>(WorkerId(0), WorkerMeans{clock, shared, workers, blocking}, snapshot());
    workers.only = worker.get();
    primary = std::make_unique<pool::FakeServer>(worker->loop());
    standby = std::make_unique<pool::FakeServer>(worker->loop());
    worker->take_snapshot(snapshot());
  }
  void TearDown() override {
    clients.clear();
    until([&] { return worker->sessions() == 0; });
    worker->pool().stop();
    primary.reset();
    standby.reset();
    for (net::BlockingPool* posting : {&blocking, &shared.names, &shared.server_names}) posting->stop();
    worker.reset();
    EXPECT_EQ(shared.accounts.links(), 0u);
    EXPECT_EQ(shared.accounts.waiting(), 0u);
  }

  // All reads go to the standby.
  SnapshotPtr snapshot() {
    auto settings = std::make_shared<config::Settings>();
    settings->pool_mode = config::PoolMode::transaction;
    settings->query_wait_timeout = kWaitTimeout;
    auto view = std::make_shared<cluster::View>();
    for (const auto* server : {&primary, &standby}) {
      if (!*server) continue;
      cluster::Node node;
      node.id = NodeId(static_cast<int>(view->nodes.size()));
      node.host = "127.0.0.1";
      node.port = (*server)->port();
      node.weight = server == &standby ? 1 : 0;
      node.status = cluster::NodeStatus::up;
      node.real_role = server == &standby ? cluster::Role::standby : cluster::Role::primary;
      view->nodes.push_back(node);
    }
    if (primary) view->primary = NodeId(0);
    auto made = std::make_shared<Snapshot>();
    made->settings = std::move(settings);
    made->passwords = std::make_shared<config::PasswordFile>();
    made->interfaces = std::make_shared<std::vector<config::Interface>>();
    made->view = std::move(view);
    return made;
  }

  // Turns the loop until the condition holds.
  void until(const std::function<bool()>& condition) {
    net::Loop& loop = worker->loop();
    const TimePoint end = clock.now() + kPatience;
    bool met = false;
    std::function<void()> look = [&] {
      met = condition();
      if (met || clock.now() > end) return loop.stop();
      loop.post([&] { look(); });
    };
    loop.post([&] { look(); });
    loop.run();
    ASSERT_TRUE(met);
  }
  int theirs = -1;  // the proxy's end of the last connection
  Client& connect() {
    int pair[2];
    EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair), 0);
    theirs = pair[1];
    clients.push_back(std::make_unique<Client>(worker->loop(), net::Socket(pair[0])));
    net::Address peer;
    peer.storage.ss_family = AF_UNIX;
    peer.length = sizeof(sa_family_t);
    worker->load().fetch_add(1);
    worker->accept(net::Socket(pair[1]), peer);
    return *clients.back();
  }
  static Bytes startup(std::vector<std::pair<std::string, std::string>> more = {}) {
    std::vector<std::pair<std::string, std::string>> all{{"user", "ann"}, {"database", "shop"}};
    all.insert(all.end(), more.begin(), more.end());
    Bytes out;
    wire::put_startup(out, 0, all);
    return out;
  }
  Client& log_in() {
    Client& client = connect();
    client.send(startup());
    until([&] { return client.heard.ends_with("ZI "); });
    client.take();
    return client;
  }
  SessionId session_of(const Client& client) const {
    const auto key = wire::parse_backend_key(client.key);
    return shared.cancels.find(key->pid, Bytes(key->secret))->session;
  }
  std::string answer(Client& client, std::string_view sql) {
    client.query(sql);
    until([&] { return client.closed || client.heard.ends_with("ZI "); });
    return client.take();
  }
  std::string answer_unit(Client& client, const Bytes& unit) {
    client.send(unit);
    until([&] { return client.closed || client.heard.ends_with("ZI "); });
    return client.take();
  }
  std::string in_transaction(Client& client, std::string_view sql) {
    client.query(sql);
    until([&] { return client.heard.ends_with("ZT "); });
    return client.take();
  }
  // The server hears this query and says nothing.
  static void hold(pool::FakeServer& server, std::string_view sql) {
    server.script = [held = std::string(sql)](const Bytes& message, Bytes&) {
      return message[0] == wire::fe::kQuery && message.substr(wire::kHeaderBytes, held.size()) == held;
    };
  }
  // Its link to the primary is in use until the primary says the end of its query.
  void stay_at_primary(Client& client) {
    answer(client, "create table t (i int)");
    hold(*primary, "create");
    client.query("create table u (i int)");
    until([&] { return heard(*primary, "create table u (i int)"); });
  }
  static bool heard(const pool::FakeServer& server, const std::string& sql) {
    return std::find(server.queries.begin(), server.queries.end(), sql) != server.queries.end();
  }
};

// As a server does it: an error makes it ignore everything up to the next Sync.
struct ExtendedServer {
  bool skipping = false;
  bool operator()(const Bytes& message, Bytes& out) {
    if (message[0] == wire::fe::kQuery) return false;
    if (message[0] == wire::fe::kSync) {
      skipping = false;
      wire::put_ready(out, 'I');
      return true;
    }
    if (skipping) return true;
    if (message.find("'bad'") != Bytes::npos || message.find("hg_poison") != Bytes::npos) {
      skipping = true;
      wire::Report report;
      report.sqlstate = "22P02";
      wire::put_error(out, report);
    } else if (message[0] == wire::fe::kParse) {
      wire::put_parse_complete(out);
    } else if (message[0] == wire::fe::kBind) {
      wire::put_bind_complete(out);
    } else if (message[0] == wire::fe::kClose) {
      wire::put_close_complete(out);
    } else if (message[0] == wire::fe::kDescribe) {
      wire::put_parameter_description(out, {});
      wire::put_no_data(out);
    } else if (message[0] == wire::fe::kExecute) {
      wire::put_command_complete(out, "SELECT 0");
    }
    return true;
  }
};

// Answers queries as a server that knows of transactions; of those that begin with `held` it says nothing.
struct Transactional {
  std::string held;
  char status = 'I';
  bool operator()(const Bytes& message, Bytes& out) {
    if (message[0] != wire::fe::kQuery) return false;
    const std::string sql(message.c_str() + wire::kHeaderBytes);
    if (!held.empty() && sql.starts_with(held)) return true;
    if (sql.starts_with("BEGIN")) status = 'T';
    if (sql.starts_with("COMMIT") || sql.starts_with("ROLLBACK")) status = 'I';
    wire::put_command_complete(out, "OK");
    wire::put_ready(out, status);
    return true;
  }
};

inline Bytes error_of(const char* state) {
  Bytes out;
  wire::Report report;
  report.sqlstate = state;
  wire::put_error(out, report);
  return out;
}

// What a server hears, a word a message: the type, and the statement's name or the text.
struct Heard {
  explicit Heard(pool::FakeServer& server) {
    server.script = [this](const Bytes& message, Bytes& out) {
      const std::string text(message.c_str() + wire::kHeaderBytes);
      if (!words.empty()) words += ' ';
      words += message[0];
      if (message[0] == wire::fe::kQuery || message[0] == wire::fe::kParse) words += ':' + text;
      return plays(message, out);
    };
  }
  std::string take() { return std::exchange(words, {}); }
  std::string words;
  ExtendedServer plays;
};

inline Bytes named(std::string_view name, std::string_view sql) {
  Bytes out;
  wire::put_parse(out, {name, sql, ByteView("\0\0", 2)});
  return out;
}

}  // namespace herdgate::session
