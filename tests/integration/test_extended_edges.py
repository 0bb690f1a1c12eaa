"""Units of the extended protocol at their edges: what is sent behind an error, what is forgotten and what is not."""
import threading

import pytest

from support.wire import FLUSH, SYNC, Client, bind, close, error, execute, kinds, parse, row
from test_waiting import under_sanitizer

pytestmark = [pytest.mark.proxy_only, pytest.mark.herdgate_only]


@pytest.fixture
def one_link(start_proxy):
    """Whatever one session leaves on the link, the next one meets."""
    return start_proxy({"pool_mode": "transaction", "pool_size": 1, "load_balance_mode": False, "num_init_children": 40,
                        "query_wait_timeout": 30})


@pytest.fixture
def new_link(start_proxy):
    """The same, and nobody has been on it yet."""
    return start_proxy({"pool_mode": "transaction", "pool_size": 1, "load_balance_mode": False, "num_init_children": 40,
                        "query_wait_timeout": 30}, fresh=True)


def said(messages):
    return [error(payload)["C"] if kind == "E" else kind for kind, payload in messages if kind not in "SN"]


def ask(client, *messages):
    client.send(*messages, SYNC)
    return said(client.until("Z"))


def test_a_statement_that_is_to_be_prepared_anew_behind_an_error(one_link):
    """What it was to be closed by went to a server that was skipping: its name was taken there for good."""
    with Client(one_link.port).login() as c, Client(one_link.port).login() as other:
        assert ask(c, parse("select $1::int", "s")) == ["1", "Z"]
        for turn in range(2):
            c.send(bind("no number", statement="s"), execute(), FLUSH)
            assert said(c.until("E")) == ["22P02"]
            assert ask(c, *[execute()] * turn) == ["Z"]
            assert ask(c, bind("1", statement="s"), execute()) == ["2", "D", "C", "Z"]
            assert ask(other, parse("select $1::int"), bind("1"), execute()) == ["1", "2", "D", "C", "Z"]
            assert ask(other, parse("select $1::int", f"s{turn}"), bind("1", statement=f"s{turn}"), execute()) == \
                ["1", "2", "D", "C", "Z"]


def write(client):
    """A transaction of its own."""
    for sql in ("begin", "insert into edges values (1)", "commit"):
        client.ask(sql)


def test_the_question_for_the_transactions_id_behind_a_refused_description(new_link, cluster):
    """It was not heard, and was believed to be prepared: each later transaction that wrote failed on that link."""
    cluster.primary.psql("create table if not exists edges (a int); truncate edges; drop table if exists edges_gone;"
                         "create table edges_gone (a int)")
    with Client(new_link.port).login() as c, Client(new_link.port).login() as other:
        assert ask(c, parse("insert into edges_gone values ($1)", "p")) == ["1", "Z"]
        cluster.primary.psql("drop table edges_gone")
        for _ in range(2):
            c.ask("begin")
            assert ask(c, bind("1", statement="p"), execute()) == ["42P01", "Z"]
            c.ask("rollback")
        for _ in range(2):
            write(other)
    assert cluster.primary.psql("select count(*) from edges") == "2"


@pytest.mark.parametrize("drops, state", [("discard all", "25001"), ("deallocate all", "42P01")])
def test_the_question_for_the_transactions_id_where_nothing_was_dropped(new_link, cluster, drops, state):
    """It was prepared anew, and then closed because it might still be there."""
    cluster.primary.psql("create table if not exists edges (a int); truncate edges")
    with Client(new_link.port).login() as c:
        write(c)
        c.ask("begin")
        ahead = () if drops == "discard all" else (parse("select from edges_none"),)
        assert ask(c, *ahead, parse(drops), bind(), execute())[-2:] == [state, "Z"]
        c.ask("rollback")
        write(c)
        assert ask(c, parse("select 1"), bind(), execute()) == ["1", "2", "D", "C", "Z"]
        for _ in range(2):
            write(c)
    assert cluster.primary.psql("select count(*) from edges") == "4"


def resident_kb(proxy):
    with open(f"/proc/{proxy.process.pid}/status") as f:
        return next(int(line.split()[1]) for line in f if line.startswith("VmRSS:"))


@pytest.mark.parametrize("name", ["", "s"], ids=["unnamed", "named"])
@pytest.mark.parametrize("waits", [True, False], ids=["waits", "does-not-wait"])
def test_statements_replaced_over_and_over_in_one_unit(start_proxy, waits, name):
    """Each was kept until the Sync."""
    proxy = start_proxy({"pool_mode": "transaction", "pool_size": 2, "load_balance_mode": False, "num_init_children": 40},
                        fresh=True)
    count = 3000
    with Client(proxy.port).login() as c:
        def unit(number):
            gone = close("S", name) if name else b""
            return gone + parse(f"select {number} /*{'x' * 60_000}*/", name) + FLUSH
        answers = 2 if name else 1

        def warm_up():
            for number in range(100):
                c.send(unit(number))
                for _ in range(answers):
                    c.receive()
        warm_up()
        before = resident_kb(proxy)
        if waits:
            for number in range(count):
                c.send(unit(number))
                for _ in range(answers):
                    assert c.receive()[0] in "13"
        else:
            sender = threading.Thread(target=lambda: c.send(*(unit(number) for number in range(count))), daemon=True)
            sender.start()
            for _ in range(count * answers):
                assert c.receive()[0] in "13"
            sender.join()
        grown = resident_kb(proxy) - before
        assert grown < 60_000 or under_sanitizer(), grown
        c.send(SYNC)
        assert c.receive()[0] == "Z"
        if not name:
            c.send(bind(), execute(), SYNC)
            assert [row(p) for k, p in c.until("Z") if k == "D"] == [[str(count - 1)]]


def test_a_command_of_the_proxy_and_a_statement_in_one_unit(one_link):
    """What follows the command is a unit of its own."""
    with Client(one_link.port).login() as c:
        assert ask(c, parse("select 'real'", "s")) == ["1", "Z"]
        show = parse("show pool_version") + bind() + execute()
        for _ in range(2):
            c.send(show, bind(statement="s"), execute(), SYNC)
            got = c.until("Z")
            assert kinds(got) == "12DC2DCZ"
            assert row(got[-3][1]) == ["real"]
        c.send(parse("show pool_version", "own"), bind(statement="own"), execute(), parse("select 'more'"), bind(), execute(),
               SYNC)
        assert kinds(c.until("Z")) == "12DC12DCZ"
