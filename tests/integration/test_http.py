"""The HTTP service: metrics as promtool and the OpenMetrics parser read them, figures that are right, and clients that
are up to no good while SQL goes on."""
import http.client
import json
import os
import random
import re
import socket
import subprocess
import threading
import time

import psycopg
import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics
from prometheus_client.parser import text_string_to_metric_families as prometheus

from support import system
from support.cluster import Cluster
from support.proxy import Proxy
from support.system import wait_until

pytestmark = pytest.mark.herdgate_only
PLAIN = "text/plain; version=0.0.4; charset=utf-8"
OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"


class Http:
    """Asks the HTTP service of a proxy."""

    def __init__(self, proxy):
        self.proxy, self.port = proxy, proxy.settings["http_port"]
        # The port for SQL, which the start waits for, is the first to be bound.
        wait_until(lambda: system.can_connect(self.port), f"HTTP on port {self.port}\n{proxy.log()[-2000:]}")

    def ask(self, path, method="GET", headers=None):
        """(status, headers, body)"""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.request(method, path, headers=headers or {})
            answer = connection.getresponse()
            return answer.status, dict(answer.getheaders()), answer.read().decode()
        finally:
            connection.close()

    def ok(self, path, **more):
        status, _, body = self.ask(path, **more)
        assert status == 200, (path, status, body)
        return body

    def figures(self):
        """{name: {labels as a frozenset of pairs: value}}"""
        found = {}
        for family in prometheus(self.ok("/metrics")):
            for sample in family.samples:
                found.setdefault(sample.name, {})[frozenset(sample.labels.items())] = sample.value
        return found

    def figure(self, name, **labels):
        return self.figures()[name][frozenset(labels.items())]

    def raw(self):
        return socket.create_connection(("127.0.0.1", self.port), timeout=60)

    def serves(self):
        """And it recovers."""
        assert self.ok("/healthz") == "alive\n"
        assert "herdgate_info{" in self.ok("/metrics")


def with_http(more=None):
    return {"http_port": system.free_ports(1)[0], **(more or {})}


@pytest.fixture(scope="module")
def web(start_proxy):
    """No probes of our own disturb the figures."""
    return Http(start_proxy(with_http({"statement_level_load_balance": False, "load_balance_mode": False,
                                       "health_check_period": 0, "memory_cache_enabled": False}), fresh=True))


@pytest.fixture
def sql_goes_on(web):
    """Statements of somebody else while the test runs: none may fail, and none may wait long."""
    stop, problems, slowest = threading.Event(), [], [0.0]

    def work():
        try:
            with web.proxy.connect() as c:
                while not stop.is_set():
                    began = time.monotonic()
                    assert c.execute("select 1").fetchall() == [(1,)]
                    slowest[0] = max(slowest[0], time.monotonic() - began)
                    count[0] += 1
        except Exception as e:  # noqa: BLE001
            problems.append(e)

    count = [0]
    thread = threading.Thread(target=work)
    thread.start()
    wait_until(lambda: count[0] > 0 or problems, "the first statement")
    before = count[0]
    yield
    # It goes on now too.
    wait_until(lambda: count[0] > before or problems, "a statement")
    stop.set()
    thread.join(60)
    assert not problems and not thread.is_alive(), problems
    assert slowest[0] < 10, "a statement waited as long as the slowest HTTP client may"


# ---- formats

def promtool():
    path = subprocess.run([os.path.join(system.ROOT, "scripts", "fetch_promtool")], capture_output=True, text=True)
    assert path.returncode == 0, path.stderr
    return path.stdout.strip()


def test_promtool_has_nothing_to_say(web, start_proxy):
    with web.proxy.connect() as c:
        c.execute("select 1")
    full = Http(start_proxy(with_http({"memory_cache_enabled": True, "health_check_period": 1}), fresh=True))
    wait_until(lambda: full.figures().get("herdgate_health_checks_total"), "a health check")
    for http_service in (web, full):
        done = subprocess.run([promtool(), "check", "metrics"], input=http_service.ok("/metrics"), capture_output=True,
                              text=True, timeout=60)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", ""), done


def test_formats_by_the_accept_header(web):
    for accept, kind in [("*/*", PLAIN), ("text/plain", PLAIN), ("application/openmetrics-text", OPENMETRICS),
                         ("application/openmetrics-text;version=1.0.0;q=0.5,text/plain;q=0.4", OPENMETRICS),
                         ("application/openmetrics-text;version=1.0.0;q=0.4,text/plain;q=0.5", PLAIN)]:
        status, headers, body = web.ask("/metrics", headers={"Accept": accept})
        assert (status, headers["Content-Type"]) == (200, kind), accept
        assert body.endswith("# EOF\n") == (kind == OPENMETRICS)
    body = web.ask("/metrics", headers={"Accept": "application/openmetrics-text"})[2]
    strict = {family.name: family for family in openmetrics(body)}
    plain = {family.name for family in prometheus(web.ok("/metrics"))}
    assert strict["herdgate_node_query_duration_seconds"].type == "histogram"
    assert strict["herdgate_client_logins"].type == "counter"
    assert strict["herdgate"].type == "info" and strict["herdgate"].samples[0].name == "herdgate_info"
    assert strict["process_cpu_seconds"].unit == "seconds"
    assert set(strict) - {"herdgate"} == plain - {"herdgate_info"}


def test_the_document_names_what_is_shown(web):
    with open(os.path.join(system.ROOT, "docs", "metrics.md")) as f:
        documented = set(re.findall(r"^\| `(\w+)` \|", f.read(), re.M))
    shown = set(re.findall(r"^# TYPE (\w+) ", web.ok("/metrics"), re.M))
    assert shown == documented


# ---- figures

def test_figures_count_what_is_done(web, marks):
    mark = marks()
    before = web.figures()

    def grown(name, **labels):
        key = frozenset(labels.items())
        return web.figures()[name].get(key, 0) - before[name].get(key, 0)

    with web.proxy.connect() as c:
        assert grown("herdgate_client_logins_total") == 1
        c.execute(f"create table {mark}t (a int)")
        for i in range(7):
            c.execute(f"insert into {mark}t values ({i})")
        c.execute(f"update {mark}t set a = a + 1")
        c.execute(f"delete from {mark}t where a > 5")
        for _ in range(11):
            c.execute(f"select count(*) from {mark}t")
        with pytest.raises(psycopg.errors.DivisionByZero):
            c.execute("select 1/0")
        c.execute("PGPOOL SHOW pool_mode")
        c.execute(f"drop table {mark}t")
        kinds = {kind: grown("herdgate_node_statements_total", node="0", kind=kind)
                 for kind in ("select", "insert", "update", "delete", "ddl", "other")}
        assert kinds == {"select": 12, "insert": 7, "update": 1, "delete": 1, "ddl": 2, "other": 0}
        assert grown("herdgate_node_errors_total", node="0", severity="error") == 1
        # 23 that the node has answered, one that Herdgate has.
        assert grown("herdgate_node_query_duration_seconds_count", node="0") == 23
        assert grown("herdgate_node_query_duration_seconds_bucket", node="0", le="+Inf") == 23
        assert grown("herdgate_local_query_duration_seconds_count") == 1
        # Whoever was here before may be leaving still.
        wait_until(lambda: web.figure("herdgate_clients") == 1, "the other clients to have left")
        wait_until(lambda: web.figure("herdgate_node_links", node="0", state="used") == 1, "their links to be free")
        assert web.figure("herdgate_pool_links", node="0", database="test", user="postgres", state="used") == 1
    wait_until(lambda: web.figure("herdgate_clients") == 0, "the client to have left")
    wait_until(lambda: web.figure("herdgate_node_links", node="0", state="used") == 0, "the link to be free")
    assert grown("herdgate_node_statements_total", node="0", kind="select") == 12


def test_a_slow_statement_is_in_the_right_bucket(web):
    name = "herdgate_node_query_duration_seconds"
    before = web.figures()
    with web.proxy.connect() as c:
        c.execute("select pg_sleep(0.3)")
    after = web.figures()

    def grown(sample, **labels):
        key = frozenset({"node": "0", **labels}.items())
        return after[name + sample][key] - before[name + sample][key]

    assert grown("_count") == 1
    assert grown("_bucket", le="0.25") == 0 and grown("_bucket", le="+Inf") == 1
    assert grown("_sum") >= 0.3 - 0.05


@pytest.mark.parametrize("idle", [True, False])
def test_a_servers_last_words_are_counted(start_proxy, cluster, marks, idle):
    """Of a session that waits for its next statement, and of one in the middle of a statement."""
    web = Http(start_proxy(with_http({"load_balance_mode": False}), fresh=True))
    with web.proxy.connect() as c:
        c.execute("begin")
        pid = c.execute("select pg_backend_pid()").fetchone()[0]
        mark = marks()
        thread = threading.Thread(target=lambda: idle or pytest.raises(psycopg.Error, c.execute,
                                                                       f"select '{mark}', pg_sleep(60)"))
        thread.start()
        if not idle:
            wait_until(lambda: mark in cluster.primary.psql(f"select query from pg_stat_activity where pid = {pid}"),
                       "the statement to run")
        cluster.primary.psql(f"select pg_terminate_backend({pid})")
        wait_until(lambda: web.figure("herdgate_node_errors_total", node="0", severity="fatal") == 1, "the FATAL")
        thread.join(60)
        c.execute("rollback")
    assert web.figure("herdgate_node_errors_total", node="0", severity="panic") == 0


def test_refusals_by_reason(start_proxy):
    web = Http(start_proxy(with_http({"num_init_children": 2, "reserved_connections": 1, "enable_pool_hba": True}),
                           {"pool_hba.conf": "host all reader 0.0.0.0/0 reject\nhost all all 0.0.0.0/0 trust\n"},
                           fresh=True))
    with pytest.raises(psycopg.OperationalError):
        web.proxy.connect(user="reader")
    wait_until(lambda: web.figure("herdgate_clients") == 0, "the refused client to have left")
    with web.proxy.connect():
        with pytest.raises(psycopg.OperationalError):
            web.proxy.connect()
        assert web.figure("herdgate_client_refusals_total", reason="authentication") == 1
        assert web.figure("herdgate_client_refusals_total", reason="limit") == 1
        assert web.figure("herdgate_client_refusals_total", reason="other") == 0
        assert web.figure("herdgate_clients_limit") == 2


def test_who_waits_for_a_link_is_counted(start_proxy):
    web = Http(start_proxy(with_http({"pool_mode": "transaction", "pool_size": 1, "load_balance_mode": False}),
                           fresh=True))
    pool = {"node": "0", "database": "test", "user": "postgres"}
    with web.proxy.connect() as holder, web.proxy.connect() as waiter:
        holder.execute("begin")
        holder.execute("create temporary table held (a int)")
        before = web.figure("herdgate_node_link_wait_seconds_count", node="0")
        thread = threading.Thread(target=waiter.execute, args=("select 1",))
        thread.start()
        wait_until(lambda: web.figure("herdgate_pool_waiting", **pool) == 1, "the waiting request")
        assert web.figure("herdgate_pool_links_limit") == 1
        state = json.loads(web.ok("/api/state"))
        assert [p["waiting"] for p in state["pools"] if p["node_id"] == 0 and p["user"] == "postgres"
                and p["database"] == "test"] == [1]
        holder.execute("rollback")
        thread.join(60)
        assert web.figure("herdgate_pool_waiting", **pool) == 0
        assert web.figure("herdgate_node_link_wait_seconds_count", node="0") == before + 1


def test_cache_and_log_figures(start_proxy, marks, cluster):
    web = Http(start_proxy(with_http({"memory_cache_enabled": True, "log_statement": True,
                                     "load_balance_mode": False}), fresh=True))
    table = marks() + "cached"
    cluster.primary.psql(f"create table {table} (a int)")
    cluster.wait_replayed()
    before = web.figures()
    with web.proxy.connect() as c:
        for _ in range(4):
            c.execute(f"select * from {table}")
    after = web.figures()
    no = frozenset()
    hits = after["herdgate_query_cache_hits_total"][no] - before["herdgate_query_cache_hits_total"][no]
    selects = after["herdgate_query_cache_selects_total"][no] - before["herdgate_query_cache_selects_total"][no]
    assert hits + selects == 4 and selects >= 1 and hits >= 1
    assert after["herdgate_query_cache_entries"][no] >= 1 and after["herdgate_query_cache_used_bytes"][no] > 0
    local = "herdgate_local_query_duration_seconds_count"
    assert after[local][no] - before[local][no] == hits
    assert after["herdgate_log_messages_total"][no] - before["herdgate_log_messages_total"][no] >= 4
    assert after["herdgate_log_messages_lost_total"][no] == 0


def test_process_figures(web):
    figures = web.figures()
    no = frozenset()
    with open(f"/proc/{web.proxy.process.pid}/statm") as f:
        pages = int(f.read().split()[1])
    assert 0.5 < figures["process_resident_memory_bytes"][no] / (pages * os.sysconf("SC_PAGESIZE")) < 2
    assert 10 < figures["process_open_fds"][no] < figures["process_max_fds"][no]
    assert figures["process_threads"][no] >= 4 and figures["process_cpu_seconds_total"][no] >= 0
    assert abs(figures["process_start_time_seconds"][no] - time.time()) < 600


# ---- health

def test_how_far_a_standby_is_behind(start_proxy, cluster):
    web = Http(start_proxy(with_http({"sr_check_period": 1}), fresh=True))
    late = cluster.nodes[2]

    def delay(node):
        found = web.figures().get("herdgate_node_replication_delay_bytes", {})
        return found.get(frozenset({("node", node)}))

    late.psql("select pg_wal_replay_pause()")
    try:
        cluster.primary.psql("set synchronous_commit = local; select pg_logical_emit_message(false, '', repeat('x', 5000)); "
                             "create table if not exists behind_made (); drop table behind_made")
        wait_until(lambda: (delay("2") or 0) > 5000, "the delay of node 2")
    finally:
        late.psql("select pg_wal_replay_resume()")
    wait_until(lambda: delay("2") == 0 and delay("1") == 0, "node 2 to be level again")
    assert delay("0") is None or delay("0") == 0


def test_a_node_dies_and_comes_back():
    cluster = Cluster(nodes=2)
    proxy = Proxy(cluster)
    proxy.settings.update(with_http({"health_check_period": 1, "failover_wait_timeout": 1}))
    try:
        cluster.create().start()
        web = Http(proxy.start())

        def state(node):
            return [dict(labels)["state"] for labels, value in web.figures()["herdgate_node_state"].items()
                    if value == 1 and dict(labels)["node"] == node]

        def shown():
            return {n["node_id"]: n for n in json.loads(web.ok("/api/state"))["nodes"]}

        wait_until(lambda: web.figures()["herdgate_health_checks_total"].get(
            frozenset({("node", "1"), ("result", "success")}), 0) >= 1, "a health check")
        wait_until(lambda: web.ask("/readyz")[::2] == (200, "ready\n"), "the primary to be found")
        assert web.figure("herdgate_node_role", node="0", role="primary") == 1
        cluster.nodes[1].kill()
        wait_until(lambda: state("1") == ["down"], "node 1 to be down")
        reasons = {dict(labels)["reason"]: value for labels, value in web.figures()["herdgate_node_failovers_total"].items()
                   if ("node", "1") in labels and value != 0}
        assert list(reasons.values()) == [1] and set(reasons) <= {"health_check", "connection"}
        assert web.ok("/readyz") == "ready\n"  # the other one serves
        assert shown()[1]["status"] == "down" and shown()[1]["status_reason"]
        cluster.nodes[0].kill()
        wait_until(lambda: state("0") == ["down"], "node 0 to be down")
        status, _, body = web.ask("/readyz")
        assert (status, body) == (503, "no node is usable\n")
        assert web.ok("/healthz") == "alive\n"
        cluster.nodes[0].start()
        wait_until(lambda: web.ask("/readyz")[0] == 200, "a node to be usable again")
        wait_until(lambda: shown()[0]["status"] in ("waiting", "up"), "node 0 to be shown")
        assert web.figure("herdgate_node_failbacks_total", node="0") == 1
        with proxy.connect() as c:
            assert c.execute("select 1").fetchall() == [(1,)]
        proxy.stop()
    finally:
        proxy.remove()
        cluster.destroy()


def test_state_is_that_of_show_pool_nodes(web):
    state = json.loads(web.ok("/api/state"))
    with web.proxy.connect() as c:
        rows = c.execute("show pool_nodes").fetchall()
    assert len(state["nodes"]) == len(rows) == 3
    for node, row in zip(state["nodes"], rows):
        assert [str(node["node_id"]), node["hostname"], str(node["port"])] == list(row[:3])
        assert node["role"] == row[6]
    assert state["primary"] == 0


# ---- HTTP

def test_paths_and_methods(web):
    for path in ("/", "/metric", "/metrics/x", "/api", "/%2e%2e/metrics", "/" + "x" * 4000):
        assert web.ask(path)[0] == 404, path
    for method in ("POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "CONNECT", "BREW"):
        status, headers, _ = web.ask("/metrics", method=method)
        assert (status, headers["Allow"]) == (405, "GET, HEAD"), method
    status, headers, body = web.ask("/metrics", method="HEAD")
    assert status == 200 and body == "" and int(headers["Content-Length"]) > 1000
    assert web.ask("/metrics?debug=1")[0] == 200


def test_pipelined_requests(web):
    with web.raw() as s:
        s.sendall(b"GET /healthz HTTP/1.1\r\nHost: h\r\n\r\n" * 99 +
                  b"GET /readyz HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
        answer = b""
        while chunk := s.recv(65536):
            answer += chunk
    assert answer.count(b"HTTP/1.1 200 OK\r\n") == 100
    assert answer.count(b"\r\n\r\nalive\n") == 99 and answer.endswith(b"\r\n\r\nready\n")


def test_a_hundred_connections_and_slow_ones(web, sql_goes_on):
    """None of them asks for anything whole; whoever does is served meanwhile."""
    silent = []
    try:
        for i in range(100):
            s = web.raw()
            silent.append(s)
            if i % 2:
                s.sendall(b"GET /metrics HTTP/1.1\r\nX: ")
        web.serves()
        for s in silent:
            try:
                s.sendall(b"x")
            except OSError:
                pass  # it made room
        web.serves()
    finally:
        for s in silent:
            s.close()
    web.serves()


def test_a_slow_request_is_given_up(web, sql_goes_on):
    with web.raw() as s:
        began = time.monotonic()
        s.sendall(b"GET /metrics HTTP/1.1\r\n")
        s.settimeout(0.2)
        answer = b""
        while not answer:
            try:
                answer = s.recv(65536)
            except TimeoutError:
                s.sendall(b"X: x\r\n")
            assert time.monotonic() - began < 60, "a drop at a time wins time"
    assert answer.startswith(b"HTTP/1.1 408 ") and time.monotonic() - began > 4
    web.serves()


def test_answers_that_nobody_takes(web, sql_goes_on):
    with web.raw() as s:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        s.settimeout(1)
        try:
            for _ in range(2000):
                s.sendall(b"GET /metrics HTTP/1.1\r\nHost: h\r\n\r\n")
        except OSError:
            pass  # it takes no more, or has gone
        web.serves()


@pytest.mark.parametrize("data,status", [
    (b"GET /metrics HTTP/1.1\r\nX: " + b"x" * 200_000 + b"\r\n\r\n", 431),
    (b"GET /" + b"x" * 200_000, 431),
    (b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 50_000 + b"\r\n", 431),
    (b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n", 400),
    (b"\0\0\0\x08\x04\xd2\x16\x2f\r\n\r\n", 400),
    (b"GET /metrics HTTP/1.1\r\nContent-Length: -1\r\n\r\n", 400),
    (b"POST /metrics HTTP/1.1\r\nContent-Length: 999999999\r\n\r\n" + b"x" * 500_000, 405),
], ids=["long field", "long target", "many fields", "tls", "ssl request", "bad length", "body"])
def test_hostile_requests(web, data, status):
    with web.raw() as s:
        try:
            s.sendall(data)
        except OSError:
            pass  # enough was read
        try:
            answer = s.recv(65536)
            assert answer.startswith(b"HTTP/1.1 %d " % status), answer[:100]
        except ConnectionResetError:
            assert len(data) > 300_000  # more than is read after the last word
    web.serves()


def test_random_octets(web, sql_goes_on, request):
    seed = request.config.getoption("--seed") or random.randrange(1 << 30)
    print("seed", seed)
    draw = random.Random(seed)
    for _ in range(200):
        begin = draw.choice([b"", b"GET /metrics HTTP/1.1\r\n", b"GET ", b"HEAD /api/state HTTP/1.1\r\nAccept: "])
        with web.raw() as s:
            try:
                s.sendall(begin + draw.randbytes(draw.randrange(1, 10_000)) + draw.choice([b"", b"\r\n\r\n"]))
                s.shutdown(socket.SHUT_WR)
                while s.recv(65536):
                    pass
            except OSError as e:
                assert not isinstance(e, TimeoutError), "neither answered nor closed"
    web.serves()


# ---- settings

@pytest.mark.parametrize("flood", [b"M\0\0\0\4", b"?\0\0\0\4"], ids=["salts", "behind the last word"])
def test_a_flood_of_pcp_requests_without_a_login(web, sql_goes_on, flood):
    """PCP is served by the same thread. Whoever sends faster than he is served is sent away in the end."""
    with socket.create_connection(("127.0.0.1", web.proxy.pcp_port), timeout=60) as c:
        def hear():
            try:
                while c.recv(1 << 20):
                    pass
            except OSError:
                pass

        def send():
            try:
                while True:
                    c.sendall(flood * 100_000)
            except OSError:
                pass

        threads = [threading.Thread(target=work, daemon=True) for work in (send, hear)]
        for thread in threads:
            thread.start()
        for _ in range(20):
            web.serves()
        for thread in threads:
            thread.join(30)
            assert not thread.is_alive()


def test_off_by_default_and_loopback_when_on(cluster):
    proxy = Proxy(cluster)
    assert "http_port" not in proxy.settings
    try:
        proxy.start()
        with proxy.connect() as c:
            assert c.execute("pgpool show http_port").fetchall() == [("0",)]
            assert c.execute("pgpool show http_listen_addresses").fetchall() == [("localhost",)]
        assert "HTTP listens" not in proxy.log()
        proxy.settings["http_port"] = 1
        proxy.reload()
        wait_until(lambda: "not changed, a restart is needed for: http_port" in proxy.log(), "the reload's word")
        proxy.stop()
    finally:
        proxy.remove()


def test_check_and_a_port_that_is_taken(cluster):
    proxy = Proxy(cluster)
    try:
        proxy.settings["http_port"] = 70_000
        proxy.write_files()
        done = subprocess.run(proxy.command("--check"), capture_output=True, text=True, timeout=60)
        assert done.returncode != 0 and "http_port" in done.stderr
        with socket.create_server(("127.0.0.1", 0)) as taken:
            proxy.settings.update({"http_port": taken.getsockname()[1], "http_listen_addresses": "127.0.0.1"})
            proxy.write_files()
            done = subprocess.run(proxy.command("--check"), capture_output=True, text=True, timeout=60)
            assert done.returncode == 0, done.stderr
            assert proxy.start(wait=False).process.wait(60) == 1
        assert "FATAL" in proxy.log() and "in use" in proxy.log()
    finally:
        proxy.remove()
