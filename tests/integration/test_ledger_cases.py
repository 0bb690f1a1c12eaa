"""Single attempts to confuse the ledger: errors, ends and cuts in the wrong place. test_ledger.py does it by chance."""
import socket
import struct
import threading
import time

import pytest

from support.system import wait_until
from support.wire import (COPY_DONE, FLUSH, SYNC, Client, bind, cancel_request, close, copy_data, copy_fail, describe,
                          error, execute, kinds, parse, query, row)

pytestmark = [pytest.mark.proxy_only, pytest.mark.herdgate_only]


@pytest.fixture(params=["session", "transaction"])
def mode(request):
    return request.param


@pytest.fixture
def one_link(start_proxy, mode):
    """One link to the primary and no balancing: whatever one session leaves on it, the next one meets."""
    return start_proxy({"pool_mode": mode, "pool_size": 1, "load_balance_mode": False, "num_init_children": 40,
                        "query_wait_timeout": 30})


@pytest.fixture
def table(cluster):
    cluster.primary.psql("create table if not exists ledger_case (a int); truncate ledger_case; "
                         "grant all on ledger_case to public")
    return cluster.primary


def reset(client):
    """Gone without a word: RST."""
    client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.socket.close()


def active(cluster, text, node=0):
    return int(cluster.nodes[node].psql("select count(*) from pg_stat_activity where state <> 'idle' and "
                                        f"pid <> pg_backend_pid() and query like '%{text}%'", "postgres"))


@pytest.mark.parametrize("end", [COPY_DONE, copy_fail("why"), copy_data("no number\n") + COPY_DONE],
                         ids=["done", "fail", "bad"])
def test_sync_right_behind_the_execute_of_a_copy(one_link, table, end):
    """As libpq sends it: that Sync is for nothing, and only the one behind the data is answered. Until then the server
    keeps its word about the end of the COPY to itself."""
    with Client(one_link.port).login() as c:
        for rows in (0, 1, 1000):
            c.ask("begin")
            c.send(parse("copy ledger_case from stdin") + bind() + execute() + SYNC)
            c.until("G")
            c.send(copy_data("1\n" * rows) + end + SYNC)
            assert kinds(c.until("Z")) == ("CZ" if end == COPY_DONE else "EZ")
            c.ask("rollback")


@pytest.mark.parametrize("ahead", ["select 1", "select repeat('x', 1000) from generate_series(1, 3000)"], ids=["few", "many"])
def test_a_copy_behind_other_statements_of_its_unit(one_link, table, cluster, ahead):
    """What they answer comes in chunks of its own; only the COPY itself says that its data is waited for."""
    with Client(one_link.port).login() as c:
        for rows in (1, 1000):
            c.ask("truncate ledger_case")
            c.send(parse("select 1") + bind() + execute() + parse(ahead) + bind() + execute() +
                   parse("copy ledger_case from stdin") + bind() + execute() + SYNC)
            c.until("G")
            c.send(copy_data("1\n" * rows) + COPY_DONE + SYNC)
            assert kinds(c.until("Z")) == "CZ"
            assert c.ask("select count(*) from ledger_case") == [[str(rows)]]
    wait_until(lambda: active(cluster, "copy ledger_case") == 0, "the COPY to end")


@pytest.mark.parametrize("again", [1, 3])
def test_a_skipped_parse_leaves_the_unnamed_statement_that_was_there(one_link, again):
    with Client(one_link.port).login() as c:
        c.send(parse("select 1") + SYNC)
        c.until("Z")
        c.send(execute("nope") + b"".join(parse(f"select {n + 2}") for n in range(again)) + SYNC)
        assert kinds(c.until("Z")) == "EZ"
        c.send(bind() + execute() + SYNC)
        assert [row(p) for k, p in c.until("Z") if k == "D"] == [["1"]]
        c.send(parse("select nothing") + SYNC)
        assert kinds(c.until("Z")) == "EZ"
        c.send(bind() + execute() + SYNC)
        assert kinds(c.until("Z")) == "EZ", "one that fails has dropped it"
        c.send(parse("select 7") + bind() + execute() + SYNC)
        assert [row(p) for k, p in c.until("Z") if k == "D"] == [["7"]]


def test_client_dies_in_the_middle_of_copy_in(one_link, table, cluster):
    for leave in (Client.close, reset):
        c = Client(one_link.port).login()
        c.send(query("copy ledger_case from stdin"))
        c.until("G")
        c.send(copy_data("1\n"))
        leave(c)
        wait_until(lambda: active(cluster, "copy ledger_case") == 0, "the COPY to end")
        with Client(one_link.port).login() as after:
            assert after.ask("select count(*) from ledger_case") == [["0"]]


def test_client_dies_in_the_middle_of_a_copy_message(one_link, table, cluster):
    for leave in (Client.close, reset):
        c = Client(one_link.port).login()
        c.send(query("copy ledger_case from stdin"))
        c.until("G")
        c.send(copy_data("1\n" * 100000)[:50000])
        leave(c)
        wait_until(lambda: active(cluster, "copy ledger_case") == 0, "the COPY to end")
        with Client(one_link.port).login() as after:
            assert after.ask("select 'whole'") == [["whole"]]


def test_client_dies_right_behind_its_copy(one_link, table, cluster):
    c = Client(one_link.port).login()
    c.send(query("copy ledger_case from stdin"))
    c.close()
    with Client(one_link.port).login() as after:
        assert after.ask("select count(*) from ledger_case") == [["0"]]
    wait_until(lambda: active(cluster, "copy ledger_case") == 0, "the COPY to end")


def test_client_dies_in_the_middle_of_a_streamed_bind(one_link, cluster):
    c = Client(one_link.port).login()
    c.send(parse("select length($1::text)"), bind("x" * 500_000)[:100_000])
    c.close()
    with Client(one_link.port).login() as after:
        assert after.ask("select 'whole'") == [["whole"]]


def test_error_while_a_copy_message_is_half_sent(one_link, table):
    """The server has refused the COPY, but the link is in the middle of a message: its rest must still go there."""
    shared = one_link.settings["pool_mode"] == "transaction"
    with Client(one_link.port).login() as c, Client(one_link.port) as other:
        c.send(query("copy ledger_case from stdin"))
        c.until("G")
        long = copy_data("7\n" * 200_000)
        c.send(copy_data("no number\n") + long[:100_000])
        answers = c.until("Z")
        assert kinds(answers) == "EZ"
        waiter = threading.Thread(target=lambda: results.append(other.login().ask("select 'other'")))
        results = []
        if shared:
            waiter.start()
        c.send(long[100_000:], query("select 'mine'"))
        got = c.until("Z")
        assert [row(p) for k, p in got if k == "D"] == [["mine"]]
        if shared:
            waiter.join(60)
            assert results == [[["other"]]]


def test_client_dies_behind_a_half_sent_copy_message(one_link, table):
    c = Client(one_link.port).login()
    c.send(query("copy ledger_case from stdin"))
    c.until("G")
    c.send(copy_data("no number\n") + copy_data("7\n" * 200_000)[:100_000])
    assert kinds(c.until("Z")) == "EZ"
    c.close()
    with Client(one_link.port).login() as after:
        assert after.ask("select 'whole'") == [["whole"]]


def test_link_dies_under_an_open_batch(one_link):
    """Its answers are owed: an error, then everything up to Sync is dropped."""
    with Client(one_link.port).login() as c:
        c.send(parse("select pg_terminate_backend(pg_backend_pid())"), bind(), execute(), FLUSH)
        got = c.until("E")
        assert error(got[-1][1])["S"] == "ERROR"
        c.send(parse("select 'lost'"), bind(), execute(), SYNC)
        assert kinds(c.until("Z")) == "Z"
        assert c.ask("select 'alive'") == [["alive"]]


def test_link_dies_between_the_parts_of_an_open_batch(one_link, cluster):
    with Client(one_link.port).login() as c:
        c.send(parse("insert into pg_temp.x values (1)") if False else parse("select pg_backend_pid()"), bind(), execute(), FLUSH)
        got = c.until("C")
        pid = int(next(row(p) for k, p in got if k == "D")[0])
        cluster.primary.psql(f"select pg_terminate_backend({pid}, 5000)")
        c.send(parse("select 'more'"), bind(), execute(), SYNC)
        answers = c.until("Z")
        assert kinds(answers)[:1] == "E", "the implicit transaction is lost, and the client must hear of it"
        assert c.ask("select 'alive'") == [["alive"]]


def test_simple_query_behind_an_error_in_an_open_batch(one_link):
    """A server ignores everything up to Sync, a simple query too."""
    with Client(one_link.port).login() as c:
        c.send(parse("select nonsense"), FLUSH)
        assert kinds(c.until("E")) == "E"
        c.send(query("select 'ignored'"), SYNC)
        assert kinds(c.until("Z")) == "Z"
        assert c.ask("select 'alive'") == [["alive"]]


def test_copy_behind_an_error_in_an_open_batch(one_link, table):
    with Client(one_link.port).login() as c:
        c.send(parse("select nonsense"), FLUSH)
        assert kinds(c.until("E")) == "E"
        c.send(parse("copy ledger_case from stdin"), bind(), execute(), SYNC)
        assert kinds(c.until("Z")) == "Z"
        assert c.ask("select 'alive'") == [["alive"]]


def test_statement_that_was_skipped_is_not_thought_prepared(one_link):
    """Parse behind an error never happened: on the link, for the session, for the next session."""
    with Client(one_link.port).login() as c:
        c.send(parse("select nonsense"), parse("select 'late'", "s"), bind(statement="s"), execute(), SYNC)
        assert kinds(c.until("Z")) == "EZ"
        c.send(parse("select nonsense"), FLUSH)
        c.until("E")
        c.send(parse("select 'later'", "t"), bind(statement="t"), execute(), SYNC)
        assert kinds(c.until("Z")) == "Z"
        for name, text in (("s", "late"), ("t", "later")):
            c.send(parse(f"select '{text}'", name), bind(statement=name), execute(), SYNC)
            got = c.until("Z")
            assert kinds(got) == "12DCZ", got
            assert [row(p) for k, p in got if k == "D"] == [[text]]


def test_statement_whose_preparation_ahead_was_skipped(start_proxy):
    """Two links, one statement: what is prepared ahead of a Bind may be skipped as well."""
    proxy = start_proxy({"pool_mode": "transaction", "pool_size": 2, "load_balance_mode": False, "num_init_children": 40})
    with Client(proxy.port).login() as c, Client(proxy.port).login() as other:
        c.send(parse("select 'kept ' || $1", "s"), SYNC)
        c.until("Z")
        other.ask("begin")
        other.ask("lock table pg_description in access share mode")   # holds the link that has the statement
        for _ in range(3):
            c.send(parse("select nonsense"), bind("x", statement="s"), execute(), SYNC)
            assert kinds(c.until("Z")) == "EZ"
            c.send(bind("y", statement="s"), execute(), SYNC)
            got = c.until("Z")
            assert kinds(got) == "2DCZ", got
        other.ask("rollback")


def test_preparation_ahead_fails(start_proxy, cluster):
    proxy = start_proxy({"pool_mode": "transaction", "pool_size": 2, "load_balance_mode": False, "num_init_children": 40})
    cluster.primary.psql("drop table if exists comes_and_goes; create table comes_and_goes (a int)")
    with Client(proxy.port).login() as c, Client(proxy.port).login() as other:
        c.send(parse("select count(*) from comes_and_goes", "s"), SYNC)
        c.until("Z")
        other.ask("begin")
        other.ask("lock table pg_description in access share mode")
        cluster.primary.psql("drop table comes_and_goes")
        c.send(bind(statement="s"), execute(), SYNC)
        assert kinds(c.until("Z")) == "EZ"
        cluster.primary.psql("create table comes_and_goes (a int)")
        c.send(bind(statement="s"), execute(), SYNC)
        assert kinds(c.until("Z")) == "2DCZ"
        other.ask("rollback")


def test_evicted_statement_behind_an_error(start_proxy):
    """Close of the statement that had to make room was skipped: its name is still taken on the link."""
    proxy = start_proxy({"pool_mode": "transaction", "pool_size": 1, "load_balance_mode": False, "num_init_children": 40,
                         "max_prepared_statements": 2})
    with Client(proxy.port).login() as c:
        for name in "abcd":
            c.send(parse(f"select '{name}'", name), SYNC)
            assert kinds(c.until("Z")) == "1Z"
        for name in "abcdabcd":
            c.send(parse("select nonsense"), bind(statement=name), execute(), SYNC)
            assert kinds(c.until("Z")) == "EZ"
        for name in "abcdabcd":
            c.send(bind(statement=name), execute(), SYNC)
            got = c.until("Z")
            assert [row(p) for k, p in got if k == "D"] == [[name]], got


@pytest.mark.parametrize("count", [100_000, 400_000])
def test_a_flood_of_messages_without_sync(one_link, count):
    """More replies owed than the ledger takes, while the server sleeps: the client waits, nobody else does. 400,000 are more
    than the proxy reads ahead and the sockets hold."""
    with Client(one_link.port).login() as c:
        c.send(parse("select pg_sleep(2)"), bind(), execute(), FLUSH)
        flood = describe("P") * count
        sender = threading.Thread(target=lambda: c.send(flood, SYNC), daemon=True)
        sender.start()
        got = c.until("Z")
        sender.join()
        assert kinds(got, without="SNT") == "12DCZ"
        assert sum(k == "T" for k, _ in got) == count
        assert c.ask("select 'alive'") == [["alive"]]


def test_data_sent_ahead_of_a_copy_that_waits(one_link, table, cluster):
    """More than the proxy reads ahead, while the server waits for a lock before it says whether it takes data."""
    with Client(cluster.primary.port).login() as holder, Client(one_link.port).login() as c:
        rows = copy_data("1\n" * 1000) * 2500
        c.send(query("copy ledger_case from stdin"), rows, COPY_DONE)  # the kernel's buffers grow: later the server takes all at once
        c.until("Z")
        c.ask("truncate ledger_case")
        holder.ask("begin; lock table ledger_case in access exclusive mode")
        sender = threading.Thread(target=lambda: c.send(query("copy ledger_case from stdin"), rows, COPY_DONE), daemon=True)
        sender.start()
        wait_until(lambda: active(cluster, "copy ledger_case") == 1, "the COPY to wait for the lock")
        holder.ask("commit")
        got = c.until("Z")
        sender.join()
        assert kinds(got) == "GCZ"
        assert c.ask("select count(*) from ledger_case") == [["2500000"]]


def test_a_flood_of_own_replies_without_sync(one_link):
    """The same with replies that the proxy makes itself, behind one that the server keeps in its buffer."""
    with Client(one_link.port).login() as c:
        flood = close("S", "nobody") * 100_000
        sender = threading.Thread(target=lambda: c.send(parse("select 1"), bind(), execute(), flood, SYNC), daemon=True)
        sender.start()
        got = c.until("Z")
        sender.join()
        assert kinds(got, without="SN3") == "12DCZ"
        assert sum(k == "3" for k, _ in got) == 100_000


def test_session_ends_while_its_cancel_is_under_way(start_proxy, cluster):
    """What the session left must be cleaned although a cancel was still on its way when the link came back."""
    proxy = start_proxy({"pool_mode": "session", "pool_size": 1, "load_balance_mode": False, "num_init_children": 40})
    for turn in range(30):
        c = Client(proxy.port).login()
        c.ask("set work_mem = '9MB'")
        c.ask("create temp table left_by_cancel (a int)")
        c.send(query("select pg_sleep(0.003 * %d)" % (turn % 5)))
        with socket.create_connection(("127.0.0.1", proxy.port)) as s:
            s.sendall(cancel_request(c.key))
        c.until("Z")
        c.close()
        with Client(proxy.port).login() as after:
            assert after.ask("show work_mem") == [["4MB"]]
            assert after.ask("select to_regclass('left_by_cancel') is null") == [["t"]]


def test_cancel_never_hits_what_was_sent_ahead(one_link, table):
    """BEGIN goes ahead of the first statement: were it cancelled, the statement would run outside its transaction."""
    stop = threading.Event()
    with Client(one_link.port).login() as c:

        def annoy():
            while not stop.is_set():
                with socket.create_connection(("127.0.0.1", one_link.port)) as s:
                    s.sendall(cancel_request(c.key))

        thread = threading.Thread(target=annoy)
        thread.start()
        try:
            end = time.monotonic() + 3
            while time.monotonic() < end:
                for sql in ("begin", "insert into ledger_case values (1)", "rollback"):
                    c.send(query(sql))
                    answers = c.until("Z")
                    if sql.startswith("insert"):
                        assert answers[-1][1] in (b"T", b"E"), answers
        finally:
            stop.set()
            thread.join()
        wait_until(lambda: c.ask("select 1") == [["1"]], "quiet")
    assert table.psql("select count(*) from ledger_case") == "0"


def test_pipeline_larger_than_the_client_takes(start_proxy):
    """Answers that the client does not fetch hold up its next requests, instead of piling up with us."""
    proxy = start_proxy({"pool_mode": "transaction", "pool_size": 2, "load_balance_mode": False, "num_init_children": 40})
    before = peak_kb(proxy)
    with Client(proxy.port).login() as c:
        c.send(query("select repeat('x', 200000)") * 500)
        with proxy.connect() as other:   # both have been served for a while when this has been answered 50 times
            for _ in range(50):
                other.execute("select pg_sleep(0.02)")
        assert peak_kb(proxy) - before < 40_000
        for _ in range(500):
            got = c.until("Z")
            assert kinds(got) == "TDCZ"


def peak_kb(proxy):
    with open(f"/proc/{proxy.process.pid}/status") as f:
        return next(int(line.split()[1]) for line in f if line.startswith("VmRSS:"))


def test_named_statement_of_a_unit_that_is_run_again(start_proxy, cluster):
    """The node dies before it has answered: the whole unit runs elsewhere, its Parse included."""
    proxy = start_proxy({"pool_mode": "transaction", "num_init_children": 40, "backend_weight0": 0, "backend_weight2": 0})
    with Client(proxy.port).login() as c:
        answers = []
        c.send(parse("select 'again', pg_sleep(1)", "s"), bind(statement="s"), execute(), SYNC)
        waiter = threading.Thread(target=lambda: answers.extend(c.until("Z")))
        waiter.start()
        wait_until(lambda: active(cluster, "again", 1) > 0 or active(cluster, "again", 0) > 0 or not waiter.is_alive(),
                   "the statement to run")
        for node in cluster.nodes:
            node.psql("select pg_terminate_backend(pid) from pg_stat_activity where query like '%again%' "
                      "and pid <> pg_backend_pid()", "postgres")
        waiter.join(60)
        if kinds(answers) != "12DCZ":   # pg_sleep may count as a write, then an error is right; never a wrong one
            errors = [error(p)["C"] for k, p in answers if k == "E"]
            assert errors and set(errors) <= {"40001", "08007"}, answers
        c.send(bind(statement="s"), execute(), SYNC)
        assert kinds(c.until("Z")) in ("2DCZ", "EZ")


@pytest.mark.parametrize("size", [100_000, 3_000_000])
def test_long_errors_and_notices(one_link, size):
    with Client(one_link.port).login() as c:
        c.send(query(f"do $$ begin raise notice '%', repeat('n', {size}); raise exception '%', repeat('e', {size}); end $$"))
        got = c.until("Z")
        assert [k for k, _ in got if k in "NEZ"] == ["N", "E", "Z"]
        assert error(got[-2][1])["M"] == "e" * size
        assert c.ask("select 'alive'") == [["alive"]]
