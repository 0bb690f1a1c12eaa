// Simple queries and units between clients and servers that follow a script (test_session.h).
#include <sys/ioctl.h>

#include <algorithm>
#include <future>

#include "session/test_session.h"

namespace herdgate::session {
namespace {

using std::chrono::seconds;

TEST_F(SessionTest, ReadsGoToTheStandbyAndWritesToThePrimary) {
  Client& client = log_in();
  EXPECT_EQ(answer(client, "select 1"), "C ZI ");
  EXPECT_EQ(answer(client, "create table t (i int)"), "C ZI ");
  EXPECT_TRUE(heard(*standby, "select 1") && heard(*primary, "create table t (i int)"));
}

TEST_F(SessionTest, WhoIsCancelledWhileQueuedLeavesTheQueue) {
  Client &first = log_in(), &second = log_in();
  shared.accounts.set_limits({.per_node = 1, .per_key = 0});
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

// issue: at a full server, too, it was told to raise max_pool.
TEST_F(SessionTest, WhoWaitsInVainIsToldWhatToRaise) {
  Client &first = log_in(), &second = log_in();
  stay_at_primary(first);
  primary->room = 1;
  const auto waits_in_vain = [&] {
    second.query("create table v (i int)");
    until([&] { return shared.accounts.waiting() == 1; });
    clock.ahead += kWaitTimeout + seconds(1);
    until([&] { return second.heard.ends_with("ZI "); });
    EXPECT_EQ(second.take(), "E53300 ZI ");
  };
  waits_in_vain();
  EXPECT_EQ(sink.count("HINT: Raise the server's max_connections or query_wait_timeout, or close"), 1u) << sink.text;
  shared.accounts.set_limits({.per_node = 1, .per_key = 0});
  waits_in_vain();
  EXPECT_EQ(sink.count("HINT: Raise max_pool, pool_size or query_wait_timeout, or close"), 1u) << sink.text;
  primary->say(end_of_query());
  until([&] { return first.heard == "C ZI "; });
  EXPECT_EQ(answer(second, "select 1"), "C ZI ");
}

// issue: in the middle of its transaction it was told that the server had no room (53300).
TEST_F(SessionTest, WhoReadsAtAStandbyWaitsForRoomAtThePrimary) {
  Client &first = log_in(), &reader = log_in();
  stay_at_primary(first);
  standby->script = Transactional{};
  EXPECT_EQ(in_transaction(reader, "begin"), "C ZT ");
  EXPECT_EQ(in_transaction(reader, "select 1"), "C ZT ");
  primary->room = 1;
  reader.query("lock table t");
  until([&] { return shared.accounts.waiting() == 1; });
  EXPECT_EQ(reader.take(), "");
  EXPECT_TRUE(heard(*standby, "COMMIT")) << "others read there meanwhile";
  primary->script = Transactional{};
  primary->say(end_of_query());
  until([&] { return first.heard == "C ZI " && reader.heard.ends_with("ZT "); });
  EXPECT_EQ(reader.take(), "C ZT ");
  EXPECT_EQ(answer(reader, "COMMIT"), "C ZI ");
  EXPECT_TRUE(heard(*primary, "BEGIN") && heard(*primary, "COMMIT"));
}

// issue: its standby's part was ended, and the next read began another, with another snapshot.
TEST_F(SessionTest, WhoHasASnapshotAtAStandbyKeepsItWhereThePrimaryHasNoRoom) {
  Client &first = log_in(), &one = log_in(), &other = log_in();
  stay_at_primary(first);
  standby->script = Transactional{};
  for (Client* reader : {&one, &other}) {
    EXPECT_EQ(in_transaction(*reader, "begin isolation level repeatable read read only"), "C ZT ");
    EXPECT_EQ(in_transaction(*reader, "select 1"), "C ZT ");
  }
  primary->room = 1;
  const std::string ends_first = "select pg_terminate_backend(117440513)";
  for (Client* reader : {&one, &other}) {  // by the server, and without asking it again
    reader->query(ends_first);
    until([&] { return reader->heard.ends_with("ZE "); });
    EXPECT_EQ(reader->take(), "E53300 ZE ");
  }
  EXPECT_EQ(sink.count("HINT: Raise the server's max_connections, or close idle transactions."), 1u) << sink.text;
  EXPECT_FALSE(heard(*standby, "COMMIT"));
  primary->say(end_of_query());
  until([&] { return first.heard == "C ZI "; });
}

// issue: what earlier logins had taught was forgotten, so that all later ones needed a fresh link.
TEST_F(SessionTest, ALoginThatWaitedInVainForALinkForgetsNothing) {
  Client& first = log_in();
  const LoginMemory::WhoView who{"shop", "ann"};
  ASSERT_TRUE(shared.logins.method(who, clock.now()));
  stay_at_primary(first);
  shared.accounts.set_limits({.per_node = 1, .per_key = 0});
  shared.logins.forget_reported();
  Client& second = connect();
  second.send(startup());
  until([&] { return shared.accounts.waiting() == 1; });
  clock.ahead += kWaitTimeout + seconds(1);
  until([&] { return second.closed; });
  EXPECT_EQ(second.heard, "E53300 ");
  EXPECT_TRUE(shared.logins.method(who, clock.now()));
  primary->say(end_of_query());
  until([&] { return first.heard == "C ZI "; });
}

// issue: who only said his name held a link of the pool until authentication_timeout.
TEST_F(SessionTest, WhoIsAskedForHisPasswordHoldsNoLink) {
  Client& at_work = log_in();
  shared.accounts.set_limits({.per_node = 1, .per_key = 0});
  shared.logins.clear();
  primary->asks = true;
  Client& says_nothing = connect();
  says_nothing.send(startup());
  until([&] { return says_nothing.heard == "R "; });
  primary->asks = false;
  EXPECT_EQ(answer(at_work, "create table t (i int)"), "C ZI ");
  EXPECT_EQ(says_nothing.take(), "R ");
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

// By protocol 3.2 a server's secret may be longer than four octets.
TEST_F(SessionTest, ACancelCarriesAServersLongSecretWhole) {
  primary->key = Bytes("\0\0\1\2", 4) + "32 octets, as from PostgreSQL 18";
  Client& client = log_in();
  stay_at_primary(client);
  worker->find(session_of(client))->cancel_running();
  until([&] { return !primary->cancel.empty(); });
  EXPECT_EQ(primary->cancel, Bytes("\0\0\0\x2c\x04\xd2\x16\x2e", 8) + primary->key);
  primary->end_cancels();
  primary->say(end_of_query());
  until([&] { return client.heard == "C ZI "; });
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

// issue: what a standby cannot do was known by English words, which lc_messages has it translate.
TEST_F(SessionTest, WhatAStandbyCannotDoThePrimaryDoesInAnyLanguage) {
  struct Said {
    const char *state, *message, *wanted;
  };
  for (const Said& said :
       {Said{"40001", "storniere Anfrage wegen Konflikt mit der Wiederherstellung", "C ZI "},
        Said{"55000", "Wiederherstellung l\u00e4uft", "C ZI "}, Said{"22012", "Division durch Null", "E22012 ZI "}}) {
    standby->script = [&said](const Bytes&, Bytes& out) {
      wire::Report report;
      report.sqlstate = said.state;
      report.message = said.message;
      wire::put_error(out, report);
      wire::put_ready(out, 'I');
      return true;
    };
    EXPECT_EQ(answer(log_in(), "select 1"), said.wanted);
    EXPECT_EQ(std::erase(primary->queries, "select 1"), said.wanted[0] == 'C' ? 1u : 0u);
  }
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

struct NamedStandby : SessionTest {
  // The standby has a name, and the primary so little weight that it is chosen only where the standby must not be.
  std::shared_ptr<Snapshot> snapshot_by_name(bool asks_standby = false) {
    auto named = std::make_shared<Snapshot>(*snapshot());
    auto settings = std::make_shared<config::Settings>(*named->settings);
    if (asks_standby) settings->relcache_query_target = config::RelcacheQueryTarget::load_balance_node;
    auto view = std::make_shared<cluster::View>(*named->view);
    view->nodes[0].weight = 1e-9;
    view->nodes[1].host = "localhost";
    named->settings = std::move(settings);
    named->view = std::move(view);
    return named;
  }
  // From here on it is at its address.
  void is_found() {
    auto found = std::make_shared<Snapshot>(*worker->snapshot());
    auto view = std::make_shared<cluster::View>(*found->view);
    view->nodes[1].host = "127.0.0.1";
    found->view = std::move(view);
    worker->take_snapshot(std::move(found));
  }
};

// issue: it read from the primary from then on.
TEST_F(NamedStandby, AMomentWithoutANameServiceKeepsNobodyFromItsStandby) {
  Client& client = log_in();
  worker->take_snapshot(snapshot_by_name());
  shared.server_names.stop();
  EXPECT_EQ(answer(client, "select 1"), "C N ZI ");
  EXPECT_TRUE(heard(*primary, "select 1"));
  is_found();
  clock.ahead += LeftOut::kPause;
  EXPECT_EQ(answer(client, "select 2"), "C ZI ");
  EXPECT_TRUE(heard(*standby, "select 2"));
}

// issue: … where it was the question to the catalog that could not be asked there.
TEST_F(NamedStandby, NeitherDoesALookUpInThatMoment) {
  Client& client = log_in();
  worker->take_snapshot(snapshot_by_name(/*asks_standby=*/true));
  shared.server_names.stop();
  EXPECT_EQ(answer(client, "select * from t"), "C N ZI ");
  EXPECT_TRUE(heard(*primary, "select * from t"));
  is_found();
  clock.ahead += LeftOut::kPause;
  EXPECT_EQ(answer(client, "select 2"), "C ZI ");
  EXPECT_TRUE(heard(*standby, "select 2"));
}

// issue: each read waited for the name service anew.
TEST_F(NamedStandby, OneReadOfAllWaitsForASilentNameService) {
  Client &first = log_in(), &second = log_in();
  const auto reads = [&](Client& client, const std::string& sql) {
    EXPECT_EQ(answer(client, sql), "C ZI ");
    return heard(*standby, sql) ? "standby" : heard(*primary, sql) ? "primary" : "nobody";
  };
  worker->take_snapshot(snapshot_by_name());
  std::promise<void> speaks;
  const std::shared_future<void> said = speaks.get_future();
  int silent = Shared::kNamingThreads;
  for (int i = silent; i > 0; --i)
    shared.server_names.submit(
        worker->loop(), [said] { said.wait(); }, [&] { --silent; });
  first.query("select 1");
  for (int turns = 0; turns < 20; ++turns) until([] { return true; });
  EXPECT_FALSE(heard(*primary, "select 1"));
  clock.ahead += seconds(10);  // connect_timeout
  until([&] { return first.heard.ends_with("ZI "); });
  EXPECT_EQ(first.take(), "C N ZI ");
  EXPECT_TRUE(heard(*primary, "select 1"));
  EXPECT_STREQ(reads(first, "select 2"), "primary");
  EXPECT_STREQ(reads(second, "select 3"), "primary");
  // When it is tried again, one waits.
  clock.ahead += LeftOut::kPause;
  first.query("select 4");
  for (int turns = 0; turns < 20; ++turns) until([] { return true; });
  EXPECT_FALSE(heard(*primary, "select 4"));
  EXPECT_STREQ(reads(second, "select 5"), "primary");
  speaks.set_value();
  until([&] { return silent == 0 && first.heard.ends_with("ZI "); });
  EXPECT_EQ(first.take(), "C ZI ");
  EXPECT_TRUE(heard(*standby, "select 4"));
  EXPECT_STREQ(reads(second, "select 6"), "standby");
}

struct FullStandby : NamedStandby, testing::WithParamInterface<bool> {};
INSTANTIATE_TEST_SUITE_P(StatementLevel, FullStandby, testing::Bool());

// issue: it read from the primary from then on; with statement_level_load_balance each read was refused there anew.
TEST_P(FullStandby, IsLeftOutForAMoment) {
  Client& client = log_in();
  auto mostly = snapshot_by_name();
  auto settings = std::make_shared<config::Settings>(*mostly->settings);
  settings->statement_level_load_balance = GetParam();
  mostly->settings = std::move(settings);
  worker->take_snapshot(std::move(mostly));
  is_found();
  standby->room = 0;
  EXPECT_EQ(answer(client, "select 1"), "C N ZI ");
  EXPECT_EQ(answer(client, "select 2"), "C ZI ");
  EXPECT_TRUE(heard(*primary, "select 1") && heard(*primary, "select 2"));
  EXPECT_EQ(standby->refused, 1);
  standby->room = 1000;
  clock.ahead += LeftOut::kPause;
  EXPECT_EQ(answer(client, "select 3"), "C ZI ");
  EXPECT_TRUE(heard(*standby, "select 3"));
}

// issue: a standby that had been left out was not asked where the primary refused, either.
TEST_F(NamedStandby, WhereThePrimaryRefusesWhoWasLeftOutServes) {
  Client &first = log_in(), &second = log_in();
  worker->take_snapshot(snapshot_by_name());
  shared.server_names.stop();
  EXPECT_EQ(answer(second, "select 1"), "C N ZI ");
  is_found();
  hold(*primary, "lock table t");
  first.query("lock table t");
  until([&] { return heard(*primary, "lock table t"); });
  primary->refuses = "53300";
  EXPECT_EQ(answer(second, "select 2"), "C ZI ");
  EXPECT_TRUE(heard(*standby, "select 2"));
  primary->refuses.clear();
  primary->drop_all();
  until([&] { return !first.heard.empty(); });
}

// A link that is there serves, whatever keeps new ones from being made.
TEST_F(NamedStandby, ALinkThatIsThereNeedsNoName) {
  Client &first = log_in(), &second = log_in();
  worker->take_snapshot(snapshot_by_name());
  hold(*standby, "select 1");
  first.query("select 1");
  until([&] { return heard(*standby, "select 1"); });
  shared.server_names.stop();
  EXPECT_EQ(answer(second, "select 2"), "C N ZI ");
  EXPECT_TRUE(heard(*primary, "select 2"));
  standby->say(end_of_query());
  until([&] { return first.heard == "C ZI "; });
  EXPECT_EQ(answer(second, "select 3"), "C ZI ");
  EXPECT_TRUE(heard(*standby, "select 3"));
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

struct CachedSessionTest : SessionTest {
  CachedSessionTest() { shared.query_cache = std::make_unique<cache::Store>(clock, cache::Store::Options{}); }
};

// The server goes on with it, and whoever asks the catalog meanwhile is not told of it.
TEST_F(CachedSessionTest, WhatALostClientHasDefinedIsAskedForOnceItCanBeThere) {
  const std::size_t place = catalog::Epochs::place("shop");
  hold(*primary, "create");
  Client& client = log_in();
  client.query("create table a (b int)");
  until([&] { return heard(*primary, "create table a (b int)"); });
  worker->find(SessionId(shared.last_session))->end({});
  until([&] { return worker->sessions() == 0; });
  const std::uint64_t then = shared.epochs.definitions_at(place);
  clock.ahead += cache::Doubt::kUnknownLingers;
  until([&] { return shared.epochs.definitions_at(place) > then; });
}

// Each doubt that ends is counted by the store.
TEST_F(CachedSessionTest, AUnitOfManyPartsHasOneDoubt) {
  primary->script = standby->script = ExtendedServer{};
  Client& client = log_in();
  Bytes flush;
  wire::put_empty(flush, wire::fe::kFlush);
  const std::uint64_t before = shared.query_cache->now();
  std::string answered;
  for (int i = 0; i < 20; ++i) {
    client.send(statement("insert into a values (1)") + flush);
    answered += "1 2 C ";
    until([&] { return client.heard == answered; });
  }
  EXPECT_EQ(shared.query_cache->now(), before);
  client.send(sync());
  until([&] { return client.heard.ends_with("ZI "); });
  EXPECT_EQ(shared.query_cache->now(), before + 1);
}

}  // namespace
}  // namespace herdgate::session
