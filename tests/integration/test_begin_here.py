"""BEGIN, COMMIT and ROLLBACK of the extended protocol while no server works for the transaction: answered by Herdgate, as those
of the simple protocol are, so they neither wait nor fail."""
import psycopg
import pytest

from support.system import wait_until
from support.wire import SYNC, Client, Closed, bind, close, describe, error, execute, kinds, parse, row

pytestmark = [pytest.mark.proxy_only, pytest.mark.herdgate_only]
ONE_LINK = {"pool_mode": "transaction", "pool_size": 1, "num_workers": 1, "load_balance_mode": False, "query_wait_timeout": 1}


def run(sql):
    return parse(sql) + bind() + execute()


def state(messages):
    return kinds(messages) + messages[-1][1].decode()


@pytest.fixture
def full(start_proxy):
    """A proxy whose only link is taken, and the one that has it."""
    proxy = start_proxy(ONE_LINK)
    with proxy.connect() as admin:
        admin.execute("drop table if exists here; create table here (v int)")
    with Client(proxy.port).login() as holder:
        holder.ask("begin")
        holder.ask("select 1")
        yield proxy, holder


@pytest.mark.parametrize("end", ["commit", "rollback", "end", "abort"])
def test_nobody_waits_for_a_link(full, end):
    proxy, holder = full
    with Client(proxy.port).login() as c:
        c.send(run("begin"), SYNC)
        assert state(c.until()) == "12CZT"
        c.send(run(end), SYNC)
        assert state(c.until()) == "12CZI"
        c.send(run("begin"), SYNC, run("insert into here values (1)"), SYNC)
        assert state(c.until()) == "12CZT"
        assert state(c.until()) == "EZE"
        c.send(run(end), SYNC)
        assert state(c.until()) == "12CZI"
        holder.ask("rollback")
        assert c.ask("select count(*) from here") == [["0"]]


def test_a_block_of_psycopg_lives_on(full):
    """issue: its BEGIN failed, so it sent no ROLLBACK, and the session was in a failed transaction for good."""
    proxy, holder = full
    with proxy.connect() as c:
        for _ in range(2):
            with pytest.raises(psycopg.errors.TooManyConnections), c.transaction():
                c.execute("insert into here values (1)")
        holder.ask("rollback")
        with c.transaction():
            c.execute("insert into here values (2)")
        assert c.execute("select v from here").fetchall() == [(2,)]
    holder.ask("begin")
    holder.ask("select 1")
    with proxy.connect(autocommit=False) as c:  # ROLLBACK had been refused too
        with pytest.raises(psycopg.errors.TooManyConnections):
            c.execute("select 1")
        c.rollback()
        holder.ask("rollback")
        assert c.execute("select v from here").fetchall() == [(2,)]


def test_reads_leave_the_primary_to_others(start_proxy):
    proxy = start_proxy({"pool_mode": "transaction", "pool_size": 1, "num_workers": 1, "backend_weight0": 0})
    with proxy.connect() as admin:
        admin.execute("drop table if exists here; create table here (v int)")
    with Client(proxy.port).login() as c, Client(proxy.port).login() as writer:
        c.ask("select v from here")  # asks the catalog
        c.send(run("begin"), SYNC, run("select v from here"), SYNC)
        assert state(c.until()) == "12CZT" and state(c.until()) == "12CZT"
        writer.ask("insert into here values (1)")
        c.send(run("commit"), SYNC)
        assert state(c.until()) == "12CZI"


def test_what_begin_says_holds(start_proxy):
    proxy = start_proxy(ONE_LINK)
    with Client(proxy.port).login() as c:
        c.send(parse("start transaction isolation level serializable, read only", "b"), describe("S", "b"), SYNC)
        assert state(c.until()) == "1tnZI"
        for _ in range(2):
            c.send(bind(statement="b"), describe(), execute(), SYNC)
            answer = c.until()
            assert state(answer) == "2nCZT" and answer[2][1] == b"START TRANSACTION\0"
            assert c.ask("show transaction_isolation") == [["serializable"]]
            assert c.ask("show transaction_read_only") == [["on"]]
            c.send(parse("commit and chain"), bind(), describe(), execute(), SYNC)
            assert state(c.until()) == "12nCZT"
            assert c.ask("show transaction_isolation") == [["serializable"]]
            c.send(run("rollback"), SYNC)
            assert state(c.until()) == "12CZI"
            assert c.ask("show transaction_isolation") == [["read committed"]]
        c.send(close("S", "b"), parse("begin", "b"), bind(statement="b"), execute(), SYNC)
        assert state(c.until()) == "312CZT"


# Units of other shapes, or in other states: a server answers them, or all is as if one did.
UNITS = {
    "a value": parse("begin") + bind("1") + execute() + SYNC,
    "two formats": parse("begin") + bind(formats=(0, 0)) + execute() + SYNC,
    "formats of results": parse("begin") + bind(formats=(1,), results=(1, 1)) + describe() + execute(rows=1) + SYNC,
    "another portal": parse("begin") + bind(portal="p") + execute() + SYNC,
    "a named portal": parse("begin") + bind(portal="p") + execute("p") + SYNC + bind(portal="p") + SYNC,
    "types of a statement": parse("begin", "t", types=(23,)) + SYNC + bind(statement="t") + execute() + SYNC,
    "another statement": parse("begin", "x") + bind() + execute() + SYNC,
    "described by another name": parse("begin", "y") + bind(statement="y") + describe("S", "z") + execute() + SYNC,
    "twice": run("begin") + run("begin") + SYNC,
    "and at once back": run("begin") + run("rollback") + SYNC,
    "a name twice": parse("begin", "n") + SYNC + parse("begin", "n") + bind(statement="n") + execute() + SYNC,
    "two statements": parse("begin; select 1") + bind() + execute() + SYNC,
    "with types": parse("begin", types=(23,)) + bind() + execute() + SYNC,
    "commit outside": run("commit") + SYNC,
    "rollback outside": run("rollback") + SYNC,
    "begin within": run("begin") + SYNC + run("begin") + SYNC,
    "not executed": parse("begin") + bind() + SYNC,
    "not bound": parse("begin") + SYNC + bind() + execute() + SYNC,
    "commit of a failed one": run("begin") + SYNC + run("select 1/0") + SYNC + run("commit") + SYNC,
}


@pytest.mark.parametrize("unit", UNITS)
@pytest.mark.parametrize("mode", ["session", "transaction"])
def test_as_at_a_server(start_proxy, cluster, mode, unit):
    proxy = start_proxy({"pool_mode": mode, "num_workers": 1})
    told = []
    for port in (cluster.primary.port, proxy.port):
        with Client(port).login() as c:
            c.send(UNITS[unit], parse("select 42"), bind(), execute(), SYNC, run("rollback"), SYNC, run("select 43"), SYNC)
            told.append([])
            while ("D", ["43"]) not in told[-1]:
                for kind, payload in c.until():
                    what = error(payload)["C"] if kind in "EN" else row(payload) if kind == "D" else payload if kind in "CZ" else None
                    told[-1].append((kind, what))
    assert told[0] == told[1]


def test_it_is_logged_as_a_statement(start_proxy):
    proxy = start_proxy({**ONE_LINK, "log_statement": True})
    with Client(proxy.port).login() as c:
        c.send(run("begin /* told */"), SYNC)
        assert state(c.until()) == "12CZT"
        wait_until(lambda: "statement: begin /* told */" in proxy.log(), "the line")


def test_a_begin_that_a_server_has_to_answer_and_cannot(start_proxy):
    """In raw mode all goes to the server. A client whose BEGIN is refused may have sent more already: its session ends."""
    proxy = start_proxy({**ONE_LINK, "backend_clustering_mode": "raw"})
    with proxy.connect() as admin:
        admin.execute("drop table if exists here; create table here (v int)")
    with Client(proxy.port).login() as holder:
        holder.ask("begin")
        for begin in (run("begin") + SYNC, b"Q\0\0\0\x0abegin\0"):
            with Client(proxy.port).login() as c:
                c.send(begin, run("insert into here values (1)"), SYNC)
                kind, payload = c.receive()
                assert kind == "E" and error(payload)["S"] == "FATAL" and error(payload)["C"] == "53300"
                with pytest.raises(Closed):
                    c.receive()
        holder.ask("commit")
        assert holder.ask("select count(*) from here") == [["0"]]
