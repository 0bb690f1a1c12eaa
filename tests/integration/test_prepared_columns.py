"""What a statement returns that was prepared before DDL, or under another search_path: what a server says, whoever shares it."""
import contextlib
import os
import signal
import struct

import psycopg
import pytest

from support import system
from support.system import wait_until
from support.wire import SYNC, Client, bind, cancel_request, cstring, describe, error, execute, message, parse, query, shorts

pytestmark = [pytest.mark.proxy_only, pytest.mark.herdgate_only]
SQL = "select * from shaped.t"
CHANGES = ["alter table shaped.t add c int default 3", "alter table shaped.t drop b", "alter table shaped.t alter b type text",
           "alter table shaped.t rename b to other",
           "alter table shaped.t rename to old; create table shaped.t (x text); insert into shaped.t values ('hello')",
           "begin; alter table shaped.t alter b type bigint; commit",
           "create or replace view shaped.v as select a, b, 1 as more from shaped.t"]
MODES = [pytest.param({"pool_mode": mode, "memory_cache_enabled": cache, "num_workers": 1, "load_balance_mode": False,
                       **({"pool_size": 1} if mode == "transaction" else {})}, id=f"{mode}-{'cache' if cache else 'no cache'}")
         for mode in ("session", "transaction") for cache in (False, True)]


def ask(client, *messages):
    client.send(*messages, SYNC)
    return [error(payload)["C"] if kind == "E" else (kind, payload) for kind, payload in client.until() if kind in "DET"]


def run(client):
    return ask(client, bind(statement="p", results=[1]), execute())


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("parameters", MODES)
def test_columns_change(start_proxy, cluster, parameters, change):
    """A has described its statement, B parses the same text behind the change: JDBC and asyncpg rely on A's error."""
    proxy = start_proxy(parameters)
    sql = SQL.replace(".t", ".v") if "view" in change else SQL
    seen = {}
    for name, port in (("directly", cluster.primary.port), ("through the proxy", proxy.port)):
        with psycopg.connect(f"host=127.0.0.1 port={proxy.port} user=postgres dbname=test", autocommit=True) as admin:
            admin.execute("drop schema if exists shaped cascade; create schema shaped; create table shaped.t (a int, b int);"
                          "insert into shaped.t values (1, 2)")
            if "view" in change:
                admin.execute("create view shaped.v as select a, b from shaped.t")
            with Client(port).login() as a, Client(port).login() as b:
                told = [ask(a, parse(sql, "p"), describe("S", "p")), run(a), run(a)]
                for part in change.split(";"):
                    admin.execute(part)
                told += [ask(b, parse(sql, "p"), describe("S", "p")), run(b), run(b)]
                told += [run(a), run(a)]
                seen[name] = [[m if isinstance(m, str) else (m[0], without_oids(*m)) for m in answer] for answer in told]
    assert seen["directly"][-1] == ["0A000"] and seen["directly"][4] != ["0A000"]
    assert seen["through the proxy"] == seen["directly"]


@pytest.mark.parametrize("within", [False, True], ids=["alone", "in a transaction"])
@pytest.mark.parametrize("mode,cache", [("transaction", False), ("transaction", True), ("session", False)])
def test_columns_change_and_the_statement_comes_to_another_link(start_proxy, cluster, mode, cache, within):
    """A's statement is on a link that somebody else has now, or on the standby where the transaction that writes is not."""
    proxy = start_proxy({"pool_mode": mode, "memory_cache_enabled": cache, "num_workers": 1,
                         "load_balance_mode": mode == "session", "backend_weight0": 0 if mode == "session" else 1})
    with proxy.connect() as admin, proxy.connect() as holder, Client(proxy.port).login() as a:
        admin.prepare_threshold = holder.prepare_threshold = None
        admin.execute("drop schema if exists shaped cascade; create schema shaped; create table shaped.t (a int, b int);"
                      "insert into shaped.t values (1, 2)")
        cluster.wait_replayed()
        ask(a, parse(SQL, "p"), describe("S", "p"))
        ask(a, parse("select count(*) from shaped.t", "same"), describe("S", "same"))
        assert run(a)[0][0] == "D"
        admin.execute("alter table shaped.t add c text default 'x'")
        cluster.wait_replayed()
        if mode == "transaction":
            holder.execute("begin; select pg_backend_pid()")
        if mode == "session" or within:
            ask(a, parse("begin"), bind(), execute()), ask(a, parse("insert into shaped.t values (3, 4)"), bind(), execute())
        # One whose columns are the same runs, the other is refused each time, and fails the transaction.
        assert ask(a, bind(statement="same"), execute())[0][0] == "D"
        assert run(a) == ["0A000"]
        if mode == "session" or within:
            assert ask(a, bind(statement="same"), execute()) == ["25P02"]
            ask(a, parse("rollback"), bind(), execute())
        else:
            assert run(a) == ["0A000"]
        assert ask(a, parse("select count(*) from shaped.t"), bind(), execute()) == [("D", b"\0\1\0\0\0\0011")]
        holder.execute("rollback")
        # As drivers do: parsed anew it is a new one.
        assert ask(a, parse(SQL, "p2"), describe("S", "p2"))[0][0] == "T"
        assert ask(a, bind(statement="p2"), execute())[0] == ("D", b"\0\3\0\0\0\0011\0\0\0\0012\0\0\0\1x")
        admin.execute("alter table shaped.t drop c")
        cluster.wait_replayed()
        assert run(a)[0][0] == "D"  # its columns are back


def without_oids(kind, payload):
    """RowDescription: names and types, not which table."""
    if kind != "T":
        return payload
    out, rest = [], payload[2:]
    while rest:
        name, _, rest = rest.partition(b"\0")
        out.append((name, rest[6:10]))
        rest = rest[18:]
    return out


@pytest.mark.parametrize("parameters", MODES)
def test_tenants_by_search_path(start_proxy, parameters):
    proxy = start_proxy(parameters)
    with proxy.connect() as admin:
        admin.execute("drop schema if exists ta, tb cascade; create schema ta; create schema tb; create table ta.m (a int);"
                      "insert into ta.m values (1); create table tb.m (a text, b text); insert into tb.m values ('x', 'y')")
    wanted = {"ta": [(1,)], "tb": [("x", "y")]}
    # By option at the start, and by SET.
    tenants = [(schema, proxy.connect(options=f"-c search_path={schema}")) for schema in wanted]
    tenants += [(schema, proxy.connect()) for schema in wanted]
    for schema, c in tenants[2:]:
        c.execute(f"set search_path to {schema}, public")
    for _, c in tenants:
        c.prepare_threshold = 0
    for _ in range(4):
        assert [(schema, c.execute("select * from m").fetchall()) for schema, c in tenants] == \
            [(schema, wanted[schema]) for schema, _ in tenants]
    # One session that changes its path hears what a server says; one that parses anew gets its own.
    with Client(proxy.port).login() as c:
        ask(c, parse("set search_path to ta"), bind(), execute())
        assert [kind for kind, _ in ask(c, parse("select * from m", "p"), describe("S", "p"), bind(statement="p"), execute())] == \
            ["T", "D"]
        ask(c, parse("set search_path to tb"), bind(), execute())
        assert run(c) == ["0A000"]
        assert ask(c, parse("select * from m", "q"), bind(statement="q"), execute())[0][0] == "D"
    for _, c in tenants:
        c.close()


@pytest.mark.parametrize("most", [1, 100])
def test_a_unit_of_many_old_statements_is_checked_once(start_proxy, cluster, most):
    """More of them than the link keeps: each is asked for once, and the unit is answered."""
    proxy = start_proxy({"pool_mode": "transaction", "num_workers": 1, "load_balance_mode": False, "max_prepared_statements": most})
    with proxy.connect() as admin, proxy.connect() as holder, Client(proxy.port).login() as a:
        admin.prepare_threshold = holder.prepare_threshold = None
        admin.execute("drop schema if exists shaped cascade; create schema shaped; create table shaped.t (a int, b int);"
                      "insert into shaped.t values (1, 2)")
        for i in range(3):
            ask(a, parse(f"select a + {i} from shaped.t", f"p{i}"), describe("S", f"p{i}"))
        admin.execute("alter table shaped.t add c text")
        holder.execute("begin; select pg_backend_pid()")
        batch = [m for _ in range(200) for i in range(3) for m in (bind(statement=f"p{i}"), execute())]
        answers = ask(a, *batch)
        assert [payload[-1:] for _, payload in answers] == [b"1", b"2", b"3"] * 200
        holder.execute("rollback")


@pytest.fixture
def two_links(start_proxy, cluster):
    """A session whose statement p must be prepared anew on a standby; the process ids behind the links there and to the
    primary, which has not the session's settings now. Both are let go on afterwards."""
    proxy = start_proxy({"pool_mode": "transaction", "pool_size": 1, "num_workers": 1, "backend_weight0": 0, "backend_weight2": 0})
    with proxy.connect(user="test") as other, Client(proxy.port).login(user="test") as c:
        other.execute("drop table if exists under_way; create table under_way (a int)")
        c.ask("set work_mem = '7MB'")
        c.ask("begin; insert into under_way values (1)")
        ask(c, parse("select count(*) from under_way", "p"))  # there
        c.ask("commit")
        other.execute("alter table under_way add b int")
        cluster.wait_replayed()
        assert other.execute("select count(*) from under_way").fetchone() == (1,)  # on the standby
        assert other.execute("/*NO LOAD BALANCE*/ show work_mem").fetchone() == ("4MB",)
        pids = [int(node.psql(f"select pid {SESSIONS}")) for node in (cluster.nodes[1], cluster.primary)]
        try:
            yield c, *pids
        finally:
            for pid in pids:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGCONT)


SESSIONS = "from pg_stat_activity where usename = 'test' and backend_type = 'client backend'"
# A unit that we refuse ourselves leaves what the session has set on its way to the primary, while the next one waits for the
# standby to prepare its statement anew.
REFUSED = bind(statement="nobody's") + execute() + SYNC
WAITING = bind(statement="p") + execute() + SYNC


def test_answers_of_another_link_end_no_wait(two_links, cluster):
    c, standby, _ = two_links
    os.kill(standby, signal.SIGSTOP)
    c.send(REFUSED, WAITING)
    assert [kind for kind, _ in c.until()] == ["E", "Z"]
    wait_until(lambda: "7MB" in cluster.primary.psql(f"select query {SESSIONS} and state = 'idle'"), "the primary's answer")
    os.kill(standby, signal.SIGCONT)
    assert [kind for kind, _ in c.until()] == ["2", "D", "C", "Z"]
    # And it recovers.
    assert run(c)[0][0] == "D"


def test_the_loss_of_another_link_ends_no_wait(two_links, cluster):
    c, standby, primary = two_links
    os.kill(standby, signal.SIGSTOP)
    os.kill(primary, signal.SIGSTOP)
    c.send(REFUSED, WAITING)
    assert [kind for kind, _ in c.until()] == ["E", "Z"]
    os.kill(primary, signal.SIGTERM)
    os.kill(primary, signal.SIGCONT)
    wait_until(lambda: not system.alive(primary), "the end of the link")
    os.kill(standby, signal.SIGCONT)
    assert [kind for kind, _ in c.until()] == ["2", "D", "C", "Z"]
    # And it recovers.
    assert run(c)[0][0] == "D"
    c.ask("insert into under_way values (2)")


@pytest.mark.parametrize("sets", ["select set_config('search_path', 'pg_catalog', false)", "set search_path = pg_catalog"])
@pytest.mark.parametrize("parameters", MODES)
def test_a_setting_that_has_columns_is_none_of_the_statements(start_proxy, cluster, parameters, sets):
    """Prepared anew on another link behind DDL, under what the session had set by a SELECT."""
    proxy = start_proxy({**parameters, **({"pool_size": 2} if "pool_size" in parameters else {})})
    cluster.primary.psql("create schema if not exists shaped; create or replace view shaped.one as select 1 as a")
    with Client(proxy.port).login() as c, Client(proxy.port).login() as other, Client(proxy.port).login() as holder:
        assert ask(c, parse("select 1", "p"), bind(statement="p"), describe("P"), execute())[-1][0] == "D"
        c.ask(sets)
        other.ask("create or replace view shaped.one as select 1 as a")
        holder.ask("begin")
        holder.ask("select 1")  # holds the link that has it
        for _ in range(2):
            assert run(c)[-1][0] == "D"
        holder.ask("rollback")


BINARY = {20: "!q", 21: "!h", 23: "!i", 701: "!d"}


def bound_binary(name, oid, value):
    text = str(value).encode() if oid == 25 else struct.pack(BINARY[oid], value)
    body = cstring("") + cstring(name) + shorts([1]) + struct.pack("!HI", 1, len(text)) + text
    return message("B", body + shorts([]))


class Binary:
    """Parses, asks for the type of its parameter, and sends that in binary ever after, as asyncpg does. `name`: "" for the
    unnamed statement, which asyncpg takes where it must not cache."""

    def __init__(self, client, name="b"):
        self.client, self.name, self.made = client, name, 0
        while not self.prepare():
            assert self.made < 9

    @property
    def statement(self):
        return self.name and f"{self.name}{self.made}"

    def prepare(self):
        """False: what stood there from before was refused; a moment later it is read anew."""
        self.made += 1
        self.client.send(parse("select v from typed.t where i = $1", self.statement), describe("S", self.statement), SYNC)
        told = dict(self.client.until("Z"))
        if "E" in told:
            assert error(told["E"])["C"] in REFUSALS
            return False
        self.oid = struct.unpack("!HI", told["t"])[1]
        return True

    def read(self):
        """True: the row. Else it was told that the statement is not what it was, and has prepared it anew."""
        got = ask(self.client, bound_binary(self.statement, self.oid, 5), execute())
        if len(got) == 1 and got[0] in REFUSALS:
            self.prepare()
            return False
        assert [kind for kind, _ in got] == ["D"] and got[0][1].endswith(b"r"), got
        return True


REFUSALS = ("0A000", "42883")  # the latter is what a server says of int = text


@pytest.mark.parametrize("name", ["b", ""], ids=["named", "unnamed"])
@pytest.mark.parametrize("by", ["proxy", "server"])
@pytest.mark.parametrize("before, after", [("bigint", "float8"), ("float8", "bigint"), ("bigint", "int"), ("int", "bigint"),
                                           ("int", "text"), ("text", "int")])
def test_types_of_parameters_change(start_proxy, cluster, before, after, by, name):
    """A link that prepares the statement behind the change would take what the client sends for something else."""
    proxy = start_proxy({"pool_mode": "transaction", "pool_size": 3, "num_workers": 1, "load_balance_mode": False})
    admin = proxy.connect() if by == "proxy" else psycopg.connect(directly(cluster), autocommit=True)
    admin.execute(f"drop schema if exists typed cascade; create schema typed; create table typed.t (v text, i {before});"
                  "insert into typed.t values ('r', 5)")
    with admin, contextlib.ExitStack() as stack:
        def client():
            return stack.enter_context(Client(proxy.port).login())
        holders = [client(), client()]

        def on_each_link(act):
            out = [act()]
            for holder in holders:
                holder.ask("begin")
                holder.ask("select 1")
                out.append(act())
            for holder in holders:
                holder.ask("rollback")
            return out
        old = [Binary(client(), name) for _ in range(2)]
        assert on_each_link(old[0].read)[0] is True  # and not on all of them
        admin.execute(f"alter table typed.t alter i type {after} using i::{after}")
        everyone = old + [Binary(client(), name) for _ in range(6)]
        for _ in range(4):
            for one in everyone:
                on_each_link(one.read)
        for one in everyone:  # and it recovers
            assert on_each_link(one.read) == [True, True, True]


def directly(cluster):
    return f"host=127.0.0.1 port={cluster.primary.port} user=postgres dbname=test"


def links_of_two(proxy, stack, count=1):
    """Sessions, and one that holds a link while what it is given for runs: so that they get another one."""
    clients = [stack.enter_context(Client(proxy.port).login()) for _ in range(count)]
    holder = stack.enter_context(Client(proxy.port).login())

    def elsewhere(act):
        holder.ask("begin")
        holder.ask("select 1")
        try:
            return act()
        finally:
            holder.ask("rollback")
    return *clients, elsewhere


TRANSACTION = {"pool_mode": "transaction", "pool_size": 3, "num_workers": 1, "load_balance_mode": False}


@pytest.mark.parametrize("write", [False, True])
def test_rows_that_were_not_described(start_proxy, cluster, write):
    """Behind DDL at the server a link that has not had the statement gives rows of other columns: its session hears that
    before anything is run."""
    proxy = start_proxy(TRANSACTION)
    cluster.primary.psql("drop schema if exists typed cascade; create schema typed; create table typed.t (i bigint);"
                         "insert into typed.t values (5)")
    sql = "insert into typed.t values (6) returning i" if write else "select i from typed.t where i = 5"
    with contextlib.ExitStack() as stack:
        c, elsewhere = links_of_two(proxy, stack)
        assert ask(c, parse(sql, "p"), describe("S", "p"))[0][0] == "T"
        cluster.primary.psql("alter table typed.t alter i type float8")
        assert elsewhere(lambda: run(c)) == ["0A000"]
        assert elsewhere(lambda: ask(c, describe("S", "p"))) == ["0A000"]
        assert run(c) == ["0A000"]  # as the server says where it was parsed
        assert cluster.primary.psql("select count(*) from typed.t") == "1"
        # Within a unit, behind what needs nothing: nothing of it is left.
        unit = (parse("insert into typed.t values (7)"), bind(), execute(), bind(statement="p", results=[1]), execute())
        assert elsewhere(lambda: ask(c, *unit)) == ["0A000"]
        assert cluster.primary.psql("select count(*) from typed.t") == "1"
        # In a transaction it fails that.
        def in_transaction():
            return ask(c, parse("begin"), bind(), execute()), run(c), run(c), ask(c, parse("rollback"), bind(), execute())
        assert elsewhere(in_transaction) == ([], ["0A000"], ["25P02"], [])
        # Parsed anew it is what it is now, and it recovers.
        assert elsewhere(lambda: ask(c, parse(sql, "p2"), describe("S", "p2")))[0][0] == "T"
        assert ask(c, bind(statement="p2", results=[1]), execute())[0][0] == "D"


def test_a_statement_is_asked_about_in_its_turn(start_proxy, cluster):
    """What comes ahead of it in the unit makes the table that it reads, here in parts and with a Flush."""
    proxy = start_proxy(TRANSACTION)
    with contextlib.ExitStack() as stack:
        c, elsewhere = links_of_two(proxy, stack)
        cluster.primary.psql("drop schema if exists typed cascade; create schema typed; create table typed.t (i int)")
        for sql, name in (("create table typed.t (i int)", "make"), ("insert into typed.t values (1)", "fill"),
                          ("select i from typed.t", "read"), ("drop table typed.t", "drop")):
            ask(c, parse(sql, name), describe("S", name))
        cluster.primary.psql("drop table typed.t")
        names = ("make", "fill", "read", "drop")
        unit = [part for name in names for part in (bind(statement=name), execute())]
        one = ("D", b"\0\1\0\0\0\0011")
        assert elsewhere(lambda: ask(c, *unit)) == [one]
        assert ask(c, *unit) == [one]
        flushed = [part for name in names for part in (bind(statement=name), execute(), message("H"))]
        assert elsewhere(lambda: ask(c, *flushed)) == [one]


def test_a_lock_that_is_waited_for(start_proxy, cluster):
    """The wait is the client's: its cancel reaches it, and the lock's end ends it."""
    proxy = start_proxy(TRANSACTION)
    cluster.primary.psql("drop schema if exists typed cascade; create schema typed; create table typed.t (i int);"
                         "insert into typed.t values (1)")
    waiting = "select count(*) from pg_stat_activity where wait_event_type = 'Lock' and query like '%typed.t%'"
    with contextlib.ExitStack() as stack:
        c, elsewhere = links_of_two(proxy, stack)
        ask(c, parse("select i from typed.t", "p"), describe("S", "p"))
        with psycopg.connect(directly(cluster)) as locker:
            locker.execute("lock table typed.t")

            def canceled():
                c.send(bind(statement="p"), execute(), SYNC)
                wait_until(lambda: cluster.primary.psql(waiting) == "1", "the wait for the lock")
                with Client(proxy.port) as other:
                    other.send(cancel_request(c.key))
                return [error(payload)["C"] for kind, payload in c.until("Z") if kind == "E"]
            assert elsewhere(canceled) == ["57014"]

            def granted():
                c.send(bind(statement="p"), execute(), SYNC)
                wait_until(lambda: cluster.primary.psql(waiting) == "1", "the wait for the lock")
                locker.rollback()
                return [kind for kind, _ in c.until("Z")]
            assert elsewhere(granted) == ["2", "D", "C", "Z"]


def test_a_link_lost_ahead_of_the_unit(start_proxy, cluster):
    """Nothing of the client's was on its way: it is served by another one."""
    proxy = start_proxy(TRANSACTION)
    cluster.primary.psql("drop schema if exists typed cascade; create schema typed; create table typed.t (i int)")
    waiting = "from pg_stat_activity where wait_event_type = 'Lock' and query like '%typed.t%'"
    with contextlib.ExitStack() as stack:
        c, elsewhere = links_of_two(proxy, stack)
        ask(c, parse("insert into typed.t values (1)", "p"), describe("S", "p"))
        with psycopg.connect(directly(cluster)) as locker:
            locker.execute("lock table typed.t")

            def lost():
                c.send(bind(statement="p"), execute(), SYNC)
                wait_until(lambda: cluster.primary.psql(f"select count(*) {waiting}") == "1", "the wait for the lock")
                cluster.primary.psql(f"select pg_terminate_backend(pid) {waiting}")
                locker.rollback()
                return [error(payload) if kind == "E" else kind for kind, payload in c.until("Z")]
            assert elsewhere(lost) == ["2", "C", "Z"]
        assert cluster.primary.psql("select count(*) from typed.t") == "1"


@pytest.mark.parametrize("by", ["proxy", "server"])
def test_a_text_amid_the_unit(start_proxy, cluster, by):
    """As pgjdbc sends it with autosave: BEGIN by messages, SAVEPOINT by a simple query, and then the statement."""
    proxy = start_proxy(TRANSACTION)
    cluster.primary.psql("drop schema if exists typed cascade; create schema typed; create table typed.t (i int);"
                         "insert into typed.t values (3)")
    begin = parse("begin") + bind() + execute()

    def in_savepoint(c):
        c.send(begin, query("savepoint s"), bind(statement="p", results=[1]), execute(), SYNC)
        got = c.until("Z") + c.until("Z")
        c.ask("rollback")
        return [error(payload)["C"] if kind == "E" else payload[-8:] for kind, payload in got if kind in "ED"]
    with contextlib.ExitStack() as stack:
        c, elsewhere = links_of_two(proxy, stack)
        ask(c, parse("select i from typed.t", "p"), describe("S", "p"))
        assert elsewhere(lambda: in_savepoint(c)) == [b"\0\0\0\4\0\0\0\3"]
        for type_, told in (("bigint", ["0A000"]), ("int", [b"\0\0\0\4\0\0\0\3"])):
            change = f"alter table typed.t alter i type {type_}"
            if by == "server":
                cluster.primary.psql(change)
            else:
                with proxy.connect() as admin:
                    admin.execute(change)
            for _ in range(2):
                assert elsewhere(lambda: in_savepoint(c)) == told
                assert in_savepoint(c) == told


def test_a_long_bind_waits_for_its_statement(start_proxy, cluster):
    """It is passed on in pieces, and dropped in pieces where the statement is refused."""
    proxy = start_proxy(TRANSACTION)
    cluster.primary.psql("drop schema if exists typed cascade; create schema typed; create table typed.t (i int);"
                         "insert into typed.t values (3)")
    long = "x" * 3_000_000

    def run_long(c):
        return ask(c, bind(long, statement="p"), execute())
    with contextlib.ExitStack() as stack:
        c, elsewhere = links_of_two(proxy, stack)
        ask(c, parse("select i, length($1::text) from typed.t", "p"), describe("S", "p"))
        row = [("D", b"\0\2\0\0\0\0013\0\0\0\0073000000")]
        assert elsewhere(lambda: run_long(c)) == run_long(c) == row
        cluster.primary.psql("alter table typed.t alter i type bigint")
        for _ in range(2):
            assert elsewhere(lambda: run_long(c)) == run_long(c) == ["0A000"]
        assert c.ask("select 1") == [["1"]]
        cluster.primary.psql("alter table typed.t alter i type int")
        assert elsewhere(lambda: run_long(c)) == run_long(c) == row


def test_who_parses_behind_the_change_is_told_what_is_now(start_proxy, cluster):
    """A client converts what it sends to the type that it is told: 5.5 would become 5, and find nothing."""
    proxy = start_proxy({**TRANSACTION, "pool_size": 1})
    cluster.primary.psql("drop schema if exists typed cascade; create schema typed; create table typed.t (v text, i bigint);"
                         "insert into typed.t values ('r', 5)")
    with Client(proxy.port).login() as one, Client(proxy.port).login() as other:
        assert Binary(one).oid == 20
        cluster.primary.psql("alter table typed.t alter i type float8")
        new = Binary(other)
        assert new.oid == 701
        assert new.read() is True


@pytest.mark.parametrize("name", ["b", ""], ids=["named", "unnamed"])
@pytest.mark.parametrize("before, after", [("bigint", "float8"), ("float8", "bigint")])
def test_a_link_that_has_not_had_it(start_proxy, cluster, before, after, name):
    """Only one link had the statement before the change at the server: the others take what the client was told, too."""
    proxy = start_proxy(TRANSACTION)
    cluster.primary.psql(f"drop schema if exists typed cascade; create schema typed; create table typed.t (v text, i {before});"
                         "insert into typed.t values ('r', 5)")
    with contextlib.ExitStack() as stack:
        c, elsewhere = links_of_two(proxy, stack)
        client = Binary(c, name)
        cluster.primary.psql(f"alter table typed.t alter i type {after}")
        assert elsewhere(client.read) is True
        assert client.read() is True
