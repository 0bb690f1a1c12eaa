"""BEGIN and what follows in one request: where Herdgate itself fails it, what comes behind must not run outside of a transaction."""
import contextlib
import select

import pytest

from support.system import wait_until
from support.wire import SYNC, Client, bind, cancel_request, error, execute, parse, query

pytestmark = [pytest.mark.proxy_only, pytest.mark.herdgate_only]


def run(sql):
    return parse(sql) + bind() + execute()


REQUESTS = {"unit": run("begin") + run("insert into kept values (1)") + SYNC,
            "text": query("begin; insert into kept values (1)"),
            "whole": query("begin; insert into kept values (1); commit"),
            "again": query("begin; commit; begin; insert into kept values (1)")}


def answers(client):
    """Errors by SQLSTATE, and the state of the session."""
    return [error(p)["C"] if k == "E" else p.decode() for k, p in client.until("Z") if k in "EZ"]


@pytest.fixture(params=[1])
def full(start_proxy, request):
    """A proxy whose only link is taken, the one that has it, and a client. The parameter: how long it waits."""
    proxy = start_proxy({"pool_mode": "transaction", "pool_size": 1, "num_workers": 1, "load_balance_mode": False,
                         "query_wait_timeout": request.param})
    with proxy.connect() as admin:
        admin.execute("drop table if exists kept; create table kept (v int)")
    with Client(proxy.port).login() as holder, Client(proxy.port).login() as client:
        holder.ask("begin")
        holder.ask("select 1")
        yield proxy, holder, client


def outside_nothing_runs(holder, client, cluster):
    """As on a server whose transaction has failed. And it recovers."""
    holder.ask("rollback")
    client.send(run("insert into kept values (2)"), SYNC)
    assert answers(client) == ["25P02", "E"]
    client.send(run("commit"), SYNC)
    assert answers(client) == ["I"]
    assert cluster.primary.psql("select count(*) from kept") == "0"
    client.ask("insert into kept values (3)")
    assert cluster.primary.psql("select v from kept") == "3"


@pytest.mark.parametrize("request_", REQUESTS.values(), ids=REQUESTS.keys())
def test_the_queue_is_too_long(full, cluster, request_):
    _, holder, client = full
    client.send(request_)
    assert answers(client) == ["53300", "E"]
    outside_nothing_runs(holder, client, cluster)


@pytest.mark.parametrize("full", [60], indirect=True)
@pytest.mark.parametrize("request_", REQUESTS.values(), ids=REQUESTS.keys())
def test_cancelled_in_the_queue(full, cluster, request_):
    proxy, holder, client = full
    client.send(request_)

    def cancelled():
        """One that comes before the request waits is for nothing."""
        with Client(proxy.port) as other:
            other.send(cancel_request(client.key))
        return select.select([client.socket], [], [], 0.2)[0]
    wait_until(cancelled, "the end of the wait")
    assert answers(client) == ["57014", "E"]
    outside_nothing_runs(holder, client, cluster)


def test_what_begins_no_transaction_leaves_none(full, cluster):
    _, holder, client = full
    for request in (run("insert into kept values (1)") + SYNC, query("insert into kept values (1)"),
                    query("insert into kept values (1); begin"), query("begin; commit; insert into kept values (1)")):
        client.send(request)
        assert answers(client) == ["53300", "I"]
    holder.ask("rollback")
    client.ask("insert into kept values (3)")
    assert cluster.primary.psql("select v from kept") == "3"


def test_the_link_is_lost_amid_the_request(start_proxy, cluster):
    proxy = start_proxy({"pool_mode": "transaction", "num_workers": 1, "load_balance_mode": False})
    at_work = "from pg_stat_activity where query like '%pg_sleep(60)%' and state = 'active' and pid <> pg_backend_pid()"
    with contextlib.ExitStack() as stack:
        client = stack.enter_context(Client(proxy.port).login())
        client.ask("drop table if exists kept; create table kept (v int)")
        for request in (run("begin") + run("insert into kept values (1)") + run("select pg_sleep(60)") + SYNC,
                        query("begin; insert into kept values (1); select pg_sleep(60)")):
            client.send(request)
            wait_until(lambda: cluster.primary.psql(f"select count(*) {at_work}") == "1", "the statement")
            cluster.primary.psql(f"select pg_terminate_backend(pid) {at_work}")
            assert answers(client)[-1] == "E"
            client.send(run("insert into kept values (2)"), SYNC)
            assert answers(client) == ["25P02", "E"]
            client.ask("rollback")
        assert cluster.primary.psql("select count(*) from kept") == "0"
        client.ask("insert into kept values (3)")
