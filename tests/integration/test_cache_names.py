"""Roles, databases and prepared transactions that take the name of another one; what is asked for while it is under way."""
import contextlib
import threading

import psycopg
import pytest

from support.system import wait_until
from test_cache_history import cluster_of, proxy_of
from test_pcp import Pcp
from test_query_cache import hits_of

pytestmark = [pytest.mark.proxy_only, pytest.mark.herdgate_only]
ALONE = {"load_balance_mode": False}


def rows(c, sql):
    try:
        return c.execute(sql).fetchall()
    except psycopg.Error as e:
        return e.sqlstate


def read_and_kept(c, sql):
    assert hits_of(c, sql) >= 1
    return rows(c, sql)


@pytest.fixture(scope="module")
def one():
    with cluster_of(1, conf="max_prepared_transactions = 10") as cluster:
        yield cluster


@pytest.mark.parametrize("mode", ["session", "transaction"])
def test_a_role_of_another_ones_name(one, mode):
    """The session of before lives on; it may read, its successor may not."""
    with proxy_of(one, pool_mode=mode, **ALONE) as proxy, proxy.connect() as admin:
        admin.execute("create role named_a login; create table named (v int); insert into named values (1);"
                      "grant select on named to named_a")
        with proxy.connect(user="named_a") as old:
            old.execute("listen x")  # keeps its connection
            assert read_and_kept(old, "select v from named") == [(1,)]
            admin.execute("alter role named_a rename to named_b")
            admin.execute("create role named_a login")
            for _ in range(3):
                assert rows(old, "select v from named") == [(1,)]
            with proxy.connect(user="named_a") as new:
                assert [rows(new, "select v from named") for _ in range(3)] == ["42501"] * 3
            assert rows(old, "select v from named") == [(1,)]
        admin.execute("drop table named; drop role named_a; drop role named_b")


@pytest.mark.parametrize("mode", ["session", "transaction"])
def test_schemas_by_the_name_of_a_role(one, mode):
    """What "$user" means to the role of before, its successor's write must not be planned by."""
    with proxy_of(one, pool_mode=mode, **ALONE) as proxy, proxy.connect() as admin:
        for role in ("named_a", "named_b"):
            admin.execute(f"create schema {role}; create table {role}.mine (v int); insert into {role}.mine values (1);"
                          f"grant usage on schema {role} to public; grant all on {role}.mine to public")
        admin.execute("create role named_a login")
        with proxy.connect(user="named_a") as old:
            old.execute("listen x")
            assert read_and_kept(old, "select v from mine") == [(1,)]
            admin.execute("alter role named_a rename to named_b")
            admin.execute("create role named_a login")
            rows(old, "select v from mine")
            rows(old, "select v + 1 from mine")
            with proxy.connect(user="named_a") as new:
                assert read_and_kept(admin, "select v from named_a.mine") == [(1,)]
                new.execute("update mine set v = 2")
                assert rows(admin, "select v from named_a.mine") == [(2,)]
                assert rows(admin, "select v from named_b.mine") == [(1,)]
        admin.execute("drop schema named_a, named_b cascade; drop role named_a; drop role named_b")


@pytest.fixture(scope="module")
def pair():
    with cluster_of(2) as cluster:
        yield cluster


def swap(node, one, other):
    node.psql(f"select pg_terminate_backend(pid) from pg_stat_activity where datname in ('{one}', '{other}')", "postgres")
    for before, after in ((one, "swapped"), (other, one), ("swapped", other)):
        node.psql(f"alter database {before} rename to {after}", "postgres")


@pytest.mark.parametrize("cache", [False, True])
@pytest.mark.parametrize("mode", ["session", "transaction"])
def test_databases_are_swapped_at_the_server(pair, mode, cache):
    """Links to the standby are in the old one still: they are lent no more, once the names have been seen."""
    for name, value in (("blue", 1), ("green", 2)):
        pair.primary.psql(f"create database {name}", "postgres")
        pair.primary.psql(f"create table t (v int); insert into t values ({value})", name)
    with proxy_of(pair, pool_mode=mode, memory_cache_enabled=cache, backend_weight0=0, num_workers=1) as proxy:
        def read():
            with proxy.connect(dbname="blue") as c:
                return c.execute("select v from t").fetchone()[0], c.execute("select 2 * v from t").fetchone()[0]
        pair.wait_replayed()
        wait_until(lambda: read() == (1, 2), "the standby's answer")
        swap(pair.primary, "blue", "green")
        pair.wait_replayed()
        wait_until(lambda: read() == (2, 4), "the other one's answer")
        for _ in range(5):
            assert read() == (2, 4)
    for name in ("blue", "green"):
        pair.primary.psql(f"drop database {name}", "postgres")


@pytest.mark.parametrize("mode", ["session", "transaction"])
def test_a_login_while_the_standby_lags_behind_a_rename(pair, mode):
    standby = pair.nodes[1]
    pair.primary.psql("create role lag_a login; create table lagging (v int); insert into lagging values (1);"
                      "grant select on lagging to lag_a")
    pair.wait_replayed()
    with proxy_of(pair, pool_mode=mode, backend_weight0=0, num_workers=1, memory_cache_enabled=False) as proxy:
        with proxy.connect() as admin:
            standby.psql("select pg_wal_replay_pause()", "postgres")
            try:
                admin.execute("alter role lag_a rename to lag_b")
                admin.execute("create role lag_a login")

                def who():
                    with proxy.connect(user="lag_a") as c:
                        return rows(c, "select session_user::text"), rows(c, "select v from lagging")
                assert who() == ([("lag_a",)], [(1,)])  # the standby has not heard yet
            finally:
                standby.psql("select pg_wal_replay_resume()", "postgres")
            pair.wait_replayed()
            wait_until(lambda: who() == ([("lag_a",)], "42501"), "the role of now")
            for _ in range(5):
                assert who() == ([("lag_a",)], "42501")
    pair.primary.psql("drop table lagging; drop role lag_a; drop role lag_b")


# Prepared transactions.

@pytest.fixture
def two(one):
    with proxy_of(one, **ALONE) as proxy, proxy.connect() as c:
        c.execute("create table t1 (v int); create table t2 (v int); insert into t1 values (0); insert into t2 values (0)")
        yield c
        c.execute("drop table t1, t2")


def test_a_prepared_transaction_of_a_name_that_was_used(two, one):
    for sql in ("begin", "update t1 set v = v + 1", "prepare transaction 'again'"):
        two.execute(sql)
    one.primary.psql("rollback prepared 'again'")
    # What fails behind PREPARE leaves it prepared.
    with pytest.raises(psycopg.errors.DivisionByZero):
        two.execute("begin; update t2 set v = v + 1; prepare transaction 'again'; select 1/0")
    assert read_and_kept(two, "select v from t2") == [(0,)]
    two.execute("commit prepared 'again'")
    assert rows(two, "select v from t2") == [(1,)]
    assert read_and_kept(two, "select v from t2") == [(1,)]


def test_what_others_prepare_under_a_name_by_two_proxies(one, memcached):
    settings = {**ALONE, **memcached.settings()}
    with proxy_of(one, **settings) as a, proxy_of(one, **settings) as b, a.connect() as ca, b.connect() as cb:
        ca.execute("create table t1 (v int); create table t2 (v int); insert into t1 values (0); insert into t2 values (0)")
        for c, table in ((ca, "t1"), (cb, "t2")):
            other = cb if c is ca else ca
            c.execute("begin")
            c.execute(f"update {table} set v = v + 1")
            c.execute("prepare transaction 'again'")
            wait_until(lambda: hits_of(ca, "select v from t2", 3) > 0, "an entry of t2")
            other.execute("commit prepared 'again'")
            assert rows(ca, f"select v from {table}") == rows(cb, f"select v from {table}") == [(1,)]
        ca.execute("drop table t1, t2")


# What is asked for meanwhile.

def test_invalidation_is_switched_on_while_a_write_is_under_way(one):
    with proxy_of(one, memqcache_auto_cache_invalidation=False, **ALONE) as proxy, contextlib.ExitStack() as stack:
        c = stack.enter_context(proxy.connect())
        c.execute("drop table if exists waits; create table waits (v int); insert into waits values (1)")
        locker = stack.enter_context(psycopg.connect(
            f"host=127.0.0.1 port={one.primary.port} user=postgres dbname=test"))
        locker.execute("select * from waits for update")
        writer = stack.enter_context(proxy.connect())
        at_work = threading.Thread(target=lambda: writer.execute("update waits set v = 2"))
        at_work.start()
        wait_until(lambda: one.primary.psql("select count(*) from pg_stat_activity where wait_event_type = 'Lock'") == "1",
                   "the wait for the lock")
        proxy.settings["memqcache_auto_cache_invalidation"] = True
        proxy.reload()
        wait_until(lambda: rows(c, "pgpool show memqcache_auto_cache_invalidation") == [("on",)], "the reload")
        wait_until(lambda: hits_of(c, "select v from waits") > 0, "an entry")
        locker.rollback()
        at_work.join()
        assert rows(c, "select v from waits") == [(2,)]
        assert read_and_kept(c, "select v from waits") == [(2,)]


def test_who_empties_the_cache_has_the_catalog_asked_again(one):
    """Definitions made directly, and then what docs/compat.md says is to be done."""
    with proxy_of(one, **ALONE) as proxy, proxy.connect() as c:
        c.execute("create table w (v int); create table u (v int); insert into u values (1); insert into w values (0)")
        assert read_and_kept(c, "select v from u") == [(1,)]
        one.primary.psql("create function bump() returns trigger language plpgsql as "
                         "'begin update u set v = v + 1; return new; end'")
        one.primary.psql("create trigger g after insert on w for each row execute function bump()")
        Pcp(proxy).run("pcp_invalidate_query_cache")

        def heard():
            """The command's answer may come before every worker has heard of it."""
            before = rows(c, "select v from u")[0][0]
            hits_of(c, "select v from u")
            c.execute("insert into w values (5)")
            return rows(c, "select v from u") == [(before + 1,)]
        wait_until(heard, "the trigger's write to be seen")
        for _ in range(3):
            assert heard()
        c.execute("drop table w, u; drop function bump()")
