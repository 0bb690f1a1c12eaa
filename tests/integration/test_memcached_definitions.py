"""What one proxy defines and others at the same memcached have planned by before: no old answer comes of it."""
import pytest

from support.relay import Relay
from support.system import wait_until
from support.wire import Client, kinds, query
from test_memcached import DEFINED, LOG, pair, warm_by_wire  # noqa: F401
from test_query_cache import ON_PRIMARY, tables  # noqa: F401

pytestmark = [pytest.mark.proxy_only, pytest.mark.herdgate_only]
TRIGGER = "create trigger n after update on second.t for each row execute function second.note()"
LOOK_UP = b"pg_event_trigger"  # what the proxy asks of the catalog says whether there are such


@pytest.fixture(scope="module")
def two(start_proxy, memcached, tables):  # noqa: F811
    """Each with one worker, so that a session hears what another one of its proxy has heard."""
    settings = {**ON_PRIMARY, **memcached.settings(), "num_workers": 1}
    return [start_proxy(settings, fresh=True) for _ in range(2)]


@pytest.fixture
def schemas(cluster):
    with Client(cluster.primary.port).login() as c:
        c.ask(DEFINED)
    yield
    cluster.primary.psql("drop event trigger if exists audit; drop schema first cascade; drop schema second cascade")


def session(port, *texts):
    c = Client(port).login()
    for text in ("set search_path = first, second", *texts):
        done(c, text)
    return c


def done(c, text):
    c.send(query(text))
    assert "E" not in kinds(c.until()), text


def truth(cluster, sql):
    with session(cluster.primary.port) as c:
        return c.ask(sql)


def test_a_transaction_writes_by_what_was_there_when_it_did(two, schemas, cluster):
    """The definition is heard of between its write and its COMMIT."""
    with session(two[0].port) as c, session(two[1].port) as d, session(two[1].port) as w:
        warm_by_wire(d, LOG)
        done(d, "update t set v = v")
        done(c, TRIGGER)
        done(w, "begin")
        done(w, "update t set v = v")
        warm_by_wire(d, LOG)
        assert d.ask(LOG) == [["0"]]
        done(w, "commit")
        assert d.ask(LOG) == c.ask(LOG) == truth(cluster, LOG) == [["1"]]


WRITES = "create or replace function second.f() returns int language sql as 'update second.log set n = n + 1 returning n'"
AUDITS = "create event trigger audit on ddl_command_end execute function second.audit()"


@pytest.mark.parametrize("before, defines, statements", [
    ("comment on table second.t is 'x'", AUDITS, ["comment on table second.t is 'y'"]),
    ("select f()", WRITES, ["begin isolation level repeatable read", "select f()", "commit"]),
    ("explain analyze select f()", WRITES, ["explain analyze select f()"]),
    ("copy (select f()) to stdout", WRITES, ["copy (select f()) to stdout"]),
    ("prepare p as select f()", WRITES, ["execute p"])])
def test_what_was_harmless_may_write_now(two, schemas, cluster, before, defines, statements):
    """Of what is neither looked up nor marked memcached is asked all the same. w, not d, has planned it before."""
    with session(two[0].port) as c, session(two[1].port) as w:
        done(w, before)
        if before.startswith("prepare"):
            done(w, "execute p")
        done(c, defines)
        warm_by_wire(c, LOG)
        for statement in statements:
            done(w, statement)
        assert c.ask(LOG) == truth(cluster, LOG) == [["1"]]
        if defines == AUDITS:  # dropped directly it would go on counting, and sessions that define something pass by
            done(c, "drop event trigger audit")


def test_a_database_made_anew_under_the_old_name(two, cluster):
    """What the other proxy knows of the old one's tables it does not take for the new one's."""
    primary, read = cluster.primary, "select v from t where v < 1000"
    primary.psql("create database pattern")
    primary.psql("create table t as select 1 as v", "pattern")
    primary.psql("create database renewed template pattern")
    try:
        with Client(two[0].port).login(database="renewed") as a:
            warm_by_wire(a, read)
        with Client(two[0].port).login() as c:
            done(c, "drop database renewed with (force)")
            primary.psql("drop table t; create table t as select 1 as v", "pattern")
            done(c, "create database renewed template pattern")
        with Client(two[0].port).login(database="renewed") as a, Client(two[1].port).login(database="renewed") as b:
            warm_by_wire(a, read)
            assert b.ask(read) == [["1"]]
            done(b, "update t set v = 2")
            assert a.ask(read) == [["2"]]
    finally:
        primary.psql("drop database if exists renewed with (force)", "postgres")
        primary.psql("drop database pattern with (force)", "postgres")


@pytest.fixture
def relayed(start_proxy, memcached, cluster, tables):  # noqa: F811
    """A proxy with one worker, and the relay by which it reaches the primary."""
    relay = Relay(cluster.primary.port)
    yield start_proxy({**ON_PRIMARY, **memcached.settings(), "num_workers": 1, "backend_port0": relay.port}, fresh=True), relay
    relay.close()


def test_an_answer_of_the_catalog_that_a_definition_overtakes(two, relayed, schemas, cluster):
    read = "select v from t"
    proxy, relay = relayed
    with session(two[0].port) as c, session(proxy.port) as d, session(proxy.port) as s:
        warm_by_wire(d, LOG)
        warm_by_wire(d, "select v from second.t")  # else its counter would be too young to keep anything
        relay.hold_replies(LOOK_UP)
        s.send(query(read))
        wait_until(lambda: relay.held, "the answer of the catalog")
        done(c, "create table first.t as select 1 as id, 10 as v")
        c.ask(LOG)  # asks memcached behind what it was told of the table
        d.send(query(LOG))
        wait_until(lambda: relay.held == 2, "the other session to hear of it and ask the catalog again")
        relay.release()
        assert kinds(d.until())[-1] == "Z"
        assert kinds(s.until())[-1] == "Z"
        warm_by_wire(s, read)
        done(c, "update first.t set v = 11")
        assert s.ask(read) == truth(cluster, read) == [["11"]]


def test_a_transaction_prepared_elsewhere_may_have_revoked_rights(two, cluster):
    """Those of a role count in every database."""
    primary = cluster.primary
    primary.psql("create role viewer login; create role readers; grant readers to viewer")
    primary.psql("create database other_rights")
    primary.psql("create table t as select 7 as v; grant select on t to readers", "other_rights")
    try:
        with Client(two[0].port).login() as a, Client(two[1].port).login() as b:
            for text in ("begin", "revoke readers from viewer", "prepare transaction 'revokes'"):
                done(b, text)
            with Client(two[0].port).login(user="viewer", database="other_rights") as u:
                warm_by_wire(u, "select v from t")
                done(a, "commit prepared 'revokes'")
                u.send(query("select v from t"))
                assert kinds(u.until()) == "EZ"
    finally:
        primary.psql("drop database other_rights with (force)")
        primary.psql("drop role viewer; drop role readers")
