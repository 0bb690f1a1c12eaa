"""A proxy that is stopped or killed over a write leaves it to the server, which carries it out though nobody hears of it.

The next proxy keeps nothing until the server says that nothing of before is at work there. A write waits here for a lock,
or with its commit for a standby: so long no answer may come from the cache, and the first one after it is the new one.
"""
import threading
import time

import psycopg
import pytest

from support.cluster import Cluster
from support.proxy import Proxy
from support.system import wait_until
from test_query_cache import ON_PRIMARY, hits_of, value

pytestmark = [pytest.mark.proxy_only, pytest.mark.herdgate_only]
SQL = "select v from t"


@pytest.fixture(scope="module")
def pair():
    cluster = Cluster(nodes=2, remote_apply=True).create().start()
    cluster.primary.psql("create role plain login", "postgres")
    yield cluster
    cluster.nodes[1].thaw()
    cluster.destroy()


@pytest.fixture
def new_proxy(pair):
    pair.primary.psql("""
        set client_min_messages = error; drop view if exists w; drop table if exists t, u;
        create table t (v int); insert into t values (1); create table u (v int); insert into u values (11);
        create view w as select v from t; grant all on t, u, w to public""")
    pair.wait_replayed()
    proxies = []

    def new(**settings):
        proxies.append(Proxy(pair, name=f"restart{len(proxies)}"))
        proxies[-1].settings.update({**ON_PRIMARY, **settings})
        return proxies[-1].start()
    yield new
    for held in Held.live:
        held.let_go()
    Held.live.clear()
    for proxy in proxies:
        proxy.stop()
        proxy.remove()


def direct(cluster):
    return psycopg.connect(f"host={cluster.folder} port={cluster.primary.port} user=postgres dbname=test")


class Held:
    """A statement sent through the proxy waits at the server; release() lets it go on and sees it carried out."""

    live = []

    def __init__(self, cluster, proxy, for_what, sql):
        self.cluster, self.blocker = cluster, None
        self.live.append(self)
        if for_what == "a lock":
            self.blocker = direct(cluster)
            self.blocker.execute("select from t for update")
        else:
            cluster.nodes[1].freeze()
        self.event = "wait_event_type = 'Lock'" if self.blocker else "wait_event = 'SyncRep'"
        self.told = []
        self.thread = threading.Thread(target=self.run, args=(proxy, sql))
        self.thread.start()
        wait_until(self.waits, f"the statement to wait for {for_what}")

    def run(self, proxy, sql):
        try:
            with proxy.connect() as c:
                c.execute(sql)
            self.told.append("done")
        except psycopg.Error as e:
            self.told.append(e)

    def waits(self):
        return self.cluster.primary.psql(f"select count(*) from pg_stat_activity where {self.event}") == "1"

    def lose(self, proxy, how):
        proxy.stop() if how == "stop" else proxy.abort()
        self.thread.join()
        assert isinstance(self.told[0], psycopg.Error)
        proxy.start()
        assert self.waits(), "the server knows nothing of it"

    def let_go(self):
        if self.blocker:
            self.blocker.close()
        self.cluster.nodes[1].thaw()

    def release(self, sql, result):
        self.let_go()
        wait_until(lambda: self.cluster.primary.psql(sql) == str(result), "the statement to be carried out")


def recovers(c, sql=SQL):
    wait_until(lambda: hits_of(c, sql) == 2, "the cache to be in use")


MODES = [
    ("a lock", {}), ("a standby", {}), ("a lock", {"pool_mode": "transaction"}), ("a lock", {"sr_check_period": 0}),
    ("a lock", {"backend_clustering_mode": "raw"}), ("a lock", {"backend_clustering_mode": "raw", "sr_check_user": ""})]


@pytest.mark.parametrize("how", ["stop", "kill"])
@pytest.mark.parametrize("for_what, settings", MODES, ids=str)
def test_a_write_that_outlives_its_proxy(pair, new_proxy, for_what, settings, how):
    proxy = new_proxy(**settings)
    held = Held(pair, proxy, for_what, "update t set v = 2")
    held.lose(proxy, how)
    with proxy.connect() as c:
        assert value(c, SQL) == 1 and hits_of(c, SQL, 3) == 0, "what may change at any moment is not kept"
        held.release(SQL, 2)
        assert value(c, SQL) == 2
        recovers(c)
        c.execute("update t set v = 3")
        assert value(c, SQL) == 3
    wait_until(lambda: "query cache: in use, nothing of before" in proxy.log(), "the log to say it")


def test_where_standbys_answer(pair, new_proxy):
    """They are believed again when they have replayed what was committed before the end of the doubt."""
    proxy = new_proxy(load_balance_mode=True, backend_weight0=0)
    held = Held(pair, proxy, "a lock", "update t set v = 2")
    held.lose(proxy, "kill")
    with proxy.connect() as c:
        assert value(c, SQL) == 1 and hits_of(c, SQL, 3) == 0
        held.release(SQL, 2)
        pair.wait_replayed()
        assert value(c, SQL) == 2
        recovers(c)
        assert value(c, SQL) == 2


def test_a_definition_that_outlives_its_proxy(pair, new_proxy):
    """What was learned of the catalog meanwhile counts no more: the view hangs on another table now."""
    proxy = new_proxy(cache_safe_memqcache_table_list="w")
    held = Held(pair, proxy, "a lock", "update t set v = 1; create or replace view w as select v from u")
    held.lose(proxy, "kill")
    with proxy.connect() as c:
        assert value(c, "select v from w") == 1
        held.release("select v from w", 11)
        recovers(c, "select v from w")
        assert value(c, "select v from w") == 11
        c.execute("update u set v = 12")
        assert value(c, "select v from w") == 12


@pytest.mark.parametrize("how", ["stop", "kill"])
def test_another_proxy_with_the_same_memcached(pair, new_proxy, memcached, how):
    """The start empties memcached, and with it the mark that the dead proxy had left there."""
    proxy, other = new_proxy(**memcached.settings()), new_proxy(**memcached.settings())
    with proxy.connect() as c, other.connect() as d:
        recovers(c)
        recovers(d)
    held = Held(pair, proxy, "a lock", "update t set v = 2")
    held.lose(proxy, how)
    with proxy.connect() as c, other.connect() as d:
        until = time.monotonic() + 5  # for 3 s nothing is kept anyway
        while time.monotonic() < until:
            assert value(c, SQL) == value(d, SQL) == 1
            time.sleep(0.1)
        assert hits_of(c, SQL) == 0 and hits_of(d, SQL) == 0, "what may change at any moment is not kept"
        held.release(SQL, 2)
        assert value(c, SQL) == value(d, SQL) == 2
        recovers(c)
        recovers(d)
        d.execute("update t set v = 3")
        assert value(c, SQL) == value(d, SQL) == 3


def test_who_may_not_see_what_others_do_cannot_say_it(pair, new_proxy):
    proxy = new_proxy(sr_check_user="plain")
    with direct(pair) as other, proxy.connect() as c:  # it is there, and what it does is not seen
        other.execute("select 1")
        proxy.stop()
        proxy.start()
        c.close()
        with proxy.connect() as c:
            wait_until(lambda: "plain may not see on node 0 what others do" in proxy.log(), "the log to say it")
            assert hits_of(c, SQL, 3) == 0
            pair.primary.psql("grant pg_monitor to plain", "postgres")
            try:
                recovers(c)
            finally:
                pair.primary.psql("revoke pg_monitor from plain", "postgres")
