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
