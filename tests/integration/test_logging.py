"""The log: what each parameter makes of it, the collector and its files, and what it does when it cannot be written."""
import fcntl
import glob
import hashlib
import json
import os
import re
import shutil
import socket
import struct
import subprocess
import threading

import psycopg
import pytest

from support import system
from support.cluster import Cluster
from support.proxy import Proxy
from support.system import wait_until
from support.wire import (COPY_DONE, FLUSH, SYNC, TERMINATE, Client, Closed, bind, close, copy_data, copy_fail, describe, execute,
                          kinds, message, parse, query)

pytestmark = pytest.mark.herdgate_only
TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
NODE = r"DB node id: 0 backend pid: \d+ statement: "

# What is set, what the client does, and the lines that come of it, in order. Prefix: "P=%P a=%a u=%u d=%d: ". The lines
# are those that Pgpool-II 4.6.1 prints, with its names of processes.
SESSION = r"P=CHILD a=tester u=postgres d=test: LOG:  "
EXPECTED = [
    ("log_statement", {"log_statement": True}, "select 1", [r"statement: select 1"]),
    ("log_statement, extended", {"log_statement": True}, ("select %s::int", (1,)), [r"statement: select \$1::int"]),
    ("log_per_node_statement", {"log_per_node_statement": True}, "select 1", [NODE + "select 1"]),
    ("log_per_node_statement, extended", {"log_per_node_statement": True}, ("select %s::int", (1,)),
     [NODE + r"Parse: select \$1::int", NODE + r"Bind: select \$1::int", NODE + "D message",
      NODE + r"Execute: select \$1::int"]),
    ("an error from a server", {"log_per_node_statement": True}, "select nonsense",
     [NODE + "select nonsense",
      "pool_send_and_wait: Error or notice message from backend: DB node id: 0 backend pid: \\d+ statement: "
      "\"select nonsense\" message: \"column \"nonsense\" does not exist\""]),
    ("log_client_messages", {"log_client_messages": True}, "select 1",
     ["Query message from frontend\\.", "DETAIL:  query: \"select 1\""]),
    ("log_client_messages, extended", {"log_client_messages": True}, ("select %s::int", (1,)),
     [r"Parse message from frontend\.", r'DETAIL:  statement: "", query: "select \$1::int"',
      r"Bind message from frontend\.", r'DETAIL:  portal: "", statement: ""',
      r"Describe message from frontend\.", r'DETAIL:  portal: ""',
      r"Execute message from frontend\.", r'DETAIL:  portal: ""', r"Sync message from frontend\."]),
    ("log_backend_messages verbose", {"log_backend_messages": "verbose"}, "select 1 from generate_series(1,2)",
     [f"{m} message from backend 0" for m in ("RowDescription", "DataRow", "DataRow", "CommandComplete",
                                              "ReadyForQuery")]),
    ("log_backend_messages terse", {"log_backend_messages": "terse"}, "select 1 from generate_series(1,11)",
     ["RowDescription message from backend 0", "DataRow message from backend 0",
      "last DataRow message from backend 0 repeated 10 times", "CommandComplete message from backend 0",
      "ReadyForQuery message from backend 0"]),
    ("log_backend_messages, rows longer than a read", {"log_backend_messages": "verbose"},
     "select repeat('D', 200000) from generate_series(1,3)",
     [f"{m} message from backend 0" for m in ("RowDescription", "DataRow", "DataRow", "DataRow", "CommandComplete",
                                              "ReadyForQuery")]),
    ("terse", {"log_client_messages": True, "log_error_verbosity": "terse"}, "select 1",
     [r"Query message from frontend\."]),
    ("verbose", {"log_statement": True, "log_error_verbosity": "verbose"}, "select 1",
     ["statement: select 1", r"LOCATION:  session:\d+"]),
    ("a statement of two lines", {"log_statement": True}, "select\n1", ["statement: select", "\t1"]),
    ("text that is no SQL", {}, "no sql at all", [r'Unable to parse the query: "no sql at all" from client 127.0.0.1\(\d+\)']),
    ("text that is no SQL, extended", {}, ("no sql at all %s", (1,)),
     [r'Unable to parse the query: "no sql at all \$1" from client 127.0.0.1\(\d+\)']),
    ("an error of our own", {}, "PGPOOL EXPLAIN ROUTE",
     ["ERROR:  syntax error in PGPOOL EXPLAIN ROUTE", r"HINT:  Write PGPOOL EXPLAIN ROUTE statement\."]),
    ("an error of our own, log_min_messages", {"log_min_messages": "fatal"}, "PGPOOL EXPLAIN ROUTE", []),
    ("notice_per_node_statement", {"notice_per_node_statement": True}, "select 1", []),  # the client's alone
    ("nothing", {}, "select 1", []),
]


def run(connection, what):
    try:
        connection.execute(*((what,) if isinstance(what, str) else what))
    except psycopg.Error:
        pass


def matches(log, begin, end, lines):
    """The lines between two marks are exactly these."""
    got = log[log.index(begin) + len(begin):log.index(end)].splitlines()[1:-1]
    patterns = []
    for line in lines:
        prefix = SESSION
        if line.startswith(("ERROR", "DETAIL", "HINT", "LOCATION")):
            prefix = SESSION.replace("LOG:  ", "")
        patterns.append(line if line.startswith("\t") else prefix + line)
    return len(got) == len(patterns) and all(re.fullmatch(p, g) for p, g in zip(patterns, got)), got, patterns


@pytest.fixture(scope="module")
def one_node():
    cluster = Cluster(nodes=1)
    try:
        cluster.create().start()
        yield cluster
    finally:
        cluster.destroy()


@pytest.fixture(scope="module")
def plain(one_node):
    proxy = Proxy(one_node)
    proxy.settings.update({"log_line_prefix": "P=%P a=%a u=%u d=%d: "})
    try:
        yield proxy.start()
        proxy.stop()
    finally:
        proxy.remove()


@pytest.mark.parametrize("name, settings, what, lines", EXPECTED, ids=[e[0] for e in EXPECTED])
def test_lines(plain, marks, name, settings, what, lines):
    """Set by PGPOOL SET, in one session; the marks are statements that are logged themselves."""
    with plain.connect(application_name="tester") as c, plain.connect(application_name="marker") as m:
        m.execute("PGPOOL SET log_statement = on")
        begin, end = marks(), marks()
        run(c, "select 1")  # the link is there
        for key, value in settings.items():
            c.execute(f"PGPOOL SET {key} = {'on' if value is True else value}")
        m.execute(f"select '{begin}'")
        run(c, what)
        m.execute(f"select '{end}'")
        wait_until(lambda: end in plain.log(), "the lines")
        # What follows the mark on its own line ends it; the first line dropped is the rest of it.
        ok, got, patterns = matches(plain.log(), begin, end, lines)
        # PGPOOL SET itself is logged only where it comes before the mark.
        assert ok, (got, patterns)


def test_messages_of_a_unit_that_waits(plain, marks):
    """Its statement is asked about, and then it is served from its beginning: each message is logged once."""
    with plain.connect(application_name="tester") as c:
        c.execute("create table if not exists logged_once (a int)")
        c.execute("PGPOOL SET log_client_messages = on")
        mark = marks()
        c.execute(f"select a as {mark} from logged_once where a = %s", (1,))
        c.execute("select 'end'")
        wait_until(lambda: "select 'end'" in plain.log(), "the lines")
        of_unit = plain.log()[plain.log().index(mark):]
        assert [of_unit.count(f"{m} message from frontend.") for m in ("Bind", "Describe", "Execute", "Sync")] == [1] * 4
        assert plain.log().count(mark) == 1


def test_all_messages_of_clients(plain, marks):
    """Also those that no server is sent, and the last one."""
    with plain.connect() as c:
        c.execute("create table if not exists logged_copy (a text)")
    mark = marks()
    with Client(plain.port).login(application_name="tester") as c:
        c.ask("PGPOOL SET log_client_messages = on")
        c.send(parse(f"select '{mark}'", name="s") + describe("S", "s") + FLUSH)
        assert kinds(c.until("T")) == "1tT"
        c.send(bind(portal="p", statement="s") + execute("p") + close("P", "p") + close("S", "s") + SYNC)
        assert kinds(c.until("Z")) == "2DC33Z"
        # pg_backend_pid(): no arguments, its result as text
        c.send(message("F", struct.pack("!IHHH", 2026, 0, 0, 0)))
        assert kinds(c.until("Z")) == "VZ"
        for end in (COPY_DONE, copy_fail("no more")):
            c.send(query("copy logged_copy from stdin"))
            c.until("G")
            c.send(copy_data("row\n") + SYNC + FLUSH + end)
            c.until("Z")
        c.send(TERMINATE)
        with pytest.raises(Closed):
            c.receive()
    with Client(plain.port).login(application_name="tester") as c:
        c.ask("PGPOOL SET log_client_messages = on")
        c.send(query("copy logged_copy from stdin"))
        c.until("G")
        c.send(TERMINATE)
        with pytest.raises(Closed):
            c.receive()
    copy = ["Query", 'query: "copy logged_copy from stdin"']
    expected = ["Parse", f'statement: "s", query: "select \'{mark}\'"', "Describe", 'statement: "s"', "Flush",
                "Bind", 'portal: "p", statement: "s"', "Execute", 'portal: "p"', "Close", 'portal: "p"',
                "Close", 'statement: "s"', "Sync", "FunctionCall", 'oid: "2026"',
                *copy, "CopyData", "count: 4", "Sync", "Flush", "CopyDone",
                *copy, "CopyData", "count: 4", "Sync", "Flush", "CopyFail", "Terminate",
                *copy, "Terminate"]
    def told():
        log = plain.log()
        at = max(log.rfind("LOG:  Parse message", 0, log.find(mark)), 0)
        return re.findall(r"(?:LOG:  (\w+) message from frontend\.|DETAIL:  (.*))\n", log[at:])
    wait_until(lambda: [a or b for a, b in told()].count("Terminate") >= 2, "the lines")
    assert [a or b for a, b in told()] == expected


def test_levels_are_back_behind_reset_all(plain, marks):
    """PGPOOL RESET ALL, as each RESET."""
    with plain.connect(application_name="tester") as c:
        c.execute("PGPOOL SET log_min_messages TO debug1")
        c.execute("PGPOOL RESET ALL")
        c.execute("PGPOOL SET client_idle_limit_in_recovery TO -1")
        c.execute("PGPOOL RESET client_idle_limit_in_recovery")
        before = plain.log().count("DEBUG")
        c.execute("select 1")
        c.execute("PGPOOL SET log_statement = on")
        mark = marks()
        c.execute(f"select '{mark}'")
        wait_until(lambda: mark in plain.log(), "the line")
        assert plain.log().count("DEBUG") == before


def test_connections(one_node):
    proxy = Proxy(one_node)
    proxy.settings.update({"log_line_prefix": "P=%P a=%a u=%u d=%d %l: ", "log_connections": True,
                           "log_disconnections": True, "log_client_messages": True, "log_hostname": False})
    try:
        proxy.start()
        with proxy.connect(application_name="tester") as c:
            c.execute("select 1")
            c.cancel()
        with proxy.connect() as c:  # says no name
            c.execute("select 1")
        with proxy.connect(host=proxy.folder, application_name="neighbour") as c:
            run(c, "no sql at all")
        ended = r"frontend disconnection: session time: .* user=postgres database=test .* port=\d+\n"
        wait_until(lambda: len(re.findall(ended, proxy.log())) >= 2 and "DETAIL:  process id: " in proxy.log() and
                   "database=test host=[local]" in proxy.log(), "the lines")
        log = proxy.log()
        new = r"P=CHILD a=child u=\[unknown\] d=\[unknown\] "
        assert re.search(new + r"1: LOG:  new connection received\n" + new +
                         r"2: DETAIL:  connecting host=127\.0\.0\.1 port=\d+\n", log), log
        assert re.search(r"a=tester u=postgres d=test \d+: LOG:  frontend disconnection: session time: "
                         r"0:00:\d\d\.\d{3} user=postgres database=test host=127\.0\.0\.1 port=\d+\n", log), log
        assert re.search(r"a=\[unknown\] u=postgres d=test \d+: LOG:  Query message", log), log
        assert re.search(new + r"1: LOG:  new connection received\n" + new +
                         r"2: DETAIL:  connecting host=\[local\]\n", log), log
        neighbour = r"a=neighbour u=postgres d=test \d+: LOG:  "
        assert re.search(neighbour + r'Unable to parse the query: "no sql at all" from local client\n', log), log
        assert re.search(neighbour + r"frontend disconnection: .* database=test host=\[local\]\n", log), log
        assert re.search(r"LOG:  Cancel message from frontend\.\n.*DETAIL:  process id: \d+\n", log), log
        assert "P=MAIN a=main u=[No Connection] d=[No Connection]" in log
        proxy.settings["log_hostname"] = True
        proxy.reload()
        wait_until(lambda: "configuration files reloaded" in proxy.log(), "the reload")
        proxy.connect().close()
        wait_until(lambda: "connecting host=localhost port=" in proxy.log(), "a name")
        proxy.stop()
    finally:
        proxy.remove()


def test_standby_delay(start_proxy, cluster):
    """log_standby_delay: every delay, none, or only those over delay_threshold."""
    proxy = start_proxy({"log_standby_delay": "always", "delay_threshold": 0}, fresh=True)
    late = cluster.nodes[2]

    def lines():
        return re.findall(r"LOG:  Replication of node: 2 is behind (\d+) bytes from the primary server \(node: 0\)\n",
                          proxy.log())

    def delay():
        with proxy.connect() as c:
            return next(int(r[10]) for r in c.execute("show pool_nodes").fetchall() if r[0] == "2")

    def fall_behind():
        """The proxy has seen a delay that is longer than the one before."""
        before = delay()
        cluster.primary.psql("set synchronous_commit = local; select pg_logical_emit_message(false, '', repeat('x', 2000)); "
                             "create table if not exists delay_made (); drop table delay_made")
        wait_until(lambda: delay() > before, "the proxy to see the delay")

    def set_to(**settings):
        count = proxy.log().count("configuration files reloaded")
        proxy.settings.update(settings)
        proxy.reload()
        wait_until(lambda: proxy.log().count("configuration files reloaded") > count, "the reload")

    late.psql("select pg_wal_replay_pause()")
    try:
        fall_behind()
        wait_until(lines, "the delay in the log")
        set_to(log_standby_delay="none")
        fall_behind()  # a check that began before the reload has ended
        count = len(lines())
        fall_behind()
        fall_behind()
        assert len(lines()) == count
        set_to(log_standby_delay="if_over_threshold", delay_threshold=1 << 40)
        fall_behind()
        fall_behind()
        assert len(lines()) == count
        set_to(delay_threshold=1000)
        wait_until(lambda: len(lines()) > count, "the delay over the threshold in the log")
        assert int(lines()[-1]) > 1000
    finally:
        late.psql("select pg_wal_replay_resume()")
    wait_until(lambda: delay() == 0, "the standby to be there again")


# ---- levels within one session


def told(proxy, *statements, level="notice"):
    heard = []
    with proxy.connect() as c:
        c.execute(f"PGPOOL SET client_min_messages = {level}")
        for statement in statements[:-1]:
            c.execute(statement)
        c.add_notice_handler(lambda d: heard.append((d.severity, d.message_primary, d.message_detail)))
        run(c, statements[-1])
        assert c.execute("select 41 + 1").fetchone() == (42,)
    return heard


def test_a_client_hears_of_its_own_session(plain):
    """As of the original's, but all of it at the end of the answer."""
    own = ("PGPOOL SET log_client_messages = on", "PGPOOL SET log_statement = on")
    for level in ("debug5", "debug1", "log"):
        heard = told(plain, *own, "select 1", level=level)
        assert heard[:2] == [("LOG", "Query message from frontend.", 'query: "select 1"'),
                             ("LOG", "statement: select 1", None)], heard
    for level in ("notice", "warning", "error"):
        assert told(plain, *own, "select 1", level=level) == []
    for level in ("log", "notice"):
        heard = told(plain, "PGPOOL SET notice_per_node_statement = on", "select 1", level=level)
        assert heard[0] == ("NOTICE", "DB node id: 0 statement: select 1", None), heard
    assert told(plain, "PGPOOL SET notice_per_node_statement = on", "select 1", level="warning") == []
    # Errors come once, as errors.
    heard = told(plain, "PGPOOL SET log_per_node_statement = on", "select nonsense", level="log")
    assert {h[0] for h in heard} == {"LOG"}
    assert told(plain, "PGPOOL EXPLAIN ROUTE", level="log") == []
    # In the extended protocol, and with rows of every length, nothing comes between the parts of a message.
    with plain.connect() as c:
        heard = []
        c.add_notice_handler(lambda d: heard.append(d.message_primary))
        c.execute("PGPOOL SET client_min_messages = log")
        c.execute("PGPOOL SET log_backend_messages = verbose")
        rows = c.execute("select repeat('D', n * 3) from generate_series(1, %s) n", (3000,)).fetchall()
        assert [len(r[0]) for r in rows] == [n * 3 for n in range(1, 3001)]
        assert heard.count("DataRow message from backend 0") > 100
        # Bounded: what is too much for a client is not kept.
        assert len(heard) < 3000 and heard[-1] == "more was logged about this request than its client is told"
        heard.clear()
        assert c.execute("select 1").fetchone() == (1,)
        assert "DataRow message from backend 0" in heard


def test_levels_of_one_session(plain, marks):
    quiet, loud = marks(), marks()
    with plain.connect() as c, plain.connect() as other:
        for k in (c, other):
            k.execute("PGPOOL SET log_statement = on")
        c.execute("PGPOOL SET log_min_messages = fatal")
        c.execute(f"select '{quiet}'")
        other.execute(f"select '{quiet} other'")
        c.execute("PGPOOL RESET log_min_messages")
        c.execute("PGPOOL SET log_error_verbosity = verbose")
        c.execute(f"select '{loud}'")
        wait_until(lambda: re.search(rf"statement: select '{loud}'\n.*LOCATION:  .*\n", plain.log()), "the line")
        log = plain.log()
        assert f"statement: select '{quiet}'\n" not in log and f"statement: select '{quiet} other'" in log
        assert re.search(rf"statement: select '{loud}'\n.*LOCATION:  session", log)
        assert not re.search(rf"statement: select '{quiet} other'\n.*LOCATION", log)


# ---- the collector


class Collecting(Proxy):
    """With logging_collector; lines() are those of all files."""

    def __init__(self, cluster, **settings):
        super().__init__(cluster)
        self.logs = f"{self.folder}/logs"
        self.settings.update({"logging_collector": True, "log_directory": self.logs, "log_line_prefix": "%P %l: ",
                              "log_filename": "pgpool-%H%M%S.log", **settings})
        self.files["pcp.conf"] = "postgres:" + hashlib.md5(b"secret").hexdigest() + "\n"

    def names(self, suffix=".log"):
        return sorted(glob.glob(f"{self.settings['log_directory']}/*{suffix}"))

    def text(self, suffix=".log"):
        return "".join(open(name, errors="replace").read() for name in self.names(suffix))

    def pcp(self, program, *words):
        path = f"{self.folder}/pcppass"
        with open(path, "w") as f:
            f.write("*:*:*:secret\n")
        os.chmod(path, 0o600)
        done = subprocess.run([f"{system.ROOT}/build/tools/{program}", "-w", "-h", "127.0.0.1", "-p",
                               str(self.pcp_port), "-U", "postgres", *words], stdin=subprocess.DEVNULL, text=True,
                              capture_output=True, timeout=60, env={**os.environ, "PCPPASSFILE": path})
        return done.stdout + done.stderr


@pytest.fixture
def collecting(one_node):
    made = []

    def start(**settings):
        made.append(Collecting(one_node, **settings))
        return made[-1].start()

    yield start
    for proxy in made:
        try:
            if proxy.process:
                proxy.stop()
            for name in proxy.names():
                with open(name, errors="replace") as f:
                    assert "Sanitizer" not in f.read()
        finally:
            proxy.remove()


def statement(proxy, text):
    with proxy.connect() as c:
        c.execute(text)


def test_start_and_end(collecting):
    p = collecting(log_min_messages="debug1")
    wait_until(lambda: "successfully started" in p.text(), "the start in the file")
    assert re.search(rf"MAIN \d+: LOG:  redirecting log output to logging collector process\nMAIN \d+: HINT:  Future log "
                     rf"output will appear in directory \"{p.logs}\"\.\n$", p.log()), p.log()
    assert os.stat(p.logs).st_mode & 0o777 == 0o700
    assert os.stat(p.names()[0]).st_mode & 0o777 == 0o600
    # What anything in the process says on its stderr is in the file too.
    assert os.readlink(f"/proc/{p.process.pid}/fd/2") == p.names()[0]
    p.stop()
    assert p.text().endswith("LOGGER 1: DEBUG1:  logger shutting down\n"), p.text()[-300:]


def test_reload_changes_everything_but_the_collector_itself(collecting):
    p = collecting(log_filename="one.log", log_statement=True)
    elsewhere = f"{p.folder}/elsewhere"
    p.settings.update({"log_directory": elsewhere, "log_filename": "two.log", "log_file_mode": "0640",
                       "logging_collector": False, "log_destination": "stderr,jsonlog"})
    p.write_files()
    assert "Successful" in p.pcp("pcp_reload_config")
    wait_until(lambda: os.path.exists(f"{elsewhere}/two.json"), "the new files")
    assert os.stat(f"{elsewhere}/two.log").st_mode & 0o777 == 0o640
    statement(p, "select 'after'")
    wait_until(lambda: "select 'after'" in p.text() and "select 'after'" in p.text(".json"), "the line")
    assert "a restart is needed for: logging_collector" in p.text() + open(f"{p.logs}/one.log").read()
    # By size, from now on.
    p.settings.update({"log_rotation_size": 1, "log_filename": "%H%M%S.log", "log_destination": "stderr"})
    p.reload()
    with p.connect() as c:
        def two():
            c.execute("select length('" + "x" * 2000 + "')")
            return len([n for n in p.names() if not n.endswith("two.log")]) >= 2
        wait_until(two, "two files")


def test_pcp_connections(collecting):
    p = collecting(log_min_messages="log", log_pcp_processes=True)

    def set_to(value, reloads):
        p.settings["log_pcp_processes"] = value
        p.reload()
        wait_until(lambda: p.text().count("configuration files reloaded") == reloads, "the reload")

    def ends():
        return len(re.findall(r"^PCP CHILD \d+: LOG:  PCP connection ended$", p.text(), re.M))

    assert p.pcp("pcp_node_count") == "1\n"
    wait_until(lambda: ends() == 1, "the end of the first")
    set_to(False, 1)
    assert p.pcp("pcp_node_count") == "1\n"
    set_to(True, 2)
    assert p.pcp("pcp_node_count") == "1\n"
    wait_until(lambda: ends() == 2, "the end of the third")
    assert len(re.findall(r"^PCP CHILD \d+: LOG:  new PCP connection received\n"
                          r"PCP CHILD \d+: DETAIL:  The client is 127\.0\.0\.1\(\d+\)\.$", p.text(), re.M)) == 2
    # Whoever speaks no PCP is told, and so is the log.
    with socket.create_connection(("127.0.0.1", p.pcp_port), timeout=60) as s:
        s.sendall(b"GET / HTTP/1.0\r\n\r\n")
        assert b"invalid PCP packet" in s.recv(1000)
    wait_until(lambda: re.search(r"^PCP CHILD \d+: FATAL:  invalid PCP packet\nPCP CHILD \d+: DETAIL:  incorrect packet "
                                 r"length \(\d+\)\. The client is 127\.0\.0\.1\(\d+\)\.$", p.text(), re.M), "the line")
    assert p.pcp("pcp_node_count") == "1\n"


def test_pcp_log_rotate(collecting):
    p = collecting(log_filename="pgpool.log", log_statement=True)
    statement(p, "select 'before'")
    wait_until(lambda: "before" in p.text(), "the line")
    os.rename(f"{p.logs}/pgpool.log", f"{p.logs}/pgpool.log.1")
    assert "Successful" in p.pcp("pcp_log_rotate")
    wait_until(lambda: os.path.exists(f"{p.logs}/pgpool.log"), "the new file")
    statement(p, "select 'after'")
    wait_until(lambda: "after" in p.text(), "the line")
    assert "before" not in p.text() and "before" in open(f"{p.logs}/pgpool.log.1").read()
    assert p.pcp("pcp_log_rotate", "-s", "cluster").splitlines()[:2] == [
        "ERROR:  PCP: error while processing log rotation request for cluster", "DETAIL:  watchdog is not enabled"]


def test_pcp_log_rotate_under_load(collecting):
    p = collecting(log_filename="pgpool.log", log_statement=True, log_rotation_age=0, log_rotation_size=0)
    over = threading.Event()
    said = {client: 0 for client in range(3)}

    def speak(client):
        with p.connect() as c:
            while not over.is_set():
                c.execute(f"select 'line {said[client]} of {client}'")
                said[client] += 1

    speakers = [threading.Thread(target=speak, args=(client,)) for client in said]
    for speaker in speakers:
        speaker.start()
    try:
        for turn in range(12):
            have = sum(said.values())
            wait_until(lambda: sum(said.values()) > have + 50, "some lines")
            os.rename(f"{p.logs}/pgpool.log", f"{p.logs}/pgpool.{turn:02}.log")
            assert "Successful" in p.pcp("pcp_log_rotate")
            wait_until(lambda: os.path.exists(f"{p.logs}/pgpool.log"), "the new file")
    finally:
        over.set()
        for speaker in speakers:
            speaker.join()
    p.stop()
    lines = [line for name in p.names() for line in open(name)]  # pgpool.log is the last one by name, too
    for client, count in said.items():
        found = [m.group(1) for m in (re.fullmatch(rf"CHILD \d+: LOG:  statement: select 'line (\d+) of {client}'\n", line)
                                      for line in lines) if m]
        assert found == [str(n) for n in range(count)]


@pytest.mark.long
def test_rotation_by_age_after_a_reload(collecting):
    """log_rotation_age and log_truncate_on_rotation: waits for the clock's next minute."""
    emptied, appended = (collecting(log_filename="%M.log", log_rotation_age=0, log_rotation_size=0) for _ in range(2))
    for p in (emptied, appended):
        first = os.path.basename(p.names()[0])
        for minute in range(60):
            if f"{minute:02}.log" != first:
                with open(f"{p.logs}/{minute:02}.log", "w") as f:
                    f.write("an hour old\n")
                system.give(f"{p.logs}/{minute:02}.log")
        p.settings.update({"log_rotation_age": "1min", "log_truncate_on_rotation": p is emptied, "log_statement": True})
        p.reload()
        wait_until(lambda: "configuration files reloaded" in p.text(), "the reload")

        def changed():
            statement(p, "select 'still here'")
            now = [n for n in p.names() if os.path.basename(n) != first and "still here" in open(n).read()]
            return now[0] if now else None

        now = wait_until(changed, "the next minute's file", 90)
        assert open(now).read().startswith("an hour old\n") == (p is appended)


def test_logrotate(collecting):
    """The configuration that we ship, with this server's paths, under the real program and under load."""
    program = shutil.which("logrotate") or "/usr/sbin/logrotate"
    if not os.path.exists(program):
        pytest.skip("needs logrotate")
    p = collecting(log_filename="pgpool.log", log_statement=True, log_rotation_age=0, log_rotation_size=0)
    with open(f"{system.ROOT}/share/pgpool.logrotate") as f:
        text = f.read().replace("/var/log/pgpool", p.logs).replace("/var/run/pgpool", p.folder)
    if os.getuid() != 0:
        text = re.sub(r"\n *su .*", "", text)
    text = text.replace("    compress\n    delaycompress\n", "")
    conf = f"{p.folder}/logrotate.conf"
    with open(conf, "w") as f:
        f.write(text)
    os.chmod(conf, 0o644)
    over = threading.Event()
    said = []

    def speak():
        with p.connect() as c:
            while not over.is_set():
                said.append(f"line {len(said)} of it")
                c.execute(f"select '{said[-1]}'")

    speaker = threading.Thread(target=speak)
    speaker.start()
    try:
        for turn in range(3):
            have = len(said)
            wait_until(lambda: len(said) > have + 50, "some lines")
            before = os.stat(f"{p.logs}/pgpool.log").st_ino
            subprocess.run([program, "-f", "-s", f"{p.folder}/state", conf], check=True, timeout=60)
            wait_until(lambda: os.path.exists(f"{p.logs}/pgpool.log") and
                       os.stat(f"{p.logs}/pgpool.log").st_ino != before, "the new file")
    finally:
        over.set()
        speaker.join()
    wait_until(lambda: said[-1] in p.text(), "the last line")
    assert {"pgpool.log", "pgpool.log.1", "pgpool.log.2", "pgpool.log.3"} <= set(os.listdir(p.logs))
    lines = [line for name in sorted(glob.glob(f"{p.logs}/pgpool.log*"), reverse=True) for line in open(name)]
    assert [m.group(1) for m in (re.fullmatch(r"CHILD \d+: LOG:  statement: select '(line \d+ of it)'\n", line)
                                 for line in lines) if m] == said


@pytest.mark.skipif(os.getuid() != 0, reason="mounts a small file system")
def test_a_full_disk(one_node):
    """Statements go on, no line is cut, it is said where the terminal was, and with room again the log goes on."""
    small = system.scratch("small")
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=512k,mode=777", "none", small]).returncode != 0:
        pytest.skip("cannot mount here")
    p = Collecting(one_node, log_directory=f"{small}/logs", log_statement=True)
    try:
        p.start()
        with open(f"{small}/filler", "wb") as f:
            f.write(b"x" * 300_000)
        said = 0
        with p.connect() as c:
            while "could not write to log file: No space left on device" not in p.log():
                said += 1
                assert c.execute("select length('{}')".format("y" * 3000)).fetchone() == (3000,)
                assert said < 5000
            for _ in range(50):
                said += 1
                c.execute("select length('{}')".format("y" * 3000))
            os.remove(f"{small}/filler")
            wait_until(lambda: p.text().count("statement: select length") == said, "every line to be there")
        assert all(re.match(r"(MAIN|CHILD|LOGGER|PCP CHILD) \d+: [A-Z]+:  ", line) for line in p.text().splitlines())
        assert re.search(r"LOGGER \d+: WARNING:  could not write to log file for \d+ s: No space left on device\n", p.text())
        assert "lost" not in p.text()
        p.stop()
    finally:
        p.remove()
        subprocess.run(["umount", "-l", small], check=True)
        os.rmdir(small)


def test_a_vanished_folder(collecting):
    p = collecting(log_statement=True)
    statement(p, "select 'before'")
    wait_until(lambda: "before" in p.text(), "the line")
    shutil.rmtree(p.logs)
    statement(p, "select 'after'")
    wait_until(lambda: "after" in p.text(), "a new file in a new folder")
    wait_until(lambda: "was removed, " in p.text(), "the warning")
    assert os.stat(p.logs).st_mode & 0o777 == 0o700
    # One that cannot be made: statements go on, it is said, and the lines come when it can.
    shutil.rmtree(p.logs)
    open(p.logs, "w").close()
    statement(p, "select 'much later'")
    wait_until(lambda: "could not write to log file: " in p.log(), "the alarm")
    os.remove(p.logs)
    wait_until(lambda: os.path.isdir(p.logs) and "much later" in p.text(), "the line")


def test_a_new_folder_that_cannot_be_made(collecting):
    p = collecting(log_statement=True, log_filename="a.log")
    p.settings["log_directory"] = f"{p.folder}/no/such"
    p.reload()
    old = f"{p.logs}/a.log"
    wait_until(lambda: "disabling automatic rotation (use SIGHUP to re-enable)" in open(old).read(), "the message")
    assert f'could not open log file "{p.folder}/no/such": No such file or directory' in open(old).read()
    statement(p, "select 'still here'")
    wait_until(lambda: "still here" in open(old).read(), "the line")
    os.mkdir(f"{p.folder}/no")
    system.give(f"{p.folder}/no")
    p.reload()
    wait_until(lambda: os.path.exists(f"{p.folder}/no/such/a.log"), "and it recovers")


@pytest.mark.parametrize("name", ["log_directory", "log_filename"])
def test_an_empty_name(collecting, name):
    """Refused by name; also when the file says that nothing is collected, which a reload cannot change."""
    p = collecting(log_statement=True, log_filename="a.log")
    old, usual = f"{p.logs}/a.log", p.settings[name]

    def reload_with(more, words):
        count = open(old).read().count(words)
        p.settings.update(more)
        p.reload()
        wait_until(lambda: open(old).read().count(words) > count, words)

    reload_with({name: ""}, f"{name} is empty, logging_collector needs it")
    done = subprocess.run(p.command("--check"), capture_output=True, text=True, timeout=60)
    assert done.returncode == 1 and re.search(rf"pgpool\.conf:\d+: {name} is empty", done.stderr), done.stderr
    reload_with({"logging_collector": False}, "disabling automatic rotation (use SIGHUP to re-enable)")
    statement(p, "select 'still here'")
    wait_until(lambda: "still here" in open(old).read(), "the line")
    reload_with({name: usual, "logging_collector": True}, "configuration files reloaded")
    p.settings[name] = usual


def test_in_the_background(collecting, one_node):
    """The terminal is let go of, and the start is told there."""
    p = Collecting(one_node)
    try:
        p.write_files()
        done = subprocess.run(p.command("-D"), stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60,
                              cwd=p.folder, **system.run_as())
        assert done.returncode == 0 and "redirecting log output" in done.stderr, done
        wait_until(lambda: "successfully started" in p.text(), "the start in the file")
        pid = int(open(f"{p.folder}/pgpool.pid").read().rstrip("\0"))
        held = {os.readlink(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd")}
        assert not any(name.startswith("pipe:") for name in held), held
        assert os.readlink(f"/proc/{pid}/fd/2") == p.names()[0]
        stopped = subprocess.run(p.command("-m", "fast", "stop"), capture_output=True, text=True, timeout=60,
                                 cwd=p.folder, **system.run_as())
        assert stopped.returncode == 0, stopped
        # A folder that cannot be made is told on the terminal, and nothing is started.
        p.settings["log_directory"] = f"{p.folder}/no/such"
        p.write_files()
        done = subprocess.run(p.command("-D"), stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60,
                              cwd=p.folder, **system.run_as())
        assert done.returncode == 1, done
        assert re.search(rf'FATAL:  could not start: could not open log file "{p.folder}/no/such": No such file', done.stderr)
    finally:
        p.remove()


# ---- jsonlog


def test_jsonlog(collecting):
    p = collecting(log_destination="jsonlog", log_statement=True, log_client_messages=True)
    with p.connect(application_name="tester") as c:
        c.execute(f"select 'plain' /*traceparent='{TRACE}'*/")
        c.execute("select 'untraced'")
        c.execute(f"/*traceparent='{TRACE}'*/ select %s::text", ("x",))
    wait_until(lambda: "Execute message" in p.text(".json"), "the lines")
    lines = [json.loads(line) for line in p.text(".json").splitlines()]
    assert p.text() == ""
    mine = [x for x in lines if x.get("application_name") == "tester"]
    assert len({x["session_id"] for x in mine}) == 1
    for x in mine:
        assert (x["user"], x["dbname"], x["backend_type"], x["error_severity"]) == ("postgres", "test", "CHILD", "LOG")
        assert x["pid"] == p.process.pid and re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", x["timestamp"])
    traced = {x["message"].split(":")[0]: x["traceparent"] for x in mine if "traceparent" in x}
    assert traced["statement"] == TRACE
    assert {x["message"] for x in mine if "untraced" in x.get("detail", "") + x["message"] and "traceparent" in x} == set()
    executed = [x for x in mine if x["message"].startswith("statement: /*")]
    assert executed and executed[0]["trace_id"] == TRACE[3:35] and executed[0]["span_id"] == TRACE[36:52]


# ---- nobody reads


def test_a_blocked_pipe_blocks_no_client(one_node, marks):
    """stderr is a pipe that nobody reads; then somebody does, and is told how many lines are missing."""
    folder = system.scratch("fifo")
    path = f"{folder}/fifo"
    os.mkfifo(path)
    system.give(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    fcntl.fcntl(reader, fcntl.F_SETPIPE_SZ, 4096)

    class Piped(Proxy):
        log_path = path

        def log(self):
            return ""

    p = Piped(one_node)
    p.settings.update({"log_statement": True})
    try:
        p.start()
        with p.connect() as c:
            text = "select length('{}')".format("z" * 200_000)
            for _ in range(200):  # 40 MB
                assert c.execute(text).fetchone() == (200_000,)
            lost = total = 0
            os.set_blocking(reader, True)
            mark, tail = marks().encode(), b""
            stop = threading.Event()

            def speak():
                while not stop.wait(0.1):
                    with p.connect() as k:
                        k.execute(f"select '{mark.decode()}'")

            speaker = threading.Thread(target=speak)
            speaker.start()
            while mark not in tail or not lost:
                data = os.read(reader, 1 << 20)
                total += len(data)
                tail = (tail + data)[-200_000:]
                found = re.search(rb"WARNING:  (\d+) log messages were lost\n", tail)
                lost = int(found.group(1)) if found else lost
            stop.set()
            drain = threading.Thread(target=lambda: [None for _ in iter(lambda: os.read(reader, 1 << 20), b"")])
            drain.start()
            speaker.join()
        assert 0 < lost < 200
        p.stop()
        drain.join(60)
    finally:
        p.remove()
        os.close(reader)
        shutil.rmtree(folder, ignore_errors=True)


# ---- many lines


@pytest.mark.long
def test_a_million_lines_of_real_sessions(one_node):
    """pgbench through the proxy with every message logged, files changing by size: no line is lost, none cut."""
    p = Collecting(one_node, log_statement=True, log_client_messages=True, log_backend_messages="verbose",
                   log_per_node_statement=True, log_rotation_size=10240, log_line_prefix="[%P %p] ")
    script = f"{p.folder}/script"
    with open(script, "w") as f:
        f.write("select 1 from generate_series(1, 10);\n")
    os.chmod(script, 0o644)
    try:
        p.start()
        count = 1_000_000 // 16 // 4
        done = subprocess.run([f"{one_node.bin}/pgbench", "-n", "-c", "4", "-t", str(count + 1), "-f", script, "-h",
                               "127.0.0.1", "-p", str(p.port), "-U", "postgres", "test"], capture_output=True,
                              text=True, timeout=600)
        assert done.returncode == 0, done
        p.stop()
        lines = statements = rows = 0
        for name in p.names():
            assert os.path.getsize(name) < (10240 + 64) * 1024
            with open(name) as f:
                for line in f:
                    lines += 1
                    assert line.startswith("[") and line.endswith("\n") and "] " in line, line
                    statements += "LOG:  statement: select 1 from generate_series(1, 10);" in line
                    rows += "DataRow message from backend 0\n" in line
        assert len(p.names()) > 3
        assert "messages were lost" not in p.text()
        # pgbench asks for nothing else with -n but for the version of the server's catalog.
        assert statements == 4 * (count + 1) and rows >= 10 * statements
        assert lines >= 1_000_000
        print(f"{lines} lines in {len(p.names())} files")
    finally:
        if p.process:
            p.abort()
        p.remove()
