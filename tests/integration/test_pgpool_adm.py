"""The server-side extension pgpool_adm: a proxy asked by SQL of a server, and peers that are no PCP server. pgpool_regclass."""
import hashlib
import os
import re
import socket
import struct
import threading
import time

import psycopg
import pytest
from psycopg.rows import dict_row

from support import system
from support.proxy import Proxy
from support.system import wait_until
from test_extension import install_extensions

pytestmark = pytest.mark.herdgate_only
USER, PASSWORD = "postgres", "s3cret"
USERS = f"{USER}:{hashlib.md5(PASSWORD.encode()).hexdigest()}\n"
NODE_COLUMNS = ["host", "port", "status", "pg_status", "weight", "role", "pg_role", "replication_delay",
                "replication_state", "replication_sync_state", "last_status_change"]
STATS_COLUMNS = ["node_id", "host", "port", "status", "role", "last_status_change", "total_count", "success_count",
                 "fail_count", "skip_count", "retry_count", "average_retry_count", "max_retry_count",
                 "max_health_check_duration", "min_health_check_duration", "average_health_check_duration",
                 "last_health_check", "last_successful_health_check", "last_skip_health_check", "last_failed_health_check"]
ORIGINAL = os.path.exists(f"{system.TRIXIE}/usr/sbin/pgpool") and os.getuid() == 0
OK_LOGIN = b"r" + struct.pack(">I", 21) + b"AuthenticationOK\0"
SALT = b"m" + struct.pack(">I", 8) + b"salt"


def frame(letter, *texts, length=None):
    payload = b"".join(t if isinstance(t, bytes) else t.encode() + b"\0" for t in texts)
    return letter.encode() + struct.pack(">I", 4 + len(payload) if length is None else length) + payload


class Sql:
    """A session of a server itself, not of the proxy."""

    def __init__(self, node, user="postgres"):
        self.c = psycopg.connect(host=node.cluster.inner, port=node.port, user=user, dbname="test", autocommit=True,
                                 row_factory=dict_row, prepare_threshold=None)
        self.pid = self.c.info.backend_pid

    def rows(self, sql, *values):
        return self.c.execute(sql, values).fetchall()

    def one(self, sql, *values):
        (row,) = self.rows(sql, *values)
        return row

    def error(self, sql, *values):
        """(SQLSTATE, message with detail and hint)"""
        with pytest.raises(psycopg.Error) as e:
            self.rows(sql, *values)
        d = e.value.diag
        return d.sqlstate, "\n".join(filter(None, (d.message_primary, d.message_detail, d.message_hint, d.context)))

    def sockets(self):
        if os.getuid() != 0:
            return 0
        folder = f"/proc/{self.pid}/fd"
        return sum(os.readlink(f"{folder}/{name}").startswith("socket:") for name in os.listdir(folder))


@pytest.fixture(scope="module")
def extension(cluster):
    install_extensions()
    cluster.primary.psql("create extension pgpool_adm")
    yield
    cluster.primary.psql("drop extension pgpool_adm cascade")


@pytest.fixture
def sql(cluster, extension):
    session = Sql(cluster.primary)
    yield session
    session.c.close()


@pytest.fixture(scope="module")
def proxy(start_proxy):
    return start_proxy({"health_check_period": 1}, {"pcp.conf": USERS})


@pytest.fixture(scope="module")
def there(proxy):
    return "127.0.0.1", proxy.pcp_port, USER, PASSWORD


def shown(proxy, what="pool_nodes"):
    with proxy.connect() as c, c.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(f"show {what}").fetchall()


# ---- what the functions are

def test_version_and_signatures(sql):
    assert sql.one("select extversion v from pg_extension where extname = 'pgpool_adm'")["v"] == "1.5"
    there = sql.rows("select oid::regprocedure::text || ' ' || pg_get_function_result(oid) as f, proargnames n, proretset s "
                     "from pg_proc where proname ~ '^pcp_'")
    names = {r["f"].split(")")[0] + ")" for r in there}
    login = "text,integer,text,text"
    assert names == {f"pcp_{name}({before}{more})" for name, before in (
        ("node_info", "integer,"), ("health_check_stats", "integer,"), ("pool_status", ""), ("node_count", ""),
        ("attach_node", "integer,"), ("detach_node", "integer,boolean,")) for more in (login, "text")}
    before = {"node_info": ["node_id"], "health_check_stats": ["node_id"], "attach_node": ["node_id"],
              "detach_node": ["node_id", "gracefully"]}
    for row in there:
        name = row["f"].split("(")[0][len("pcp_"):]
        given = before.get(name, []) + (["host", "port", "username", "password"] if login in row["f"] else ["pcp_server"])
        assert row["n"][:len(given)] == given and row["s"] == (name == "pool_status"), row


# ---- a proxy that works

def test_nodes(sql, proxy, there, cluster):
    assert sql.one("select pcp_node_count(%s, %s, %s, %s) n", *there) == {"n": 3}
    assert sql.one("select * from pcp_node_count(%s, %s, %s, %s)", *there) == {"node_count": 3}
    wait_until(lambda: [r["pg_role"] for r in shown(proxy)] == ["primary", "standby", "standby"], "the roles")
    for row in shown(proxy):
        got = sql.one("select * from pcp_node_info(%s, %s, %s, %s, %s)", int(row["node_id"]), *there)
        assert list(got) == NODE_COLUMNS
        assert got["host"] == row["hostname"] and got["port"] == int(row["port"])
        assert got["status"] in ("Connection in use", "Waiting for connection to start") and got["pg_status"] == "up"
        assert abs(got["weight"] - 1 / 3) < 1e-6
        assert got["role"] == row["role"].capitalize() and got["pg_role"] == row["pg_role"]
        assert got["replication_state"] == row["replication_state"]
        assert got["replication_sync_state"] == row["replication_sync_state"] and got["replication_delay"] >= 0
    # A date of the session's time zone, in every DateStyle.
    sql.rows("select set_config('TimeZone', 'UTC', false), set_config('DateStyle', 'SQL, DMY', false)")
    age = "select extract(epoch from now()::timestamp - last_status_change)::float a from pcp_node_info(0, %s, %s, %s, %s)"
    assert 0 <= sql.one(age, *there)["a"] < 3600


def test_health_check_stats(sql, proxy, there):
    ask = "select * from pcp_health_check_stats(1, %s, %s, %s, %s)"
    wait_until(lambda: sql.one(ask, *there)["success_count"], "a health check")
    got = sql.one(ask, *there)
    assert list(got) == STATS_COLUMNS
    assert got["node_id"] == 1 and got["status"] in ("up", "waiting") and got["role"] == "standby"
    assert got["total_count"] >= got["success_count"] > 0 and got["fail_count"] == 0
    assert got["last_health_check"].year > 2000 and got["last_failed_health_check"] is None


def test_pool_status(sql, proxy, there):
    expected = shown(proxy, "pool_status")
    got = sql.rows("select * from pcp_pool_status(%s, %s, %s, %s)", *there)
    hide = lambda rows: [tuple(r.values()) for r in rows if not re.match("backend_status|standby_delay", r["item"])]
    assert hide(got) == hide(expected) and len(got) > 100
    # Who wants no more of it leaves nothing open.
    before = sql.sockets()
    assert len(sql.rows("select * from (select pcp_pool_status(%s, %s, %s, %s)) s limit 1", *there)) == 1
    assert sql.sockets() == before


def test_by_names_and_over_the_unix_socket(sql, proxy):
    ask = "select pcp_node_count(host => %s, port => %s, username => %s, password => %s) n"
    for host in (proxy.folder, "localhost"):
        assert sql.one(ask, host, proxy.pcp_port, USER, PASSWORD)["n"] == 3


@pytest.mark.parametrize("gracefully", [False, True])
def test_attach_and_detach(sql, proxy, there, gracefully):
    state = lambda: shown(proxy)[2]["status"]
    assert sql.one("select * from pcp_detach_node(2, %s, %s, %s, %s, %s)", gracefully, *there) == {"node_detached": True}
    wait_until(lambda: state() == "down", "the node to be down")
    assert sql.one("select status from pcp_node_info(2, %s, %s, %s, %s)", *there)["status"] == "Disconnected"
    code, text = sql.error("select pcp_detach_node(2, false, %s, %s, %s, %s)", *there)
    assert code == "38000" and text.startswith("could not detach node 2: invalid degenerate backend request")
    assert sql.one("select * from pcp_attach_node(2, %s, %s, %s, %s)", *there) == {"node_attached": True}
    wait_until(lambda: state() in ("up", "waiting"), "the node to be up")


def test_a_standby_may_ask_too(cluster, extension, there):
    cluster.wait_replayed()
    session = Sql(cluster.standbys[0])
    try:
        assert session.one("select pcp_node_count(%s, %s, %s, %s) n", *there)["n"] == 3
    finally:
        session.c.close()


@pytest.mark.skipif(not ORIGINAL, reason="needs scripts/fetch_trixie and root")
def test_the_originals_server(cluster, sql):
    proxy = Proxy(cluster, kind="pgpool", name="original")
    proxy.settings["health_check_period"] = 1
    proxy.files["pcp.conf"] = USERS
    proxy.start()
    there = "127.0.0.1", proxy.pcp_port, USER, PASSWORD
    try:
        wait_until(lambda: system.can_connect(proxy.pcp_port), "its PCP")
        assert sql.one("select pcp_node_count(%s, %s, %s, %s) n", *there)["n"] == 3
        got = wait_until(lambda: [r for r in [sql.one("select * from pcp_node_info(1, %s, %s, %s, %s)", *there)]
                                  if r["pg_role"] == "standby"], "the roles")[0]
        assert list(got) == NODE_COLUMNS and abs(got["weight"] - 1 / 3) < 1e-6 and got["role"] == "Standby"
        ask = "select * from pcp_health_check_stats(1, %s, %s, %s, %s)"
        wait_until(lambda: sql.one(ask, *there)["success_count"], "a health check")
        assert len(sql.rows("select * from pcp_pool_status(%s, %s, %s, %s)", *there)) > 100
        code, text = sql.error("select pcp_node_count(%s, %s, %s, %s)", *there[:3], "wrong")
        assert code == "28000" and "authentication failed" in text
        assert sql.error("select pcp_node_info(7, %s, %s, %s, %s)", *there)[0] == "38000"
        assert sql.one("select pcp_detach_node(2, false, %s, %s, %s, %s) d", *there)["d"]
        wait_until(lambda: shown(proxy)[2]["status"] == "down", "the node to be down")
        wait_until(lambda: system.can_connect(proxy.pcp_port), "its PCP, which starts anew")
        assert sql.one("select pcp_attach_node(2, %s, %s, %s, %s) a", *there)["a"]
        wait_until(lambda: shown(proxy)[2]["status"] != "down", "the node to be up")
    finally:
        proxy.remove()


# ---- foreign servers

def options(**words):
    return ", ".join(f"{name} '{value}'" for name, value in words.items())


@pytest.fixture
def server(sql, proxy):
    where = options(host="127.0.0.1", port=proxy.pcp_port)
    sql.c.execute(f"create server pcp foreign data wrapper pgpool_adm options ({where})")
    yield "pcp"
    sql.c.execute("drop server pcp cascade")


def test_foreign_server(sql, proxy, there, server):
    assert sql.error("select pcp_node_count('pcp')")[1].startswith("user mapping not found")
    sql.c.execute(f"create user mapping for postgres server pcp options ({options(user=USER)})")
    code, text = sql.error("select pcp_node_count('pcp')")
    assert 'of "postgres" for server "pcp" has no password' in text
    sql.c.execute(f"alter user mapping for postgres server pcp options (add {options(password=PASSWORD)})")
    assert sql.one("select pcp_node_count('pcp') n")["n"] == 3
    assert sql.one("select * from pcp_node_info(1, 'pcp')") == \
        sql.one("select * from pcp_node_info(1, %s, %s, %s, %s)", *there)
    assert list(sql.one("select * from pcp_health_check_stats(0, 'pcp')")) == STATS_COLUMNS
    assert len(sql.rows("select * from pcp_pool_status('pcp')")) > 100
    assert sql.one("select pcp_detach_node(2, false, 'pcp') d")["d"]
    wait_until(lambda: shown(proxy)[2]["status"] == "down", "the node to be down")
    assert sql.one("select pcp_attach_node(2, 'pcp') d")["d"]
    wait_until(lambda: shown(proxy)[2]["status"] != "down", "the node to be up")
    assert sql.error("select pcp_node_count('no_such')") == ("42704", 'server "no_such" does not exist')


def test_options_are_checked(sql, server):
    for statement in ("alter server pcp options (add hots 'x')", "alter server pcp options (set port '0')",
                      "alter server pcp options (set port '1x')",
                      "create user mapping for postgres server pcp options (pw 'x')",
                      "alter foreign data wrapper pgpool_adm options (host 'x')"):
        with pytest.raises(psycopg.Error, match="invalid (option|port)"):
            sql.c.execute(statement)


def test_any_wrapper_and_the_default_port(sql, proxy):
    """As with the original, whose users make a wrapper of their own."""
    sql.c.execute("create foreign data wrapper mine; create server mine foreign data wrapper mine options (host '/no/such')")
    try:
        sql.c.execute(f"create user mapping for public server mine options ({options(user=USER, password=PASSWORD)})")
        assert 'socket "/no/such/.s.PGSQL.9898": No such file or directory' in sql.error("select pcp_node_count('mine')")[1]
        sql.c.execute(f"alter server mine options (set host '127.0.0.1', add port '{proxy.pcp_port}')")
        assert sql.one("select pcp_node_count('mine') n")["n"] == 3
    finally:
        sql.c.execute("drop foreign data wrapper mine cascade")


def test_functions_that_the_original_has_made(sql, there, server):
    """A database that was set up with the original's script: four columns by a server's name, symbols in our library."""
    sql.c.execute(f"create user mapping for postgres server pcp options ({options(user=USER, password=PASSWORD)})")
    sql.c.execute("create function old_info(integer, text, out host text, out port integer, out status text, out weight real) "
                  "returns record as '$libdir/pgpool_adm', '_pcp_node_info' language c strict")
    try:
        got = sql.one("select * from old_info(0, 'pcp')")
        assert list(got) == ["host", "port", "status", "weight"] and abs(got["weight"] - 1 / 3) < 1e-6
    finally:
        sql.c.execute("drop function old_info")


# ---- rights

def test_who_may(cluster, sql, there, server):
    sql.c.execute(f"create user mapping for public server pcp options ({options(user=USER, password=PASSWORD)})")
    other = Sql(cluster.primary, user="test")
    try:
        assert other.one("select pcp_node_count(%s, %s, %s, %s) n", *there)["n"] == 3
        for call in ("pcp_attach_node(2, %s, %s, %s, %s)", "pcp_detach_node(2, false, %s, %s, %s, %s)"):
            assert other.error(f"select {call}", *there)[0] == "42501"
        for call in ("pcp_attach_node(2, 'pcp')", "pcp_detach_node(2, false, 'pcp')", "pcp_node_count('pcp')"):
            assert other.error(f"select {call}")[0] == "42501"
        sql.c.execute("grant execute on function pcp_attach_node(integer, text) to test; "
                      "grant usage on foreign server pcp to test")
        assert other.one("select pcp_attach_node(2, 'pcp') a, pcp_node_count('pcp') n") == {"a": True, "n": 3}
    finally:
        other.c.close()
        sql.c.execute("revoke execute on function pcp_attach_node(integer, text) from test")


# ---- refusals

def test_wrong_login(sql, there):
    for login in ((USER, "wrong"), ("nobody", PASSWORD), ("", ""), (USER, "x" * 100000)):
        code, text = sql.error("select pcp_node_count(%s, %s, %s, %s)", *there[:2], *login)
        where = f'host "127.0.0.1", port {there[1]}'
        assert code == "28000" and text.startswith(f"could not log in to the PCP server at {where}: "), text
    assert "pcp.conf" in text
    assert "the PCP user name is too long" in sql.error("select pcp_node_count(%s, %s, %s, %s)", *there[:2], "u" * 128, "p")[1]
    assert sql.one("select pcp_node_count(%s, %s, %s, %s) n", *there)["n"] == 3


def test_nodes_that_are_not_there(sql, there):
    code, text = sql.error("select pcp_node_info(7, %s, %s, %s, %s)", *there)
    assert code == "38000" and text == "could not get information about node 7: informing node info failed\ninvalid node ID : 7"
    code, text = sql.error("select pcp_attach_node(7, %s, %s, %s, %s)", *there)
    assert "could not attach node 7: invalid failback request" in text
    for node in (-1, 128, 65536):  # the last one is 0 in 16 bits
        assert sql.error("select pcp_node_info(%s, %s, %s, %s, %s)", node, *there) == \
            ("22023", f"node number {node} is out of range\nNodes have the numbers 0 to 127.")
    assert sql.one("select pcp_node_count(%s, %s, null, %s) n", *there[:2], PASSWORD)["n"] is None


def test_where_nobody_listens(sql):
    dead = system.free_ports(1)[0]
    code, text = sql.error("select pcp_node_count('127.0.0.1', %s, 'u', 'p')", dead)
    assert code == "08001" and text == (
        f'could not connect to the PCP server at host "127.0.0.1", port {dead}: Connection refused\n'
        "Check that pgpool runs there, its pcp_listen_addresses and its pcp_port.")
    for port in (0, -1, 65536, 2**31 - 1):
        assert sql.error("select pcp_node_count('127.0.0.1', %s, 'u', 'p')", port)[0] == "22023"
    assert sql.error("select pcp_node_count('no.such.host.invalid', 9898, 'u', 'p')")[0] == "08001"
    assert "the path is too long" in sql.error("select pcp_node_count(%s, 9898, 'u', 'p')", "/" + "d" * 200)[1]
    assert 'socket "/tmp/.s.PGSQL.9' in sql.error("select pcp_node_count('', %s, 'u', 'p')", 9)[1]


# ---- peers that are no PCP server

class Peer:
    """Listens, and gives each connection to `behave`. `host`: a folder makes it a UNIX socket."""

    def __init__(self, behave, folder=None, accepts=True, backlog=8):
        self.behave, self.ended = behave, threading.Event()
        if folder:
            self.host, self.port = folder, 9898
            self.listener = socket.socket(socket.AF_UNIX)
            self.listener.bind(f"{folder}/.s.PGSQL.9898")
            os.chmod(f"{folder}/.s.PGSQL.9898", 0o777)
        else:
            self.listener = socket.socket()
            self.listener.bind(("127.0.0.1", 0))
            self.host, self.port = self.listener.getsockname()
        self.listener.listen(backlog)
        if accepts:
            threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while True:
            try:
                connection = self.listener.accept()[0]
            except OSError:
                return
            threading.Thread(target=self.run, args=(connection,), daemon=True).start()

    def run(self, connection):
        with connection:
            try:
                self.behave(connection, self.ended)
            except OSError:
                pass

    def __enter__(self):
        return self.host, self.port, "u", "p"

    def __exit__(self, *_):
        self.ended.set()
        self.listener.close()


def says(*pieces, then=lambda c, ended: ended.wait(60)):
    """After each message that comes, the next piece; then silence, or what `then` does."""
    def behave(connection, ended):
        for piece in pieces:
            connection.recv(4096)
            connection.sendall(piece)
        then(connection, ended)
    return behave


def closes(_connection, _ended):
    pass


def drips(connection, ended):
    for byte in b"l\0\0\1\0" + b"C" * 1000:
        connection.sendall(bytes([byte]))
        if ended.wait(0.02):
            return


def floods(connection, ended):
    while not ended.is_set():
        connection.sendall(frame("N", "Snote", "Mabc", b"\0") * 100)


@pytest.mark.parametrize("pieces, then, limit", [
    ((), None, "connect"), ((SALT,), None, "connect"), ((SALT[:3],), None, "connect"), ((SALT, OK_LOGIN[:9]), None, "connect"),
    ((SALT, OK_LOGIN), None, "reply"), ((SALT, OK_LOGIN, b"l\0\0"), None, "reply"),
    ((SALT, OK_LOGIN, b"l\0\0\0\x40Comm"), None, "reply"), ((SALT, OK_LOGIN), drips, "reply")])
def test_silence_ends_in_time(sql, pieces, then, limit):
    sql.rows(f"select set_config('pgpool_adm.{limit}_timeout', '300ms', false)")
    before = sql.sockets()
    with Peer(says(*pieces, **({"then": then} if then else {}))) as peer:
        began = time.monotonic()
        code, text = sql.error("select pcp_node_count(%s, %s, %s, %s)", *peer)
        assert 0.25 < time.monotonic() - began < 20
        assert code == "08006" and "did not answer within 300 ms" in text and f"pgpool_adm.{limit}_timeout" in text
    assert sql.sockets() == before


def test_what_was_changed_is_not_known_after_silence(sql):
    sql.rows("select set_config('pgpool_adm.reply_timeout', '100ms', false)")
    with Peer(says(SALT, OK_LOGIN)) as peer:
        assert "Whether it was done is not known" in sql.error("select pcp_detach_node(1, true, %s, %s, %s, %s)", *peer)[1]


def test_a_full_queue(sql, tmp_path):
    """Nobody accepts: a UNIX socket refuses by EAGAIN, a port swallows the first packet."""
    sql.rows("select set_config('pgpool_adm.connect_timeout', '300ms', false)")
    folder = system.give(system.scratch("peer"))
    os.chmod(folder, 0o755)
    for peer in (Peer(closes, folder=folder, accepts=False, backlog=0), Peer(closes, accepts=False, backlog=0)):
        waiting = []
        with peer as (host, port, user, password):
            for _ in range(4):
                waiting.append(socket.socket(socket.AF_UNIX if host == folder else socket.AF_INET))
                waiting[-1].setblocking(False)
                waiting[-1].connect_ex(f"{folder}/.s.PGSQL.9898" if host == folder else (host, port))
            code, text = sql.error("select pcp_node_count(%s, %s, %s, %s)", host, port, user, password)
            assert code == "08001" and "timed out" in text, text
        for one in waiting:
            one.close()


@pytest.mark.parametrize("pieces, then, sqlstate", [
    ((b"HTTP/1.0 400 Bad Request\r\n\r\n",), None, "08P01"), ((os.urandom(512),), closes, None),
    ((SALT, os.urandom(512)), closes, None), ((SALT, OK_LOGIN, os.urandom(512)), closes, None),
    ((), closes, "08006"), ((SALT,), closes, "08006"), ((SALT, OK_LOGIN, frame("l", "Comm")[:7]), closes, "08006"),
    ((frame("m", b"sal"),), None, "08P01"), ((frame("m", b"salty"),), None, "08P01"),
    ((frame("m", length=0),), None, "08P01"), ((frame("m", length=3),), None, "08P01"),
    ((frame("m", length=0xFFFFFFFF),), None, "08P01"), ((frame("m", length=0x80000000),), None, "08P01"),
    ((SALT, frame("r", "AuthenticationNO")), None, "08P01"), ((SALT, frame("r")), None, "08P01"),
    ((SALT, OK_LOGIN, frame("l", length=1 << 24)), None, "08P01"), ((SALT, OK_LOGIN, frame("l")), None, "08P01"),
    ((SALT, OK_LOGIN, frame("i", "CommandComplete")), None, "08P01"),
    ((SALT, OK_LOGIN, frame("l", "CommandComplete")), None, "08P01"),
    ((SALT, OK_LOGIN, frame("l", "CommandComplete", "3x")), None, "08P01"),
    ((SALT, OK_LOGIN, frame("l", "CommandComplete", "129")), None, "08P01"),
    ((SALT, OK_LOGIN, frame("l", "CommandComplete", *["1"] * 100)), None, "08P01"),
    ((SALT, OK_LOGIN, frame("E", "SERROR", b"\0")), None, "08P01"), ((SALT, OK_LOGIN, frame("E")), None, "08P01"),
    ((SALT, OK_LOGIN), floods, "08P01")])
def test_what_is_no_pcp(sql, pieces, then, sqlstate):
    before = sql.sockets()
    with Peer(says(*pieces, **({"then": then} if then else {}))) as peer:
        code, text = sql.error("select pcp_node_count(%s, %s, %s, %s)", *peer)
    assert code in ((sqlstate,) if sqlstate else ("08006", "08P01", "28000", "38000")), text
    assert text.startswith(("could not get the number of nodes: ", "could not understand the answer", "could not log in")), text
    assert sql.sockets() == before and sql.one("select 1 o")["o"] == 1


NODE = ["h", "5432", "2", "0", "up", "1", "2", "primary", "0", "0", "", "", "0"]


@pytest.mark.parametrize("place, value", [(1, "x"), (1, "99999999999"), (2, "9"), (5, "nan"), (5, "-1"), (9, ""), (12, "-1"),
                                          (12, "99999999999999999999"), (12, "999999999999")])
def test_values_that_cannot_be(sql, place, value):
    row = [value if i == place else v for i, v in enumerate(NODE)]
    answer = frame("i", "ArraySize", "1") + frame("i", "NodeInfo", *row) + frame("i", "CommandComplete")
    with Peer(says(SALT, OK_LOGIN, answer)) as peer:
        code, text = sql.error("select pcp_node_info(0, %s, %s, %s, %s)", *peer)
    assert code in ("08P01", "22P02", "22003") and "answer of the PCP server at host" in text


def test_odd_answers(sql):
    ask = "select * from pcp_node_info(0, %s, %s, %s, %s)"
    done = frame("i", "CommandComplete")
    for rows in ((), (NODE, NODE), (NODE[:12],)):
        with Peer(says(SALT, OK_LOGIN, b"".join(frame("i", "NodeInfo", *r) for r in rows) + done)) as peer:
            assert sql.error(ask, *peer)[0] == "08P01"
    # Notices are passed over; bytes that are no text of this database are not given to clients.
    odd = frame("i", "NodeInfo", b"h\xff\xfe\0", *NODE[1:])
    with Peer(says(SALT, OK_LOGIN, frame("N", "SDEBUG", "Mx", b"\0") + odd + done)) as peer:
        got = sql.one(ask, *peer)
        assert got["host"] == "h??" and got["role"] == "Primary" and got["last_status_change"].year in (1969, 1970)
    with Peer(says(SALT, OK_LOGIN, frame("E", "SERROR", b"Mbad \xff\0", "Dwhy", b"\0"))) as peer:
        assert sql.error(ask, *peer) == ("38000", "could not get information about node 0: bad ?\nwhy")
    row = frame("b", "ProcessConfig", "a", "b", "c")
    for answer in (frame("b", "ProcessConfig", "a", "b") + frame("b", "CommandComplete"), row * 10001):
        with Peer(says(SALT, OK_LOGIN, answer)) as peer:
            assert sql.error("select * from pcp_pool_status(%s, %s, %s, %s)", *peer)[0] == "08P01"


@pytest.mark.parametrize("how", ["cancel", "statement_timeout", "terminate"])
@pytest.mark.parametrize("sends", [False, True])
def test_a_wait_obeys(cluster, sql, extension, how, sends):
    """A silent peer, and one that never stops sending."""
    waiting = threading.Event()

    def behave(connection, ended):
        connection.recv(4096)
        connection.sendall(SALT)
        connection.recv(4096)
        connection.sendall(OK_LOGIN)
        connection.recv(4096)
        waiting.set()
        while sends and not ended.wait(0.01):
            connection.sendall(frame("N", "Snote", b"\0"))
        ended.wait(60)

    session = Sql(cluster.primary)
    before = session.sockets()
    answers = []
    with Peer(behave) as peer:
        if how == "statement_timeout":
            session.rows("select set_config('statement_timeout', '500ms', false)")
        ask = lambda: answers.append(session.error("select pcp_node_count(%s, %s, %s, %s)", *peer))
        asker = threading.Thread(target=ask)
        asker.start()
        assert waiting.wait(30)
        if how != "statement_timeout":
            sql.rows(f"select pg_{how}_backend(%s)", session.pid)
        asker.join(30)
        if how == "terminate":  # psycopg tells only that the connection is gone
            assert answers and session.c.closed
            wait_until(lambda: not sql.rows("select from pg_stat_activity where pid = %s", session.pid), "its backend to end")
        else:
            assert answers[0][0] == "57014"
            assert session.sockets() == before
            session.c.execute("reset statement_timeout")
            assert session.one("select 1 o")["o"] == 1
    session.c.close()


def test_many_failures_in_one_transaction_leave_nothing_open(sql, there):
    before = sql.sockets()
    sql.c.execute("""create or replace function pg_temp.tried(host text, port int) returns int language plpgsql as $$
        declare failed int := 0;
        begin
          for i in 1..200 loop
            begin
              perform pcp_node_count(host, port, 'u', 'wrong');
            exception when others then failed := failed + 1;
            end;
          end loop;
          return failed;
        end $$""")
    with Peer(says(b"nonsense")) as peer:
        assert sql.one("select pg_temp.tried(%s, %s) n", *peer[:2])["n"] == 200
    assert sql.sockets() == before
    # And it recovers.
    assert sql.one("select pcp_node_count(%s, %s, %s, %s) n", *there)["n"] == 3


# ---- pgpool_regclass

@pytest.fixture
def regclass(cluster, extension):
    session = Sql(cluster.primary)
    session.c.execute("create extension pgpool_regclass; create schema hid; create table hid.t(); create table \"Odd.n\"()")
    yield session
    session.c.execute("drop extension pgpool_regclass; drop schema hid cascade; drop table \"Odd.n\"")
    session.c.close()


def test_regclass(cluster, regclass):
    ask = "select pg_catalog.pgpool_regclass(%s::cstring) o"
    assert regclass.one("select extversion v from pg_extension where extname = 'pgpool_regclass'")["v"] == "1.0"
    regclass.c.execute("create temp table passing()")
    for name in ("hid.t", "test.hid.t", "HID.T", '"Odd.n"', "pg_class", "pg_catalog.pg_class", "passing", "pg_temp.passing"):
        assert regclass.one(ask, name)["o"] == regclass.one("select %s::regclass::oid o", name)["o"], name
    for name in ("no_such", "no_such.t", "hid.no_such", "postgres.hid.t", "a.b.c.d", "", ".", "hid.", '"hid', "a b", "1259",
                 "pg_temp.no_such", "x" * 1000):
        assert regclass.one(ask, name)["o"] == 0, name
    assert regclass.one("select pg_catalog.pgpool_regclass(null) o")["o"] is None
    other = Sql(cluster.primary, user="test")
    assert other.one(ask, "hid.t")["o"] == 0 and other.one(ask, "pg_class")["o"] == 1259
    other.c.close()
