#include "vsession/state.h"

#include <gtest/gtest.h>

#include "vsession/script.h"

namespace herdgate::vsession {
namespace {

constexpr HashKey kKey{3, 4};

struct Case {
  const char* name;
  std::vector<const char*> steps;  // '!' fails, '*' was routed as a write
  const char* expected;
};

const Case kTransactions[] = {
    {"begin", {"begin"}, "T"},
    {"options", {"begin isolation level serializable, read only, deferrable"}, "T iso!ser ro deferrable"},
    {"read write", {"start transaction read write"}, "T rw"},
    {"a second begin only adds its options",
     {"begin read only", "begin isolation level repeatable read"},
     "T iso!rr ro"},
    {"commit", {"begin", "commit"}, "I"},
    {"failure", {"begin", "!select 1/0"}, "E"},
    {"failure outside", {"!select 1/0"}, "I"},
    {"commit of a failed one", {"begin", "!select 1/0", "commit"}, "I"},
    {"a commit that fails", {"begin", "!commit"}, "I"},
    {"chain",
     {"begin isolation level repeatable read, read only", "*insert into t values (1)", "commit and chain"},
     "T iso!rr ro"},
    {"rollback and chain", {"begin read only", "!select 1/0", "rollback and chain"}, "T ro"},
    {"default isolation",
     {"set default_transaction_isolation = 'repeatable read'", "begin"},
     "T iso=rr set{default_transaction_isolation=repeatable read}"},
    {"default read only",
     {"set default_transaction_read_only = on", "begin"},
     "T ro set{default_transaction_read_only=on}"},
    {"default overruled",
     {"set default_transaction_read_only = on", "begin read write"},
     "T rw set{default_transaction_read_only=on}"},
    {"set transaction", {"begin", "set transaction isolation level serializable, read only"}, "T iso!ser ro"},
    {"set transaction outside", {"set transaction isolation level serializable"}, "I"},
    {"snapshot", {"begin isolation level repeatable read", "set transaction snapshot '1-1'"}, "T iso!rr snapshot"},
    {"snapshot given away", {"begin", "select pg_export_snapshot()"}, "T snapshot"},
    {"… until the end", {"begin", "select pg_export_snapshot()", "commit"}, "I"},
    {"… also outside", {"select pg_export_snapshot()"}, "I"},
    {"read only in a savepoint", {"begin", "savepoint s", "set transaction read only", "rollback to s"}, "T"},
    {"… also when released", {"begin", "savepoint s", "set transaction read only", "release s"}, "T"},
    {"writing flag", {"begin", "*insert into a select * from b"}, "T wrote w:a w:b"},
    {"writing outside", {"*insert into a values (1)"}, "I"},
    {"cleared at commit", {"begin", "*insert into a values (1)", "commit"}, "I"},
    {"as it was at the savepoint", {"begin", "savepoint s", "*insert into a values (1)", "rollback to s"}, "T w:a"},
    {"a write before the savepoint stays",
     {"begin", "*update a set x = 1", "savepoint s", "rollback to s"},
     "T wrote w:a"},
    {"a failed write is none", {"begin", "!insert into a values (1)"}, "E"},
    {"relations once each", {"begin", "*update a set x = 1", "*update s.a set x = 1"}, "T wrote w:a"},
    {"begin in a text of several", {"select 1; begin"}, "T multi"},
    {"prepare transaction", {"begin", "set a.b = 1", "prepare transaction 'x'"}, "I set{a.b=1}"},
    {"… of a failed one", {"begin", "set a.b = 1", "!select 1/0", "prepare transaction 'x'"}, "I"},
};

const Case kPins[] = {
    {"temporary table", {"create temp table t (a int)"}, "I pins{temporary_table} temp{t}"},
    {"select into temp", {"select 1 into temp t"}, "I pins{temporary_table} temp{t}"},
    {"by its schema", {"create table pg_temp.t (a int)"}, "I pins{temporary_table} temp{t}"},
    {"a failed one", {"!create temp table t (a int)"}, "I"},
    {"dropped", {"create temp table t (a int)", "drop table t"}, "I"},
    {"another schema's namesake",
     {"create temp table t (a int)", "drop table public.t"},
     "I pins{temporary_table} temp{t}"},
    {"one of two",
     {"create temp table t (a int)", "create temp table u (a int)", "drop table t"},
     "I pins{temporary_table} temp{u}"},
    {"on commit drop, open",
     {"begin", "create temp table t (a int) on commit drop"},
     "T pins{temporary_table} temp{t}"},
    {"on commit drop", {"begin", "create temp table t (a int) on commit drop", "commit"}, "I"},
    {"on commit drop, as", {"begin", "create temp table t on commit drop as select 1", "commit"}, "I"},
    {"on commit drop, at once", {"create temp table t (a int) on commit drop"}, "I"},
    {"on commit drop, another stays",
     {"create temp table u (a int)", "begin", "create temp table t (a int) on commit drop", "commit"},
     "I pins{temporary_table} temp{u}"},
    {"on commit drop, taken back and made anew",
     {"begin", "savepoint s", "create temp table t (a int) on commit drop", "rollback to s",
      "create temp table t (a int)", "commit"},
     "I pins{temporary_table} temp{t}"},
    {"on commit drop, dropped and made anew",
     {"begin", "create temp table t (a int) on commit drop", "drop table t", "create temp table t (a int)", "commit"},
     "I pins{temporary_table} temp{t}"},
    {"on commit drop, but it is there already",
     {"create temp table t (a int)", "begin", "create temp table if not exists t (a int) on commit drop", "commit"},
     "I pins{temporary_table} temp{t}"},
    {"on commit drop, twice",
     {"begin", "create temp table t (a int) on commit drop", "create temp table if not exists t (a int) on commit drop",
      "commit"},
     "I"},
    {"settings by their view",
     {"update pg_settings set setting = '5MB' where name = 'work_mem'"},
     "I pins{unparsed_state}"},
    {"drop rolled back",
     {"create temp table t (a int)", "begin", "drop table t", "rollback"},
     "I pins{temporary_table} temp{t}"},
    {"drop rolled back to a savepoint",
     {"begin", "create temp table t (a int)", "savepoint s", "drop table t", "rollback to s"},
     "T pins{temporary_table} temp{t}"},
    {"where a bare name may be another",
     {"set search_path = public, pg_temp", "create temp table t (a int)", "drop table t"},
     "I set{search_path=public} pins{temporary_table} temp{t}"},
    {"renamed",
     {"create temp table t (a int)", "alter table t rename to u", "drop table t"},
     "I pins{temporary_table}"},
    {"temporary view", {"create temp view v as select 1", "drop table v"}, "I pins{temporary_table}"},
    {"temporary function",
     {"create function pg_temp.f() returns int language sql as 'select 1'"},
     "I pins{temporary_table}"},
    {"temporary statistics", {"create statistics pg_temp.s on a, b from t"}, "I pins{temporary_table}"},
    {"by the search path",
     {"set search_path = pg_temp", "create table t (a int)"},
     "I set{search_path=pg_temp} pins{temporary_table}"},
    {"by the search path, select into",
     {"set search_path = pg_temp", "select 1 into t"},
     "I set{search_path=pg_temp} pins{temporary_table}"},
    {"by the search path, a read", {"set search_path = pg_temp", "select 1"}, "I set{search_path=pg_temp}"},
    {"discard temp", {"create temp view v as select 1", "discard temp"}, "I"},
    {"prepared, not run", {"prepare p as create temp table t (a int)"}, "I pins{unparsed_state}"},
    {"listen", {"listen a"}, "I pins{listen}"},
    {"listen rolled back", {"begin", "listen a", "rollback"}, "I"},
    {"listen rolled back to a savepoint", {"begin", "savepoint s", "listen a", "rollback to s"}, "T"},
    {"unlisten one", {"listen a", "unlisten a"}, "I pins{listen}"},
    {"unlisten all", {"listen a", "unlisten *"}, "I"},
    {"unlisten not yet committed", {"listen a", "begin", "unlisten *"}, "T pins{listen}"},
    {"… and rolled back", {"listen a", "begin", "unlisten *", "rollback"}, "I pins{listen}"},
    {"… and committed", {"listen a", "begin", "unlisten *", "commit"}, "I"},
    {"advisory lock", {"select pg_advisory_lock(1)"}, "I pins{advisory_lock}"},
    {"shared, by schema", {"select pg_catalog.pg_try_advisory_lock_shared(1)"}, "I pins{advisory_lock}"},
    {"it stays when the statement fails", {"!select pg_advisory_lock(1), 1/0"}, "I pins{advisory_lock}"},
    {"… and through a rollback", {"begin", "select pg_advisory_lock(1)", "rollback"}, "I pins{advisory_lock}"},
    {"a transaction's lock is none", {"select pg_advisory_xact_lock(1)"}, "I"},
    {"somebody else's function", {"select app.pg_advisory_lock(1)"}, "I"},
    {"plain unlock", {"select pg_advisory_lock(1)", "select pg_advisory_unlock(1)"}, "I pins{advisory_lock}"},
    {"unlock all", {"select pg_advisory_lock(1)", "select pg_advisory_unlock_all()"}, "I"},
    {"perhaps not run",
     {"select pg_advisory_lock(1)", "select pg_advisory_unlock_all() from t"},
     "I pins{advisory_lock}"},
    {"explained only", {"explain select pg_advisory_lock(1)"}, "I"},
    {"in a view's text only", {"create view v as select pg_advisory_lock(1)"}, "I"},
    {"with hold", {"declare c cursor with hold for select 1"}, "I pins{with_hold_cursor}"},
    {"without", {"begin", "declare c cursor for select 1"}, "T"},
    {"closed", {"declare c cursor with hold for select 1", "close c"}, "I"},
    {"all closed", {"declare c cursor with hold for select 1", "close all"}, "I"},
    {"another closed", {"declare c cursor with hold for select 1", "close d"}, "I pins{with_hold_cursor}"},
    {"declared in vain", {"begin", "declare c cursor with hold for select 1", "rollback"}, "I"},
    {"load", {"load 'auto_explain'"}, "I pins{load}"},
    {"not ours to understand", {"selct 1"}, "I pins{unparsed_state}"},
    {"nor the server's", {"!selct 1"}, "I"},
    {"discard all",
     {"listen a", "create temp table t (a int)", "select pg_advisory_lock(1)", "load 'x'", "discard all"},
     "I pins{load}"},
};

const Case kPrepared[] = {
    {"prepare", {"prepare p as select 1"}, "I prepared{p*}"},
    {"in vain", {"!prepare p as select 1"}, "I"},
    {"a rollback does not take it back", {"begin", "prepare p as select 1", "rollback"}, "I prepared{p*}"},
    {"deallocate", {"prepare p as select 1", "prepare q as select 2", "deallocate p"}, "I prepared{q*}"},
    {"deallocate all", {"prepare p as select 1", "prepare q as select 2", "deallocate all"}, "I"},
    {"discard all", {"prepare p as select 1", "discard all"}, "I"},
    {"discard plans drops none", {"prepare p as select 1", "discard plans"}, "I prepared{p*}"},
};

void expect_all(std::span<const Case> cases) {
  for (const Case& c : cases) {
    VirtualSession session(kKey);
    Script script(session);
    for (const char* step : c.steps) script.step(step);
    EXPECT_EQ(describe(session), c.expected) << c.name;
  }
}

TEST(VirtualSession, FollowsTransactions) { expect_all(kTransactions); }
TEST(VirtualSession, PinsWhatCannotBeCarried) { expect_all(kPins); }
TEST(VirtualSession, FollowsSqlPrepare) { expect_all(kPrepared); }

TEST(VirtualSession, KeepsTheWritingFlagForTheWholeSession) {
  VirtualSession session(kKey);
  Script script(session);
  script.step("begin");
  EXPECT_FALSE(session.state().wrote_in_session);
  script.step("*insert into a values (1)");
  script.step("commit");
  EXPECT_TRUE(session.state().wrote_in_session);
}

TEST(VirtualSession, MarkingATransactionIsNoWrite) {
  VirtualSession session(kKey);
  Script script(session);
  for (const char* step : {"*begin", "*savepoint s", "*commit"}) script.step(step);
  EXPECT_FALSE(session.state().wrote_in_session);
}

// Not looked into, they leave nothing but what their link is reset for, unless a word in them says more.
TEST(VirtualSession, LongTextsPinOnlyByTheirWords) {
  const std::string big(sql::kMaxParsedText, 'x');
  const std::pair<std::string, bool> cases[] = {
      {"*insert into a values ('" + big + "')", false},
      {"*update a set b = 'set_config " + big + "' /* into set_config */", false},
      {"*insert into a values (1), ('" + big + "'), (my_set_config(1))", false},
      {"*select set_config('a.b', '" + big + "', false)", true},
      {"*insert into a values (\"set_config\"('a.b', '" + big + "', false))", true},
      {"*insert into a values (U&\"\\0073et_config\"('a.b', '" + big + "', false))", true},
      {"*insert into a values (pg_try_advisory_lock(1), '" + big + "')", true},
      {"*select '" + big + "' into temp b", true},
      {"*do $$ begin perform 1; /* " + big + " */ end $$", true},
  };
  for (const auto& [text, pins] : cases) {
    VirtualSession session(kKey);
    Script script(session);
    script.step(text.c_str());
    EXPECT_EQ(session.state().pins != 0, pins) << text.substr(0, 40);
  }
}

TEST(VirtualSession, WritesOutsideOfTransactionsAreNoneOfTheirs) {
  VirtualSession session(kKey);
  Script script(session);
  script.step("*insert into a values (1)");
  EXPECT_TRUE(session.state().wrote_in_session);
  EXPECT_FALSE(session.state().wrote_in_transaction);
  for (const char* step : {"begin", "*insert into a values (1)", "rollback"}) script.step(step);
  EXPECT_TRUE(session.state().wrote_in_transaction);
}

TEST(VirtualSession, BoundsTheRelationsItRemembers) {
  VirtualSession session(kKey);
  Script script(session);
  script.step("begin");
  for (std::size_t i = 0; i < kMaxWritten; ++i) script.step("*update t" + std::to_string(i) + " set a = 1");
  EXPECT_FALSE(session.state().tx.written_overflow);
  script.step("*update one_more set a = 1");
  EXPECT_TRUE(session.state().tx.written_overflow);
  EXPECT_EQ(session.state().tx.written.size(), kMaxWritten);
  script.step("commit");
  EXPECT_FALSE(session.state().tx.written_overflow);
}

TEST(VirtualSession, BoundsSavepoints) {
  VirtualSession session(kKey);
  Script script(session);
  script.step("begin");
  for (std::size_t i = 0; i < VirtualSession::kMaxSavepoints; ++i) script.step("savepoint s");
  EXPECT_EQ(session.state().pins, 0);
  script.step("savepoint one_more");
  EXPECT_EQ(pin_names(session.state().pins), "unparsed_state");
}

TEST(VirtualSession, BelievesReadyForQuery) {
  VirtualSession session(kKey);
  session.ready(TxStatus::open);  // opened by a text that we could not read
  EXPECT_EQ(describe(session), "T");
  Script script(session);
  session.ready(TxStatus::failed);
  EXPECT_EQ(describe(session), "E");
  session.ready(TxStatus::idle);
  EXPECT_EQ(describe(session), "I");
}

TEST(VirtualSession, ALostTransactionFallsBack) {
  for (const bool stay_failed : {false, true}) {
    VirtualSession session(kKey);
    Script script(session);
    for (const char* step : {"set a.b = 0", "begin", "set a.b = 1", "savepoint s", "set local a.b = 2"})
      script.step(step);
    session.transaction_lost(stay_failed);
    EXPECT_EQ(describe(session), stay_failed ? "E set{a.b=0}" : "I set{a.b=0}");
    session.ready(TxStatus::idle);
    EXPECT_EQ(describe(session), "I set{a.b=0}");
  }
}

TEST(VirtualSession, ALostTransactionIsFollowedByOneOfItsKind) {
  VirtualSession session(kKey);
  Script script(session);
  script.step("begin isolation level serializable, read only, deferrable");
  session.transaction_lost(/*stay_failed=*/true);
  EXPECT_EQ(session.state().tx.status, TxStatus::failed);
  script.step("rollback and chain");
  const Transaction& tx = session.state().tx;
  EXPECT_TRUE(tx.status == TxStatus::open && tx.isolation_explicit && tx.read_only && tx.deferrable);
  EXPECT_EQ(tx.isolation, sql::Isolation::serializable);
}

TEST(VirtualSession, TheNodeOfATransactionIsNotThatOfTheNext) {
  for (const char* end : {"commit", "rollback", "commit and chain", "rollback and chain", "prepare transaction 'x'"}) {
    VirtualSession session(kKey);
    Script script(session);
    script.step("begin isolation level repeatable read, read only");
    session.stay_on(NodeId(1));
    script.step("select 1");
    EXPECT_EQ(session.state().tx_node, NodeId(1));
    script.step(end);
    EXPECT_EQ(session.state().tx_node, kNoNode) << end;
  }
  VirtualSession session(kKey);
  Script script(session);
  script.step("begin isolation level repeatable read");
  session.stay_on(NodeId(1));
  session.transaction_lost(/*stay_failed=*/true);
  EXPECT_EQ(session.state().tx_node, kNoNode);
}

TEST(VirtualSession, AnInnerStatementRunByExecuteCounts) {
  VirtualSession session(kKey);
  Script script(session);
  script.step("prepare p as select set_config('a.b', '1', false), pg_advisory_lock(1)");
  EXPECT_EQ(describe(session), "I prepared{p*}");
  const PreparedPtr prepared = session.find_prepared("p");
  ASSERT_TRUE(prepared && prepared->facts && prepared->facts->first().kind == sql::Kind::select);
  session.statement_done({prepared->facts->first(), "execute p", "SELECT 1"});
  session.ready(TxStatus::idle);
  EXPECT_EQ(describe(session), "I set{a.b=1} pins{advisory_lock} prepared{p*}");
}

TEST(PinNames, AreListed) {
  EXPECT_EQ(pin_names(0), "");
  EXPECT_EQ(pin_names(63), "temporary_table, listen, advisory_lock, with_hold_cursor, load, unparsed_state");
}

}  // namespace
}  // namespace herdgate::vsession
