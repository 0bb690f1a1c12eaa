"""Sessions whose isolation level or read-only mode ALTER ROLE or ALTER DATABASE … SET has given them."""
import itertools

import psycopg
import pytest

from support.wire import SYNC, Client, bind, execute, parse, query

pytestmark = [pytest.mark.proxy_only, pytest.mark.herdgate_only]
numbers = itertools.count()
LEVELS = ["serializable", "repeatable read", "read committed", "read uncommitted"]


@pytest.fixture(params=["session", "transaction"])
def proxy(request, start_proxy):
    """All reads that may be balanced go to a standby."""
    return start_proxy({"pool_mode": request.param, "backend_weight0": 0})


@pytest.fixture(params=["role", "database"])
def given(request, cluster):
    """given(name=value): the start-up packet of a user whom nobody has logged in as, with that default."""
    made = []

    def give(name, value):
        number = next(numbers)
        user, database = f"ld_user_{number}", f"ld_base_{number}" if request.param == "database" else "test"
        made.append((user, database))
        cluster.primary.psql(f"create role {user} login")
        if database != "test":
            cluster.primary.psql(f"create database {database}")
        cluster.primary.psql("drop table if exists counted; create table counted (a int); insert into counted values (1);"
                             "grant all on counted to public", database)
        what = f"role {user}" if request.param == "role" else f"database {database}"
        cluster.primary.psql(f"alter {what} set {name} = '{value}'")
        cluster.wait_replayed()
        return {"user": user, "database": database}

    yield give
    for user, database in made:
        if database != "test":
            cluster.primary.psql(f"drop database {database} with (force)")
        cluster.primary.psql(f"drop owned by {user}; drop role {user}")


def node_of(client, cluster):
    return cluster.node_at(int(client.ask("select inet_server_port() from counted limit 1")[0][0])).number


def answer(client, sql, extended=False):
    if extended:
        client.send(parse(sql), bind(), execute(), SYNC)
    else:
        client.send(query(sql))
    return [payload for kind, payload in client.until() if kind in "DE"]


@pytest.mark.parametrize("level", LEVELS)
def test_one_transaction_one_snapshot(proxy, cluster, given, level):
    """Between two reads of one transaction somebody else writes; the second read is where the session may write too."""
    who = given("default_transaction_isolation", level)
    for login in range(2):  # the second one asks no server
        seen = {}
        for name, port in (("directly", cluster.primary.port), ("through the proxy", proxy.port)):
            with Client(port).login(**who) as c, psycopg.connect(
                    f"host=127.0.0.1 port={cluster.primary.port} user=postgres dbname={who['database']}", autocommit=True) as other:
                other.execute("delete from counted; insert into counted values (1)")
                cluster.wait_replayed()
                told = [answer(c, "show transaction_isolation"), answer(c, "select count(*) from counted"), answer(c, "begin"),
                        answer(c, "select count(*) from counted")]
                other.execute("insert into counted values (2)")
                cluster.wait_replayed()
                told += [answer(c, "select count(*) from counted"), answer(c, "lock table counted in row exclusive mode"),
                         answer(c, "select count(*) from counted"), answer(c, "rollback"),
                         answer(c, "select count(*) from counted", extended=True), answer(c, "show transaction_isolation")]
                seen[name] = told
        assert seen["through the proxy"] == seen["directly"], login


def test_where_reads_go(proxy, cluster, given):
    """Of SERIALIZABLE no read may go to a standby; of REPEATABLE READ those outside a transaction, and of one that only reads."""
    with Client(proxy.port).login(**given("default_transaction_isolation", "serializable")) as c:
        assert node_of(c, cluster) == 0
        c.ask("begin")
        assert node_of(c, cluster) == 0
        c.ask("commit")
        c.ask("set default_transaction_isolation = 'read committed'")
        assert node_of(c, cluster) != 0
        c.ask("reset default_transaction_isolation")
        assert node_of(c, cluster) == 0
        c.ask("discard all")
        assert node_of(c, cluster) == 0
    with Client(proxy.port).login(**given("default_transaction_isolation", "repeatable read")) as c:
        assert node_of(c, cluster) != 0
        for begin, on_primary in (("begin", True), ("begin read only", False), ("begin isolation level read committed", False)):
            c.ask(begin)
            assert (node_of(c, cluster) == 0) == on_primary, begin
            c.ask("commit")
        plan = str(c.ask("pgpool explain route select * from counted"))
        assert "load_balance" in plan, plan
        c.ask("begin")
        plan = str(c.ask("pgpool explain route select * from counted"))
        assert "transaction_node" in plan, plan


def test_read_only_by_default(proxy, cluster, given):
    who = given("default_transaction_read_only", "on")
    for extended in (False, True):
        seen = {}
        for name, port in (("directly", cluster.primary.port), ("through the proxy", proxy.port)):
            with Client(port).login(**who) as c:
                texts = ["insert into counted values (3)", "begin", "select count(*) from counted", "insert into counted values (3)",
                         "rollback", "begin read write", "insert into counted values (3)", "select count(*) from counted", "rollback",
                         "set default_transaction_read_only = off", "begin", "insert into counted values (3)", "rollback",
                         "reset default_transaction_read_only", "insert into counted values (3)", "show transaction_read_only"]
                seen[name] = [[p.partition(b"C")[2][:5] if b"SERROR" in p else p for p in answer(c, sql, extended)] for sql in texts]
        assert seen["through the proxy"] == seen["directly"]


def test_altered_while_sessions_live(proxy, cluster, given):
    """Through the proxy: who logs in afterwards is known to be another; who lives on in session mode stays what it was."""
    who = given("default_transaction_isolation", "read committed")
    with Client(proxy.port).login(**who) as old:
        old.ask("begin")
        assert node_of(old, cluster) != 0
        old.ask("commit")
        with proxy.connect() as admin:
            admin.execute(f"alter role {who['user']} set default_transaction_isolation = serializable")
        cluster.wait_replayed()
        with Client(proxy.port).login(**who) as new:
            assert node_of(new, cluster) == 0
            assert new.ask("show transaction_isolation") == [["serializable"]]
