"""The query cache: what comes from it is what a server would say.

A change made behind the proxy's back is not noticed. So "the old value again" means a hit, here and only here.
"""
import threading
import time

import psycopg
import pytest

from support.system import wait_until
from support.wire import SYNC, Client, bind, describe, error, execute, kinds, parse, query, row
from test_builtin_failover import BuiltinHerd
from test_recovery import successor_of_node_0

pytestmark = [pytest.mark.proxy_only, pytest.mark.herdgate_only]
ON = {"memory_cache_enabled": True}
ON_PRIMARY = {**ON, "load_balance_mode": False}


@pytest.fixture(scope="module")
def tables(cluster):
    cluster.primary.psql("""
        set client_min_messages = error;
        drop schema if exists qc cascade; create schema qc; grant all on schema qc to public;
        create table qc.a (id int primary key, v int); insert into qc.a select i, 0 from generate_series(1, 10) i;
        create table qc.b (id int primary key, v int); insert into qc.b select i, 0 from generate_series(1, 10) i;
        create table qc.parent (id int primary key, v int); insert into qc.parent values (1, 0);
        create table qc.child (id int references qc.parent on delete cascade, v int); insert into qc.child values (1, 0);
        create table qc.parted (id int, v int) partition by range (id);
        create table qc.part1 partition of qc.parted for values from (0) to (100); insert into qc.part1 values (1, 0);
        create table qc.audited (id int, v int); create table qc.audit (n int); insert into qc.audit values (0);
        create function qc.note() returns trigger language plpgsql as
          $$begin update qc.audit set n = n + 1; return new; end$$;
        create trigger note after insert on qc.audited for each row execute function qc.note();
        create function qc.change() returns int language plpgsql as $$begin update qc.a set v = v + 1; return 1; end$$;
        create procedure qc.change_all() language sql as 'update qc.a set v = v + 1';
        create view qc.view_a as select * from qc.a;
        create table qc.guarded (id int); alter table qc.guarded enable row level security;
        grant all on all tables in schema qc to public""")
    cluster.wait_replayed()


@pytest.fixture
def cached(start_proxy, tables):
    proxy = start_proxy(ON_PRIMARY)
    with proxy.connect() as c:
        c.execute("update qc.a set v = 0")
        c.execute("update qc.b set v = 0")
    return proxy


def figures(c):
    return dict(zip(("hits", "selects", "ratio", "hash", "used_hash", "entries", "used", "free", "fragments"),
                    c.execute("show pool_cache").fetchone()))


def hits_of(c, sql, times=2):
    """How many of several runs were answered from the cache."""
    before = int(figures(c)["hits"])
    for _ in range(times):
        c.execute(sql)
    return int(figures(c)["hits"]) - before


def value(c, sql="select v from qc.a where id = 1"):
    return c.execute(sql).fetchone()[0]


def behind(cluster, sql):
    cluster.primary.psql(sql)
    cluster.wait_replayed()


# What is kept.

def test_the_second_time_no_server_is_asked(cached, cluster):
    with cached.connect() as c:
        assert value(c) == 0
        behind(cluster, "update qc.a set v = 99 where id = 1")
        assert value(c) == 0
    with cached.connect() as other:
        assert value(other) == 0, "it is shared"
        assert value(other, "select v from qc.a  where id = 1") == 99, "another text"
        other.execute("update qc.a set v = 5 where id = 2")
        assert value(other) == 99, "any write through the proxy to the table ends it"


@pytest.mark.parametrize("sql", [
    "select now()", "select random()", "select * from qc.view_a", "select * from qc.guarded", "select count(*) from pg_class",
    "/*NO QUERY CACHE*/ select v from qc.a", "/* mine */ select v from qc.a", "select v from qc.a for update",
    "select 1; select 2", "select current_timestamp", "select 'today'::date", "explain select v from qc.a",
    "select nextval('qc.s')"])
def test_not_kept(cached, sql):
    with cached.connect() as c:
        c.execute("create sequence if not exists qc.s")
        assert hits_of(c, sql, 3) == 0


@pytest.mark.parametrize("sql", ["select v from qc.a", "select 1", "select count(*) from qc.a, qc.b", "table qc.b",
                                 "with w as (select * from qc.a) select * from w", "values (1)",
                                 "/*FORCE QUERY CACHE*/ select v, now() from qc.view_a"])
def test_kept(cached, sql):
    with cached.connect() as c:
        assert hits_of(c, sql, 3) >= 2


def test_explain_route_says_why(cached):
    def cacheable(c, sql):
        return dict(c.execute("pgpool explain route " + sql).fetchall())["cacheable"]
    with cached.connect(autocommit=False) as c:
        assert cacheable(c, "select v from qc.a") == "yes"
        assert cacheable(c, "select version()") == "no: function version is not immutable"
        assert cacheable(c, "select * from qc.view_a") == "no: qc.view_a is a view"
        c.execute("update qc.a set v = v")
        assert cacheable(c, "select v from qc.a") == "not now: the transaction has written"


def test_lists(start_proxy, tables, cluster):
    proxy = start_proxy({**ON_PRIMARY, "cache_safe_memqcache_table_list": "qc.view_a,qc.a",
                         "cache_unsafe_memqcache_table_list": "qc.b"})
    with proxy.connect() as c:
        assert hits_of(c, "select * from qc.view_a") >= 1
        assert hits_of(c, "select * from qc.b") == 0
        assert value(c, "select max(v) from qc.view_a") is not None
        c.execute("update qc.a set v = 7")
        assert value(c, "select max(v) from qc.view_a") == 7, "a view hangs on its tables"


# Who shares an answer.

def rows_of(client, sql):
    client.send(query(sql))
    return [row(payload) for kind, payload in client.until() if kind == "D"]


@pytest.mark.parametrize("setting, sql, expected", [
    ("set timezone = 'Asia/Tokyo'", "select extract(hour from timestamp '2020-01-01 10:00')", None),
    ("set datestyle = 'SQL, DMY'", "select d from qc.kinds", "31/12/2020"),
    ("set intervalstyle = 'iso_8601'", "select i from qc.kinds", "P1DT2H"),
    ("set bytea_output = 'escape'", "select b from qc.kinds", "abc"),
    ("set extra_float_digits = -10", "select f from qc.kinds", "0.33333"),
    ("set timezone = 'Asia/Tokyo'", "select t from qc.kinds", "2020-12-31 21:00:00+09"),
    ("set search_path = qc2", "select w from elsewhere", "two"),
    ("set role test", "select current_user", "test")])
def test_sessions_that_would_get_different_answers(cached, cluster, setting, sql, expected):
    cluster.primary.psql("""set client_min_messages = error; drop table if exists qc.kinds; drop schema if exists qc2 cascade;
        create table qc.kinds as select date '2020-12-31' d, interval '1 day 2 hours' i, 'abc'::bytea b,
          0.333333333333333::float8 f, '2020-12-31 12:00+0'::timestamptz t;
        create schema qc2; create table qc2.elsewhere as select 'two'::text w;
        drop table if exists qc.elsewhere; create table qc.elsewhere as select 'one'::text w;
        grant all on all tables in schema qc, qc2 to public; grant all on schema qc2 to public""")
    cluster.wait_replayed()
    with Client(cached.port).login() as first, Client(cached.port).login() as second:
        first.ask("set search_path = qc")
        second.ask("set search_path = qc")
        first.ask(sql)
        plain = rows_of(first, sql)
        second.ask(setting)
        for _ in range(3):
            got = rows_of(second, sql)
        if expected is not None:
            assert got == [[expected]]
            assert got != plain
        assert rows_of(first, sql) == plain


def test_users_do_not_share(cached, cluster):
    cluster.primary.psql("create table if not exists qc.mine (a int); revoke all on qc.mine from public")
    with cached.connect() as owner, cached.connect(user="test") as other:
        for _ in range(3):
            owner.execute("select * from qc.mine")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            other.execute("select * from qc.mine")


def test_revoke_is_heeded_at_once(cached, cluster):
    with cached.connect() as owner, cached.connect(user="test") as other:
        owner.execute("grant select on qc.b to test")
        other.execute("select v from qc.b where id = 3")
        other.execute("select v from qc.b where id = 3")
        owner.execute("revoke all on qc.b from public, test")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            other.execute("select v from qc.b where id = 3")
        owner.execute("grant all on qc.b to public")


# What ends an entry.

@pytest.mark.parametrize("sql, change", [
    ("select v from qc.a where id = 1", "update qc.a set v = v + 1"),
    ("select count(*) from qc.a", "insert into qc.a values ((select max(id) + 1 from qc.a), 0)"),
    ("select count(*) from qc.a", "delete from qc.a where id = (select max(id) from qc.a)"),
    ("select v from qc.a where id = 1", "with w as (update qc.a set v = v + 1 returning 1) select * from w"),
    ("select v from qc.a where id = 1", "explain analyze update qc.a set v = v + 1"),
    ("select v from qc.a where id = 1", "do $$begin update qc.a set v = v + 1; end$$"),
    ("select v from qc.a where id = 1", "call qc.change_all()"),
    ("select v from qc.a where id = 1", "select qc.change()"),
    ("select v from qc.a where id = 1", "merge into qc.a using (select 1 as i) s on id = i when matched then update set v = v + 1"),
    ("select v from qc.a where id = 1", "select 1; update qc.a set v = v + 1"),
    ("select v from qc.a where id = 1", "begin; update qc.a set v = v + 1; commit"),
    ("select v from qc.parted where id = 1", "update qc.part1 set v = v + 1"),
    ("select v from qc.part1 where id = 1", "update qc.parted set v = v + 1"),
    ("select n from qc.audit", "insert into qc.audited values (1, 1)"),
    ("select v from qc.a where id = 1", "update qc.view_a set v = v + 1"),
    ("select * from qc.b where id = 1", "alter table qc.b add extra int default 5; alter table qc.b drop extra; update qc.b set v = v + 1"),
])
def test_a_change_is_seen_at_once(cached, sql, change):
    with cached.connect() as writer, cached.connect() as reader:
        for _ in range(2):  # planned by what the catalog answers, then by what is remembered of it
            assert hits_of(reader, sql) >= 1
            before = reader.execute(sql).fetchall()
            writer.execute(change)
            assert reader.execute(sql).fetchall() != before
            assert hits_of(reader, sql) >= 1, "and it is kept again"


def test_cascade_and_truncate(cached):
    with cached.connect() as c:
        assert hits_of(c, "select count(*) from qc.child") >= 1
        c.execute("delete from qc.parent")
        assert value(c, "select count(*) from qc.child") == 0
        c.execute("insert into qc.parent values (1, 0)")
        c.execute("insert into qc.child values (1, 0)")
        assert value(c, "select count(*) from qc.child") == 1
        c.execute("truncate qc.parent cascade")
        assert value(c, "select count(*) from qc.child") == 0
        c.execute("insert into qc.parent values (1, 0)")


def test_copy(cached):
    with cached.connect() as c:
        before = value(c, "select count(*) from qc.audit")
        c.execute("select count(*) from qc.audit")
        with c.cursor().copy("copy qc.audit from stdin") as copy:
            copy.write("1\n2\n")
        assert value(c, "select count(*) from qc.audit") == before + 2


def test_sql_prepared_write(cached):
    with cached.connect() as c:
        c.execute("prepare p (int) as update qc.a set v = $1 where id = 1")
        for n in range(1, 4):
            assert hits_of(c, "select v from qc.a where id = 1") >= 1
            c.execute(f"execute p ({n})")
            assert value(c) == n
        c.execute("deallocate p")


# Transactions.

def test_a_transaction_sees_what_it_wrote_and_others_do_not(cached):
    with cached.connect() as other, cached.connect(autocommit=False) as c:
        assert hits_of(other, "select v from qc.a where id = 1") >= 1
        c.execute("update qc.a set v = 50 where id = 1")
        assert value(c) == 50
        assert value(other) == 0
        assert hits_of(other, "select v from qc.a where id = 1") >= 1, "nothing has changed for others yet"
        c.commit()
        assert value(other) == 50
        c.execute("update qc.a set v = 60 where id = 1")
        assert value(c) == 60
        c.rollback()
        assert value(c) == 50 and value(other) == 50


def test_kept_aside_until_commit(cached, cluster):
    with cached.connect(autocommit=False) as c, cached.connect() as other:
        assert value(c, "select v from qc.a where id = 4") == 0
        before = int(figures(other)["entries"])
        c.rollback()
        assert int(figures(other)["entries"]) == before, "a rollback drops it"
        assert value(c, "select v from qc.a where id = 4") == 0
        assert int(figures(other)["entries"]) == before
        c.commit()
        assert int(figures(other)["entries"]) == before + 1


def test_one_snapshot_passes_by(cached):
    with cached.connect() as c:
        assert hits_of(c, "select v from qc.a where id = 5") >= 1
        for level in ("repeatable read", "serializable"):
            c.execute(f"begin isolation level {level}")
            assert hits_of(c, "select v from qc.a where id = 5") == 0
            c.execute("commit")


def test_temporary_tables_pass_by(cached):
    with cached.connect() as c:
        c.execute("set search_path = qc")
        assert hits_of(c, "select v from a where id = 5") >= 1
        c.execute("create temp table a as select 5 as id, 77 as v")
        assert value(c, "select v from a where id = 5") == 77


def test_prepared_transaction(tables, start_proxy, cluster):
    if cluster.primary.psql("show max_prepared_transactions").strip() == "0":
        pytest.skip("the servers allow no prepared transactions")
    proxy = start_proxy(ON_PRIMARY)
    with proxy.connect() as c, proxy.connect() as other:
        before = value(other)
        for statement in ("begin", "update qc.a set v = v + 1 where id = 1", "prepare transaction 'qc'"):
            c.execute(statement)
        assert hits_of(other, "select v from qc.a where id = 1") >= 1
        assert value(other) == before
        c.execute("commit prepared 'qc'")
        assert value(other) == before + 1


# The extended protocol.

SELECT = "select v from qc.a where id = $1"


def test_a_name_parsed_twice_in_a_unit_fails_as_on_a_server(cached):
    with Client(cached.port).login() as c:
        for _ in range(3):  # the answer is in the cache from the first time on
            c.send(parse(SELECT), bind("1"), execute(), SYNC)
            assert kinds(c.until()) == "12DCZ"
        c.send(parse(SELECT, name="twice"), parse(SELECT, name="twice"), bind("1", statement="twice"), execute(), SYNC)
        assert kinds(c.until()) == "1EZ"
        c.send(parse(SELECT), bind("1"), execute(), SYNC)
        assert kinds(c.until()) == "12DCZ"


def test_constants_are_those_of_the_parse(cached):
    """A session that has changed DateStyle since its Parse neither finds nor leaves answers for those that have not."""
    sql = "select v + ('01/02/03'::date - date '2000-01-01') from qc.a where id = $1"
    with Client(cached.port).login() as a, Client(cached.port).login() as b:
        def ask(c, name):
            c.send(bind("1", statement=name), execute(), SYNC)
            return [row(p) for k, p in c.until() if k == "D"]
        for c in (a, b):
            c.ask("set datestyle = 'ISO, MDY'")
        b.send(parse(sql, name="month"), SYNC)
        b.until()
        a.ask("set datestyle = 'ISO, DMY'")
        a.send(parse(sql, name="day"), SYNC)
        a.until()
        a.ask("set datestyle = 'ISO, MDY'")
        day, month = ask(a, "day"), ask(b, "month")
        assert int(day[0][0]) - int(month[0][0]) == 30
        for _ in range(2):
            assert (ask(b, "month"), ask(a, "day")) == (month, day)


def test_units_are_answered_whole(cached, cluster):
    unit = (parse(SELECT), bind("1"), describe(), execute(), SYNC)
    with Client(cached.port).login() as c, Client(cached.port).login() as d:
        c.send(*unit)
        first = c.until()
        behind(cluster, "update qc.a set v = 99 where id = 1")
        for client in (c, d):
            client.send(*unit)
            assert client.until() == first
        d.send(parse(SELECT), bind("2"), describe(), execute(), SYNC)
        assert kinds(d.until()) == kinds(first)
        # named, in a unit of its own, then run again and again
        d.send(parse(SELECT, name="s"), SYNC)
        assert kinds(d.until()) == "1Z"
        for _ in range(3):
            d.send(bind("1", statement="s"), execute(), SYNC)
            assert kinds(d.until()) == "2DCZ"
        # a named Parse that is answered here is known to servers when it is needed there
        c.send(parse(SELECT, name="t"), bind("1", statement="t"), execute(), SYNC)
        assert kinds(c.until()) == "12DCZ"
        c.send(bind("7", statement="t"), describe(), execute(), SYNC)
        assert kinds(c.until()) == "2TDCZ"
        c.send(parse(SELECT, name="t"), SYNC)
        assert error(c.until()[0][1])["C"] == "42P05"


def test_what_was_kept_without_a_description_does_not_answer_one(cached):
    with Client(cached.port).login() as c:
        for described in (False, False, True, True, False):
            c.send(parse(SELECT), bind("3"), *([describe()] if described else []), execute(), SYNC)
            assert kinds(c.until()) == ("12TDCZ" if described else "12DCZ")


def test_result_formats_and_parameters_are_part_of_the_key(cached):
    with Client(cached.port).login() as c:
        for value_ in ("1", "2", "1", "2"):
            c.send(parse("select $1::int * 10"), bind(value_), execute(), SYNC)
            assert row(c.until()[2][1]) == [str(int(value_) * 10)]


def test_a_pipeline_with_a_write_in_it(cached):
    read = (parse(SELECT), bind("1"), execute())
    with Client(cached.port).login() as c:
        for n in range(1, 5):
            c.send(*read, SYNC)
            assert row(c.until()[2][1]) == [str(n - 1)]
            c.send(*read, parse("update qc.a set v = v + 1 where id = 1"), bind(), execute(), *read, SYNC)
            got = [row(m[1])[0] for m in c.until() if m[0] == "D"]
            assert got == [str(n - 1), str(n)]
        c.send(*read, *read, *read, SYNC)
        assert [row(m[1])[0] for m in c.until() if m[0] == "D"] == ["4"] * 3


def test_row_limits_and_errors_are_not_kept(cached):
    with Client(cached.port).login() as c:
        for _ in range(3):
            c.send(parse("select id from qc.a order by id"), bind(), execute(rows=2), SYNC)
            assert kinds(c.until()) == "12DDsZ"
            c.send(parse("select 1 / $1::int"), bind("0"), execute(), SYNC)
            assert kinds(c.until()) in ("1EZ", "12EZ")


def test_drivers_prepared_statements(cached):
    with cached.connect() as c, cached.connect() as w:
        for n in range(12):
            w.execute("update qc.a set v = %s where id = 1", (n,), prepare=True)
            for _ in range(3):
                assert c.execute("select v from qc.a where id = %s", (1,), prepare=True).fetchone() == (n,)


# What people see and do.

def test_figures_log_and_commands(start_proxy, tables):
    proxy = start_proxy({**ON_PRIMARY, "log_per_node_statement": True, "log_min_messages": "log"}, fresh=True)
    with proxy.connect() as c:
        assert figures(c)["hits"] == "0" and figures(c)["entries"] == "0"
        for _ in range(4):
            c.execute("select v from qc.a where id = 9")
        f = figures(c)
        assert (f["hits"], f["selects"], f["ratio"], f["entries"]) == ("3", "1", "0.75", "1")
        assert int(f["used"]) > 0 and int(f["used"]) + int(f["free"]) == 67108864
        wait_until(lambda: "query result fetched from cache. statement: select v from qc.a where id = 9" in proxy.log(), "the line")
        wait_until(lambda: "fetch from memory cache" in proxy.log(), "the log to say so")
        notices = []
        c.add_notice_handler(lambda d: notices.append(d.message_primary))
        c.execute("pgpool set cache delete 'select v from qc.a where id = 9'")
        c.execute("pgpool set cache delete 'select v from qc.a where id = 9'")
        assert notices == ['query cache deleted. query: "select v from qc.a where id = 9"',
                           'query cache does not exist for query: "select v from qc.a where id = 9"']
        assert figures(c)["entries"] == "0"


def test_large_results_are_not_kept(start_proxy, tables):
    proxy = start_proxy({**ON_PRIMARY, "memqcache_maxcache": 1000, "log_min_messages": "debug1", "num_workers": 1})
    with proxy.connect() as c:
        assert hits_of(c, "select repeat('x', 100)") >= 1
        assert hits_of(c, "select repeat('x', 2000)") == 0
        line = "pool_add_temp_query_cache: data size exceeds memqcache_maxcache"
        wait_until(lambda: f"LOG:  {line}" in proxy.log(), "the line")

        def softly():
            c.execute("select repeat('x', 2000)")
            return f"DEBUG1:  {line}" in proxy.log()
        wait_until(softly, "the next ones to be for DEBUG1")


def test_expiry(start_proxy, tables, cluster):
    proxy = start_proxy({**ON_PRIMARY, "memqcache_expire": 1})
    with proxy.connect() as c:
        start = value(c, "select v from qc.b where id = 6")
        behind(cluster, "update qc.b set v = v + 1 where id = 6")
        wait_until(lambda: value(c, "select v from qc.b where id = 6") == start + 1, "expiry")


def test_without_invalidation_only_time_ends_an_entry(start_proxy, tables):
    proxy = start_proxy({**ON_PRIMARY, "memqcache_auto_cache_invalidation": False})
    with proxy.connect() as c:
        before = value(c, "select v from qc.b where id = 7")
        c.execute("update qc.b set v = v + 1 where id = 7")
        assert value(c, "select v from qc.b where id = 7") == before


def test_a_writer_whose_outcome_is_unknown(start_proxy, tables, cluster):
    """Its link dies under the commit: the table stays out of the cache, and others are not hurt."""
    proxy = start_proxy(ON_PRIMARY, fresh=True)
    with proxy.connect() as c, proxy.connect() as other:
        assert hits_of(other, "select v from qc.b where id = 8") >= 1
        with pytest.raises(psycopg.Error):
            c.execute("with k as (select pg_terminate_backend(pg_backend_pid())) update qc.b set v = v + 1 from k")
        assert hits_of(other, "select v from qc.b where id = 8", 3) == 0
        assert hits_of(other, "select v from qc.a where id = 8", 3) >= 2


def test_a_standby_is_believed_when_it_has_replayed(start_proxy, tables, cluster):
    """What it had replayed 3 s before is known by the rounds of sr_check_period: until then its answers are not kept."""
    proxy = start_proxy({**ON, "backend_weight0": 0, "sr_check_period": 1}, fresh=True)
    sql = "select v from qc.b where id = 9"
    with proxy.connect() as c:
        c.execute("update qc.b set v = v + 1 where id = 9")
        assert hits_of(c, sql) == 0, "the standby may lack it"
        wait_until(lambda: hits_of(c, sql) == 2, "hits")
        before = c.execute(sql).fetchone()[0]
        behind(cluster, "update qc.b set v = v + 1 where id = 9")
        assert value(c, sql) == before


def test_a_promotion_forgets_everything():
    """The new primary may lack what was shown. A change that nobody could notice is seen only because of it."""
    h = BuiltinHerd(**ON_PRIMARY)
    try:
        h.start()
        with h.proxy.connect() as c:
            c.execute("create table t (v int)")
            c.execute("insert into t values (1)")
            h.cluster.wait_replayed()
            assert hits_of(c, "select v from t", 3) >= 2
            h.cluster.nodes[0].kill()
            h.cluster.nodes[successor_of_node_0(h)].psql("update t set v = 2")
            assert value(c, "select v from t") == 2
            # And it recovers: answers of the new primary are kept, and go when they are changed.
            assert hits_of(c, "select v from t", 3) >= 2
            c.execute("update t set v = 3")
            assert value(c, "select v from t") == 3
    finally:
        h.end()


# Proof.

def race(proxies, cluster, balanced, extended, pause=0.002):
    """Nobody ever reads less than what somebody had been told to be committed before he asked. Until enough was read."""
    told = {1: 0, 2: 0, 3: 0}
    stop, problems, served = threading.Event(), [], [0]
    cluster.primary.psql("update qc.a set v = 0")
    cluster.wait_replayed()
    with proxies[0].connect() as c:
        c.execute("update qc.a set v = 0")

    def heard(work, *args):
        try:
            work(*args)
        except Exception as e:
            problems.append(e)

    def writer(row_id):
        with proxies[row_id % len(proxies)].connect() as c:
            n = 0
            while not stop.is_set():
                n += 1
                began = time.monotonic()
                if n % 3 == 0:
                    with c.transaction():
                        c.execute(f"update qc.a set v = {n} where id = {row_id}")
                else:
                    c.execute(f"update qc.a set v = {n} where id = {row_id}")
                told[row_id] = n
                # So that there is something to be kept in between, however slow writes are now.
                time.sleep(max(pause, 2 * (time.monotonic() - began)))

    def reader(number):
        with proxies[number % len(proxies)].connect() as c:
            i = 0
            while not stop.is_set():
                i += 1
                row_id = i % 3 + 1
                least = told[row_id]
                if extended:
                    got = c.execute("select v from qc.a where id = %s", (row_id,), prepare=True).fetchone()[0]
                else:
                    got = c.execute(f"select v from qc.a where id = {row_id}").fetchone()[0]
                if got < least:
                    problems.append((row_id, least, got))
                if not balanced:  # with remote_apply a standby shows a commit before the primary does
                    told[row_id] = max(told[row_id], got)
                served[0] += 1

    threads = [threading.Thread(target=heard, args=(writer, i)) for i in told]
    threads += [threading.Thread(target=heard, args=(reader, i)) for i in range(4)]
    for t in threads:
        t.start()
    try:
        watches = [proxy.connect() for proxy in proxies]
        start = [int(figures(c)["hits"]) for c in watches]
        wait_until(lambda: problems or served[0] > 500 and
                   all(int(figures(c)["hits"]) > before + 50 for c, before in zip(watches, start)), "reads and hits")
        for c in watches:
            c.close()
    finally:
        stop.set()
        for t in threads:
            t.join(60)
    assert not problems, problems[:10]


@pytest.mark.parametrize("extended", [False, True])
@pytest.mark.parametrize("balanced", [False, True])
def test_nobody_reads_what_is_older_than_what_was_seen(start_proxy, tables, cluster, balanced, extended):
    # Of tables that change all the time only the primary's answers are kept: it must be asked now and then.
    proxy = start_proxy({**ON, "load_balance_mode": balanced, "statement_level_load_balance": True, "num_workers": 2,
                         "sr_check_period": 1}, fresh=True)
    race([proxy], cluster, balanced, extended)


@pytest.mark.parametrize("method", ["shmem", "memcached"])
def test_random_statements_of_several_sessions(start_proxy, tables, cluster, request, method):
    """Each answer compared with the server's own, in the same state."""
    import random
    seed = request.config.getoption("--seed") or random.randrange(1 << 30)
    rnd = random.Random(seed)
    shared = request.getfixturevalue("memcached").settings() if method == "memcached" else {}
    proxy = start_proxy({**ON_PRIMARY, **shared, "pool_mode": "transaction"}, fresh=True)
    direct = psycopg.connect(f"host=127.0.0.1 port={cluster.primary.port} user=postgres dbname=test", autocommit=True)
    sessions = [{"c": proxy.connect(), "wrote": False} for _ in range(4)]
    reads = ["select sum(v) from qc.a", "select v from qc.a where id = 1", "select count(*) from qc.b",
             "select a.v + b.v from qc.a, qc.b where a.id = b.id and a.id = 2", "select count(*) from qc.parted",
             "select count(*) from qc.part1", "select count(*) from qc.child"]
    writes = ["update qc.a set v = v + 1 where id = 1", "update qc.b set v = v + 2 where id = 2",
              "insert into qc.part1 values (1, 1)", "insert into qc.parted values (2, 1)", "delete from qc.parted",
              "insert into qc.child values (1, 1)", "delete from qc.child", "select qc.change()", "call qc.change_all()"]
    with proxy.connect() as c:
        for sql in reads:  # in a new memcached nothing is kept for 3 s
            wait_until(lambda: hits_of(c, sql) == 2, "hits")
        start = int(figures(c)["hits"])
    for step in range(1500):
        s = rnd.choice(sessions)
        open_ = s["c"].info.transaction_status != psycopg.pq.TransactionStatus.IDLE
        what = rnd.random()
        if what < 0.05 and not open_ and not any(x["wrote"] for x in sessions):
            s["c"].execute("begin")
        elif what < 0.12 and open_:
            s["c"].execute(rnd.choice(["commit", "rollback"]))
            s["wrote"] = False
        elif what < 0.3 and not any(x["wrote"] for x in sessions if x is not s):  # two writers could wait for each other
            s["c"].execute(rnd.choice(writes))
            s["wrote"] = s["c"].info.transaction_status != psycopg.pq.TransactionStatus.IDLE
        elif what < 0.33 and not open_:  # one that called a function passes the cache by from then on
            s["c"].close()
            s["c"] = proxy.connect()
        elif not s["wrote"]:
            sql = rnd.choice(reads)
            for _ in range(2):  # the second is a hit unless something speaks against it
                assert s["c"].execute(sql).fetchall() == direct.execute(sql).fetchall(), (seed, step, sql)
    for s in sessions:
        s["c"].close()
    with proxy.connect() as c:
        hits = int(figures(c)["hits"]) - start
    direct.close()
    assert hits > 20, hits  # how many there are is chance, that they are right is the test


def test_eviction_under_load(start_proxy, tables):
    proxy = start_proxy({**ON_PRIMARY, "memqcache_total_size": 1048576, "memqcache_cache_block_size": 65536,
                         "memqcache_maxcache": 60000, "num_workers": 2}, fresh=True)
    problems = []

    def load(n):
        with proxy.connect() as c:
            for i in range(400):
                size = (i * 37 + n) % 5000
                got = c.execute(f"select repeat('{n}', {size})").fetchone()[0]
                if got != str(n) * size:
                    problems.append((n, size))
                c.execute("select v from qc.a where id = 1")

    threads = [threading.Thread(target=load, args=(n,)) for n in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join(60)
    assert not problems
    with proxy.connect() as c:
        f = figures(c)
        assert 0 < int(f["used"]) <= 1048576, f
        assert hits_of(c, "select v from qc.a where id = 1") == 2, "what is used stays"
