#include <gtest/gtest.h>

#include <random>

#include "vsession/script.h"
#include "vsession/set_sql.h"

namespace herdgate::vsession {
namespace {

constexpr HashKey kKey{1, 2};

struct Case {
  const char* name;
  std::vector<const char*> steps;
  const char* expected;
};

const Case kCases[] = {
    {"set", {"set work_mem = '1MB'"}, "I set{work_mem=1MB}"},
    {"set twice", {"set a.b = 1", "set A.b = 2"}, "I set{a.b=2}"},
    {"set session", {"set session x.y to on"}, "I set{x.y=on}"},
    {"a failed set changes nothing", {"!set work_mem = 'nonsense'"}, "I"},
    {"old spellings", {"set sort_mem = 100", "reset work_mem"}, "I"},
    {"reset", {"set a.b = 1", "reset a.b"}, "I"},
    {"to default", {"set a.b = 1", "set a.b to default"}, "I"},
    {"reset all", {"set a.b = 1", "set role r", "reset all"}, "I set{role=r} role_changed"},
    {"discard all", {"set a.b = 1", "set role r", "discard all"}, "I role_changed"},
    {"set local outside of a transaction", {"set local a.b = 1"}, "I"},
    {"set local in a text of several", {"set local a.b = 1; select 1"}, "I"},
    {"set local in a block", {"begin", "set local a.b = 1"}, "T set{a.b=1}"},
    {"… until commit", {"begin", "set local a.b = 1", "commit"}, "I"},
    {"… over a session's value", {"set a.b = 0", "begin", "set local a.b = 1"}, "T set{a.b=1} stays{a.b=0}"},
    {"… which comes back", {"set a.b = 0", "begin", "set local a.b = 1", "commit"}, "I set{a.b=0}"},
    {"set after set local", {"begin", "set local a.b = 1", "set a.b = 2", "commit"}, "I set{a.b=2}"},
    {"set local after set", {"begin", "set a.b = 2", "set local a.b = 1", "commit"}, "I set{a.b=2}"},
    {"local default", {"set a.b = 1", "begin", "set local a.b to default"}, "T stays{a.b=1}"},
    {"set of a rolled back block", {"set a.b = 0", "begin", "set a.b = 1", "rollback"}, "I set{a.b=0}"},
    {"set of a failed block", {"begin", "set a.b = 1", "!select 1/0", "commit"}, "I"},
    {"in a failed block", {"begin", "set a.b = 1", "!select 1/0"}, "E set{a.b=1}"},
    {"reset is rolled back", {"set a.b = 0", "begin", "reset a.b", "rollback"}, "I set{a.b=0}"},
    {"rollback to", {"begin", "set a.b = 1", "savepoint s", "set a.b = 2", "rollback to s"}, "T set{a.b=1}"},
    {"… of a failed block", {"begin", "savepoint s", "set a.b = 2", "!select 1/0", "rollback to s"}, "T"},
    {"… twice", {"begin", "savepoint s", "set a.b = 2", "rollback to s", "set a.b = 3", "rollback to s"}, "T"},
    {"release keeps", {"begin", "savepoint s", "set a.b = 2", "release s", "commit"}, "I set{a.b=2}"},
    {"local in a released savepoint", {"begin", "savepoint s", "set local a.b = 2", "release s"}, "T set{a.b=2}"},
    {"same name: the inner one",
     {"begin", "savepoint s", "set a.b = 1", "savepoint s", "set a.b = 2", "rollback to s"},
     "T set{a.b=1}"},
    {"same name: the outer one behind it",
     {"begin", "savepoint s", "set a.b = 1", "savepoint s", "release s", "rollback to s"},
     "T"},
    {"rollback to an outer one",
     {"begin", "savepoint o", "set a.b = 1", "savepoint i", "set a.b = 2", "rollback to o", "commit"},
     "I"},
    {"release takes the inner ones with it",
     {"begin", "savepoint o", "savepoint i", "set a.b = 2", "release o", "rollback"},
     "I"},
    {"all of a text or nothing", {"set a.b = 1; select 1"}, "I set{a.b=1}"},
    {"commit within a text", {"set a.b = 1; commit; set a.b = 2; rollback"}, "I set{a.b=1}"},
    {"begin within a text takes in what came before", {"set a.b = 1; begin; set a.b = 2", "rollback"}, "I"},
    {"set_config", {"select set_config('A.b', '1', false)"}, "I set{a.b=1}"},
    {"set_config local", {"begin", "select set_config('a.b', '1', true)", "commit"}, "I"},
    {"set_config to null", {"set a.b = 1", "select set_config('a.b', null, false)"}, "I"},
    {"unknown set_config", {"select set_config('a.b', current_user, false)"}, "I pins{unparsed_state}"},
    {"one known, one not",
     {"select set_config('a.b', '1', false), set_config('c.d', current_user, false)"},
     "I set{a.b=1} pins{unparsed_state}"},
    {"one within another",
     {"select set_config('a.b', '1', false), upper(set_config('c.d', '1', false))"},
     "I set{a.b=1} pins{unparsed_state}"},
    {"seed is no parameter", {"set seed = 0.5"}, "I"},
    {"transaction parameters are none",
     {"begin", "set transaction_isolation = 'serializable'", "set transaction_read_only = on"},
     "T iso!ser ro"},
    {"session characteristics",
     {"set session characteristics as transaction isolation level repeatable read, read only"},
     "I set{default_transaction_isolation=repeatable read default_transaction_read_only=on}"},
    {"session authorization drops the role",
     {"set role r", "set session authorization joe"},
     "I set{session_authorization=joe} role_changed"},
    {"… and so does its default", {"set role r", "reset session authorization"}, "I role_changed"},
    {"odd time zone",
     {"set time zone interval '-08:00' hour to minute"},
     "I set{timezone=SET TIME ZONE interval '-08:00' hour to minute}"},
    {"odd time zone that cannot be cut out",
     {"set time zone /* x */ interval '-08:00' hour to minute"},
     "I pins{unparsed_state}"},
};

TEST(Parameters, FollowWhatTheServerDoes) {
  for (const Case& c : kCases) {
    VirtualSession session(kKey);
    Script script(session);
    for (const char* step : c.steps) script.step(step);
    EXPECT_EQ(describe(session), c.expected) << c.name;
  }
}

TEST(Parameters, AFailureTakesBackTheWholeText) {
  VirtualSession session(kKey);
  Script script(session);
  script.query("set a.b = 1; set a.c = 2; select 1/0", /*fails_at=*/2);
  EXPECT_EQ(describe(session), "I");
  script.query("set a.b = 1; begin; set a.c = 2; select 1/0", /*fails_at=*/3);
  EXPECT_EQ(describe(session.state().tx), "E multi");
  script.step("rollback");
  EXPECT_EQ(describe(session), "I");
}

// An implicit transaction fails at its end: the error answers Sync, no statement.
TEST(Parameters, ALostImplicitTransactionTakesBackItsSets) {
  VirtualSession session(kKey);
  const std::string text = "set a.b = 1";
  const sql::Facts facts = sql::parse_facts(text, {});
  session.statement_done({facts.first(), text, "SET"});
  EXPECT_EQ(session.parameter_value("a.b"), "1");
  session.transaction_lost(/*stay_failed=*/false);
  session.ready(TxStatus::idle);
  EXPECT_EQ(describe(session), "I");
}

struct StartupCase {
  const char* name;
  std::vector<const char*> steps;
  const char* expected;
};
// Startup: application_name = app, a.b = start.
const StartupCase kStartupCases[] = {
    {"at first", {}, "I set{a.b=start application_name=app}"},
    {"reset goes back to it, the link does not",
     {"set a.b = 1", "reset a.b"},
     "I set{a.b=start application_name=app} link{application_name=app}"},
    {"the next statement finds the link mended",
     {"set a.b = 1", "reset a.b", "select 1"},
     "I set{a.b=start application_name=app}"},
    {"reset all", {"set c.d = 1", "reset all"}, "I set{a.b=start application_name=app} link{}"},
    {"discard all", {"set a.b = 1", "discard all"}, "I set{a.b=start application_name=app} link{}"},
    {"a reset that is rolled back leaves the link whole",
     {"begin; reset a.b; rollback"},
     "I set{a.b=start application_name=app}"},
    {"set after reset in one text", {"reset a.b; set a.b = 2"}, "I set{a.b=2 application_name=app}"},
    {"local reset", {"begin; set local a.b to default; commit"}, "I set{a.b=start application_name=app}"},
};

TEST(Parameters, ResetGoesBackToTheStartupPacket) {
  for (const StartupCase& c : kStartupCases) {
    VirtualSession session(kKey);
    ASSERT_TRUE(session.set_startup_parameters({{"Application_Name", "app"}, {"a.b", "x"}, {"a.b", "start"}}));
    Script script(session);
    for (const char* step : c.steps) script.step(step);
    std::string got = describe(session);
    const ParameterSetPtr link = session.link_parameters();
    if (link->all().empty() && !session.parameters()->all().empty()) got += " link{}";
    EXPECT_EQ(got, c.expected) << c.name;
  }
}

TEST(Parameters, StartupRefusesWhatItCannotKeep) {
  VirtualSession session(kKey);
  EXPECT_FALSE(session.set_startup_parameters({{"", "x"}}));
  std::vector<std::pair<std::string, std::string>> many;
  for (std::size_t i = 0; i <= VirtualSession::kMaxParameters; ++i) many.emplace_back("a.p" + std::to_string(i), "1");
  EXPECT_FALSE(session.set_startup_parameters(many));
  many.pop_back();
  EXPECT_TRUE(session.set_startup_parameters(many));
  Script script(session);
  script.step("set a.one_more = 1");
  EXPECT_EQ(pin_names(session.state().pins), "unparsed_state");
  EXPECT_EQ(session.parameter_value("a.one_more"), "");
}

struct SqlCase {
  const char* statement;
  const char* sql;    // that sets it again
  const char* local;  // the same for one transaction
};
const SqlCase kSqlCases[] = {
    {"set work_mem = '1MB'", "SET \"work_mem\" TO '1MB'", "SET LOCAL \"work_mem\" TO '1MB'"},
    {"set search_path to a, \"B\", 'c''d'", "SET \"search_path\" TO 'a', 'B', 'c''d'",
     "SET LOCAL \"search_path\" TO 'a', 'B', 'c''d'"},
    {"set my.\"Odd\"\"Name\" = 'x'", "SET \"my\".\"odd\"\"name\" TO 'x'", "SET LOCAL \"my\".\"odd\"\"name\" TO 'x'"},
    {"set a.b = 'c\\d'", "SET \"a\".\"b\" TO E'c\\\\d'", "SET LOCAL \"a\".\"b\" TO E'c\\\\d'"},
    {"set role 'R x'", "SET ROLE 'R x'", "SET LOCAL ROLE 'R x'"},
    {"set role none", "SET ROLE NONE", "SET LOCAL ROLE NONE"},
    {"set session authorization joe", "SET SESSION AUTHORIZATION 'joe'", "SET LOCAL SESSION AUTHORIZATION 'joe'"},
    {"set time zone 'UTC'", "SET \"timezone\" TO 'UTC'", "SET LOCAL \"timezone\" TO 'UTC'"},
    {"set time zone -7", "SET \"timezone\" TO '-7'", "SET LOCAL \"timezone\" TO '-7'"},
    {"set time zone interval '5' hour", "SET TIME ZONE interval '5' hour", "SET LOCAL TIME ZONE interval '5' hour"},
    {"set names 'LATIN1'", "SET \"client_encoding\" TO 'LATIN1'", "SET LOCAL \"client_encoding\" TO 'LATIN1'"},
    {"select set_config('search_path', 'a, b', false)", "SELECT pg_catalog.set_config('search_path', 'a, b', false)",
     "SELECT pg_catalog.set_config('search_path', 'a, b', true)"},
    {"select set_config('work_mem', '1MB', false)", "SET \"work_mem\" TO '1MB'", "SET LOCAL \"work_mem\" TO '1MB'"},
    {"set datestyle = iso, dmy", "SET \"datestyle\" TO 'ISO, DMY'", "SET LOCAL \"datestyle\" TO 'ISO, DMY'"},
};

TEST(Parameters, TheSqlThatSetsThemAgain) {
  for (const SqlCase& c : kSqlCases) {
    VirtualSession session(kKey);
    Script script(session);
    script.step(c.statement);
    ASSERT_EQ(session.parameters()->all().size(), 1u) << c.statement;
    EXPECT_EQ(session.parameters()->all()[0].sql, c.sql);
    EXPECT_EQ(as_local(session.parameters()->all()[0]), c.local);
  }
}

TEST(Parameters, ALinkThatJoinsATransactionIsToldWhatWasSetInIt) {
  VirtualSession session(kKey);
  Script script(session);
  EXPECT_TRUE(session.transaction_settings().empty());
  for (const char* step : {"set a.b = 1", "set c.d = 1", "begin", "set local role r", "set local c.d to default",
                           "set local a.b = 2", "set e.f = 3", "set jit = off"})
    script.step(step);
  EXPECT_EQ(
      session.transaction_settings(),
      (std::vector<std::string>{"SET \"e\".\"f\" TO '3'", "SET \"jit\" TO 'off'", "SET LOCAL \"c\".\"d\" TO DEFAULT",
                                "SET LOCAL ROLE 'r'", "SET LOCAL \"a\".\"b\" TO '2'"}));
  EXPECT_EQ(describe(*session.base_parameters()), "a.b=1 c.d=1");
  EXPECT_EQ(describe(*session.session_parameters()), "a.b=1 c.d=1 e.f=3 jit=off");
  script.step("!select 1/0");
  EXPECT_TRUE(session.transaction_settings().empty());
  EXPECT_EQ(describe(*session.base_parameters()), "a.b=1 c.d=1");
  script.step("rollback");
  EXPECT_EQ(session.base_parameters(), session.parameters());
}

// Each by the rights that it was set with.
TEST(Parameters, WhatIsSetLocallyAheadOfARoleIsToldAheadOfIt) {
  VirtualSession session(kKey);
  Script script(session);
  for (const char* step : {"begin", "set local lc_messages = 'C'", "set local role r", "set local a.b = 2"})
    script.step(step);
  EXPECT_EQ(session.transaction_settings(),
            (std::vector<std::string>{"SET LOCAL \"lc_messages\" TO 'C'", "SET LOCAL ROLE 'r'",
                                      "SET LOCAL \"a\".\"b\" TO '2'"}));
}

// issue: SET ROLE came first, and the server refused what only the login may set.
TEST(Parameters, WhatIsSetLocallyAheadOfARoleThatStaysIsToldAheadOfIt) {
  VirtualSession session(kKey);
  Script script(session);
  for (const char* step : {"set a.b = 0", "begin", "set lc_messages = 'B'", "set local lc_messages = 'C'", "set role r",
                           "set local a.b = 2", "set jit = off"})
    script.step(step);
  EXPECT_EQ(session.transaction_settings(),
            (std::vector<std::string>{"SET \"lc_messages\" TO 'B'", "SET LOCAL \"lc_messages\" TO 'C'", "SET ROLE 'r'",
                                      "SET \"jit\" TO 'off'", "SET LOCAL \"a\".\"b\" TO '2'"}));
  script.step("set local role none");
  EXPECT_EQ(session.transaction_settings(),
            (std::vector<std::string>{"SET \"lc_messages\" TO 'B'", "SET LOCAL \"lc_messages\" TO 'C'", "SET ROLE 'r'",
                                      "SET \"jit\" TO 'off'", "SET LOCAL ROLE NONE", "SET LOCAL \"a\".\"b\" TO '2'"}));
}

TEST(Parameters, SavepointsAreKnownByName) {
  VirtualSession session(kKey);
  Script script(session);
  for (const char* step : {"begin", "savepoint s"}) script.step(step);
  EXPECT_TRUE(session.has_savepoint("s"));
  EXPECT_FALSE(session.has_savepoint("t"));
  EXPECT_FALSE(session.has_savepoint(""));
  script.step("commit");
  EXPECT_FALSE(session.has_savepoint("s"));
}

ParameterSet set_of(const std::vector<const char*>& statements) {
  VirtualSession session(kKey);
  Script script(session);
  for (const char* statement : statements) script.step(statement);
  return *session.parameters();
}

struct ReplayCase {
  const char* name;
  std::vector<const char*> link, session;
  std::vector<std::string> acknowledged, ahead;
};
const ReplayCase kReplayCases[] = {
    {"nothing to do", {"set work_mem = 1"}, {"set work_mem = 1"}, {}, {}},
    {"reset, change and set",
     {"set work_mem = 1", "set geqo = off"},
     {"set geqo = on", "set jit = off"},
     {},
     {"SET \"geqo\" TO 'on'", "SET \"jit\" TO 'off'", "RESET \"work_mem\""}},
    {"what has to succeed first",
     {"set row_security = off", "set a.b = 1"},
     {"set search_path = x", "set role r", "set jit = off", "set a.c = 1"},
     {"RESET \"a\".\"b\"", "RESET \"row_security\"", "SET \"search_path\" TO 'x'", "SET ROLE 'r'",
      "SET \"a\".\"c\" TO '1'"},
     {"SET \"jit\" TO 'off'"}},
    {"a role must be set again behind session_authorization",
     {"set session authorization a", "set role r"},
     {"set session authorization b", "set role r"},
     {"SET SESSION AUTHORIZATION 'b'", "SET ROLE 'r'"},
     {}},
    {"identity goes back",
     {"set session authorization a", "set role r", "set jit = off"},
     {},
     {"RESET SESSION AUTHORIZATION", "RESET ROLE", "RESET \"jit\""},
     {}},
    {"what others left goes by the rights of the login",
     {"set lo_compat_privileges = on"},
     {"set session authorization joe"},
     {"RESET \"lo_compat_privileges\"", "SET SESSION AUTHORIZATION 'joe'"},
     {}},
    {"… also on a link that has a role",
     {"set role r", "set lo_compat_privileges = on", "set client_encoding = latin1"},
     {"set session authorization joe", "set role r"},
     {"RESET \"client_encoding\"", "RESET ROLE", "RESET \"lo_compat_privileges\"", "SET SESSION AUTHORIZATION 'joe'",
      "SET ROLE 'r'"},
     {}},
    {"set before the role, and in it",
     {},
     {"set jit = off", "set role r", "set geqo = off"},
     {"SET \"jit\" TO 'off'", "SET ROLE 'r'"},
     {"SET \"geqo\" TO 'off'"}},
    {"encoding comes first",
     {},
     {"set application_name = 'x'", "set client_encoding = latin1"},
     {},
     {"SET \"client_encoding\" TO 'latin1'", "SET \"application_name\" TO 'x'"}},
    {"… also before what is acknowledged",
     {},
     {"set role r", "set client_encoding = latin1"},
     {"SET \"client_encoding\" TO 'latin1'", "SET ROLE 'r'"},
     {}},
};

TEST(Replay, BringsALinkToTheSessionsSet) {
  for (const ReplayCase& c : kReplayCases) {
    const Replay got = replay(set_of(c.link), set_of(c.session));
    EXPECT_EQ(got.acknowledged, c.acknowledged) << c.name;
    EXPECT_EQ(got.ahead, c.ahead) << c.name;
  }
}

TEST(Replay, AStatementOfOtherSettingsIsReadByThemAndTheLinkHasItsOwnAgain) {
  const ParameterSet then = set_of({"set datestyle to german", "set timezone to 'UTC'", "set jit to off"});
  const ParameterSet now = set_of({"set datestyle to iso, mdy", "set intervalstyle to iso_8601"});
  using Texts = std::vector<std::string>;
  const ReadAs alone = read_as(then, now, /*in_transaction=*/false);
  EXPECT_EQ(alone.before,
            (Texts{"SET \"datestyle\" TO 'German, DMY'", "SET \"timezone\" TO 'UTC'", "RESET \"intervalstyle\""}));
  EXPECT_EQ(alone.after,
            (Texts{"SET \"datestyle\" TO 'ISO, MDY'", "RESET \"timezone\"", "SET \"intervalstyle\" TO 'iso_8601'"}));
  const ReadAs within = read_as(then, now, /*in_transaction=*/true);
  EXPECT_EQ(within.before, (Texts{"SET LOCAL \"datestyle\" TO 'German, DMY'", "SET LOCAL \"timezone\" TO 'UTC'",
                                  "SET LOCAL \"intervalstyle\" TO DEFAULT"}));
  EXPECT_EQ(within.after.at(1), "SET LOCAL \"timezone\" TO DEFAULT");
  EXPECT_TRUE(read_as(now, now, false).before.empty());
  EXPECT_TRUE(read_as(set_of({"set jit to off"}), ParameterSet(), false).before.empty());
}

TEST(Replay, DateStyleIsWholeThoughItsWordsChangeHalfOfIt) {
  const auto style = [](const std::vector<const char*>& statements) {
    const Replay got = replay(ParameterSet(), set_of(statements));
    return got.ahead.empty() ? "" : got.ahead.front();
  };
  EXPECT_EQ(style({"set datestyle to iso", "set datestyle to ymd"}), "SET \"datestyle\" TO 'ISO, YMD'");
  EXPECT_EQ(style({"set datestyle to 'SQL, european'", "set DateStyle = postgres"}),
            "SET \"datestyle\" TO 'Postgres, DMY'");
  EXPECT_EQ(style({"set datestyle to iso, mdy", "set datestyle to german"}), "SET \"datestyle\" TO 'German, DMY'");
  EXPECT_EQ(style({"set datestyle to ymd, german"}), "SET \"datestyle\" TO 'German, YMD'");
  // Half of it from the login, whatever the link had before.
  EXPECT_EQ(style({"set datestyle to ymd"}), "SET \"datestyle\" TO 'YMD, DEFAULT'");
  EXPECT_EQ(style({"set datestyle to iso, ymd", "set datestyle to 'default, us'"}),
            "SET \"datestyle\" TO 'MDY, DEFAULT'");
  EXPECT_EQ(style({"select set_config('DateStyle', 'sql', false)", "set datestyle to dmy"}),
            "SET \"datestyle\" TO 'SQL, DMY'");
  EXPECT_EQ(style({"set datestyle to iso, ymd", "reset datestyle", "set datestyle to mdy"}),
            "SET \"datestyle\" TO 'MDY, DEFAULT'");
  EXPECT_EQ(style({"begin", "set datestyle to iso, ymd", "savepoint s", "set datestyle to german", "rollback to s",
                   "set datestyle to dmy", "commit"}),
            "SET \"datestyle\" TO 'ISO, DMY'");
}

// issue: quoting doubled the second octet of a character when that looks like a backslash.
TEST(Parameters, StartupValuesOfUnsafeEncodingsAreSaidInAscii) {
  const auto sql_of = [](const char* encoding, const char* name, const char* value) {
    VirtualSession session(kKey);
    EXPECT_TRUE(session.set_startup_parameters({{name, value}, {"client_encoding", encoding}}));
    return session.parameters()->find(name)->sql;
  };
  EXPECT_EQ(sql_of("SJIS", "a.b", "\x95\x5c"), R"(SET "a"."b" TO E'\x95\\')");
  EXPECT_EQ(sql_of("big5", "search_path", "\xa5\x5c"),
            R"(SELECT pg_catalog.set_config('search_path', E'\xa5\\', false))");
  EXPECT_EQ(sql_of("GBK", "application_name", "\x95\x5c"), R"(SET "application_name" TO E'\\x95\\')");
  EXPECT_EQ(sql_of("SJIS", "a.b", "plain\\"), R"(SET "a"."b" TO E'plain\\')");
  EXPECT_EQ(sql_of("UTF8", "a.b", "\xc3\xa9"), "SET \"a\".\"b\" TO '\xc3\xa9'");
}

TEST(Parameters, AStatementThatOnlySetsNeedsNoOldValuesOfThat) {
  VirtualSession session(kKey);
  Script script(session);
  for (const char* sql : {"set role r", "set work_mem = 1", "set a.b = 2"}) script.step(sql);
  const auto left = [&](const char* sql) {
    const ParameterSetPtr set = session.base_without(sql::parse_facts(sql, {}).statements);
    std::string names;
    for (const Parameter& p : set ? set->all() : std::vector<Parameter>()) names += p.name + " ";
    return set ? names : "as it is";
  };
  EXPECT_EQ(left("reset role"), "a.b work_mem ");
  EXPECT_EQ(left("set role x"), "a.b work_mem ");
  EXPECT_EQ(left("begin; set work_mem = 7"), "a.b role ");
  EXPECT_EQ(left("set session authorization default"), "a.b work_mem ");
  EXPECT_EQ(left("reset all"), "role ");
  EXPECT_EQ(left("discard all"), "");
  EXPECT_EQ(left("set local role x"), "as it is");
  EXPECT_EQ(left("select 1; reset role"), "as it is") << "the role is needed for the first one";
  EXPECT_EQ(left("set jit = off"), "as it is");
}

TEST(ParameterSet, EqualSetsHaveEqualFingerprints) {
  EXPECT_EQ(set_of({"set work_mem = 1", "set jit = off"}).fingerprint(),
            set_of({"set jit = off", "set work_mem = 1"}).fingerprint());
  EXPECT_NE(set_of({"set work_mem = 1"}).fingerprint(), set_of({"set work_mem = 2"}).fingerprint());
  EXPECT_EQ(set_of({"set jit = off", "reset jit"}).fingerprint(), ParameterSet().fingerprint());
}

// issue: what ALTER ROLE … SET gives was taken for READ COMMITTED, and one transaction read two servers' snapshots.
TEST(Parameters, TheLoginsIsolationIsWhatResetGoesBackTo) {
  const auto told = [](std::string_view value) {
    return VirtualSession::must_be_told("default_transaction_isolation", value);
  };
  EXPECT_FALSE(told("read committed"));
  EXPECT_TRUE(told("read uncommitted") && told("repeatable read") && told("serializable") && told("")) << "not known";
  VirtualSession session(kKey);
  Script script(session);
  session.parameter_reported("default_transaction_isolation", "serializable");
  EXPECT_EQ(session.state().default_isolation, sql::Isolation::serializable);
  script.step("set default_transaction_isolation = 'read committed'");
  EXPECT_EQ(session.state().default_isolation, sql::Isolation::read_committed);
  script.step("discard all");
  EXPECT_EQ(session.state().default_isolation, sql::Isolation::serializable);
  session.parameter_reported("default_transaction_isolation", "");
  EXPECT_EQ(session.state().default_isolation, sql::Isolation::repeatable_read) << "not known: the worst case";
}

TEST(Parameters, DerivedFactsFollow) {
  VirtualSession session(kKey);
  Script script(session);
  EXPECT_TRUE(session.standard_conforming_strings());
  session.parameter_reported("standard_conforming_strings", "off");
  EXPECT_FALSE(session.standard_conforming_strings());
  script.step("set standard_conforming_strings = on");
  EXPECT_TRUE(session.standard_conforming_strings());
  EXPECT_TRUE(session.ascii_safe_encoding());
  script.step("set client_encoding = 'Shift_JIS'");
  EXPECT_FALSE(session.ascii_safe_encoding());
  script.step("set client_encoding = 'EUC_JP'");
  EXPECT_TRUE(session.ascii_safe_encoding());
  script.step("set default_transaction_isolation = 'serializable'");
  EXPECT_EQ(session.state().default_isolation, sql::Isolation::serializable);
  script.step("set default_transaction_read_only = y");
  EXPECT_TRUE(session.state().default_read_only);
  script.step("set session authorization joe");
  EXPECT_EQ(session.role_key(), "joe");
  script.step("set role r");
  EXPECT_EQ(session.role_key(), "r");
  script.step("set role none");
  EXPECT_EQ(session.role_key(), "joe");
  const std::string path = session.search_path_key();
  script.step("set search_path = a, b");
  EXPECT_NE(session.search_path_key(), path);
}

// What a function has set, the server says before ReadyForQuery.
TEST(Parameters, WhatIsHeardWithinARequestIsTheSessionsAtItsEnd) {
  VirtualSession session(kKey);
  Script script(session);
  const auto heard = [&](const char* value, TxStatus status = TxStatus::idle) {
    session.parameter_heard("standard_conforming_strings", value);
    session.ready(status);
    return session.standard_conforming_strings();
  };
  const auto own = [&] { return session.parameters()->find("standard_conforming_strings"); };
  EXPECT_TRUE(heard("on"));
  EXPECT_EQ(own(), nullptr) << "as it is anyway";
  EXPECT_FALSE(heard("off"));
  ASSERT_NE(own(), nullptr) << "the next link is told";
  EXPECT_EQ(own()->value, "off");
  session.ready(TxStatus::idle);
  EXPECT_FALSE(session.standard_conforming_strings()) << "nothing was heard";
  EXPECT_TRUE(heard("on"));
  script.step("set standard_conforming_strings = off");
  EXPECT_TRUE(heard("on")) << "a function has the last word";
  script.step("begin");
  EXPECT_FALSE(heard("off", TxStatus::open));
  script.step("rollback");
  EXPECT_TRUE(heard("on"));
  session.parameter_heard("client_encoding", "SJIS");
  EXPECT_TRUE(session.ascii_safe_encoding()) << "not yet";
  session.ready(TxStatus::idle);
  EXPECT_FALSE(session.ascii_safe_encoding());
  session.parameter_heard("client_encoding", "UTF8");
  session.transaction_lost(/*stay_failed=*/false);
  session.ready(TxStatus::idle);
  EXPECT_FALSE(session.ascii_safe_encoding()) << "what was lost was heard for nothing";
}

// issue: what nobody had named, or had named otherwise, was taken for another encoding, and the session pinned for
// good.
TEST(Parameters, AnEncodingHasSeveralNames) {
  struct Case {
    const char *reported, *start, *set;
    bool same;
  };
  constexpr Case kCases[] = {
      {"", "", "UTF8", true},
      {"", "", "unicode", true},
      {"", "", "LATIN1", false},
      {"LATIN1", "", "latin1", true},
      {"LATIN1", "", "UTF8", false},
      {"", "UTF-8", "'Unicode'", true},
      {"", "LATIN1", "'iso-8859-1'", true},
      {"", "windows-1252", "WIN1252", true},
  };
  for (const Case& c : kCases) {
    VirtualSession session(kKey);
    std::vector<std::pair<std::string, std::string>> startup{{"application_name", "caf\xc3\xa9"}};
    if (*c.start != '\0') startup.emplace_back("client_encoding", c.start);
    ASSERT_TRUE(session.set_startup_parameters(startup));
    const bool told = VirtualSession::must_be_told("client_encoding", c.reported);
    if (*c.reported != '\0' && told) session.parameter_reported("client_encoding", c.reported);
    Script script(session);
    script.step(std::string("set client_encoding to ") + c.set);
    EXPECT_EQ(session.state().pins == 0, c.same) << c.start << c.reported << " " << c.set;
  }
}

// The link goes back to what its own login was given, and is told the client's value anew.
TEST(Parameters, AResetGoesBackToWhatTheClientBeganWith) {
  for (const char* text : {"reset all", "discard all", "reset client_encoding"}) {
    VirtualSession session(kKey);
    Script script(session);
    ASSERT_TRUE(session.set_startup_parameters({{"client_encoding", "SJIS"}}));
    script.step(text);
    session.parameter_heard("client_encoding", "UTF8");
    session.ready(TxStatus::idle);
    EXPECT_FALSE(session.ascii_safe_encoding()) << text;
    EXPECT_EQ(session.parameters()->find("client_encoding")->value, "SJIS") << text;
  }
}

TEST(Parameters, APathOfTheLoginMayNameTemporaryTables) {
  for (const char* path : {"pg_temp, public", "", "public"}) {
    VirtualSession session(kKey);
    Script script(session);
    EXPECT_EQ(VirtualSession::must_be_told("search_path", path), std::string_view(path) != "public");
    session.parameter_reported("search_path", path);
    script.step("create table t (v int)");
    const bool pinned = session.state().has(Pin::temporary_table);
    EXPECT_EQ(pinned, std::string_view(path) != "public") << path;
    script.step("discard all");
    script.step("set search_path = public");
    script.step("create table u (v int)");
    EXPECT_EQ(session.state().pins, 0) << path;
  }
}

TEST(StartupOptions, AreReadLikeACommandLine) {
  using Pairs = std::vector<std::pair<std::string, std::string>>;
  EXPECT_EQ(parse_startup_options(""), Pairs{});
  EXPECT_EQ(parse_startup_options(" -c a=b\t--c-d=e  -cwork_mem=1MB"),
            (Pairs{{"a", "b"}, {"c_d", "e"}, {"work_mem", "1MB"}}));
  EXPECT_EQ(parse_startup_options("-c a=x\\ y\\\\z"), (Pairs{{"a", "x y\\z"}}));
  EXPECT_EQ(parse_startup_options("-c a="), (Pairs{{"a", ""}}));
  EXPECT_EQ(parse_startup_options("-c a=b=c"), (Pairs{{"a", "b=c"}}));
  for (const char* refused : {"-c", "-c a", "--a", "-c =b", "--=b", "-d 5", "a=b", "-", "--"})
    EXPECT_EQ(parse_startup_options(refused), std::nullopt) << refused;
  std::string many;
  for (std::size_t i = 0; i <= VirtualSession::kMaxParameters; ++i) many += "-ca=b ";
  EXPECT_EQ(parse_startup_options(many), std::nullopt);
}

TEST(SetSql, ReadsBooleansAsPostgresDoes) {
  for (const char* text : {"on", "ON", "t", "TRUE", "tr", "y", "yes", "1"}) EXPECT_EQ(parse_bool(text), true) << text;
  for (const char* text : {"off", "of", "f", "False", "n", "no", "0"}) EXPECT_EQ(parse_bool(text), false) << text;
  for (const char* text : {"", "o", "truest", "2", "offf"}) EXPECT_EQ(parse_bool(text), std::nullopt) << text;
}

}  // namespace
}  // namespace herdgate::vsession
