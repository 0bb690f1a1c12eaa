"""Statements by which an answer could come to be kept under what it was not read under, or a change go unnoticed."""
import itertools

import pytest

from support.wire import SYNC, Client, bind, execute, kinds, parse, query, row
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
    return Client(proxy.port, seconds=20).login(**words)


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
        assert hits_of(reader, "select n from second.log") >= 1
        writer.send(query(last))
        writer.until()
        assert reader.execute("select n from second.log").fetchone() == (1,)


DEFINITION = "create table first.t as select 1 as id, 10 as v;"


@pytest.mark.parametrize("how", ["do $$begin {} end$$", "{}", "call second.define()", "select second.defines()",
                                 "insert into second.by_trigger values (1)", "select * from second.by_view",
                                 "begin; {} prepare transaction 'traps'", "begin; do $$begin {} end$$; commit"])
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
        assert hits_by_wire(c, "select v from u") == 2


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
def test_what_a_plan_has_made_constant(proxy, cluster, sql, setting, one, other):
    """It is that of the session's first run, as on a server, and nothing for those that have set it otherwise."""
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
