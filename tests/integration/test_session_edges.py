"""What lies at the edges of a session: more owed than a message's share, links and locks that were to go back, clients
that are idle, or gone, at the wrong moment."""
import socket
import struct
import time

import pytest

from support.system import wait_until
from support.wire import FLUSH, SYNC, TERMINATE, Client, bind, close, error, execute, kinds, parse, query, row

pytestmark = [pytest.mark.proxy_only, pytest.mark.herdgate_only]

# Whatever one session leaves on the only link, the next one meets.
ONE_LINK = {"pool_mode": "transaction", "pool_size": 1, "num_workers": 1, "load_balance_mode": False, "query_wait_timeout": 3}


def ask_unit(client, *messages):
    client.send(*messages, SYNC)
    got = client.until("Z")
    assert "E" not in kinds(got), [error(p) for k, p in got if k == "E"]
    return [row(p) for k, p in got if k == "D"]


# ---- More owed than one message's share

@pytest.mark.parametrize("text", ["reset all", "discard all"])
@pytest.mark.parametrize("again", [execute(), bind() + execute()], ids=["executed", "bound"])
@pytest.mark.parametrize("mode", ["session", "transaction"])
def test_start_up_parameters_taken_back_over_and_over(start_proxy, mode, again, text):
    """Each of these takes 500 settings back, by six messages each: a link may not be owed that many answers at once."""
    proxy = start_proxy({"pool_mode": mode})
    options = " ".join(f"--a.x{n}=1" for n in range(500))
    with Client(proxy.port).login() as other, Client(proxy.port).login(options=options) as c:
        c.send(parse(text) + bind() + execute() + again * 44 + SYNC)
        assert kinds(c.until("Z")).startswith("12C")
        assert c.ask("set a.x7 = 2; show a.x7") == [["2"]]
        if text == "reset all":
            c.send(parse(text) + (bind() + execute()) * 45 + SYNC)
            assert kinds(c.until("Z")) == "1" + "2C" * 45 + "Z"
            assert c.ask("show a.x7") == [["1"]]
        assert other.ask("select 'still there'") == [["still there"]]


# ---- What an idle session keeps

def test_a_link_that_was_brought_up_for_nothing_goes_back(start_proxy):
    """issue: the settings were sent ahead of a Bind that we refused ourselves; nobody gave the link back when they had
    been answered."""
    proxy = start_proxy(ONE_LINK)
    with Client(proxy.port).login() as c, Client(proxy.port).login() as other:
        c.ask("set work_mem = '7MB'")
        assert other.ask("show work_mem") != [["7MB"]]
        c.send(bind(statement="nope") + SYNC)
        got = c.until("Z")
        assert kinds(got) == "EZ" and error(got[0][1])["C"] == "26000"
        assert other.ask("select 'served'") == [["served"]]
        assert c.ask("show work_mem") == [["7MB"]]


# ---- Who is idle

def idle_since(client, state):
    """Seconds until the client is told that it was."""
    began = time.monotonic()
    got = client.until("E")
    told = error(got[-1][1])
    assert told["S"] == "FATAL" and told["C"] == state, told
    return time.monotonic() - began


def test_a_client_that_sends_a_long_message_is_not_idle(start_proxy):
    """However long it takes; and nothing of ours gets into it. Who stops amid it is idle."""
    proxy = start_proxy({"client_idle_limit": 1})
    whole = parse("select length($1::text)", types=[25]) + bind("x" * 3_000_000) + execute() + SYNC
    with Client(proxy.port).login() as c:
        began = time.monotonic()
        at = 500_000
        c.send(whole[:at])
        while time.monotonic() - began < 3.5:  # a piece each 0.2 s: what is tried is time itself
            c.send(whole[at:at + 100_000])
            at += 100_000
            time.sleep(0.2)
        c.send(whole[at:])
        got = c.until("Z")
        assert [kind for kind, _ in got] == ["1", "2", "D", "C", "Z"] and b"3000000" in got[2][1]
        c.send(whole[:500_000])
        assert idle_since(c, "57P05") > 0.5


@pytest.mark.parametrize("begin, limit, state", [("", "client_idle_limit", "57P05"), ("begin", "idle_transaction_timeout", "25P03")])
def test_a_client_that_waits_for_its_answers_is_not_idle(start_proxy, begin, limit, state):
    proxy = start_proxy({limit: 2})
    with Client(proxy.port).login() as c:
        c.ask(begin)
        c.send(parse("select pg_sleep(3)") + bind() + execute() + FLUSH)
        assert kinds(c.until("C")) == "12DC"
        c.send(SYNC)
        c.until("Z")
        # Its Sync still to come, it is: nothing works for it.
        c.send(parse("select pg_sleep(3)") + bind() + execute() + FLUSH)
        assert kinds(c.until("C")) == "12DC"
        assert idle_since(c, state) > 1.5, "it counts from the answer"
    with Client(proxy.port).login() as c:
        c.ask(begin)
        assert idle_since(c, state) > 1.5


@pytest.mark.parametrize("limits, state", [({"client_idle_limit": 1}, "57P05"),
                                           ({"client_idle_limit": 1, "idle_transaction_timeout": 30}, "57P05"),
                                           ({"client_idle_limit": 30, "idle_transaction_timeout": 1}, "25P03")])
@pytest.mark.parametrize("fails", [False, True])
def test_both_limits_hold_in_a_transaction(start_proxy, limits, state, fails):
    """Also in one that has failed. The shorter one ends it."""
    proxy = start_proxy(limits)
    with Client(proxy.port).login() as c:
        c.ask("begin")
        c.send(query("select 1/0" if fails else "select 1"))
        assert c.until("Z")[-1][1] == (b"E" if fails else b"T")
        assert 0.5 < idle_since(c, state) < 20
    with Client(proxy.port).login() as c:
        assert c.ask("select 'and the next'") == [["and the next"]]


# ---- Portals that we know nothing of

EFFECTS = {
    "listen edge": "select count(*) from pg_listening_channels()",
    "create temporary table edge (a int)": "select count(*) from pg_class where relname = 'edge' and relpersistence = 't'",
    "set work_mem = '77MB'": "select count(*) from pg_settings where name = 'work_mem' and setting = '78848'",
    "set role edge_role": "select count(*) from (select current_user = 'edge_role' as so) x where so",
}


@pytest.fixture
def edge_role(cluster):
    cluster.primary.psql("do $$ begin create role edge_role; exception when duplicate_object then null; end $$")


def leaves_nothing(proxy, client, effect):
    """The session has what it did, and nobody after it."""
    assert client.ask(effect) == [["1"]]
    process = client.ask("select pg_backend_pid()")
    client.send(TERMINATE)
    client.close()
    with Client(proxy.port).login() as after:
        assert after.ask(effect) == [["0"]]
        return after.ask("select pg_backend_pid()") == process


@pytest.mark.parametrize("together", [True, False], ids=["one unit", "two units"])
@pytest.mark.parametrize("text", EFFECTS)
def test_a_portal_beyond_those_that_are_kept(start_proxy, edge_role, text, together):
    proxy = start_proxy(ONE_LINK)
    c = Client(proxy.port).login()
    c.ask("begin")
    ask_unit(c, parse("select 1", name="s"), parse(text, name="t"))
    for first in range(0, 10_000, 500):
        ask_unit(c, b"".join(bind(portal=f"p{n}", statement="s") for n in range(first, first + 500)))
    last = [bind(portal="last", statement="t"), execute("last")]
    for unit in [last] if together else [last[:1], last[1:]]:
        ask_unit(c, *unit)
    c.ask("commit")
    leaves_nothing(proxy, c, EFFECTS[text])


def test_a_portal_whose_close_was_skipped(start_proxy):
    proxy = start_proxy(ONE_LINK)
    c = Client(proxy.port).login()
    c.ask("begin")
    ask_unit(c, parse("listen edge", name="l"), bind(portal="p", statement="l"))
    c.ask("savepoint s")
    c.send(execute("nope") + close("P", "p") + SYNC)
    assert kinds(c.until("Z")) == "EZ"
    c.ask("rollback to s")
    ask_unit(c, execute("p"))
    c.ask("commit")
    leaves_nothing(proxy, c, EFFECTS["listen edge"])


# ---- What hangs on a link in transaction mode

@pytest.mark.parametrize("text", ["listen edge", "create temporary table edge (a int)", "select pg_advisory_lock(4711)"])
@pytest.mark.parametrize("queries", ["", "ABORT; RESET ALL"])
def test_the_reset_list_is_not_what_makes_links_fit_to_share(start_proxy, queries, text):
    proxy = start_proxy({**ONE_LINK, "reset_query_list": queries})
    effect = EFFECTS.get(text, "select count(*) from pg_locks where locktype = 'advisory' and objid = 4711")
    for within in (False, True):
        c = Client(proxy.port).login()
        c.ask(text)
        if within:
            c.ask("begin; select 1")
        assert leaves_nothing(proxy, c, effect), "the link is kept"


# ---- Clients that go while their request waits

def paused(boss):
    return sum("Paused" in line for line in boss.execute("show pool_processes").fetchall())


def goodbye(client):
    client.send(TERMINATE)
    client.close()


def reset(client):
    client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()


@pytest.fixture
def pause(start_proxy, cluster):
    cluster.primary.psql("create table if not exists edge_row (a int); truncate edge_row; grant all on edge_row to public")
    proxy = start_proxy({"pool_mode": "transaction"})
    with proxy.connect(dbname="postgres") as boss:
        boss.execute("pgpool pause test")
        try:
            yield proxy, boss
        finally:
            if boss.execute("pgpool show paused").fetchall():
                boss.execute("pgpool resume test")


INSERTS = {"query": query("insert into edge_row values (1)"),
           "unit": parse("insert into edge_row values (1)") + bind() + execute() + SYNC}


@pytest.mark.parametrize("request_", INSERTS)
@pytest.mark.parametrize("leave", [goodbye, Client.close, reset], ids=["goodbye", "close", "reset"])
@pytest.mark.parametrize("over", ["tcp", "unix"])
def test_a_held_request_does_not_outlive_its_client(pause, cluster, over, leave, request_):
    """It sends the same again over another connection: that is to run once."""
    proxy, boss = pause
    c = Client(proxy.port if over == "tcp" else f"{proxy.folder}/.s.PGSQL.{proxy.port}").login()
    c.send(INSERTS[request_])
    wait_until(lambda: paused(boss) == 1, "the request to be held")
    leave(c)
    wait_until(lambda: paused(boss) == 0, "the session to end", 10)
    with Client(proxy.port).login() as again:
        again.send(INSERTS[request_])
        wait_until(lambda: paused(boss) == 1, "its repetition to be held")
        boss.execute("pgpool resume test")
        again.until("Z")
    assert cluster.primary.psql("select count(*) from edge_row") == "1"


@pytest.mark.parametrize("request_", INSERTS)
def test_who_has_closed_his_half_only_gets_the_answer_to_a_held_request(pause, cluster, request_):
    proxy, boss = pause
    with Client(proxy.port).login() as c:
        c.send(INSERTS[request_])
        c.socket.shutdown(socket.SHUT_WR)
        notice = c.until("N")[-1][1]
        assert error(notice)["M"] == "waiting for PGPOOL RESUME"
        assert paused(boss) == 1
        boss.execute("pgpool resume test")
        assert kinds(c.until("Z")) == ("CZ" if request_ == "query" else "12CZ")
    assert cluster.primary.psql("select count(*) from edge_row") == "1"


# ---- The last words of a session

@pytest.mark.parametrize("text", ["pgpool show all", "show pool_nodes", "select 1"])
def test_what_is_asked_ahead_of_goodbye_is_answered(start_proxy, text):
    """In one piece with what ends the session, as a shell's client may send it."""
    proxy = start_proxy({})
    with Client(proxy.port).login() as c:
        c.send(query(text), TERMINATE)
        assert kinds(c.until("Z")).endswith("CZ")
        assert c.socket.recv(1) == b""
