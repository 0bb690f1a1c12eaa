"""Waiting for a server link: in order, never for one another, without end only where nobody set one."""
import contextlib
import os
import random
import resource
import socket
import struct
import threading

import psycopg
import pytest

from support.cluster import Cluster
from support.system import wait_until
from support.wire import (COPY_DONE, FLUSH, SYNC, Client, bind, copy_data, describe, error, execute, kinds, parse, query,
                          row, startup)

pytestmark = [pytest.mark.proxy_only, pytest.mark.herdgate_only]

# One link to the primary and one to the only standby that serves reads, taken in any order within a transaction.
NARROW = {"pool_mode": "transaction", "pool_size": 1, "num_init_children": 40, "query_wait_timeout": 20,
          "backend_weight0": 0, "backend_weight2": 0}


def memory_kb(proxy):
    total = 0
    for pid in proxy.pids():
        with open(f"/proc/{pid}/smaps_rollup") as f:
            total += next(int(line.split()[1]) for line in f if line.startswith("Pss:"))
    return total


def under_sanitizer():
    return "san" in os.environ.get("HERDGATE_BINARY", "")


@pytest.fixture
def table(cluster):
    cluster.primary.psql("create table if not exists waiting (a int); truncate waiting; grant all on waiting to public")
    return cluster.primary


def test_sessions_that_need_both_nodes_never_wait_for_one_another(start_proxy, table):
    """Half of them take the standby's link first and then want the primary's, half the other way round."""
    proxy = start_proxy(NARROW)
    orders = [["select count(*) from waiting", "insert into waiting values (1)", "select count(*) from waiting"],
              ["select txid_current()", "select count(*) from waiting", "insert into waiting values (1)"]]
    problems = []

    def work(number):
        chance = random.Random(number)
        try:
            with Client(proxy.port).login() as c:
                for _ in range(25):
                    c.ask("begin")
                    for sql in chance.choice(orders):
                        c.ask(sql)
                    c.ask("commit")
        except Exception as e:
            problems.append((number, repr(e)))

    threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not problems
    assert table.psql("select count(*) from waiting") == "200"


def test_a_standbys_link_goes_back_before_the_session_waits(start_proxy, table):
    proxy = start_proxy(NARROW)
    with Client(proxy.port).login() as holder, Client(proxy.port).login() as reader, Client(proxy.port).login() as third:
        holder.ask("begin")
        holder.ask("insert into waiting values (1)")       # has the primary's only link
        reader.ask("begin")
        reader.ask("select count(*) from waiting")        # has the standby's
        reader.send(query("insert into waiting values (2)"))
        assert third.ask("select 'served meanwhile'") == [["served meanwhile"]]
        holder.ask("commit")
        assert kinds(reader.until("Z")) == "CZ"
        reader.ask("commit")
    assert table.psql("select count(*) from waiting") == "2"


def test_raised_limits_wake_who_waits(start_proxy, cluster):
    proxy = start_proxy({**NARROW, "load_balance_mode": False}, fresh=True)
    with Client(proxy.port).login() as holder, Client(proxy.port).login() as waiter:
        holder.ask("begin")
        holder.ask("select txid_current()")
        waiter.send(query("select 'woken'"))
        proxy.settings["pool_size"] = 2
        proxy.reload()
        assert [row(p) for k, p in waiter.until("Z") if k == "D"] == [["woken"]]
        holder.ask("rollback")


def test_clients_that_die_while_they_wait(start_proxy):
    proxy = start_proxy({**NARROW, "load_balance_mode": False})
    with Client(proxy.port).login() as holder, Client(proxy.port).login() as last:
        holder.ask("begin")
        holder.ask("select txid_current()")
        for _ in range(10):
            c = Client(proxy.port).login()
            c.send(query("select 1"))
            c.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            c.close()
        last.send(query("select 'served'"))
        holder.ask("rollback")
        assert [row(p) for k, p in last.until("Z") if k == "D"] == [["served"]]


def test_explain_route_changes_nothing(start_proxy, cluster):
    proxy = start_proxy({"pool_mode": "transaction", "backend_weight0": 0, "backend_weight2": 0})
    with Client(proxy.port).login() as c:
        c.ask("begin isolation level repeatable read, read only")
        c.ask("pgpool explain route insert into pg_class values (1)")   # the primary; the transaction must not follow
        assert row_of(c, "show port") == str(cluster.nodes[1].port)
        c.ask("commit")


def row_of(c, sql):
    return c.ask(sql)[0][0]


def test_explain_route_in_the_extended_protocol(proxy):
    with Client(proxy.port).login() as c:
        simple = c.ask("pgpool explain route select count(*) from waiting")
        c.send(parse("pgpool explain route select count(*) from waiting", "e"), describe("S", "e"), bind(statement="e"),
               execute(), SYNC)
        got = c.until("Z")
        assert kinds(got, without="SND") == "1tT2CZ", got
        rows = [row(p) for k, p in got if k == "D"]
        assert [r[0] for r in rows] == [r[0] for r in simple] and rows
        c.send(bind(statement="e"), describe("P"), execute(), SYNC)
        assert kinds(c.until("Z"), without="SND") == "2TCZ"


def test_own_unit_that_fails_before_a_flush(proxy):
    """Everything up to Sync is dropped, as a server does."""
    with Client(proxy.port).login() as c:
        c.send(parse("pgpool show no_such_parameter"), bind(), execute(), FLUSH)
        assert kinds(c.until("E")) == "12E"
        c.send(parse("select 'dropped'"), bind(), execute(), SYNC)
        assert kinds(c.until("Z")) == "Z"
        assert c.ask("select 'alive'") == [["alive"]]


@pytest.mark.parametrize("take", ["listen news", "select pg_advisory_lock(4711)"])
def test_pinned_sessions_in_session_mode_still_read_from_standbys(start_proxy, cluster, take):
    """As the original does: the links are the session's own anyhow."""
    proxy = start_proxy({"pool_mode": "session", "backend_weight0": 0, "backend_weight2": 0})
    with Client(proxy.port).login(user="test") as c:
        c.ask(take)
        assert row_of(c, "show port") == str(cluster.nodes[1].port)
        cluster.nodes[1].psql("select pg_terminate_backend(pid, 5000) from pg_stat_activity where usename = 'test'",
                              "postgres")
        wait_until(lambda: asks(c, "select 'lives'") == [["lives"]], "the session to read elsewhere")


def asks(c, sql):
    try:
        return c.ask(sql)
    except RuntimeError:
        return None


def test_parameters_the_server_reports_unasked(start_proxy, cluster):
    """A reload of the server's configuration reaches the client whose link it is."""
    proxy = start_proxy({"pool_mode": "session", "load_balance_mode": False})

    def told(c):
        c.send(query("select 1"))
        return {n.decode(): v.decode() for n, v in (p.split(b"\0")[:2] for k, p in c.until("Z") if k == "S")}

    with Client(proxy.port).login(user="test") as c:
        assert c.parameters["IntervalStyle"] == "postgres"
        cluster.primary.psql("alter system set intervalstyle = 'iso_8601'", "postgres")
        try:
            cluster.primary.psql("select pg_reload_conf()", "postgres")
            wait_until(lambda: told(c).get("IntervalStyle") == "iso_8601", "the client to be told")
        finally:
            cluster.primary.psql("alter system reset intervalstyle", "postgres")
            cluster.primary.psql("select pg_reload_conf()", "postgres")
        wait_until(lambda: told(c).get("IntervalStyle") == "postgres", "the client to be told again")


@pytest.mark.long
def test_ten_thousand_clients_over_twenty_links(start_proxy):
    """All ask at once, three times; every answer is the asker's own."""
    count = 10_000
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    proxy = start_proxy({"pool_mode": "transaction", "pool_size": 20, "num_init_children": count + 10,
                         "load_balance_mode": False, "query_wait_timeout": 300, "client_wait_timeout": 300,
                         "authentication_timeout": 300})
    clients = []
    try:
        for number in range(count):
            c = Client(proxy.port, seconds=120)
            c.send(startup())
            clients.append(c)
        for c in clients:
            c.until("Z")
        for turn in range(3):
            for number, c in enumerate(clients):
                c.send(query(f"select '<{number}.{turn}>', count(*) from generate_series(1, 100)"))
            for number, c in enumerate(clients):
                assert [row(p) for k, p in c.until("Z") if k == "D"] == [[f"<{number}.{turn}>", "100"]]
        print(f"memory with 10,000 clients: {memory_kb(proxy)} kB")
        assert memory_kb(proxy) < 200_000 or under_sanitizer()
    finally:
        for c in clients:
            c.close()
    with Client(proxy.port).login() as c:
        assert c.ask("select 'recovered'") == [["recovered"]]


@pytest.mark.long
def test_half_a_gigabyte_of_copy_in_bounded_memory(start_proxy, table):
    """In both directions; the server takes data slower than the client sends it."""
    proxy = start_proxy({"pool_mode": "transaction", "pool_size": 2, "load_balance_mode": False})
    table.psql("create table if not exists wide (t text); grant all on wide to public")
    piece = copy_data(("x" * 8000 + "\n") * 8)
    pieces = 500_000_000 // len(piece) + 1
    with Client(proxy.port, seconds=300).login() as c:
        before, peak = memory_kb(proxy), 0
        c.send(query("begin"), query("copy wide from stdin"))
        c.until("G")   # behind the answer to BEGIN
        for n in range(pieces):
            c.send(piece)
            if n % 500 == 0:
                peak = max(peak, memory_kb(proxy) - before)
        c.send(COPY_DONE)
        assert f"COPY {pieces * 8}" in str(c.until("Z"))
        c.send(query("copy wide to stdout"))
        received = 0
        while True:
            kind, payload = c.receive()
            received += kind == "d"
            if received % 5000 == 1:
                peak = max(peak, memory_kb(proxy) - before)
            if kind == "Z":
                break
        c.ask("rollback")
    print(f"500 MB in and out: {peak} kB more at most")
    assert received == pieces * 8
    assert peak < 6000 or under_sanitizer()


ROOM = "max_connections = 12\nsuperuser_reserved_connections = 3\n"


@pytest.fixture(scope="module")
def small():
    """A server with room for 12 sessions, three of them for superusers."""
    own = Cluster(nodes=1, conf=f"{ROOM}max_wal_senders = 0\n")
    try:
        own.create().start()
        for n in range(4):
            own.primary.psql(f"create role app{n} login")
        own.primary.psql("create role limited login connection limit 2")
        yield own
    finally:
        own.destroy()


def select_at_once(proxy, user, clients, sleep=0.01):
    """As many clients as there are, at the same time; what goes wrong for them."""
    problems, ready = [], threading.Barrier(clients)

    def work():
        try:
            ready.wait(20)
            with proxy.connect(user=user) as c:
                for _ in range(5):
                    assert c.execute(f"select pg_sleep({sleep}), 1").fetchone()[1] == 1
        except Exception as e:
            problems.append(f"{user}: {e!r}")

    threads = [threading.Thread(target=work) for _ in range(clients)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    return problems


@pytest.mark.parametrize("mode", ["session", "transaction"])
def test_idle_links_of_other_users_make_room_at_a_full_server(start_proxy, small, mode):
    """issue: they were kept for an hour, while the server refused everybody else."""
    proxy = start_proxy({"pool_mode": mode, "num_init_children": 32, "max_pool": 4, "query_wait_timeout": 20}, on=small, fresh=True)
    problems = []
    for n in range(4):
        problems += select_at_once(proxy, f"app{n}", clients=6)
    assert not problems
    wait_until(lambda: direct_login(small, "app3"), "room for others")
    assert proxy.log().count("has no room for more connections") == 1
    proxy.stop()


def test_behind_a_crowd_of_a_superuser_others_get_in(start_proxy, small):
    """issue: idle, they kept all that is not for superusers only."""
    proxy = start_proxy({"num_init_children": 32, "max_pool": 1, "query_wait_timeout": 20}, on=small, fresh=True)
    assert not select_at_once(proxy, "postgres", clients=16, sleep=0.5)  # for some seconds there is no room for all
    wait_until(lambda: direct_login(small, "app3"), "room for others")
    proxy.stop()


def direct_login(cluster, user):
    try:
        psycopg.connect(f"host=127.0.0.1 port={cluster.primary.port} user={user} dbname=test sslmode=disable").close()
    except psycopg.OperationalError:
        return False
    return True


@pytest.mark.parametrize("login_seconds", [0, 1])
def test_a_crowd_at_a_small_server_is_served_in_turn(start_proxy, small, login_seconds):
    """Also where those without a slot are refused long before the first of the others has logged in."""
    small.primary.psql(f"alter system set post_auth_delay = {login_seconds}")
    small.primary.psql("select pg_reload_conf()")
    proxy = start_proxy({"pool_mode": "transaction", "num_init_children": 200, "max_pool": 1, "query_wait_timeout": 30}, on=small,
                        fresh=True)
    problems = select_at_once(proxy, "app0", clients=60)
    small.primary.psql("alter system reset post_auth_delay")
    small.primary.psql("select pg_reload_conf()")
    assert not problems
    proxy.stop()


@contextlib.contextmanager
def full(cluster, user="app3"):
    """Its primary has no slot left, but those for superusers."""
    with contextlib.ExitStack() as filling:
        while True:
            try:
                c = psycopg.connect(f"host=127.0.0.1 port={cluster.primary.port} user={user} dbname=test sslmode=disable")
            except psycopg.OperationalError:
                break
            filling.callback(c.close)
        yield


def test_who_waits_in_vain_at_a_full_server_is_told_of_its_limit(start_proxy, small):
    """issue: the HINT was to raise max_pool and pool_size."""
    proxy = start_proxy({"pool_mode": "transaction", "num_init_children": 32, "query_wait_timeout": 2}, on=small, fresh=True)
    with Client(proxy.port).login(user="app0") as holder:
        holder.ask("begin")
        holder.ask("select 1")
        with full(small), Client(proxy.port).login(user="app0") as waiter:
            waiter.send(query("select 2"))
            why = [error(p) for k, p in waiter.until("Z") if k == "E"][0]
            assert why["C"] == "53300" and "max_connections" in why["H"], why
        holder.ask("commit")
        wait_until(lambda: asks(holder, "select 'recovered'") == [["recovered"]], "room")
    proxy.stop()


@pytest.fixture(scope="module")
def small_pair():
    """A primary like that, and a standby."""
    own = Cluster(nodes=2)
    try:
        own.create().primary.append_conf(ROOM)
        own.start()
        own.primary.psql("create role app0 login; create role app3 login; create table waiting (a int); grant all on waiting to public")
        own.wait_replayed()
        yield own
    finally:
        own.destroy()


@pytest.mark.parametrize("write", [
    [query("insert into waiting values (2)")],
    [parse("insert into waiting values (2)"), bind(), execute(), SYNC],
    [parse("select 1"), bind(), execute(), parse("insert into waiting values (2)"), bind(), execute(), SYNC],
], ids=["simple", "extended", "behind a read"])
def test_who_reads_at_a_standby_waits_for_room_at_the_primary(start_proxy, small_pair, write):
    """issue: in the middle of its transaction it was told that the server had no room (53300)."""
    proxy = start_proxy({"pool_mode": "transaction", "num_init_children": 32, "query_wait_timeout": 20, "backend_weight0": 0},
                        on=small_pair, fresh=True)
    small_pair.primary.psql("truncate waiting")
    with Client(proxy.port).login(user="app0") as holder, Client(proxy.port).login(user="app0") as reader:
        holder.ask("begin")
        holder.ask("insert into waiting values (1)")
        reader.ask("begin")
        assert row_of(reader, "show port") == str(small_pair.nodes[1].port)
        with full(small_pair):
            reader.send(*write)
            wait_until(lambda: "has no room for more connections" in proxy.log(), "the refusal")
            holder.ask("commit")
            assert kinds(reader.until("Z"), without="SN12D")[-2:] == "CZ"
            assert row_of(reader, "show port") == str(small_pair.nodes[0].port)
            reader.ask("commit")
        assert small_pair.primary.psql("select array_agg(a order by a) from waiting") == "{1,2}"
        reader.ask("begin")
        assert row_of(reader, "show port") == str(small_pair.nodes[1].port)
        reader.ask("commit")
    proxy.stop()


def test_the_limit_of_a_role_is_told_at_once_and_costs_others_nothing(start_proxy, small):
    proxy = start_proxy({"num_init_children": 32, "max_pool": 4, "query_wait_timeout": 20}, on=small, fresh=True)
    with proxy.connect(user="app0") as c:
        pid = c.execute("select pg_backend_pid()").fetchone()
    with proxy.connect(user="limited"), proxy.connect(user="limited"):
        with pytest.raises(psycopg.OperationalError, match="too many connections for role"):
            proxy.connect(user="limited")
    with proxy.connect(user="app0") as c:
        assert c.execute("select pg_backend_pid()").fetchone() == pid
    proxy.stop()
