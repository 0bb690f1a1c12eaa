"""Who gets in, by which method, and who does not. The servers ask scram_user, md5_user and password_user by the
method of their name; everybody else is trusted by the servers (see support/cluster.py)."""
import contextlib
import hashlib
import os
import re
import select
import signal
import socket
import struct
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest

from support import system
from support.cluster import Cluster
from support.proxy import Proxy
from support.wire import Client, Closed, message, startup

pytestmark = pytest.mark.proxy_only
USERS = ("scram_user", "md5_user", "password_user")


def hba(*lines):
    return {"pool_hba.conf": "".join(line + "\n" for line in lines)}


def passwd(*lines):
    return {"pool_passwd": "".join(line + "\n" for line in lines)}


def md5_of(user, password):
    return "md5" + hashlib.md5((password + user).encode()).hexdigest()


def gets_in(proxy, user, password=None, **more):
    words = {"password": password} if password is not None else {}
    with proxy.connect(user=user, **words, **more) as c:
        assert c.execute("select current_user").fetchone() == (user,)
        assert c.execute("select session_user from pg_class limit 1").fetchone() == (user,)


def stays_out(proxy, user, password="wrong", match="", **more):
    with pytest.raises(psycopg.OperationalError, match=match):
        proxy.connect(user=user, password=password, **more)


# Without pool_hba: the server's method decides.

def test_trust(start_proxy):
    gets_in(start_proxy(), "test")


@pytest.mark.parametrize("user,entry", [
    ("scram_user", "scram_user:TEXTscram_user"), ("scram_user", "scram_user:scram_user"),
    ("md5_user", "md5_user:" + md5_of("md5_user", "md5_user")), ("md5_user", "md5_user:TEXTmd5_user"),
])
def test_by_pool_passwd_entry(start_proxy, user, entry):
    proxy = start_proxy(files=passwd(entry))
    gets_in(proxy, user, user)
    stays_out(proxy, user)
    gets_in(proxy, user, user)


@pytest.mark.herdgate_only
def test_the_log_alone_says_who_failed(start_proxy):
    proxy = start_proxy({"enable_pool_hba": True}, {**hba("host all all 127.0.0.1/32 scram-sha-256"), **passwd(*ENTRIES)})
    with pytest.raises(psycopg.OperationalError, match="password does not match") as refused:
        proxy.connect(user="scram_user", password="wrong")
    assert "scram_user" not in str(refused.value)
    line = (r"FATAL:  SCRAM authentication failed\n.*"
            r"DETAIL:  password does not match \(user=scram_user database=test host=127\.0\.0\.1\)\n")
    system.wait_until(lambda: re.search(line, proxy.log()), "the line")


@pytest.mark.parametrize("user", USERS)
def test_clear_text_from_client(start_proxy, user):
    proxy = start_proxy({"allow_clear_text_frontend_auth": True})
    gets_in(proxy, user, user)
    stays_out(proxy, user)
    gets_in(proxy, user, user)


@pytest.mark.parametrize("user", ["scram_user", "md5_user"])
def test_no_entry_and_clear_text_not_allowed(start_proxy, user):
    stays_out(start_proxy(), user, user)


def test_pooled_connection_does_not_let_a_stranger_in(start_proxy):
    """The link is there already, logged in; the next client must still prove who it is."""
    proxy = start_proxy({"allow_clear_text_frontend_auth": True, "num_init_children": 4})
    for _ in range(5):
        gets_in(proxy, "scram_user", "scram_user")
        stays_out(proxy, "scram_user", "guess")
        stays_out(proxy, "scram_user", "")


@pytest.mark.herdgate_only
@pytest.mark.parametrize("entry", ["", "TEXT"])
@pytest.mark.parametrize("parameters,method", [({}, None), ({"enable_pool_hba": True}, "scram-sha-256"),
                                               ({"enable_pool_hba": True}, "md5")])
def test_an_empty_entry_lets_nobody_in(start_proxy, entry, parameters, method):
    """libpq sends no empty password: here it is proved."""
    rules = hba(f"host all all 127.0.0.1/32 {method}") if method else {}
    proxy = start_proxy(parameters, {**rules, **passwd("scram_user:" + entry, "test:" + entry)})
    for user in ("scram_user", "test") if method else ("scram_user",):
        with Client(proxy.port) as c:
            c.send(startup(user=user))
            kind, payload = c.receive()
            assert kind == "E", (kind, payload)  # not even asked


# With pool_hba.

ENTRIES = ("scram_user:TEXTscram_user", "md5_user:TEXTmd5_user", "password_user:TEXTpassword_user", "test:TEXTtest")


@pytest.mark.parametrize("method", ["md5", "scram-sha-256", "password"])
@pytest.mark.parametrize("user", [*USERS, "test"])
def test_hba_method(start_proxy, method, user):
    proxy = start_proxy({"enable_pool_hba": True}, {**hba(f"host all all 127.0.0.1/32 {method}"), **passwd(*ENTRIES)})
    gets_in(proxy, user, user)
    stays_out(proxy, user)
    stays_out(proxy, user, "")


def test_hba_trust_uses_pool_passwd_for_the_server(start_proxy):
    proxy = start_proxy({"enable_pool_hba": True}, {**hba("host all all 127.0.0.1/32 trust"), **passwd(*ENTRIES)})
    for user in ("scram_user", "md5_user", "test"):
        gets_in(proxy, user)


def test_hba_reject_and_first_match(start_proxy):
    proxy = start_proxy({"enable_pool_hba": True}, hba(
        "host all reader 127.0.0.1/32 reject", "host postgres test 127.0.0.1/32 reject", "host all all 0/0 trust"))
    stays_out(proxy, "reader", match="pool_hba.conf|rejected|client authentication failed")
    stays_out(proxy, "test", dbname="postgres")
    gets_in(proxy, "test", dbname="test")


def test_hba_without_a_matching_line(start_proxy):
    proxy = start_proxy({"enable_pool_hba": True}, hba("local all all trust", "host all all 10.9.8.7/32 trust"))
    stays_out(proxy, "test", match="client authentication failed|no pool_hba.conf entry")


def test_hba_names_and_keywords(start_proxy):
    proxy = start_proxy({"enable_pool_hba": True}, hba(
        'host sameuser test 127.0.0.1 255.255.255.255 trust', 'host "postgres",nowhere reader samehost trust'))
    gets_in(proxy, "test", dbname="test")
    gets_in(proxy, "reader", dbname="postgres")
    stays_out(proxy, "test", dbname="postgres")
    stays_out(proxy, "reader", dbname="test")


def test_hba_reload(start_proxy):
    proxy = start_proxy({"enable_pool_hba": True}, hba("host all reader 127.0.0.1/32 trust"), fresh=True)
    stays_out(proxy, "test")
    proxy.files.update(hba("host all all 127.0.0.1/32 trust"))
    proxy.reload()

    def in_now():
        try:
            proxy.connect(user="test").close()
            return True
        except psycopg.OperationalError:
            return False

    system.wait_until(in_now, "the new pool_hba.conf to count")


# A tool may be replacing a file just now.

def reload_while_missing(proxy, name):
    """The reload is refused as long as the file is away."""
    path = f"{proxy.folder}/{name}"
    os.rename(path, path + ".away")
    seen = proxy.log().count("the settings in force stay as they are")
    os.kill(proxy.process.pid, signal.SIGHUP)
    system.wait_until(lambda: proxy.log().count("the settings in force stay as they are") > seen, "the reload to be refused")
    assert re.search(rf'ERROR:  .*{re.escape(path)}.*No such file', proxy.log()), proxy.log()[-2000:]
    os.rename(path + ".away", path)


def reload_well(proxy):
    seen = proxy.log().count("configuration files reloaded")
    os.kill(proxy.process.pid, signal.SIGHUP)
    system.wait_until(lambda: proxy.log().count("configuration files reloaded") > seen, "the reload")


@pytest.mark.herdgate_only
def test_a_reload_without_pool_passwd_changes_nothing(start_proxy):
    proxy = start_proxy({"enable_pool_hba": True},
                        {**hba("host all all 127.0.0.1/32 scram-sha-256"), **passwd(*ENTRIES)}, fresh=True)
    reload_while_missing(proxy, "pool_passwd")
    gets_in(proxy, "scram_user", "scram_user")
    stays_out(proxy, "scram_user")
    with open(f"{proxy.folder}/pool_passwd", "w") as f:
        f.write("test:TEXTtest\n")
    reload_well(proxy)  # and it recovers: what is there counts
    stays_out(proxy, "scram_user", "scram_user")
    gets_in(proxy, "test", "test")


@pytest.mark.herdgate_only
def test_a_reload_without_the_key_changes_nothing_while_it_is_needed(start_proxy):
    proxy = start_proxy({"enable_pool_hba": True},
                        {**hba("host all all 127.0.0.1/32 scram-sha-256"), ".pgpoolkey": "secretkey\n",
                         **passwd("test:AESqiSVgRwNsmx6kzTHrNFLcg==")}, fresh=True)
    gets_in(proxy, "test", "pencil")
    reload_while_missing(proxy, ".pgpoolkey")
    gets_in(proxy, "test", "pencil")
    reload_well(proxy)
    gets_in(proxy, "test", "pencil")
    with open(f"{proxy.folder}/pool_passwd", "w") as f:
        f.write("test:TEXTpencil\n")
    os.unlink(f"{proxy.folder}/.pgpoolkey")
    reload_well(proxy)  # nothing needs it any more
    gets_in(proxy, "test", "pencil")


class SilentNames:
    """A name service that does not answer until it is let go."""

    def __init__(self):
        self.address = f"127.77.{os.getpid() // 250 % 250 + 1}.{os.getpid() % 250 + 1}"  # of this process alone
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind((self.address, 53))
        self.socket.settimeout(60)
        self.asked = []
        folder = system.scratch("names")
        self.conf = f"{folder}/resolv.conf"
        with open(self.conf, "w") as f:
            f.write(f"nameserver {self.address}\noptions timeout:30 attempts:1\n")

    def prefix(self):
        """What a command line begins with to ask it, as the server user."""
        user = system.SERVER_USER
        return ["unshare", "-m", "sh", "-c", f'mount --bind {self.conf} /etc/resolv.conf && exec setpriv --reuid={user} '
                f'--regid={user} --init-groups "$@"', "sh"]

    @classmethod
    def available(cls):
        if os.getuid() != 0:
            return False
        names = cls()
        try:
            return subprocess.run([*names.prefix(), "true"], capture_output=True).returncode == 0
        finally:
            names.socket.close()

    def wait(self, count):
        while len({data[2:] for data, _ in self.asked}) < count:
            self.asked.append(self.socket.recvfrom(512))

    def let_go(self):
        """SERVFAIL to all."""
        for data, who in self.asked:
            self.socket.sendto(data[:2] + b"\x81\x82" + data[4:], who)
        self.socket.close()


@contextlib.contextmanager
def silent_names(cluster):
    """A proxy whose name service is silent, not started yet, and clients(addresses) that say who they are and no more."""
    names, proxy, slow = SilentNames(), Proxy(cluster), []
    proxy.prefix = names.prefix()

    def clients(addresses):
        for address in addresses:
            s = socket.create_connection(("127.0.0.1", proxy.port), source_address=(address, 0))
            s.sendall(startup())
            slow.append(s)
    try:
        yield proxy, names, clients
        assert not select.select(slow, [], [], 0)[0]  # these wait all the same
    finally:
        for s in slow:
            s.close()
        names.let_go()
        proxy.stop()
        proxy.remove()


@pytest.mark.herdgate_only
@pytest.mark.skipif(not SilentNames.available(), reason="no mount namespaces here")
def test_a_silent_name_service_stops_no_login_that_needs_no_name(cluster):
    with silent_names(cluster) as (proxy, names, clients):
        proxy.settings["enable_pool_hba"] = True
        proxy.files.update({**hba("local all all trust", "host all all 127.0.0.1/32 scram-sha-256",
                                  "host all all slow.example trust"), **passwd(*ENTRIES)})
        proxy.start()
        clients(f"127.0.0.{9 + i}" for i in range(6))
        names.wait(4)  # as many as are looked up at a time
        for user in ("scram_user", "test"):
            gets_in(proxy, user, user, connect_timeout=20)


class FewNames(SilentNames):
    """A name service that calls every address owner.example, and knows the owner's own address."""

    OWN, OTHER, NAME = "127.0.0.2", "127.0.0.3", b"\5owner\7example\0"

    def __init__(self):
        super().__init__()
        self.thread = threading.Thread(target=self.serve, daemon=True)
        self.thread.start()

    def serve(self):
        while True:
            data, who = self.socket.recvfrom(512)
            if not data:
                return
            question = data[12:data.index(b"\0", 12) + 5]  # no word of a name begins with \0
            kind, answer = question[-3], b""
            if kind == 12:
                answer = self.NAME  # PTR
            elif kind == 1 and question.startswith(self.NAME):
                answer = socket.inet_aton(self.OWN)  # A
            head = data[:2] + b"\x81\x80\0\1" + struct.pack("!HHH", bool(answer), 0, 0)
            found = struct.pack("!HHHIH", 0xc00c, kind, 1, 60, len(answer)) + answer if answer else b""
            self.socket.sendto(head + question + found, who)

    def close(self):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
            s.sendto(b"", (self.address, 53))
        self.thread.join(60)
        self.socket.close()


@pytest.mark.herdgate_only
@pytest.mark.skipif(not SilentNames.available(), reason="no mount namespaces here")
@pytest.mark.parametrize("host", ["owner.example", ".example"])
def test_a_name_counts_only_where_its_owner_names_the_address_too(cluster, host):
    """Whoever runs an address may give it any name."""
    names, proxy = FewNames(), Proxy(cluster)
    proxy.prefix = names.prefix()
    proxy.settings["enable_pool_hba"] = True
    proxy.files.update(hba(f"host all all {host} trust"))

    def answer(address):
        with socket.create_connection(("127.0.0.1", proxy.port), 60, source_address=(address, 0)) as s:
            s.sendall(startup())
            return s.recv(1000)
    try:
        proxy.start()
        assert answer(names.OWN)[:9] == message("R", struct.pack("!I", 0))
        refused = answer(names.OTHER)
        assert refused[:1] == b"E" and b"no pool_hba.conf entry" in refused, refused
        proxy.stop()
    finally:
        proxy.remove()
        names.close()


# CVE-2025-46801: three ways by which the original once let everybody in.

def test_bypass_hba_password_without_entry(start_proxy):
    proxy = start_proxy({"enable_pool_hba": True, "allow_clear_text_frontend_auth": False},
                        hba("host all all 127.0.0.1/32 password"))
    for user in ("scram_user", "md5_user"):
        stays_out(proxy, user)
        stays_out(proxy, user, "")


def test_bypass_server_asks_for_password(start_proxy):
    proxy = start_proxy({"enable_pool_hba": False})
    gets_in(proxy, "password_user", "password_user")
    stays_out(proxy, "password_user")
    stays_out(proxy, "password_user", "")


@pytest.mark.parametrize("entry", ["TEXTpassword_user", "password_user"])
def test_bypass_raw_mode_md5(start_proxy, entry):
    proxy = start_proxy({"enable_pool_hba": True, "backend_clustering_mode": "raw"},
                        {**hba("host all all 127.0.0.1/32 md5"), **passwd("password_user:" + entry)})
    gets_in(proxy, "password_user", "password_user")
    stays_out(proxy, "password_user")


# pg_md5 and pg_enc write what the server reads.

def tool(proxy, name, *args, **options):
    if proxy.kind == "pgpool":
        pytest.skip("the tools of the tree under test")
    path = system.ROOT + "/build/tools/" + name
    return subprocess.run([path, *args], capture_output=True, text=True, timeout=60, check=True, **options).stdout


@pytest.mark.herdgate_only
def test_pg_md5_prints_and_writes(start_proxy):
    proxy = start_proxy()
    assert tool(proxy, "pg_md5", "moo") == hashlib.md5(b"moo").hexdigest() + "\n"
    with open(f"{proxy.folder}/pool_passwd", "w") as f:
        f.write("other:TEXTkept\n")
    tool(proxy, "pg_md5", "-m", "-f", f"{proxy.folder}/pgpool.conf", "-u", "md5_user", "md5_user")
    with open(f"{proxy.folder}/pool_passwd") as f:
        assert f.read().splitlines() == ["other:TEXTkept", "md5_user:" + md5_of("md5_user", "md5_user")]


@pytest.mark.herdgate_only
def test_aes_entry_made_by_pg_enc(start_proxy, tmp_path):
    key = tmp_path / "key"
    key.write_text("a key for the herd\n")
    first = start_proxy()
    out = tool(first, "pg_enc", "-k", str(key), "scram_user")
    entry = next(line.split(": ")[1] for line in out.splitlines() if line.startswith("pool_passwd string"))
    assert entry.startswith("AES")
    proxy = start_proxy(files={**passwd("scram_user:" + entry), "keyfile": "a key for the herd\n"}, fresh=True)
    proxy.stop()
    proxy.environment["PGPOOLKEYFILE"] = f"{proxy.inner}/keyfile"
    proxy.start()
    gets_in(proxy, "scram_user", "scram_user")
    stays_out(proxy, "scram_user")


# Beyond the original.

def verifier_of(cluster, user):
    return cluster.primary.psql(f"select rolpassword from pg_authid where rolname = '{user}'", "postgres")


@pytest.mark.herdgate_only
@pytest.mark.parametrize("mode", ["session", "transaction"])
def test_scram_pass_through(start_proxy, cluster, mode):
    """A verifier alone is enough: the key for the servers comes out of the client's own proof."""
    proxy = start_proxy({"enable_pool_hba": True, "pool_mode": mode}, {
        **hba("host all all 127.0.0.1/32 scram-sha-256"), **passwd("scram_user:" + verifier_of(cluster, "scram_user"))})
    for _ in range(3):
        gets_in(proxy, "scram_user", "scram_user")
        stays_out(proxy, "scram_user")


@pytest.mark.herdgate_only
def test_auth_query(start_proxy):
    proxy = start_proxy({"enable_pool_hba": True, "auth_query_user": "postgres", "auth_query_database": "postgres",
                         "auth_query": "select rolname, rolpassword from pg_authid where rolname = $1"},
                        hba("host all all 127.0.0.1/32 scram-sha-256"))
    gets_in(proxy, "scram_user", "scram_user")
    stays_out(proxy, "scram_user")
    stays_out(proxy, "nobody_here")
    stays_out(proxy, "x' or true --")


@pytest.mark.herdgate_only
@pytest.mark.parametrize("setting, entry, lets_in", [("", "scram_user", True), ("", "another", False), ("", None, False),
                                                     ("scram_user", "another", True)])
def test_the_password_of_auth_query_user(start_proxy, cluster, setting, entry, lets_in):
    """auth_query_password; without it, what pool_passwd has."""
    cluster.primary.psql("create or replace function public.verifier_of(text) returns text security definer language sql "
                         "as 'select rolpassword from pg_catalog.pg_authid where rolname = $1'", "postgres")
    proxy = start_proxy({"enable_pool_hba": True, "auth_query_user": "scram_user", "auth_query_database": "postgres",
                         "auth_query_password": setting, "auth_query": "select public.verifier_of($1)"},
                        {**hba("host all all 127.0.0.1/32 md5"), **passwd(*[f"scram_user:TEXT{entry}"] * (entry is not None))})
    if lets_in:
        gets_in(proxy, "md5_user", "md5_user")
        assert "auth_query failed" not in proxy.log()
    else:
        stays_out(proxy, "md5_user", "md5_user")
        system.wait_until(lambda: "auth_query failed" in proxy.log(), "the log to say why")


@pytest.mark.herdgate_only
@pytest.mark.parametrize("rules", [("host all scram_user 127.0.0.1/32 reject",), ("local all all trust",)])
def test_whom_the_rules_refuse_auth_query_does_not_ask_about(start_proxy, cluster, marks, rules):
    mark = marks()
    proxy = start_proxy({"enable_pool_hba": True, "auth_query_user": "postgres", "auth_query_database": "postgres",
                         "auth_query": f"select rolpassword /* {mark} */ from pg_authid where rolname = $1"},
                        hba(*rules, "host all md5_user 127.0.0.1/32 scram-sha-256"), fresh=True)
    stays_out(proxy, "scram_user", "scram_user", match="client authentication failed|pool_hba.conf")
    assert askers(cluster, mark)[1] == 0
    stays_out(proxy, "md5_user")  # who has a rule is asked about
    assert askers(cluster, mark)[1] == 1


@pytest.mark.herdgate_only
@pytest.mark.parametrize("whose", ["database", "role"])
def test_auth_query_means_the_catalogs_own_names(start_proxy, cluster, whose):
    """Whoever owns the database that a client names has neither his code run there nor his verifiers believed."""
    primary = cluster.primary
    primary.psql("create role thief login; create role den_asker superuser login", "postgres")
    primary.psql("create database den owner thief", "postgres")
    with psycopg.connect(f"host={cluster.folder} port={primary.port} user=thief dbname=den", autocommit=True) as c:
        c.execute("create table ran (who text)")
        c.execute("create schema evil")
        c.execute("create function evil.same(a name, b name) returns bool language plpgsql as $$ begin "
                  "insert into public.ran values (current_user); return true; end $$")
        c.execute("create operator evil.= (leftarg = name, rightarg = name, function = evil.same)")
        c.execute("grant all on schema evil to public")
        c.execute("grant all on ran to public")
    target = "database den" if whose == "database" else "role den_asker"
    try:
        primary.psql(f"alter {target} set search_path = evil, pg_catalog, public", "postgres")
        primary.psql(f"alter {target} set standard_conforming_strings = off", "postgres")
        proxy = start_proxy({"enable_pool_hba": True, "auth_query_user": "den_asker",
                             "auth_query": "select rolpassword from pg_authid where rolname = $1"},
                            hba("host all all 127.0.0.1/32 scram-sha-256"), fresh=True)
        gets_in(proxy, "scram_user", "scram_user", dbname="den")
        stays_out(proxy, "nobody_here", dbname="den")
        stays_out(proxy, "x\\' or true --", dbname="den")
        assert primary.psql("select count(*) from public.ran", "den") == "0"
        assert "auth_query failed" not in proxy.log()
        proxy.stop()
    finally:
        primary.psql("drop database den with (force)", "postgres")
        primary.psql("drop role thief; drop role den_asker", "postgres")


def askers(cluster, mark):
    """The server processes that have run the auth_query with this mark, and how often they did."""
    lines = [line for line in cluster.primary.log().splitlines() if mark in line and "statement:" in line]
    return {re.search(r"\[(\d+)\]", line).group(1) for line in lines}, len(lines)


@pytest.mark.herdgate_only
def test_auth_query_asks_little(start_proxy, cluster, marks):
    """A storm of logins is no storm on the server: one connection per worker, answers are remembered for a while."""
    mark = marks()
    proxy = start_proxy({"enable_pool_hba": True, "auth_query_user": "postgres", "auth_query_database": "postgres",
                         "num_workers": 2, "num_init_children": 200, "pool_mode": "transaction",
                         "auth_query": f"select rolpassword /* {mark} */ from pg_authid where rolname = $1"},
                        hba("host all all 127.0.0.1/32 scram-sha-256"), fresh=True)
    names = ["scram_user", "scram_user", "scram_user", "nobody_here"] * 25
    begin = time.monotonic()
    with ThreadPoolExecutor(20) as pool:
        inside = list(pool.map(lambda name: can_log_in(proxy, name, "scram_user"), names))
    assert inside == [name == "scram_user" for name in names]
    processes, queries = askers(cluster, mark)
    assert len(processes) <= 2
    # Each worker asks for each user once, and again when the answer has become old: 5 s for a missing one, 30 s.
    seconds = int(time.monotonic() - begin)
    assert queries <= 2 * (2 + seconds // 5 + seconds // 30)


def can_log_in(proxy, user, password):
    try:
        proxy.connect(user=user, password=password).close()
        return True
    except psycopg.OperationalError:
        return False


@pytest.mark.herdgate_only
def test_auth_query_learns_a_new_password(start_proxy, cluster):
    proxy = start_proxy({"enable_pool_hba": True, "auth_query_user": "postgres", "auth_query_database": "postgres",
                         "auth_query": "select rolname, rolpassword from pg_authid where rolname = $1"},
                        hba("host all all 127.0.0.1/32 scram-sha-256"))
    cluster.primary.psql("set password_encryption = 'scram-sha-256'; "
                         "create role changing login password 'old'", "postgres")
    try:
        gets_in(proxy, "changing", "old")
        cluster.primary.psql("set password_encryption = 'scram-sha-256'; alter role changing password 'new'", "postgres")
        # A client who does not match what is remembered makes it be fetched again, once a second.
        system.wait_until(lambda: can_log_in(proxy, "changing", "new"), "the new password to count", poll=0.3)
        stays_out(proxy, "changing", "old")
    finally:
        cluster.primary.psql("drop role changing", "postgres")


@pytest.mark.herdgate_only
def test_auth_query_survives_a_restarted_server(start_proxy):
    own = Cluster(nodes=1)
    try:
        own.create().start()
        proxy = start_proxy({"enable_pool_hba": True, "auth_query_user": "postgres", "auth_query_database": "postgres",
                             "num_workers": 1, "auth_query": "select rolpassword from pg_authid where rolname = $1"},
                            hba("host all all 127.0.0.1/32 scram-sha-256"), on=own, fresh=True)
        gets_in(proxy, "scram_user", "scram_user")
        own.primary.psql("select pg_terminate_backend(pid) from pg_stat_activity where datname = 'postgres' and "
                         "pid <> pg_backend_pid()", "postgres")
        stays_out(proxy, "asked_anew")  # by a connection that turns out to be dead
        stays_out(proxy, "and_once_more")
        assert "auth_query failed" not in proxy.log()
        own.primary.psql("set password_encryption = 'scram-sha-256'; create role late login password 'late'", "postgres")
        own.primary.stop()
        with ThreadPoolExecutor(1) as pool:  # it is not told that its password is wrong
            login = pool.submit(gets_in, proxy, "late", "late")
            # By the look-up, or by a probe before it.
            system.wait_until(lambda: re.search("auth_query failed|Starting degeneration|node 0 does not answer", proxy.log()),
                              "the server to be missed")
            own.primary.start()
            login.result()
        system.wait_until(lambda: can_log_in(proxy, "scram_user", "scram_user"), "logins to work again", poll=0.3)
        proxy.stop()
    finally:
        own.destroy()


@pytest.mark.herdgate_only
def test_auth_query_of_a_full_server_speaks_of_no_password(start_proxy):
    own = Cluster(nodes=1, conf="max_connections = 8\nsuperuser_reserved_connections = 0\nmax_wal_senders = 0\n")
    held = []
    try:
        own.create().start()
        proxy = start_proxy({"enable_pool_hba": True, "auth_query_user": "postgres", "auth_query_database": "postgres", "sr_check_period": 0,
                             "auth_query": "select rolpassword from pg_authid where rolname = $1"},
                            hba("host all all 127.0.0.1/32 scram-sha-256"), on=own, fresh=True)
        with pytest.raises(psycopg.OperationalError, match="too many clients"):
            while True:
                held.append(psycopg.connect(f"host=127.0.0.1 port={own.primary.port} user=postgres dbname=postgres sslmode=disable"))
        stays_out(proxy, "scram_user", match="too many clients")
        for c in held:
            c.close()
        system.wait_until(lambda: can_log_in(proxy, "scram_user", "scram_user"), "logins to work again", poll=0.3)
        proxy.stop()
    finally:
        for c in held:
            c.close()
        own.destroy()


@pytest.mark.herdgate_only
def test_auth_query_that_reaches_no_server_speaks_of_no_password(start_proxy):
    own = Cluster(nodes=1)
    try:
        own.create().start()
        proxy = start_proxy({"enable_pool_hba": True, "auth_query_user": "postgres", "auth_query_database": "postgres",
                             "failover_wait_timeout": 0,
                             "auth_query": "select rolpassword from pg_authid where rolname = $1"},
                            hba("host all all 127.0.0.1/32 scram-sha-256"), on=own, fresh=True)
        gets_in(proxy, "scram_user", "scram_user")
        own.primary.stop()
        stays_out(proxy, "nobody", match="could not connect")
        own.primary.start()
        system.wait_until(lambda: can_log_in(proxy, "scram_user", "scram_user"), "logins to work again", poll=0.3)
        proxy.stop()
    finally:
        own.destroy()


@pytest.mark.herdgate_only
def test_a_slow_auth_query_is_no_lost_primary(start_proxy, cluster):
    primary = cluster.primary
    primary.psql("create table verifiers as select rolname, rolpassword from pg_authid", "postgres")
    try:
        proxy = start_proxy({"enable_pool_hba": True, "auth_query_user": "postgres", "auth_query_database": "postgres",
                             "log_min_messages": "debug1",
                             "auth_query": "select rolpassword from public.verifiers where rolname = $1"},
                            {**hba("host all postgres all trust", "host all all 127.0.0.1/32 scram-sha-256"), **passwd("postgres:TEXTpostgres")},
                            fresh=True)
        with psycopg.connect(f"host={cluster.folder} port={primary.port} user=postgres dbname=postgres") as c:
            c.execute("lock verifiers in access exclusive mode")
            with ThreadPoolExecutor(1) as pool, proxy.connect() as writer:
                login = pool.submit(stays_out, proxy, "scram_user", "scram_user", match="auth_query did not answer within 10 s")
                while not login.done():
                    begun = time.monotonic()
                    writer.execute("create temp table t (i int); drop table t")
                    assert time.monotonic() - begun < 5
                    time.sleep(0.2)
                login.result()
        assert "failed in a session" not in proxy.log()
        gets_in(proxy, "scram_user", "scram_user")
        proxy.stop()
    finally:
        primary.psql("drop table verifiers", "postgres")


@pytest.mark.herdgate_only
def test_who_waits_for_his_place_is_judged_by_the_rules_of_then(start_proxy):
    proxy = start_proxy({"enable_pool_hba": True, "num_init_children": 1}, hba("host all all 127.0.0.1/32 trust"), fresh=True)
    with ThreadPoolExecutor(1) as pool, proxy.connect() as inside:
        login = pool.submit(stays_out, proxy, "test", match="rejects")
        system.wait_until(lambda: len(inside.execute("show pool_processes").fetchall()) == 2, "the second client")
        proxy.files.update(hba("host all all 127.0.0.1/32 reject"))
        proxy.reload()
        system.wait_until(lambda: "configuration files reloaded" in proxy.log(), "the reload")
        inside.close()
        login.result()


@pytest.mark.herdgate_only
@pytest.mark.skipif(not SilentNames.available(), reason="no mount namespaces here")
def test_a_silent_name_service_for_servers_leaves_passwords_to_be_checked(cluster):
    with silent_names(cluster) as (proxy, names, clients):
        proxy.settings.update({"enable_pool_hba": True, "num_workers": 1, "backend_hostname0": "slow.example",
                               "backend_flag0": "ALWAYS_PRIMARY|DISALLOW_TO_FAILOVER"})
        proxy.files.update({**hba("host all postgres 127.0.0.1/32 trust", "host all all 127.0.0.1/32 scram-sha-256"),
                            **passwd(*ENTRIES)})
        proxy.start()
        clients(["127.0.0.1"] * 8)
        names.wait(2)  # both kinds of address
        stays_out(proxy, "scram_user", match="password does not match", connect_timeout=20)


@pytest.mark.herdgate_only
@pytest.mark.skipif(not SilentNames.available(), reason="no mount namespaces here")
def test_a_silent_name_service_for_memcached_leaves_passwords_to_be_checked(cluster):
    with silent_names(cluster) as (proxy, names, _):
        proxy.settings.update({"enable_pool_hba": True, "num_workers": 6, "memory_cache_enabled": True,
                               "memqcache_method": "memcached", "memqcache_memcached_host": "slow.example"})
        proxy.files.update({**hba("host all all 127.0.0.1/32 scram-sha-256"), **passwd(*ENTRIES)})
        proxy.start()
        names.wait(2)  # both kinds of address
        system.wait_until(lambda: "memcached is in trouble" in proxy.log(), "a worker to give up: each has asked at its start")
        stays_out(proxy, "scram_user", connect_timeout=20, match="password does not match")
        gets_in(proxy, "scram_user", "scram_user", connect_timeout=20)


# Where the servers ask whom the proxy logs in as by itself.

KNOWN_BY = pytest.mark.parametrize("password, files", [("scram_user", {}), ("", passwd("scram_user:TEXTscram_user"))],
                                   ids=["pgpool.conf", "pool_passwd"])


@pytest.mark.herdgate_only
@KNOWN_BY
def test_the_password_of_sr_check_user(start_proxy, password, files):
    proxy = start_proxy({"sr_check_user": "scram_user", "sr_check_password": password}, files, fresh=True)
    with proxy.connect() as c:
        c.row_factory = psycopg.rows.dict_row
        system.wait_until(lambda: [row["pg_role"] for row in c.execute("show pool_nodes")] == ["primary", "standby", "standby"],
                          "the roles that the servers tell")
    assert "could not check node" not in proxy.log()


@pytest.mark.herdgate_only
@KNOWN_BY
def test_the_password_of_health_check_user(start_proxy, cluster, password, files):
    asked = r"scram_user@template1 LOG:  (statement|execute)"  # nobody else is there by this name
    before = [len(re.findall(asked, node.log())) for node in cluster.nodes]
    proxy = start_proxy({"health_check_user": "scram_user", "health_check_password": password,
                         "health_check_database": "template1", "health_check_period": 1}, files, fresh=True)
    for node in cluster.nodes:
        system.wait_until(lambda n=node: len(re.findall(asked, n.log())) > before[n.number], f"node {node.number} to be asked")
    assert "could not check node" not in proxy.log()
    proxy.stop()  # template1 is there to be copied


def test_changed_password_on_the_server(start_proxy):
    """A link logged in with the old password does not let the old password in for ever, nor keep the new one out."""
    own = Cluster(nodes=1)
    try:
        own.create().start()
        proxy = start_proxy({"allow_clear_text_frontend_auth": True, "num_init_children": 4}, on=own, fresh=True)
        gets_in(proxy, "scram_user", "scram_user")
        own.primary.psql("alter role scram_user password 'new'", "postgres")
        gets_in(proxy, "scram_user", "new")
        proxy.stop()
    finally:
        own.destroy()


@pytest.mark.herdgate_only  # the original was still waiting after 15 s
def test_authentication_timeout(start_proxy):
    proxy = start_proxy({"enable_pool_hba": True, "authentication_timeout": 1},
                        {**hba("host all all 127.0.0.1/32 md5"), **passwd(*ENTRIES)})
    with Client(proxy.port) as c:
        c.send(startup(user="md5_user"))
        assert c.receive()[0] == "R"
        with pytest.raises(Closed):
            while True:
                c.receive()
    system.wait_until(lambda: can_log_in(proxy, "md5_user", "md5_user"), "a login in time")  # a slow machine misses some


@pytest.mark.parametrize("answer", [b"", b"\0", b"x" * 70000 + b"\0", b"SCRAM-SHA-256\0\0\0\0\5n,,n=,r=", b"\xff" * 50])
def test_odd_answers_to_a_challenge(start_proxy, answer):
    proxy = start_proxy({"enable_pool_hba": True},
                        {**hba("host all all 127.0.0.1/32 scram-sha-256"), **passwd(*ENTRIES)})
    with Client(proxy.port) as c:
        c.send(startup(user="scram_user"))
        assert c.receive()[0] == "R"
        c.send(message("p", answer))
        with pytest.raises(Closed):
            while c.receive()[0] in "ER":
                pass
    gets_in(proxy, "scram_user", "scram_user")
