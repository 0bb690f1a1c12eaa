"""Both ways to wait for sockets and to send: epoll, and io_uring where the kernel has it."""
import ctypes
import os
import socket
import subprocess
import time
from concurrent import futures

import pytest

from support import system, wire
from support.no_io_uring import SYS_IO_URING_SETUP
from support.proxy import Proxy

pytestmark = pytest.mark.herdgate_only
METHODS = pytest.mark.parametrize("method", ["epoll", "io_uring"])
FORBIDDEN_CALLS = pytest.mark.parametrize("call", ["setup", "enter", "register"])
FORBIDDEN = ["/usr/bin/python3", os.path.join(os.path.dirname(wire.__file__), "no_io_uring.py")]
ROWS = 200_000
SINGLE_ISSUER, DEFER_TASKRUN = 1 << 12, 1 << 13


@pytest.fixture
def fresh(cluster):
    proxy = Proxy(cluster)
    yield proxy
    proxy.remove()


def may_use_ring():
    """Whether the kernel lets this process make a ring of the kind that is wanted."""
    parameters = (ctypes.c_uint32 * 30)()
    parameters[2] = SINGLE_ISSUER | DEFER_TASKRUN
    ring = ctypes.CDLL(None).syscall(SYS_IO_URING_SETUP, 1, parameters)
    if ring >= 0:
        os.close(ring)
    return ring >= 0


def need(method):
    if method == "io_uring" and not may_use_ring():
        pytest.skip("io_uring is not to be had on this machine")


@pytest.fixture
def proxy_of(start_proxy):
    def start(method, **settings):
        need(method)
        return start_proxy({"io_method": method, **settings})
    return start


@METHODS
def test_the_log_says_what_the_workers_use(proxy_of, method):
    proxy = proxy_of(method, log_min_messages="debug1")
    system.wait_until(lambda: f"2 workers wait by {method}" in proxy.log(), "the line")


@FORBIDDEN_CALLS
def test_where_it_is_forbidden_auto_is_epoll(fresh, call):
    fresh.settings["log_min_messages"] = "debug1"
    fresh.prefix = [*FORBIDDEN, call]
    fresh.start()
    with fresh.connect() as c:
        assert c.execute("select 42").fetchone() == (42,)
    system.wait_until(lambda: "2 workers wait by epoll" in fresh.log(), "the line")


@FORBIDDEN_CALLS
def test_where_it_is_forbidden_it_cannot_be_asked_for(fresh, call):
    fresh.settings["io_method"] = "io_uring"
    fresh.write_files()
    check, start = (subprocess.run([*FORBIDDEN, call, *fresh.command(word)], capture_output=True, text=True, timeout=40,
                                   **system.run_as()) for word in ("--check", "-n"))
    assert "io_method: io_uring cannot be used: Operation not permitted; a start here is refused" in check.stdout + check.stderr
    assert start.returncode == 1
    assert "io_method: io_uring cannot be used: Operation not permitted" in start.stdout + start.stderr
    assert not system.can_connect(fresh.port)


def messages_of(data):
    """The types of the messages in it and the octets of the rows."""
    kinds, rows, at = [], 0, 0
    while at < len(data):
        kind, length = data[at:at + 1].decode(), int.from_bytes(data[at + 1:at + 5], "big")
        if kind == "D":
            rows += 1
        else:
            kinds.append(kind)
        at += 1 + length
    assert at == len(data), "cut"
    return kinds, rows


@METHODS
@pytest.mark.parametrize("last", [wire.TERMINATE, b""], ids=["terminate", "half-closed"])
@pytest.mark.parametrize("protocol", ["simple", "extended"])
def test_a_client_that_reads_slowly_and_says_goodbye_ahead_gets_all(proxy_of, method, last, protocol):
    proxy = proxy_of(method)
    sql = f"select i, repeat('x', i % 60) from generate_series(1, {ROWS}) i"
    requests = wire.query(sql) if protocol == "simple" else wire.parse(sql) + wire.bind() + wire.execute() + wire.SYNC
    with socket.create_connection(("127.0.0.1", proxy.port), timeout=60) as s:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 128 * 1024)
        s.sendall(wire.startup())
        data = b""
        while not data.endswith(b"Z\0\0\0\5I"):
            data += s.recv(4096)
        s.sendall(requests + last)
        if not last:
            s.shutdown(socket.SHUT_WR)
        parts = []
        while True:
            part = s.recv(16384)
            if not part:
                break
            parts.append(part)
            if len(parts) < 50:
                time.sleep(0.01)  # what it leaves lying fills the socket: that takes time, whatever happens elsewhere
        kinds, rows = messages_of(b"".join(parts))
    assert rows == ROWS
    assert kinds[-2:] == ["C", "Z"]


@METHODS
def test_many_statements_ahead_of_a_slow_reader(proxy_of, method):
    """Short answers by the thousand, which the reader takes when they have filled its socket and ours."""
    proxy = proxy_of(method)
    many = 20_000
    with socket.create_connection(("127.0.0.1", proxy.port), timeout=60) as s:
        s.sendall(wire.startup())
        data = b""
        while not data.endswith(b"Z\0\0\0\5I"):
            data += s.recv(4096)
        unit = wire.parse("select $1::int4 + 1") + wire.bind("41") + wire.execute() + wire.SYNC
        s.setblocking(False)
        out, at, got, deadline = unit * many, 0, bytearray(), time.monotonic() + 120
        ended = b"C\0\0\0\rSELECT 1\0Z\0\0\0\5I"
        while got.count(ended, max(0, len(got) - len(ended))) == 0 or at < len(out) or got.count(ended) < many:
            assert time.monotonic() < deadline, (at, len(out), len(got))
            try:
                if at < len(out):
                    at += s.send(out[at:at + 65536])
                    continue  # reads only when it may not send
            except BlockingIOError:
                pass
            try:
                part = s.recv(1 << 20)
                assert part
                got += part
            except BlockingIOError:
                pass
    kinds, rows = messages_of(bytes(got))
    assert rows == many and kinds == ["1", "2", "C", "Z"] * many


@METHODS
def test_clients_that_vanish_and_links_that_are_killed(proxy_of, method):
    proxy = proxy_of(method)
    for round_ in range(50):
        c = wire.Client(proxy.port)
        c.socket.sendall(wire.startup() + wire.query("select generate_series(1, 10000)"))
        if round_ % 2:
            c.socket.close()
        else:
            c.socket.shutdown(socket.SHUT_RDWR)
    with proxy.connect() as c:
        assert c.execute("select count(*) from generate_series(1, 1000)").fetchone() == (1000,)
        with pytest.raises(Exception):
            c.execute("select pg_terminate_backend(pg_backend_pid())")
    with proxy.connect() as c:
        assert c.execute("select 7").fetchone() == (7,)


def last_words(client):
    """What a client that asks without a pause hears when its session ends."""
    try:
        while True:
            try:
                client.send(wire.query("select 1") * 50)
            except OSError:
                pass  # the session has ended: what it said is still to be read
            ready = 0
            while ready < 50:
                kind, payload = client.receive()
                if kind == "E":
                    return wire.error(payload)["C"]
                ready += kind == "Z"
    except wire.Closed:
        return "nothing"


@METHODS
def test_each_client_hears_of_a_fast_stop(fresh, method):
    need(method)
    fresh.settings["io_method"] = method
    fresh.start()
    clients = [wire.Client(fresh.port).login() for _ in range(30)]
    asked = [client.ask("select 1") for client in clients]
    assert asked == [[["1"]]] * len(clients)
    with futures.ThreadPoolExecutor(len(clients)) as threads:
        heard = [threads.submit(last_words, client) for client in clients]
        time.sleep(0.5)  # load, for a while: nothing tells that all are at it
        fresh.stop()
        heard = [one.result(60) for one in heard]
        assert heard == ["57P01"] * len(clients)
    for client in clients:
        client.close()
