"""wd_cli: against the original's watchdog, beside the original's own wd_cli, and against peers that are no watchdog."""
import json
import os
import re
import shutil
import socket
import struct
import subprocess
import threading

import pytest

from support import system
from support.proxy import Proxy, herdgate_binary
from support.system import wait_until

pytestmark = pytest.mark.herdgate_only
KEY = "s3cret key"
INFORMED = "INFO: informed watchdog about node id {} is {}\n"
ORIGINAL = os.path.exists(f"{system.TRIXIE}/usr/sbin/wd_cli") and os.getuid() == 0
needs_original = pytest.mark.skipif(not ORIGINAL, reason="needs scripts/fetch_trixie and root")


def program():
    beside = f"{os.path.dirname(herdgate_binary())}/wd_cli"
    return beside if os.path.exists(beside) else os.path.join(system.ROOT, "build", "tools", "wd_cli")


def wd_cli(*args, command=None):
    """(exit code, stdout, stderr)"""
    done = subprocess.run([*(command or [program()]), *args], stdin=subprocess.DEVNULL, capture_output=True, text=True,
                          timeout=120)
    return done.returncode, done.stdout, done.stderr


# ---- the original's watchdog

class Watchdog:
    """One pgpool of three that are configured; the others never come."""

    def __init__(self, cluster):
        self.proxy = Proxy(cluster, kind="pgpool", name="watchdog")
        self.ports = system.free_ports(3)
        self.proxy.settings.update({"backend_clustering_mode": "raw", "use_watchdog": True, "wd_authkey": KEY,
                                    "wd_lifecheck_method": "external"})
        for node, port in enumerate(self.ports):
            self.proxy.settings.update({f"hostname{node}": "127.0.0.1", f"wd_port{node}": port,
                                        f"pgpool_port{node}": self.proxy.port + node})
        self.proxy.files["pgpool_node_id"] = "0\n"
        self.proxy.start()

    def ours(self, *args):
        return wd_cli("-f", f"{self.proxy.folder}/pgpool.conf", "-s", self.proxy.folder, *args)

    def theirs(self, *args):
        return wd_cli("-f", f"{self.proxy.inner}/pgpool.conf", *args, command=[system.IN_TRIXIE, "/usr/sbin/wd_cli"])

    def states(self):
        code, out, err = self.ours("-i", "-a")
        assert (code, err) == (0, "")
        return re.findall(r'^\d+ \d+ "([A-Z ]+)"', out, re.M)

    def told(self, text):
        wait_until(lambda: text in self.proxy.log(), f"{text} in the watchdog's log")


@pytest.fixture(scope="module")
def watchdog(cluster):
    made = Watchdog(cluster)
    yield made
    made.proxy.remove()


def plain(done):
    """Without the status code of a short line, which is 0 for every state in the original."""
    code, out, err = done
    return code, re.sub(r"^(\d+) \d+ ", r"\1 ", out, flags=re.M), err


@needs_original
@pytest.mark.parametrize("args", [
    ("-i",), ("-i", "-v"), ("-i", "-a"), ("-i", "-a", "-v", "-n", "1"), ("-i", "-n", "0"), ("-i", "-v", "-n", "1"),
    ("-i", "-n", "9"), ("-i", "-H", "nowhere"), ("-i", "-N", "Not_Set", "-n", "2"), ("-i", "-P", "1"),
    ("-I", "DEAD", "-n", "9"), ("-i", "-I", "DEAD"), ("-i", "-n", "abc"), ("-i", "-n", "-1"), ("-i", "-P", "x"),
    ("-i", "-p", "x")], ids=" ".join)
def test_printed_as_the_original_prints_it(watchdog, args):
    assert plain(watchdog.ours(*args)) == plain(watchdog.theirs(*args))


@needs_original
def test_the_version_of_the_original():
    for word in ("-V", "--version"):
        assert wd_cli(word) == wd_cli(word, command=[system.IN_TRIXIE, "/usr/sbin/wd_cli"])
    assert wd_cli("--help")[0] == wd_cli("-h")[0] == 0


@needs_original
def test_a_node_is_told_dead_and_alive(watchdog):
    port = str(watchdog.ports[1])
    assert watchdog.states()[0] == "LEADER"
    assert watchdog.ours("-I", "DEAD", "-P", port, "-m", 'no "beat"') == (0, "", INFORMED.format(1, "dead"))
    wait_until(lambda: watchdog.states()[1] == "LOST", "the node to be lost")
    watchdog.told('DETAIL:  no "beat"')
    assert watchdog.ours("--inform=alive", "--node-id", "1", "-v") == (0, "", INFORMED.format(1, "alive"))
    watchdog.told("became reachable again")
    assert watchdog.theirs("-I", "DEAD", "-n", "2")[0] == 0
    assert watchdog.states() == ["LEADER", "LOST", "LOST"]
    line = watchdog.ours("-i", "-n", "2")[1].splitlines()[1]
    assert line == f'2 8 "LOST""Not_Set""127.0.0.1" {watchdog.ports[2]} {watchdog.proxy.port + 2}'


@needs_original
def test_no_node_is_guessed(watchdog):
    """The original takes the first that fits: this node itself, whose pgpool then ends."""
    code, out, err = watchdog.ours("-I", "DEAD")
    assert (code, out) == (1, "") and err.startswith("ERROR: Missing node")
    code, out, err = watchdog.ours("-I", "DEAD", "-H", "127.0.0.1")
    assert (code, out) == (1, "") and "These nodes fit: 0, 1, 2." in err
    assert watchdog.states()[0] == "LEADER"
    assert len(watchdog.ours("-i", "-H", "127.0.0.1")[1].splitlines()) == 4


@needs_original
def test_the_key(watchdog):
    for args in (("-i", "-k", "wrong"), ("-i", "-k", ""), ("-I", "DEAD", "-n", "1", "-k", "wrong")):
        code, out, err = watchdog.ours(*args)
        assert (code, out) == (1, "") and "The watchdog answered: authentication failed: invalid KEY." in err
        assert watchdog.theirs(*args)[0] != 0
    reached = ("-s", watchdog.proxy.folder, "-p", str(watchdog.ports[0]), "-i", "-a")
    assert wd_cli(*reached)[0] == 1
    code, out, err = wd_cli(*reached, "-k", KEY)
    assert (code, err) == (0, "") and out.count("\n") == 4


@needs_original
def test_debug_hides_the_key(watchdog):
    code, out, err = watchdog.ours("-d", "-i", "-a")
    assert code == 0 and out == watchdog.ours("-i", "-a")[1]
    assert "DEBUG: send to" in err and '"NodeCount":3' in err and KEY not in err


# ---- peers that are no watchdog

NODES = [{"ID": n, "State": 7, "NodeName": f"s{n}:9999 Linux s{n}", "HostName": f"s{n}", "StateName": "STANDBY", "WdPort": 9000,
          "PgpoolPort": 9999} for n in range(2)]


def packet(letter, body, length=None):
    body = body if isinstance(body, bytes) else json.dumps(body).encode() + b"\0"
    return letter.encode() + struct.pack(">I", len(body) if length is None else length) + body


LIST = packet("7", {"WatchdogNodes": NODES})


class Peer:
    """Answers each request as react(its letter) says: octets, or a function of the connection; then closes."""

    def __init__(self, react):
        self.react, self.requests, self.over = react, [], threading.Event()
        self.folder = system.scratch("peer")
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.bind(f"{self.folder}/.s.PGPOOLWD_CMD.9000")
        self.socket.listen(5)
        self.thread = threading.Thread(target=self.serve)
        self.thread.start()

    def serve(self):
        while True:
            try:
                connection, _ = self.socket.accept()
            except OSError:
                return
            with connection:
                head = connection.recv(5, socket.MSG_WAITALL)
                self.requests.append((head[:1].decode(), connection.recv(struct.unpack(">I", head[1:])[0], socket.MSG_WAITALL)))
                answer = self.react(head[:1].decode())
                try:
                    answer(connection) if callable(answer) else connection.sendall(answer)
                except OSError:
                    pass  # it has heard enough

    def run(self, *args):
        return wd_cli("-s", self.folder, *args)

    def close(self):
        self.over.set()
        self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()
        self.thread.join()
        shutil.rmtree(self.folder)


@pytest.fixture
def peer():
    made = []

    def make(react):
        made.append(Peer(react))
        return made[-1]
    yield make
    for each in made:
        each.close()


@pytest.mark.parametrize("answer, words", [
    (b"", "It closed the connection without an answer."),
    (LIST[:3], "It closed the connection after 3 octets."),
    (LIST[:-1], f"It closed the connection after {len(LIST) - 1} octets."),
    (packet("7", b"", 0xffffffff), "It announces 4294967295 octets"),
    (packet("7", b"", (1 << 20) + 1), "more than the 1048576 that are read"),
    (packet("7", b""), "The answer is no JSON."),
    (packet("7", b"[" * 100000), "The answer is no JSON."),
    (packet("7", {"WatchdogNodes": 1}), "no array WatchdogNodes"),
    (packet("7", {"WatchdogNodes": [*NODES, {"ID": 2}]}), "Entry 2 of it is not a whole node."),
    (packet("7", {"WatchdogNodes": NODES * 65}), "It has more than 128 nodes."),
    (packet("5", b""), "about to change its leader"),
    (packet("6", b""), "The watchdog refused the request."),
    (packet("6", {"MESSAGE": "\x1b[2Jno"}), "The watchdog answered: ?[2Jno."),
    (packet("8", b""), "the time was over"),
    (b"HTTP/1.1 400 Bad Request\r\n\r\n", "It announces 1414811695 octets"),
])
def test_an_answer_that_is_none(peer, answer, words):
    there = peer(lambda _: answer)
    for args in (("-i", "-a"), ("-I", "DEAD", "-n", "1")):
        code, out, err = there.run(*args)
        assert (code, out) == (1, "") and err.startswith("ERROR: ") and words in err and "\x1b" not in err
    assert {letter for letter, _ in there.requests} == {"3"}


@pytest.mark.parametrize("answer, words", [
    (packet("6", {"MESSAGE": "nope"}), "The watchdog answered: nope."), (packet("5", b""), "about to change its leader"),
    (packet("8", b""), "the time was over"), (packet("x", b""), "unknown kind (120)"),
    (b"7\0", "It closed the connection after 2 octets")])
def test_a_state_that_is_not_taken(peer, answer, words):
    code, out, err = peer(lambda letter: LIST if letter == "3" else answer).run("-I", "DEAD", "-n", "1")
    assert (code, out) == (1, "") and words in err and "INFO" not in err


@pytest.mark.parametrize("answer", [b"", packet("7", b""), packet("7", {})], ids=["end", "empty", "json"])
def test_a_state_that_is_taken(peer, answer):
    there = peer(lambda letter: LIST if letter == "3" else answer)
    assert there.run("-I", "ALIVE", "-N", "S1:9999 linux s1", "-k", "key") == (0, "", INFORMED.format(1, "alive"))
    assert [(letter, json.loads(body)) for letter, body in there.requests] == [
        ("3", {"NodeID": -1, "IPCAuthKey": "key"}), ("2", {"NodeID": 1, "NodeStatus": 2, "IPCAuthKey": "key"})]


def test_a_watchdog_that_says_nothing_is_given_up(peer):
    """Silent, or so slow that the answer would never be whole, or its queue full: all at once, since each takes its time."""
    def drip(connection):
        connection.sendall(packet("7", b"", 1000))
        while not there[1].over.wait(0.2):
            connection.sendall(b" ")

    there = [peer(lambda _: lambda c: there[0].over.wait()), peer(lambda _: drip),
             peer(lambda letter: LIST if letter == "3" else lambda c: there[2].over.wait())]
    folder = system.scratch("full")
    with socket.socket(socket.AF_UNIX) as full:
        full.bind(f"{folder}/.s.PGPOOLWD_CMD.9000")
        full.listen(0)
        waiting = []
        while True:
            waiting.append(socket.socket(socket.AF_UNIX))
            waiting[-1].setblocking(False)
            try:
                waiting[-1].connect(full.getsockname())
            except BlockingIOError:
                break
        runs = [(there[0].folder, "-i"), (there[1].folder, "-i"), (there[2].folder, "-I", "DEAD", "-n", "0"), (folder, "-i")]
        started = [subprocess.Popen([program(), "-s", *words], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                    stderr=subprocess.PIPE, text=True) for words in runs]
        for number, process in enumerate(started):
            out, err = process.communicate(timeout=120)
            assert (process.returncode, out) == (1, "")
            assert ("the watchdog did not answer" if number < 3 else "Connection timed out") in err and "INFO" not in err
    for each in waiting:
        each.close()
    shutil.rmtree(folder)


def test_no_watchdog():
    folder = system.scratch("none")
    try:
        code, out, err = wd_cli("-i", "-s", folder)
        assert (code, out) == (1, "")
        assert f'ERROR: could not connect to the watchdog\nDETAIL: "{folder}/.s.PGPOOLWD_CMD.9000": No such file' in err
        with socket.socket(socket.AF_UNIX) as left:  # by a pgpool that was killed
            left.bind(f"{folder}/.s.PGPOOLWD_CMD.9000")
        assert "Connection refused.\nHINT: Does pgpool run with use_watchdog = on?" in wd_cli("-i", "-s", folder)[2]
        assert "File name too long" in wd_cli("-i", "-s", "/" + "x" * 200)[2]
        code, out, err = wd_cli("-i", "-f", f"{folder}/pgpool.conf")
        assert (code, out) == (1, "") and "ERROR: could not read the configuration" in err
    finally:
        shutil.rmtree(folder)
