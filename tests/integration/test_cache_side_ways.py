"""Writes, calls and settings that come by a side way: what they change no answer may outlive, and nobody else may get it."""
import psycopg
import pytest

from support.cluster import Cluster
from support.proxy import Proxy
from support.system import wait_until
from support.wire import SYNC, Client, bind, execute, query, row
from test_cache_traps import proxy  # noqa: F401 (a fixture)
from test_query_cache import ON_PRIMARY

pytestmark = [pytest.mark.proxy_only, pytest.mark.herdgate_only]


@pytest.fixture
def client(proxy):  # noqa: F811
    clients = []

    def new(**words):
        c = Client(proxy.port).login(**words)
        clients.append(c)
        c.ask("set search_path = second")
        return c
    yield new
    for c in clients:
        c.__exit__(None, None, None)


READ = "select v from u"


def kept(*clients):
    """It is in the cache, and both get it."""
    for c in clients + clients:
        assert c.ask(READ) == [["2"]]


@pytest.mark.parametrize("write", [
    "update w set v = 42",
    "begin; update w set v = 42; commit",
    "delete from w where v = 2; insert into w values (42)",
    "with x as (update w set v = 42 returning v) select * from x",
    "create temp view ww as select * from w; update ww set v = 42",
])
def test_a_write_through_a_temporary_view(client, write):
    c, other = client(), client()
    c.ask("create temp view w as select * from second.u")
    kept(other)
    c.ask(write)
    assert other.ask(READ) == c.ask(READ) == [["42"]]


def cacheable(c, sql):
    return dict(c.ask(f"pgpool explain route {sql}"))["cacheable"]


def by_bind(c, name):
    c.send(bind(statement=name), execute(), SYNC)
    return [row(p) for k, p in c.until() if k == "D"]


@pytest.mark.parametrize("body", ["update second.u set v = 42",
                                  "with x as (update second.u set v = 42 returning v) select * from x",
                                  "select second.change()"])
@pytest.mark.parametrize("in_transaction", [False, True])
def test_what_sql_has_prepared_and_the_protocol_executes(client, body, in_transaction):
    c, other = client(), client()
    c.ask("create function second.change() returns int language sql as 'update second.u set v = 42 returning v'")
    kept(c, other)
    c.ask(f"prepare w as {body}")
    if in_transaction:
        c.ask("begin")
    by_bind(c, "w")
    assert c.ask(READ) == [["42"]], "its own write"
    if in_transaction:
        c.ask("commit")
    assert other.ask(READ) == [["42"]]
    assert c.ask("select name from pg_prepared_statements where name = 'w'") == [["w"]], "it is still there"
    by_bind(c, "w")


def test_a_setting_that_sql_has_prepared_and_the_protocol_executes(client):
    c, other = client(), client()
    c.ask("prepare s as select set_config('search_path', 'first', false)")
    kept(other)
    by_bind(c, "s")
    for _ in range(3):
        assert c.ask(READ) == [["1"]]
        assert other.ask(READ) == [["2"]]
    assert c.ask("show search_path") == [["first"]]


# What was written by Bind keeps the transaction's reads from standbys that have not replayed it.
def test_a_write_by_bind_keeps_its_transaction_on_the_primary(start_proxy):
    p = start_proxy({"load_balance_mode": True, "backend_weight0": 0})
    with Client(p.port).login() as c:
        c.ask("drop table if exists side_ways; create table side_ways (v int); insert into side_ways values (1)")
        c.ask("prepare w as update side_ways set v = v + 1")
        for expected in range(2, 8):
            c.ask("begin")
            by_bind(c, "w")
            assert c.ask("select v from side_ways") == [[str(expected)]]
            c.ask("commit")
        c.ask("drop table side_ways")


@pytest.mark.parametrize("how", ["trigger", "rule"])
@pytest.mark.parametrize("write", ["insert into second.t values (2, 2)", "begin; insert into second.t values (2, 2); commit",
                                   "with x as (insert into second.t values (2, 2) returning 1) select * from x"])
def test_a_trigger_that_sets_something(proxy, client, how, write):  # noqa: F811
    c = client()
    if how == "trigger":
        c.ask("create function second.sets() returns trigger language plpgsql as $$begin "
              "set search_path = first; set extra_float_digits = -10; set timezone = 'Asia/Tokyo'; return new; end$$")
        c.ask("create trigger sets after insert on second.t for each row execute function second.sets()")
    elif "with" in write:
        pytest.skip("PostgreSQL refuses WITH where a rule has two actions")
    else:
        c.ask("create rule sets as on insert to second.t do also select set_config('search_path', 'first', false), "
              "set_config('extra_float_digits', '-10', false), set_config('timezone', 'Asia/Tokyo', false)")
    reads = [READ, "select 1 / 3.0::float8", "select '2020-01-01 00:00Z'::timestamptz"]
    want = [client().ask(sql) for sql in reads]
    c.ask(write)
    for sql in reads:
        c.ask(sql), c.ask(sql)
    other = client()
    assert [other.ask(sql) for sql in reads] == want


@pytest.mark.parametrize("makes, read, writes", [
    ("", "select ('second.q'::regclass).nextval", None),
    ("create function sums(int) returns bigint stable language sql as 'select sum(v) from second.u'",
     "select (id).sums from second.t", "update second.u set v = v + 1"),
    ("create function sums(pair) returns bigint stable language sql as 'select sum(v) from second.u'",
     "select (p).sums from second.pairs", "update second.u set v = v + 1"),
    ("create function sums(pair) returns bigint stable language sql as 'select sum(v) from second.u'",
     "select (row(1, 1)::second.pair).sums", "update second.u set v = v + 1"),
    ("create function sums(anyelement) returns bigint stable language sql as 'select sum(v) from second.u'",
     "select t.sums from second.t", "update second.u set v = v + 1"),
    ("create function sums(parent) returns bigint stable language sql as 'select sum(v) from second.u'",
     "select child.sums from second.child", "update second.u set v = v + 1"),
    ("create table typed of pair; insert into typed values (1, 1);"
     "create function sums(pair) returns bigint stable language sql as 'select sum(v) from second.u'",
     "select typed.sums from second.typed", "update second.u set v = v + 1"),
    ("create function sums(t) returns bigint stable language sql as 'select sum(v) from second.u';"
     "create function rows() returns setof t immutable language sql as 'select 1, 1'",
     "select r.sums from second.rows() r", "update second.u set v = v + 1"),
    ("create function adds(bigint, int) returns bigint stable language sql as 'select $1 + $2 + sum(v) from second.u';"
     "create aggregate adds_up(int) (sfunc = adds, stype = bigint, initcond = '0')",
     "select second.adds_up(id) from second.t", "update second.u set v = v + 1"),
    ("create function total() returns bigint stable language sql as 'select sum(v) from second.u';"
     "create function gives(x bigint default second.total()) returns bigint immutable language sql as 'select x'",
     "select second.gives()", "update second.u set v = v + 1"),
])
def test_a_function_that_is_called_unseen(client, makes, read, writes):
    c, other = client(), client()
    c.ask("create sequence second.q; create type second.pair as (a int, b int);"
          "create table second.pairs as select row(1, 2)::second.pair as p;"
          "create table second.parent (id int); create table second.child () inherits (second.parent);"
          "insert into second.child values (1);" + makes)
    assert cacheable(c, read).startswith("no: ")
    if writes is None:
        assert [c.ask(read) for _ in range(4)] == [[[str(n)]] for n in (1, 2, 3, 4)]
        return
    before = int(c.ask(read)[0][0])
    assert other.ask(read) == [[str(before)]]
    c.ask(writes)
    assert other.ask(read) == c.ask(read) == [[str(before + 1)]]


@pytest.mark.parametrize("call", ["select (p).bump from second.pairs", "select t.bump from second.t",
                                  "update second.t set v = (id).bump", "select (id).bump from second.t"])
def test_a_function_that_writes_and_is_called_like_a_column(client, call):
    c, other = client(), client()
    c.ask("create type second.pair as (a int, b int); create table second.pairs as select row(1, 2)::second.pair as p;"
          "create function bump(anyelement) returns int language sql as 'update second.u set v = v + 1 returning v'")
    kept(c, other)
    c.ask(call)
    assert other.ask(READ) == c.ask(READ) == [["3"]]


@pytest.mark.parametrize("function", ["init(internal) returns internal language internal as 'dispell_init'",
                                      "status(t) returns int language sql as 'select 1'",
                                      "other(anyelement) returns int language sql as 'select 1'"])
def test_a_function_of_other_names_changes_nothing(client, function):
    """As extensions have them: a query that names columns by their table is kept, and ends nothing."""
    c = client()
    c.ask("alter table second.t add column status int")
    c.ask(f"create function second.{function}")
    read = "select t.v, t.status from second.t where t.id = 1"
    assert cacheable(c, read) == "yes"


@pytest.mark.parametrize("makes", [
    "create function sets(text) returns text stable language sql as $$select SET_CONFIG('search_path', $1, false)$$",
    "create function sets(text) returns text stable language sql begin atomic select set_config('search_path', $1, false); end"])
def test_a_stable_function_that_sets_something(client, makes):
    c, other = client(), client()
    c.ask(makes)
    kept(other)
    c.ask("select second.sets('first')")
    c.ask(READ), c.ask(READ)
    assert other.ask(READ) == [["2"]]
    assert client().ask(READ) == [["2"]]


def test_a_field_is_no_function(client):
    c = client()
    c.ask("create type second.pair as (a int, b int); create table second.pairs as select row(1, 2)::second.pair as p")
    read = "select (p).a, (p).b from second.pairs"
    assert cacheable(c, read) == "yes"
    for _ in range(3):
        assert c.ask(read) == [["1", "2"]]


def test_truncate_runs_triggers_too(client):
    c, other = client(), client()
    c.ask("create function second.sets() returns trigger language plpgsql as "
          "$$begin set search_path = first; return null; end$$;"
          "create trigger sets after truncate on second.t execute function second.sets()")
    kept(other)
    c.ask("truncate second.t")
    c.ask(READ), c.ask(READ)
    assert other.ask(READ) == [["2"]]


def test_deleting_from_the_cache_takes_one_query(client):
    c = client()
    for words in ("select 1", "'a' 'b'", ""):
        c.send(query(f"pgpool set cache delete {words}"))
        found = [p for k, p in c.until() if k == "E"]
        assert found and b"PGPOOL SET CACHE DELETE 'query'" in found[0], words


def test_why_a_long_text_is_not_kept(client):
    c = client()
    long = "select v from second.u /*" + "x" * 70_000 + "*/"
    assert cacheable(c, long) == "no: its text is too long"


@pytest.fixture(scope="module")
def lone():
    cluster = Cluster(nodes=1).create().start()
    yield cluster
    cluster.destroy()


def first_answer(proxy, sql):
    """Of a new session, as soon as there is one."""
    found = []

    def answered():
        try:
            with proxy.connect() as c:
                found.append(c.execute(sql).fetchone())
        except psycopg.Error:
            return False
        return True
    wait_until(answered, "an answer")
    return found[0]


@pytest.mark.parametrize("mode, pool, ending", [
    ("raw", "session", "kill"), ("raw", "transaction", "kill"), ("raw", "session", "stop"), ("raw", "transaction", "stop"),
    ("streaming_replication", "session", "kill"), ("streaming_replication", "transaction", "kill")])
def test_a_server_that_comes_back_with_less(lone, mode, pool, ending):
    """A crash empties an unlogged table; whoever has stopped a server may start it on a backup."""
    p = Proxy(lone, name="less")
    p.settings.update({"memory_cache_enabled": True, "backend_clustering_mode": mode, "pool_mode": pool, "sr_check_period": 60,
                       "failover_on_backend_error": False, "cache_safe_memqcache_table_list": "less"})
    p.start()
    try:
        with p.connect() as c:
            c.execute("drop table if exists less; create unlogged table less (v int); insert into less values (1)")
        lone.primary.psql("checkpoint", "postgres")
        for _ in range(3):
            with p.connect() as c:
                assert c.execute("select count(*) from less").fetchone() == (1,)
                assert c.execute("pgpool explain route select count(*) from less").fetchall()[-1] == ("cacheable", "yes")
        if ending == "kill":
            lone.primary.kill()
        else:
            lone.primary.stop()
        lone.primary.start()
        if ending == "stop":
            lone.primary.psql("delete from less")  # in place of a backup
        assert first_answer(p, "select count(*) from less") == (0,)
    finally:
        p.stop()
        p.remove()
