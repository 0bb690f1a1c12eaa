"""What a link holds, or a server refuses, without the client having said so; and servers that say nothing at all."""
import os
import signal
import time

import pytest

from support.wire import SYNC, Client, bind, error, execute, kinds, parse, query

pytestmark = [pytest.mark.proxy_only, pytest.mark.herdgate_only]

ONE_LINK = {"pool_mode": "transaction", "pool_size": 1, "num_init_children": 10, "load_balance_mode": False,
            "query_wait_timeout": 20}


def failure(client, sql):
    client.send(query(sql))
    return [error(p)["C"] for kind, p in client.until("Z") if kind == "E"]


def end_links(cluster):
    cluster.primary.psql("select pg_terminate_backend(pid, 10000) from pg_stat_activity where datname = 'test' "
                         "and pid <> pg_backend_pid() and backend_type = 'client backend'")


def test_deallocate_all_in_a_do_block_takes_nobody_elses_statements(start_proxy):
    proxy = start_proxy(ONE_LINK)
    with Client(proxy.port).login() as one, Client(proxy.port).login() as other:
        other.send(parse("select 42", "s"), bind(statement="s"), execute(), SYNC)
        assert kinds(other.until("Z")) == "12DCZ"
        one.ask("do $$ begin execute 'deallocate all'; end $$")
        for _ in range(2):
            other.send(bind(statement="s"), execute(), SYNC)
            assert kinds(other.until("Z")) == "2DCZ"


def unit(sql):
    return parse(sql) + bind() + execute() + SYNC


@pytest.mark.parametrize("mode", ["session", "transaction"])
@pytest.mark.parametrize("form", [query, unit])
def test_what_deallocates_our_question_fails_no_transaction(start_proxy, mode, form):
    """commit_outcome_check asks by a prepared statement: where it is gone, nothing acknowledged may be rolled back."""
    proxy = start_proxy({"pool_mode": mode})

    def write(client, *before):
        client.ask("begin")
        for messages in (*before, form("insert into xid_t values (1)")):
            client.send(messages)
            assert client.until("Z")[-1] == ("Z", b"T")
        client.send(query("commit"))
        assert client.until("Z") == [("C", b"COMMIT\0"), ("Z", b"I")]
    with Client(proxy.port).login() as c:
        c.ask("create table xid_t (a int)")
        try:
            write(c)
            for drops in ("do $$ begin execute 'deallocate all'; end $$", "deallocate all"):
                c.ask(drops)
                write(c)
                write(c, form(drops))
            c.ask("begin")  # within the unit that is asked behind
            c.send(parse("insert into xid_t values (1)") + bind() + execute() + parse("deallocate all") + bind() + execute() + SYNC)
            assert c.until("Z")[-1] == ("Z", b"T")
            c.send(query("commit"))
            assert c.until("Z") == [("C", b"COMMIT\0"), ("Z", b"I")]
            assert c.ask("/*NO LOAD BALANCE*/ select count(*) from xid_t") == [["6"]]
        finally:
            c.ask("drop table xid_t")


def test_prepare_in_a_do_block_is_not_run_by_others(start_proxy):
    proxy = start_proxy(ONE_LINK)
    with Client(proxy.port).login() as one, Client(proxy.port).login() as other:
        one.ask("do $$ begin execute 'prepare x as select ''foreign'''; end $$")
        other.ask("prepare x as select 'own'")
        assert other.ask("execute x") == [["own"]]
        one.ask("do $$ begin execute 'prepare y as select ''foreign'''; end $$")
        other.ask("prepare y as select 'own'")
        assert other.ask("execute y") == [["own"]] and other.ask("execute x") == [["own"]]


@pytest.mark.parametrize("mend", ["reset role", "discard all", "set role test", "extended"])
def test_a_session_whose_role_is_gone_can_leave_it(start_proxy, cluster, marks, mend):
    proxy = start_proxy(ONE_LINK)
    role = marks()
    cluster.primary.psql(f"create role {role}")
    with Client(proxy.port).login() as c:
        c.ask(f"set role {role}")
        end_links(cluster)
        cluster.primary.psql(f"drop role {role}")
        # The first one may still find the link that was ended.
        assert [failure(c, "select 1") for _ in range(2)][-1] == ["22023"]
        if mend == "extended":
            c.send(parse("reset role"), bind(), execute(), SYNC)
            assert kinds(c.until("Z")) == "12CZ"
        else:
            c.ask(mend)
        assert c.ask("select current_user") == [["test" if mend == "set role test" else "postgres"]]
    with Client(proxy.port).login() as c:
        assert c.ask("select current_user") == [["postgres"]]


@pytest.mark.long  # 30 s; the session's unit tests show the same with a clock of their own
def test_a_stopped_server_process_does_not_hold_its_next_client_for_ever(start_proxy):
    """What we set ahead is ours: nobody else limits how long its answer may take, and a cancel does not reach it."""
    proxy = start_proxy(ONE_LINK)  # so that c surely gets the link that other had
    with Client(proxy.port).login() as c, Client(proxy.port).login() as other:
        c.ask("set search_path = pg_catalog")
        pid = int(other.ask("select pg_backend_pid()")[0][0])
        os.kill(pid, signal.SIGSTOP)
        try:
            begin = time.monotonic()
            assert failure(c, "select 1") == ["08006"]
            assert time.monotonic() - begin < 45
            assert c.ask("show search_path") == [["pg_catalog"]]
            assert other.ask("select 2") == [["2"]]
        finally:
            os.kill(pid, signal.SIGCONT)


@pytest.mark.parametrize("cache", [False, True])
@pytest.mark.parametrize("mode", ["session", "transaction"])
def test_a_table_made_where_the_logins_path_says(start_proxy, cluster, marks, mode, cache):
    """ALTER ROLE … SET search_path = pg_temp, …: CREATE TABLE makes a temporary one, which is its session's alone."""
    proxy = start_proxy({**ONE_LINK, "pool_mode": mode, "pool_size": 3, "memory_cache_enabled": cache})
    role = marks()
    cluster.primary.psql(f"create role {role} login superuser; alter role {role} set search_path = pg_temp, public;"
                         "create table shadowed (v int); insert into shadowed values (1)")
    try:
        with Client(proxy.port).login(user=role) as one, Client(proxy.port).login(user=role) as other:
            for _ in range(3):
                assert other.ask("select v from shadowed") == [["1"]]
            one.ask("create table shadowed (v int)")
            one.ask("insert into shadowed values (2)")
            for _ in range(3):
                assert one.ask("select v from shadowed") == [["2"]]
                assert other.ask("select v from shadowed") == [["1"]]
            other.ask("update shadowed set v = 3")
            assert one.ask("select v from shadowed") == [["2"]] and other.ask("select v from shadowed") == [["3"]]
    finally:
        cluster.primary.psql("drop table shadowed")
        end_links(cluster)
        cluster.primary.psql(f"drop role {role}")
