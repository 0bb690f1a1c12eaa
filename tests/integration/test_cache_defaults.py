"""Entries of the query cache and what servers give their sessions: ALTER ROLE, ALTER DATABASE and ALTER SYSTEM … SET.

A session opened before such a change and one opened after it have different answers to one text, from the servers and
through the proxy. Each is compared with a session of the server's own that was opened at the same time.
"""
import itertools

import pytest

from support.system import wait_until
from support.wire import SYNC, Client, bind, describe, execute, parse, query
from test_cache_sharing import Session, keep
from test_query_cache import ON_PRIMARY, figures

pytestmark = [pytest.mark.proxy_only, pytest.mark.herdgate_only]

# A setting, what it is before and after, and a text that shows it.
SETTINGS = [
    ("DateStyle", "'ISO'", "'German'", "select d from qd.kinds"),
    ("IntervalStyle", "'postgres'", "'iso_8601'", "select i from qd.kinds"),
    ("TimeZone", "'UTC'", "'Asia/Tokyo'", "select z from qd.kinds"),
    ("bytea_output", "'hex'", "'escape'", "select b from qd.kinds"),
    ("extra_float_digits", "1", "-10", "select f from qd.kinds"),
    ("search_path", "qd", "qd2", "select d from kinds"),
    ("array_nulls", "on", "off", "select '{NULL}'::text[] from qd.kinds"),
    ("transform_null_equals", "off", "on", "select count(*) from qd.kinds where null = null"),
    ("xmlbinary", "base64", "hex", "select xmlelement(name x, b) from qd.kinds"),
    ("app.tenant", "'1'", "'2'", "/*FORCE QUERY CACHE*/ select current_setting('app.tenant'), d from qd.kinds"),
]
NAMES = [s[0] for s in SETTINGS]
numbers = itertools.count()


@pytest.fixture(scope="module")
def kinds(cluster):
    cluster.primary.psql("""
        set client_min_messages = error; drop schema if exists qd cascade; drop schema if exists qd2 cascade;
        create schema qd; grant all on schema qd to public; create schema qd2; grant all on schema qd2 to public;
        create table qd.kinds as select date '2020-12-31' d, interval '1 day 2 hours' i, '\\xe961'::bytea b,
          1.0::float8 / 3 f, timestamptz '2020-12-31 10:00+00' z;
        create table qd2.kinds as select date '1999-01-01' d;
        grant all on all tables in schema qd to public; grant all on all tables in schema qd2 to public""")
    cluster.wait_replayed()


@pytest.fixture
def role(cluster):
    """A user whom no link has been opened for."""
    name = f"qd_{next(numbers)}"
    cluster.primary.psql(f"create role {name} login")
    yield name
    cluster.primary.psql(f"alter database test reset all; drop role {name}")


def in_session_mode(start_proxy, kinds):
    return start_proxy(ON_PRIMARY)


def in_transaction_mode(start_proxy, kinds):
    return start_proxy({**ON_PRIMARY, "pool_mode": "transaction"})


@pytest.fixture
def proxy(start_proxy, kinds):
    return in_session_mode(start_proxy, kinds)


@pytest.fixture
def pooling(start_proxy, kinds):
    return in_transaction_mode(start_proxy, kinds)


def watching(proxy):
    c = proxy.connect()
    return c, lambda: int(figures(c)["hits"])


def altered(what, role, name, value):
    return f"alter {'database test' if what == 'database' else 'role ' + role} set {name} = {value}"


def forms(sql):
    return (query(sql),), (parse(sql), bind(), describe(), execute(), SYNC)


def alter(where, proxy, cluster, sql):
    """On the server itself, or through the proxy."""
    if where == "behind":
        cluster.primary.psql(sql)
    else:
        with proxy.connect() as c:
            c.execute(sql)


def before_and_after(proxy, cluster, role, change, setting):
    what, where = change
    name, one, other, sql = setting
    c, watch = watching(proxy)
    with c:
        cluster.primary.psql(altered(what, role, name, one))
        with Session(proxy, cluster, user=role) as a:
            for request in forms(sql):
                keep(a, request, watch)
            alter(where, proxy, cluster, altered(what, role, name, other))
            with Session(proxy, cluster, user=role) as b:
                for request in forms(sql):
                    for _ in range(2):
                        assert a.ask(request) != b.ask(request)
                    keep(b, request, watch)
                    keep(a, request, watch)
                    assert a.ask(request) != b.ask(request), "hits of each"


@pytest.mark.parametrize("what", ["role", "database"])
@pytest.mark.parametrize("setting", SETTINGS, ids=NAMES)
def test_each_has_what_its_login_gave_it(proxy, cluster, role, what, setting):
    before_and_after(proxy, cluster, role, (what, "behind"), setting)


@pytest.mark.parametrize("what", ["role", "database"])
def test_the_same_altered_through_the_proxy(proxy, cluster, role, what):
    before_and_after(proxy, cluster, role, (what, "here"), SETTINGS[0])


def test_the_same_with_memcached(start_proxy, kinds, memcached, cluster, role):
    proxy = start_proxy({**ON_PRIMARY, **memcached.settings()})
    before_and_after(proxy, cluster, role, ("role", "behind"), SETTINGS[0])


@pytest.mark.parametrize("one, other", [("set datestyle = 'German'", "reset all"), ("reset all", "discard all")])
def test_what_a_session_sets_and_takes_back(proxy, cluster, role, one, other):
    """What is left then is what the login gave, the old one's and the new one's."""
    sql = SETTINGS[0][3]
    cluster.primary.psql(altered("role", role, "DateStyle", "'SQL, DMY'"))
    with Session(proxy, cluster, user=role) as a:
        a.ask((query(sql),))
        cluster.primary.psql(altered("role", role, "DateStyle", "'ISO'"))
        with Session(proxy, cluster, user=role) as b:
            for setting in ("select 1", one, other, "set datestyle = 'MDY'", "set datestyle to default"):
                for session in (a, b):
                    session.ask((query(setting),))
                for request in forms(sql):
                    for session in (a, b, a, b):
                        session.ask(request)


@pytest.mark.parametrize("what", ["role", "database"])
@pytest.mark.parametrize("setting", SETTINGS, ids=NAMES)
def test_links_for_everybody_converge(pooling, cluster, role, what, setting):
    """Altered through the proxy: no link of before is lent again, and nobody is answered as by one of them."""
    name, one, other, sql = setting
    c, watch = watching(pooling)
    with c:
        cluster.primary.psql(altered(what, role, name, one))
        with Session(pooling, cluster, user=role) as a:
            for request in forms(sql):
                keep(a, request, watch)
            c.execute(altered(what, role, name, other))
            with Session(pooling, cluster, user=role) as b:
                for request in forms(sql):
                    fresh = b.said(b.there, request)
                    assert fresh != a.said(a.there, request)
                    for client in (a.here, b.here):
                        wait_until(lambda: b.said(client, request) == fresh, "the new setting")
                    keep(b, request, watch)
                    assert [b.said(client, request) for client in (a.here, b.here)] == [fresh, fresh]


@pytest.mark.parametrize("setting", SETTINGS, ids=NAMES)
def test_two_links_that_differ(pooling, cluster, role, setting):
    """Behind the proxy's back, while the old link is in a transaction: the next one is new."""
    name, one, other, sql = setting
    request = forms(sql)[0]
    c, watch = watching(pooling)
    with c:
        cluster.primary.psql(altered("role", role, name, one))
        with Session(pooling, cluster, user=role) as a:
            keep(a, request, watch)
            for text in ("begin", "select now() is null"):
                a.ask((query(text),))
            cluster.primary.psql(altered("role", role, name, other))
            with Session(pooling, cluster, user=role) as b:
                for text in ("begin", "select now() is null"):
                    b.ask((query(text),))
                assert a.ask(request) != b.ask(request)
                for session in (b, a):
                    session.ask((query("commit"),))
                keep_new = b.said(b.there, request)
                for client in (a.here, b.here):
                    wait_until(lambda: b.said(client, request) == keep_new, "the old link to be given up")


@pytest.mark.parametrize("where", ["behind", "here"])
@pytest.mark.parametrize("mode", [in_session_mode, in_transaction_mode])
def test_a_server_reads_its_configuration_anew(start_proxy, kinds, cluster, role, where, mode):
    """Live sessions are given the new value: what was kept of the old one is not shown any more, nor is it when the
    old value comes back."""
    proxy = mode(start_proxy, kinds)
    sql = "select f, d, b from qd.kinds"
    c, watch = watching(proxy)
    with c, Session(proxy, cluster, user=role) as a, Client(cluster.primary.port).login(user=role) as known:
        requests = forms(sql)
        for request in requests:
            keep(a, request, watch)
        first = {request: a.ask(request) for request in requests}
        try:
            for change, differs in (("set extra_float_digits = -10", True), ("reset extra_float_digits", False)):
                alter(where, proxy, cluster, f"alter system {change}")
                alter(where, proxy, cluster, "select pg_reload_conf()")
                for request in requests:
                    for client, who in ((known, "the server"), (a.there, "the server"), (a.here, "the proxy")):
                        wait_until(lambda: (a.said(client, request) != first[request]) == differs, f"{who} to notice")
                    keep(a, request, watch)
        finally:
            cluster.primary.psql("alter system reset extra_float_digits")
            cluster.primary.psql("select pg_reload_conf()")


@pytest.mark.parametrize("mode", ["session", "transaction"])
@pytest.mark.parametrize("what", ["role", "database"])
@pytest.mark.parametrize("how", ["plain", "unseen", "behind"])
def test_new_sessions_hear_what_was_altered(start_proxy, cluster, role, how, what, mode):
    """With the cache off too: what a login tells, and how texts are read, is what the server says now."""
    proxy = start_proxy({"pool_mode": mode, "load_balance_mode": False})
    names = ("DateStyle", "standard_conforming_strings", "client_encoding")

    def told(port):
        with Client(port).login(user=role) as client:
            client.send(query(r"select 'a\\b', date '2020-12-31'"))
            return [client.parameters[name] for name in names], [m for m in client.until() if m[0] in "DE"]
    before = told(proxy.port)
    assert before == told(cluster.primary.port)
    with proxy.connect() as c:
        for name, value in (("DateStyle", "'German'"), ("standard_conforming_strings", "off"), ("client_encoding", "'LATIN1'")):
            sql = altered(what, role, name, value)
            if how == "behind":
                cluster.primary.psql(sql)
            else:
                c.execute(sql if how == "plain" else f"do $do$ begin {sql}; end $do$")
    now = told(cluster.primary.port)
    assert now != before
    wait_until(lambda: told(proxy.port) == now, "new sessions to hear of it")
    assert told(proxy.port) == now


@pytest.mark.parametrize("cached", [True, False])
@pytest.mark.parametrize("mode", ["session", "transaction"])
def test_a_role_of_a_dropped_ones_name(start_proxy, kinds, role, mode, cached):
    """It is another role: a connection of the dropped one has no rights of it."""
    proxy = start_proxy({"pool_mode": mode, "load_balance_mode": False, "memory_cache_enabled": cached})
    with proxy.connect() as admin:
        for _ in range(2):
            with proxy.connect(user=role) as c:
                assert c.execute("select current_user, count(*) from qd.kinds").fetchall() == [(role, 1)]
            admin.execute(f"drop role {role}")
            admin.execute(f"create role {role} login")


def test_a_server_that_does_not_say(proxy, cluster, role):
    """Such a link's answers are not kept, nor is it answered from the cache; the next one that says is."""
    request = forms(SETTINGS[0][3])[0]
    c, watch = watching(proxy)
    with c:
        cluster.primary.psql("revoke select on pg_catalog.pg_db_role_setting from public")
        try:
            with Session(proxy, cluster, user=role) as a:
                before = watch()
                for _ in range(3):
                    a.ask(request)
                assert watch() == before
        finally:
            cluster.primary.psql("grant select on pg_catalog.pg_db_role_setting to public")
        wait_until(lambda: "did not say what settings its sessions begin with" in proxy.log(), "the warning")

        def is_hit():
            before = watch()
            with Session(proxy, cluster, user=role) as b:
                b.ask(request)
                b.ask(request)
            return watch() > before
        c.execute(altered("role", role, "DateStyle", "'SQL'"))  # the links are renewed
        wait_until(is_hit, "a new link to have said")
