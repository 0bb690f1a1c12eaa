"""What happens amid something else: links that are lost between two parts of a unit, what servers say while a row is on its way,
reads that a standby refuses within a transaction, cancels that come late."""
import contextlib
import struct

import psycopg
import pytest

from support.relay import Relay
from support.system import wait_until
from support.wire import (SYNC, Client, bind, cancel_request, describe, error, execute, message, parse, query, row)

pytestmark = [pytest.mark.proxy_only, pytest.mark.herdgate_only]
SHARED = {"pool_mode": "transaction", "pool_size": 3, "num_workers": 1, "load_balance_mode": False}
READS_AT_STANDBYS = {"backend_weight0": 0, "num_init_children": 20}


@pytest.fixture(scope="module", autouse=True)
def tables(cluster):
    cluster.primary.psql("""
        create table hens (a int); create table eggs (a int); create table nests (a int);
        create function lays() returns bigint volatile language plpgsql as
          'begin insert into hens values (1); return (select count(*) from hens); end';
    """)
    cluster.wait_replayed()


@pytest.fixture
def primary(cluster):
    cluster.primary.psql("truncate hens, eggs, nests")
    cluster.wait_replayed()
    return cluster.primary


def step(client, *messages):
    """What came of it: tags, SQLSTATEs and rows in their order, and the transaction status."""
    client.send(*messages)
    told = []
    for kind, payload in client.until("Z"):
        if kind == "C":
            told.append(payload.rstrip(b"\0").decode())
        elif kind == "E":
            told.append(error(payload)["C"])
        elif kind == "D":
            told.append(row(payload))
    return told, payload.decode()


def test_a_link_lost_amid_the_unit(start_proxy, primary):
    """Its second half waits for what the link has to say of its statement. It must not be run by itself elsewhere, and one Sync
    has one answer."""
    proxy = start_proxy(SHARED)
    waiting = "from pg_stat_activity where wait_event_type = 'Lock' and query like '%eggs%'"
    with contextlib.ExitStack() as stack:
        c, other, holder = (stack.enter_context(Client(proxy.port).login()) for _ in range(3))
        c.send(parse("insert into hens values (1)", "s1"), describe("S", "s1"), parse("insert into eggs values (1)", "s2"),
               describe("S", "s2"), SYNC)
        c.until("Z")
        holder.ask("begin")
        holder.ask("insert into nests values (1)")  # has the link where both are prepared
        assert step(c, bind(statement="s1"), execute(), SYNC) == (["INSERT 0 1"], "I")
        with psycopg.connect(f"host=127.0.0.1 port={primary.port} user=postgres dbname=test") as locker:
            locker.execute("lock table eggs")
            c.send(bind(statement="s1"), execute(), bind(statement="s2"), execute(), SYNC)
            wait_until(lambda: primary.psql(f"select count(*) {waiting}") == "1", "the wait for the lock")
            primary.psql(f"select pg_terminate_backend(pid) {waiting}")
            locker.rollback()
        got = [(kind, error(payload)["C"] if kind == "E" else payload) for kind, payload in c.until("Z")]
        assert [kind for kind, _ in got if kind in "EZ"] == ["E", "Z"], got
        assert step(c, query("select 'next'")) == ([["next"]] + ["SELECT 1"], "I")
        holder.ask("rollback")
        assert other.ask("select count(*) from eggs") == [["0"]]


def test_a_notification_amid_a_row(start_proxy, primary):
    """Of one link a long row is under way, another one tells what was notified: the row stays in one piece."""
    proxy = start_proxy(READS_AT_STANDBYS)
    size, piece = 40_000_000, 1_000_000
    with Client(proxy.port).login() as c:
        c.ask("listen moo")
        c.send(query(f"select repeat('x', {size})"))
        for i in range(size // piece - 2):
            c.socket.settimeout(60)
            while len(c.buffer) < (i + 1) * piece:
                c.buffer += c.socket.recv(min(65536, (i + 1) * piece - len(c.buffer)))
            primary.psql(f"notify moo, '{i}'")
        got = c.until("Z")
        rows = [payload for kind, payload in got if kind == "D"]
        assert len(rows) == 1 and rows[0][6:] == b"x" * size
        told = [payload for kind, payload in got if kind == "A"]
        while len(told) < size // piece - 2:
            told.append(c.receive()[1])
        assert [t[4:].split(b"\0")[1].decode() for t in told] == [str(i) for i in range(size // piece - 2)]


@pytest.mark.parametrize("how", ["simple", "extended"])
def test_a_read_that_writes_moves_within_its_transaction(start_proxy, primary, how):
    """The lists say that lays() only reads; the standby finds out. The primary runs it in the transaction, which has written then."""
    proxy = start_proxy({**READS_AT_STANDBYS, "write_function_list": "none_of_these"})

    def run(c, sql):
        return step(c, *([query(sql)] if how == "simple" else [parse(sql), bind(), describe(), execute(), SYNC]))
    with Client(proxy.port).login() as c:
        c.ask("begin")
        assert run(c, "select lays()") == ([["1"], "SELECT 1"], "T")
        assert run(c, "select count(*) from hens") == ([["1"], "SELECT 1"], "T")
        assert run(c, "commit") == (["COMMIT"], "I")
    assert primary.psql("select count(*) from hens") == "1"


def call(oid):
    """FunctionCall without arguments, its result as text."""
    return message("F", struct.pack("!IHHH", oid, 0, 0, 0))


def test_a_function_call_writes(start_proxy, primary):
    """As the large objects of libpq and JDBC: what it wrote the transaction reads."""
    proxy = start_proxy(READS_AT_STANDBYS)
    oid = int(primary.psql("select 'lays'::regproc::oid"))
    with Client(proxy.port).login() as c:
        c.ask("begin")
        assert step(c, call(oid)) == ([], "T")
        assert c.ask("select count(*) from hens") == [["1"]]
        c.ask("commit")
        c.ask("begin isolation level repeatable read, read only")  # on a standby, with one snapshot
        assert c.ask("select count(*) from hens") in ([["0"]], [["1"]])
        assert step(c, call(oid)) == (["25006"], "E")
        c.ask("rollback")


def test_a_failed_question_fails_the_transaction_aloud(start_proxy, primary):
    """What commit_outcome_check asks within the transaction fails: it must not end as a ROLLBACK that nobody heard of."""
    proxy = start_proxy({**SHARED, "pool_size": 1})
    primary.psql("create role farmer login; grant all on all tables in schema public to farmer;"
                 "revoke execute on function txid_current_if_assigned() from public")
    try:
        with Client(proxy.port).login(user="farmer") as c:
            for insert in (query("insert into hens values (1)"), parse("insert into hens values (1)") + bind() + execute() + SYNC):
                c.ask("begin")
                assert step(c, insert)[0] == ["INSERT 0 1"]
                assert step(c, query("commit")) == (["42501"], "I")
                assert c.ask("select count(*) from hens") == [["0"]]
                c.ask("begin")
                assert step(c, insert)[0] == ["INSERT 0 1"]
                assert step(c, query("rollback")) == (["ROLLBACK"], "I")
    finally:
        primary.psql("grant execute on function txid_current_if_assigned() to public; drop owned by farmer; drop role farmer")


def test_a_cancel_that_may_come_late(start_proxy, cluster, primary):
    """Sent, and not heard of in time: the server may see it when another session has the link. So nobody gets that link."""
    relay = Relay(primary.port)
    proxy = start_proxy({**SHARED, "pool_size": 1, "backend_port0": relay.port, "connect_timeout": 500}, fresh=True)
    try:
        with Client(proxy.port).login() as c, Client(proxy.port).login() as other:
            pid = c.ask("select pg_backend_pid()")
            assert other.ask("select pg_backend_pid()") == pid
            relay.hold_requests(struct.pack("!I", 80877102))
            with psycopg.connect(f"host=127.0.0.1 port={primary.port} user=postgres dbname=test") as locker:
                locker.execute("lock table eggs")
                c.send(query("select count(*) from eggs"))
                wait_until(lambda: primary.psql("select count(*) from pg_stat_activity where wait_event_type = 'Lock'") == "1",
                           "the wait for the lock")
                with Client(proxy.port) as canceller:
                    canceller.send(cancel_request(c.key))
                    with contextlib.suppress(OSError):
                        canceller.socket.recv(1)
                wait_until(lambda: relay.held, "the cancel")
                locker.rollback()
            assert [kind for kind, _ in c.until("Z")][-2:] == ["C", "Z"]
            assert other.ask("select pg_backend_pid()") != pid
    finally:
        relay.close()
