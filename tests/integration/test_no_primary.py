"""The primary is gone and nobody can take over yet: proxies that start anew, searches that last. Each case ends with "and
it recovers"."""
import os
import threading
import types

import psycopg
import pytest
from support.cluster import Cluster
from support.proxy import Proxy
from support.system import wait_until
from test_builtin_failover import streams_from
from test_failover_races import CONNINFO_LOCK, herd, in_recovery  # noqa: F401

pytestmark = pytest.mark.herdgate_only


def note_of(h):
    return f"{h.proxy.folder}/pgpool_unfinished"


def wait_for_log(h, text, seconds=60):
    wait_until(lambda: text in h.proxy.log(), f"'{text}' in the log", seconds)


def lose_the_proxy_in_a_failover(h, names):
    """Node 2 died earlier; while node 0 is being replaced by node 1 the proxy dies too, and another one starts."""
    h.cluster.nodes[2].kill()
    h.wait_for(primary=0, down=(2,))
    with psycopg.connect(host=h.cluster.inner, port=h.cluster.nodes[1].port, user="postgres", dbname="postgres") as held:
        held.execute("select pg_advisory_lock(%s)", (CONNINFO_LOCK,))
        h.cluster.nodes[0].kill()
        wait_for_log(h, "node 1: its primary_conninfo is being changed by process")
        assert f"failover from 0\nsynchronous_standby_names {names}\nposition " in open(note_of(h)).read()
        h.proxy.abort()
        h.proxy.start()
        wait_for_log(h, "a failover of node 0 did not end")


@pytest.mark.parametrize("sync, names, verdict", [
    ("2 (node1, node2)", 'ANY 2 ("node1", "node2")', "no acknowledged commit is missing: 1 of 2 synchronous standbys answer, 1 are needed"),
    pytest.param("", "", "asynchronous replication: ", marks=pytest.mark.long)])
def test_the_next_proxy_knows_the_rule_of_the_lost_primary(herd, sync, names, verdict):
    h = herd(sync=sync)
    before = h.write()
    lose_the_proxy_in_a_failover(h, names)
    wait_for_log(h, "built-in failover: node 1 was promoted")
    wait_for_log(h, verdict)
    # And it recovers.
    assert h.write() == before + 1
    wait_until(lambda: not os.path.exists(note_of(h)), "the note to be removed")
    h.cluster.nodes[2].rebuild(h.cluster.nodes[1])
    h.pcp.ok("pcp_attach_node", "-n", "2")
    h.wait_for(primary=1, down=(0,))


def test_the_next_proxy_promotes_nobody_who_may_lack_a_commit(herd):
    h = herd(sync="ANY 1 (node1, node2)")
    before = h.write()
    lose_the_proxy_in_a_failover(h, 'ANY 1 ("node1", "node2")')
    wait_for_log(h, "1 of 2 synchronous standbys answer, 2 are needed")
    assert in_recovery(h.cluster.nodes[1]) == "t"
    # And it recovers: the old primary is back and goes on.
    h.cluster.nodes[0].start()
    h.wait_for(primary=0, down=(2,))
    h.cluster.nodes[2].start()
    assert h.write() == before + 1
    wait_until(lambda: not os.path.exists(note_of(h)), "the note to be removed")


@pytest.mark.long
def test_after_search_primary_node_timeout_the_failover_goes_on_when_enough_are_back(herd):
    h = herd(sync="ANY 1 (node1, node2)", search_primary_node_timeout=2)
    before = h.write()
    h.cluster.nodes[2].kill()
    h.wait_for(primary=0, down=(2,))
    h.cluster.nodes[0].kill()
    wait_for_log(h, "no primary was found within search_primary_node_timeout")
    wait_for_log(h, "It is looked for every 10 s from now on.")
    assert in_recovery(h.cluster.nodes[1]) == "t"
    # And it recovers: nobody does anything but start the server.
    h.cluster.nodes[2].start()
    wait_for_log(h, "built-in failover: node 1 was promoted")
    assert h.write() == before + 1


@pytest.mark.long
def test_a_switchover_taken_up_ends_however_late_the_old_primary_is_back(herd):
    h = herd(search_primary_node_timeout=1)
    before = h.write()
    h.proxy.abort()
    with open(note_of(h), "w") as f:
        f.write("switchover from 0 to 2\n")
    old, new = h.cluster.nodes[0], h.cluster.nodes[2]
    old.stop()
    h.proxy.start()
    wait_for_log(h, "no primary was found within search_primary_node_timeout")
    assert [in_recovery(node) for node in h.cluster.nodes[1:]] == ["t", "t"]
    # And it recovers: the old primary comes back as a standby, as it would have by itself.
    old.follow(new)
    old.start()
    h.wait_for(primary=2, down=())
    streams_from(new, 2)
    assert h.write() == before + 1


def test_the_lost_primary_comes_back_as_a_standby_and_is_attached(herd):
    """It has all that was acknowledged, so with it there is a primary again."""
    h = herd(sync="ANY 1 (node1, node2)")
    before = h.write()
    h.cluster.nodes[2].kill()
    h.wait_for(primary=0, down=(2,))
    h.cluster.nodes[0].kill()
    wait_for_log(h, "1 of 2 synchronous standbys answer, 2 are needed")
    h.cluster.nodes[0].follow(h.cluster.nodes[1])
    h.cluster.nodes[0].start()
    h.pcp.ok("pcp_attach_node", "-n", "0")
    wait_for_log(h, "find_primary_node: primary node is")
    wait_until(lambda: [in_recovery(node) for node in h.cluster.nodes[:2]].count("f") == 1, "one primary")
    # And it recovers.
    wait_until(lambda: h.state()[2] == (h.state()[0],), "the proxy to know it")
    promoted = h.state()[0]
    h.cluster.nodes[2].rebuild(h.cluster.nodes[promoted])
    h.pcp.ok("pcp_attach_node", "-n", "2")
    h.wait_for(primary=promoted, down=())
    streams_from(h.cluster.nodes[promoted], 2)
    assert h.write() == before + 1


def test_a_proxy_that_starts_without_a_primary_promotes_by_request(herd):
    h = herd(sync="ANY 1 (node1, node2)")
    before = h.write()
    h.proxy.stop()
    h.cluster.nodes[0].kill()
    h.cluster.nodes[1].kill()
    h.proxy.start()
    wait_for_log(h, "nobody is promoted unasked")
    wait_until(lambda: h.state()[1] == (0, 1), "both to be down")
    out = "".join(h.pcp.run("pcp_promote_node", "--switchover", "-n", "2")[1:])
    assert "which node was the primary is not known, more than one is down or silent" in out
    h.cluster.nodes[1].start()
    h.pcp.ok("pcp_attach_node", "-n", "1")
    wait_until(lambda: h.state()[1] == (0,) and {n["pg_role"] for n in h.show() if n["status"] == "up"} == {"standby"},
               "node 1 to be known as a standby")
    assert [in_recovery(node) for node in h.cluster.nodes[1:]] == ["t", "t"]
    h.pcp.ok("pcp_promote_node", "--switchover", "-n", "2")
    h.wait_for(primary=2, down=(0,))
    # And it recovers.
    streams_from(h.cluster.nodes[2], 1)
    assert h.write() == before + 1
    h.cluster.nodes[0].rebuild(h.cluster.nodes[2])
    h.pcp.ok("pcp_attach_node", "-n", "0")
    h.wait_for(primary=2, down=())


class Standbys:
    """Two standbys whose primary no proxy knows, and proxies in front of them."""

    def __init__(self):
        self.cluster = Cluster(nodes=3)
        self.proxies = []

    def start(self):
        self.cluster.create().start()
        self.cluster.primary.psql("create table kept (a int)")
        self.cluster.wait_replayed()
        return self

    def proxy(self, **parameters):
        nodes = [types.SimpleNamespace(number=i, port=n.port, data=n.data) for i, n in enumerate(self.cluster.nodes[1:])]
        proxy = Proxy(types.SimpleNamespace(nodes=nodes, sessions=self.cluster.sessions))
        proxy.settings.update(parameters)
        self.proxies.append(proxy)
        proxy.start()
        wait_until(lambda: self.roles(proxy) == ["standby", "standby"], "both to be known as standbys")
        return proxy

    @staticmethod
    def roles(proxy):
        with proxy.connect() as c:
            c.row_factory = psycopg.rows.dict_row
            return [row["pg_role"] for row in c.execute("show pool_nodes").fetchall()]

    def end(self):
        for proxy in self.proxies:
            try:
                proxy.stop()
            finally:
                proxy.remove()
        self.cluster.destroy()


@pytest.fixture
def standbys():
    s = Standbys()
    try:
        yield s.start()
    finally:
        s.end()


WAITED = "waited 2 s for a primary, and there is none"


def test_a_write_waits_whatever_was_asked_about_it_first(standbys):
    """issue: the connection over which its names were looked up took it to a standby."""
    proxy = standbys.proxy(failover_wait_timeout=2)
    for write in ("insert into kept values (1)", "create table more (a int)", "insert into kept values (2)"):
        with proxy.connect() as c:
            with pytest.raises(psycopg.OperationalError, match=WAITED):
                c.execute(write)
            assert c.execute("select count(*) from kept").fetchone() == (0,)
    with proxy.connect() as c:
        told = dict(c.execute("pgpool explain route insert into kept values (1)").fetchall())
        assert told["waits for"] == "a primary" and "standby)" in told["node"]
        c.execute("begin")
        with pytest.raises(psycopg.OperationalError, match=WAITED):
            c.execute("insert into kept select 1")
        c.execute("rollback")
    patient = standbys.proxy(failover_wait_timeout=60, pool_mode="session")
    with patient.connect() as c:
        waiting = threading.Thread(target=lambda: c.execute("insert into kept values (3)"))
        waiting.start()
        wait_until(lambda: "Waiting for primary" in statuses(patient), "the write to wait")
        # And it recovers.
        standbys.cluster.nodes[1].promote()
        waiting.join(60)
        assert c.execute("/*NO LOAD BALANCE*/ select a from kept").fetchall() == [(3,)]


def statuses(proxy):
    with proxy.connect() as c:
        c.row_factory = psycopg.rows.dict_row
        return [row["status"] for row in c.execute("show pool_processes").fetchall()]
