"""The query cache in memcached, shared by proxies: what it answers is what a server would say, whatever becomes of it.

A change made behind the proxies' backs is not noticed. So "the old value again" means a hit, here and only here.
"""
import random
import threading
import time

import psycopg
import pytest

from support.cluster import Cluster
from support.system import wait_until
from support.wire import FLUSH, SYNC, Client, bind, describe, execute, kinds, parse, query, row
from test_cancel import send_cancel
from test_pcp import USERS, Pcp
from test_query_cache import ON_PRIMARY, behind, figures, hits_of, race, tables, value  # noqa: F401

pytestmark = [pytest.mark.proxy_only, pytest.mark.herdgate_only]
SQL = "select v from qc.a where id = 1"


@pytest.fixture(scope="module")
def pair(start_proxy, memcached, tables):  # noqa: F811
    settings = {**ON_PRIMARY, **memcached.settings()}
    return [start_proxy(settings, files={"pcp.conf": USERS}, fresh=True) for _ in range(2)]


@pytest.fixture
def both(pair):
    """A session of each proxy, both of which are answered from the cache."""
    with pair[0].connect() as a, pair[1].connect() as b:
        a.execute("update qc.a set v = 0")
        warm(a)
        warm(b)
        yield a, b


def warm(c, sql=SQL):
    """For 3 s after memcached or a counter is new nothing is kept."""
    wait_until(lambda: hits_of(c, sql) == 2, "hits")


def set_behind(cluster, v, row_id=1):
    behind(cluster, f"update qc.a set v = {v} where id = {row_id}")


# Two proxies share it.

def test_what_one_kept_the_other_answers(both, cluster):
    a, b = both
    a.execute("update qc.a set v = 1")
    assert value(a) == 1
    wait_until(lambda: hits_of(a, SQL) == 2, "it to be kept")
    set_behind(cluster, 99)
    assert value(a) == 1 and value(b) == 1, "hits"
    assert hits_of(b, SQL) == 2


@pytest.mark.parametrize("change", [
    "update qc.a set v = v + 1", "begin; update qc.a set v = v + 1; commit", "select qc.change()", "call qc.change_all()",
    "do $$begin update qc.a set v = v + 1; end$$", "with w as (update qc.a set v = v + 1 returning 1) select * from w"])
def test_a_write_through_one_is_seen_through_the_other_at_once(both, pair, change):
    for reader, writer in ((both[0], pair[1]), (both[1], pair[0])):
        wait_until(lambda: hits_of(reader, SQL) == 2, "hits")
        before = value(reader)
        with writer.connect() as c:  # who has called a function passes the cache by from then on
            c.execute(change)
        assert value(reader) == before + 1


def test_a_transaction_that_a_text_ends_which_cannot_be_read(both, pair):
    before = value(both[0])
    with Client(pair[1].port).login() as w:
        for text in ("set client_encoding = 'SJIS'", "begin", "update qc.a set v = v + 1"):
            w.ask(text)
        assert hits_of(both[0], SQL) == 2
        w.send(query(b"commit -- \x83\x5c"))
        w.until()
        assert value(both[0]) == before + 1


def test_a_unit_of_many_parts_has_one_mark(both, pair, memcached):
    def counted():
        stats = memcached.ask(b"stats\r\n", (b"END",)).decode().split("\r\n")
        return sum(int(line.split()[2]) for line in stats if line.startswith(("STAT incr_hits", "STAT incr_misses")))
    a, b = both
    before = counted()
    with Client(pair[0].port).login() as w:
        for _ in range(50):
            w.send(parse("update qc.a set v = v + 1"), bind(), execute(), FLUSH)
            w.until("C")
        assert value(b) == 0
        w.send(SYNC)
        w.until("Z")
        assert value(b) == value(a) == 50
    assert counted() - before < 20, "one beginning, one end, and what the proxies do beside"


def test_only_the_tables_written_lose_their_entries(both, cluster):
    a, b = both
    warm(b, "select v from qc.b where id = 1")
    before = value(b, "select v from qc.b where id = 1")
    a.execute("update qc.a set v = 1")
    behind(cluster, "update qc.b set v = v + 1 where id = 1")
    assert value(b, "select v from qc.b where id = 1") == before


def test_a_transaction_sees_what_it_wrote_and_others_do_not(both):
    a, b = both
    a.execute("begin")
    a.execute("update qc.a set v = 50")
    assert value(a) == 50 and value(b) == 0
    assert hits_of(b, SQL) == 2, "nothing has changed for others yet"
    a.execute("rollback")
    assert value(a) == 0 and value(b) == 0
    a.execute("begin")
    a.execute("update qc.a set v = 60")
    a.execute("commit")
    assert value(a) == 60 and value(b) == 60
    warm(b)


@pytest.mark.parametrize("extended", [False, True])
def test_nobody_reads_what_is_older_than_what_was_seen(both, pair, cluster, extended):
    race(pair, cluster, False, extended, pause=0.05)


DEFINED = """
    set client_min_messages = error;
    drop schema if exists first cascade; drop schema if exists second cascade; create schema first; create schema second;
    create table second.t (id int primary key, v int); insert into second.t values (1, 0);
    create table second.log (n int); insert into second.log values (0);
    create table second.ref (id int); insert into second.ref values (1);
    create function second.f() returns int stable language sql as 'select 1';
    create function second.note() returns trigger language plpgsql as
      $$begin update second.log set n = n + 1; return new; end$$;
    create function second.audit() returns event_trigger language plpgsql as
      $$begin update second.log set n = n + 1; end$$"""
LOG = "select n from second.log"


@pytest.mark.parametrize("read, warms, defines, change", [
    (LOG, "update t set v = v", "create trigger n after update on second.t for each row execute function second.note()",
     "update t set v = v"),
    (LOG, "update t set v = v", "do $$begin create trigger n after update on second.t for each row execute function second.note(); end$$",
     "update t set v = v"),
    ("select count(*) from second.ref", "delete from t where id = 2",
     "alter table second.ref add foreign key (id) references second.t on delete cascade", "delete from t"),
    ("select v from t", "select v from t", "create table first.t as select 1 as id, 10 as v", "update first.t set v = 11"),
    ("select v from t", "select v from t", "begin; create table first.t as select 1 as id, 10 as v; commit",
     "update first.t set v = 11"),
    (LOG, "select f()", "create or replace function second.f() returns int language sql as 'update second.log set n = n + 1 returning n'",
     "select f()"),
    (LOG, "comment on table second.t is 'x'", "create event trigger audit on ddl_command_end execute function second.audit()",
     "comment on table second.t is 'y'")])
def test_a_definition_through_one_is_known_to_the_other(both, pair, cluster, read, warms, defines, change):
    """What the other learned of names, functions, triggers and event triggers before is not used any more."""
    with Client(pair[0].port).login() as c, Client(pair[1].port).login() as d:
        try:
            c.ask(DEFINED)
            for session in (c, d):
                session.ask("set search_path = first, second")
            warm_by_wire(d, read)
            d.ask(warms)
            for text in defines.split("; ") if defines.startswith("begin") else [defines]:
                c.send(query(text))
                assert "E" not in kinds(c.until())
            warm_by_wire(d, read)
            with Client(pair[1].port).login() as w:
                w.ask("set search_path = first, second")
                w.ask(change)
            with Client(cluster.primary.port).login() as direct:
                direct.ask("set search_path = first, second")
                assert d.ask(read) == direct.ask(read)
            assert d.ask(read) != [["0"]] or "count" in read
        finally:
            cluster.primary.psql("drop event trigger if exists audit; drop schema first cascade; drop schema second cascade")


def warm_by_wire(c, sql):
    def hit():
        before = int(c.ask("show pool_cache")[0][0])
        c.ask(sql)
        return int(c.ask("show pool_cache")[0][0]) > before
    wait_until(hit, "a hit", 30)


def test_extended_protocol(both, pair, cluster):
    unit = (parse("select v from qc.a where id = $1"), bind("2"), describe(), execute(), SYNC)
    with Client(pair[0].port).login() as c, Client(pair[1].port).login() as d:
        def asks(client):
            client.send(*unit)
            return client.until()
        first = asks(c)
        assert kinds(first) == "12TDCZ"
        before = int(figures(both[1])["hits"])
        wait_until(lambda: asks(c) == first and asks(d) == first and int(figures(both[1])["hits"]) > before, "a hit")
        set_behind(cluster, 99, 2)
        assert asks(c) == first and asks(d) == first
        c.send(parse("update qc.a set v = 7"), bind(), execute(), SYNC)
        assert kinds(c.until()) == "12CZ"
        for client in (c, d):
            assert row(asks(client)[3][1]) == ["7"]
        d.send(*unit[:-1], parse("update qc.a set v = 8"), bind(), execute(), *unit)
        assert [row(m[1]) for m in d.until() if m[0] == "D"] == [["7"], ["8"]]
        assert row(asks(c)[3][1]) == ["8"]


def test_a_standby_is_believed_when_it_has_replayed(start_proxy, memcached, tables, cluster):  # noqa: F811
    """As in test_query_cache.py; what counts is when this proxy saw the counters' values first."""
    proxy = start_proxy({**ON_PRIMARY, **memcached.settings(), "load_balance_mode": True, "backend_weight0": 0,
                         "sr_check_period": 1}, fresh=True)
    sql = "select v from qc.b where id = 9"
    with proxy.connect() as c:
        warm(c, sql)
        before = value(c, sql)
        c.execute("update qc.b set v = v + 1 where id = 9")
        cluster.wait_replayed()
        assert value(c, sql) == before + 1
        warm(c, sql)
        behind(cluster, "update qc.b set v = v + 1 where id = 9")
        assert value(c, sql) == before + 1, "a hit"
        c.execute("update qc.b set v = v + 1 where id = 9")
        cluster.wait_replayed()
        assert value(c, sql) == before + 3


# Two herds share it.

@pytest.fixture
def other_herd():
    herd = Cluster(nodes=1)
    try:
        herd.create().start()
        herd.primary.psql("create schema qc; create table qc.a as select 1 as id, 4711 as v; grant all on schema qc to public")
        yield herd
    finally:
        herd.destroy()


def test_herds_of_different_namespaces_have_nothing_in_common(start_proxy, memcached, tables, cluster, other_herd):  # noqa: F811
    def proxy(namespace, herd):
        return start_proxy({**ON_PRIMARY, **memcached.settings(), "memqcache_memcached_namespace": namespace}, fresh=True, on=herd)
    with proxy("one", cluster).connect() as a, proxy("one", cluster).connect() as same:
        two = proxy("two", other_herd)
        with two.connect() as b:
            a.execute("update qc.a set v = 1")
            for c in (a, same, b):  # all of them begin to wait
                value(c)
            for c in (a, same, b):
                warm(c)
            assert (value(a), value(same), value(b)) == (1, 1, 4711)
            for n in (2, 3):  # a write ends the entries of its own herd only
                other_herd.primary.psql(f"update qc.a set v = -{n}")
                a.execute(f"update qc.a set v = {n}")
                assert (value(a), value(same), value(b)) == (n, n, 4711)
            warm(a)
            warm(same)
            set_behind(cluster, 99)
            assert value(same) == 3, "what one kept the other of its name answers"
            b.execute("update qc.a set v = 5")
            assert (value(b), value(a), value(same)) == (5, 3, 3)
            warm(b)
        two.stop()  # before its herd


# What people do.

def test_commands(both, pair, cluster):
    a, b = both
    notices = []
    b.add_notice_handler(lambda d: notices.append(d.message_primary))
    set_behind(cluster, 3)
    assert value(a) == 0
    b.execute(f"pgpool set cache delete '{SQL}'")
    assert value(a) == 3
    b.execute("pgpool set cache delete 'select 4711'")
    assert notices == [f'query cache deleted. query: "{SQL}"', 'query cache does not exist for query: "select 4711"']
    warm(a)
    set_behind(cluster, 5)
    assert value(a) == 3
    Pcp(pair[1]).ok("pcp_invalidate_query_cache")
    wait_until(lambda: value(b) == 5, "the one that was told")
    assert value(a) == 5
    warm(a)
    f = figures(a)
    assert int(f["hits"]) > 0 and int(f["selects"]) > 0 and f["entries"] == "0"


# What lies there has been spoiled.

def spoil(memcached, prefix, change, begin=b""):
    """Whatever is whole and has a name of that kind."""
    spoiled = 0
    for name in memcached.names(prefix):
        data = memcached.get(name)
        if data and data.startswith(begin):
            memcached.set(name, change(data))
            spoiled += 1
    assert spoiled


@pytest.mark.parametrize("change", [
    lambda data: data[:len(data) // 2], lambda data: data[:-1], lambda data: data + b"x", lambda data: b"",
    lambda data: data[:-8] + bytes([data[-8] ^ 1]) + data[-7:], lambda data: random.Random(1).randbytes(len(data))],
    ids=["half", "one less", "one more", "empty", "a bit", "random"])
def test_spoiled_entries_are_never_answered(both, memcached, cluster, change):
    a, b = both
    set_behind(cluster, 99)
    assert value(a) == 0, "a hit"
    spoil(memcached, b"hgv", change, b"HGC")
    assert value(a) == 99
    warm(b)


def test_entries_under_wrong_names_are_never_answered(both, memcached, cluster):
    a, b = both
    warm(a, "select id from qc.a where id = 9")
    set_behind(cluster, 99)
    names = memcached.names(b"hgv")
    held = [memcached.get(name) for name in names]
    for name, data in zip(names, held[1:] + held[:1]):
        memcached.set(name, data)
    assert value(a) == 99 and value(a, "select id from qc.a where id = 9") == 9
    warm(b)


@pytest.mark.parametrize("prefix", [b"hgc", b"hgx", b"herdgate-epoch"], ids=["counters", "texts", "epoch"])
def test_spoiled_numbers_end_what_stands_on_them(both, memcached, cluster, prefix):
    a, b = both
    set_behind(cluster, 99)
    assert value(a) == 0, "a hit"
    spoil(memcached, prefix, lambda data: b"nonsense")
    assert value(a) == 99 and value(b) == 99
    a.execute("update qc.a set v = 1")
    assert value(b) == 1
    warm(b)
    a.execute("update qc.a set v = 2")
    assert value(b) == 2


def test_flushed_and_evicted(both, memcached, cluster):
    a, b = both
    set_behind(cluster, 99)
    assert memcached.ask(b"flush_all\r\n", (b"OK",)) == b"OK\r\n"
    assert value(a) == 99 and value(b) == 99
    warm(b)


# It hangs.

def test_stopped_it_is_passed_by_and_used_again(both, pair, memcached):
    a, b = both
    memcached.freeze()
    try:
        for n in range(1, 4):  # each returns while it is stopped
            a.execute(f"update qc.a set v = {n}")
            assert value(a) == n and value(b) == n
        wait_until(lambda: "memcached is in trouble" in pair[0].log() and "memcached is in trouble" in pair[1].log(), "the lines")
        assert hits_of(a, SQL) == 0 and hits_of(b, SQL) == 0
    finally:
        memcached.thaw()
    warm(b)
    assert value(b) == 3
    a.execute("update qc.a set v = 4")
    assert value(b) == 4
    wait_until(lambda: "memcached is back" in pair[0].log(), "the line")


def test_clients_that_do_not_wait_for_it(both, pair, memcached):
    """One vanishes, one cancels, while their statements may be waiting for memcached; nothing is left behind."""
    memcached.freeze()
    try:
        for proxy in pair:
            gone = [Client(proxy.port).login() for _ in range(4)]
            staying = Client(proxy.port).login()
            for i, client in enumerate([*gone, staying]):
                client.send(query("update qc.a set v = v + 1" if i % 2 else SQL))
            for client in gone:
                client.close()
            assert send_cancel(proxy.port, staying.key) == b""
            assert kinds(staying.until()) in ("TDCZ", "EZ")
            assert staying.ask("select 3") == [["3"]]
            staying.close()
    finally:
        memcached.thaw()
    a, b = both
    warm(a)
    a.execute("update qc.a set v = 7")
    assert value(b) == 7
    warm(b)


# It dies.

def test_killed_and_restarted_under_load(both, pair, memcached):
    told, stop, problems = [0], threading.Event(), []

    def heard(work, *args):
        try:
            with pair[args[0]].connect() as c:
                work(c)
        except Exception as e:
            problems.append(e)

    def write(c):
        while not stop.is_set():
            c.execute(f"update qc.a set v = {told[0] + 1}")
            told[0] += 1
            time.sleep(0.05)

    def read(c):
        while not stop.is_set():
            least = told[0]
            got = value(c)
            if got < least:
                problems.append((least, got))

    threads = [threading.Thread(target=heard, args=(write, 0))]
    threads += [threading.Thread(target=heard, args=(read, i % 2)) for i in range(4)]
    for t in threads:
        t.start()

    def used():
        before = [int(figures(c)["hits"]) for c in both]
        wait_until(lambda: problems or all(int(figures(c)["hits"]) > h + 5 for c, h in zip(both, before)), "hits")
        assert not problems, problems[:5]
    try:
        used()
        for _ in range(2):
            memcached.kill()
            seen = told[0]
            wait_until(lambda: problems or told[0] > seen + 5, "writes without it")
            memcached.start()
            used()
    finally:
        stop.set()
        for t in threads:
            t.join(60)
    assert not problems, problems[:5]


def test_a_proxy_that_dies_over_a_write_leaves_no_old_entry(both, start_proxy, memcached, cluster):
    """Its mark stays: the table is out of the cache for others, and what is read is what the server says."""
    a, _ = both
    third = start_proxy({**ON_PRIMARY, **memcached.settings()}, fresh=True)
    c = psycopg.connect(third.dsn(), autocommit=True, prepare_threshold=None)
    blocker = psycopg.connect(f"host=127.0.0.1 port={cluster.primary.port} user=postgres dbname=test")
    c.execute("select v from qc.b where id = 2")  # its first mark would be wider: it has heard of no definitions yet
    warm(a)
    warm(a, "select v from qc.b where id = 2")
    blocker.execute("lock table qc.a in share mode")

    def write():
        with pytest.raises(psycopg.Error):
            c.execute("update qc.a set v = 33")
    thread = threading.Thread(target=write)
    thread.start()
    wait_until(lambda: cluster.primary.psql("select count(*) from pg_locks where not granted") != "0", "the writer to wait")
    third.abort()
    thread.join(60)
    blocker.rollback()
    blocker.close()
    wait_until(lambda: value(a) == 33, "what the server did in the end")
    assert hits_of(a, SQL) == 0
    warm(a, "select v from qc.b where id = 2")
    assert memcached.ask(b"flush_all\r\n", (b"OK",)) == b"OK\r\n"  # or 10 minutes
    warm(a)
