"""Writes, calls and settings that come by a side way: what they change no answer may outlive, and nobody else may get it."""
import psycopg
import pytest

from support.cluster import Cluster
from support.proxy import Proxy
from support.system import wait_until
from support.wire import FLUSH, SYNC, Client, bind, close, describe, error, execute, kinds, parse, query, row
from test_cache_traps import SCHEMAS, last_of, proxy, run  # noqa: F401 (proxy: a fixture)
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


SJIS = b"\x83\x5c"  # one character, whose second octet is a backslash
LONG = "/*" + (1 << 20) * " " + "*/"


@pytest.mark.parametrize("before, text", [
    ("update u set v = 42", b"commit -- " + SJIS),
    ("update u set v = 42", b"commit; begin -- " + SJIS),
    ("update u set v = 42", b"commit and chain -- " + SJIS),
    pytest.param("select 1", LONG + "update u set v = 42; commit", id="long"),
    ("select 1 / 0", b"rollback; update u set v = 42 -- " + SJIS)])
@pytest.mark.parametrize("in_unit", [False, True])
def test_a_text_that_cannot_be_read_ends_a_transaction(client, before, text, in_unit):
    if in_unit and ";" in str(text):
        pytest.skip("a Parse takes one statement")
    c, other = client(), client()
    c.ask("set client_encoding = 'SJIS'")
    c.ask("begin")
    c.send(query(before))
    c.until()
    kept(other)
    c.send(*((parse(text), bind(), execute(), SYNC) if in_unit else (query(text),)))
    assert "E" not in kinds(c.until())
    for reader in (other, other, c):
        assert reader.ask(READ) == [["42"]]


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


READ_BY_UNIT = parse(READ) + bind() + describe("P") + execute()


@pytest.mark.parametrize("refused, state", [
    (parse("selec 1", "bad"), "42601"), (parse("select * from no_such_table", "bad"), "42P01"),
    (parse("select 1; select 2", "bad"), "42601"), (parse("selec 1"), "42601")])
def test_what_is_only_prepared_in_a_unit_is_looked_at(client, refused, state):
    """An unused Parse that a server refuses fails the unit, though its read is in the cache."""
    c = client()
    for _ in range(3):
        c.send(READ_BY_UNIT + SYNC)
        assert "".join(k for k, _ in c.until("Z")) == "12TDCZ"
    c.send(refused + READ_BY_UNIT + SYNC)
    told = c.until("Z")
    assert "".join(k for k, _ in told) == "EZ" and error(told[0][1])["C"] == state
    c.send(READ_BY_UNIT + SYNC)
    assert "".join(k for k, _ in c.until("Z")) == "12TDCZ"


def test_a_portal_described_twice(client):
    c, other = client(), client()
    for _ in range(3):
        c.send(parse(READ), bind(), describe("P"), describe("P"), execute(), SYNC)
        assert "".join(k for k, _ in c.until("Z")) == "12TTDCZ"
        other.send(READ_BY_UNIT + SYNC)
        assert "".join(k for k, _ in other.until("Z")) == "12TDCZ"


@pytest.mark.parametrize("literal", [
    "'today0:0'", "'mon now0:0'", "E'to\\144ay'", "e'n\\ow'", "U&'to!0064ay' uescape '!'", "'to'\n'day'"])
def test_hidden_words_of_time(client, literal):
    c = client()
    text = f"select v from u where timestamp '2020-01-01' < {literal}"
    assert "current time" in cacheable(c, text)
    if not literal.startswith("U&"):  # no such literals then
        c.ask("set standard_conforming_strings = off")
        assert "current time" in cacheable(c, text)


def test_words_that_hide_no_time(client):
    c = client()
    for text in (r"select v from u where 'a' ~ '\\d'", "select v from u where 'x' <> 'it''s'\n and v > 0",
                 "select v as now_v from u", "select v from u where 'e' = 'x\ny'"):
        assert cacheable(c, text).startswith("yes"), text


@pytest.mark.parametrize("column", ["xmax", "u.xmax", "cmin", "(u).cmax"])
def test_columns_that_locks_change(client, column):
    assert "xmax" in cacheable(client(), f"select {column} from u")


def test_functions_of_users_in_pg_catalog(client, cluster):
    """Extensions put theirs there: PostgreSQL's own are known by their oids."""
    c, other = client(), client()
    cluster.primary.psql("create function pg_catalog.hg_bump() returns int language plpgsql as "
                         "$$begin update second.u set v = v + 40; return 1; end$$;"
                         "create function pg_catalog.hg_bump_too() returns trigger language plpgsql as "
                         "$$begin update second.u set v = v - 10; return new; end$$")
    try:
        c.ask("create table other (v int)")
        kept(c, other)
        c.ask("select hg_bump()")
        assert other.ask(READ) == c.ask(READ) == [["42"]]
        c.ask("create trigger g after insert on other for each row execute function pg_catalog.hg_bump_too()")
        for _ in range(3):
            assert other.ask(READ) == [["42"]]
        c.ask("insert into other values (1)")
        assert other.ask(READ) == c.ask(READ) == [["32"]]
    finally:
        cluster.primary.psql("drop table second.other; drop function pg_catalog.hg_bump(); drop function pg_catalog.hg_bump_too()")


@pytest.mark.parametrize("before", [
    ["set standard_conforming_strings = off", "select second.conforming('on')"], ["select second.conforming('off')"],
    ["select second.conforming('off')", "select 1"], ["begin", "select second.conforming('off')", "rollback"],
    ["begin", "select second.conforming('off')", "commit", "select 1"],
    ["select second.conforming('off')", "select second.conforming('on')"],
    ["set standard_conforming_strings = off", "select second.conforming('on')", "reset all"]])
def test_what_a_function_says_of_strings_is_believed(client, cluster, before):
    """Else texts are read otherwise than the server reads them: this one writes, or is one string."""
    c, other = client(), client()
    other.ask("create function second.conforming(text) returns text language plpgsql as "
              "$$begin return set_config('standard_conforming_strings', $1, false); end$$")
    kept(other)
    told = "on"
    for text in before:
        c.send(query(text))
        for kind, payload in c.until("Z"):
            if kind == "S" and payload.startswith(b"standard_conforming_strings\0"):
                told = payload.split(b"\0")[1].decode()
    assert c.ask("show standard_conforming_strings") == [[told]], "what the client was told"
    c.send(query("select 'a\\'; update second.u set v = 42; --'"))
    c.until("Z")
    now = cluster.primary.psql("select v from second.u")
    assert now == ("42" if told == "on" else "2")
    assert other.ask(READ) == [[now]]


def test_notices_of_a_function(client):
    quiet, other = client(), client()
    other.ask("create function second.says() returns int immutable language plpgsql as "
              "$$begin raise notice 'heard'; return 1; end$$")
    quiet.ask("set client_min_messages = error")
    for _ in range(3):
        quiet.ask("select v, says() from u")
    for _ in range(2):
        other.send(query("select v, says() from u"))
        assert [k for k, _ in other.until("Z") if k == "N"] == ["N"]


def test_a_unit_of_many_large_answers(client):
    """They are not put into the client's buffer all at once."""
    c = client()
    c.ask("create table large (t text); insert into large values (repeat('x', 300000))")

    def hits():
        return int(c.ask("show pool_cache")[0][0])
    read = parse("select t from large") + bind() + execute()
    for count, found in ((10, True), (50, False)):
        for _ in range(3):
            before = hits()
            c.send(read * count + SYNC)
            assert len([p for k, p in c.until("Z") if k == "D" and len(row(p)[0]) == 300000]) == count
        assert (hits() == before + count) is found


def test_of_a_unit_of_many_large_answers_some_are_kept(client):
    """A unit's answers are held until its end: 4 MB of them, and no less than the first."""
    c = client()
    c.ask("create table large (t text); insert into large values (repeat('x', 300000))")

    def used():
        return int(c.ask("show pool_cache")[0][6])
    before = used()
    c.send(b"".join(parse(f"select t, {n} from large") + bind() + execute() for n in range(50)) + SYNC)
    assert kinds(c.until("Z")).count("D") == 50
    assert 3 << 20 < used() - before < (4 << 20) + 500_000


RENAMED = "prepare p as update second.u set v = 42"
RENAMES = f"do $$begin execute 'deallocate p'; execute '{RENAMED}'; end$$"


@pytest.mark.parametrize("unit", [
    run("deallocate p", RENAMED, "execute p"),
    run("deallocate p", RENAMED, "explain analyze execute p"),
    run("discard all", RENAMED, "execute p"),
    (parse("execute p", "e"), *run("deallocate p", RENAMED)[:-1], bind(statement="e"), execute(), SYNC),
    (*run("deallocate p", RENAMED)[:-1], FLUSH, *run("execute p")),
    run(RENAMES, "execute p"),
    (*run(RENAMES)[:-1], FLUSH, bind(statement="p"), execute(), SYNC),
    (close(name="p"), parse("update second.u set v = 42", "p"), *run("execute p")),
])
@pytest.mark.parametrize("balanced", [False, True])
def test_a_unit_that_gives_a_prepared_name_another_meaning(start_proxy, cluster, unit, balanced):
    p = start_proxy({"load_balance_mode": True, "backend_weight0": 0} if balanced else ON_PRIMARY)
    with Client(p.port).login() as c, Client(p.port).login() as other:
        c.ask(SCHEMAS)
        c.ask("prepare p as select 1")
        c.ask("execute p")
        for _ in range(2 if balanced else 4):
            assert other.ask("select v from second.u") == [["2"]]
        c.send(*unit)
        assert "E" not in kinds(c.until())
        for reader in (other, other, c):
            assert reader.ask("select v from second.u") == [["42"]]
        c.ask("drop schema first cascade; drop schema second cascade")


# Of two units the second knows what the first has prepared.
def test_what_was_prepared_one_unit_before_is_balanced(start_proxy, cluster):
    p = start_proxy({"load_balance_mode": True, "backend_weight0": 0})
    with Client(p.port).login() as c:
        for _ in range(2):
            c.send(*run("prepare p as select current_setting('port')"))
            c.until()
            assert last_of(c, "execute p") != [str(cluster.primary.port)]
            c.send(*run("deallocate p"))
            c.until()
