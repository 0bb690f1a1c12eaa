"""PCP: our clients and the original's against the server, and whoever else comes along."""
import hashlib
import os
import re
import shutil
import socket
import struct
import subprocess

import psycopg
import pytest

from support import system
from support.proxy import Proxy, herdgate_binary
from support.system import wait_until
from test_survival import Later

pytestmark = pytest.mark.herdgate_only
PASSWORD = "s3cret"
USERS = "# users\n\npostgres:" + hashlib.md5(PASSWORD.encode()).hexdigest() + "\n"
ORIGINAL = os.path.exists(f"{system.TRIXIE}/usr/sbin/pcp_node_info") and os.getuid() == 0


class Pcp:
    """Runs clients against a proxy: ours, or the original's."""

    def __init__(self, proxy):
        self.proxy = proxy
        self.bin = os.path.dirname(herdgate_binary())
        if not os.path.exists(f"{self.bin}/pcp_attach_node"):
            self.bin = os.path.join(system.ROOT, "build", "tools")
        self.passes = {False: f"{proxy.folder}/pcppass", True: f"{system.TRIXIE}/tmp/pcppass-{proxy.pcp_port}"}
        for path in self.passes.values():
            if os.path.isdir(os.path.dirname(path)):
                with open(path, "w") as f:
                    f.write(f"*:*:postgres:{PASSWORD}\n*:*:stranger:x\n")
                os.chmod(path, 0o600)
        if ORIGINAL:
            shutil.chown(self.passes[True], system.SERVER_USER)

    def words(self, user="postgres", host="127.0.0.1"):
        return ["-w", "-h", host, "-p", str(self.proxy.pcp_port), "-U", user]

    def run(self, name, *args, original=False, user="postgres", host="127.0.0.1", env=None):
        """(exit code, stdout, stderr)"""
        command = ([system.IN_TRIXIE, f"/usr/sbin/{name}"] if original else [f"{self.bin}/{name}"])
        passes = self.passes[original]
        passes = passes[len(system.TRIXIE):] if original else passes
        done = subprocess.run([*command, *self.words(user, host), *args], stdin=subprocess.DEVNULL, capture_output=True,
                              text=True, timeout=120, env={**os.environ, "PCPPASSFILE": passes, **(env or {})})
        return done.returncode, done.stdout, done.stderr

    def ok(self, name, *args, **more):
        code, out, err = self.run(name, *args, **more)
        assert code == 0 and err == "", (name, args, code, out, err)
        return out

    def nodes(self):
        return [line.split() for line in self.ok("pcp_node_info").splitlines()]


@pytest.fixture(scope="module")
def pcp(start_proxy):
    # A pcp.conf that was there before the start, as for everybody.
    proxy = start_proxy({"health_check_period": 1}, {"pcp.conf": USERS})
    made = Pcp(proxy)
    yield made
    for path in made.passes.values():
        if os.path.exists(path):
            os.unlink(path)


# ---- our clients

def test_nodes(pcp, cluster):
    assert pcp.ok("pcp_node_count") == "3\n"
    assert pcp.ok("pcp_node_count", "-v") == "Node Count\n____________\n 3\n"
    wait_until(lambda: [n[6:8] for n in pcp.nodes()] == [["primary"] * 2, ["standby"] * 2, ["standby"] * 2], "the roles")
    for node, line in zip(cluster.nodes, pcp.nodes()):
        assert line[:2] == ["127.0.0.1", str(node.port)] and line[3] == "0.333333" and line[5] == "up"
        assert len(line) == 13
    assert pcp.ok("pcp_node_info", "-n", "1").split()[:2] == pcp.nodes()[1][:2]
    assert pcp.ok("pcp_node_info", "-v", "0").splitlines()[1] == f"Port                   : {cluster.primary.port}"


def test_the_same_facts_as_show(pcp):
    with pcp.proxy.connect() as c:
        show = c.execute("show pool_nodes").fetchall()
        status = c.execute("show pool_status").fetchall()
        health = c.execute("show pool_health_check_stats").fetchall()
    for row, line in zip(show, pcp.nodes()):
        assert [row[1], row[2], row[5], row[3], row[4], row[6], row[7]] == [line[i] for i in (0, 1, 3, 4, 5, 6, 7)]
        assert row[13] == " ".join(line[11:])
    text = "".join(f"name : {item}\nvalue: {value}\ndesc : {words}\n\n" for item, value, words in status)
    hide = lambda t: re.sub(r"(backend_status|standby_delay)(\d)\nvalue: .*", r"\1\2", t)
    assert hide(pcp.ok("pcp_pool_status")) == hide(text)
    stats = pcp.ok("pcp_health_check_stats", "0")
    assert stats.startswith(f"0 {health[0][1]} {health[0][2]} {health[0][3]} primary ")


def test_processes(pcp):
    with pcp.proxy.connect(application_name="seen") as c:
        pid = c.execute("show pool_processes").fetchone()[0]
        c.execute("select 1")
        assert pid in pcp.ok("pcp_proc_count").split()
        lines = [line for line in pcp.ok("pcp_proc_info").splitlines() if f" {pid} " in line]
        assert lines and lines[0].startswith("test postgres 20")
        assert f"PID                       : {pid}\n" in pcp.ok("pcp_proc_info", "-v", pid)
    assert pcp.run("pcp_proc_info", "99999")[2] == \
        "ERROR:  informing process info failed\nDETAIL:  invalid process ID : 99999\n\n"


def test_refusals_are_told_on_stderr_with_code_0(pcp):
    assert pcp.run("pcp_node_info", "7") == (
        0, "", "ERROR:  informing node info failed\nDETAIL:  invalid node ID : 7\n\n")
    assert pcp.run("pcp_promote_node", "0")[2].startswith("FATAL:  invalid promote request\n")
    assert pcp.run("pcp_recovery_node", "0")[2].startswith("ERROR:  process recovery request failed\n")
    assert pcp.run("pcp_watchdog_info") == (
        0, "", "ERROR:  PCP: informing watchdog info failed\nDETAIL:  watchdog is not enabled\n\n")
    assert pcp.run("pcp_invalidate_query_cache") == (0, "", "ERROR:  query cache is not enabled\n\n")
    assert pcp.run("pcp_log_rotate")[2] == \
        "ERROR:  process log rotation request failed\nDETAIL:  logging_collector is disabled\n\n"


def test_unix_socket(pcp):
    assert pcp.ok("pcp_node_count", host=pcp.proxy.folder) == "3\n"


def test_wrong_passwords(pcp):
    refused = 'FATAL:  authentication failed for user "{0}"\nDETAIL:  username and/or password does not match\n\n'
    assert pcp.run("pcp_node_count", user="stranger") == (1, "", refused.format("stranger"))
    assert pcp.run("pcp_node_count", user="nobody") == (1, "", refused.format("nobody"))
    code, _, err = pcp.run("pcp_node_count", env={"PCPPASSFILE": "/nonexistent"})
    assert (code, err) == (1, refused.format("postgres"))
    wait_until(lambda: 'PCP authentication failed for user "stranger"' in pcp.proxy.log(), "the refusal in the log")
    assert pcp.ok("pcp_node_count") == "3\n"


def test_pcp_conf_is_read_at_every_login(pcp):
    path = f"{pcp.proxy.folder}/pcp.conf"
    with open(path, "w") as f:
        f.write("other:" + "0" * 32 + "\n")
    assert pcp.run("pcp_node_count")[0] == 1
    os.rename(path, path + ".away")
    assert pcp.run("pcp_node_count")[0] == 1
    os.rename(path + ".away", path)
    with open(path, "w") as f:
        f.write(USERS)
    assert pcp.ok("pcp_node_count") == "3\n"


def test_detach_and_attach(pcp):
    wait_until(lambda: pcp.nodes()[2][4] == "up", "node 2 to be up")
    assert pcp.ok("pcp_detach_node", "2") == "pcp_detach_node -- Command Successful\n"
    wait_until(lambda: pcp.nodes()[2][2] == "3", "node 2 to be down")
    assert pcp.nodes()[2][4] == "down"
    with pcp.proxy.connect() as c:
        assert c.execute("show pool_nodes").fetchall()[2][3] == "down"
    assert pcp.run("pcp_detach_node", "2")[2].startswith("ERROR:  invalid degenerate backend request")
    assert pcp.run("pcp_attach_node", "9")[2].startswith("ERROR:  invalid failback request, node id: 9 is out of range")
    assert pcp.ok("pcp_attach_node", "-n", "2") == "pcp_attach_node -- Command Successful\n"
    wait_until(lambda: pcp.nodes()[2][2] in "12", "node 2 to be used again")
    assert pcp.ok("pcp_detach_node", "-g", "-n", "2") == "pcp_detach_node -- Command Successful\n"
    wait_until(lambda: pcp.nodes()[2][2] == "3", "node 2 to be down")
    assert pcp.ok("pcp_attach_node", "2")
    wait_until(lambda: pcp.nodes()[2][2] in "12", "node 2 to be used again")
    wait_until(lambda: "PCP request: detach node 2" in pcp.proxy.log(), "the request in the log")


def test_reload(pcp):
    proxy = pcp.proxy
    proxy.settings["client_idle_limit"] = 77
    proxy.write_files()
    assert pcp.ok("pcp_reload_config") == "pcp_reload_config -- Command Successful\n"
    assert "name : client_idle_limit\nvalue: 77\n" in pcp.ok("pcp_pool_status")
    proxy.settings["client_idle_limit"] = "nonsense"
    proxy.write_files()
    code, out, err = pcp.run("pcp_reload_config", "-s", "cluster")
    assert (code, out) == (0, "") and err.startswith("ERROR:  could not reload the configuration\nDETAIL:  ")
    assert "name : client_idle_limit\nvalue: 77\n" in pcp.ok("pcp_pool_status")
    del proxy.settings["client_idle_limit"]
    proxy.write_files()
    assert pcp.ok("pcp_reload_config", "--scope=local")


@pytest.mark.parametrize("mode", ["smart", "fast", "immediate"])
def test_stop(start_proxy, mode):
    proxy = start_proxy({"max_pool": 3}, {"pcp.conf": USERS}, fresh=True)
    assert Pcp(proxy).ok("pcp_stop_pgpool", "-m", mode) == "pcp_stop_pgpool -- Command Successful\n"
    assert proxy.process.wait(60) == 0
    proxy.process = None
    wait_until(lambda: f"received {mode} shutdown request" in proxy.log(), "the log to say so")
    assert not os.path.exists(f"{proxy.folder}/.s.PGSQL.{proxy.pcp_port}")
    proxy.start()
    assert Pcp(proxy).ok("pcp_node_count") == "3\n"


# ---- pause and resume

def paused(c):
    return sorted(row[0] for row in c.execute("pgpool show paused").fetchall())


def waiting(c):
    return sum("Paused" in row for row in c.execute("show pool_processes").fetchall())


@pytest.fixture
def nobody_paused(pcp):
    """A failed test must not hold up the next ones."""
    yield
    pcp.ok("pcp_resume")


def test_pause_and_resume_one_database(pcp, nobody_paused):
    with pcp.proxy.connect(dbname="postgres") as other, pcp.proxy.connect() as a, \
            pcp.proxy.connect(autocommit=False) as open_one:
        open_one.execute("create temp table t (a int)")
        assert pcp.ok("pcp_pause", "test") == \
            'pcp_pause -- Command Successful: new work in database "test" is held for at most 60 s\n'
        # In force at once: what is open goes on, other databases do, what is new waits.
        open_one.execute("insert into t values (1)")
        open_one.commit()
        assert other.execute("select 1").fetchone() == (1,)
        held = Later(lambda: a.execute("select 2").fetchone())
        wait_until(lambda: waiting(other) == 1, "a session to wait")
        assert paused(other) == ["test"]
        # A second time, by the option: no error, and nothing else than before.
        assert pcp.ok("pcp_pause", "-D", "test").startswith("pcp_pause -- Command Successful: ")
        assert paused(other) == ["test"] and waiting(other) == 1 and held.is_alive()
        assert pcp.ok("pcp_resume", "--database=test") == \
            'pcp_resume -- Command Successful: new work in database "test" goes on\n'
        assert held.result() == (2,)
        assert paused(other) == [] and open_one.execute("select 3").fetchone() == (3,)
    wait_until(lambda: 'PCP request: pause database "test"' in pcp.proxy.log(), "the request in the log")
    wait_until(lambda: 'new work in database "test" is held for at most 60 s' in pcp.proxy.log(), "the pause in the log")


def test_pause_and_resume_all_databases(pcp, nobody_paused):
    with pcp.proxy.connect(dbname="postgres") as a, pcp.proxy.connect() as b, pcp.proxy.connect() as boss:
        assert pcp.ok("pcp_pause") == \
            "pcp_pause -- Command Successful: new work in all databases is held for at most 60 s\n"
        held = [Later(lambda c=c: c.execute("select 1").fetchone()) for c in (a, b)]
        wait_until(lambda: waiting(boss) == 2, "two sessions to wait")
        assert paused(boss) == ["*"]
        # That of one database stands beside it, and who ends that one hears that nothing has changed.
        pcp.ok("pcp_pause", "postgres")
        assert paused(boss) == ["*", "postgres"]
        assert pcp.ok("pcp_resume", "postgres") == 'pcp_resume -- Command Successful: new work in database ' \
            '"postgres" is still held: all databases are paused\n'
        assert paused(boss) == ["*"] and waiting(boss) == 2
        assert pcp.ok("pcp_resume") == "pcp_resume -- Command Successful: new work in all databases goes on\n"
        assert [each.result() for each in held] == [(1,), (1,)]
        assert paused(boss) == []


def test_paused_by_one_way_resumed_by_the_other(pcp, nobody_paused):
    with pcp.proxy.connect() as c:
        pcp.ok("pcp_pause", "test")
        c.execute("pgpool resume test")
        assert paused(c) == [] and c.execute("select 1").fetchone() == (1,)
        c.execute("pgpool pause test")
        pcp.ok("pcp_resume", "test")
        assert paused(c) == [] and c.execute("select 1").fetchone() == (1,)


def test_pauses_of_what_is_not_there(pcp, nobody_paused):
    """As PGPOOL PAUSE: the proxy has no list of databases, and the name may be that of one to come."""
    assert pcp.ok("pcp_resume", "test") == \
        'pcp_resume -- Command Successful: new work in database "test" was not held\n'
    assert pcp.ok("pcp_resume") == "pcp_resume -- Command Successful: new work in all databases was not held\n"
    assert pcp.ok("pcp_pause", 'No "such" one').startswith("pcp_pause -- Command Successful: ")
    with pcp.proxy.connect() as c:
        assert paused(c) == ['No "such" one'] and c.execute("select 1").fetchone() == (1,)
        # Not what was written, not everything either: the variable of a script that is not set.
        code, out, err = pcp.run("pcp_pause", "")
        assert (code, out) == (1, "") and err.startswith('pcp_pause: Invalid database name "", must have ')
        assert pcp.run("pcp_pause", "-D", "x" * 255)[0] == 1
        assert paused(c) == ['No "such" one']


def test_who_may_not_pause_does_not(pcp):
    for name in ("pcp_pause", "pcp_resume"):
        code, out, err = pcp.run(name, user="stranger")
        assert (code, out) == (1, "") and err.startswith('FATAL:  authentication failed for user "stranger"\n')
    with dial(pcp) as s:
        s.sendall(packet("U", b"\0"))
        assert b"connection not authorized" in all_of(s)
    with pcp.proxy.connect() as c:
        assert paused(c) == [] and c.execute("select 1").fetchone() == (1,)


def test_a_pause_whose_asker_has_gone_is_seen_and_ends(start_proxy):
    pcp = Pcp(start_proxy({"pause_timeout": 3}, {"pcp.conf": USERS}, fresh=True))
    with pcp.proxy.connect(dbname="postgres") as boss, pcp.proxy.connect() as c:
        with dial(pcp) as s:
            log_in(s)
            s.sendall(packet("U", b"test\0"))
        wait_until(lambda: 'new work in database "test" is held for at most 3 s' in pcp.proxy.log(), "the pause")
        wait_until(lambda: 'It comes from user "postgres" at 127.0.0.1' in pcp.proxy.log(), "who paused, in the log")
        # Whether it waited or came after the end: no error, and it is served.
        assert c.execute("select 1").fetchone() == (1,)
        wait_until(lambda: 'pause_timeout is over, new work in database "test" goes on' in pcp.proxy.log(), "its end")
        assert paused(boss) == []
        pcp.proxy.settings["pause_timeout"] = 0
        pcp.proxy.reload()
        wait_until(lambda: "name : pause_timeout\nvalue: 0\n" in pcp.ok("pcp_pool_status"), "the new limit")
        with dial(pcp) as s:
            log_in(s)
            s.sendall(packet("U", b"test\0"))
        wait_until(lambda: paused(boss) == ["test"], "the pause to be seen")
        held = Later(lambda: c.execute("select 1").fetchone())
        wait_until(lambda: waiting(boss) == 1, "a session to wait")
        assert pcp.ok("pcp_resume", "test")
        assert held.result() == (1,) and paused(boss) == []


def test_the_thousand_and_first_pause_is_refused(pcp, nobody_paused):
    with dial(pcp) as s:
        log_in(s)
        answers = s.makefile("rb")
        for i in range(1000):
            s.sendall(packet("U", b"d%d\0" % i))
            header = answers.read(5)
            assert header[:1] == b"u"
            answers.read(struct.unpack("!I", header[1:])[0] - 4)
        assert pcp.run("pcp_pause", "test") == (
            1, "", 'ERROR:  could not pause database "test"\nDETAIL:  1000 databases are paused already.\n\n')
        with pcp.proxy.connect() as c:
            with pytest.raises(psycopg.errors.ProgramLimitExceeded, match='could not pause database "test"'):
                c.execute("pgpool pause test")
            assert c.execute("select 1").fetchone() == (1,)
            pcp.ok("pcp_resume", "d7")
            assert pcp.ok("pcp_pause", "test")
            assert "test" in paused(c)
            pcp.ok("pcp_resume")
            assert paused(c) == [] and c.execute("select 1").fetchone() == (1,)


# ---- the original's server

@pytest.fixture(scope="module")
def original(cluster):
    proxy = Proxy(cluster, kind="pgpool", name="original")
    proxy.settings["health_check_period"] = 3600  # one round, whose figures then stand still
    proxy.files["pcp.conf"] = USERS
    proxy.start()
    made = Pcp(proxy)
    wait_until(lambda: made.run("pcp_node_count")[0] == 0, "its PCP")  # which comes after the port for SQL
    yield made
    proxy.remove()
    for path in made.passes.values():
        if os.path.exists(path):
            os.unlink(path)


# ---- the original's clients

READS = [("pcp_node_count",), ("pcp_node_count", "-v"), ("pcp_node_info",), ("pcp_node_info", "-v"),
         ("pcp_node_info", "1"), ("pcp_node_info", "-n", "7"), ("pcp_pool_status",), ("pcp_pool_status", "-v"),
         ("pcp_proc_count",), ("pcp_proc_count", "-v"), ("pcp_proc_info",), ("pcp_proc_info", "-a", "-v"),
         ("pcp_proc_info", "99999"), ("pcp_health_check_stats", "7"), ("pcp_watchdog_info",), ("pcp_log_rotate",),
         ("pcp_invalidate_query_cache",), ("pcp_promote_node", "0"), ("pcp_promote_node", "9"),
         ("pcp_recovery_node", "0"), ("pcp_reload_config",)]


@pytest.mark.skipif(not ORIGINAL, reason="needs scripts/fetch_trixie and root")
@pytest.mark.parametrize("args", READS, ids=" ".join)
def test_the_original_clients_print_what_ours_print(pcp, args):
    def printed(original):
        code, out, err = pcp.run(*args, original=original)
        # The original's library keeps 79 octets of a description.
        return code, re.sub(r"^((?:desc : |Description:\t).{0,79}).*$", r"\1", out, flags=re.M), err

    with pcp.proxy.connect():  # something to show
        # Delays and times move between two calls.
        wait_until(lambda: printed(False) == printed(True), f"{args} to be printed alike")


@pytest.mark.skipif(not ORIGINAL, reason="needs scripts/fetch_trixie and root")
# Without the rows of processes: those of the original change on their own from one call to the next.
@pytest.mark.parametrize("args", [*(a for a in READS if a[0] != "pcp_proc_info" or a[-1] == "99999"), ("pcp_health_check_stats", "1"), ("pcp_health_check_stats", "-v", "0"),
                                  ("pcp_attach_node", "1"), ("pcp_promote_node", "-s", "0")], ids=" ".join)
def test_our_clients_print_what_the_original_clients_print_of_its_server(original, args):
    with original.proxy.connect():  # something to show
        # Delays and times move between two calls.
        wait_until(lambda: original.run(*args) == original.run(*args, original=True), f"{args} to be printed alike")


@pytest.mark.skipif(not ORIGINAL, reason="needs scripts/fetch_trixie and root")
def test_our_clients_change_nodes_of_the_original_server(original):
    assert original.ok("pcp_detach_node", "2") == "pcp_detach_node -- Command Successful\n"
    wait_until(lambda: original.nodes()[2][2] == "3", "node 2 to be down")
    assert original.ok("pcp_attach_node", "2") == "pcp_attach_node -- Command Successful\n"
    wait_until(lambda: original.nodes()[2][2] in "12", "node 2 to be used again")
    for args in (("pcp_node_count",), ("pcp_pool_status",)):
        assert original.run(*args, user="stranger") == original.run(*args, user="stranger", original=True)


@pytest.mark.skipif(not ORIGINAL, reason="needs scripts/fetch_trixie and root")
@pytest.mark.parametrize("name, letter", [("pcp_pause", "U"), ("pcp_resume", "Y")])
def test_the_original_server_does_not_know_pauses(original, name, letter):
    assert original.run(name, "test") == (
        1, "", f'FATAL:  PCP processing request\nDETAIL:  unknown PCP packet type "{letter}"\n'
        "HINT:  This server does not have the command; it is of another release or product.\n\n")
    # Its process has ended over that; who comes before the next one is there may find the connection reset.
    wait_until(lambda: original.run("pcp_node_count") == (0, "3\n", ""), "the next process")


@pytest.mark.skipif(not ORIGINAL, reason="needs scripts/fetch_trixie and root")
def test_health_check_stats_are_the_same_to_both_clients_and_to_show(start_proxy):
    """Every field with its value: one round of checks, then none for an hour."""
    pcp = Pcp(start_proxy({"health_check_period": 3600}, {"pcp.conf": USERS}, fresh=True))

    def shown():
        with pcp.proxy.connect() as c:
            return c.execute("show pool_health_check_stats").fetchall()
    wait_until(lambda: all(row[7] == "1" for row in shown()), "a check of each node")
    for row in shown():
        for more in ((), ("-v",)):
            ours = pcp.ok("pcp_health_check_stats", *more, row[0])
            assert ours == pcp.ok("pcp_health_check_stats", *more, row[0], original=True)
        values = [line.partition(":")[2].strip() for line in ours.splitlines()]
        assert [value for value in row if value] == [value for value in values if value]


@pytest.mark.skipif(not ORIGINAL, reason="needs scripts/fetch_trixie and root")
def test_the_original_clients_change_nodes(pcp):
    assert pcp.ok("pcp_detach_node", "2", original=True) == "pcp_detach_node -- Command Successful\n"
    wait_until(lambda: pcp.nodes()[2][2] == "3", "node 2 to be down")
    assert pcp.ok("pcp_attach_node", "2", original=True) == "pcp_attach_node -- Command Successful\n"
    wait_until(lambda: pcp.nodes()[2][2] in "12", "node 2 to be used again")
    health = pcp.ok("pcp_health_check_stats", "-v", "1", original=True)
    assert [line.split(":")[0] for line in health.splitlines()] == \
        [line.split(":")[0] for line in pcp.ok("pcp_health_check_stats", "-v", "1").splitlines()]
    assert pcp.run("pcp_node_count", original=True, user="stranger") == pcp.run("pcp_node_count", user="stranger")


# ---- whoever else comes along

def packet(letter, payload=b""):
    return letter.encode() + struct.pack("!I", len(payload) + 4) + payload


def dial(pcp):
    s = socket.create_connection(("127.0.0.1", pcp.proxy.pcp_port), timeout=60)
    return s


def all_of(s):
    """Everything up to the end of the stream."""
    out = b""
    while part := s.recv(65536):
        out += part
    return out


def log_in(s):
    s.sendall(packet("M"))
    salt = s.recv(100)[5:9]
    digest = lambda text: hashlib.md5(text).hexdigest().encode()
    s.sendall(packet("R", b"postgres\0" + digest(digest(digest(PASSWORD.encode()) + b"postgres") + salt) + b"\0"))
    assert s.recv(100) == packet("r", b"AuthenticationOK\0")


@pytest.mark.parametrize("octets, words", [
    (packet("L"), b"connection not authorized"),
    (packet("T", b"f"), b"connection not authorized"),
    (b"M\0\0\0\0", b"incorrect packet length (0)"),
    (b"M\0\0\1\4", b"incorrect packet length (260)"),
    (b"M\x7f\xff\xff\xff", b"incorrect packet length (2147483647)"),
    (b"M\xff\xff\xff\xff" + b"x" * 100000, b"incorrect packet length (-1)"),
    (b"GET / HTTP/1.0\r\n\r\n", b"incorrect packet length (1163141167)"),
    (packet("R", b"postgres\0" + b"0" * 32 + b"\0"), b"authentication failed"),
    (packet("?"), b"unknown PCP packet type"),
])
def test_hostile_bytes(pcp, octets, words):
    with dial(pcp) as s:
        s.sendall(octets)
        answer = all_of(s)
        assert answer[:1] == b"E" and b"SFATAL\0" in answer and words in answer
    assert pcp.ok("pcp_node_count") == "3\n"


def test_hostile_bytes_after_the_login(pcp):
    for octets in (packet("I"), packet("J", b"1"), packet("C", b"x\0"), b"I\0\0\0\3", packet("\x01")):
        with dial(pcp) as s:
            log_in(s)
            s.sendall(octets)
            assert b"SFATAL\0" in all_of(s)
    assert pcp.ok("pcp_node_count") == "3\n"


def test_requests_in_pieces_and_in_one(pcp):
    with dial(pcp) as s:
        log_in(s)
        for octet in packet("L"):
            s.sendall(bytes([octet]))
        assert s.recv(100) == packet("l", b"CommandComplete\x003\0")
        s.sendall(packet("L") * 2000)
        wanted = packet("l", b"CommandComplete\x003\0") * 2000
        got = b""
        while len(got) < len(wanted):
            got += s.recv(65536)
        assert got == wanted
        s.sendall(packet("X"))
        assert all_of(s) == b""


def test_half_packets_hold_nobody_up(start_proxy):
    proxy = start_proxy({"authentication_timeout": 3}, {"pcp.conf": USERS})
    pcp = Pcp(proxy)
    with dial(pcp) as silent, dial(pcp) as half, dial(pcp) as served:
        half.sendall(b"M\0\0")
        log_in(served)
        assert pcp.ok("pcp_node_count") == "3\n"
        for s in (silent, half):
            assert b"PCP authentication timed out" in all_of(s)
        served.sendall(packet("L"))
        assert served.recv(100).startswith(b"l")


def test_clients_that_go_in_the_middle(pcp):
    for _ in range(50):
        with dial(pcp) as s:
            log_in(s)
            s.sendall(packet("B") + packet("I", b"-1\0"))
    assert pcp.ok("pcp_node_count") == "3\n"


def test_a_thousand_connections(pcp):
    sockets = []
    try:
        for _ in range(1000):
            sockets.append(dial(pcp))
        # Those that are served get a challenge, some hear why not, the others wait outside.
        sockets[0].sendall(packet("M"))
        assert sockets[0].recv(100).startswith(b"m")
        assert b"too many PCP clients" in all_of(sockets[150])
        with pcp.proxy.connect() as c:
            assert c.execute("select 1").fetchone() == (1,)
    finally:
        for s in sockets:
            s.close()
    wait_until(lambda: pcp.run("pcp_node_count")[1] == "3\n", "PCP to be served again")
    fds = os.listdir(f"/proc/{pcp.proxy.process.pid}/fd")
    wait_until(lambda: len(os.listdir(f"/proc/{pcp.proxy.process.pid}/fd")) < 100, f"{len(fds)} descriptors to be closed")
