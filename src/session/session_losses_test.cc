// What a client is told, and what the session goes on with, when a link is lost at an exact moment (test_session.h).
#include "session/test_session.h"

namespace herdgate::session {
namespace {

struct LossTest : SessionTest {
  Client& begin() {
    Client& client = log_in();
    client.query("begin");
    until([&] { return client.heard.ends_with("ZT "); });
    client.take();
    return client;
  }
  // The primary, with whom every LOCK fails.
  void refuses_locks(Transactional& server) {
    primary->script = [&server](const Bytes& message, Bytes& out) {
      if (message.find("lock") == Bytes::npos) return server(message, out);
      out += error_of("42P01");
      wire::put_ready(out, server.status = 'E');
      return true;
    };
  }
  // What the client hears when the server dies with this text, unanswered, in a transaction that has locked something.
  std::string lost_under(const std::string& text) {
    primary->script = Transactional{text};
    Client& client = begin();
    EXPECT_EQ(in_transaction(client, "lock table t"), "C ZT ");
    client.query(text);
    until([&] { return heard(*primary, text); });
    primary->drop_all();
    until([&] { return client.heard.ends_with("ZI "); });
    primary->script = nullptr;
    const std::string told = client.take();
    EXPECT_EQ(answer(client, "create table t (i int)"), "C ZI ");
    return told;
  }
  // Whatever can be done now has been.
  void settle() {
    int turns = 0;
    until([&] { return ++turns == 20; });
  }
};

// issue: behind the ROLLBACK the server had committed the INSERT, and the client was told to run all of it again.
TEST_F(LossTest, AWriteBehindARollbackMayHaveBeenCommitted) {
  EXPECT_EQ(lost_under("rollback; insert into t values (1)"), "E08007 ZI ");
}

TEST_F(LossTest, ARollbackAloneIsOne) { EXPECT_EQ(lost_under("rollback"), "E40001 ZI "); }

// issue: what only prepares ROLLBACK was taken for the transaction's end, and the next unit ran by itself.
TEST_F(LossTest, AUnitThatOnlyPreparesTheEndEndsNothing) {
  primary->script = Transactional{};
  Client& client = begin();
  EXPECT_EQ(in_transaction(client, "lock table t"), "C ZT ");
  bool parsed = false;
  primary->script = [&](const Bytes& message, Bytes&) { return parsed |= message[0] == wire::fe::kParse; };
  client.send(named("r", "rollback") + sync() + statement("insert into t values (1)") + sync());
  until([&] { return parsed; });
  bool fails = false;
  primary->script = [&](const Bytes& message, Bytes& out) {
    fails |= message.find("hg_failed") != Bytes::npos;
    if (message[0] == wire::fe::kParse) out += error_of("25P02");
    if (message[0] == wire::fe::kSync) wire::put_ready(out, 'E');
    return message[0] != wire::fe::kQuery;
  };
  primary->drop_all();
  until([&] { return client.heard.find('Z') != client.heard.rfind('Z'); });
  EXPECT_EQ(client.take(), "E40001 ZE E25P02 ZE ");
  EXPECT_TRUE(fails) << "the transaction on the new connection, ahead of the write";
  primary->script = nullptr;
  EXPECT_EQ(answer(client, "rollback"), "C ZI ");
  EXPECT_EQ(answer(client, "create table t (i int)"), "C ZI ");
}

// issue: a transaction of one snapshot whose node is lost had what ends it go to that node, for ever.
TEST_F(LossTest, BehindALostTransactionNothingStaysOnItsNode) {
  standby->script = Transactional{};
  Client& client = log_in();
  EXPECT_EQ(in_transaction(client, "begin isolation level repeatable read, read only"), "C ZT ");
  EXPECT_EQ(in_transaction(client, "select 1"), "C ZT ");
  standby->script = nullptr;
  standby->drop_all();
  settle();
  const std::string reset = "rollback; select pg_advisory_unlock_all(); close all";
  EXPECT_EQ(answer(client, reset), "C ZI ");
  EXPECT_TRUE(heard(*primary, reset));
  EXPECT_FALSE(heard(*standby, reset));
  EXPECT_EQ(answer(client, "select 2"), "C ZI ");
  EXPECT_TRUE(heard(*standby, "select 2"));
}

// Tells the id of a transaction when it is asked for, or later, with what has been asked behind it.
struct TellsId {
  Transactional plays;
  std::string id;
  bool later = false;
  Bytes kept;
  bool operator()(const Bytes& message, Bytes& out) {
    if (message[0] == wire::fe::kQuery && kept.empty()) return plays(message, out);
    Bytes answer;
    switch (message[0]) {
      case wire::fe::kQuery:
        (void)plays(message, answer);
        break;
      case wire::fe::kParse:
        wire::put_parse_complete(answer);
        break;
      case wire::fe::kBind:
        wire::put_bind_complete(answer);
        break;
      case wire::fe::kExecute:
        answer += row(id);
        wire::put_command_complete(answer, "SELECT 1");
        break;
      case wire::fe::kClose:
        wire::put_close_complete(answer);
        break;
      default:
        wire::put_ready(answer, plays.status);
    }
    (later ? kept : out).append(answer);
    return true;
  }
};

// issue: the answer to the question for a transaction's id came when the next one had begun, and was taken for its own.
TEST_F(LossTest, ALateAnswerIsNotTheIdOfTheNextTransaction) {
  auto adaptive = std::make_shared<Snapshot>(*snapshot());
  auto settings = std::make_shared<config::Settings>(*adaptive->settings);
  settings->disable_load_balance_on_write = config::DisableLoadBalanceOnWrite::dml_adaptive;
  adaptive->settings = std::move(settings);
  worker->take_snapshot(adaptive);
  TellsId tells{.plays = {}, .id = "7", .later = true, .kept = {}};
  primary->script = std::ref(tells);
  standby->script = Transactional{};
  Client& client = begin();
  EXPECT_EQ(in_transaction(client, "insert into t values (1)"), "C ZT ");
  EXPECT_EQ(in_transaction(client, "select 1"), "C ZT ");
  standby->drop_all();
  until([&] { return heard(*primary, "ROLLBACK"); });
  EXPECT_EQ(answer(client, "rollback"), "C ZI ");
  EXPECT_EQ(in_transaction(client, "begin"), "C ZT ");
  ASSERT_FALSE(tells.kept.empty());
  primary->say(std::exchange(tells.kept, {}));
  settle();
  tells.id = "8";
  tells.later = false;
  EXPECT_EQ(in_transaction(client, "insert into t values (2)"), "C ZT ");
  settle();
  tells.plays.held = "commit";
  client.query("commit");
  until([&] { return heard(*primary, "commit"); });
  primary->script = nullptr;
  primary->drop_all();
  until([&] { return heard(*primary, "SELECT pg_catalog.txid_status(8)"); });
  EXPECT_FALSE(heard(*primary, "SELECT pg_catalog.txid_status(7)"));
  until([&] { return client.heard.ends_with("ZI "); });
}

// What the server's words hold is no SQLSTATE: only 22023 itself says that the id was never given out.
TEST_F(LossTest, AnOutcomeIsNotReadOutOfTheWordsOfAnError) {
  TellsId tells{.plays = {}, .id = "7", .later = false, .kept = {}};
  primary->script = std::ref(tells);
  Client& client = begin();
  EXPECT_EQ(in_transaction(client, "insert into t values (1)"), "C ZT ");
  settle();
  tells.plays.held = "commit";
  client.query("commit");
  until([&] { return heard(*primary, "commit"); });
  client.take();
  int asked = 0;
  wire::Report refusal{"ERROR", "42501", "no function for you (22023)"};
  primary->script = [&](const Bytes& message, Bytes& out) {
    if (message.find("txid_status") == Bytes::npos) return false;
    ++asked;
    wire::put_error(out, refusal);
    wire::put_ready(out, 'I');
    return true;
  };
  primary->drop_all();
  until([&] { return asked == 1; });
  settle();
  EXPECT_EQ(client.heard, "");
  refusal.sqlstate = "22023";
  worker->take_snapshot(snapshot());
  until([&] { return client.heard.ends_with("ZI "); });
  EXPECT_EQ(client.take(), "E40001 ZI ");
}

// issue: the end of a cancel on one link had the session go on as if it were idle, though another link's loss had woken
// it before and it was at work again.
TEST_F(LossTest, TheEndOfACancelDoesNotWakeASessionThatWorks) {
  primary->script = Transactional{"notify"};
  standby->script = Transactional{"select 1"};
  Client& client = begin();
  EXPECT_EQ(in_transaction(client, "select * from pg_catalog.pg_class"), "C ZT ");
  client.query("select 1");
  until([&] { return heard(*standby, "select 1"); });
  worker->find(session_of(client))->cancel_running();
  until([&] { return standby->cancels == 1; });
  Bytes answered;
  wire::put_command_complete(answered, "SELECT 0");
  wire::put_ready(answered, 'T');
  standby->script = Transactional{"ROLLBACK", 'T'};
  standby->say(answered);
  until([&] { return client.heard == "C ZT "; });
  client.take();
  client.query("select 2");
  settle();
  EXPECT_FALSE(heard(*standby, "select 2")) << "the cancel could hit it";
  primary->drop_all();
  until([&] { return client.heard.ends_with("ZE "); });
  client.take();
  EXPECT_EQ(answer(client, "rollback"), "C ZI ");
  client.query("notify x");
  until([&] { return heard(*primary, "notify x"); });
  standby->end_cancels();
  settle();
  client.query("select 3");
  settle();
  EXPECT_FALSE(heard(*standby, "select 3") || heard(*primary, "select 3"));
  primary->say(end_of_query());
  standby->script = nullptr;
  standby->say(end_of_query());
  until([&] { return client.heard == "C ZI C ZI "; });
}

// A server that answers units as well: with the status that its transaction has at Sync.
struct AnswersUnits {
  Transactional plays;
  ExtendedServer unit;
  char behind_sync = 'T';
  bool operator()(const Bytes& message, Bytes& out) {
    if (message[0] == wire::fe::kQuery) return plays(message, out);
    if (message[0] != wire::fe::kSync) return unit(message, out);
    plays.status = behind_sync;
    wire::put_ready(out, behind_sync);
    return true;
  }
};

// issue: one unit had begun a transaction, committed it and begun the next, and a rollback of ours was taken for one of
// both: what the first had set stayed on the link for whoever came next.
TEST_F(LossTest, ARollbackTakesNothingBackThatTheSameUnitHasCommitted) {
  primary->script = AnswersUnits{};
  standby->script = Transactional{};
  Client &client = log_in(), &other = log_in();
  client.send(statement("begin") + statement("set search_path = tenant") + statement("commit") + statement("begin") +
              sync());
  until([&] { return client.heard.ends_with("ZT "); });
  client.take();
  EXPECT_EQ(in_transaction(client, "select 1"), "C ZT ");
  standby->drop_all();
  until([&] { return heard(*primary, "ROLLBACK"); });
  EXPECT_EQ(answer(client, "rollback"), "C ZI ");
  EXPECT_FALSE(heard(*primary, "RESET \"search_path\""));
  EXPECT_EQ(answer(other, "create table t (i int)"), "C ZI ");
  EXPECT_TRUE(heard(*primary, "RESET \"search_path\""));
}

// issue: a standby's link was lost under the COMMIT, which succeeded, and the next transaction was told of it.
TEST_F(LossTest, WhatIsLostUnderACommitIsOfNoConcernToTheNextTransaction) {
  primary->script = standby->script = Transactional{};
  Client& client = begin();
  EXPECT_EQ(in_transaction(client, "select * from pg_catalog.pg_class"), "C ZT ");
  EXPECT_EQ(in_transaction(client, "select 1"), "C ZT ");
  Bytes answers;
  bool sent = false;
  primary->script = [&, plays = AnswersUnits{}](const Bytes& message, Bytes&) mutable {
    sent |= message[0] == wire::fe::kSync;
    return plays(message, answers);
  };
  client.send(statement("commit") + statement("begin") + sync());
  until([&] { return sent; });
  standby->drop_all();
  settle();
  primary->script = Transactional{.held = {}, .status = 'T'};
  primary->say(answers);
  until([&] { return client.heard.ends_with("ZT "); });
  EXPECT_EQ(client.take(), "1 2 C 1 2 C ZT ");
  EXPECT_EQ(in_transaction(client, "select 2"), "C ZT ");
  EXPECT_EQ(answer(client, "COMMIT"), "C ZI ");
}

// issue: "savepoint does not exist" was all that was said to it.
TEST_F(LossTest, WhoGoesBackInAFailedTransactionHearsThatItIsLost) {
  for (const bool extended : {false, true}) {
    Transactional server;
    refuses_locks(server);
    Client& client = begin();
    const auto failed = [&] {
      until([&] { return client.heard.ends_with("ZE "); });
      return client.take();
    };
    EXPECT_EQ(in_transaction(client, "savepoint s"), "C ZT ");
    client.query("lock table u");
    EXPECT_EQ(failed(), "E42P01 ZE ");
    primary->drop_all();
    settle();
    client.query("select 1");
    EXPECT_EQ(failed(), "E25P02 ZE ");
    extended ? client.send(statement("rollback to s") + sync()) : client.query("rollback to s");
    EXPECT_EQ(failed(), "E40001 ZE ");
    EXPECT_EQ(answer(client, "commit"), "C ZI ");
    EXPECT_EQ(answer(client, "select 2"), "C ZI ");
  }
}

// … and who leaves it for another one does not hear it there.
TEST_F(LossTest, WhatHasFailedAndIsLostIsNoNewsToTheNextTransaction) {
  Transactional server;
  refuses_locks(server);
  Client& client = begin();
  client.query("lock table u");
  until([&] { return client.heard.ends_with("ZE "); });
  client.take();
  primary->drop_all();
  settle();
  EXPECT_EQ(in_transaction(client, "commit and chain"), "C ZT ");
  EXPECT_EQ(in_transaction(client, "savepoint s"), "C ZT ");
  EXPECT_EQ(in_transaction(client, "rollback to s"), "C ZT ");
  EXPECT_EQ(answer(client, "ROLLBACK"), "C ZI ");
}

// issue: what was told of a connection took the place of a commit that was lost.
TEST_F(LossTest, ALostCommitIsToldWhateverIsLostBehindIt) {
  for (const bool fails : {false, true}) {
    primary->script = standby->script = Transactional{};
    Client& client = begin();
    EXPECT_EQ(in_transaction(client, "select 1"), "C ZT ");
    if (fails) {
      standby->script = [](const Bytes&, Bytes& out) {
        out += error_of("22012");
        wire::put_ready(out, 'E');
        return true;
      };
      client.query("select 1 / 0");
      until([&] { return client.heard.ends_with("ZE "); });
      client.take();
    }
    for (std::uint64_t id = 0; id < 64; ++id) {
      // None was told: its number is 0.
      if (Session* session = worker->find(SessionId(id))) session->commit_is_lost(/*id=*/0, NodeId(0), NodeId(1));
    }
    standby->drop_all();
    settle();
    client.query("select 2");
    until([&] { return client.heard.ends_with("ZE "); });
    EXPECT_EQ(client.take(), "E58000 ZE ");
    EXPECT_EQ(answer(client, "rollback"), "C ZI ");
    client.leave();
    until([&] { return worker->sessions() == 0; });
  }
}

// issue: the same under the COMMIT of a transaction that had failed already, which comes back as ROLLBACK.
TEST_F(LossTest, WhatIsLostUnderTheCommitOfAFailedTransactionIsNoNews) {
  for (const bool begins : {true, false}) {
    primary->script = standby->script = Transactional{};
    Client& client = begin();
    EXPECT_EQ(in_transaction(client, "select * from pg_catalog.pg_class"), "C ZT ");
    EXPECT_EQ(in_transaction(client, "select 1"), "C ZT ");
    primary->script = [](const Bytes&, Bytes& out) {
      out += error_of("22012");
      wire::put_ready(out, 'E');
      return true;
    };
    client.query("select * from pg_catalog.pg_class");
    until([&] { return client.heard.ends_with("ZE "); });
    client.take();
    bool sent = false;
    primary->script = [&sent](const Bytes& message, Bytes&) { return sent |= message[0] == wire::fe::kSync, true; };
    client.send(statement("commit") + (begins ? statement("begin") : Bytes()) + sync());
    until([&] { return sent; });
    standby->drop_all();
    settle();
    Bytes answers;
    for (const char* tag : {"ROLLBACK", "BEGIN"}) {
      if (!begins && tag[0] == 'B') continue;
      wire::put_parse_complete(answers);
      wire::put_bind_complete(answers);
      wire::put_command_complete(answers, tag);
    }
    const char status = begins ? 'T' : 'I';
    wire::put_ready(answers, status);
    primary->script = Transactional{.held = {}, .status = status};
    primary->say(answers);
    until([&] { return client.heard.find('Z') != std::string::npos; });
    EXPECT_EQ(client.take(), begins ? "1 2 C 1 2 C ZT " : "1 2 C ZI ");
    if (!begins) continue;
    EXPECT_EQ(in_transaction(client, "select 2"), "C ZT ");
    EXPECT_EQ(answer(client, "COMMIT"), "C ZI ");
  }
}

// issue: what an administrator has ended where it ran, and then where it ran anew, was to be run once more.
TEST_F(LossTest, AStatementThatIsEndedTwiceIsNotToBeRunAgain) {
  const std::string text = "select 7";
  hold(*standby, text);
  hold(*primary, text);
  Client& client = log_in();
  wire::Report last;
  last.severity = "FATAL";
  last.sqlstate = "57P01";
  Bytes words;
  wire::put_error(words, last);
  client.query(text);
  for (pool::FakeServer* server : {standby.get(), primary.get()}) {
    until([&] { return heard(*server, text); });
    server->say(words);
    settle();
    server->drop_all();
  }
  until([&] { return client.heard.ends_with("ZI "); });
  EXPECT_EQ(client.take(), "E57P01 ZI ");
  primary->script = standby->script = nullptr;
  EXPECT_EQ(answer(client, "select 8"), "C ZI ");
}

}  // namespace
}  // namespace herdgate::session
