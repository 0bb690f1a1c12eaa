"""A cancel request stops the statement it was meant for, and nothing else."""
import socket
import struct
import threading

import psycopg
import pytest

from support.system import wait_until
from support.wire import Client, error, query, startup


def running(cluster, mark):
    return any(n.psql(f"select count(*) from pg_stat_activity where state = 'active' and query like '%{mark}%' "
                      "and pid <> pg_backend_pid()") != "0" for n in cluster.nodes)


@pytest.mark.parametrize("sql", ["select pg_sleep(60) /* {} */", "select count(*) from generate_series(1, 1e12) /* {} */"])
def test_cancel_running_statement(proxy, cluster, marks, sql):
    mark = marks()
    with proxy.connect() as c:
        failure = []

        def work():
            try:
                c.execute(sql.format(mark))
            except psycopg.errors.QueryCanceled as e:
                failure.append(e)

        thread = threading.Thread(target=work)
        thread.start()
        wait_until(lambda: running(cluster, mark), "the statement to run")
        c.cancel()
        thread.join(60)
        assert failure
        wait_until(lambda: not running(cluster, mark), "the statement to end")
        assert c.execute("select 1").fetchone() == (1,)


def test_cancel_in_a_transaction_keeps_the_session(proxy, cluster, marks):
    mark = marks()
    with proxy.connect(autocommit=False) as c:
        c.execute("create temp table kept (a int)")
        c.commit()
        c.execute("insert into kept values (1)")
        timer = threading.Thread(target=lambda: (wait_until(lambda: running(cluster, mark), "sleep"), c.cancel()))
        timer.start()
        with pytest.raises(psycopg.errors.QueryCanceled):
            c.execute(f"select pg_sleep(60) /* {mark} */")
        timer.join()
        c.rollback()
        assert c.execute("select count(*) from kept").fetchone() == (0,)


def send_cancel(port, key):
    with socket.create_connection(("127.0.0.1", port), timeout=60) as s:
        s.sendall(struct.pack("!II", 8 + len(key), 80877102) + key)
        s.settimeout(60)
        return s.recv(1)


def failed(c, sql):
    c.send(query(sql))
    return [error(p)["C"] for k, p in c.until("Z") if k == "E"]


def test_cancel_with_a_wrong_secret_changes_nothing(proxy, cluster, marks):
    mark = marks()
    with Client(proxy.port) as c:
        c.login()
        pid, secret = c.key[:4], c.key[4:]
        thread = threading.Thread(target=lambda: answers.append(failed(c, f"select pg_sleep(60) /* {mark} */")))
        answers = []
        thread.start()
        wait_until(lambda: running(cluster, mark), "the statement to run")
        wrong = bytes(b ^ 0xFF for b in secret)
        assert send_cancel(proxy.port, pid + wrong) == b""
        assert running(cluster, mark)
        assert send_cancel(proxy.port, c.key) == b""
        thread.join(60)
        assert answers == [["57014"]]
        assert c.ask("select 3") == [["3"]]


def test_cancel_when_idle_does_not_hit_the_next_statement(proxy):
    with Client(proxy.port) as c:
        c.login()
        for i in range(50):
            assert send_cancel(proxy.port, c.key) == b""
            assert c.ask(f"select {i}") == [[str(i)]]


def test_cancel_storm_hits_only_its_own_session(proxy, cluster):
    """Sessions that are cancelled all the time beside sessions that are not: these never see a cancel."""
    stop = threading.Event()
    wrong, cancelled = [], []

    def victim():
        with proxy.connect() as c:
            killer = threading.Thread(target=cancel_often, args=(c,))
            killer.start()
            while not stop.is_set():
                try:
                    value = c.execute("select 'victim', pg_sleep(0.01)").fetchone()[0]
                    if value != "victim":
                        wrong.append(value)
                except psycopg.errors.QueryCanceled:
                    cancelled.append(1)
            killer.join()

    def cancel_often(c):
        while not stop.wait(0.003):
            c.cancel()

    def bystander(number):
        with proxy.connect() as c:
            while not stop.is_set():
                try:
                    value = c.execute("select %s, pg_sleep(0.002)", (f"bystander {number}",)).fetchone()[0]
                    if value != f"bystander {number}":
                        wrong.append(value)
                except psycopg.Error as e:
                    wrong.append(repr(e))
                    return

    threads = [threading.Thread(target=victim) for _ in range(3)]
    threads += [threading.Thread(target=bystander, args=(i,)) for i in range(5)]
    for t in threads:
        t.start()
    wait_until(lambda: len(cancelled) > 50 or wrong, "fifty cancels")
    stop.set()
    for t in threads:
        t.join(60)
    assert not wrong, wrong[:5]


def test_garbage_cancel_request(proxy):
    with socket.create_connection(("127.0.0.1", proxy.port), timeout=60) as s:
        s.sendall(struct.pack("!IIII", 16, 80877102, 0, 0))
        assert s.recv(100) == b""
    with Client(proxy.port) as c:
        c.login()
        assert c.ask("select 1") == [["1"]]


@pytest.mark.herdgate_only
def test_cancel_while_waiting_for_a_link(start_proxy, cluster):
    """A client in the pool's queue can be cancelled too, and the holder of the link notices nothing."""
    proxy = start_proxy({"pool_mode": "transaction", "num_init_children": 8, "max_pool": 1,
                         "pool_size": 1, "load_balance_mode": False})
    with proxy.connect(autocommit=False) as holder, proxy.connect() as waiter:
        holder.execute("create temp table if not exists nothing_here ()")
        over = threading.Event()

        def cancel():
            while not over.wait(0.2):  # one that comes before the statement hits nothing
                waiter.cancel()

        thread = threading.Thread(target=cancel)
        thread.start()
        with pytest.raises(psycopg.errors.QueryCanceled):
            waiter.execute("select 1")
        over.set()
        thread.join()
        assert holder.execute("select 2").fetchone() == (2,)
        holder.rollback()
        assert waiter.execute("select 3").fetchone() == (3,)


@pytest.mark.herdgate_only
def test_cancel_while_nobody_is_let_in(start_proxy, cluster, marks):
    """There are num_init_children clients and one more waits. Who cancels is none."""
    mark = marks()
    proxy = start_proxy({"num_init_children": 1}, fresh=True)
    with Client(proxy.port).login() as c, Client(proxy.port) as waiter:
        waiter.send(startup())
        wait_until(lambda: "clients wait to be let in" in proxy.log(), "the other one to wait")
        c.send(query(f"select pg_sleep(600) /* {mark} */"))
        wait_until(lambda: running(cluster, mark), "the statement to run")
        assert send_cancel(proxy.port, c.key) == b""
        assert [error(p)["C"] for k, p in c.until("Z") if k == "E"] == ["57014"]
        c.close()
        waiter.until("Z")


def test_client_gone_in_the_middle_of_a_statement(proxy, cluster, marks):
    """The link of a vanished client is not lent while its statement still runs: the next one gets its own answer."""
    mark = marks()
    for _ in range(5):
        c = Client(proxy.port).login()
        c.send(query(f"select 'old', pg_sleep(1) /* {mark} */"))
        wait_until(lambda: running(cluster, mark), "the statement to run")
        c.close()
        with Client(proxy.port) as other:
            other.login()
            assert other.ask("select 'new'") == [["new"]]
    wait_until(lambda: not running(cluster, mark), "the statements to end")


@pytest.fixture
def locked_catalog(start_proxy, cluster, marks):
    """(proxy, statement, waits): the statement's function has to be looked up, and the look-up waits for a lock."""
    name = f"to_be_looked_up_{marks()}"
    cluster.primary.psql(f"create function {name}() returns int language sql as 'select 7'")
    proxy = start_proxy({"backend_weight1": 0, "backend_weight2": 0})
    with psycopg.connect(f"host=127.0.0.1 port={cluster.primary.port} user=postgres dbname=test") as holder:
        def lock():
            holder.execute("lock table pg_catalog.pg_proc in access exclusive mode")

        def waits():
            holder.execute("select pg_stat_clear_snapshot()")  # else the transaction sees what it saw first
            return holder.execute("select count(*) from pg_stat_activity where wait_event_type = 'Lock' and "
                                  f"query like '%{name}%'").fetchone() != (0,)

        yield proxy, f"select {name}()", lock, waits, holder


@pytest.mark.herdgate_only
def test_cancel_during_our_own_question(locked_catalog):
    """The cancel was meant for the statement that was to follow: that one is not run."""
    proxy, sql, lock, waits, holder = locked_catalog
    with Client(proxy.port).login() as c:
        c.ask("select 1")
        lock()
        c.send(query(sql))
        wait_until(waits, "the look-up to wait")
        send_cancel(proxy.port, c.key)
        holder.rollback()
        got = c.until("Z")
        assert [error(p)["C"] for k, p in got if k == "E"] == ["57014"] and got[-1][1] == b"I"
        assert c.ask(sql) == [["7"]]


@pytest.mark.herdgate_only
def test_timeout_during_our_own_question(locked_catalog):
    """The transaction has failed with it: the client must hear why, not that it has failed before."""
    proxy, sql, lock, waits, holder = locked_catalog
    with Client(proxy.port).login() as c:
        c.ask("begin")
        c.ask("set local statement_timeout = 500")
        lock()
        c.send(query(sql))
        got = c.until("Z")
        assert [error(p)["C"] for k, p in got if k == "E"] == ["57014"] and got[-1][1] == b"E"
        holder.rollback()
        c.ask("rollback")
        assert c.ask(sql) == [["7"]]
