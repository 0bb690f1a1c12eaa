"""Transactions over more than one link: errors, ends, losses and portals in places where two servers could disagree.

ARCHITECTURE.md, "Transactions over more than one link"; the same decisions by themselves: src/vsession/transaction_links_test.cc.
"""
import os
import signal

import psycopg
import pytest

from support.system import wait_until
from support.wire import (FLUSH, SYNC, Client, bind, close, describe, error, execute, kinds, parse, query, row)

pytestmark = [pytest.mark.proxy_only, pytest.mark.herdgate_only]
LOCK = 7700


@pytest.fixture(scope="module", autouse=True)
def tables(cluster):
    """late: its COMMIT waits for a lock. once: a second row of the same number fails at COMMIT."""
    cluster.primary.psql(f"""
        create table if not exists pens (a int);
        create table if not exists late (a int);
        create table if not exists once (a int unique deferrable initially deferred);
        create schema if not exists elsewhere;
        create or replace function wait_for_lock() returns trigger language plpgsql as
          'begin perform pg_advisory_xact_lock({LOCK}); return null; end';
        drop trigger if exists waits on late;
        create constraint trigger waits after insert on late deferrable initially deferred
          for each row execute function wait_for_lock();
    """)
    cluster.wait_replayed()


@pytest.fixture
def primary(cluster):
    cluster.primary.psql("truncate pens, late, once")
    return cluster.primary


@pytest.fixture
def proxy(start_proxy):
    """What may be read on a standby is."""
    return start_proxy({"pool_mode": "transaction", "backend_weight0": 0, "commit_outcome_check": False, "num_init_children": 40})


@pytest.fixture
def adaptive(start_proxy):
    """… even behind a write to another table."""
    return start_proxy({"pool_mode": "transaction", "backend_weight0": 0, "commit_outcome_check": False, "num_init_children": 40,
                        "disable_load_balance_on_write": "dml_adaptive"})


@pytest.fixture
def narrow(start_proxy):
    """One link to each node: what one session leaves on it, the next one meets."""
    return start_proxy({"pool_mode": "transaction", "backend_weight0": 0, "commit_outcome_check": False, "pool_size": 1, "num_init_children": 40})


def step(client, *messages):
    """What came of it: tags, SQLSTATEs and rows in their order, and the transaction status."""
    client.send(*messages)
    return outcome(client.until("Z"))


def outcome(messages):
    told = []
    for kind, payload in messages:
        if kind == "C":
            told.append(payload.rstrip(b"\0").decode())
        elif kind == "E":
            told.append(error(payload)["C"])
        elif kind == "D":
            told.append(tuple(row(payload)))
    return told, messages[-1][1].decode()


def run(client, sql):
    return step(client, query(sql))


def extended(sql):
    return parse(sql) + bind() + execute() + SYNC


def node_of(client, cluster):
    return cluster.node_at(int(client.ask("select inet_server_port()")[0][0])).number


def backend_of(node, text):
    """The process whose last statement has `text` in it; None: there is no such process."""
    found = node.psql(f"select pid from pg_stat_activity where query like '%{text}%' and pid <> pg_backend_pid()", "postgres")
    return int(found) if found else None


def state_of(node, pid):
    return node.psql(f"select state from pg_stat_activity where pid = {pid}", "postgres")


def kill_idle(proxy, node, pid):
    """The link ends while nobody waits for it, and the proxy has noticed."""
    node.psql(f"select pg_terminate_backend({pid}, 10000)", "postgres")
    with proxy.connect() as other:
        wait_until(lambda: str(pid) not in str(other.execute("show pool_pools").fetchall()), "the proxy to notice")


def rows(primary, table="pens"):
    return int(primary.psql(f"select count(*) from {table}"))


def recovers(client):
    assert run(client, "rollback")[1] == "I"
    assert run(client, "select 'alive'") == ([("alive",), "SELECT 1"], "I")


def test_link_lost_under_a_question_to_the_catalog(proxy, primary, cluster, marks):
    mark = marks()
    primary.psql(f"create function {mark}f(int) returns int immutable language sql as 'select 1'")
    cluster.wait_replayed()
    with Client(proxy.port).login() as c, proxy.connect() as other:
        c.ask("begin")
        c.ask(f"insert into pens values (1) /* {mark} */")
        pid = backend_of(primary, mark)
        os.kill(pid, signal.SIGSTOP)
        try:
            c.send(query(f"select {mark}f(1)"))
            key = str(int.from_bytes(c.key[:4], "big"))
            wait_until(lambda: any(key in map(str, r) and "Execute command" in map(str, r)
                                   for r in other.execute("show pool_processes").fetchall()), "the question to be asked")
            primary.psql(f"select pg_terminate_backend({pid})", "postgres")
        finally:
            os.kill(pid, signal.SIGCONT)
        assert outcome(c.until("Z")) == (["40001"], "E")
        assert run(c, "select 1") == (["25P02"], "E")
        assert run(c, "commit") == (["ROLLBACK"], "I")
        assert rows(primary) == 0
        recovers(c)


@pytest.mark.parametrize("how", [query, extended], ids=["simple", "extended"])
@pytest.mark.parametrize("end,told", [("commit", (["40001"], "I")), ("rollback", (["ROLLBACK"], "I"))])
def test_end_of_a_transaction_whose_link_was_lost(proxy, primary, marks, how, end, told):
    """COMMIT must not look as if it had committed; ROLLBACK got what it wanted."""
    mark = marks()
    with Client(proxy.port).login() as c:
        c.ask("begin")
        c.ask(f"insert into pens values (1) /* {mark} */")
        kill_idle(proxy, primary, backend_of(primary, mark))
        assert step(c, how(end)) == told
        assert rows(primary) == 0
        recovers(c)


@pytest.mark.parametrize("how", [query, extended], ids=["simple", "extended"])
def test_statement_after_the_loss(proxy, primary, marks, how):
    mark = marks()
    with Client(proxy.port).login() as c:
        c.ask("begin")
        c.ask(f"insert into pens values (1) /* {mark} */")
        kill_idle(proxy, primary, backend_of(primary, mark))
        assert step(c, how("insert into pens values (2)")) == (["40001"], "E")
        assert step(c, how("insert into pens values (2)")) == (["25P02"], "E")
        assert step(c, how("commit")) == (["ROLLBACK"], "I")
        assert rows(primary) == 0
        recovers(c)


@pytest.mark.parametrize("ending", [query("commit"), extended("commit"), query("insert into pens values (2); commit"),
                                    parse("insert into pens values (2)") + bind() + execute() + extended("commit")],
                         ids=["simple", "extended", "several statements", "several messages"])
def test_link_lost_under_commit(proxy, primary, marks, ending):
    """It may have committed: "run it again" would be wrong."""
    mark = marks()
    with Client(proxy.port).login() as c, proxy.connect() as other, other.transaction():
        other.execute(f"select pg_advisory_xact_lock({LOCK})")
        c.ask("begin")
        c.ask(f"insert into late values (1) /* {mark} */")
        pid = backend_of(primary, mark)
        c.send(ending)
        wait_until(lambda: primary.psql("select wait_event_type from pg_stat_activity where "
                                        f"pid = {pid}", "postgres") == "Lock", "COMMIT to wait")
        primary.psql(f"select pg_terminate_backend({pid}, 10000)", "postgres")
        told, status = outcome(c.until("Z"))
        assert (told[-1], status) == ("08007", "I")
    with Client(proxy.port).login() as c:
        assert rows(primary, "late") == 0
        recovers(c)


@pytest.fixture
def checking(start_proxy):
    """As it is by default: the fate of a COMMIT without an answer is asked of the primary."""
    return start_proxy({"pool_mode": "transaction", "backend_weight0": 0, "num_init_children": 40})


@pytest.mark.parametrize("ending,code", [(query("commit"), "40001"), (extended("commit"), "40001"),
                                         (query("insert into pens values (2); commit"), "08007"),
                                         (parse("insert into pens values (2)") + bind() + execute() + extended("commit"), "08007")],
                         ids=["simple", "extended", "several statements", "several messages"])
def test_link_lost_under_commit_and_its_outcome_learned(checking, primary, cluster, ending, code):
    """Over two links. Of a COMMIT by itself the fate is known; what came together with other work stays unknown."""
    with Client(checking.port).login() as c, checking.connect() as other, other.transaction():
        other.execute(f"select pg_advisory_xact_lock({LOCK})")
        c.ask("begin")
        assert node_of(c, cluster) != 0
        c.ask("insert into late values (1)")
        c.send(ending)
        waits = "select pid from pg_stat_activity where wait_event = 'advisory'"
        pid = int(wait_until(lambda: primary.psql(waits, "postgres"), "COMMIT to wait"))
        primary.psql(f"select pg_terminate_backend({pid}, 10000)", "postgres")
        told, status = outcome(c.until("Z"))
        assert (told[-1], status) == (code, "I")
        # And it recovers: the same session runs it again.
        assert rows(primary, "late") == 0
        c.ask("begin")
        c.ask("insert into pens values (3)")
        assert run(c, "commit") == (["COMMIT"], "I")
    assert primary.psql("select a from pens") == "3"


def test_standby_lost_under_commit_on_the_primary(adaptive, primary, cluster, marks):
    """The standby only read: the commit counts, and nothing is told of it later."""
    mark = marks()
    with Client(adaptive.port).login() as c, adaptive.connect() as other:
        c.ask("begin")
        c.ask("set work_mem = '9MB'")
        c.ask(f"insert into late values (1) /* {mark} */")
        pid = backend_of(primary, mark)
        standby = cluster.nodes[node_of(c, cluster)]
        assert standby is not primary
        c.ask(f"select 1 /* {mark} */")
        reader = backend_of(standby, mark)
        assert state_of(standby, reader) == "idle in transaction"
        with other.transaction():
            other.execute(f"select pg_advisory_xact_lock({LOCK})")
            c.send(query("commit"))
            wait_until(lambda: primary.psql("select wait_event_type from pg_stat_activity where "
                                            f"pid = {pid}", "postgres") == "Lock", "COMMIT to wait")
            kill_idle(adaptive, standby, reader)
        assert outcome(c.until("Z")) == (["COMMIT"], "I")
        assert run(c, "show work_mem") == ([("9MB",), "SHOW"], "I")
        assert rows(primary, "late") == 1
        recovers(c)


@pytest.mark.parametrize("how", [query, extended], ids=["simple", "extended"])
@pytest.mark.parametrize("mode", ["session", "transaction"])
def test_what_a_transaction_has_read_does_not_keep_a_standby_from_replaying_its_locks(start_proxy, primary, cluster, marks, mode, how):
    """With remote_apply COMMIT waits for every standby."""
    mark = marks()
    proxy = start_proxy({"pool_mode": mode, "backend_weight0": 0})
    with Client(proxy.port).login() as c:
        c.ask("begin")
        c.ask("set local work_mem = '9MB'")
        standby = cluster.nodes[node_of(c, cluster)]
        assert standby is not primary
        assert step(c, how(f"select count(*) from pens /* {mark} */")) == ([("0",), "SELECT 1"], "T")
        reader = backend_of(standby, mark)
        assert state_of(standby, reader) == "idle in transaction"
        assert step(c, how("alter table pens add column ink int")) == (["ALTER TABLE"], "T")
        wait_until(lambda: state_of(standby, reader) == "idle", "the reader's part to end")
        assert step(c, how("select ink from pens")) == (["SELECT 0"], "T")
        assert run(c, "show work_mem") == ([("9MB",), "SHOW"], "T")
        assert step(c, how("alter table pens drop column ink")) == (["ALTER TABLE"], "T")
        assert step(c, how("commit")) == (["COMMIT"], "I")
        assert run(c, "show work_mem") == ([("4MB",), "SHOW"], "I")
        recovers(c)


def test_part_with_an_open_portal_outlives_a_write(proxy, primary, cluster):
    with Client(proxy.port).login() as c:
        c.ask("begin")
        assert node_of(c, cluster) != 0
        told = step(c, parse("select * from generate_series(1, 4)") + bind(portal="p") + execute(portal="p", rows=2) + SYNC)
        assert told == ([("1",), ("2",)], "T")
        c.ask("insert into pens values (1)")
        assert step(c, execute(portal="p") + SYNC) == ([("3",), ("4",), "SELECT 2"], "T")
        assert run(c, "commit") == (["COMMIT"], "I")
        assert rows(primary) == 1
        recovers(c)


@pytest.mark.parametrize("how", [query, extended], ids=["simple", "extended"])
def test_error_on_the_standby_fails_the_transaction(adaptive, primary, cluster, how):
    with Client(adaptive.port).login() as c:
        c.ask("begin")
        c.ask("insert into pens values (1)")
        assert node_of(c, cluster) != 0
        assert step(c, how("select 1 / (a - a) from (select 1 as a) b")) == (["22012"], "E")
        assert step(c, how("insert into pens values (2)")) == (["25P02"], "E")
        assert step(c, how("commit")) == (["ROLLBACK"], "I")
        assert rows(primary) == 0
        recovers(c)


def test_error_on_the_standby_and_commit_and_chain(adaptive, primary):
    with Client(adaptive.port).login() as c:
        c.ask("begin")
        c.ask("insert into pens values (1)")
        assert run(c, "select 1 / (a - a) from (select 1 as a) b") == (["22012"], "E")
        assert run(c, "commit and chain") == (["ROLLBACK"], "T")
        c.ask("insert into pens values (2)")
        assert run(c, "commit") == (["COMMIT"], "I")
        assert primary.psql("select a from pens") == "2"
        recovers(c)


@pytest.mark.parametrize("how", [query, extended], ids=["simple", "extended"])
def test_rollback_to_leaves_the_standby(proxy, primary, cluster, how):
    with Client(proxy.port).login() as c:
        c.ask("begin")
        assert node_of(c, cluster) != 0
        assert step(c, how("savepoint s")) == (["SAVEPOINT"], "T")
        assert step(c, how("select 1 / (a - a) from (select 1 as a) b")) == (["22012"], "E")
        assert step(c, how("rollback to s")) == (["ROLLBACK"], "T")
        assert step(c, how("select 'on'")) == ([("on",), "SELECT 1"], "T")
        assert step(c, how("insert into pens values (1)")) == (["INSERT 0 1"], "T")
        assert step(c, how("commit")) == (["COMMIT"], "I")
        assert rows(primary) == 1
        recovers(c)


def test_portal_stays_on_its_link(proxy, primary, cluster):
    """As a driver that fetches 2 rows at a time and writes meanwhile."""
    with Client(proxy.port).login() as c:
        c.ask("begin")
        c.send(parse("select g, inet_server_port() from generate_series(1, 5) g") + bind(portal="p") +
               describe("P", "p") + execute("p", 2) + SYNC)
        first = [row(p) for k, p in c.until("Z") if k == "D"]
        assert [r[0] for r in first] == ["1", "2"] and int(first[0][1]) != primary.port
        assert run(c, "insert into pens values (1)") == (["INSERT 0 1"], "T")
        told, status = step(c, execute("p", 2) + SYNC)
        assert [r[0] for r in told] == ["3", "4"] and status == "T"
        c.send(describe("P", "p") + SYNC)
        assert kinds(c.until("Z")) == "TZ"
        assert node_of(c, cluster) == 0   # other reads follow the write
        # The old portal is closed together with the next statement, which goes to the primary.
        c.send(close("P", "p") + extended("insert into pens values (2)"))
        assert kinds(c.until("Z")) == "312CZ"
        assert step(c, execute("p", 2) + SYNC) == (["34000"], "E")
        recovers(c)
        assert rows(primary) == 0


def test_close_that_was_skipped(proxy, primary):
    """After an error the server has not carried out what follows, and neither have we."""
    with Client(proxy.port).login() as c:
        c.send(parse("select 'first'", "s") + parse("select 1 / $1::int", "fails") + SYNC)
        assert kinds(c.until("Z")) == "11Z"
        failing = bind("0", statement="fails") + execute()
        assert step(c, failing + close("S", "s") + SYNC) == (["22012"], "I")
        assert step(c, bind(statement="s") + execute() + SYNC) == ([("first",), "SELECT 1"], "I")
        # … defined anew behind it: that was skipped too
        assert step(c, failing + close("S", "s") + parse("select 'second'", "s") + SYNC) == (["22012"], "I")
        assert step(c, bind(statement="s") + execute() + SYNC) == ([("first",), "SELECT 1"], "I")
        c.send(close("S", "s") + parse("select 'third'", "s") + SYNC)
        assert kinds(c.until("Z")) == "31Z"
        assert step(c, bind(statement="s") + execute() + SYNC) == ([("third",), "SELECT 1"], "I")
        assert step(c, close("S", "s") + bind(statement="s") + SYNC) == (["26000"], "I")
        assert step(c, bind(statement="s") + SYNC) == (["26000"], "I")
        recovers(c)


def test_close_of_sqls_prepare_that_was_skipped(proxy, primary):
    with Client(proxy.port).login() as c:
        c.ask("prepare byname as select 'byname'")
        assert step(c, parse("select 1 / $1::int") + bind("0") + execute() + close("S", "byname") + SYNC) == (["22012"], "I")
        assert run(c, "execute byname") == ([("byname",), "SELECT 1"], "I")
        c.send(close("S", "byname") + SYNC)
        assert kinds(c.until("Z")) == "3Z"
        assert run(c, "execute byname") == (["26000"], "I")
        recovers(c)


def test_second_part_of_a_unit_changes_state(narrow, primary):
    """What the first part was planned as says nothing of the others."""
    with Client(narrow.port).login() as c:
        c.send(extended_part("select 1") + FLUSH)
        assert kinds(c.until("C")) == "12DC"
        c.send(extended("do $$ begin set search_path = elsewhere; end $$"))
        assert kinds(c.until("Z")) == "12CZ"
    with Client(narrow.port).login() as other:
        assert run(other, "insert into pens values (1)") == (["INSERT 0 1"], "I")
        other.ask("begin")   # read where the first one worked
        other.ask("insert into pens values (2)")
        assert run(other, "show search_path") == ([('"$user", public',), "SHOW"], "T")
        recovers(other)


def extended_part(sql):
    return parse(sql) + bind() + execute()


def test_second_part_of_a_unit_writes(proxy, primary, cluster):
    with Client(proxy.port).login() as c:
        c.ask("begin")
        c.send(extended_part("select 1") + FLUSH)
        assert kinds(c.until("C")) == "12DC"
        c.send(extended("insert into pens values (1)"))
        assert kinds(c.until("Z")) == "12CZ"
        assert node_of(c, cluster) == 0
        assert c.ask("select count(*) from pens") == [["1"]]
        recovers(c)


def test_link_lost_under_the_second_part_of_a_unit(proxy, primary, marks):
    mark = marks()
    with Client(proxy.port).login() as c, proxy.connect() as other:
        with other.transaction():
            other.execute(f"select pg_advisory_xact_lock({LOCK})")
            c.send(extended_part("select 1") + FLUSH)
            assert kinds(c.until("C")) == "12DC"
            c.send(extended(f"insert into late values (1) /* {mark} */"))
            wait_until(lambda: primary.psql("select wait_event_type from pg_stat_activity where query like "
                                            f"'%{mark}%' and pid <> pg_backend_pid()", "postgres") == "Lock", "Sync to wait")
            primary.psql(f"select pg_terminate_backend({backend_of(primary, mark)}, 10000)", "postgres")
            told, status = outcome(c.until("Z"))
        assert (told[-1], status) == ("08007", "I")
        assert rows(primary, "late") == 0
        recovers(c)


def test_simple_query_within_a_unit_changes_state(narrow, primary):
    with Client(narrow.port).login() as c:
        c.send(extended_part("select 1") + FLUSH)
        assert kinds(c.until("C")) == "12DC"
        c.send(query("do $$ begin set search_path = elsewhere; end $$"))
        assert kinds(c.until("Z")) == "CZ"
        c.send(SYNC)
        assert kinds(c.until("Z")) == "Z"
    with Client(narrow.port).login() as other:
        other.ask("begin")
        other.ask("insert into pens values (2)")
        assert run(other, "show search_path") == ([('"$user", public',), "SHOW"], "T")
        recovers(other)


def test_error_that_answers_sync_takes_settings_back(narrow, primary):
    """The deferred constraint fails at the implicit commit: the SETs of that unit are gone."""
    with Client(narrow.port).login() as c:
        c.ask("insert into once values (1)")
        told = step(c, extended_part("set search_path = elsewhere") + extended("insert into public.once values (1)"))
        assert told == (["SET", "INSERT 0 1", "23505"], "I")
        assert run(c, "show search_path") == ([('"$user", public',), "SHOW"], "I")
        c.ask("set search_path = elsewhere")   # must be sent, whatever the link is believed to have
        assert step(c, extended("select count(*) from public.once for update"))[1] == "I"
        c.ask("begin")
        c.ask("insert into public.pens values (1)")
        assert run(c, "show search_path") == ([("elsewhere",), "SHOW"], "T")
        recovers(c)


def long_bind(statement, portal=""):
    """A parameter that holds whole messages: were they read as such, rows would appear in pens, or the client be refused."""
    value = query("insert into pens values (666)").decode() * 6000
    return bind(value, portal=portal, statement=statement)


def test_streamed_bind_is_dropped_whole_after_a_loss(proxy, primary, marks):
    """The rest of a long parameter that nobody takes is not read as messages."""
    mark = marks()
    with Client(proxy.port).login() as c:
        c.send(parse("select length($1::text)", "s") + SYNC)
        c.until("Z")
        c.ask("begin")
        c.ask(f"insert into pens values (1) /* {mark} */")
        kill_idle(proxy, primary, backend_of(primary, mark))
        assert step(c, long_bind("s") + execute() + SYNC) == (["40001"], "E")
        recovers(c)
        assert rows(primary) == 0


def test_streamed_bind_with_names_too_long(proxy, primary):
    with Client(proxy.port).login() as c:
        c.send(parse("select length($1::text)", "s") + SYNC)
        c.until("Z")
        told, status = step(c, long_bind("s", portal="p" * 1_000_000) + execute() + SYNC)
        assert (told, status) == (["08P01"], "I")
        recovers(c)
        assert rows(primary) == 0


def test_a_time_limit_of_the_server_is_told_as_that(start_proxy, cluster):
    """issue: as 40001 it had clients run the transaction again, which ended in the same way."""
    proxy = start_proxy({"pool_mode": "transaction", "load_balance_mode": False})
    with proxy.connect() as c:
        c.execute("set idle_in_transaction_session_timeout = '50ms'")
        c.execute("begin")
        pid = c.execute("select pg_backend_pid()").fetchone()[0]
        wait_until(lambda: cluster.primary.psql(f"select count(*) from pg_stat_activity where pid = {pid}") == "0", "its end")
        with pytest.raises(psycopg.errors.IdleInTransactionSessionTimeout):
            c.execute("select 1")
        assert c.info.transaction_status == psycopg.pq.TransactionStatus.INERROR
        c.execute("rollback")
        assert c.execute("select 1").fetchone() == (1,)
