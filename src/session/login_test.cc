// Logins between clients and servers that follow a script, and their auth_query (test_session.h).
#include <chrono>
#include <future>

#include "session/test_session.h"

namespace herdgate::session {
namespace {

using std::chrono::seconds;
using Change = std::function<void(config::Settings&, cluster::View&)>;

struct LoginTest : SessionTest {
  static constexpr std::string_view kAsks = "select rolpassword from pg_catalog.pg_authid";
  bool auth_query = true;
  seconds patience{30};  // failover_wait_timeout

  // As of now, and changed.
  void publish(const Change& change = [](config::Settings&, cluster::View&) {}) {
    auto made = std::make_shared<Snapshot>(*snapshot());
    auto settings = std::make_shared<config::Settings>(*made->settings);
    auto view = std::make_shared<cluster::View>(*made->view);
    if (auth_query) settings->auth_query = kAsks;
    settings->auth_query_user = "asker";
    settings->failover_wait_timeout = patience;
    change(*settings, *view);
    made->settings = std::move(settings);
    made->view = std::move(view);
    worker->take_snapshot(std::move(made));
  }
  void promote_the_standby() {
    publish([](config::Settings&, cluster::View& view) {
      view.nodes[0].status = cluster::NodeStatus::down;
      view.primary = NodeId(1);
    });
  }
  void primary_is_awaited() {
    publish([](config::Settings&, cluster::View& view) { view.primary_awaited = true; });
  }
  Client& ask_in() {
    Client& client = connect();
    client.send(startup());
    return client;
  }
  void is_let_in(Client& client) {
    until([&] { return client.closed || client.heard.ends_with("ZI "); });
    EXPECT_TRUE(client.heard.ends_with("ZI ")) << client.heard;
  }
  std::string refusal(Client& client) {
    until([&] { return client.closed; });
    return client.take();
  }
  static bool asked(const pool::FakeServer& server) { return heard(server, std::string(kAsks)); }
  // Whatever can be done now has been.
  void settle() {
    int turns = 0;
    until([&] { return ++turns == 20; });
  }
};

// issue: nobody told the look-up that the primary had been replaced, and when it failed there was nothing left to tell.
TEST_F(LoginTest, AVerifierIsAskedForAnewWhereThePrimaryIsNow) {
  primary->silent = true;
  publish();
  Client& client = ask_in();
  until([&] { return primary->open_lines() == 1; });
  promote_the_standby();
  is_let_in(client);
  EXPECT_TRUE(asked(*standby));
}

TEST_F(LoginTest, AVerifierIsAskedForAnewWhenThePrimaryHangsInTheQuery) {
  hold(*primary, kAsks);
  publish();
  Client& client = ask_in();
  until([&] { return asked(*primary); });
  promote_the_standby();
  is_let_in(client);
  EXPECT_TRUE(asked(*standby));
}

// issue: it waited for a snapshot that had come before.
TEST_F(LoginTest, WhoFailedByAnOldSnapshotLooksAtTheNewOne) {
  auth_query = false;
  publish();
  const int there = std::exchange(primary, nullptr)->port();
  const auto gone = [there](config::Settings&, cluster::View& view) {
    cluster::Node lost = view.nodes[0];
    lost.id = NodeId(7);
    lost.port = there;
    lost.weight = 0;
    view.nodes.push_back(lost);
    view.primary = lost.id;
  };
  publish(gone);
  Client& client = ask_in();
  until([&] { return worker->sessions() == 1 && workers.troubles.empty(); });
  publish([&](config::Settings& settings, cluster::View& view) {  // it lives as a standby by now
    gone(settings, view);
    view.primary = view.nodes[0].id;
  });
  is_let_in(client);
}

// issue: it was a server that could not be reached: the primary was doubted, and the login waited for another one.
TEST_F(LoginTest, AnAuthQueryThatIsSlowSaysNothingOfThePrimary) {
  hold(*primary, kAsks);
  publish();
  Client& client = ask_in();
  until([&] { return asked(*primary); });
  clock.ahead += AuthQueries::kLimit + seconds(1);
  EXPECT_EQ(refusal(client), "E57P03 ");
  EXPECT_TRUE(workers.troubles.empty());
  primary->script = nullptr;
  is_let_in(ask_in());
}

// One that hangs, over a connection that it has let in before.
TEST_F(LoginTest, AKeptConnectionThatSaysNothingIsTriedAnew) {
  publish();
  is_let_in(ask_in());
  clock.ahead += LoginMemory::kMissingLives + seconds(1);
  hold(*primary, kAsks);
  primary->silent = true;
  primary->queries.clear();
  Client& client = ask_in();
  until([&] { return asked(*primary); });
  clock.ahead += AuthQueries::kLimit + seconds(1);
  until([&] { return primary->open_lines() == 2; });
  clock.ahead += AuthQueries::kLimit + seconds(1);
  until([&] { return !workers.troubles.empty(); });
  EXPECT_EQ(client.heard, "");
  promote_the_standby();
  is_let_in(client);
}

TEST_F(LoginTest, APrimaryThatDoesNotLetAuthQueryInIsDoubted) {
  primary->silent = true;
  publish();
  Client& client = ask_in();
  until([&] { return primary->open_lines() == 1; });
  clock.ahead += AuthQueries::kLimit + seconds(1);
  until([&] { return !workers.troubles.empty(); });
  EXPECT_EQ(client.heard, "");
  primary->silent = false;
  primary_is_awaited();
  publish();
  is_let_in(client);
}

// issue: the time for the primary went on when it was back.
TEST_F(LoginTest, TheWaitForAPrimaryEndsWithIt) {
  auth_query = false;
  patience = seconds(2);
  publish();
  Client& first = log_in();
  shared.accounts.set_limits({.per_node = 1, .per_key = 0});
  hold(*primary, "create");
  first.query("create table t (i int)");
  until([&] { return heard(*primary, "create table t (i int)"); });
  shared.logins.forget_reported();
  primary_is_awaited();
  Client& second = ask_in();
  settle();
  clock.ahead += seconds(1);
  publish();
  until([&] { return shared.accounts.waiting() == 1; });
  clock.ahead += seconds(3);
  settle();
  primary->say(end_of_query());
  is_let_in(second);
}

TEST_F(LoginTest, WaitsForAPrimaryCountTogether) {
  auth_query = false;
  patience = seconds(10);
  primary_is_awaited();
  Client& client = ask_in();
  settle();
  clock.ahead += seconds(8);
  primary->silent = true;
  publish();
  until([&] { return primary->open_lines() == 1; });
  primary_is_awaited();
  primary->drop_all();
  until([&] { return !workers.troubles.empty(); });
  settle();
  EXPECT_EQ(client.heard, "");
  clock.ahead += seconds(3);
  EXPECT_EQ(refusal(client), "E08006 ");
}

// issue: with a newer snapshot for each attempt it tried again for ever.
TEST_F(LoginTest, TheTimeForAPrimaryIsUpWhateverIsNews) {
  auth_query = false;
  patience = seconds(2);
  primary_is_awaited();
  Client& client = ask_in();
  settle();
  primary->silent = true;
  publish();
  until([&] { return primary->open_lines() == 1; });
  clock.ahead += seconds(3);
  publish();
  primary->drop_all();
  until([&] { return client.closed || primary->open_lines() == 1; });
  EXPECT_EQ(client.take(), "E08006 ");
  primary->silent = false;
  is_let_in(ask_in());
}

// issue: it waited for a primary, though without auth_query a login is told at once.
TEST_F(LoginTest, WithoutAnyNodeALoginIsToldAtOnce) {
  publish([](config::Settings&, cluster::View& view) {
    for (cluster::Node& node : view.nodes) node.status = cluster::NodeStatus::down;
    view.primary = kNoNode;
  });
  EXPECT_EQ(refusal(ask_in()), "E08006 ");
  publish();
  is_let_in(ask_in());
}

// issue: the trouble was told as a wrong password (28000).
TEST_F(LoginTest, TroublesOfTheMomentInAuthQueryAreNoWrongPassword) {
  publish();
  for (const auto& [state, told] : {std::pair{"57014", "E57P03 "},
                                    {"53200", "E57P03 "},
                                    {"40001", "E57P03 "},
                                    {"55P03", "E57P03 "},
                                    {"58030", "E57P03 "},
                                    {"42501", "E28000 "}}) {
    primary->script = [state = state](const Bytes& message, Bytes& out) {
      if (message[0] != wire::fe::kQuery) return false;
      out += error_of(state);
      wire::put_ready(out, 'I');
      return true;
    };
    EXPECT_EQ(refusal(ask_in()), told) << state;
  }
  EXPECT_TRUE(workers.troubles.empty());
  primary->script = nullptr;
  is_let_in(ask_in());
}

TEST_F(LoginTest, TooManyWhoWaitForAuthQueryAreToldSo) {
  hold(*primary, kAsks);
  publish();
  for (std::size_t i = 0; i < AuthQueries::kMaxWaiting; ++i)
    worker->auth_queries().ask({"shop", "ann"}, [](const AuthQueries::Found&) {});
  until([&] { return asked(*primary); });
  EXPECT_EQ(refusal(ask_in()), "E53300 ");
  primary->script = nullptr;
  primary->say(end_of_query());
  settle();
  is_let_in(ask_in());
}

// issue: so it was when the threads that check passwords had too much to do for auth_query's own.
TEST_F(LoginTest, TooManyPasswordsAreNoWrongOne) {
  primary->asks = true;
  primary->asks_by = Bytes("\0\0\0\x0aSCRAM-SHA-256\0\0", 19);
  primary->script = [](const Bytes& message, Bytes& out) {
    const std::string nonce = message.substr(message.find("r=") + 2);
    const std::string first = fmt::format("r={}server,s=c2FsdHNhbHQ=,i=4096", nonce);
    out += 'R';
    append_u32(out, static_cast<std::uint32_t>(first.size() + 8));
    append_u32(out, 11);
    out += first;
    return true;
  };
  publish([](config::Settings& settings, cluster::View&) { settings.auth_query_password = "TEXTsecret"; });
  std::promise<void> begun, over;
  std::size_t queued = 1, done = 0;
  const auto count = [&done] { ++done; };
  const auto waits = [&] {
    begun.set_value();
    over.get_future().wait();
  };
  ASSERT_TRUE(blocking.submit(worker->loop(), waits, count));
  begun.get_future().wait();
  while (blocking.submit(
      worker->loop(), [] {}, count))
    ++queued;
  EXPECT_EQ(refusal(ask_in()), "E53300 ");
  EXPECT_TRUE(workers.troubles.empty());
  over.set_value();
  until([&] { return done == queued; });
  primary->asks = false;
  primary->script = nullptr;
  is_let_in(ask_in());
}

// issue: what earlier logins had taught was forgotten, so that all later ones needed a fresh link.
TEST_F(LoginTest, AServerThatIsFullMakesNobodyForgetAnything) {
  auth_query = false;
  publish();
  log_in();
  const LoginMemory::WhoView who{"shop", "ann"};
  ASSERT_TRUE(shared.logins.method(who, clock.now()));
  worker->pool().close_idle([](const pool::ServerLink&) { return true; });
  shared.logins.forget_reported();
  primary->refuses = "53300";
  EXPECT_EQ(refusal(ask_in()), "E53300 ");
  EXPECT_TRUE(shared.logins.method(who, clock.now()));
  primary->refuses.clear();
  is_let_in(ask_in());
}

// issue: nothing but a figure told that clients waited, nor what had them refused.
TEST_F(LoginTest, ThatClientsWaitIsInTheLogOnceAMinute) {
  auth_query = false;
  publish([](config::Settings& settings, cluster::View&) {
    settings.num_init_children = 1;
    settings.client_wait_timeout = seconds(40);
  });
  Client& inside = ask_in();
  is_let_in(inside);
  EXPECT_EQ(sink.count("clients wait"), 0u);
  for (const std::size_t lines : {1u, 1u, 2u}) {
    Client& waits = ask_in();
    until([&] { return shared.gate.waiting() == 1; });
    EXPECT_EQ(sink.count("WARNING: clients wait to be let in, because there are as many as num_init_children, 1"),
              lines);
    clock.ahead += seconds(41);
    EXPECT_EQ(refusal(waits), "E53300 ");
  }
}

// issue: it was told of authentication that it had taken too long.
TEST_F(LoginTest, ALoginThatWaitsForALinkIsToldSoWhenItsTimeIsOver) {
  auth_query = false;
  publish([](config::Settings& settings, cluster::View&) {
    settings.authentication_timeout = seconds(2);
    settings.query_wait_timeout = seconds(10);
  });
  Client& first = log_in();
  stay_at_primary(first);
  shared.accounts.set_limits({.per_node = 1, .per_key = 0});
  shared.logins.forget_reported();
  Client& second = ask_in();
  until([&] { return shared.accounts.waiting() == 1; });
  clock.ahead += seconds(3);
  EXPECT_EQ(refusal(second), "E53300 ");
  EXPECT_EQ(sink.count("could not get a server connection"), 1u);
  EXPECT_EQ(sink.count("authentication_timeout was over, 2 s"), 1u);
  EXPECT_EQ(sink.count("HINT: Raise max_pool, pool_size or authentication_timeout, or close"), 1u);
  shared.accounts.set_limits({.per_node = 8, .per_key = 0});
  primary->room = 1;
  Client& third = ask_in();
  until([&] { return primary->refused > 0 && shared.accounts.waiting() == 1; });
  clock.ahead += seconds(3);
  EXPECT_EQ(refusal(third), "E53300 ");
  EXPECT_EQ(sink.count("HINT: Raise the server's max_connections or authentication_timeout, or close"), 1u);
  primary->say(end_of_query());
  until([&] { return first.heard == "C ZI "; });
  is_let_in(ask_in());
}

}  // namespace
}  // namespace herdgate::session
