"""Who may share an entry of the query cache, and which changes of what a name means end one.

Everything is asked both through the proxy and of the server, and compared octet by octet. Hits are counted: that two
sessions have different answers says little where nothing is kept.
"""
import pytest

from support.system import wait_until
from support.wire import SYNC, Client, bind, describe, execute, parse, query
from test_query_cache import ON_PRIMARY, figures, hits_of

pytestmark = [pytest.mark.proxy_only, pytest.mark.herdgate_only]
INT4, TEXT = 23, 25


@pytest.fixture(scope="module")
def proxy(cluster, start_proxy):
    cluster.primary.psql("""
        set client_min_messages = error; drop schema if exists qs cascade; drop schema if exists qs2 cascade;
        create schema qs; grant all on schema qs to public; create schema qs2; grant all on schema qs2 to public;
        create table qs.kinds as select 1 as id, date '2020-12-31' d, interval '1 day 2 hours' i, '\\xe961'::bytea b,
          U&'caf\\00e9'::text t, 1234.5::numeric::money m, 1234.5::numeric n;
        create table qs.owned (id int); insert into qs.owned select generate_series(1, 3); alter table qs.owned owner to test;
        alter table qs.owned enable row level security; alter table qs.owned force row level security;
        create policy p on qs.owned using (id = nullif(current_setting('app.tenant', true), '')::int);
        grant all on all tables in schema qs to public""")
    cluster.wait_replayed()
    return start_proxy(ON_PRIMARY)


@pytest.fixture
def watch(proxy):
    with proxy.connect() as c:
        yield lambda: int(figures(c)["hits"])


class Session:
    """One client of the proxy and one of the server, in the same state."""

    def __init__(self, proxy, cluster, *settings, user="postgres"):
        self.here = Client(proxy.port).login(user=user)
        self.there = Client(cluster.primary.port).login(user=user)
        for client in (self.here, self.there):
            for setting in settings:
                client.ask(setting)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.here.close()
        self.there.close()

    @staticmethod
    def said(client, request):
        client.send(*request)
        return [m for m in client.until() if m[0] not in "SN"]

    def ask(self, request):
        """What the proxy said, which is what the server says."""
        got = self.said(self.here, request)
        assert got == self.said(self.there, request)
        return got


def keep(session, request, watch):
    """Asked until it comes from the cache."""
    def is_hit():
        before = watch()
        session.ask(request)
        return watch() > before
    wait_until(is_hit, "a hit")


def fails(answer):
    return "E" in [kind for kind, _ in answer]


def apart(one, other, request, watch, differ=True):
    """`request` is a message list for each of the two sessions."""
    keep(one, request[0], watch)
    before = watch()
    second = other.ask(request[1])
    assert watch() == before, "the other's entry"
    if not fails(second):  # what failed is not kept
        keep(other, request[1], watch)
    first, second = one.ask(request[0]), other.ask(request[1])
    assert not differ or first != second
    keep(one, request[0], watch)


@pytest.mark.parametrize("one, other, sql", [
    ("set client_encoding = 'UTF8'", "set client_encoding = 'LATIN1'", "select t from qs.kinds"),
    ("set client_encoding = 'LATIN1'", "set client_encoding = 'UTF8'", "select char_length('caf\u00e9') from qs.kinds"),
    ("set names 'UTF8'", "set names 'WIN1252'", "select t from qs.kinds where id = 1"),
    ("set bytea_output = 'hex'", "set bytea_output = 'escape'", "select b from qs.kinds"),
    ("set intervalstyle = 'postgres'", "set intervalstyle = 'sql_standard'", "select i from qs.kinds"),
    ("set datestyle = 'ISO'", "set datestyle = 'German'", "select d from qs.kinds"),
    # What comes with a warning is not kept.
    ("set escape_string_warning = off; set standard_conforming_strings = on",
     "set escape_string_warning = off; set standard_conforming_strings = off", r"select 'a\\b'"),
    ("set transform_null_equals = off", "set transform_null_equals = on", "select count(*) from qs.kinds where null = null"),
    ("set array_nulls = on", "set array_nulls = off", "select '{NULL}'::text[] from qs.kinds"),
    ("set search_path = qs", "set search_path = qs2", "select id from kinds")])
def test_settings_that_differ(proxy, cluster, watch, one, other, sql):
    with Session(proxy, cluster, one) as a, Session(proxy, cluster, other) as b:
        apart(a, b, [(query(sql),)] * 2, watch)
        unit = (parse(sql), bind(), describe(), execute(), SYNC)
        apart(a, b, [unit] * 2, watch)


@pytest.mark.parametrize("name, column", [("lc_monetary", "m"), ("lc_numeric", "n")])
def test_locales_that_differ(proxy, cluster, watch, name, column):
    """The machine may have no locale that writes either another way: then it shows only that nothing is shared."""
    with Session(proxy, cluster, f"set {name} = 'C'") as a, Session(proxy, cluster, f"set {name} = 'C.UTF-8'") as b:
        apart(a, b, [(query(f"select {column} from qs.kinds"),)] * 2, watch, differ=False)


@pytest.mark.parametrize("one, other", [
    (["set row_security = on", "set app.tenant = 1"], ["set row_security = off", "set app.tenant = 1"]),
    (["set app.tenant = 1"], ["set app.tenant = 2"]), (["set app.tenant = 3"], [])])
def test_row_security(proxy, cluster, watch, one, other):
    """Without the comment such a table is never kept."""
    sql = "select id from qs.owned"
    with Session(proxy, cluster, *one, user="test") as a, Session(proxy, cluster, *other, user="test") as b:
        before = watch()
        for session in (a, b, a, b):
            session.ask((query(sql),))
        assert watch() == before
        apart(a, b, [(query("/*FORCE QUERY CACHE*/ " + sql),)] * 2, watch)


def test_a_setting_of_one_transaction(proxy, cluster, watch):
    request = (query("select d, i from qs.kinds"),)
    with Session(proxy, cluster) as a:
        keep(a, request, watch)
        for setting in ("set local datestyle = 'German'", "set datestyle = 'SQL'"):
            for end in ("commit", "rollback"):
                plain = a.ask(request)
                a.ask((query("begin"),))
                a.ask((query(setting),))
                assert a.ask(request) != plain
                a.ask((query(end),))
                a.ask(request)


# The extended protocol. A case is Parse's types, Bind's value and formats, in either session.

@pytest.mark.parametrize("sql, one, other", [
    ("select id from qs.kinds", dict(results=(0,)), dict(results=(1,))),
    ("select id, t from qs.kinds", dict(results=(1,)), dict(results=(1, 0))),
    ("select $1 = '01' from qs.kinds", dict(types=(INT4,), value="1"), dict(types=(TEXT,), value="1")),
    ("select $1 from qs.kinds", dict(types=(INT4,), value="1"), dict(types=(), value="1")),
    ("select $1 from qs.kinds", dict(types=(INT4,), value="1234"), dict(types=(INT4,), value="1234", formats=(1,)))],
    ids=["result format", "each column's format", "type", "no type", "value's format"])
def test_formats_and_types(proxy, cluster, watch, sql, one, other):
    def unit(types=(), value=None, formats=(), results=()):
        values = () if value is None else (value,)
        return parse(sql, types=types), bind(*values, formats=formats, results=results), describe(), execute(), SYNC
    with Session(proxy, cluster) as a, Session(proxy, cluster) as b:
        apart(a, b, [unit(**one), unit(**other)], watch)


def test_a_driver_in_text_and_binary(proxy, cluster, watch):
    sql = "select id, d, b from qs.kinds where id = %s"
    with proxy.connect() as c:
        def run(binary):
            with c.cursor(binary=binary) as cursor:
                found = cursor.execute(sql, (1,)).fetchall()
                return found, cursor.pgresult.fformat(0), cursor.pgresult.get_value(0, 0)
        def is_hit(binary):
            before = watch()
            run(binary)
            return watch() > before
        for binary in (False, True):
            wait_until(lambda: is_hit(binary), "a hit")
        text, octets = run(False), run(True)
        assert text[0] == octets[0]
        assert (text[1:], octets[1:]) == ((0, b"1"), (1, b"\0\0\0\1"))


# What ends an entry besides writes. Each begins with `qs2.t` of one row, and qs2.other beside it.

BEFORE = """drop schema if exists qs2 cascade; create schema qs2; grant all on schema qs2 to public;
    create type qs2.mood as enum ('fine', 'bad'); create table qs2.t as select 1 as id, 'fine'::qs2.mood as m;
    create table qs2.other as select 2 as id, 'bad'::qs2.mood as m; create schema qs2_first;
    create table qs2.parted (id int) partition by range (id); create table qs2.part (id int); insert into qs2.part values (1);
    create function qs2.f() returns int language sql immutable as 'select 1';
    grant all on all tables in schema qs2 to public; grant all on schema qs2_first to public"""


@pytest.mark.parametrize("sql, changes", [
    ("select * from qs2.t", ["drop table qs2.t", "create table qs2.t as select 7 as id"]),
    ("select * from qs2.t", ["begin; drop table qs2.t; create table qs2.t as select 7 as id; commit"]),
    ("select * from qs2.t", ["drop table if exists qs2.t, qs2.other"]),
    ("select * from qs2.t", ["drop schema qs2 cascade"]),
    ("select * from qs2.t", ["alter table qs2.t add extra int default 5", "alter table qs2.t drop extra"]),
    ("select * from qs2.t", ["alter table qs2.t rename id to number"]),
    ("select * from qs2.t", ["alter table qs2.t alter id type text using 'x' || id"]),
    ("select * from qs2.t", ["alter table qs2.t rename to old", "alter table qs2.other rename to t"]),
    ("select * from qs2.t", ["alter table qs2.t set schema qs2_first", "alter table qs2_first.t set schema qs2"]),
    ("select * from qs2.t", ["alter schema qs2 rename to qs2_away", "alter schema qs2_away rename to qs2"]),
    ("select * from qs2.t", ["alter type qs2.mood rename value 'fine' to 'splendid'"]),
    ("select * from qs2.t", ["drop type qs2.mood cascade"]),
    ("select * from qs2.t", ["create table qs2.heir () inherits (qs2.t); insert into qs2.heir values (9)", "drop table qs2.heir"]),
    ("select id from t", ["create table qs2_first.t as select 3 as id", "drop table qs2_first.t"]),
    ("select count(*) from qs2.parted", ["alter table qs2.parted attach partition qs2.part for values from (0) to (9)",
                                         "alter table qs2.parted detach partition qs2.part"]),
    ("select qs2.f()", ["create or replace function qs2.f() returns int language sql immutable as 'select 2'",
                        "drop function qs2.f()"]),
    ("select * from qs2.t", ["revoke all on qs2.t from public", "grant select on qs2.t to public"]),
    ("select * from qs2.t", ["revoke all on schema qs2 from public", "grant all on schema qs2 to public"]),
    ("select * from qs2.t", ["alter table qs2.t enable row level security"])])
def test_a_name_that_means_something_else(proxy, cluster, watch, sql, changes):
    request = (query(sql),)
    unit = (parse(sql), bind(), describe(), execute(), SYNC)
    with proxy.connect() as writer, Session(proxy, cluster, "set search_path = qs2_first, qs2", user="test") as a:
        writer.execute("set client_min_messages = error; drop schema if exists qs2_first cascade; " + BEFORE)
        for change in changes:
            before = [a.ask(request), a.ask(unit)]
            if not fails(before[0]):
                keep(a, request, watch)
                keep(a, unit, watch)
            writer.execute(change)
            after = [a.ask(request), a.ask(unit)]
            assert after[0] != before[0] and after[1] != before[1]
            assert hits_of(writer, "select id from qs.kinds", 3) >= 1, "and others are kept"
