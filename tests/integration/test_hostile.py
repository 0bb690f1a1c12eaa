"""Bytes that do not belong where they come, from clients in every state and from servers; a log that cannot be written.

One link for all: whatever is left on it, the next client meets.
"""
import contextlib
import os
import socket
import struct
import subprocess
import threading

import pytest

from support.cluster import Cluster
from support.proxy import Proxy
from support.system import scratch, wait_until
from support.wire import (FLUSH, SYNC, Client, Closed, bind, complete, copy_data, cstring, data_row, error, execute, kinds,
                          message, parse, query, ready, startup, text_column)

pytestmark = [pytest.mark.proxy_only, pytest.mark.herdgate_only]


@pytest.fixture(params=["session", "transaction"])
def one_link(request, start_proxy, cluster):
    proxy = start_proxy({"pool_mode": request.param, "pool_size": 1, "load_balance_mode": False, "num_init_children": 600,
                         "query_wait_timeout": 10})
    cluster.primary.psql("create table if not exists hostile (a int)")
    yield proxy
    with Client(proxy.port).login() as c:
        assert c.ask("select 'after'") == [["after"]]
        assert c.ask("select count(*) from hostile") == [["0"]]
    proxy.check_alive()


STATES = {
    "idle": ((), ""),
    "in a transaction": ((query("begin; insert into hostile values (1)"),), "Z"),
    "in a failed transaction": ((query("begin"), query("select nonsense")), "Z"),
    "in a batch": ((parse("insert into hostile select 1 where false") + bind() + execute() + FLUSH,), "C"),
    "behind an error in a batch": ((parse("select nonsense") + FLUSH,), "E"),
    "behind an open portal": ((query("begin"), parse("select generate_series(1, 9)") + bind(portal="p")
                               + execute("p", 2) + SYNC), "Z"),
    "in copy in": ((query("copy hostile from stdin"),), "G"),
    "in copy in, extended": ((parse("copy hostile from stdin") + bind() + execute() + SYNC,), "G"),
    "in a copy message": ((query("copy hostile from stdin") + copy_data("1\n" * 50)[:20],), "G"),
    "in copy out": ((query("copy (select repeat('x', 1000) from generate_series(1, 20000)) to stdout"),), "H"),
    "while it runs": ((query("select pg_sleep(0.3)"),), ""),
    "half a query": ((query("insert into hostile values (1)")[:-3],), ""),
}
BROKEN = {
    "unknown type": b"\x01\0\0\0\4", "no length": b"Q\0\0\0\0", "huge length": b"P\x7f\xff\xff\xff",
    "password": message("p", b"secret\0"), "server's own": message("Z", b"I"), "short bind": message("B", b"\0"),
    "query without end": message("Q", b"select 1"), "copy data": copy_data("no number\n"),
    "query": query("select 1"), "sync": SYNC, "start-up": struct.pack("!II", 8, 80877103), "zeros": b"\0" * 50,
    "nonsense": bytes(range(255, 100, -1)) * 3,
}


@pytest.mark.parametrize("state", STATES)
def test_what_does_not_belong_there(one_link, state):
    """The client hears of it or is sent away; it never waits for ever, and nobody else notices."""
    before, until = STATES[state]
    for what, data in BROKEN.items():
        with Client(one_link.port) as c:
            c.login()
            for step, last in zip(before, [*"Z" * (len(before) - 1), until]):
                c.send(step)
                if last:
                    c.until(last)
            try:
                c.send(data)
                c.socket.shutdown(socket.SHUT_WR)
                while True:
                    kind, payload = c.receive()
                    assert kind in "123nstACDEGHINSTZcd", (what, kind, payload)
            except (Closed, OSError) as e:
                assert not isinstance(e, TimeoutError), f"{what}: neither answered nor sent away"


@pytest.mark.parametrize("state", ["in copy in", "in copy in, extended"])
def test_a_query_in_copy_data_is_answered(one_link, state):
    """A client that stays: the COPY fails, as it does on a server, and the link is free again."""
    before, until = STATES[state]
    with Client(one_link.port).login() as c:
        for step in before:
            c.send(step)
        c.until(until)
        c.send(query("select 1"))
        try:
            assert error(c.until("E")[-1][1])["C"] == "08P01"
        except Closed:
            pass
        with Client(one_link.port).login() as other:
            assert other.ask("select 'other'") == [["other"]]


def test_half_messages_hold_no_link(one_link):
    """Five hundred clients that come octet by octet: those who are done get their turn."""
    if one_link.settings["pool_mode"] == "session":
        pytest.skip("there a client holds a link as long as it stays")
    slow = [Client(one_link.port).login() for _ in range(500)]
    talk = query("select 'slow'") + parse("select 'slow'") + bind() + execute() + SYNC
    try:
        for at in range(30):
            for client in slow:
                client.send(talk[at:at + 1])
            with Client(one_link.port).login() as quick:
                assert quick.ask("select 'quick'") == [["quick"]]
        for client in slow:
            client.send(talk[30:])
        for client in slow:
            assert kinds(client.until("Z")) == "TDCZ" and kinds(client.until("Z")) == "12DCZ"
    finally:
        for client in slow:
            client.close()


SSL_REQUEST, GSS_REQUEST = struct.pack("!II", 8, 80877103), struct.pack("!II", 8, 80877104)


@pytest.mark.parametrize("asked", [(SSL_REQUEST, GSS_REQUEST), (GSS_REQUEST, SSL_REQUEST)], ids=["ssl first", "gss first"])
def test_encryption_is_asked_for_once(proxy, asked):
    """As at a server: each of the two once, and again is a version that nobody speaks."""
    for again in (*asked, startup()):
        with Client(proxy.port) as c:
            for request in asked:
                c.send(request)
                assert c.take(1) == b"N"
            c.send(again)
            if again == startup():
                assert kinds(c.until("Z"), without="SK") == "RZ"
            else:
                assert error(c.until("E")[-1][1])["C"] == "0A000"


FLOODS = {"encryption requests": SSL_REQUEST, "empty queries": query("")}


@pytest.mark.parametrize("what", FLOODS)
def test_a_client_that_keeps_its_socket_full(start_proxy, what):
    """What needs no server is served as fast as it comes, and the client sends it faster: others have their turn."""
    proxy = start_proxy({"num_workers": 1, "pool_mode": "transaction"})
    stop, sent, flood = threading.Event(), [0], FLOODS[what] * 100_000

    def send():
        try:
            while not stop.is_set():
                sent[0] += c.socket.send(flood)
        except OSError:
            sent[0] += 1 << 30  # sent away

    def hear():
        try:
            while c.socket.recv(1 << 20):
                pass
        except OSError:
            pass

    with Client(proxy.port, seconds=20).login() as other, Client(proxy.port) as c:
        if what != "encryption requests":
            c.login()
        threads = [threading.Thread(target=work, daemon=True) for work in (send, hear)]
        for thread in threads:
            thread.start()
        try:
            wait_until(lambda: sent[0] > 10_000_000, "the flood to flow")
            for _ in range(20):
                assert other.ask("select 'alive'") == [["alive"]]
            if what == "encryption requests":
                wait_until(lambda: sent[0] > 1 << 30, "the sender to be refused")
        finally:
            stop.set()
            with contextlib.suppress(OSError):  # it has been sent away
                c.socket.shutdown(socket.SHUT_RDWR)
            for thread in threads:
                thread.join()


# Servers that go mad. The node speaks the protocol up to a statement with `mad` in it.

GOOD = text_column() + data_row("fine") + complete("SELECT 1") + ready()
MAD = {
    "an answer too many": GOOD + GOOD,
    "rows of nobody": GOOD + data_row("for nobody"),
    "ready twice": GOOD + ready(),
    "no such type": b"\x01\0\0\0\4",
    "bad length": b"D\0\0\0\0",
    "huge length": text_column() + b"D\x7f\xff\xff\xff",
    "half a row": text_column() + data_row("x" * 100)[:50],
    "parse complete": message("1") + GOOD,
    "authentication": message("R", struct.pack("!I", 5) + b"salt"),
    "copy in": message("G", b"\0\0\0") + GOOD,
    "status unknown": text_column() + complete("SELECT 0") + message("Z", b"?"),
    "empty error": message("E") + ready(),
    "error without end": message("E", b"Swhat") + ready(),
    "zeros": b"\0" * 1000,
    "silence": b"",
}


class MadServer(threading.Thread):
    """Trusts everybody and answers each simple query with one row `fine`, or as `mad` has it."""

    def __init__(self):
        super().__init__(daemon=True)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port, self.reply = self.listener.getsockname()[1], b""

    def run(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.serve, args=(connection,), daemon=True).start()

    def serve(self, connection):
        try:
            with connection:
                self.speak(connection, connection.makefile("rb"))
        except (OSError, struct.error, ValueError):
            pass

    def speak(self, connection, stream):
        while True:
            length, code = struct.unpack("!II", stream.read(8))
            stream.read(length - 8)
            if code != 80877103:  # SSLRequest, with which the proxy looks whether anybody is there
                break
            connection.sendall(b"N")
        connection.sendall(message("R", struct.pack("!I", 0)) + message("S", cstring("server_version") + cstring("15.0"))
                           + message("S", cstring("client_encoding") + cstring("UTF8"))
                           + message("K", struct.pack("!II", 1, 2)) + ready())
        while head := stream.read(5):
            payload = stream.read(struct.unpack("!I", head[1:])[0] - 4)
            if head[:1] == b"X":
                return
            if b"mad" in payload:
                connection.sendall(self.reply)
                if not self.reply or self.reply[-1:] == b"x":
                    return  # gone in the middle
            else:
                connection.sendall(ready() if head[:1] == b"S" else GOOD)

    def stop(self):
        self.listener.close()


@pytest.fixture(scope="module")
def mad_node(start_proxy):
    server = MadServer()
    server.start()
    lonely = Cluster(nodes=1, ports=[server.port])
    proxy = start_proxy({"backend_clustering_mode": "raw", "pool_mode": "transaction", "pool_size": 1,
                         "load_balance_mode": False, "query_wait_timeout": 10}, on=lonely)
    yield server, proxy
    server.stop()


@pytest.mark.parametrize("what", MAD)
def test_mad_server(mad_node, what):
    """Its client gets an error or what was right in it, its link goes, and the next client gets its own answer."""
    server, proxy = mad_node
    server.reply = MAD[what]
    with Client(proxy.port).login() as c, Client(proxy.port).login() as other:
        assert c.ask("select 1") == [["fine"]]
        c.send(query("select 'mad'"))
        try:
            got = c.until("Z")
            assert kinds(got) in ("TDCZ", "EZ", "TEZ", "TCEZ", "TDCEZ", "GTDCZ"), got
            wait_until(lambda: client_is_fine(c), "a link that works")
        except Closed:
            assert what == "half a row"  # what the client has begun to get cannot be ended otherwise
        wait_until(lambda: client_is_fine(other), "a link that works")
    proxy.check_alive()


def client_is_fine(client):
    """Right answer, or an error about the link that was lost; nothing else."""
    client.send(query("select 1"))
    got = client.until("Z")
    rows = [p for k, p in got if k == "D"]
    assert kinds(got) in ("TDCZ", "EZ"), got
    assert all(b"fine" in p for p in rows)
    return bool(rows)


@pytest.mark.skipif(os.getuid() != 0, reason="mounts a small file system")
def test_disk_full(cluster, marks):
    """The log's disk is full: statements go on, nothing piles up; with room again the log goes on and tells of it."""
    small = scratch("small")
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=512k,mode=777", "none", small]).returncode != 0:
        pytest.skip("cannot mount here")

    class SmallLog(Proxy):
        log_path = f"{small}/log"

    proxy = SmallLog(cluster)
    proxy.settings.update({"log_statement": True, "log_client_messages": True, "log_per_node_statement": True})
    try:
        with open(f"{small}/filler", "wb") as f:
            f.write(b"x" * 300_000)
        proxy.start()
        with proxy.connect() as c:
            text = "select length('{}')".format("y" * 5000)
            for _ in range(300):
                assert c.execute(text).fetchone() == (5000,)
            assert os.statvfs(small).f_bavail == 0, "the disk never was full"
            os.remove(f"{small}/filler")
            mark = marks()

            def logged():
                c.execute(f"select '{mark}'")
                return mark in proxy.log() and "log messages were lost" in proxy.log()

            wait_until(logged, "the log to go on")
        proxy.stop()
    finally:
        proxy.remove()
        subprocess.run(["umount", "-l", small], check=True)
        os.rmdir(small)
