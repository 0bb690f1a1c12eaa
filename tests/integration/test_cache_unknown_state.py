"""What a session does not know of itself: settings that came unseen, statements prepared under other ones. Its names are
its own then, what it writes ends enough, and nobody is given its answers."""
import time

import pytest

from support.system import wait_until
from support.wire import SYNC, Client, bind, describe, execute, parse, query
from test_query_cache import ON_PRIMARY

pytestmark = [pytest.mark.proxy_only, pytest.mark.herdgate_only]
MODES = ["session", "transaction"]


def said(client, *messages):
    client.send(*messages)
    return [m for m in client.until() if m[0] not in "SN"]


def unit(sql, name=""):
    return parse(sql, name), bind(statement=name), describe(), execute(), SYNC


def run(name=""):
    return bind(statement=name), describe(), execute(), SYNC


def fresh(port, *messages):
    """What a session is told that has just come."""
    with Client(port).login() as client:
        return said(client, *messages)


def told_style(proxy):
    with Client(proxy.port).login() as client:
        return client.parameters["DateStyle"]


# A server reads its configuration anew.

@pytest.fixture
def day_first(cluster):
    """day_first(by): has the primary read dates another way, told so by a client of its own or of the proxy."""
    def change(by):
        cluster.primary.psql("alter system set datestyle = 'ISO, DMY'")
        by.ask("select pg_reload_conf()")
    cluster.primary.psql("set client_min_messages = error; drop table if exists reloaded; "
                         "create table reloaded as select date '2020-01-02' d")
    yield change
    cluster.primary.psql("alter system reset datestyle")
    cluster.primary.psql("select pg_reload_conf()")


@pytest.mark.parametrize("cached", [True, False])
@pytest.mark.parametrize("where", ["here", "behind"])
@pytest.mark.parametrize("mode", MODES)
def test_what_was_prepared_before_a_reload(start_proxy, cluster, day_first, mode, where, cached):
    """Its constants are those of the old settings: it is not what others get who prepare the same text now, nor are its
    answers. A reload counts twice, for the signal takes its time: so it is looked at for longer than that."""
    proxy = start_proxy({**ON_PRIMARY, "memory_cache_enabled": cached, "pool_mode": mode})
    sql = "select '01/02/2020'::date::text, d from reloaded"
    with Client(proxy.port).login() as old:
        said(old, *unit(sql, "s"))
        before = fresh(cluster.primary.port, *unit(sql))
        assert said(old, *run("s")) == before[1:]
        with Client(proxy.port if where == "here" else cluster.primary.port).login() as by:
            day_first(by)
        wait_until(lambda: fresh(cluster.primary.port, *unit(sql)) != before, "the server to notice")
        wanted = fresh(cluster.primary.port, *unit(sql))
        wait_until(lambda: told_style(proxy) == "ISO, DMY", "the proxy to notice")
        until = time.monotonic() + 2
        while time.monotonic() < until:
            for _ in range(2):
                assert said(old, *run("s")) == before[1:], "as a server's own session has it"
            for messages in (unit(sql), unit(sql, "k")):
                assert fresh(proxy.port, *messages) == wanted
            time.sleep(0.1)


# A search_path that nobody saw being set.

UNSEEN = {
    "do": "do $$begin set search_path = qu, public; end$$",
    "call": "call public.set_path_proc()",
    "function": "select public.set_path()",
    "stable": "select public.set_path_stable()",
    "trigger": "insert into public.setting_path values (1)",
    "copy": "copy (select set_config('search_path', 'qu, public', false)) to stdout",
    "view": "update pg_settings set setting = 'qu, public' where name = 'search_path'",
    "cursor": "begin; declare c cursor for select set_config('search_path', 'qu, public', false); fetch c; commit",
}


TABLES = """
    set client_min_messages = error; drop schema if exists qu cascade; create schema qu;
    drop table if exists public.twin, public.setting_path cascade;
    create table public.twin as select 1 a; create table qu.twin as select 1 a;
    create or replace procedure public.set_path_proc() language plpgsql as $$begin set search_path = qu, public; end$$;
    create or replace function public.set_path() returns int language plpgsql as
      $$begin perform set_config('search_path', 'qu, public', false); return 1; end$$;
    create or replace function public.set_path_stable() returns text language sql stable as
      $$select set_config('search_path', 'qu, public', false)$$;
    create table public.setting_path (a int);
    create or replace function public.set_path_first() returns trigger language plpgsql as
      $$begin set search_path = qu, public; return new; end$$;
    create trigger t before insert on public.setting_path for each row execute function public.set_path_first()"""


@pytest.fixture
def tables(cluster):
    """tables(proxy): made anew through it, which ends what it has kept."""
    def make(proxy, *more):
        with Client(proxy.port).login() as c:
            for sql in (TABLES, *more):
                c.ask(sql)
        cluster.wait_replayed()
    yield make
    cluster.primary.psql("drop schema if exists qu cascade; drop table if exists public.twin, public.setting_path cascade")


def shown(port, table):
    """Asked often enough to be kept: what others are told of it."""
    with Client(port).login() as c:
        return [c.ask(f"select a from {table}") for _ in range(3)][-1]


@pytest.mark.parametrize("known", [True, False], ids=["name known before", "name not known"])
@pytest.mark.parametrize("how", UNSEEN)
@pytest.mark.parametrize("mode", MODES)
def test_a_path_set_unseen(start_proxy, cluster, tables, mode, how, known):
    """Its own writes end what they change, and what it means by a name is nothing to others."""
    proxy = start_proxy({**ON_PRIMARY, "pool_mode": mode, "num_workers": 1})
    tables(proxy)

    def agree():
        for table in ("public.twin", "qu.twin"):
            assert shown(proxy.port, table) == shown(cluster.primary.port, table)
    with Client(proxy.port).login() as a, Client(proxy.port).login() as other:
        if known:
            other.ask("update twin set a = a")
        agree()
        a.ask(UNSEEN[how])
        agree()
        a.ask("update twin set a = 7")
        agree()
        said(a, *unit("update twin set a = 8"))
        agree()
        other.ask("update twin set a = 50")
        agree()
        said(other, *unit("update twin set a = 51"))
        agree()


@pytest.mark.parametrize("cached", [True, False])
@pytest.mark.parametrize("mode", MODES)
def test_others_are_routed_by_what_names_mean_to_them(start_proxy, cluster, tables, mode, cached):
    """A view of that name that calls a volatile function belongs on the primary; the table of others does not."""
    proxy = start_proxy({"pool_mode": mode, "memory_cache_enabled": cached, "backend_weight0": 0, "num_workers": 1})
    tables(proxy, "create function qu.f() returns int volatile language sql as 'select 1'; drop table qu.twin;"
                  "create view qu.twin as select qu.f() a")
    with Client(proxy.port).login() as a, Client(proxy.port).login() as other:
        a.ask("begin")
        a.ask(UNSEEN["do"])
        a.ask("select a from twin")
        a.ask("commit")
        if mode == "session":
            a.ask("select a from twin")
        assert dict(other.ask("pgpool explain route select a from twin"))["rule"] == "load_balance"


# A statement of SQL's PREPARE that something unseen has replaced.

@pytest.mark.parametrize("form", ["execute", "bind"])
def test_a_name_prepared_anew_unseen(start_proxy, cluster, tables, form):
    proxy = start_proxy(ON_PRIMARY)
    tables(proxy)
    with Client(proxy.port).login() as a:
        a.ask("prepare p as select 1")
        assert shown(proxy.port, "public.twin") == [["1"]]
        a.ask("do $$begin execute 'deallocate p'; execute 'prepare p as update public.twin set a = a + 1'; end$$")
        for value in ("2", "3"):
            before = shown(proxy.port, "public.twin")
            assert before != [[value]]
            if form == "execute":
                a.ask("execute p")
            else:
                said(a, bind(statement="p"), execute(), SYNC)
            assert shown(proxy.port, "public.twin") == shown(cluster.primary.port, "public.twin") == [[value]]


# Plans made under other settings.

THIRD = "select (1/3.0)::float8::text, a from public.twin"


def named(*names):
    return [m for name in names for m in (bind(statement=name), execute())]


@pytest.mark.parametrize("within", [False, True], ids=["in units of their own", "in the unit of the SET"])
@pytest.mark.parametrize("name", ["", "t"], ids=["unnamed", "named"])
@pytest.mark.parametrize("mode", MODES)
def test_a_plan_made_under_other_settings(start_proxy, cluster, tables, mode, name, within):
    proxy = start_proxy({**ON_PRIMARY, "pool_mode": mode})
    tables(proxy)
    with Client(proxy.port).login() as a:
        said(a, parse("set extra_float_digits = -10", "x"), parse("reset extra_float_digits", "y"), SYNC)
        said(a, parse(THIRD, name), SYNC)
        for names in ([["x", name]] if within else [["x"], [name]]):
            said(a, *named(*names), SYNC)
        said(a, *named("y"), SYNC)
        for _ in range(3):
            said(a, *run(name))
        for messages in (unit(THIRD), unit(THIRD, "k"), (query(THIRD),)):
            assert fresh(proxy.port, *messages) == fresh(cluster.primary.port, *messages)


# What is left on a link by side ways.

LEAVES = {
    "a trigger's helper": "insert into qu.helped values (1)",
    "a trigger's helper's helper": "insert into qu.helped_twice values (1)",
    "a trigger that updates pg_settings": "insert into qu.settings values (1)",
    "a rule that updates pg_settings": "insert into qu.ruled values (1)",
    "using": "alter table qu.plain alter a type int using length(set_config('datestyle', 'German', false))",
    "default": "alter table qu.plain add b text default set_config('datestyle', 'German', false)",
    "check": "alter table qu.plain add check (qu.german() > 0)",
    "view": "create materialized view qu.mv as select qu.german()",
}


def trigger(table, body):
    return (f"create table qu.{table} (a int); create function qu.on_{table}() returns trigger language plpgsql as "
            f"$$begin {body} return new; end$$; create trigger t before insert on qu.{table} for each row "
            f"execute function qu.on_{table}();")


SIDE_WAYS = """
    create function qu.german() returns int language plpgsql as
      $$begin perform set_config('datestyle', 'German', false); return 1; end$$;
    create function qu."Odd name"() returns int language sql as 'select qu.german()';
    create table qu.ruled (a int); create rule r as on insert to qu.ruled do also
      update pg_settings set setting = 'German' where name = 'DateStyle';
    create table qu.plain as select 1 a; create table qu.days as select date '2020-02-03' d;
""" + trigger("helped", "perform qu.german();") + trigger("helped_twice", 'perform qu."Odd name"();') + \
    trigger("settings", "update pg_settings set setting = 'German' where name = 'DateStyle';")


def nobody_else_has_it(proxy, cluster):
    for sql in ("select d from qu.days", "show datestyle"):
        for _ in range(3):
            assert fresh(proxy.port, query(sql)) == fresh(cluster.primary.port, query(sql))


@pytest.mark.parametrize("cached", [True, False])
@pytest.mark.parametrize("how", LEAVES)
@pytest.mark.parametrize("mode", MODES)
def test_what_is_left_by_side_ways(start_proxy, cluster, tables, mode, how, cached):
    proxy = start_proxy({**ON_PRIMARY, "pool_mode": mode, "memory_cache_enabled": cached})
    tables(proxy, SIDE_WAYS)
    with Client(proxy.port).login() as a:
        a.ask(LEAVES[how])
        for _ in range(3):
            a.ask("select d from qu.days")
        nobody_else_has_it(proxy, cluster)


@pytest.mark.parametrize("cached", [True, False])
@pytest.mark.parametrize("mode", MODES)
def test_what_an_event_trigger_leaves(start_proxy, cluster, tables, mode, cached):
    proxy = start_proxy({**ON_PRIMARY, "pool_mode": mode, "memory_cache_enabled": cached})
    tables(proxy, SIDE_WAYS, "create function qu.on_ddl() returns event_trigger language plpgsql as "
                             "$$begin perform set_config('datestyle', 'German', false); end$$;"
                             "create event trigger left_behind on ddl_command_end execute function qu.on_ddl()")
    try:
        for sql in ("create index on qu.plain (a)", "create table qu.another (a int)", "comment on table qu.plain is 'x'"):
            with Client(proxy.port).login() as a:
                a.ask(sql)
                for _ in range(3):
                    a.ask("select d from qu.days")
                nobody_else_has_it(proxy, cluster)
    finally:
        cluster.primary.psql("drop event trigger left_behind")
