"""What a statement changes without naming it: no answer of before may outlive it, nor a setting reach another session."""
import pytest

from support.wire import Client
from test_query_cache import ON_PRIMARY

pytestmark = [pytest.mark.proxy_only, pytest.mark.herdgate_only]

CLEAN = ["drop schema if exists fx cascade", "drop schema if exists fx_hidden cascade"]


@pytest.fixture(params=["session", "transaction"])
def proxy(start_proxy, request):
    return start_proxy({**ON_PRIMARY, "pool_mode": request.param, "cache_safe_memqcache_table_list": "fx[.].*"})


@pytest.fixture
def client(proxy):
    """client(user=…, database=…): a session through the proxy. Schema fx is made anew, with a table fx.t of one row."""
    clients = []

    def new(**words):
        clients.append(Client(proxy.port).login(**words))
        return clients[-1]
    c = new()
    for sql in CLEAN + ["create schema fx", "create table fx.t (a int)", "insert into fx.t values (1)",
                        "grant usage on schema fx to public",
                        "create function fx.writes() returns int language plpgsql as "
                        "$$begin update fx.t set a = a + 1; return 1; end$$"]:
        c.ask(sql)
    yield new
    for sql in CLEAN:
        new().ask(sql)
    for c in clients:
        c.__exit__(None, None, None)


def hits(c):
    return int(c.ask("show pool_cache")[0][0])


def kept(c, sql):
    """It is in the cache."""
    c.ask(sql), c.ask(sql)
    before = hits(c)
    answer = c.ask(sql)
    assert hits(c) == before + 1, f"{sql} is not kept"
    return answer


CATALOGS = {
    "pg_enum": (["create type fx.e as enum ('a', 'b')", "create table fx.n (e fx.e)", "insert into fx.n values ('a')"],
                "select e from fx.n",
                ["update pg_enum set enumlabel = 'z' where enumlabel = 'a' and enumtypid = 'fx.e'::regtype"]),
    "by copy": (["create type fx.e as enum ('a', 'b')", "create table fx.n (e fx.e)", "insert into fx.n values ('a')"],
                "select e from fx.n",
                ["begin", "create temp table labels on commit drop as select * from pg_enum where enumtypid = 'fx.e'::regtype",
                 "update labels set enumlabel = 'z' where enumlabel = 'a'",
                 "merge into pg_enum using labels on pg_enum.oid = labels.oid "
                 "when matched then update set enumlabel = labels.enumlabel", "commit"]),
    "pg_attribute": (["create table fx.n (a int, b int)", "insert into fx.n values (1, 2)"], "select a from fx.n",
                     ["begin", "update pg_attribute set attname = 'c' where attname = 'a' and attrelid = 'fx.n'::regclass",
                      "update pg_attribute set attname = 'a' where attname = 'b' and attrelid = 'fx.n'::regclass",
                      "commit"]),
    "pg_class": (["create table fx.n (a int)", "insert into fx.n values (1)", "create table fx.m (a int)",
                  "insert into fx.m values (2)"], "select a from fx.n",
                 ["begin", "update pg_class set relname = 'x' where oid = 'fx.n'::regclass",
                  "update pg_class set relname = 'n' where oid = 'fx.m'::regclass", "commit"]),
    "pg_proc": (["create function fx.f(int) returns int immutable language sql as 'select $1 + 1'"],
                "select fx.f(a) from fx.t", ["update pg_proc set prosrc = 'select $1 + 100' where oid = 'fx.f'::regproc"]),
    "pg_rewrite": (["create table fx.n (a int, b int)", "insert into fx.n values (1, 2)",
                    "create view fx.v as select a from fx.n", "create view fx.w as select b as a from fx.n"],
                   "select a from fx.v",
                   ["begin", "update pg_rewrite set ev_action = (select ev_action from pg_rewrite where ev_class = "
                    "'fx.w'::regclass) where ev_class = 'fx.v'::regclass",
                    "update pg_class set relname = relname where oid = 'fx.v'::regclass",  # so that servers heed it
                    "commit"]),
    "pg_inherits": (["create table fx.n (a int)", "create table fx.m () inherits (fx.n)", "insert into fx.m values (1)"],
                    "select a from fx.n", ["delete from pg_inherits where inhrelid = 'fx.m'::regclass"]),
    "in a function": (["create type fx.e as enum ('a', 'b')", "create table fx.n (e fx.e)", "insert into fx.n values ('a')",
                       "create function fx.enums() returns int language plpgsql as $$begin update pg_catalog.pg_enum "
                       "set enumlabel = 'z' where enumlabel = 'a' and enumtypid = 'fx.e'::regtype; return 1; end$$"],
                      "select e from fx.n", ["select fx.enums()"]),
    "by a view": (["create type fx.e as enum ('a', 'b')", "create table fx.n (e fx.e)", "insert into fx.n values ('a')",
                   "create view fx.v as select * from pg_enum"], "select e from fx.n",
                  ["update fx.v set enumlabel = 'z' where enumlabel = 'a' and enumtypid = 'fx.e'::regtype"]),
}


@pytest.mark.parametrize("what", CATALOGS)
def test_a_write_to_a_system_catalog(client, cluster, what):
    before, read, writes = CATALOGS[what]
    c, other = client(), client()
    for sql in before:
        c.ask(sql)
    was = kept(other, read)
    for sql in writes:
        c.ask(sql)
    with Client(cluster.primary.port).login() as direct:
        now = direct.ask(read)
    assert now != was
    assert other.ask(read) == client().ask(read) == now


# What the catalog is known to say is of before, too: the write is to the table that bears the name now.
def test_names_after_a_write_to_pg_class(client):
    c, other = client(), client()
    for sql in ["create table fx.n (a int)", "create table fx.m (a int)", "insert into fx.n values (1)",
                "insert into fx.m values (2)", "update fx.n set a = 1", "update fx.m set a = 2", "begin",
                "update pg_class set relname = 'x' where oid = 'fx.n'::regclass",
                "update pg_class set relname = 'n' where oid = 'fx.m'::regclass",
                "update pg_class set relname = 'm' where oid = 'fx.x'::regclass", "commit"]:
        c.ask(sql)
    assert kept(other, "select a from fx.n") == [["2"]]
    c.ask("update fx.n set a = 7")
    assert other.ask("select a from fx.n") == [["7"]]


@pytest.fixture
def role(client):
    """fx_owner may read what fx_hidden has, fx_user may not. By the proxy: else it lends what a dropped role had."""
    c, elsewhere = client(), client(database="postgres")
    elsewhere.ask("drop role if exists fx_member, fx_owner, fx_user")
    elsewhere.ask("create role fx_owner")
    elsewhere.ask("create role fx_user login")
    yield
    c.ask("drop schema fx_hidden, fx cascade")
    elsewhere.ask("drop role if exists fx_member, fx_owner, fx_user")


@pytest.mark.parametrize("how", ["create role fx_member in role fx_owner role fx_user",
                                 "create role fx_member in role fx_owner admin fx_user",
                                 "create user fx_member in group fx_owner role fx_user",
                                 "create group fx_member in role fx_owner user fx_user",
                                 "select fx_grants()"])
@pytest.mark.usefixtures("role")
def test_rights_by_a_role_that_another_database_makes(client, cluster, how):
    c, elsewhere = client(), client(database="postgres")
    for sql in ["create schema fx_hidden", "create table fx_hidden.t (a int)", "insert into fx_hidden.t values (2)",
                "grant usage on schema fx_hidden to fx_owner", "grant select on fx_hidden.t to fx_owner",
                "grant select on fx.t to fx_user"]:
        c.ask(sql)
    elsewhere.ask("create or replace function fx_grants() returns int language plpgsql as "
                  "$$begin grant fx_owner to fx_user; return 1; end$$")
    user = client(user="fx_user")
    user.ask("set search_path = fx_hidden, fx")
    assert kept(user, "select a from t") == [["1"]]
    elsewhere.ask(how)
    cluster.primary.psql("alter role fx_user connection limit 50")  # so that servers look at search_path again
    assert user.ask("select a from t") == [["2"]]
    elsewhere.ask("drop function fx_grants()")


# In pg_temp, and in whatever schema it was not found.
@pytest.mark.parametrize("how", ["select pg_temp.writes()",
                                 "create function fx.late() returns int language sql as 'select fx.writes()'; select fx.late()",
                                 "begin; set local search_path = fx; create function late() returns int language sql as "
                                 "'select fx.writes()'; select late(); commit"])
def test_a_function_of_the_session(client, how):
    c, other = client(), client()
    c.ask("create function pg_temp.writes() returns int language plpgsql as "
          "$$begin update fx.t set a = a + 1; return 1; end$$")
    assert kept(other, "select a from fx.t") == [["1"]]
    c.ask(how)
    assert other.ask("select a from fx.t") == [["2"]]


VIEWS = {
    "volatile": ["create view fx.v as select fx.writes() as x"],
    "transition": ["create function fx.step(int, int) returns int language plpgsql as "
                   "$$begin return fx.writes(); end$$", "create aggregate fx.g (int) (sfunc = fx.step, stype = int)",
                   "create view fx.v as select fx.g(1) as x"],
    "minvfunc": ["create function fx.step(int, int) returns int language plpgsql as $$begin return fx.writes(); end$$",
                 "create function fx.still(int, int) returns int immutable language sql as 'select coalesce($1, 0)'",
                 "create aggregate fx.g (int) (sfunc = fx.still, stype = int, msfunc = fx.still, minvfunc = fx.step, "
                 "mstype = int)", "create view fx.v as select fx.g(x) over (order by x rows between 1 preceding and "
                 "current row) from generate_series(1, 3) x"],
    "default": ["create function fx.f(i int default fx.writes()) returns int immutable language sql as 'select i'",
                "create view fx.v as select fx.f() as x"],
    "text": ["create function fx.step(int) returns int language sql as 'select fx.writes()'",
             "create view fx.v as select query_to_xml('select fx.writes()', true, false, '') as x"],
    "xml of a view": ["create view fx.w as select fx.writes() as x",
                      "create view fx.v as select table_to_xml('fx.w', true, false, '') as x"],
}


@pytest.mark.parametrize("view", VIEWS)
def test_a_view_that_writes(client, view):
    c, other = client(), client()
    for sql in VIEWS[view]:
        c.ask(sql)
    assert kept(other, "select a from fx.t") == [["1"]]
    c.ask("select * from fx.v")
    now = c.ask("/*NO QUERY CACHE*/ select a from fx.t")
    assert now != [["1"]]
    assert other.ask("select a from fx.t") == now


@pytest.mark.parametrize("call", ["table_to_xml('fx.v', true, false, '')", "schema_to_xml('fx', true, false, '')",
                                  "table_to_xml_and_xmlschema('fx.v', true, false, '')",
                                  "schema_to_xml_and_xmlschema('fx', true, false, '')",
                                  "query_to_xml_and_xmlschema('select * from fx.v', true, false, '')",
                                  "query_to_xml('select fx.writes()', true, false, '')"])
def test_xml_of_a_view_that_writes(client, call):
    c, other = client(), client()
    c.ask("create view fx.v as select fx.writes() as x")
    assert kept(other, "select a from fx.t") == [["1"]]
    c.ask(f"select {call}")
    assert other.ask("select a from fx.t") == [["2"]]


def test_what_an_aggregate_calls_may_define(client):
    c, other, third = client(), client(), client()
    for sql in ["create function fx.step(int, int) returns int language plpgsql as $$begin alter table fx.t "
                "rename to old; alter table fx.new rename to t; return 1; end$$",
                "create aggregate fx.g (int) (sfunc = fx.step, stype = int)", "create table fx.new (a int)",
                "insert into fx.new values (5)"]:
        c.ask(sql)
    third.ask("update fx.t set a = 1")
    assert kept(other, "select a from fx.t") == [["1"]]
    c.ask("select fx.g(1)")
    other.ask("set search_path = fx")  # what names mean there is asked anew
    assert kept(other, "select a from fx.t") == [["5"]]
    third.ask("update fx.t set a = 6")
    assert other.ask("select a from fx.t") == [["6"]]


SETS = "select set_config('datestyle', 'German', false)"


@pytest.mark.parametrize("call", [
    f"select query_to_xml($${SETS}$$, true, false, '')",
    f"select query_to_xmlschema($${SETS}$$, true, false, '')",
    f"select * from ts_stat($${SETS}::tsvector$$)",
    f"select ts_rewrite('a'::tsquery, $$select 'a'::tsquery, case when ({SETS}) <> '' then 'b'::tsquery end$$)",
    f"begin; declare c cursor for {SETS}; select cursor_to_xml('c', 10, true, false, ''); commit",
    "select table_to_xml('fx.sets', true, false, '')",
    "select schema_to_xml('fx', true, false, '')",
    "select * from fx.late",
])
def test_what_a_text_has_set_reaches_nobody_else(client, call):
    c = client()
    for sql in ["create table fx.d (d date)", "insert into fx.d values ('2020-02-03')",
                f"create view fx.sets as {SETS}",
                "create view fx.late as select table_to_xml('fx.sets', true, false, '') as x"]:
        c.ask(sql)
    other = client()
    c.ask(call)
    assert other.ask("show datestyle") == [["ISO, MDY"]]
    for _ in range(3):
        c.ask("select d from fx.d")  # as its session sees it now, which others do not
    assert other.ask("select d from fx.d") == other.ask("select d from fx.d") == [["2020-02-03"]]


def test_a_lock_that_a_text_takes(client, proxy):
    c = client()
    c.ask("select query_to_xml('select pg_advisory_lock(4711)', true, false, '')")
    if proxy.settings["pool_mode"] == "transaction":
        assert client().ask("select count(*) from pg_locks where locktype = 'advisory' and objid = 4711") == [["0"]]
