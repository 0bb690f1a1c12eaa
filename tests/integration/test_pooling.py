"""Links are shared, sessions are not: what a session has set, prepared or locked is its own and follows it."""
import contextlib
import ctypes
import os
import socket
import threading
import time

import psycopg
import pytest

from support import system
from support.system import wait_until
from support.wire import SYNC, Client, bind, close, describe, error, execute, kinds, parse, row, startup

pytestmark = pytest.mark.proxy_only
herdgate_only = pytest.mark.herdgate_only


@pytest.fixture
def tight(start_proxy):
    """Transaction mode with two links to each node: sessions change links all the time."""
    return start_proxy({"pool_mode": "transaction", "pool_size": 2, "num_init_children": 60})


def server_links(cluster, user, node=0):
    return int(cluster.nodes[node].psql(f"select count(*) from pg_stat_activity where usename = '{user}' "
                                        "and backend_type = 'client backend'", "postgres"))


# Session mode.

def test_link_is_kept_and_used_again(start_proxy):
    # One worker: with two, a login on the other one now and then opens a second link (docs/status.md).
    proxy = start_proxy({"num_init_children": 1, "load_balance_mode": False, "num_workers": 1})
    pids = set()
    for _ in range(10):
        with proxy.connect(user="test") as c:
            pids.add(c.execute("select pg_backend_pid()").fetchone()[0])
    assert len(pids) < 5  # one; who comes while it is still being reset gets another


@herdgate_only
def test_max_pool_times_num_init_children_is_for_each_node(start_proxy):
    """issue: it bounded the links to all nodes together: with max_pool = 1 the fourth client waited in vain, and of four
    that were logged in nobody read from a standby."""
    proxy = start_proxy({"num_init_children": 4, "max_pool": 1, "query_wait_timeout": 4, "backend_weight0": 0}, fresh=True)
    for _ in range(4):
        with proxy.connect() as c:
            c.execute("create temp table mine (a int)")
            c.execute("select inet_server_port()").fetchone()
    clients = [proxy.connect() for _ in range(4)]
    try:
        read_at = {c.execute("select current_setting('transaction_read_only')").fetchone()[0] for c in clients}
    finally:
        for c in clients:
            c.close()
    assert read_at == {"on"}  # at standbys


def test_nothing_is_left_for_the_next_client(start_proxy):
    proxy = start_proxy({"num_init_children": 1})
    with proxy.connect(user="test") as c:
        c.execute("set work_mem = '9MB'")
        c.execute("create temp table left_over (a int)")
        c.execute("prepare p as select 1")
        c.execute("select pg_advisory_lock(77)")
        c.execute("listen left_over")
    with proxy.connect(user="test") as c:
        assert c.execute("show work_mem").fetchone() == ("4MB",)
        assert c.execute("select to_regclass('left_over')").fetchone() == (None,)
        assert c.execute("select count(*) from pg_prepared_statements").fetchone() == (0,)
        assert c.execute("select count(*) from pg_locks where locktype = 'advisory' "
                         "and pid = pg_backend_pid()").fetchone() == (0,)
        assert c.execute("select count(*) from pg_listening_channels()").fetchone() == (0,)


@herdgate_only
@pytest.mark.parametrize("text, cleaned", [("select nextval('sequence_of_many')", True), ("insert into draws (b) values (1)", True),
                                           ("select count(*) from draws", False)])
def test_what_sequences_gave_is_not_left_by_skip_clean_reset(start_proxy, cluster, text, cleaned):
    """issue: the next session had lastval() and currval() of the one before. Who only reads leaves nothing."""
    cluster.primary.psql("create sequence if not exists sequence_of_many; create table if not exists draws (a serial, b int); "
                         "grant all on all sequences in schema public to public; grant all on draws to public")
    cluster.wait_replayed()
    # What is set in the end tells whether the list ran.
    proxy = start_proxy({"num_workers": 1, "load_balance_mode": False, "skip_clean_reset": True,
                         "reset_query_list": "ABORT; DISCARD ALL; SET extra.cleaned TO yes"}, fresh=True)
    with proxy.connect(user="test") as c:
        c.execute(text)
        pid = c.execute("select pg_backend_pid()").fetchone()
    with contextlib.ExitStack() as held:  # who comes while it is still being reset gets another
        def comes_back():
            c = held.enter_context(proxy.connect(user="test"))
            return c if c.execute("select pg_backend_pid()").fetchone() == pid else None
        c = wait_until(comes_back, "the link to be lent again")
        with pytest.raises(psycopg.errors.ObjectNotInPrerequisiteState):
            c.execute("select lastval()")
        assert c.execute("select current_setting('extra.cleaned', true)").fetchone() == ("yes" if cleaned else None,)


@herdgate_only
def test_a_session_keeps_its_link_whatever_becomes_of_databases(start_proxy):
    """CREATE, ALTER and DROP DATABASE have links closed, those of living sessions only when they are given back."""
    proxy = start_proxy({"num_init_children": 4, "load_balance_mode": False}, fresh=True)
    with proxy.connect() as c, proxy.connect(autocommit=True) as other:
        c.execute("create temp sequence kept; select nextval('kept'); select nextval('kept')")
        pid = c.execute("select pg_backend_pid()").fetchone()[0]
        for ddl in ("create database passing", "alter database passing set work_mem = '5MB'", "drop database passing"):
            other.execute(ddl)
            assert c.execute("select currval('kept'), pg_backend_pid()").fetchone() == (2, pid), ddl
        # currval() of a sequence that is not temporary pins nothing: the link alone knows it.
        own = other.execute("select pg_backend_pid()").fetchone()[0]
        other.execute("create sequence kept_too; select nextval('kept_too')")
        c.execute("create database passing")
        c.execute("drop database passing")
        for _ in range(2):
            assert other.execute("select currval('kept_too'), pg_backend_pid()").fetchone() == (1, own)
        other.execute("drop sequence kept_too")
    # Given back, they are not used again.
    with proxy.connect() as c:
        assert c.execute("select pg_backend_pid()").fetchone()[0] not in (pid, own)


def test_client_that_leaves_inside_a_transaction(start_proxy, cluster):
    proxy = start_proxy({"num_init_children": 1})
    cluster.primary.psql("create table if not exists undone (a int); grant all on undone to public")
    c = Client(proxy.port).login(user="test")
    c.ask("begin")
    c.ask("insert into undone values (1)")
    c.close()
    with proxy.connect(user="test") as after:
        assert after.execute("select count(*) from undone").fetchone() == (0,)
        assert after.info.transaction_status == psycopg.pq.TransactionStatus.IDLE


def test_connection_cache_off(start_proxy, cluster):
    proxy = start_proxy({"connection_cache": False})
    with proxy.connect(user="reader") as c:
        c.execute("select 1")
        assert server_links(cluster, "reader") >= 1
    wait_until(lambda: server_links(cluster, "reader") == 0, "the links to close")


@pytest.mark.parametrize("database", ["postgres", "template1"])
def test_links_to_some_databases_end_with_their_session(start_proxy, cluster, database):
    with start_proxy().connect(user="reader", dbname=database) as c:
        pid = c.execute("select pg_backend_pid() from pg_class limit 1").fetchone()[0]  # at the primary
        assert cluster.primary.psql(f"select datname from pg_stat_activity where pid = {pid}") == database
    wait_until(lambda: cluster.primary.psql("select count(*) from pg_stat_activity where usename = 'reader' and "
                                            f"datname = '{database}'") == "0", "the link to be closed")


def resets(cluster, pid):
    return sum("statement: DISCARD ALL" in line for line in cluster.primary.log().splitlines() if f" [{pid}] " in line)


@herdgate_only
@pytest.mark.parametrize("leaves", [
    None, "set work_mem = '9MB'", "create temp table left_over (a int)", "prepare p as select 1", "listen left_over",
    "select pg_advisory_lock(77)", "declare c cursor with hold for select 1",
])
def test_skip_clean_reset(start_proxy, cluster, leaves):
    """reset_query_list is for the links of sessions that have left something there."""
    proxy = start_proxy({"skip_clean_reset": True, "num_init_children": 1, "max_pool": 1, "num_workers": 1,
                         "load_balance_mode": False}, fresh=True)
    with proxy.connect(user="test") as c:
        pid = c.execute("select pg_backend_pid()").fetchone()[0]
        c.execute("begin; select 1; commit")
        if leaves:
            c.execute(leaves)
    with proxy.connect(user="test") as c:
        assert c.execute("select pg_backend_pid()").fetchone() == (pid,)  # it has been reset by now, or is not
        assert resets(cluster, pid) == (1 if leaves else 0)


def test_connection_life_time(start_proxy, cluster):
    proxy = start_proxy({"connection_life_time": 1})
    with proxy.connect(user="reader") as c:
        c.execute("select 1")
    wait_until(lambda: server_links(cluster, "reader") == 0, "the idle links to be closed")


def test_client_idle_limit(start_proxy):
    proxy = start_proxy({"client_idle_limit": 1})
    with proxy.connect() as c:
        c.execute("select pg_sleep(2)")  # working is not idling
        c.execute("select 1")
        system.wait_until(lambda: ended(c), "the idle client to be sent away")


def ended(connection):
    """Whether the server has closed this connection, without asking it anything."""
    import select
    if connection.closed or not select.select([connection.fileno()], [], [], 0)[0]:
        return connection.closed
    try:
        connection.pgconn.consume_input()
        return connection.pgconn.status == psycopg.pq.ConnStatus.BAD
    except psycopg.OperationalError:
        return True


def test_reserved_connections(start_proxy):
    proxy = start_proxy({"num_init_children": 4, "reserved_connections": 1})
    # Who looked whether it listens may be leaving still.
    held = [wait_until(lambda: connected(proxy), "a place") for _ in range(3)]
    try:
        with pytest.raises(psycopg.OperationalError, match="Sorry, too many clients already"):
            proxy.connect()
    finally:
        for c in held:
            c.close()
    wait_until(lambda: can_log_in(proxy), "a free place")


def connected(proxy):
    try:
        return proxy.connect()
    except psycopg.OperationalError:
        return None


def can_log_in(proxy):
    c = connected(proxy)
    return c is not None and c.close() is None


def test_client_beyond_the_limit_waits(start_proxy):
    proxy = start_proxy({"num_init_children": 2})
    held = [proxy.connect() for _ in range(2)]
    got = []
    thread = threading.Thread(target=lambda: got.append(proxy.connect().execute("select 1").fetchone()))
    thread.start()
    thread.join(0.5)
    assert thread.is_alive() and not got
    held.pop().close()
    thread.join(60)
    assert got == [(1,)]
    held.pop().close()


@herdgate_only
@pytest.mark.parametrize("reserved, hint", [(0, "num_init_children or client_wait_timeout"), (1, "set reserved_connections to 0")])
def test_who_is_refused_is_told_what_bounds_him(start_proxy, reserved, hint):
    proxy = start_proxy({"num_init_children": 2, "reserved_connections": reserved, "client_wait_timeout": 1}, fresh=True)
    held = [wait_until(lambda: connected(proxy), "a place") for _ in range(2 - reserved)]
    with pytest.raises(psycopg.OperationalError, match=f"Sorry, too many clients already[^$]*HINT: .*{hint}"):
        proxy.connect()
    assert ("clients wait to be let in" in proxy.log()) == (reserved == 0)
    for c in held:
        c.close()
    wait_until(lambda: can_log_in(proxy), "a free place")


# Transaction mode.

@herdgate_only
def test_few_links_for_many_clients(tight, cluster):
    clients = [tight.connect(user="reader") for _ in range(50)]  # nobody else in this module is reader
    try:
        for _ in range(3):
            for i, c in enumerate(clients):
                assert c.execute("select %s::int", (i,)).fetchone() == (i,)
        for node in range(3):
            # More would stay for long; what an earlier proxy had closes on its own.
            wait_until(lambda: server_links(cluster, "reader", node) <= 2, f"at most two links to node {node}")
    finally:
        for c in clients:
            c.close()


@herdgate_only
def test_set_follows_its_session(tight):
    clients = [tight.connect(user="test") for _ in range(12)]
    for i, c in enumerate(clients):
        c.execute(f"set work_mem = '{1000 + i}kB'")
        c.execute(f"set herd.name = 'cow {i}'")
        c.execute("set search_path = pg_catalog, public" if i % 2 else "set search_path = public")
    for _ in range(5):
        for i, c in enumerate(clients):
            assert c.execute("show work_mem").fetchone() == (f"{1000 + i}kB",)
            assert c.execute("select current_setting('herd.name')").fetchone() == (f"cow {i}",)
            assert c.execute("show search_path").fetchone()[0].startswith("pg_catalog" if i % 2 else "public")
    for c in clients:
        c.close()


@herdgate_only
def test_what_others_set_is_reset_whatever_the_role(start_proxy):
    """One link for two sessions: what only a superuser may set, set by one, is not in the way of the other's role."""
    proxy = start_proxy({"pool_mode": "transaction", "pool_size": 1, "load_balance_mode": False})
    show = "select current_setting('session_replication_role'), current_user, current_setting('row_security')"
    with proxy.connect(user="postgres") as strong, proxy.connect(user="postgres") as weak:
        strong.execute("set session_replication_role = replica")
        strong.execute("set row_security = off")
        weak.execute("set role reader")
        for _ in range(3):
            assert weak.execute(show).fetchone() == ("origin", "reader", "on")
            assert strong.execute(show).fetchone() == ("replica", "postgres", "off")
        weak.execute("reset role")
        weak.execute("set session authorization test")
        for _ in range(3):
            assert weak.execute(show).fetchone() == ("origin", "test", "on")
            assert strong.execute(show).fetchone() == ("replica", "postgres", "off")


@herdgate_only
def test_date_style_follows_by_halves(start_proxy):
    """SET of one half keeps the other, also on a link that another session has had meanwhile."""
    proxy = start_proxy({"pool_mode": "transaction", "pool_size": 1, "load_balance_mode": False})
    with proxy.connect(user="test") as one, proxy.connect(user="test") as other:
        one.execute("set datestyle to ymd")
        one.execute("set datestyle to sql")
        other.execute("set datestyle to german")
        for _ in range(3):
            assert one.execute("show datestyle").fetchone() == ("SQL, YMD",)
            assert other.execute("show datestyle").fetchone() == ("German, DMY",)


@herdgate_only
def test_set_local_rollback_reset_discard(tight):
    with tight.connect(user="test") as c, tight.connect(user="test") as other:
        def shown():
            assert other.execute("show work_mem").fetchone() == ("4MB",)
            return c.execute("show work_mem").fetchone()[0]
        c.execute("set work_mem = '5MB'")
        with c.transaction():
            c.execute("set local work_mem = '6MB'")
            assert c.execute("show work_mem").fetchone() == ("6MB",)
        assert shown() == "5MB"
        c.execute("begin")
        c.execute("set work_mem = '7MB'")
        c.execute("savepoint s")
        c.execute("set work_mem = '8MB'")
        c.execute("rollback to s")
        assert c.execute("show work_mem").fetchone() == ("7MB",)
        c.execute("rollback")
        assert shown() == "5MB"
        c.execute("select set_config('work_mem', '9MB', false)")
        assert shown() == "9MB"
        c.execute("reset work_mem")
        assert shown() == "4MB"
        c.execute("set work_mem = '5MB'")
        c.execute("discard all")
        assert shown() == "4MB"


@herdgate_only
def test_startup_options_follow(tight):
    with tight.connect(user="test", options="-c work_mem=11MB", application_name="one") as one, \
            tight.connect(user="test", application_name="two") as two:
        for _ in range(10):
            assert one.execute("show work_mem").fetchone() == ("11MB",)
            assert two.execute("show work_mem").fetchone() == ("4MB",)
            assert one.execute("show application_name").fetchone() == ("one",)
            assert two.execute("show application_name").fetchone() == ("two",)
        one.execute("set work_mem = '5MB'")
        one.execute("reset work_mem")
        assert one.execute("show work_mem").fetchone() == ("11MB",)


@herdgate_only
def test_protocol_prepared_statements_follow(tight):
    """Two sessions use one name for different statements, over shared links."""
    with Client(tight.port) as a, Client(tight.port) as b:
        for c, sql in ((a, "select 'a' || $1"), (b, "select 'b' || $1")):
            c.login(user="test")
            c.send(parse(sql, "s"), describe("S", "s"), SYNC)
            assert kinds(c.until()) == "1tTZ"
        for i in range(60):
            for c, letter in ((a, "a"), (b, "b")):
                c.send(bind(str(i), statement="s"), execute(), SYNC)
                got = c.until()
                assert kinds(got) == "2DCZ" and row(got[1][1]) == [f"{letter}{i}"]
        a.send(close("S", "s"), SYNC)
        assert kinds(a.until()) == "3Z"
        a.send(bind("x", statement="s"), execute(), SYNC)
        assert kinds(a.until()) == "EZ"
        b.send(bind("x", statement="s"), execute(), SYNC)
        assert kinds(b.until()) == "2DCZ"


@herdgate_only
def test_sql_prepare_follows(tight):
    with tight.connect(user="test") as a, tight.connect(user="test") as b:
        a.execute("prepare q(int) as select $1 + 1")
        b.execute("prepare q(int) as select $1 + 2")
        for _ in range(10):
            assert a.execute("execute q(1)").fetchone() == (2,)
            assert b.execute("execute q(1)").fetchone() == (3,)
        a.execute("deallocate q")
        with pytest.raises(psycopg.errors.InvalidSqlStatementName):
            a.execute("execute q(1)")
        assert b.execute("execute q(1)").fetchone() == (3,)


@herdgate_only
def test_prepared_statement_outlives_its_table(start_proxy):
    """Where it cannot be prepared anew, that is an error of its EXECUTE; once the table is back, it works again."""
    proxy = start_proxy({"pool_mode": "transaction", "pool_size": 1, "load_balance_mode": False})
    with proxy.connect(user="test") as a, proxy.connect(user="test") as others:
        def disturb():  # gives the link to another session, which takes the statement off it
            for _ in range(3):
                assert others.execute("select 1").fetchone() == (1,)

        a.execute("create temp table coming (a int)")
        a.execute("prepare going as select a from coming")
        a.execute("drop table coming")
        for _ in range(2):
            disturb()
            with pytest.raises(psycopg.errors.UndefinedTable):
                a.execute("execute going")
        disturb()
        assert a.execute("select 2").fetchone() == (2,)
        for value in (5, 6):
            a.execute("begin")
            a.execute(f"create temp table coming as select {value} as a")
            assert a.execute("execute going").fetchone() == (value,)
            a.execute("commit")
            assert a.execute("explain (costs off) execute going").fetchone() == ("Seq Scan on coming",)
            a.execute("drop table coming")
            disturb()
        a.execute("begin")
        with pytest.raises(psycopg.errors.UndefinedTable):
            a.execute("execute going")
        a.execute("rollback")
        disturb()
        with pytest.raises(psycopg.errors.UndefinedTable):
            a.execute("execute going", binary=True)
        a.execute("create temp table coming as select 7 as a")
        assert a.execute("execute going", binary=True).fetchone() == (7,)  # by the extended protocol
        a.execute("drop table coming")  # until then the only link is a's
        a.execute("deallocate going")
        assert others.execute("select 1").fetchone() == (1,)


@herdgate_only
@pytest.mark.parametrize("take,check", [
    ("create temp table pinned (a int)", "select count(*) from pinned"),
    ("listen pinned", "select pg_listening_channels()"),
    ("select pg_advisory_lock(4242)", "select pg_advisory_unlock(4242)"),
    ("declare pinned cursor with hold for select 1", "fetch pinned"),
    ("create statistics pg_temp.pinned on relname, relnamespace from pinned_by",
     "select oid from pg_statistic_ext where stxname = 'pinned' and pg_statistics_obj_is_visible(oid) is not null "
     "and stxnamespace = pg_my_temp_schema()"),
    ("set search_path = pg_temp; create table pinned (a int)", "select count(*) from pinned"),
    ("update pg_settings set setting = '5MB' where name = 'work_mem'", "select 1 where current_setting('work_mem') = '5MB'"),
])
def test_pins(start_proxy, take, check):
    """What cannot be carried keeps its link: other sessions, on the other link, do not disturb it."""
    proxy = start_proxy({"pool_mode": "transaction", "pool_size": 2, "load_balance_mode": False})
    with proxy.connect(user="test") as pinned, proxy.connect(user="test") as other:
        other.execute("create table if not exists pinned_by (relname name, relnamespace oid)")
        pinned.execute(take)
        assert "(pinned: " in str(other.execute("show pool_pools").fetchall())
        pid = pinned.execute("select pg_backend_pid()").fetchone()[0]
        for _ in range(10):
            assert other.execute("select pg_backend_pid()").fetchone()[0] != pid
            assert pinned.execute("select pg_backend_pid()").fetchone()[0] == pid
        value = pinned.execute(check).fetchone()[0]
        assert value is not None and value is not False
        assert other.execute("select to_regclass('pinned')").fetchone() == (None,)


@herdgate_only
def test_a_temporary_table_until_commit_keeps_its_link_until_then(start_proxy):
    proxy = start_proxy({"pool_mode": "transaction", "pool_size": 1, "load_balance_mode": False})
    with proxy.connect(user="test") as a, proxy.connect(user="test") as b:
        for create in ("create temp table brief (a int) on commit drop", "create temp table brief on commit drop as select 1 as a",
                       "select 1 as a into temp brief"):
            for session in (a, b):
                session.execute("begin")
                session.execute(create)
                session.execute("insert into brief values (2)")
                assert session.execute("select max(a) from brief").fetchone() == (2,)
                session.execute("drop table brief" if "into" in create else "select")
                session.execute("commit")  # the only link is free for the other
        rows = b.execute("show pool_pools").fetchall()
        assert not any("temporary" in str(value) for r in rows for value in r), rows


@herdgate_only
def test_notifications_reach_the_pinned_listener(tight):
    with tight.connect(user="test") as listener, tight.connect(user="test") as sender:
        listener.execute("listen news")
        for i in range(5):
            sender.execute(f"notify news, '{i}'")
        heard = []
        for n in listener.notifies():
            heard.append(n.payload)
            if len(heard) == 5:
                break
        assert heard == list("01234")


@herdgate_only
def test_a_client_knows_its_own_notifications(tight):
    """By the process id that it was told at login."""
    with tight.connect(user="test") as c, tight.connect(user="test") as other:
        heard = []
        c.add_notify_handler(lambda n: heard.append((n.channel, n.payload, n.pid == c.info.backend_pid)))
        c.execute("listen news")
        for n, sender in enumerate([c, other, c]):
            sender.execute(f"notify news, 'é{n}'")
        wait_until(lambda: c.execute("select 1") and len(heard) >= 3, "three notifications")
        assert sorted(heard) == [("news", "é0", True), ("news", "é1", False), ("news", "é2", True)]


@herdgate_only
def test_query_wait_timeout(start_proxy):
    proxy = start_proxy({"pool_mode": "transaction", "pool_size": 1, "query_wait_timeout": 1,
                         "load_balance_mode": False})
    with proxy.connect(user="test", autocommit=False) as holder, proxy.connect(user="test") as waiter:
        holder.execute("select txid_current()")
        begin = time.monotonic()
        with pytest.raises(psycopg.errors.TooManyConnections):
            waiter.execute("select 1")
        assert 0.8 < time.monotonic() - begin < 10
        holder.commit()
    with proxy.connect(user="test") as c:
        assert c.execute("select 1").fetchone() == (1,)


@herdgate_only
def test_a_login_has_its_turn_while_sessions_queue(start_proxy):
    """Its link must be a new one, so one that comes back is closed for it, though others wait for that one too."""
    proxy = start_proxy({"pool_mode": "transaction", "pool_size": 1, "query_wait_timeout": 5, "load_balance_mode": False})
    stop, busy = threading.Event(), [threading.Event() for _ in range(3)]

    def work(connection, begun):
        while not stop.is_set():
            connection.execute("select pg_sleep(0.05)")
            begun.set()

    sessions = [proxy.connect() for _ in busy]
    threads = [threading.Thread(target=work, args=pair) for pair in zip(sessions, busy)]
    for thread in threads:
        thread.start()
    try:
        assert all(begun.wait(30) for begun in busy)
        proxy.reload()  # what logins have taught is forgotten
        wait_until(lambda: "reload" in proxy.log(), "the reload")
        for _ in range(3):
            with proxy.connect() as late:
                assert late.execute("select 'in'").fetchone() == ("in",)
            proxy.reload()
    finally:
        stop.set()
        for thread in threads:
            thread.join()
        for session in sessions:
            session.close()


def test_idle_transaction_timeout(start_proxy, cluster):
    proxy = start_proxy({"pool_mode": "transaction", "idle_transaction_timeout": 1})
    with proxy.connect(user="test", autocommit=False) as c:
        c.execute("select txid_current()")
        wait_until(lambda: ended(c), "the idle transaction to be ended")
    wait_until(lambda: cluster.primary.psql("select count(*) from pg_stat_activity where usename = 'test' and "
                                            "state like 'idle in transaction%'", "postgres") == "0", "its rollback")


@herdgate_only
def test_function_that_changes_state_does_not_leak(tight, cluster):
    cluster.primary.psql("create or replace function meddle() returns int language plpgsql as "
                         "$$ begin perform set_config('work_mem', '77MB', false); return 1; end $$")
    cluster.wait_replayed()
    for _ in range(10):
        with tight.connect(user="test") as c:
            c.execute("select meddle()")
        with tight.connect(user="test") as c:
            assert c.execute("show work_mem").fetchone() == ("4MB",)


OF_A_RESET = "pg_catalog.pg_advisory_unlock_all()"  # a link that may hold what was not seen


@herdgate_only
@pytest.mark.parametrize("extended", [False, True])
def test_what_a_trigger_leaves_does_not_leak(tight, cluster, extended):
    """Each link is asked afterwards: settings, temporary tables and locks of others are not there."""
    cluster.primary.psql('''
        drop table if exists meddled; create table meddled (a int);
        create or replace function meddle_by_trigger() returns trigger language plpgsql as $$ begin
          update meddled set a = a where false; set work_mem = '77MB'; create temp table if not exists left_here (a int);
          perform pg_advisory_lock(777); return new; end $$;
        create trigger m after insert on meddled for each row execute function meddle_by_trigger();
        grant all on meddled to test''')
    cluster.wait_replayed()
    asks = ("/*NO LOAD BALANCE*/ select current_setting('work_mem'), to_regclass('pg_temp.left_here') is null, "
            "(select count(*) from pg_locks where locktype = 'advisory' and pid = pg_backend_pid())")
    begin = len(cluster.primary.log())
    for _ in range(6):
        with tight.connect(user="test") as c:
            c.execute("insert into meddled values (%s)" if extended else "insert into meddled values (1)",
                      (1,) if extended else None)
        with tight.connect(user="test") as c:
            assert c.execute(asks).fetchone() == ("4MB", True, 0)
    assert OF_A_RESET in cluster.primary.log()[begin:]


@herdgate_only
def test_a_harmless_trigger_costs_no_reset(tight, cluster):
    mark = "harmless_touch"
    cluster.primary.psql(f'''
        drop table if exists {mark}; create table {mark} (a int, at timestamptz);
        create or replace function touch() returns trigger language plpgsql as
          $$ begin new.at := now(); update {mark} set a = a where false; return new; end $$;
        create trigger t before insert on {mark} for each row execute function touch(); grant all on {mark} to test''')
    cluster.wait_replayed()
    begin = len(cluster.primary.log())
    with tight.connect(user="test") as c:
        for _ in range(5):
            c.execute(f"insert into {mark} values (1)")
    with tight.connect(user="test") as c:
        assert c.execute(f"/*NO LOAD BALANCE*/ select count(*) from {mark}").fetchone() == (5,)
    assert OF_A_RESET not in cluster.primary.log()[begin:]


@herdgate_only
@pytest.mark.parametrize("value", ["true", "on", "1", "database"])
def test_replication_connection_is_refused(proxy, value):
    with Client(proxy.port) as c:
        c.send(startup(replication=value))
        kind, payload = c.receive()
        assert kind == "E"
        said = error(payload)
        assert (said["S"], said["C"], said["M"]) == ("FATAL", "0A000", "replication connections are not supported")
    with Client(proxy.port).login(replication="false") as c:
        assert c.ask("select 1") == [["1"]]


@herdgate_only
@pytest.mark.parametrize("mode", ["session", "transaction"])
def test_databases_are_dropped_in_spite_of_idle_links(start_proxy, cluster, mode):
    """Nobody uses the database but the pool; the server would refuse."""
    proxy = start_proxy({"pool_mode": mode, "num_workers": 2})

    def use(database):
        for _ in range(4):
            with proxy.connect(dbname=database) as other:
                assert other.execute("select 1").fetchone() == (1,)

    with proxy.connect(dbname="postgres") as c:
        c.execute("create database dropped")
        use("dropped")
        c.execute("alter database dropped rename to renamed")
        use("renamed")
        c.execute("create database dropped template renamed")
        use("dropped")
        c.execute("drop database dropped")
    with Client(proxy.port) as raw:
        raw.login(database="postgres")
        use("renamed")
        raw.send(parse("drop database renamed"), bind(), execute(), SYNC)
        assert kinds(raw.until()) == "12CZ"
    assert cluster.primary.psql("select count(*) from pg_database where datname in ('dropped', 'renamed')") == "0"


def tcp_options(pid):
    """Of a process's TCP connections, by the ports of both ends: is it kept alive, after what idle time, how often, how many
    times, and how long may it wait for what it has sent."""
    libc, process, found = ctypes.CDLL(None), os.pidfd_open(pid), {}
    for name in os.listdir(f"/proc/{pid}/fd"):
        copy = libc.syscall(438, process, int(name), 0)  # pidfd_getfd; -1: closed meanwhile
        if copy >= 0 and os.readlink(f"/proc/self/fd/{copy}").startswith("socket:"):
            with socket.socket(fileno=copy) as s, contextlib.suppress(OSError):  # it listens
                options = [s.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)] + [
                    s.getsockopt(socket.IPPROTO_TCP, o)
                    for o in (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT, socket.TCP_USER_TIMEOUT)]
                found[s.getsockname()[1], s.getpeername()[1]] = options
        elif copy >= 0:
            os.close(copy)
    os.close(process)
    return found


@herdgate_only
@pytest.mark.skipif(os.getuid() != 0, reason="looks into another process")
def test_both_sides_have_the_tcp_options(start_proxy):
    proxy = start_proxy({"tcp_keepalives_idle": 61, "tcp_keepalives_interval": 7, "tcp_keepalives_count": 3,
                         "tcp_user_timeout": 4500})
    with Client(proxy.port) as c:
        c.login()
        [[server, link]] = c.ask("select inet_server_port(), inet_client_port()")
        options = tcp_options(proxy.process.pid)
        assert options[proxy.port, c.socket.getsockname()[1]] == [1, 61, 7, 3, 4500]
        assert options[int(link), int(server)] == [1, 61, 7, 3, 4500]
