"""What the query cache must not take for now: definitions of an old snapshot, and servers with another history."""
import contextlib
import os
import time

import psycopg
import pytest

from support.cluster import Cluster
from support.proxy import Proxy
from support.system import wait_until
from test_cache_side_ways import first_answer
from test_pcp import USERS, Pcp
from test_query_cache import ON_PRIMARY

pytestmark = [pytest.mark.proxy_only, pytest.mark.herdgate_only]

PROMOTE = """#!/bin/sh
[ "$1" = "$2" ] || exit 0
exec {program} -X -h 127.0.0.1 -p $3 -U postgres -d postgres -c 'select pg_promote(true, 60)'
"""


@contextlib.contextmanager
def cluster_of(nodes, **words):
    cluster = Cluster(nodes=nodes, **words).create().start()
    try:
        yield cluster
    finally:
        cluster.destroy()


@contextlib.contextmanager
def proxy_of(cluster, **settings):
    p = Proxy(cluster, name="history")
    p.settings.update({"memory_cache_enabled": True, "sr_check_period": 1, **settings})
    p.files["pcp.conf"] = USERS
    p.start()
    try:
        yield p
    finally:
        p.stop()
        p.remove()


def once(proxy, sql):
    """As soon as it is answered."""
    return first_answer(proxy, sql)[0]


def promoting(cluster):
    path = f"{cluster.folder}/promote.sh"
    with open(path, "w") as f:
        f.write(PROMOTE.format(program=f"{cluster.bin}/psql"))
    os.chmod(path, 0o755)
    return f"{path} %d %P %r"


def cut_off(node):
    """It receives nothing more."""
    node.psql("alter system set primary_conninfo = ''")
    node.psql("select pg_reload_conf()")
    wait_until(lambda: node.psql("select count(*) from pg_stat_wal_receiver") == "0", "the receiver to end")


# What defines, what teaches the catalog's cache, the read that is kept, the write that changes it, and its answer then.
DEFINITIONS = {
    "partition": ("create table snap_p2 partition of snap_p for values from (10) to (20); insert into snap_p2 values (11, 1)",
                  "select sum(v) from snap_p", "select sum(v) from snap_p", "update snap_p2 set v = v + 100", 102),
    "trigger": ("create trigger g after insert on snap_w for each row execute function snap_bump()",
                "select count(*) from snap_w", "select v from snap_u", "insert into snap_w values (1)", 2),
    "view": ("create or replace view snap_v as select v from snap_w2",
             "select * from snap_v", "select * from snap_v", "update snap_w2 set v = 7", 7),
    "function": ("create or replace function snap_f() returns int language plpgsql as "
                 "$$begin update snap_u set v = v + 1; return 1; end$$",
                 "select snap_f() from snap_x where false", "select v from snap_u", "select snap_f()", 2),
}


@pytest.mark.parametrize("isolation", ["repeatable read", "serializable", "serializable, read only, deferrable"])
@pytest.mark.parametrize("what", DEFINITIONS)
@pytest.mark.parametrize("mode", ["session", "transaction"])
def test_definitions_as_of_an_old_snapshot_are_not_kept(start_proxy, mode, what, isolation):
    """A transaction of one snapshot asks the catalog, after somebody has defined something that it cannot see."""
    proxy = start_proxy({**ON_PRIMARY, "pool_mode": mode, "num_workers": 1, "cache_safe_memqcache_table_list": "snap_v"})
    defines, teaches, read, write, answer = DEFINITIONS[what]
    with proxy.connect() as owner, proxy.connect() as reader, proxy.connect() as old:
        owner.execute("""
            drop view if exists snap_v; drop table if exists snap_x, snap_u, snap_w, snap_w2, snap_p;
            create table snap_x (v int); insert into snap_x values (1); create table snap_u (v int); insert into snap_u values (1);
            create table snap_w (v int); create table snap_w2 (v int); insert into snap_w2 values (2);
            create view snap_v as select v from snap_x;
            create table snap_p (id int, v int) partition by range (id);
            create table snap_p1 partition of snap_p for values from (0) to (10); insert into snap_p values (1, 1);
            create or replace function snap_bump() returns trigger language plpgsql as
              $$begin update snap_u set v = v + 1; return new; end$$;
            create or replace function snap_f() returns int language sql stable as 'select 1'""")
        try:
            old.execute(f"begin isolation level {isolation}")
            old.execute("select v from snap_x")
            owner.execute(defines)
            old.execute(teaches)
            old.execute("commit")
            for _ in range(3):
                reader.execute(read)
            owner.execute(write)
            for c in (reader, old, owner):
                assert c.execute(read).fetchone() == (answer,)
        finally:
            owner.execute("drop view snap_v; drop table snap_x, snap_u, snap_w, snap_w2, snap_p;"
                          "drop function snap_f(); drop function snap_bump()")


def figures(c):
    cursor = c.execute("show pool_cache")
    return dict(zip([d.name for d in cursor.description], cursor.fetchone()))


def test_a_standby_that_was_promoted_behind_us_fills_nothing():
    """It is ahead of the primary by its own writes, and has none of the primary's."""
    with cluster_of(2) as cluster, proxy_of(cluster, backend_weight0=0) as proxy:
        first, second = cluster.nodes
        with proxy.connect() as c:
            c.execute("create table t (v int); insert into t values (1)")
            cluster.wait_replayed()
            second.promote()
            second.psql("create table other as select repeat('x', 500) from generate_series(1, 20000)")
            c.execute("update t set v = 2")
            before = int(figures(c)["num_selects"])
            end = time.monotonic() + 8  # kAsyncCommit and some rounds of the monitor
            while time.monotonic() < end:
                c.execute("select v from t")
            assert int(figures(c)["num_selects"]) > before
        Pcp(proxy).ok("pcp_detach_node", "-n", "1")
        wait_until(lambda: once(proxy, "show pool_nodes") == "0" and node_of(proxy, "select v from t") == 0, "node 1 to be out")
        assert once(proxy, "select v from t") == 2 == int(first.psql("select v from t"))


def node_of(proxy, sql):
    with proxy.connect() as c:
        return int(dict(c.execute(f"pgpool explain route {sql}").fetchall())["node"].split()[0])


def test_a_standby_ahead_on_the_old_timeline_fills_nothing():
    """The new primary lagged; a standby that nobody has pointed at it has more of the old one, and nothing of the new one."""
    with cluster_of(3) as cluster:
        settings = {"backend_weight0": 0, "backend_weight1": 0, "failover_command": promoting(cluster), "health_check_period": 1,
                    "health_check_max_retries": 0, "detach_false_primary": True}
        with proxy_of(cluster, **settings) as proxy:
            first, lagging, ahead = cluster.nodes
            with proxy.connect() as c:
                c.execute("create table t (v int); insert into t values (1)")
            cluster.wait_replayed()
            cut_off(lagging)
            with proxy.connect() as c:
                c.execute("update t set v = 2")
            first.psql("select pg_logical_emit_message(false, 'x', repeat('x', 1000000)) from generate_series(1, 20)")
            position = first.psql("select pg_current_wal_lsn()")
            wait_until(lambda: ahead.psql(f"select pg_last_wal_replay_lsn() >= '{position}'") == "t", "node 2")
            first.kill()
            assert once(proxy, "update t set v = 3 returning v") == 3
            with proxy.connect() as c:
                end = time.monotonic() + 8
                while time.monotonic() < end:
                    c.execute("select v from t")
            Pcp(proxy).ok("pcp_detach_node", "-n", "2")
            wait_until(lambda: node_of(proxy, "select v from t") == 1, "node 2 to be out")
            assert once(proxy, "select v from t") == 3 == int(lagging.psql("select v from t"))


@pytest.mark.parametrize("mode", ["session", "transaction"])
def test_a_crash_that_no_link_has_seen(mode):
    with cluster_of(1) as cluster:
        settings = {"pool_mode": mode, "connection_cache": False, "connection_life_time": 1, "cache_safe_memqcache_table_list": "less"}
        with proxy_of(cluster, **settings) as proxy:
            with proxy.connect() as c:
                c.execute("create unlogged table less (v int); insert into less values (1)")
            cluster.primary.psql("checkpoint")
            read = "select count(*) from less"
            assert [once(proxy, read) for _ in range(3)] == [1, 1, 1]
            cluster.sessions.close()
            direct = psycopg.connect(f"host={cluster.folder} port={cluster.primary.port} user=postgres dbname=test", autocommit=True)
            others = "select count(*) from pg_stat_activity where backend_type = 'client backend' and datname = 'test' and pid <> pg_backend_pid()"
            wait_until(lambda: direct.execute(others).fetchone() == (0,), "the links to end")
            os.kill(direct.execute("select pg_backend_pid()").fetchone()[0], 9)
            direct.close()
            wait_until(lambda: cluster.primary.ready(), "the server")
            wait_until(lambda: once(proxy, read) == 0, "the answer of now")  # with the next round of sr_check_period


@pytest.mark.parametrize("how", ["detach", "stop"])
def test_in_raw_mode_another_server_begins_anew(how):
    with cluster_of(1) as one, cluster_of(1) as two:
        for cluster, value in ((one, 1), (two, 2)):
            cluster.primary.psql(f"create table t (v int); insert into t values ({value})")
        settings = {"backend_clustering_mode": "raw", "connection_cache": how == "detach",
                    "health_check_period": 0 if how == "detach" else 1, "backend_hostname1": "127.0.0.1",
                    "backend_port1": two.primary.port, "backend_weight1": 1, "backend_data_directory1": two.primary.data}
        with proxy_of(one, **settings) as proxy:
            assert [once(proxy, "select v from t") for _ in range(3)] == [1, 1, 1]
            one.sessions.close()
            if how == "detach":
                Pcp(proxy).ok("pcp_detach_node", "-n", "0")
            else:
                one.primary.stop()
            wait_until(lambda: once(proxy, "/*NO QUERY CACHE*/ select v from t") == 2, "the other server")
            assert once(proxy, "select v from t") == 2


@pytest.mark.parametrize("how", ["failover", "crash"])
def test_a_definition_that_is_lost_is_asked_for_anew(how):
    """The new primary, or the old one after a crash, still has the trigger whose DROP was answered."""
    with cluster_of(2 if how == "failover" else 1, conf="wal_writer_delay = 10s\nautovacuum = off") as cluster:
        settings = {"load_balance_mode": False, "num_workers": 1, "failover_on_backend_error": how == "failover",
                    "failover_command": promoting(cluster) if how == "failover" else ""}
        with proxy_of(cluster, **settings) as proxy:
            with proxy.connect() as c:
                c.execute("""
                    create table u (v int); insert into u values (1); create table w (v int);
                    create function bump() returns trigger language plpgsql as
                      $$begin update u set v = v + 1; return new; end$$;
                    create trigger g after insert on w for each row execute function bump()""")
            first, now = cluster.nodes[0], cluster.nodes[-1]
            first.psql("checkpoint")
            if how == "failover":
                cluster.wait_replayed()
                cut_off(now)
            with proxy.connect() as c:
                c.execute("set synchronous_commit = off")
                c.execute("drop trigger g on w")
                c.execute("select count(*) from w")
                c.execute("insert into w values (0)")
                first.kill()
            if how == "crash":
                first.start()
            once(proxy, "update u set v = v returning v")
            if now.psql("select count(*) from pg_trigger where tgname = 'g'") == "0":
                pytest.skip("the server had written the DROP before it was killed")
            with proxy.connect() as reader, proxy.connect() as writer:
                for _ in range(3):
                    reader.execute("select v from u")
                writer.execute("insert into w values (1)")
                assert reader.execute("select v from u").fetchone()[0] == int(now.psql("select v from u"))
