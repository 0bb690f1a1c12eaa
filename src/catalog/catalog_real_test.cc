// The catalog's SELECT asked of a real server. Needs HERDGATE_TEST_PSQL, a psql command line for a superuser in an
// empty database, as tests/integration/test_catalog.py gives it; without it these tests are skipped.
#include <gtest/gtest.h>

#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "catalog/catalog.h"

namespace herdgate::catalog {
namespace {

constexpr char kColumn = '\x1f', kRow = '\x1e';

// One session: a script of statements, then the catalog's query; its rows are what psql prints.
std::vector<std::vector<std::string>> ask(const std::string& before, const std::string& query, int& exit_code) {
  const auto script = std::filesystem::temp_directory_path() / ("catalog_" + std::to_string(::getpid()) + ".sql");
  std::ofstream(script) << before << "\n\\o\n" << query << ";\n";
  std::filesystem::permissions(script, std::filesystem::perms::all);
  const std::string command = std::string(std::getenv("HERDGATE_TEST_PSQL")) + " -XqAt -v ON_ERROR_STOP=1 -F '" +
                              kColumn + "' -R '" + kRow + "' -f " + script.string();
  std::string out;
  FILE* pipe = ::popen(command.c_str(), "r");
  for (int c = std::fgetc(pipe); c != EOF; c = std::fgetc(pipe)) out.push_back(static_cast<char>(c));
  exit_code = ::pclose(pipe);
  std::filesystem::remove(script);
  while (!out.empty() && out.back() == '\n') out.pop_back();
  std::vector<std::vector<std::string>> rows;
  for (std::size_t at = 0; at < out.size();) {
    const std::string line = out.substr(at, out.find(kRow, at) - at);
    at += line.size() + 1;
    auto& row = rows.emplace_back(1);
    for (char c : line)
      if (c == kColumn)
        row.emplace_back();
      else
        row.back().push_back(c);
  }
  return rows;
}

const std::string kPath = "set search_path = ct;";

struct Names {
  std::vector<sql::Relation> relations;
  std::vector<sql::Function> functions;
  bool calls = false;
};

class CatalogReal : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    if (!std::getenv("HERDGATE_TEST_PSQL")) return;
    int code = 0;
    ask(kSchema, "SELECT 1", code);
    ASSERT_EQ(code, 0);
  }
  void SetUp() override {
    if (!std::getenv("HERDGATE_TEST_PSQL")) GTEST_SKIP() << "HERDGATE_TEST_PSQL is not set";
  }
  sql::Answers answers(const Names& names, const std::string& before = "") {
    SystemClock clock;
    Epochs epochs;
    Catalog catalog(clock, epochs, {});
    const Viewpoint who{"d", "r", "p"};
    const Found found = catalog.lookup(who, {names.relations, names.functions, names.calls});
    int code = 0;
    const auto rows = ask("\\o /dev/null\n" + before, query_for(found.open), code);
    EXPECT_EQ(code, 0);
    const auto learned = catalog.learn(who, found, rows);
    EXPECT_TRUE(learned) << (learned ? "" : learned.error().text());
    return learned.value_or(sql::Answers{});
  }
  sql::RelationAnswer relation(const std::string& name, const std::string& before = "") {
    return answers({{{"", name}}, {}}, before).relations.at(0);
  }
  // The functions that a view calls, in the order of their names, volatile ones with a mark.
  std::string calls(const std::string& view) {
    const sql::RelationAnswer a = answers({{{"", view}}, {}, true}, kPath).relations.at(0);
    if (!a.calls) return "not known";
    std::vector<std::string> names;
    for (const auto& c : *a.calls) names.push_back(c.schema + "." + c.name + (c.is_volatile ? "!" : ""));
    std::sort(names.begin(), names.end());
    std::string out;
    for (const std::string& name : names) out.append(out.empty() ? "" : " ").append(name);
    return out;
  }
  sql::FunctionAnswer function(const std::string& schema, const std::string& name) {
    return answers({{}, {{schema, name}}}).functions.at(0);
  }

 private:
  static constexpr const char* kSchema = R"sql(
set client_min_messages = error;
drop schema if exists ct, secret, "sch'ema\" cascade;
create schema ct;
set search_path = ct;
create table plain (a int);
create unlogged table volatile_data (a int);
create table guarded (a int);
alter table guarded enable row level security;
create table parted (a int) partition by range (a);
create table part1 partition of parted for values from (0) to (10);
create unlogged table part2 partition of parted for values from (10) to (20);
create table parent (a int);
create table child () inherits (parent);
create sequence seq;
create view v1 as select * from plain where a > (select count(*) from guarded);
create view v2 as select v1.a from v1 union all select a from volatile_data;
create view v_parted as select * from parted;
create view v_system as select relname from pg_class;
create view v_stat as select pid from pg_stat_activity;
create view v_random as select random() as r;
create view v_sequence as select nextval('seq') as n;
create view v_now as select now() as t, lower('X') as l;
create view v_over_random as select r from v_random;
create view v_constant as select 1 as one;
create materialized view m1 as select * from plain;
create view v_m1 as select * from m1;
create view v_schema as select table_name from information_schema.tables;
create function pure(int) returns int language sql immutable as 'select $1';
create function steady(int) returns int language sql stable as 'select $1';
create function wild(int) returns int language sql volatile as 'select $1';
create function wild_step(int, int) returns int language sql volatile strict as 'select $1';
create function creating_step(int, int) returns int language plpgsql as 'begin create temp table x(); return 1; end';
create function sets_something() returns int language plpgsql stable as
  'begin perform set_config(''work_mem'', ''1MB'', false); return 1; end';
create function mixed(int) returns int language sql immutable as 'select $1';
create function mixed(text) returns text language sql volatile as 'select $1';
create function moment() returns timestamptz language sql immutable as $$select '2020-01-01'::timestamptz$$;
create function clock_face() returns timetz language sql immutable as $$select '10:00+0'::timetz$$;
create view v_wild as select wild(1);
create materialized view m_wild as select wild(a) as x from plain;
create view v_over_m_wild as select x from m_wild;
create view v_wild_operator as select a from plain where wild(a) = 1;
create aggregate own_sum (int) (sfunc = int4pl, stype = int);
create aggregate wild_sum (int) (sfunc = int4pl, stype = int, msfunc = int4pl, minvfunc = wild_step, mstype = int);
create aggregate creating_sum (int) (sfunc = creating_step, stype = int);
create function wild_default(int, int default ct.wild(1)) returns int language sql immutable as 'select $1';
create function setting_default(int default ct.sets_something()) returns int language sql immutable as 'select $1';
create view v_own_sum as select own_sum(a) from plain;
create view v_wild_sum as select wild_sum(a) from plain;
create view v_creating_sum as select creating_sum(a) from plain;
create view v_wild_default as select wild_default(1);
create view v_text as select query_to_xml('select 1', true, true, '');
create view v_of_view as select table_to_xml('ct.v_wild', true, true, '');
create function grants() returns int language plpgsql as 'begin grant pg_monitor to pg_monitor; return 1; end';
create function writes_catalog() returns int language plpgsql as
  'begin update only pg_catalog.pg_enum set enumlabel = ''a'' where false; return 1; end';
create function reads_catalog() returns int language plpgsql as
  'begin delete from plain where a in (select 1 from pg_class); return 1; end';
create view v_wild_aggregate as select sum(wild(a)) over () from plain;
create table owner (a int primary key);
create table pet (a int primary key references owner on delete cascade) partition by range (a);
create table pet1 partition of pet for values from (0) to (10);
create table toy (a int references pet on update set null);
create table food (a int references owner);
create table watched (a int);
create function watch() returns trigger language plpgsql as 'begin return new; end';
create trigger w after insert on watched for each row execute function watch();
create function keep() returns trigger language plpgsql as
  'begin update plain as p set a = 1; insert into owner values (1) on conflict do nothing;
   update only ct.plain set a = 2; set work_mem = ''1MB''; return new; end';
create function count_up() returns trigger language plpgsql as
  'declare offset_set int; begin update plain set a = a + 1; insert into owner values (1) on conflict (a) do update
   set a = 2; perform set_up(); return new; end';
create function lock_it() returns trigger language plpgsql as 'begin perform pg_try_advisory_lock(1); return new; end';
create function lock_for_now() returns trigger language plpgsql as
  'begin perform pg_advisory_xact_lock(1); return new; end';
create table keeps (a int primary key);
create trigger k before insert on keeps for each row execute function keep();
create table below_keeps (a int references keeps on delete cascade);
create table counts (a int);
create trigger c after insert on counts for each row execute function count_up();
create trigger l after insert on counts for each row execute function lock_for_now();
create table locks (a int);
create trigger l after insert on locks for each row execute function lock_it();
create function heed() returns trigger language plpgsql as
  'begin /* for update */ -- after an update
   SET ROLE pg_monitor; return new; end';
create function loop_it() returns trigger language plpgsql as
  'declare r record; begin for r in select * from plain for update loop set work_mem = 100; end loop; return new; end';
create function say_it() returns trigger language plpgsql as
  'begin -- set work_mem, temp, listen
   update plain set a = 1; /* execute
   call */ return new; end';
create table heeds (a int);
create trigger h after insert on heeds for each row execute function heed();
create table loops (a int);
create trigger l after insert on loops for each row execute function loop_it();
create table says (a int);
create trigger s after insert on says for each row execute function say_it();
create table set_by_rule (a int);
create rule r as on insert to set_by_rule do also select set_config('work_mem', '1MB', false);
create function "Odd helper"() returns int language plpgsql as $$begin perform set_config('a.b', '1', false); return 1; end$$;
create function helper() returns int language sql as 'select ct."Odd helper"()';
create function calls_it() returns trigger language plpgsql as $$begin perform ct.Helper (); return new; end$$;
create function names_it() returns trigger language plpgsql as $$begin perform 'my_helper()'; return new; end$$;
create function sets_by_view() returns trigger language plpgsql as
  $$begin update pg_settings set setting = '1MB' where name = 'work_mem'; return new; end$$;
create table helped (a int);
create trigger h before insert on helped for each row execute function calls_it();
create table names_helper (a int);
create trigger h before insert on names_helper for each row execute function names_it();
create table by_view (a int);
create trigger h before insert on by_view for each row execute function sets_by_view();
create table rule_by_view (a int);
create rule r as on insert to rule_by_view do also update pg_settings set setting = '1MB' where name = 'work_mem';
create table rule_to_plain (a int);
create rule r as on insert to rule_to_plain do also insert into plain values (new.a);
create table rule_to_helped (a int);
create rule r as on insert to rule_to_helped do also insert into helped values (new.a);
create table above_locks (a int primary key);
alter table locks add foreign key (a) references above_locks on delete cascade;
create table searched (a text, b tsvector);
create trigger s before insert on searched for each row execute function tsvector_update_trigger(b, 'pg_catalog.simple', a);
create table ruled (a int);
create rule r as on insert to ruled do also select 1;
create view v_pet as select * from pet;
create table "Odd ""Name"" with 'quotes' \ and Ünïcode 表" (a int);
create table "select" (a int);
create table abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyzabcdefghijkl (a int);
create schema "sch'ema\";
create table "sch'ema\".t (a int);
create schema secret;
create table secret.hidden (a int);
grant usage on schema ct to pg_monitor;
)sql";
};

TEST_F(CatalogReal, KindsOfRelations) {
  EXPECT_TRUE(relation("plain", kPath).exists);
  EXPECT_FALSE(relation("plain").exists) << "it is not in the default search_path";
  EXPECT_FALSE(relation("missing", kPath).exists);
  EXPECT_TRUE(relation("volatile_data", kPath).unlogged);
  EXPECT_TRUE(relation("guarded", kPath).row_security);
  EXPECT_TRUE(relation("seq", kPath).exists);
  const auto plain = relation("plain", kPath);
  EXPECT_FALSE(plain.system_catalog || plain.temporary || plain.unlogged || plain.view || plain.row_security ||
               plain.below_temporary || plain.below_unlogged || plain.below_system || plain.below_writing_function);
  EXPECT_TRUE(plain.below.empty());
  EXPECT_TRUE(relation("pg_class", kPath).system_catalog);
  const auto view = relation("pg_stat_activity", kPath);
  EXPECT_TRUE(view.system_catalog && view.view);
  EXPECT_FALSE(view.below_writing_function) << "system views are not opened";
}

// Above jit_above_cost the server compiles the query, which takes seconds.
TEST_F(CatalogReal, IsExpectedToCostLittle) {
  sql::Questions questions;
  for (int i = 0; i < 20; ++i) questions.relations.push_back({"", "t" + std::to_string(i)});
  questions.functions.push_back({"", "now"});
  questions.calls = true;
  int code = 0;
  const auto plan = ask("", "EXPLAIN " + query_for(questions), code);
  ASSERT_EQ(code, 0);
  const std::string first = plan.at(0).at(0);  // Append  (cost=440.35..936.79 rows=…
  const std::size_t at = first.find("..");
  ASSERT_NE(at, std::string::npos) << first;
  EXPECT_LT(std::stod(first.substr(at + 2)), 10'000) << first;
}

TEST_F(CatalogReal, PartitionsAndChildrenAreLookedInto) {
  const auto parted = relation("parted", kPath);
  EXPECT_TRUE(parted.exists && parted.below_unlogged);
  EXPECT_FALSE(parted.unlogged || parted.view);
  EXPECT_TRUE(parted.below.empty()) << "only views have names below";
  EXPECT_FALSE(relation("part1", kPath).below_unlogged);
  EXPECT_FALSE(relation("parent", kPath).below_unlogged);
  EXPECT_TRUE(relation("parent", kPath + "create temp table tc () inherits (ct.parent);").below_temporary);
}

TEST_F(CatalogReal, ViewsOnViews) {
  const auto v1 = relation("v1", kPath);
  EXPECT_TRUE(v1.view && v1.row_security);
  EXPECT_FALSE(v1.below_unlogged || v1.below_writing_function || v1.below_system);
  EXPECT_EQ(v1.below, (std::vector<sql::Relation>{{"ct", "guarded"}, {"ct", "plain"}}));
  const auto v2 = relation("v2", kPath);
  EXPECT_TRUE(v2.below_unlogged && v2.row_security);
  EXPECT_EQ(v2.below, (std::vector<sql::Relation>{{"ct", "guarded"}, {"ct", "plain"}, {"ct", "volatile_data"}}));
  EXPECT_TRUE(relation("v_parted", kPath).below_unlogged);
  EXPECT_EQ(relation("v_parted", kPath).below, (std::vector<sql::Relation>{{"ct", "parted"}}));
  EXPECT_TRUE(relation("m1", kPath).view);
  EXPECT_EQ(relation("v_m1", kPath).below, (std::vector<sql::Relation>{{"ct", "m1"}, {"ct", "plain"}}));
  EXPECT_TRUE(relation("v_constant", kPath).view);
  EXPECT_TRUE(relation("v_constant", kPath).below.empty());
}

TEST_F(CatalogReal, ViewsOnBuiltInThingsThatHaveNoDependencyRows) {
  EXPECT_TRUE(relation("v_system", kPath).below_system);
  EXPECT_TRUE(relation("v_stat", kPath).below_system);
  EXPECT_TRUE(relation("v_schema", kPath).below_system);
  EXPECT_TRUE(relation("v_random", kPath).below_writing_function);
  EXPECT_TRUE(relation("v_over_random", kPath).below_writing_function);
  EXPECT_TRUE(relation("v_sequence", kPath).below_writing_function);
  EXPECT_FALSE(relation("v_now", kPath).below_writing_function);
  EXPECT_TRUE(relation("v_wild", kPath).below_writing_function);
  EXPECT_TRUE(relation("v_wild_operator", kPath).below_writing_function);
  EXPECT_TRUE(relation("v_wild_aggregate", kPath).below_writing_function);
}

TEST_F(CatalogReal, TemporaryTablesShadowOthers) {
  const std::string temp = kPath + "create temp table plain (a int); create temp view tv as select * from plain;";
  EXPECT_TRUE(relation("plain", temp).temporary);
  EXPECT_TRUE(relation("tv", temp).below_temporary);
  EXPECT_TRUE(answers({{{"pg_temp", "plain"}}, {}}, temp).relations.at(0).temporary);
  EXPECT_FALSE(answers({{{"ct", "plain"}}, {}}, temp).relations.at(0).temporary);
  EXPECT_FALSE(answers({{{"pg_temp", "plain"}}, {}}, kPath).relations.at(0).exists);
}

TEST_F(CatalogReal, OddNames) {
  EXPECT_TRUE(relation("Odd \"Name\" with 'quotes' \\ and Ünïcode 表", kPath).exists);
  EXPECT_TRUE(relation("select", kPath).exists);
  EXPECT_TRUE(answers({{{"sch'ema\\", "t"}}, {}}).relations.at(0).exists);
  EXPECT_FALSE(relation("", kPath).exists);
  // 64 octets were written, the server keeps 63; so it does with what is asked.
  EXPECT_TRUE(relation("abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyzabcdefghijkl", kPath).exists);
  EXPECT_TRUE(relation("abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyzabcdefghijklZZZ", kPath).exists);
  EXPECT_FALSE(relation("abcdefghijklmnopqrstuvwxyz", kPath).exists);
  const std::string hostile = "x'::pg_catalog.name)) , (1, NULL, NULL); drop table plain; --";
  EXPECT_FALSE(relation(hostile, kPath).exists);
  EXPECT_FALSE(relation("x\\'; drop table plain; --", kPath + "set standard_conforming_strings = off;").exists);
  EXPECT_TRUE(relation("plain", kPath).exists);
  const std::string old = kPath + "set standard_conforming_strings = off; set backslash_quote = off;";
  EXPECT_TRUE(relation("Odd \"Name\" with 'quotes' \\ and Ünïcode 表", old).exists);
}

TEST_F(CatalogReal, LackOfRightsIsNoError) {
  const std::string nobody = "set role pg_monitor;";
  EXPECT_TRUE(answers({{{"secret", "hidden"}}, {}}, nobody).relations.at(0).exists);
  EXPECT_FALSE(relation("hidden", nobody + "set search_path = secret, ct;").exists) << "not visible without USAGE";
  EXPECT_TRUE(relation("v2", nobody + "set search_path = secret, ct;").below_unlogged);
  EXPECT_FALSE(answers({{{"no_such_schema", "t"}}, {}}, nobody).relations.at(0).exists);
}

TEST_F(CatalogReal, Functions) {
  EXPECT_FALSE(function("", "no_such_function").exists);
  EXPECT_TRUE(function("", "nextval").is_volatile);
  EXPECT_FALSE(function("", "nextval").user_defined);
  EXPECT_TRUE(function("", "now").stable);
  EXPECT_TRUE(function("", "now").returns_time_zone_type);
  const auto lower = function("", "lower");
  EXPECT_TRUE(lower.exists);
  EXPECT_FALSE(lower.is_volatile || lower.stable || lower.user_defined || lower.returns_time_zone_type);
  EXPECT_TRUE(function("", "pure").user_defined);
  EXPECT_FALSE(function("", "pure").is_volatile || function("", "pure").stable);
  EXPECT_TRUE(function("ct", "steady").stable);
  EXPECT_TRUE(function("ct", "wild").is_volatile);
  EXPECT_TRUE(function("", "mixed").is_volatile) << "one overload is enough";
  EXPECT_FALSE(function("", "mixed").stable);
  EXPECT_TRUE(function("", "moment").returns_time_zone_type);
  EXPECT_TRUE(function("", "clock_face").returns_time_zone_type);
  EXPECT_FALSE(function("pg_catalog", "wild").exists);
  EXPECT_TRUE(function("pg_catalog", "nextval").is_volatile);
}

TEST_F(CatalogReal, FunctionsOfTheSession) {
  const Names f{{}, {{"pg_temp", "own"}}};
  EXPECT_FALSE(answers(f).functions.at(0).exists);
  const auto own = answers(f, "create function pg_temp.own() returns int language sql as 'select 1';").functions.at(0);
  EXPECT_TRUE(own.exists && own.is_volatile && own.user_defined);
}

TEST_F(CatalogReal, WhatFunctionsRunBesideTheirBodies) {
  const auto plain = function("ct", "own_sum"), wild = function("ct", "wild_sum"),
             creating = function("", "creating_sum");
  EXPECT_FALSE(plain.is_volatile || plain.may_define || plain.sets);
  EXPECT_TRUE(wild.is_volatile && !wild.may_define) << "its minvfunc";
  EXPECT_TRUE(creating.is_volatile && creating.may_define);
  EXPECT_TRUE(function("ct", "wild_default").is_volatile);
  const auto setting = function("ct", "setting_default");
  EXPECT_TRUE(setting.stable && setting.sets);
  EXPECT_FALSE(relation("v_own_sum", kPath).below_writing_function);
  for (const char* view : {"v_wild_sum", "v_wild_default", "v_creating_sum", "v_text", "v_of_view"})
    EXPECT_TRUE(relation(view, kPath).below_writing_function) << view;
  for (const char* view : {"v_creating_sum", "v_text", "v_of_view"})
    EXPECT_TRUE(relation(view, kPath).may_define) << view;
  EXPECT_FALSE(relation("v_wild_sum", kPath).may_define);
}

TEST_F(CatalogReal, WhatViewsCall) {
  EXPECT_FALSE(relation("v_wild", kPath).calls) << "not asked for";
  EXPECT_EQ(calls("plain"), "not known") << "only views call";
  EXPECT_EQ(calls("v_constant"), "");
  EXPECT_EQ(calls("v_wild"), "ct.wild!");
  EXPECT_EQ(calls("v_now"), "") << "none of these can write";
  EXPECT_EQ(calls("v_over_random"), "pg_catalog.random!");
  EXPECT_EQ(calls("v_own_sum"), "ct.own_sum");
  EXPECT_EQ(calls("v_wild_sum"), "ct.wild_sum ct.wild_sum!");
  EXPECT_EQ(calls("v_wild_default"), "ct.wild_default ct.wild_default!");
  EXPECT_EQ(calls("v_wild_aggregate"), "ct.wild!");
  EXPECT_EQ(calls("m_wild"), "ct.wild!");
  EXPECT_EQ(calls("v_over_m_wild"), "") << "the rows of a materialized view are its own";
}

TEST_F(CatalogReal, WhatFunctionsMayDefine) {
  EXPECT_TRUE(function("ct", "grants").may_define);
  EXPECT_TRUE(function("ct", "writes_catalog").may_define);
  EXPECT_FALSE(function("ct", "reads_catalog").may_define);
}

TEST_F(CatalogReal, WhatReadsAndWritesReach) {
  const auto owner = relation("owner", kPath), pet = relation("pet", kPath), view = relation("v_pet", kPath);
  EXPECT_EQ(owner.reads.size(), 1u);
  EXPECT_EQ(owner.cascades.size(), 3u) << "pet, its partition, and what refers to pet; not food, which only restricts";
  EXPECT_EQ(pet.reads.size(), 2u);
  EXPECT_EQ(pet.cascades.size(), 1u);
  EXPECT_EQ(view.reads.size(), 3u);
  EXPECT_EQ(relation("toy", kPath).cascades.size(), 0u);
  EXPECT_EQ(relation("food", kPath).cascades.size(), 0u);
  EXPECT_FALSE(owner.side_effects || pet.side_effects || owner.other_kind);
  EXPECT_TRUE(relation("watched", kPath).side_effects);
  EXPECT_FALSE(relation("searched", kPath).side_effects) << "PostgreSQL's own trigger functions change nothing else";
  EXPECT_TRUE(relation("ruled", kPath).side_effects);
  EXPECT_TRUE(relation("keeps", kPath).leaves_state) << "SET beside UPDATE … SET";
  EXPECT_FALSE(relation("below_keeps", kPath).leaves_state || relation("watched", kPath).leaves_state);
  EXPECT_FALSE(relation("counts", kPath).leaves_state) << "the SET of UPDATE, words with set in them, locks that end";
  EXPECT_TRUE(relation("locks", kPath).leaves_state && relation("above_locks", kPath).leaves_state);
  EXPECT_TRUE(relation("heeds", kPath).leaves_state) << "an update in comments ahead of it";
  EXPECT_TRUE(relation("loops", kPath).leaves_state) << "FOR UPDATE ahead of it";
  EXPECT_FALSE(relation("says", kPath).leaves_state) << "in comments only";
  EXPECT_TRUE(relation("set_by_rule", kPath).leaves_state);
  EXPECT_TRUE(relation("helped", kPath).leaves_state) << "what its function calls calls one that sets";
  EXPECT_FALSE(relation("names_helper", kPath).leaves_state) << "no word of its own";
  EXPECT_TRUE(relation("by_view", kPath).leaves_state && relation("rule_by_view", kPath).leaves_state);
  EXPECT_FALSE(relation("rule_to_plain", kPath).leaves_state);
  EXPECT_TRUE(relation("rule_to_helped", kPath).leaves_state) << "that table's trigger";
  EXPECT_FALSE(relation("ruled", kPath).leaves_state);
  EXPECT_TRUE(relation("seq", kPath).other_kind);
  EXPECT_FALSE(relation("m1", kPath).other_kind || view.other_kind);
}

TEST_F(CatalogReal, ManyNamesAtOnceKeepTheirPlaces) {
  const auto a = answers({{{"", "plain"}, {"", "nothing"}, {"", "v_random"}, {"ct", "volatile_data"}},
                          {{"", "now"}, {"", "nothing"}, {"", "wild"}}},
                         kPath);
  EXPECT_TRUE(a.relations[0].exists && !a.relations[0].view);
  EXPECT_FALSE(a.relations[1].exists);
  EXPECT_TRUE(a.relations[2].below_writing_function);
  EXPECT_TRUE(a.relations[3].unlogged);
  EXPECT_TRUE(a.functions[0].stable);
  EXPECT_FALSE(a.functions[1].exists);
  EXPECT_TRUE(a.functions[2].is_volatile);
}

// Operators, functions and types of the caller's own, first in the search_path, that raise an error when used.
TEST_F(CatalogReal, AHostileSearchPathCannotStepIn) {
  const std::string hostile = R"sql(
set client_min_messages = error;
drop schema if exists evil cascade;
create schema evil;
create function evil.boom(name, name) returns boolean language plpgsql as $$begin raise 'used'; end$$;
create function evil.boom(oid, oid) returns boolean language plpgsql as $$begin raise 'used'; end$$;
create function evil.boom(text, text) returns text language plpgsql as $$begin raise 'used'; end$$;
create operator evil.= (leftarg = name, rightarg = name, function = evil.boom);
create operator evil.= (leftarg = oid, rightarg = oid, function = evil.boom);
create operator evil.|| (leftarg = text, rightarg = text, function = evil.boom);
create function evil.to_regclass(text) returns regclass language plpgsql as $$begin raise 'used'; end$$;
create function evil.quote_ident(text) returns text language plpgsql as $$begin raise 'used'; end$$;
create domain evil.name as int;
create domain evil.text as int;
create domain evil.oid as date;
create table evil.pg_class (x int);
create table evil.pg_namespace (x int);
create table evil.asked (x int);
set search_path = evil, pg_catalog, ct;
)sql";
  EXPECT_TRUE(relation("v_random", hostile).below_writing_function);
  EXPECT_FALSE(relation("pg_class", hostile).system_catalog) << "the caller's own one comes first";
  EXPECT_TRUE(answers({{}, {{"", "nextval"}}}, hostile).functions.at(0).is_volatile);
}

}  // namespace
}  // namespace herdgate::catalog
