"""Statements by which an answer could come to be kept under what it was not read under, or a change go unnoticed."""
import itertools

import pytest

from support.system import wait_until
from support.wire import SYNC, Client, bind, error, execute, kinds, parse, query, row
from test_query_cache import ON_PRIMARY, hits_of

numbers = itertools.count()
pytestmark = [pytest.mark.proxy_only, pytest.mark.herdgate_only]


SCHEMAS = """
    set client_min_messages = error;
    drop schema if exists first cascade; drop schema if exists second cascade;
    create schema first; create schema second;
    create table second.t (id int, v int); insert into second.t values (1, 0);
    create table second.log (n int); insert into second.log values (0);
    create table first.u (v int); insert into first.u values (1);
    create table second.u (v int); insert into second.u values (2);
    create function second.note() returns trigger language plpgsql as
      $$begin update second.log set n = n + 1; return new; end$$;
    create function second.count_up() returns int language plpgsql as
      $$begin update second.log set n = n + 1; return 1; end$$"""


@pytest.fixture(params=["session", "transaction"])
def proxy(start_proxy, request):
    """The tables are made anew through it, so that it knows of no old ones. Schema `first` is there to hide `second`."""
    proxy = start_proxy({**ON_PRIMARY, "pool_mode": request.param})
    with proxy.connect() as c:
        c.execute(SCHEMAS)
    yield proxy
    with proxy.connect() as c:
        c.execute("drop schema first cascade; drop schema second cascade")


def client(proxy, **words):
    return Client(proxy.port).login(**words)


def run(*texts):
    """One unit that runs all of them."""
    return [m for text in texts for m in (parse(text), bind(), execute())] + [SYNC]


def last_of(c, *texts):
    c.send(*run(*texts))
    return [row(p) for k, p in c.until() if k == "D"][-1]


READ = "select v from u"


@pytest.mark.parametrize("before, unit, others, expected", [
    ((), ("set search_path = first", READ), "second", "2"),
    ((), ("set local search_path = first", READ), "second", "2"),
    ((), ("select set_config('search_path', 'first', false)", READ), "second", "2"),
    ((), ("select set_config('search_' || 'path', 'first', false)", READ), "second", "2"),
    ((), ("create temp table u as select 3 as v", READ), "second", "2"),
    ((), ("set role pg_monitor", "select current_user"), "second", "postgres"),
    (("begin", "set search_path = first"), ("commit", "set search_path = second", READ), "first", "1"),
    (("begin", "set search_path = first"), ("rollback", READ), "first", "1"),
    (("begin", "savepoint s", "set search_path = first"), ("rollback to s", READ), "first", "1"),
    (("set search_path = first",), ("reset search_path", "set search_path = second", READ), "first", "1"),
    (("set search_path = first",), ("discard all", "set search_path = second", READ), "first", "1"),
])
def test_a_unit_that_changes_what_its_reads_mean(proxy, before, unit, others, expected):
    with client(proxy) as c:
        c.ask("set search_path = second")
        for sql in before:
            c.ask(sql)
        c.send(*run(*unit))
        c.until()
        if before[:1] == ("begin",):
            c.ask("commit")
    with client(proxy) as c:
        c.ask(f"set search_path = {others}")
        assert last_of(c, unit[-1]) == [expected]


@pytest.mark.parametrize("in_one_query", [True, False], ids=["query", "unit"])
@pytest.mark.parametrize("before, texts", [
    ((), ("set search_path = first", "update u set v = v + 1")),
    ((), ("select set_config('search_path', 'first', false)", "update u set v = v + 1")),
    ((), ("begin", "set local search_path = first", "update u set v = v + 1", "commit")),
    (("set search_path = first", "begin", "set local search_path = second"), ("commit", "update u set v = v + 1")),
    (("set search_path = first", "begin", "savepoint s", "set search_path = second"),
     ("rollback to s", "update u set v = v + 1", "commit")),
])
def test_a_name_that_means_another_table_when_its_turn_comes(proxy, before, texts, in_one_query):
    with client(proxy) as writer, client(proxy) as reader:
        writer.ask("set search_path = second")
        for sql in before:
            writer.ask(sql)
        for _ in range(2):
            assert reader.ask("select v from first.u") == [["1"]]
        writer.send(*([query("; ".join(texts))] if in_one_query else run(*texts)))
        assert "E" not in kinds(writer.until())
        assert reader.ask("select v from first.u") == [["2"]]


@pytest.mark.parametrize("makes", [
    "create temp table x (i int); create trigger t after insert on x for each row execute function second.note(); insert into x values (1)",
    "create temp table x as select second.count_up()",
    "select second.count_up() into temp x",
    "with w as (update second.log set n = n + 1 returning n) select n into temp x from w",
    "create temp table x as with w as (update second.log set n = n + 1 returning n) select n from w",
    "prepare p as select second.count_up(); create temp table x as execute p",
    "select * from ts_stat('select to_tsvector(second.count_up()::text)')",
    "select query_to_xml('select second.count_up()', true, true, '')",
    "create temp table x (i int); create rule r as on insert to x do also update second.log set n = n + 1; insert into x values (1)",
    "explain analyze select second.count_up()",
    "explain analyze create temp table x as select second.count_up()",
    "begin; declare c cursor for select second.count_up(); fetch c; commit",
    "create temp view x as select second.count_up() as n; select * from x",
    "copy (select second.count_up()) to stdout",
])
def test_a_change_that_hides(proxy, makes):
    with proxy.connect() as reader, client(proxy) as writer:
        *ahead, last = makes.split("; ")
        for sql in ahead:
            writer.ask(sql)
        wait_until(lambda: hits_of(reader, "select n from second.log") >= 1, "it is kept")
        writer.send(query(last))
        writer.until()
        assert reader.execute("select n from second.log").fetchone() == (1,)


DEFINITION = "create table first.t as select 1 as id, 10 as v;"


@pytest.mark.parametrize("how", ["do $$begin {} end$$", "{}", "call second.define()", "select second.defines()",
                                 "insert into second.by_trigger values (1)", "select * from second.by_view",
                                 "begin; {} prepare transaction 'traps'", "begin; do $$begin {} end$$; commit",
                                 "select 1 as id, 10 as v into first.t"])
def test_what_a_name_means_after_a_definition(proxy, cluster, how):
    if "prepare" in how and cluster.primary.psql("show max_prepared_transactions").strip() == "0":
        pytest.skip("the servers allow no prepared transactions")
    with client(proxy) as c, client(proxy) as w:
        w.ask(f"""create procedure second.define() language plpgsql as $$begin {DEFINITION} end$$;
                  create function second.defines() returns int language plpgsql as
                    $$begin execute '{DEFINITION}'; return 1; end$$;
                  create function second.on_insert() returns trigger language plpgsql as
                    $$begin {DEFINITION} return new; end$$;
                  create table second.by_trigger (i int); create trigger t after insert on second.by_trigger
                    for each row execute function second.on_insert();
                  create view second.by_view as select second.defines() as d""")
        for s in (c, w):
            s.ask("set search_path = first, second")
        assert c.ask("select v from t") == [["0"]]
        w.ask("update t set v = v")
        for sql in how.split("; "):
            w.ask(sql.replace("{}", DEFINITION))
        if "prepare" in how:
            w.ask("update second.t set v = v")
            assert c.ask("select v from t") == [["0"]]
            w.ask("commit prepared 'traps'")
        assert c.ask("select v from t") == [["10"]]
        w.ask("update first.t set v = 11")
        assert c.ask("select v from t") == [["11"]]
        assert c.ask("select v from first.t") == [["11"]]
        w.ask("update t set v = 12")
        assert c.ask("select v from first.t") == [["12"]]


@pytest.mark.parametrize("definition", [DEFINITION, f"do $$begin {DEFINITION} end$$"])
def test_a_definition_that_is_not_committed(proxy, definition):
    with client(proxy) as c, client(proxy) as a, client(proxy) as w:
        for s in (c, a, w):
            s.ask("set search_path = first, second")
        a.ask("begin")
        a.ask(definition)
        assert a.ask("select v from t") == [["10"]]
        assert c.ask("select v from t") == [["0"]]
        w.ask("update second.t set v = 1")
        assert c.ask("select v from t") == [["1"]]
        w.ask("update t set v = 2")
        assert c.ask("select v from t") == [["2"]]
        assert c.ask("select v from second.t") == [["2"]]
        a.ask("rollback")
        assert c.ask("select v from t") == [["2"]]
        w.ask("update second.t set v = 3")
        assert c.ask("select v from t") == [["3"]]


@pytest.mark.parametrize("what", ["role", "database"])
def test_one_snapshot_by_default(proxy, cluster, what):
    snap = f"snap_{what}_{next(numbers)}"  # links of a role that was dropped are no good for a new one of its name
    cluster.primary.psql(f"create role {snap} login")
    altered = f"role {snap}" if what == "role" else "database test"
    cluster.primary.psql(f"alter {altered} set default_transaction_isolation = 'repeatable read';"
                         f"grant usage on schema second to {snap}; grant select, update on second.t, second.log to {snap}")
    try:
        with client(proxy, user=snap) as c, client(proxy, user=snap) as w:
            w.ask("select 1")
            c.ask("begin")
            assert c.ask("select n from second.log") == [["0"]]
            w.ask("update second.t set v = 5")
            assert w.ask("select v from second.t") == [["5"]]
            assert c.ask("select v from second.t") == [["0"]], "as its snapshot shows it"
            c.ask("commit")
            assert c.ask("select v from second.t") == [["5"]]
            assert w.ask("select v from second.t") == [["5"]]
            c.ask("begin isolation level read committed")
            assert c.ask("select v from second.t") == [["5"]]
            c.ask("commit")
    finally:
        cluster.primary.psql(f"alter {altered} reset default_transaction_isolation; drop owned by {snap}; drop role {snap}")


def test_discard_all_that_fails(proxy):
    with client(proxy) as c, client(proxy) as o:
        for s in (c, o):
            s.ask("set search_path = second")
        c.ask("do $$begin perform set_config('search_path', 'first', false); end$$")
        for _ in range(2):
            assert o.ask("select v from u") == [["2"]]
        c.ask("begin")
        with pytest.raises(RuntimeError):
            c.ask("discard all")
        c.ask("rollback")
        assert c.ask("select v from u") == c.ask("/*NO QUERY CACHE*/ select v from u")
        c.ask("discard all")
        c.ask("set search_path = second")
        wait_until(lambda: hits_by_wire(c, "select v from u") == 2, "it is looked for again")


def hits_by_wire(c, sql):
    """How many of two runs were answered from the cache."""
    before = int(c.ask("show pool_cache")[0][0])
    for _ in range(2):
        c.ask(sql)
    return int(c.ask("show pool_cache")[0][0]) - before


def run_named(c, name):
    c.send(bind(statement=name), execute(), SYNC)
    return [row(p) for k, p in c.until() if k == "D"]


def prepared(c, sql, name):
    c.send(parse(sql, name=name), SYNC)
    assert kinds(c.until()) == "1Z"


@pytest.mark.parametrize("sql, setting, one, other", [
    ("select '\\x00ff'::bytea::text", "bytea_output", "hex", "escape"),
    ("select (1.0::float8 / 3)::text", "extra_float_digits", "1", "-10"),
    ("select quote_ident('abc')", "quote_all_identifiers", "off", "on"),
])
@pytest.mark.parametrize("links", [{"pool_mode": "session"}, {"pool_mode": "transaction", "pool_size": 1}],
                         ids=["session", "transaction"])
def test_what_a_plan_has_made_constant(start_proxy, cluster, links, sql, setting, one, other):
    """It is that of the session's first run on its link, as on a server, and nothing for those that have set it otherwise."""
    proxy = start_proxy({**ON_PRIMARY, **links, "num_workers": 1})

    def answer(c, value, name):
        c.ask(f"set {setting} = '{value}'")
        prepared(c, sql, name)
        return run_named(c, name)
    with Client(cluster.primary.port).login() as server:
        wanted = answer(server, one, "a")
        other_wanted = answer(server, other, "b")
        assert run_named(server, "a") == wanted != other_wanted
    with client(proxy) as a, client(proxy) as b, client(proxy) as c:
        assert answer(a, one, "a") == wanted
        assert answer(b, other, "b") == other_wanted
        a.ask(f"set {setting} = '{other}'")
        assert run_named(a, "a") == wanted
        assert answer(c, other, "c") == other_wanted


@pytest.mark.parametrize("cache", [True, False], ids=["cache", "no_cache"])
def test_a_plan_made_by_other_settings_is_no_plan_for_others(start_proxy, cache):
    """Parsed by one setting, planned by another: sessions that have the first get neither that plan nor its answers."""
    proxy = start_proxy({**ON_PRIMARY, "memory_cache_enabled": cache, "pool_mode": "transaction", "pool_size": 1,
                         "num_workers": 1})
    sql = "select (2.0::float8 / 3)::text"
    with client(proxy) as a, client(proxy) as b:
        prepared(a, sql, "a")
        a.ask("set extra_float_digits = -10")
        assert run_named(a, "a") == [["0.66667"]]
        a.ask("reset extra_float_digits")
        assert run_named(a, "a") == [["0.66667"]]
        prepared(b, sql, "b")
        for _ in range(3):
            assert run_named(b, "b") == [["0.6666666666666666"]]
            run_named(a, "a")


@pytest.mark.parametrize("read", ["select t.sum_up from t", "select (t).sum_up from t"])
def test_a_function_that_is_called_like_a_column(proxy, read):
    with client(proxy) as c, client(proxy) as w:
        for s in (c, w):
            s.ask("set search_path = second")
        w.ask("create function sum_up(t) returns bigint stable language sql as 'select sum(n) from second.log'")
        w.ask("create function sum_and_count(u) returns int language sql as "
              "'update second.log set n = n + 1; select 1'")
        assert c.ask(read) == [["0"]]
        w.ask("update log set n = 7")
        assert c.ask(read) == [["7"]]
        assert c.ask("select n from log") == [["7"]]
        w.ask("select u.sum_and_count from u")
        assert c.ask("select n from log") == [["8"]]


def test_invalidation_switched_on(start_proxy, proxy):
    off = start_proxy({**ON_PRIMARY, "memqcache_auto_cache_invalidation": False}, fresh=True)
    read = "select n from second.log"
    with client(off) as c:
        def is_old():
            c.ask("update second.log set n = n + 1")
            return c.ask(read) != c.ask("/*NO QUERY CACHE*/ " + read)
        wait_until(is_old, "an entry that no write ends")
        off.settings["memqcache_auto_cache_invalidation"] = True
        off.reload()
        wait_until(lambda: c.ask(read) == c.ask("/*NO QUERY CACHE*/ " + read), "the entry of before goes")


@pytest.mark.parametrize("before, sql, change", [
    ("", "select v from t", "create table first.t as select 1 as id, 10 as v"),
    ("", "select v from t", "create view first.t as select 1 as id, 10 as v"),
    ("create function second.f(int) returns int immutable language sql as 'select 1'", "select f(1::int2), v from u",
     "create function first.f(int2) returns int immutable language sql as 'select 2'"),
    ("create function second.f(int) returns int immutable language sql as 'select 1'", "select f(1), v from u",
     "create or replace function second.f(int) returns int immutable language sql as 'select 2'"),
    ("create function second.f(int) returns int immutable language sql as 'select 1'", "select f(1), v from u",
     "alter function second.f(int) rename to g; create function first.f(int) returns int immutable language sql as 'select 3'"),
    ("create function second.g(int, int) returns int immutable language sql as 'select 1';"
     "create operator second.### (function = second.g, leftarg = int, rightarg = int)", "select 1 ### 2, v from u",
     "create function first.g(int, int) returns int immutable language sql as 'select 2';"
     "create operator first.### (function = first.g, leftarg = int, rightarg = int)"),
    ("create type second.e as enum ('a', 'b'); create table second.en as select 'a'::second.e e", "select e from en",
     "alter type second.e rename value 'a' to 'z'"),
    ("create type second.c as (a int); create table second.co as select row(1)::second.c c", "select c from co",
     "alter type second.c add attribute b int"),
    ("create domain second.d as int default 1", "select 5::d, v from u", "alter domain second.d add check (value < 3)"),
    ("create table second.p (i int); create table second.k (i int); insert into second.k values (1)",
     "select count(*) from p", "alter table second.k inherit second.p"),
    ("create table second.p (i int) partition by list (i); create table second.k (i int); insert into second.k values (1)",
     "select count(*) from p", "alter table second.p attach partition second.k for values in (1)"),
    ("create table second.p (i int) partition by list (i); create table second.k partition of second.p for values in (1);"
     "insert into second.p values (1)", "select count(*) from p", "alter table second.p detach partition second.k"),
    ("create rule r as on insert to second.t do also update second.u set v = v + 1", "select v from u",
     "insert into second.t values (2, 2)"),
    ("", "select count(*) from t", "create rule r as on insert to second.u do instead delete from second.t; insert into second.u values (1)"),
    ("create table second.s as select 'second.t'::regclass r", "select r from s", "alter table second.t rename to tt"),
    ("create table second.o as select 'pg_monitor'::regrole r", "select r from o", "comment on table second.o is 'x'"),
    ("create text search configuration second.ts (copy = simple)", "select to_tsvector('second.ts', 'the cat'), v from u",
     "alter text search configuration second.ts alter mapping for asciiword with english_stem"),
    ("create cast (text as int) with inout as implicit", "select ('1'::text)::int, v from u", "drop cast (text as int)"),
    ("", "select current_schema, v from u", "drop schema first cascade; create schema first; create table first.u as select 8 as v"),
    ("create sequence second.q", "/*FORCE QUERY CACHE*/ select last_value from q", "alter sequence second.q restart with 7"),
    ("alter table second.u add w int default 3", "select * from u", "alter table second.u drop w"),
    ("create table second.fk (id int primary key); create table second.ref (id int references second.fk on update cascade);"
     "insert into second.fk values (1); insert into second.ref values (1)", "select id from ref", "update second.fk set id = 2"),
    ("create table second.fk (id int primary key) partition by range (id); create table second.fk1 partition of second.fk "
     "for values from (0) to (9); create table second.ref (id int references second.fk on delete cascade);"
     "insert into second.fk values (1); insert into second.ref values (1)", "select count(*) from ref", "delete from second.fk1"),
    ("", "select v from t", "with t as (select 1) update second.t set v = 9"),
    ("", "with t as (select * from t) select v from t", "update second.t set v = 9"),
    ("", "with a as (select v from u), u as (select 1) select * from a", "update second.u set v = 9"),
    ("", "with recursive w as (select v from u union select v + 1 from w, (select 1) x where v < 4) select max(v) from w",
     "update second.u set v = 3"),
    ("", "select x from (values ((select v from u))) as q(x)", "update second.u set v = 9"),
    ("", "select 1 limit (select v from u)", "delete from second.u"),
    ("", "select sum(id) filter (where exists (select from u where v = 2)) from t", "update second.u set v = 9"),
    ("", "select count(*) over (partition by (select v from u) order by (select max(v) from log, u)) from t", "delete from second.u; update second.t set v = 4"),
    ("", "select distinct on ((select v from u)) (select v from u) from t", "update second.u set v = 9"),
    ("", "select case when true then (select v from u) end, array(select v from u), row((select v from u))", "update second.u set v = 9"),
    ("", "select xmlelement(name x, (select v from u))", "update second.u set v = 9"),
    ("", "select v from t group by grouping sets ((v), ()) having (select v from u) = 2", "update second.u set v = 9"),
    ("", "table u union all (select v from t order by (select v from u) limit 1)", "update second.u set v = 9"),
    ("", "select * from t where (id, 2) in (select 1, v from u)", "update second.u set v = 9"),
    ("", "select * from rows from (generate_series(1, (select v from u)), generate_series(1, 1)) as q", "update second.u set v = 3"),
    ("", "select (array[1, 2, 3])[(select v from u)]", "update second.u set v = 1"),
    ("", "select * from t left join lateral (select v from u where t.id = 1) q on true", "update second.u set v = 1"),
    ("create materialized view second.m as select v from second.u", "/*FORCE QUERY CACHE*/ select v from m",
     "update second.u set v = 9; refresh materialized view second.m"),
    ("", "/*FORCE QUERY CACHE*/ select v from u", "merge into second.u using (select 9 as n) s on true when matched then update set v = s.n"),
    ("create view second.vi as select v from second.u", "select v from u", "update second.vi set v = 9"),
    ("create view second.vi as select v from second.u; create function second.it() returns trigger language plpgsql as "
     "$$begin update second.t set v = 5; return new; end$$; create trigger it instead of update on second.vi for each row "
     "execute function second.it()", "select v from t", "update second.vi set v = 9"),
])
def test_changes_of_many_kinds(proxy, before, sql, change):
    def ask(c, sql):
        try:
            return c.ask(sql)
        except RuntimeError as error:
            return error.args[0]["M"]
    with client(proxy) as c, client(proxy) as w:
        c.ask("set search_path = first, second")
        if before:
            w.ask(before)
        if " u" in sql or sql.startswith("/*"):
            w.ask("drop table first.u")
        for _ in range(2):
            assert isinstance(ask(c, sql), list), "an error keeps nothing that could be stale"
        w.send(query(change))
        refused = [error(payload) for kind, payload in w.until() if kind == "E"]
        assert not refused
        plain = sql.removeprefix("/*FORCE QUERY CACHE*/ ")
        assert ask(c, sql) == ask(c, "/*NO QUERY CACHE*/ " + plain)
        assert ask(c, sql) == ask(c, "/*NO QUERY CACHE*/ " + plain)


AUDIT = """
    create function second.audit() returns event_trigger language plpgsql as
      $$begin update second.log set n = n + 1; end$$;
    create event trigger audit on ddl_command_end execute function second.audit()"""
FIRE = ["comment on table second.u is 'x'", "create index on second.u (v)", "reindex table second.u",
        "create temp table x (a int)", "create temp table x as select 1 as a", "select 1 as a into temp x",
        "create temp view x as select 1 as a", "create temp sequence x", "create table pg_temp.x (a int)"]


@pytest.fixture
def without_audit(cluster):
    cluster.primary.psql("drop event trigger if exists audit")
    yield
    cluster.primary.psql("drop event trigger if exists audit")


def kept(c, sql):
    """Its answer is one of the cache."""
    wait_until(lambda: hits_by_wire(c, sql) == 2, "hits")
    return c.ask(sql)


@pytest.mark.parametrize("fires", FIRE)
def test_an_event_trigger_that_writes(proxy, cluster, without_audit, fires):
    read = "select n from second.log"
    with client(proxy) as c, client(proxy) as w:
        assert kept(c, read) == [["0"]]
        w.ask("comment on table second.u is 'nothing fires'")
        assert hits_by_wire(c, read) == 2, "nothing was ended"
        w.send(query(AUDIT))  # from here on it is known
        w.until()
        before = kept(c, read)
        w.send(*run(fires))  # what is planned from the unit's Parse
        assert "E" not in kinds(w.until())
        with client(proxy) as other:
            other.ask("comment on table second.u is 'y'")
            seen = kept(c, read)
            assert seen == cluster_says(cluster, read) != before
            # REINDEX fires them from PostgreSQL 17 on.
            assert int(seen[0][0]) == int(before[0][0]) + 2 or fires.startswith("reindex")
            for text in ("begin", "savepoint s", "comment on table second.u is 'z'", "release s"):
                other.ask(text)
            assert c.ask(read) == seen, "it is not committed"
            other.ask("commit")
        assert c.ask(read) == cluster_says(cluster, read) != seen


def cluster_says(cluster, sql):
    with Client(cluster.primary.port, seconds=20).login() as direct:
        return direct.ask(sql)


@pytest.mark.parametrize("change, fires", [
    ("alter event trigger audit disable", False), ("drop event trigger audit", False),
    ("alter event trigger audit disable; alter event trigger audit enable", True)])
def test_an_event_trigger_that_is_switched(proxy, cluster, without_audit, change, fires):
    read = "select n from second.log"
    with client(proxy) as c, client(proxy) as w:
        for text in (AUDIT, change):
            w.send(query(text))
            assert "E" not in kinds(w.until())
        before = kept(c, read)
        w.ask("comment on table second.u is 'x'")
        assert (hits_by_wire(c, read) == 2) != fires
        assert c.ask(read) == cluster_says(cluster, read)
        assert (c.ask(read) != before) == fires


@pytest.mark.parametrize("how", ["revoke traps_readers from traps_reader", "do $$begin revoke traps_readers from traps_reader; end$$",
                                 "select traps_take()", "call traps_take_all()", "insert into traps_orders values (1)",
                                 "prepare p as select traps_take(); create temp table x as execute p",
                                 "begin; do $$begin revoke traps_readers from traps_reader; end$$; commit"])
def test_rights_taken_in_another_database(proxy, cluster, how):
    """Roles are those of all databases."""
    cluster.primary.psql("create role traps_readers; create role traps_reader login in role traps_readers")
    elsewhere = client(proxy, database="postgres")
    try:
        with client(proxy) as c:
            c.ask("grant usage on schema second to traps_readers; grant select on second.log to traps_readers")
        elsewhere.ask("""
            create function traps_take() returns int language plpgsql as $$begin revoke traps_readers from traps_reader; return 1; end$$;
            create procedure traps_take_all() language plpgsql as $$begin revoke traps_readers from traps_reader; end$$;
            create function traps_on_order() returns trigger language plpgsql as
              $$begin revoke traps_readers from traps_reader; return new; end$$;
            create table traps_orders (i int);
            create trigger t after insert on traps_orders for each row execute function traps_on_order()""")
        with client(proxy, user="traps_reader") as c:
            wait_until(lambda: hits_by_wire(c, "select n from second.log") == 2, "hits")
            for sql in how.split("; ") if how.startswith("prepare") else [how]:
                elsewhere.send(query(sql))
                assert "E" not in kinds(elsewhere.until())
            with pytest.raises(RuntimeError, match="permission denied"):
                c.ask("select n from second.log")
    finally:
        elsewhere.ask("drop table if exists traps_orders; drop function if exists traps_take, traps_on_order; "
                      "drop procedure if exists traps_take_all")
        elsewhere.close()
        with client(proxy) as c:
            c.ask("drop owned by traps_readers, traps_reader; drop role traps_readers, traps_reader")
