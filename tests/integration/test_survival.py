"""Sessions live through a failover: each row of ARCHITECTURE.md's table, on real servers, in both pool modes where it
matters. The primary is killed; Herdgate promotes a standby. Each case ends with "and it recovers".
"""
import os
import signal
import threading
import time

import psycopg
import pytest
from support import wire
from support.system import wait_until
from support.wire import SYNC, Client, bind, error, execute, kinds, parse, query, row
from test_builtin_failover import BuiltinHerd

pytestmark = pytest.mark.herdgate_only
MODES = ["transaction", "session"]
PRIMARY = "/*NO LOAD BALANCE*/ "


@pytest.fixture
def herd():
    made = []

    def make(**parameters):
        made.append(BuiltinHerd())
        made[-1].proxy.settings.update(parameters)
        h = made[-1].start()
        with h.proxy.connect() as c:
            c.execute("create table t (a int)")
        h.cluster.wait_replayed()
        return h
    yield make
    for h in made:
        h.end()


class Later(threading.Thread):
    """Runs something beside the test; result() gives what came of it, or raises it."""

    def __init__(self, work):
        super().__init__(daemon=True)
        self.work, self.value, self.error = work, None, None
        self.start()

    def run(self):
        try:
            self.value = self.work()
        except Exception as e:  # noqa: BLE001 it is raised by result()
            self.error = e

    def result(self, seconds=60):
        self.join(seconds)
        assert not self.is_alive(), "it still waits"
        if self.error:
            raise self.error
        return self.value


def status(h):
    return [row["status"] for row in h.show("pool_processes") if row["database"] == "test"]


def listed(c, pids):
    """Whether the proxy still has a link to one of these server processes."""
    return set(pids) & {str(value) for row in c.execute("show pool_pools").fetchall() for value in row}


def promoted(h):
    wait_until(lambda: "was promoted" in h.proxy.log(), "a promotion")
    node = h.state()[0]
    assert node in (1, 2)
    return node


@pytest.mark.parametrize("mode", MODES)
def test_idle_sessions_notice_nothing_and_writes_wait(herd, mode):
    h = herd(pool_mode=mode)
    with h.proxy.connect() as idle, h.proxy.connect() as writer, h.proxy.connect() as reader:
        idle.execute("set application_name = 'sleeper'")
        idle.execute("set work_mem = '7MB'")
        for c in (idle, writer):
            c.execute("insert into t values (0)")
        old = h.cluster.nodes[0].psql("select pid from pg_stat_activity where datname = 'test' and pid <> pg_backend_pid()")
        h.cluster.nodes[0].kill()
        # What is written to a link before its end was read is in flight, and unknown (08007). Here it has been read.
        wait_until(lambda: not listed(reader, old.split()), "the proxy to have read the end of its links")
        # The first statement after the kill waits and no error comes.
        write = Later(lambda: writer.execute("insert into t values (1)").rowcount)
        # Reads go on meanwhile.
        for _ in range(20):
            assert reader.execute("select count(*) from pg_class").fetchone()[0] > 0
        assert write.result() == 1
        promoted(h)
        assert idle.execute("show work_mem").fetchone() == ("7MB",)
        assert idle.execute(PRIMARY + "select current_setting('application_name')").fetchone() == ("sleeper",)
        assert idle.execute(PRIMARY + "select count(*) from t where a = 1").fetchone() == (1,)
    # And it recovers: new clients work as before.
    with h.proxy.connect() as c:
        c.execute("insert into t values (2)")


def test_logins_wait_in_session_mode(herd):
    h = herd(pool_mode="session")
    with h.proxy.connect():
        pass
    h.cluster.nodes[0].kill()
    with h.proxy.connect(connect_timeout=30) as c:
        c.execute("insert into t values (1)")
    promoted(h)


def test_waiting_has_an_end_and_can_be_cancelled(herd):
    h = herd(pool_mode="transaction", failover_method="command", failover_command="", failover_wait_timeout=3)
    with h.proxy.connect() as c, h.proxy.connect() as other, h.proxy.connect() as watch:
        c.execute("insert into t values (1)")
        h.cluster.nodes[0].kill()
        wait_until(lambda: "=== Starting degeneration." in h.proxy.log(), "the failover to begin")
        began = time.monotonic()
        with pytest.raises(psycopg.errors.ConnectionFailure, match="waited 3 s for a primary") as caught:
            c.execute("insert into t values (2)")
        assert 2.5 < time.monotonic() - began < 30
        assert "Node 0 was the primary and is down" in caught.value.diag.message_detail
        # In a transaction too; and cancel ends the wait.
        h.proxy.settings["failover_wait_timeout"] = 60
        h.proxy.reload()
        wait_until(lambda: "configuration files reloaded" in h.proxy.log(), "a longer wait")
        other.execute("begin")
        waiting = Later(lambda: other.execute("insert into t values (3)"))
        wait_until(lambda: any("Waiting for primary" in row for row in watch.execute("show pool_processes").fetchall()),
                   "the session to wait")  # a login would wait too
        other.cancel()
        with pytest.raises(psycopg.errors.QueryCanceled):
            waiting.result()
        other.execute("rollback")
        # Reads are served.
        assert other.execute("select count(*) from t").fetchone()[0] >= 0
        # And it recovers: the wait is over as soon as there is a primary again.
        waiting = Later(lambda: c.execute("insert into t values (4)").rowcount)
        h.cluster.nodes[1].promote()
        assert waiting.result() == 1


def test_a_restart_of_the_primary_is_waited_for(herd):
    """It goes down and comes back before anybody has promoted another one: nothing but a pause."""
    h = herd(pool_mode="transaction", failover_on_backend_error=False, health_check_period=60)
    with h.proxy.connect() as c:
        c.execute("insert into t values (1)")
        h.cluster.nodes[0].kill()
        write = Later(lambda: c.execute("insert into t values (2)").rowcount)
        wait_until(lambda: "Waiting for primary" in status(h), "the session to wait")
        h.cluster.nodes[0].start()
        assert write.result() == 1
        assert c.execute(PRIMARY + "select count(*) from t").fetchone() == (2,)


@pytest.mark.parametrize("mode", MODES)
def test_open_transaction(herd, mode):
    h = herd(pool_mode=mode)
    with h.proxy.connect(autocommit=False) as c:
        c.execute("insert into t values (1)")
        h.cluster.nodes[0].kill()
        promoted(h)
        with pytest.raises(psycopg.errors.SerializationFailure, match="lost during the transaction"):
            c.execute("insert into t values (2)")
        c.rollback()
        # And it recovers: the same session runs it again.
        c.execute("insert into t values (3)")
        c.commit()
        assert [r[0] for r in c.execute(PRIMARY + "select a from t")] == [3]


@pytest.mark.parametrize("mode", MODES)
def test_pinned_session(herd, mode):
    h = herd(pool_mode=mode)
    with h.proxy.connect() as c:
        c.execute("create temp table mine (a int)")
        h.cluster.nodes[0].kill()
        with pytest.raises(psycopg.OperationalError, match="temporary_table"):
            c.execute("insert into mine values (1)")
        assert c.closed
    promoted(h)
    with h.proxy.connect() as c:
        c.execute("insert into t values (1)")


def test_autocommit_write_in_flight(herd):
    h = herd(pool_mode="transaction")
    with h.proxy.connect() as c:
        write = Later(lambda: c.execute("insert into t select 1 from pg_sleep(20)"))
        wait_until(lambda: h.cluster.nodes[0].psql("select count(*) from pg_stat_activity where wait_event = 'PgSleep'")
                   == "1", "the write to run")
        h.cluster.nodes[0].kill()
        with pytest.raises(psycopg.errors.TransactionResolutionUnknown):
            write.result()
        # And it recovers.
        assert c.execute("insert into t values (2)").rowcount == 1
        assert [r[0] for r in c.execute(PRIMARY + "select a from t")] == [2]


@pytest.mark.parametrize("arrived", [False, True], ids=["lost", "arrived"])
@pytest.mark.parametrize("statement", ["prepare transaction 'p'", "commit prepared 'p'", "rollback prepared 'p'"])
def test_prepared_transactions_in_flight(herd, statement, arrived):
    """Two standbys must confirm; one has it in time, or none."""
    h = herd(pool_mode="transaction", failover_wait_timeout=5)
    primary = h.cluster.nodes[0]
    with h.proxy.connect() as c:
        for text in ("begin", "insert into t values (1)", *([] if statement.startswith("prepare") else ["prepare transaction 'p'"])):
            c.execute(text)
        h.cluster.wait_replayed()
        synchronous(h)
        names = "('node2')" if arrived else "('node1', 'node2')"
        for pid in primary.psql(f"select pid from pg_stat_replication where application_name in {names}").split():
            os.kill(int(pid), signal.SIGSTOP)
        ending = Later(lambda: c.execute(statement))
        wait_until(lambda: primary.psql("select count(*) from pg_stat_activity where wait_event = 'SyncRep'") == "1",
                   "it to wait for the standbys")
        if arrived:
            wait_until(lambda: primary.psql("select flush_lsn = pg_current_wal_flush_lsn() from pg_stat_replication where "
                                            "application_name = 'node1'") == "t", "one standby to have it")
        primary.kill()
        # Of PREPARE TRANSACTION the new primary can say that it has not heard of it; all else is unknown.
        learned = statement.startswith("prepare") and not arrived
        with pytest.raises(psycopg.errors.SerializationFailure if learned else psycopg.errors.TransactionResolutionUnknown):
            ending.result()
        # And it recovers: the session lives, and sees what became of it.
        prepared = c.execute(PRIMARY + "select count(*) from pg_prepared_xacts").fetchone()[0]
        assert prepared == (statement.startswith("prepare") == arrived)
        if prepared:
            c.execute("commit prepared 'p'")
        there = prepared or (arrived and statement.startswith("commit"))
        assert c.execute(PRIMARY + "select count(*) from t").fetchone()[0] == there


SLOW = "select count(*) from t a, t b, t c where (a.a + b.a) % 7 = c.a % 7"


def test_autocommit_read_in_flight(herd):
    """Nothing forwarded yet: it runs once more elsewhere, and the client sees nothing of it."""
    h = herd(pool_mode="transaction", backend_weight1=0, backend_weight2=0)
    with h.proxy.connect() as c:
        c.execute("insert into t select generate_series(1, 500)")
        h.cluster.wait_replayed()
        read = Later(lambda: c.execute(SLOW).fetchone()[0])
        wait_until(lambda: h.cluster.nodes[0].psql("select count(*) from pg_stat_activity where state = 'active' and "
                                                   "query like 'select count(*) from t a%'") == "1", "the read to run")
        h.cluster.nodes[0].kill()
        assert read.result(120) > 0


@pytest.mark.parametrize("mode", MODES)
def test_a_read_of_which_rows_were_forwarded(herd, mode):
    h = herd(pool_mode=mode)
    with h.proxy.connect() as c, c.cursor() as cursor:
        node = None
        stream = cursor.stream("select inet_server_port(), repeat('x', 1000) from generate_series(1, 1000000)")
        node = h.cluster.node_at(next(stream)[0])
        node.kill()
        with pytest.raises(psycopg.Error) as caught:
            for _ in stream:
                pass
        # In the middle of one row the stream cannot be mended; between two it is an error and the session lives.
        if not c.closed:
            assert caught.value.sqlstate == "40001"
    # And it recovers.
    with h.proxy.connect() as c:
        assert c.execute("insert into t values (1)").rowcount == 1


NOTICES = "select slow(i), inet_server_port() from generate_series(1, 5) i"


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("request_, begin", [(query(NOTICES), "T"), (parse(NOTICES) + bind() + execute() + SYNC, "12")],
                         ids=["simple", "extended"])
def test_a_read_of_which_whole_messages_were_forwarded(herd, mode, request_, begin):
    """A server sends what it has when it raises a notice, so its last octet is the end of a message: never a closed client."""
    h = herd(pool_mode=mode, backend_weight0=0)
    with h.proxy.connect() as c:
        c.execute("create function slow(i int) returns int language plpgsql stable as $$ begin "
                  "if i = 3 then raise notice 'here'; perform pg_sleep(600); end if; return i; end $$")
    h.cluster.wait_replayed()
    with Client(h.proxy.port).login() as c:
        c.ask("set work_mem = '7MB'")
        c.send(request_)
        heard = c.until("N")
        assert kinds(heard) == begin + "DD"
        node = h.cluster.node_at(int(row(heard[-2][1])[1]))
        assert node in h.cluster.standbys
        node.kill()
        rest = c.until("Z")
        assert kinds(rest) == "EZ" and error(rest[0][1])["C"] == "40001" and rest[-1] == ("Z", b"I"), rest
        # The session lives, with what it has set, and other nodes serve it.
        assert c.ask("show work_mem") == [["7MB"]]
        assert c.ask("select inet_server_port()") != [[str(node.port)]]
        c.ask("insert into t values (1)")
        assert c.ask("/*NO LOAD BALANCE*/ select count(*) from t") == [["1"]]


def test_conflict_with_recovery_is_rerun_on_the_primary(herd):
    h = herd(pool_mode="transaction", backend_weight0=0)
    for node in h.cluster.standbys:
        node.psql("alter system set hot_standby_feedback = off", "postgres")
        node.psql("alter system set max_standby_streaming_delay = 0", "postgres")
        node.psql("select pg_reload_conf()", "postgres")
    with h.proxy.connect() as c:
        c.execute("insert into t select generate_series(1, 500)")
        h.cluster.wait_replayed()
        # Long enough to be met by an exclusive lock that is replayed, and without volatile functions.
        read = Later(lambda: c.execute(SLOW).fetchone()[0])
        wait_until(lambda: any(n.psql("select count(*) from pg_stat_activity where state = 'active' and query like "
                                      "'select count(*) from t a%'") == "1" for n in h.cluster.standbys), "the read")
        h.cluster.nodes[0].psql("begin; lock table t in access exclusive mode; insert into t values (0); commit")
        assert read.result(120) > 0
    assert any("conflict with recovery" in n.log() for n in h.cluster.standbys)


# ---- commit_outcome_check

def synchronous(h):
    primary = h.cluster.nodes[0]
    primary.psql("alter system set synchronous_standby_names = '2 (node1, node2)'", "postgres")
    primary.psql("alter system set synchronous_commit = remote_apply", "postgres")
    primary.psql("select pg_reload_conf()", "postgres")
    wait_until(lambda: primary.psql("select count(*) from pg_stat_replication where sync_state = 'sync'") == "2", "sync")


def commit_that_hangs(h, c):
    commit = Later(c.commit)
    wait_until(lambda: h.cluster.nodes[0].psql("select count(*) from pg_stat_activity where wait_event = 'SyncRep'")
               == "1", "the commit to wait for the standbys")
    return commit


def test_a_commit_without_an_answer_that_took_effect(herd):
    """The standbys have it and only its acknowledgement is missing: the client is told what happened."""
    h = herd(pool_mode="transaction")
    synchronous(h)
    with h.proxy.connect(autocommit=False) as c:
        c.execute("insert into t values (1)")
        for node in h.cluster.standbys:
            node.psql("select pg_wal_replay_pause()", "postgres")
        commit = commit_that_hangs(h, c)
        h.cluster.nodes[0].kill()
        with pytest.raises(psycopg.errors.TransactionResolutionUnknown, match="and the transaction is committed"):
            commit.result()
        c.rollback()
        assert [r[0] for r in c.execute(PRIMARY + "select a from t")] == [1]
        c.rollback()


def test_a_commit_without_an_answer_that_did_not_take_effect(herd):
    h = herd(pool_mode="transaction")
    synchronous(h)
    with h.proxy.connect(autocommit=False) as c, h.proxy.connect() as other:
        c.execute("insert into t values (1)")
        for pid in h.cluster.nodes[0].psql("select pid from pg_stat_replication").split():
            os.kill(int(pid), signal.SIGSTOP)
        commit = commit_that_hangs(h, c)
        h.cluster.nodes[0].kill()
        write = Later(lambda: other.execute("insert into t values (2)").rowcount)
        with pytest.raises(psycopg.errors.SerializationFailure, match="and nothing was committed"):
            commit.result()
        assert write.result() == 1
        c.rollback()
        c.execute("insert into t values (3)")
        c.commit()
        assert sorted(r[0] for r in c.execute(PRIMARY + "select a from t")) == [2, 3]
        c.rollback()


def test_the_tag_of_a_commit_of_the_simple_protocol(herd):
    h = herd(pool_mode="session")
    synchronous(h)
    client = wire.Client(h.proxy.port).login()
    client.ask("begin")
    client.ask("insert into t values (1)")
    for node in h.cluster.standbys:
        node.psql("select pg_wal_replay_pause()", "postgres")
    client.send(wire.query("commit"))
    wait_until(lambda: h.cluster.nodes[0].psql("select count(*) from pg_stat_activity where wait_event = 'SyncRep'")
               == "1", "the commit to wait for the standbys")
    h.cluster.nodes[0].kill()
    assert client.until("Z") == [("C", b"COMMIT\0"), ("Z", b"I")]
    assert client.ask("/*NO LOAD BALANCE*/ select a from t") == [["1"]]
    client.close()


def test_without_the_check_the_outcome_is_unknown(herd):
    h = herd(pool_mode="transaction", commit_outcome_check=False)
    synchronous(h)
    with h.proxy.connect(autocommit=False) as c:
        c.execute("insert into t values (1)")
        for node in h.cluster.standbys:
            node.psql("select pg_wal_replay_pause()", "postgres")
        commit = commit_that_hangs(h, c)
        h.cluster.nodes[0].kill()
        with pytest.raises(psycopg.errors.TransactionResolutionUnknown, match="outcome of the statement is unknown"):
            commit.result()


# ---- PGPOOL PAUSE

@pytest.mark.parametrize("mode", MODES)
def test_pause_and_resume(herd, mode):
    h = herd(pool_mode=mode)
    with h.proxy.connect(dbname="postgres") as boss, h.proxy.connect() as a, h.proxy.connect() as b, \
            h.proxy.connect(autocommit=False) as open_one:
        open_one.execute("insert into t values (1)")
        boss.execute("pgpool pause test")
        assert boss.execute("pgpool show paused").fetchall()[0][0] == "test"
        # What is open goes on and ends; what is new waits, reads as well, and so do other databases not.
        open_one.execute("insert into t values (2)")
        open_one.commit()
        write, read = Later(lambda: a.execute("insert into t values (3)").rowcount), Later(
            lambda: b.execute("select 1").fetchone())
        wait_until(lambda: status(h).count("Paused") == 2, "two sessions to wait")
        assert boss.execute("select 1").fetchone() == (1,)
        assert h.cluster.nodes[0].psql("select count(*) from t") == "2"
        boss.execute("pgpool resume test")
        assert write.result() == 1 and read.result() == (1,)
        assert boss.execute("pgpool show paused").fetchall() == []
        # All databases: nothing but the proxy's own commands.
        boss.execute("pgpool pause")
        write = Later(lambda: a.execute("insert into t values (4)").rowcount)
        wait_until(lambda: status(h).count("Paused") == 1, "one session to wait")
        a.cancel()
        with pytest.raises(psycopg.errors.QueryCanceled):
            write.result()
        boss.execute("pgpool resume")
        assert a.execute("insert into t values (5)").rowcount == 1


def test_pause_ends_by_itself_and_needs_a_superuser(herd):
    h = herd(pause_timeout=2)
    with h.proxy.connect() as c, h.proxy.connect(user="test") as other:
        with pytest.raises(psycopg.errors.InsufficientPrivilege, match="permission denied for PGPOOL PAUSE"):
            other.execute("pgpool pause")
        began = time.monotonic()
        c.execute("pgpool pause")
        assert c.execute("insert into t values (1)").rowcount == 1
        assert 1 < time.monotonic() - began < 30
    wait_until(lambda: "pause_timeout is over, new work in all databases goes on" in h.proxy.log(), "the log to say so")
