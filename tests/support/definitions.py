"""What changes the answer of a read without being plain DML: one row a kind, for test_cache_definitions.py.

Kind   name, reads (their names without schema), make(rnd) -> statements; what they do to other kinds' tables does not
       matter, what fails neither: the servers are asked all the same.
Way    how a list of statements is run: (call, text) pairs for a Side, or ("peek", None) between them.
"""
import collections

Kind = collections.namedtuple("Kind", "name reads make ways everywhere logins", defaults=(None, False, False))
Way = collections.namedtuple("Way", "name make")
FORCE = "/*FORCE QUERY CACHE*/ "


def quoted(statements):
    return "; ".join(statements).replace("'", "''")


def executed(statements):
    """The body of a block that runs them."""
    return "begin " + " ".join(f"execute '{s.replace(chr(39), chr(39) * 2)}';" for s in statements) + " end"


def each(*texts):
    return [("simple", t) for t in texts]


def transaction(statements):
    out = each("begin")
    for s in statements:
        out += each(s) + [("peek", None)]
    return out + each("commit")


def rolled_back(statements):
    return transaction(statements)[:-1] + each("rollback")


def with_savepoint(statements):
    return (each("begin", "savepoint s", *statements) + [("peek", None)] +
            each("rollback to s", *statements[:1], "release s", "commit"))


WAYS = [
    Way("each", lambda s: each(*s)),
    Way("transaction", transaction),
    Way("rolled back", rolled_back),
    Way("savepoint", with_savepoint),
    Way("text", lambda s: each("; ".join(s))),
    Way("text with begin", lambda s: each("begin; " + "; ".join(s) + "; commit")),
    Way("unit", lambda s: [("unit", s)]),
    Way("unit with begin", lambda s: [("unit", ["begin", *s, "commit"])]),
    Way("do", lambda s: each(f"do $do${executed(s)}$do$")),
    Way("do in transaction", lambda s: each("begin", f"do $do${executed(s)}$do$") + [("peek", None)] + each("commit")),
    Way("function", lambda s: each(f"select dd.run('{quoted(s)}')")),
    Way("function in unit", lambda s: [("unit", [f"select dd.run('{quoted(s)}')"])]),
    Way("procedure", lambda s: each(f"call dd.run_all('{quoted(s)}')")),
    Way("trigger", lambda s: each(f"insert into dd.by_trigger values ('{quoted(s)}')")),
    Way("view", lambda s: each(f"update dd.todo set what = '{quoted(s)}'", "select * from dd.by_view")),
    Way("prepared", lambda s: each(f"prepare p as select dd.run('{quoted(s)}')", "execute p", "deallocate p")),
    Way("explain", lambda s: each(f"explain analyze select dd.run('{quoted(s)}')")),
    Way("into", lambda s: each(f"create temp table x as select dd.run('{quoted(s)}') as r", "drop table x")),
    Way("cursor", lambda s: each("begin", f"declare c cursor for select dd.run('{quoted(s)}')", "fetch c", "commit")),
    Way("copy", lambda s: each(f"copy (select dd.run('{quoted(s)}')) to program 'cat > /dev/null'")),
    Way("two-phase", lambda s: each("begin", *s, "prepare transaction 'dd'") + [("peek", None)] +
        each("commit prepared 'dd'")),
    Way("two-phase rolled back", lambda s: each("begin", *s, "prepare transaction 'dd'", "rollback prepared 'dd'")),
]
# Where the statement itself is seen. What a DO block or a function gives roles is not noticed: links of before are lent.
SEEN = ("each", "transaction", "rolled back", "savepoint", "text", "text with begin", "unit", "unit with begin")

CLEAN = ["rollback prepared 'dd'", "drop event trigger if exists dd_audit", "drop schema if exists dd cascade",
         "drop schema if exists d1 cascade", "drop schema if exists d3 cascade", "drop schema if exists dd_alice cascade",
         "drop cast if exists (text as point)", "alter database test reset all",
         "drop owned by dd_alice, dd_group", "drop role if exists dd_alice", "drop role if exists dd_group"]
SETUP = ["create role dd_group", "create role dd_alice login in role dd_group", "create schema dd", "create schema d1", """
    grant usage on schema dd, d1 to public;
    create function dd.run(what text) returns int language plpgsql as $$begin execute what; return 1; end$$;
    create procedure dd.run_all(what text) language plpgsql as $$begin execute what; end$$;
    create table dd.by_trigger (what text);
    create function dd.on_insert() returns trigger language plpgsql as $$begin execute new.what; return new; end$$;
    create trigger run after insert on dd.by_trigger for each row execute function dd.on_insert();
    create table dd.todo (what text); insert into dd.todo values ('select 1');
    create view dd.by_view as select dd.run(what) from dd.todo;
    create table dd.t (id int primary key, v int); insert into dd.t values (1, 10), (2, 20);
    create table dd.u (id int, v int); insert into dd.u values (1, 100), (2, 200);
    create view dd.w as select id, v from dd.t; create view dd.ww as select sum(v) as s from dd.w;
    create function dd.fi(int) returns int immutable language sql as 'select $1 + 1';
    create function dd.fp(int) returns int immutable language plpgsql as 'begin return $1 + 1; end';
    create function dd.fs(int) returns int stable language sql as 'select $1 + 1';
    create view dd.wf as select id, dd.fi(v) as a, dd.fp(v) as b from dd.t;
    create view dd.ws as select id, dd.fs(v) as a from dd.t;
    create table dd.made as select 1 as a; create table dd.cols as select 1 as a, 2 as b; create table dd.cols2 as select 3 as a, 4 as b;
    create table dd.moving as select 7 as v; create table dd.typed as select 7::int as v; alter table dd.typed alter v set default 1;
    create table dd.parted (k int, v int) partition by list (k); create table dd.part1 partition of dd.parted for values in (1);
    create table dd.part2 (k int, v int); insert into dd.part1 values (1, 1); insert into dd.part2 values (2, 5);
    create table dd.parent (v int); create table dd.child (v int); insert into dd.parent values (1); insert into dd.child values (2);
    create table dd.ruled (v int); insert into dd.ruled values (1); create table dd.target (v int); insert into dd.target values (1);
    create table dd.fired (v int); create table dd.log (n int); insert into dd.log values (0);
    create function dd.note() returns trigger language plpgsql as $$begin update dd.log set n = n + 1; return new; end$$;
    create trigger note after insert on dd.fired for each row execute function dd.note();
    create table dd.guarded (v int); insert into dd.guarded values (1), (2), (3); create policy p on dd.guarded using (v < 3);
    create table dd.granted (a int, b int); insert into dd.granted values (1, 2);
    create view dd.granted_view as select * from dd.granted;
    create type dd.mood as enum ('sad', 'glad'); create table dd.moods as select 'sad'::dd.mood as m union all select 'glad';
    create type dd.pair as (a int, b int); create table dd.pairs as select row(1, 2)::dd.pair as p;
    create domain dd.small as int; create table dd.smalls as select 5::dd.small as s;
    create materialized view dd.mat as select sum(v) as s from dd.t; create sequence dd.q;
    create table dd.gen (v int, g int generated always as (v * 2) stored); insert into dd.gen values (4);
    create table dd.words as select * from (values ('a'), ('B'), ('b'), ('A')) as x(x);
    create table dd.key (id int primary key); create table dd.ref (id int references dd.key on update cascade on delete cascade);
    insert into dd.key values (1), (2); insert into dd.ref values (1), (2);
    create table dd.floats as select 1.0::float8 / 3 as f, '2020-02-03'::date as d;
    create table dd.regs as select 'dd.moving'::regclass as r;
    create function dd.pick(bigint) returns text immutable language sql as $$select 'bigint'$$;
    create function dd.minus(int, int) returns int immutable language sql as 'select $1 - $2';
    create operator dd.### (function = dd.minus, leftarg = int, rightarg = int);
    create aggregate dd.total (int) (sfunc = int4pl, stype = int, initcond = '0');
    create function dd.audit() returns event_trigger language plpgsql as $$begin update dd.log set n = n + 1; end$$;
    grant select on all tables in schema dd to public; revoke select on dd.granted, dd.granted_view from public;
    grant select on dd.granted to dd_group; grant select on dd.granted_view to public"""]


def n(rnd):
    return rnd.randrange(1, 1000)


def one_of(*lists):
    """A kind whose steps are one of these lists; {n} in a text is a number."""
    def make(rnd):
        return [t.replace("{n}", str(n(rnd))) for t in rnd.choice(lists)]
    return make


T_READS = ["select v from t where id = 1", "select sum(v) from t"]
KINDS = [
    Kind("replace view", ["select v from w where id = 1", "select * from ww"], one_of(
        ["create or replace view dd.w as select id, v + {n} as v from dd.t"],
        ["create or replace view dd.w as select id, v from dd.u"],
        ['create or replace rule "_RETURN" as on select to dd.w do instead select id, v * {n} as v from dd.t'])),
    Kind("drop and create view", ["select v from w where id = 1", "select * from ww"], one_of(
        ["drop view dd.w cascade", "create view dd.w as select id, v + {n} as v from dd.u",
         "create view dd.ww as select sum(v) as s from dd.w", "grant select on dd.w, dd.ww to public"])),
    Kind("rename view", ["select v from w where id = 1", "select * from ww"], one_of(
        ["alter view dd.w rename to w_old", "create view dd.w as select id, {n} as v from dd.u", "grant select on dd.w to public",
         "drop view dd.w_old cascade", "create view dd.ww as select sum(v) as s from dd.w", "grant select on dd.ww to public"],
        ["alter view dd.w set schema d1"], ["alter view d1.w set schema dd"],
        ["alter view dd.w rename column v to x"], ["alter view dd.w rename column x to v"])),
    Kind("replace function", ["select fi(1)", "select fp(v) from t order by 1", "select * from wf order by id", "select a from ws"], one_of(
        ["create or replace function dd.fi(int) returns int immutable language sql as 'select $1 + {n}'"],
        ["create or replace function dd.fp(int) returns int immutable language plpgsql as 'begin return $1 + {n}; end'"],
        ["create or replace function dd.fs(int) returns int stable language sql as 'select $1 + {n}'"],
        ["alter function dd.fi(int) volatile"], ["alter function dd.fi(int) immutable"],
        ["revoke execute on function dd.fi(int) from public"], ["grant execute on function dd.fi(int) to public"])),
    Kind("drop and create function", ["select fi(1)", "select * from wf order by id"], one_of(
        ["drop function dd.fi(int) cascade", "create function dd.fi(int) returns int immutable language sql as 'select $1 + {n}'",
         "create view dd.wf as select id, dd.fi(v) as a, dd.fp(v) as b from dd.t", "grant select on dd.wf to public"],
        ["alter function dd.fi(int) rename to fi_old"], ["alter function dd.fi_old(int) rename to fi"],
        ["alter function dd.fi(int) set schema d1"], ["alter function d1.fi(int) set schema dd"])),
    Kind("drop and create table", ["select * from made"], one_of(
        ["drop table if exists dd.made cascade", "create table dd.made (a int)", "insert into dd.made values ({n})",
         "grant select on dd.made to public"],
        ["drop table if exists dd.made cascade", "create table dd.made as select {n} as a", "grant select on dd.made to public"],
        ["drop table if exists dd.made cascade", "select {n} as a, {n} as b into dd.made", "grant select on dd.made to public"],
        ["create table if not exists dd.made as select {n} as a"], ["drop table if exists dd.made cascade"])),
    Kind("columns", ["select * from cols", "select a from cols", "select b from cols"], one_of(
        ["alter table dd.cols add c int default {n}"], ["alter table dd.cols drop if exists c"],
        ["alter table dd.cols rename a to x", "alter table dd.cols rename b to a", "alter table dd.cols rename x to b"],
        ["alter table dd.cols drop if exists b"], ["alter table dd.cols add if not exists b int default {n}"],
        ["alter table dd.cols add if not exists c int", "alter table dd.cols alter c set default {n}",
         "delete from dd.cols", "insert into dd.cols values (1, 2)"])),
    Kind("swap tables", ["select a from cols", "select a from cols2"], one_of(
        ["alter table dd.cols rename to cols3", "alter table dd.cols2 rename to cols", "alter table dd.cols3 rename to cols2"])),
    Kind("set schema", ["select v from moving", "select r from regs"], one_of(
        ["alter table dd.moving set schema d1"], ["alter table d1.moving set schema dd"],
        ["alter table dd.moving rename to moved"], ["alter table dd.moved rename to moving"])),
    Kind("rename schema", ["select v from moving", *T_READS], one_of(
        ["create schema d3", "create table d3.t as select 1 as id, {n} as v", "grant usage on schema d3 to public",
         "grant select on d3.t to public", "alter schema d1 rename to d4", "alter schema d3 rename to d1",
         "alter schema d4 rename to d3"],
        ["alter schema d1 rename to d4", "alter schema d3 rename to d1", "alter schema d4 rename to d3"],
        ["drop schema if exists d3 cascade"])),
    Kind("alter type of column", ["select v from typed", "select v / 2 from typed"], one_of(
        ["alter table dd.typed alter v type numeric using 7.5"], ["alter table dd.typed alter v type int using {n}"],
        ["alter table dd.typed alter v set default {n}", "insert into dd.typed default values"], ["truncate dd.typed"])),
    Kind("partitions", ["select count(*), sum(v) from parted", "select v from part2"], one_of(
        ["alter table dd.parted attach partition dd.part2 for values in (2)"], ["alter table dd.parted detach partition dd.part2"],
        ["insert into dd.parted values (1, {n})"], ["update dd.part2 set v = {n}"],
        ["drop table if exists dd.part3", "create table dd.part3 partition of dd.parted for values in (3)", "insert into dd.part3 values (3, {n})"],
        ["drop table if exists dd.part3"])),
    Kind("inherit", ["select count(*), sum(v) from parent", "select v from child"], one_of(
        ["alter table dd.child inherit dd.parent"], ["alter table dd.child no inherit dd.parent"],
        ["update dd.child set v = {n}"], ["update dd.parent set v = {n}"])),
    Kind("rules", ["select count(*) from ruled", "select v from target"], one_of(
        ["create or replace rule r as on insert to dd.ruled do instead update dd.target set v = {n}", "insert into dd.ruled values (1)"],
        ["create or replace rule r as on insert to dd.ruled do also update dd.target set v = new.v", "insert into dd.ruled values ({n})"],
        ["insert into dd.ruled values ({n})"], ["drop rule if exists r on dd.ruled", "insert into dd.ruled values ({n})"],
        ["alter table dd.ruled disable rule r", "insert into dd.ruled values (1)"])),
    Kind("triggers", ["select n from log"], one_of(
        ["alter table dd.fired disable trigger note", "insert into dd.fired values (1)"],
        ["alter table dd.fired enable trigger note", "insert into dd.fired values (1)"], ["insert into dd.fired values (1)"],
        ["create or replace function dd.note() returns trigger language plpgsql as $$begin update dd.log set n = n + {n}; return new; end$$",
         "insert into dd.fired values (1)"])),
    Kind("row security", ["select count(*) from guarded", "select sum(v) from guarded"], one_of(
        ["alter table dd.guarded enable row level security"], ["alter table dd.guarded disable row level security"],
        ["drop policy if exists p on dd.guarded", "create policy p on dd.guarded using (v < 2)"],
        ["drop policy if exists p on dd.guarded", "create policy p on dd.guarded to dd_group using (v < 3)"],
        ["alter table dd.guarded force row level security"], ["alter role dd_alice bypassrls"], ["alter role dd_alice nobypassrls"],
        ["alter table dd.guarded owner to dd_alice"], ["alter table dd.guarded owner to postgres"])),
    Kind("rights", ["select a from granted", "select b from granted", "select a from granted_view"], one_of(
        ["revoke all on dd.granted from dd_group, dd_alice"], ["grant select on dd.granted to dd_group"],
        ["grant select (a) on dd.granted to dd_alice"], ["revoke select (a) on dd.granted from dd_alice"],
        ["alter view dd.granted_view set (security_invoker = true)"], ["alter view dd.granted_view reset (security_invoker)"],
        ["alter view dd.granted_view owner to dd_alice"], ["alter view dd.granted_view owner to postgres"],
        ["drop owned by dd_group", "grant select on dd.granted to dd_alice"], ["alter table dd.granted owner to dd_group"],
        ["alter table dd.granted owner to postgres"], ["reassign owned by dd_group to postgres"])),
    Kind("membership", ["select a from granted", "select b from granted"], one_of(
        ["revoke dd_group from dd_alice"], ["grant dd_group to dd_alice"], ["alter group dd_group drop user dd_alice"],
        ["alter group dd_group add user dd_alice"], ["alter role dd_alice superuser"], ["alter role dd_alice nosuperuser"],
        ["grant pg_read_all_data to dd_alice"], ["revoke pg_read_all_data from dd_alice"]), everywhere=True),
    Kind("rights on schemas", [*T_READS, "select fi(1)"], one_of(
        ["revoke usage on schema d1 from public"], ["grant usage on schema d1 to public"],
        ["drop table if exists d1.t", "create table d1.t as select 1 as id, {n} as v", "grant select on d1.t to public"],
        ["drop table if exists d1.t"])),
    Kind("a schema of the user", T_READS, one_of(
        ["create schema if not exists dd_alice authorization dd_alice", "create table if not exists dd_alice.t as select 1 as id, {n} as v",
         "grant select on dd_alice.t to dd_alice"], ["drop schema if exists dd_alice cascade"])),
    Kind("hidden by a table", T_READS, one_of(
        ["create table d1.t as select 1 as id, {n} as v", "grant select on d1.t to public"], ["drop table if exists d1.t"],
        ["select 1 as id, {n} as v into d1.t", "grant select on d1.t to public"], ["update dd.t set v = {n} where id = 1"],
        ["drop table if exists d1.t", "create view d1.t as select id, v from dd.u", "grant select on d1.t to public"],
        ["drop view if exists d1.t"])),
    Kind("hidden by a function", ["select fi(1)", "select pick(1)", "select pick(id) from t order by id"], one_of(
        ["create or replace function d1.fi(int) returns int immutable language sql as 'select {n}'"], ["drop function if exists d1.fi(int)"],
        ["create or replace function dd.pick(int) returns text immutable language sql as $$select 'int {n}'$$"],
        ["drop function if exists dd.pick(int)"])),
    Kind("operators", ["select 5 ### 3", "select id ### v from t order by id"], one_of(
        ["create or replace function dd.minus(int, int) returns int immutable language sql as 'select $1 - $2 + {n}'"],
        ["create operator d1.### (function = int4pl, leftarg = int, rightarg = int)"], ["drop operator if exists d1.### (int, int)"])),
    Kind("casts", ["select ('(1,2)'::text)::point", "select (m::text || '!') from moods order by 1"], one_of(
        ["create function dd.to_point(text) returns point immutable language sql as $$select point({n}, 2)$$",
         "create cast (text as point) with function dd.to_point(text)"],
        ["drop cast if exists (text as point)", "drop function if exists dd.to_point(text)"],
        ["create or replace function dd.to_point(text) returns point immutable language sql as $$select point({n}, 3)$$"])),
    Kind("aggregates", ["select total(v) from t"], one_of(
        ["create or replace aggregate dd.total (int) (sfunc = int4pl, stype = int, initcond = '{n}')"],
        ["create or replace aggregate dd.total (int) (sfunc = int4larger, stype = int, initcond = '0')"])),
    Kind("enums", ["select m from moods order by m", "select max(m) from moods", "select enum_range(null::mood)::text"], one_of(
        ["alter type dd.mood rename value 'sad' to 'so so'"], ["alter type dd.mood rename value 'so so' to 'sad'"],
        ["alter type dd.mood add value if not exists 'm{n}' before 'glad'"], ["alter type dd.mood rename to moody", "alter type dd.moody rename to mood"])),
    Kind("composite types", ["select p from pairs", "select (p).a from pairs"], one_of(
        ["alter type dd.pair add attribute c int"], ["alter type dd.pair drop attribute if exists c"],
        ["alter type dd.pair rename attribute a to x", "alter type dd.pair rename attribute b to a", "alter type dd.pair rename attribute x to b"])),
    Kind("domains", ["select 5::small", "select s from smalls"], one_of(
        ["alter domain dd.small add constraint few check (value < 3) not valid"], ["alter domain dd.small drop constraint if exists few"],
        ["alter domain dd.small set schema d1"], ["alter domain d1.small set schema dd"])),
    Kind("materialized views", [FORCE + "select s from mat"], one_of(
        ["update dd.t set v = {n} where id = 2", "refresh materialized view dd.mat"],
        ["drop materialized view dd.mat", "create materialized view dd.mat as select {n} as s", "grant select on dd.mat to public"],
        ["alter materialized view dd.mat rename to mat2", "alter materialized view dd.mat2 rename to mat"])),
    Kind("sequences", [FORCE + "select last_value from q"], one_of(["alter sequence dd.q restart with {n}"], ["drop sequence dd.q", "create sequence dd.q start {n}"])),
    Kind("generated columns", ["select * from gen", "select g from gen"], one_of(
        ["alter table dd.gen drop if exists g", "alter table dd.gen add g int generated always as (v * {n}) stored"],
        ["update dd.gen set v = {n}"], ["alter table dd.gen alter g drop expression"])),
    Kind("collations", ["select x from words order by x", "select max(x) from words"], one_of(
        ['alter table dd.words alter x type text collate "C"'], ['alter table dd.words alter x type text collate "und-x-icu"'])),
    Kind("truncate", ["select count(*) from ref", "select count(*) from key"], one_of(
        ["truncate dd.key cascade"], ["insert into dd.key values ({n}) on conflict do nothing"],
        ["insert into dd.key values (1) on conflict do nothing", "insert into dd.ref values (1)"],
        ["delete from dd.key where id = 1"], ["update dd.key set id = id + 1000"])),
    Kind("copy", ["select count(*), sum(v) from fired"], one_of(["copy dd.fired from program 'echo {n}'"], ["truncate dd.fired"])),
    Kind("role settings", ["select f::text, d::text from floats"], one_of(
        ["alter role dd_alice set extra_float_digits = -5"], ["alter role dd_alice reset all"],
        ["alter role dd_alice set datestyle = 'German'"], ["alter role dd_alice in database test set datestyle = 'SQL'"]),
        SEEN, everywhere=True, logins=True),
    Kind("database settings", ["select f::text, d::text from floats"], one_of(
        ["alter database test set extra_float_digits = -3"], ["alter database test set datestyle = 'German'"],
        ["alter database test reset all"]), SEEN, everywhere=True, logins=True),
    Kind("event triggers", ["select n from log"], one_of(
        ["drop event trigger if exists dd_audit", "create event trigger dd_audit on ddl_command_end execute function dd.audit()",
         "comment on table dd.t is '{n}'"], ["comment on table dd.t is '{n}'"], ["drop event trigger if exists dd_audit"],
        ["create or replace function dd.audit() returns event_trigger language plpgsql as $$begin update dd.log set n = n + {n}; end$$"])),
]
