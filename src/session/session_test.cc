// One worker with its sessions between clients on socket pairs and servers that follow a script, on one loop.
#include "session/session.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <algorithm>

#include "base/testing.h"
#include "pool/fake_server.h"
#include "wire/backend.h"
#include "wire/frontend.h"

namespace herdgate::session {
namespace {

using std::chrono::seconds;

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
std::string word_of(char type, ByteView payload) {
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
      in.append(chunk, io.bytes);
    }
    while (in.size() >= wire::kHeaderBytes && in.size() > load_u32(in.data() + 1)) {
      const std::size_t total = load_u32(in.data() + 1) + 1;
      const ByteView payload = ByteView(in).substr(wire::kHeaderBytes, total - wire::kHeaderBytes);
      if (in[0] == wire::be::kBackendKeyData) key = Bytes(payload);
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
  std::string heard;
  bool closed = false;
};

Bytes row(const std::string& value) {
  Bytes out;
  wire::put_text_row(out, std::vector<std::string>{value});
  return out;
}

Bytes columns() {
  Bytes out;
  wire::put_text_row_description(out, std::vector<std::string>{"text"});
  return out;
}

Bytes end_of_query() {
  Bytes out;
  wire::put_command_complete(out, "SELECT 1");
  wire::put_ready(out, 'I');
  return out;
}

// Parse, Bind and Execute of one statement.
Bytes statement(std::string_view sql) {
  Bytes out;
  wire::put_parse(out, {"", sql, ByteView("\0\0", 2)});
  wire::put_bind(out, {"", "", ByteView("\0\0\0\0\0\0", 6)});
  wire::put_execute(out, "", 0);
  return out;
}

Bytes sync() {
  Bytes out;
  wire::put_empty(out, wire::fe::kSync);
  return out;
}

struct SessionTest : ::testing::Test {
  static constexpr Duration kPatience = seconds(20);
  MovableClock clock;
  SilentLog sink;
  Log log{sink};
  net::BlockingPool blocking{1};
  Shared shared{log, pool::Limits{.total = 8, .per_key = 0}};
  OneWorker workers;
  std::unique_ptr<Worker> worker;
  std::unique_ptr<pool::FakeServer> primary, standby;
  std::vector<std::unique_ptr<Client>> clients;

  void SetUp() override {
    worker = std::make_unique<Worker>(WorkerId(0), clock, shared, workers, blocking, snapshot());
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
    worker.reset();
    EXPECT_EQ(shared.accounts.links(), 0u);
    EXPECT_EQ(shared.accounts.waiting(), 0u);
  }

  // All reads go to the standby.
  SnapshotPtr snapshot() {
    auto settings = std::make_shared<config::Settings>();
    settings->pool_mode = config::PoolMode::transaction;
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
  // The server hears this query and says nothing.
  static void hold(pool::FakeServer& server, std::string_view sql) {
    server.script = [held = std::string(sql)](const Bytes& message, Bytes&) {
      return message[0] == wire::fe::kQuery && message.substr(wire::kHeaderBytes, held.size()) == held;
    };
  }
  static bool heard(const pool::FakeServer& server, const std::string& sql) {
    return std::find(server.queries.begin(), server.queries.end(), sql) != server.queries.end();
  }
};

TEST_F(SessionTest, ReadsGoToTheStandbyAndWritesToThePrimary) {
  Client& client = log_in();
  EXPECT_EQ(answer(client, "select 1"), "C ZI ");
  EXPECT_EQ(answer(client, "create table t (i int)"), "C ZI ");
  EXPECT_TRUE(heard(*standby, "select 1") && heard(*primary, "create table t (i int)"));
}

TEST_F(SessionTest, WhoIsCancelledWhileQueuedLeavesTheQueue) {
  Client &first = log_in(), &second = log_in();
  shared.accounts.set_limits({.total = 1, .per_key = 0});
  hold(*standby, "select 1");
  first.query("select 1");
  until([&] { return heard(*standby, "select 1"); });
  second.query("select 2");
  until([&] { return shared.accounts.waiting() == 1; });
  Bytes cancel;
  const auto key = wire::parse_backend_key(second.key);
  wire::put_cancel(cancel, key->pid, key->secret);
  connect().send(cancel);
  until([&] { return second.heard == "E57014 ZI "; });
  second.take();
  EXPECT_EQ(shared.accounts.waiting(), 0u);
  EXPECT_EQ(standby->cancels, 0) << "nothing of this client was running";
  standby->say(columns() + row("1") + end_of_query());
  until([&] { return first.heard == "T D1 C ZI "; });
  EXPECT_EQ(answer(second, "select 3"), "C ZI ");
  EXPECT_FALSE(heard(*standby, "select 2"));
}

TEST_F(SessionTest, ACancelBehindAStatementThatWasNotReadYetFindsIt) {
  Client& client = log_in();
  answer(client, "select 0");
  hold(*standby, "select 1");
  const auto key = wire::parse_backend_key(client.key);
  const auto target = shared.cancels.find(key->pid, Bytes(key->secret));
  ASSERT_TRUE(target);
  client.query("select 1");
  worker->find(target->session)->cancel_running();
  until([&] { return heard(*standby, "select 1") && standby->cancels == 1; });
  standby->end_cancels();
  standby->say(columns() + row("1") + end_of_query());
  until([&] { return client.heard == "T D1 C ZI "; });
}

TEST_F(SessionTest, AClientThatDiesInTheMiddleOfAMessageTakesNothingWithIt) {
  for (std::size_t cut = 1; cut < 12; ++cut) {
    Client& dying = log_in();
    Bytes whole;
    wire::put_query(whole, "select 1");
    dying.send(ByteView(whole).substr(0, cut));
    dying.leave();
    until([&] { return worker->sessions() == 0; });
  }
  EXPECT_TRUE(standby->queries.empty());
  EXPECT_EQ(answer(log_in(), "select 2"), "C ZI ");
}

TEST_F(SessionTest, AClientThatDiesWhileItsQueryRunsLeavesNoLinkToOthers) {
  hold(*standby, "select 1");
  Client& dying = log_in();
  dying.query("select 1");
  until([&] { return heard(*standby, "select 1"); });
  dying.leave();
  standby->say(columns() + row("1") + end_of_query());
  until([&] { return worker->sessions() == 0; });
  EXPECT_EQ(answer(log_in(), "select 2"), "C ZI ");
}

TEST_F(SessionTest, AReadWhoseServerDiesUnheardRunsOnceMoreElsewhere) {
  hold(*standby, "select 1");
  Client& client = log_in();
  client.query("select 1");
  until([&] { return heard(*standby, "select 1"); });
  standby->drop_all();
  until([&] { return client.heard.ends_with("ZI "); });
  EXPECT_EQ(client.take(), "C ZI ");
  EXPECT_TRUE(heard(*primary, "select 1"));
  EXPECT_EQ(workers.troubles.empty(), false);
  EXPECT_EQ(answer(client, "select 2"), "C ZI ");
}

TEST_F(SessionTest, AWriteWhoseServerDiesUnheardIsNotRunAgain) {
  hold(*primary, "create");
  Client& client = log_in();
  client.query("create table t (i int)");
  until([&] { return heard(*primary, "create table t (i int)"); });
  primary->drop_all();
  until([&] { return client.heard.ends_with("ZI "); });
  EXPECT_EQ(client.take(), "E08007 ZI ");
  EXPECT_EQ(std::count(primary->queries.begin(), primary->queries.end(), "create table t (i int)"), 1);
  primary->script = nullptr;
  EXPECT_EQ(answer(client, "create table t (i int)"), "C ZI ");
}

TEST_F(SessionTest, AReadWhoseServerDiesBetweenTwoRowsFailsAndTheSessionLives) {
  hold(*standby, "select 1");
  Client& client = log_in();
  client.query("select 1");
  until([&] { return heard(*standby, "select 1"); });
  standby->say(columns() + row("1"));
  until([&] { return client.heard == "T D1 "; });
  standby->drop_all();
  until([&] { return client.heard.ends_with("ZI "); });
  EXPECT_EQ(client.take(), "T D1 E40001 ZI ");
  EXPECT_EQ(answer(client, "select 2"), "C ZI ");
}

TEST_F(SessionTest, AClientWithHalfAMessageOfADeadServerIsClosed) {
  hold(*standby, "select 1");
  Client& client = log_in();
  client.query("select 1");
  until([&] { return heard(*standby, "select 1"); });
  const Bytes whole = row(std::string(3000, 'x'));
  standby->say(columns() + whole.substr(0, 2000));
  until([&] { return client.in.size() == 2000; });
  standby->drop_all();
  until([&] { return client.closed; });
  EXPECT_EQ(client.heard, "T ") << "nothing can be said behind half a message";
  EXPECT_EQ(answer(log_in(), "select 2"), "C ZI ");
}

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

TEST_F(SessionTest, AnErrorInAPipelineSkipsWhatIsBeforeItsSyncAndNothingBehind) {
  primary->script = standby->script = ExtendedServer{};
  Client& client = log_in();
  client.send(statement("select 'bad'") + statement("select 1") + sync() + statement("select 2") + sync() +
              statement("select 3") + statement("select 'bad'") + statement("select 4") + sync() +
              statement("select 5") + sync());
  const std::string good = "1 2 C ";
  const std::string wanted = "E22P02 ZI " + good + "ZI " + good + "E22P02 ZI " + good + "ZI ";
  until([&] { return client.heard.size() >= wanted.size(); });
  EXPECT_EQ(client.take(), wanted);
  EXPECT_EQ(answer(client, "select 6"), "C ZI ");
}

Bytes error_of(const char* state) {
  Bytes out;
  wire::Report report;
  report.sqlstate = state;
  wire::put_error(out, report);
  return out;
}

// Refuses what begins with `refused`, as a simple query.
std::function<bool(const Bytes&, Bytes&)> refusing(std::string refused, const char* state) {
  return [refused = std::move(refused), state](const Bytes& message, Bytes& out) {
    if (message[0] != wire::fe::kQuery || message.substr(wire::kHeaderBytes, refused.size()) != refused) return false;
    out += error_of(state);
    wire::put_ready(out, 'I');
    return true;
  };
}

// issue: settings from ALTER ROLE or DATABASE were unknown to the parser, which took the literal's end for a statement.
TEST_F(SessionTest, TextsAreReadAsTheServersLoginReadsThem) {
  wire::put_parameter_status(primary->reported, "standard_conforming_strings", "off");
  const std::string sql = R"(select '\'; create table t (i int); --')";
  for (int login = 0; login < 2; ++login) {  // the second one is told what the first one heard
    EXPECT_EQ(answer(log_in(), sql), "C ZI ");
    EXPECT_FALSE(heard(*primary, sql));
  }
  EXPECT_EQ(std::count(standby->queries.begin(), standby->queries.end(), sql), 2);
}

// issue: a server that does not answer a question of ours let the client wait for ever, and a cancel was remembered
// only.
TEST_F(SessionTest, AQuestionOfOursThatIsNotAnsweredEnds) {
  Client& client = log_in();
  hold(*primary, "");
  client.query("select * from t");
  until([&] { return !primary->queries.empty(); });
  EXPECT_TRUE(standby->queries.empty()) << "the catalog is asked first";
  clock.ahead += Session::kOwnTimeout + seconds(1);
  until([&] { return client.heard.ends_with("ZI "); });
  EXPECT_EQ(client.take(), "E08006 ZI ");
  EXPECT_EQ(workers.troubles, std::vector<int>{0});
  primary->script = nullptr;
  EXPECT_EQ(answer(client, "select * from t"), "C ZI ");
}

TEST_F(SessionTest, AReplayThatIsNotAnsweredEnds) {
  Client& client = log_in();
  EXPECT_EQ(answer(client, "set search_path = a"), "C ZI ");
  hold(*standby, "SET");
  client.query("select 1");
  until([&] { return !standby->queries.empty(); });
  clock.ahead += Session::kOwnTimeout + seconds(1);
  until([&] { return client.heard.ends_with("ZI "); });
  EXPECT_EQ(client.take(), "E08006 ZI ");
  standby->script = nullptr;
  EXPECT_EQ(answer(client, "select 1"), "C ZI ");
}

TEST_F(SessionTest, ALoginWhoseFirstReplayIsNotAnsweredEnds) {
  hold(*primary, "SET");
  Client& client = connect();
  client.send(startup({{"work_mem", "1MB"}}));
  until([&] { return !primary->queries.empty(); });
  clock.ahead += Session::kOwnTimeout + seconds(1);
  until([&] { return client.closed; });
  EXPECT_EQ(client.take(), "E08006 ");
  primary->script = nullptr;
  EXPECT_EQ(answer(log_in(), "select 1"), "C ZI ");
}

// issue: each time it is served a long text has facts of its own, and what failed for others was asked again, for ever.
TEST_F(SessionTest, WhatCannotBeLearnedAboutALongTextIsAskedOnce) {
  int asked = 0;
  const auto refuse = [&asked](const Bytes& message, Bytes& out) {
    if (message[0] == wire::fe::kQuery) {
      ++asked;
      out += error_of("57014");
    } else if (message[0] == wire::fe::kParse) {
      wire::put_parse_complete(out);
      return true;
    } else if (message[0] == wire::fe::kBind) {
      wire::put_bind_complete(out);
      return true;
    } else if (message[0] == wire::fe::kExecute) {
      wire::put_command_complete(out, "SELECT 0");
      return true;
    }
    wire::put_ready(out, 'I');
    return true;
  };
  Client& client = log_in();
  primary->script = standby->script = refuse;
  client.send(statement("select * from t /*" + std::string(sql::FactsCache::kMaxCachedText, ' ') + "*/") + sync());
  until([&] { return client.heard.ends_with("ZI "); });
  EXPECT_EQ(client.take(), "1 2 C ZI ");
  EXPECT_EQ(asked, 1);
}

// issue: SET ROLE r, and r was dropped: every statement failed, the one that would have set it right as well.
TEST_F(SessionTest, WhatAServerRefusesToSetAgainCanBeSetAnew) {
  const auto session_with_a_role_that_is_gone = [this]() -> Client& {
    primary->script = standby->script = nullptr;
    Client& client = log_in();
    EXPECT_EQ(answer(client, "set role r"), "C ZI ");
    primary->drop_all();
    standby->drop_all();
    clock.ahead += seconds(2);  // idle links are looked at once a second
    until([&] { return worker->pool().links() == 0; });
    primary->script = standby->script = refusing("SET ROLE 'r'", "22023");
    EXPECT_EQ(answer(client, "select 1"), "E22023 ZI ");
    return client;
  };
  for (const char* sql : {"reset role", "discard all", "set role other"}) {
    Client& client = session_with_a_role_that_is_gone();
    EXPECT_EQ(answer(client, "select current_user; reset role"), "E22023 ZI ") << "not without its role";
    const std::string said = answer(client, sql);
    EXPECT_EQ(said, "C ZI ") << sql;
    EXPECT_EQ(answer(client, "select 2"), "C ZI ") << sql;
    client.leave();
  }
  Client& client = session_with_a_role_that_is_gone();
  const auto refuse = refusing("SET ROLE 'r'", "22023");
  primary->script = [refuse, extended = ExtendedServer{}](const Bytes& message, Bytes& out) mutable {
    return refuse(message, out) || extended(message, out);
  };
  client.send(statement("reset role") + sync());
  until([&] { return client.heard.ends_with("ZI "); });
  EXPECT_EQ(client.take(), "1 2 C ZI ");
  EXPECT_EQ(answer(client, "select 2"), "C ZI ");
}

// issue: a link whose interned statements had been dropped out of sight said 26000 to everyone who used them.
TEST_F(SessionTest, AnInternedStatementThatIsGoneIsPreparedAgain) {
  int parses = 0;
  bool gone = false;
  standby->script = [&, extended = ExtendedServer{}](const Bytes& message, Bytes& out) mutable {
    if (message[0] == wire::fe::kParse) ++parses;
    if (message[0] != wire::fe::kBind || !std::exchange(gone, false)) return extended(message, out);
    extended.skipping = true;
    out += error_of("26000");
    return true;
  };
  Client& client = log_in();
  Bytes parse, run;
  wire::put_parse(parse, {"s", "select 1", ByteView("\0\0", 2)});
  wire::put_bind(run, {"", "s", ByteView("\0\0\0\0\0\0", 6)});
  wire::put_execute(run, "", 0);
  client.send(parse + run + sync());
  until([&] { return client.heard.ends_with("ZI "); });
  EXPECT_EQ(client.take(), "1 2 C ZI ");
  gone = true;
  client.send(run + sync());
  until([&] { return client.heard.ends_with("ZI "); });
  EXPECT_EQ(client.take(), "2 C ZI ");
  EXPECT_EQ(parses, 2);
}

// issue: before it had proved anything, a client could have 256 kB kept for it.
TEST_F(SessionTest, LittleIsReadAheadOfALogin) {
  hold(*primary, "SET");
  Client& client = connect();
  primary->silent = true;
  client.send(startup({{"work_mem", "1MB"}}));
  until([&] { return primary->open_lines() == 1; });
  std::size_t sent = 0;
  const Bytes block(4096, 'x');
  for (int quiet = 0; quiet < 50; ++quiet) {
    const net::Io io = client.socket.write(worker->loop(), block);
    if (io.state == net::Io::ok) sent += io.bytes, quiet = 0;
    bool turned = false;
    worker->loop().post([&] { turned = true; });
    until([&] { return turned; });
  }
  int unread = 0;
  ASSERT_EQ(::ioctl(theirs, FIONREAD, &unread), 0);
  EXPECT_GT(sent, 2 * Login::kMaxReadAhead);
  EXPECT_LE(sent - static_cast<std::size_t>(unread), Login::kMaxReadAhead);
  const TimePoint left = clock.now();
  client.leave();
  until([&] { return worker->sessions() == 0; });
  EXPECT_LT(clock.now() - left, seconds(5)) << "it is seen at once that the client has gone";
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

Bytes named(std::string_view name, std::string_view sql) {
  Bytes out;
  wire::put_parse(out, {name, sql, ByteView("\0\0", 2)});
  return out;
}

// issue: SQL could not EXECUTE what the protocol had prepared, which servers have under another name.
TEST_F(SessionTest, SqlFindsStatementsOfTheProtocolUnderTheirNames) {
  Client& client = log_in();
  Heard heard(*primary);
  EXPECT_EQ(answer_unit(client, named("p", "insert into t values (1)") + sync()), "1 ZI ");
  heard.take();
  EXPECT_EQ(answer(client, "execute p"), "C ZI ");
  const std::string first = heard.take();
  EXPECT_NE(first.find("P:p S Q:execute p"), std::string::npos) << first;
  EXPECT_EQ(answer(client, "execute p"), "C ZI ");
  EXPECT_EQ(heard.take().find("P:p"), std::string::npos) << "the link has it";
  EXPECT_EQ(answer(client, "deallocate p"), "C ZI ");
  EXPECT_EQ(heard.take(), "") << "no server needs to be asked";
  EXPECT_EQ(answer(client, "insert into t values (2)"), "C ZI ");
  EXPECT_EQ(heard.take().find("Q:DEALLOCATE \"p\""), 0u);
}

// issue: what an Execute of DEALLOCATE drops was there for the rest of its unit, and what it defined anew was not there
// afterwards.
TEST_F(SessionTest, AStatementDroppedAndDefinedInOneUnit) {
  Client& client = log_in();
  Bytes use;
  wire::put_bind(use, {"", "p", ByteView("\0\0\0\0\0\0", 6)});
  wire::put_execute(use, "", 0);
  Heard heard(*primary);
  EXPECT_EQ(answer_unit(client, named("p", "insert into t values (1)") + sync()), "1 ZI ");
  for (const char* drop : {"deallocate p", "deallocate all", "deallocate p"}) {
    EXPECT_EQ(answer_unit(client, statement(drop) + named("p", "insert into t values (2)") + use + sync()),
              "1 2 C 1 2 C ZI ")
        << drop;
    EXPECT_EQ(answer_unit(client, use + sync()), "2 C ZI ") << drop;
    EXPECT_EQ(answer_unit(client, named("p", "insert into t values (3)") + sync()), "E42P05 ZI ") << drop;
  }
}

// issue: a DEALLOCATE that no server has answered had taken the statement from its session.
TEST_F(SessionTest, WhatALostLinkWasToDropIsThere) {
  Client& client = log_in();
  Bytes use;
  wire::put_bind(use, {"", "p", ByteView("\0\0\0\0\0\0", 6)});
  wire::put_execute(use, "", 0);
  for (const char* drop : {"deallocate p", "deallocate all", "discard all"}) {
    Heard heard(*primary);
    ASSERT_EQ(answer_unit(client, named("p", "insert into t values (1)") + sync()), "1 ZI ");
    bool sent = false;
    primary->script = [&sent](const Bytes& message, Bytes&) { return sent |= message[0] == wire::fe::kSync, true; };
    client.send(statement(drop) + sync());
    until([&] { return sent; });
    primary->drop_all();
    until([&] { return client.closed || client.heard.ends_with("ZI "); });
    client.take();
    Heard again(*primary);
    EXPECT_EQ(answer_unit(client, use + sync()), "2 C ZI ") << drop;
    EXPECT_EQ(answer_unit(client, statement("deallocate p") + sync()), "1 2 C ZI ");
  }
}

// issue: one login whose server would not say had all later ones of its kind taken for REPEATABLE READ.
TEST_F(SessionTest, AnIsolationLevelThatIsNotToldIsAskedForAgain) {
  for (pool::FakeServer* server : {primary.get(), standby.get()}) server->tells_isolation = false;
  const auto asked = [this] { return primary->isolation_asked + standby->isolation_asked; };
  EXPECT_EQ(answer(log_in(), "select 1"), "C ZI ");
  EXPECT_EQ(asked(), 1);
  for (pool::FakeServer* server : {primary.get(), standby.get()}) server->tells_isolation = true;
  EXPECT_EQ(answer(log_in(), "select 1"), "C ZI ");
  EXPECT_EQ(asked(), 2);
  EXPECT_EQ(answer(log_in(), "select 1"), "C ZI ");
  EXPECT_EQ(asked(), 2);
}

}  // namespace
}  // namespace herdgate::session
