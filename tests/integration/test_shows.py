"""The product's own SQL, as monitoring scripts read it."""
import re
import socket

import psycopg
import pytest

from support.system import wait_until
from support.wire import SYNC, Client, bind, describe, execute, kinds, parse

pytestmark = pytest.mark.proxy_only
NODES = ("node_id hostname port status pg_status lb_weight role pg_role select_cnt load_balance_node replication_delay "
         "replication_state replication_sync_state last_status_change").split()


def table(connection, sql):
    cursor = connection.execute(sql)
    names = [c.name for c in cursor.description]
    assert {c.type_code for c in cursor.description} == {0}
    return [dict(zip(names, r)) for r in cursor.fetchall()]


def wait_for_roles(proxy):
    with proxy.connect() as c:
        wait_until(lambda: [r["role"] for r in table(c, "show pool_nodes")] == ["primary", "standby", "standby"],
                   "the roles of the nodes")
        wait_until(lambda: [r["replication_state"] for r in table(c, "show pool_nodes")[1:]] == ["streaming"] * 2, "the replication state")


@pytest.mark.parametrize("text", ["show pool_nodes", "SHOW POOL_NODES;", "Show Pool_Nodes ;"])
def test_pool_nodes(proxy, cluster, text):
    wait_for_roles(proxy)
    with proxy.connect(dbname="postgres") as c:
        rows = table(c, text)
    assert list(rows[0]) == NODES and len(rows) == 3
    assert [r["node_id"] for r in rows] == ["0", "1", "2"]
    assert [int(r["port"]) for r in rows] == cluster.ports
    assert [r["role"] for r in rows] == ["primary", "standby", "standby"]
    assert all(r["status"] == "up" and r["lb_weight"] == "0.333333" for r in rows)
    assert sorted(r["load_balance_node"] for r in rows) == ["false", "false", "true"]
    assert [r["replication_sync_state"] for r in rows] == ["", "sync", "sync"]
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", r["last_status_change"]) for r in rows)


def test_select_count_counts_selects_of_clients(start_proxy):
    proxy = start_proxy({"backend_weight0": 0, "backend_weight1": 0}, fresh=True)
    with proxy.connect() as c:
        before = [int(r["select_cnt"]) for r in table(c, "show pool_nodes")]
        for _ in range(10):
            c.execute("select 1")
        after = [int(r["select_cnt"]) for r in table(c, "show pool_nodes")]
    assert after == [before[0], before[1], before[2] + 10]


def test_backend_stats(start_proxy):
    proxy = start_proxy({"load_balance_mode": False}, fresh=True)
    with proxy.connect() as c:
        for sql in ("create table if not exists counted (a int)", "insert into counted values (1)",
                    "update counted set a = 2", "delete from counted", "drop table counted", "select 1"):
            c.execute(sql)
        with pytest.raises(psycopg.errors.DivisionByZero):
            c.execute("select 1/0")
        row = table(c, "show pool_backend_stats")[0]
    assert [row[n] for n in ("insert_cnt", "update_cnt", "delete_cnt", "ddl_cnt", "error_cnt")] == list("11121")


def test_pool_status(proxy, cluster):
    with proxy.connect() as c:
        rows = table(c, "show pool_status")
    assert list(rows[0]) == ["item", "value", "description"]
    values = {r["item"]: r["value"] for r in rows}
    assert values["port"] == str(proxy.port) and values["load_balance_mode"] in ("1", "on")
    assert sum(r["item"].startswith("backend_data_directory") for r in rows) == 3
    assert values["backend_port2"] == str(cluster.ports[2])


def test_pool_version(proxy):
    with proxy.connect() as c:
        assert table(c, "show pool_version")[0]["pool_version"].startswith("4.6")


def test_processes_and_pools(proxy):
    with proxy.connect(application_name="seen") as c:
        mine = [r for r in table(c, "show pool_processes") if r["database"] == "test" and r["username"] == "postgres"]
        assert mine and mine[0]["status"] in ("Execute command", "Idle", "Wait for connection")
        pid = str(c.execute("select pg_backend_pid()").fetchone()[0])
        rows = table(c, "show pool_pools")
        used = [r for r in rows if r["database"] == "test"]
        assert used and pid in {r["pool_backendpid"] for r in rows}


def test_pgpool_show_set_reset(proxy):
    with proxy.connect() as c:
        assert table(c, "pgpool show port") == [{"port": str(proxy.port)}]
        assert table(c, "PGPOOL SHOW load_balance_mode") == [{"load_balance_mode": "on"}]
        c.execute("pgpool set log_statement to on")
        assert table(c, "pgpool show log_statement") == [{"log_statement": "on"}]
        c.execute("pgpool reset log_statement")
        assert table(c, "pgpool show log_statement") == [{"log_statement": "off"}]
        assert len(table(c, "pgpool show all")) > 150
        with pytest.raises(psycopg.Error, match="no_such_thing"):
            c.execute("pgpool show no_such_thing")
        with pytest.raises(psycopg.Error):
            c.execute("pgpool set port to 7777")
        assert c.execute("select 1").fetchone() == (1,)


@pytest.mark.herdgate_only
@pytest.mark.parametrize("binary", [False, True], ids=["simple", "extended"])
def test_pgpool_kill(proxy, binary):
    def slot(c):
        return next(r["pool_pid"] for r in table(c, "show pool_processes") if r["status"] == "Execute command")

    def kill(c, number):
        c.execute(f"pgpool kill {number}", binary=binary)
    with proxy.connect(user="test") as user, proxy.connect(user="test") as own, proxy.connect() as admin:
        numbers = {c: slot(c) for c in (user, own, admin)}
        assert len(set(numbers.values())) == 3
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            kill(user, numbers[admin])
        with pytest.raises(psycopg.errors.UndefinedObject, match="there is no client with pool_pid 4000000"):
            kill(user, 4000000)
        with pytest.raises(psycopg.errors.SyntaxError):
            kill(user, "nobody")
        assert [c.execute("select 1").fetchone() for c in (user, own, admin)] == [(1,)] * 3
        kill(user, numbers[own])
        kill(admin, numbers[user])
        for c in (own, user):
            with pytest.raises(psycopg.OperationalError):
                c.execute("select 1")
        assert admin.execute("select 1").fetchone() == (1,)


@pytest.mark.herdgate_only
@pytest.mark.parametrize("text", ["show pool_nodes and more", "pgpool explain route", "pgpool explain route ;", "pgpool show a b"])
def test_words_too_many_or_too_few(proxy, text):
    with proxy.connect() as c:
        with pytest.raises(psycopg.errors.SyntaxError):
            c.execute(text)
        assert c.execute("select 1").fetchone() == (1,)


@pytest.mark.herdgate_only
def test_own_commands_keep_the_transaction_state(proxy):
    with proxy.connect(autocommit=False) as c:
        c.execute("select 1")
        c.execute("show pool_nodes")
        assert c.info.transaction_status == psycopg.pq.TransactionStatus.INTRANS


@pytest.mark.herdgate_only
def test_own_commands_in_extended_protocol(proxy):
    with Client(proxy.port) as c:
        c.login()
        c.send(parse("show pool_nodes", "n"), describe("S", "n"), SYNC)
        assert kinds(c.until()) == "1tTZ"
        for _ in range(2):
            c.send(bind(statement="n"), describe("P"), execute(), SYNC)
            assert kinds(c.until()) == "2TDDDCZ"


@pytest.mark.herdgate_only
@pytest.mark.parametrize("sql,word", [("select 1", "standby"), ("insert into x values (1)", "primary"), ("selekt", "primary")])
def test_explain_route(proxy, sql, word):
    with proxy.connect() as c:
        rows = c.execute(f"PGPOOL EXPLAIN ROUTE {sql}").fetchall()
    assert rows and all(v is None or isinstance(v, str) for r in rows for v in r)


@pytest.mark.herdgate_only
def test_explain_route_of_prepared_statements(proxy):
    with proxy.connect() as c:
        c.execute("prepare seen as select count(*) from pg_class")
        for text in ("execute seen", "explain execute seen"):
            rows = c.execute(f"PGPOOL EXPLAIN ROUTE {text}").fetchall()
            assert any(item == "relation" and value.startswith("pg_class") for item, value in rows), rows


@pytest.mark.herdgate_only
def test_explain_route_tells_the_node_for_reads(start_proxy):
    proxy = start_proxy({"user_redirect_preference_list": "postgres:2"}, fresh=True)
    wait_for_roles(proxy)
    with proxy.connect() as c:
        rows = dict(c.execute("PGPOOL EXPLAIN ROUTE insert into x values (1)").fetchall())
        assert rows["node"].startswith("0 ") and rows["node for reads"].startswith("2 ")
        assert rows["chosen by"] == "user_redirect_preference_list postgres:2"
        assert re.fullmatch(r"\d+ bytes", rows["its delay"])


@pytest.mark.herdgate_only
@pytest.mark.parametrize("between", [" ", "\n\t  "], ids=["blank", "lines"])
def test_explain_route_matches_patterns_as_the_statement_does(start_proxy, between):
    proxy = start_proxy({"primary_routing_query_pattern_list": "SELECT .* from PAT.*", "backend_weight0": 0})
    with proxy.connect() as c:
        rows = dict(c.execute(f"PGPOOL EXPLAIN ROUTE{between}select 1 from pat;").fetchall())
    assert "SELECT .* from PAT.*" in str(rows) and rows["node"].startswith("0 "), rows


def test_roles_are_logged_at_the_start(start_proxy):
    proxy = start_proxy(fresh=True)
    wait_until(lambda: "node status[2]" in proxy.log(), "the roles in the log")
    roles = [("0", "1"), ("1", "2"), ("2", "2")]
    wait_until(lambda: re.findall(r"LOG:  node status\[(\d)\]: (\d)$", proxy.log(), re.M) == roles, "all roles in the log")


@pytest.mark.herdgate_only
def test_errors_of_parameters_have_hints(proxy):
    with proxy.connect() as c:
        with pytest.raises(psycopg.Error) as caught:
            c.execute("pgpool set log_backend_messages to sometimes")
        about = caught.value.diag
        assert "\n" not in about.message_primary and "terse" in (about.message_hint or ""), about.message_primary


@pytest.mark.herdgate_only
def test_client_min_messages(start_proxy):
    proxy = start_proxy({"notice_per_node_statement": True}, fresh=True)
    seen = []
    with proxy.connect() as c:
        c.add_notice_handler(lambda d: seen.append(d.message_primary))
        c.execute("select 1")
        c.execute("pgpool set client_min_messages to error")
        c.execute("select 2")
        c.execute("pgpool reset client_min_messages")
        c.execute("select 3")
    assert [s for s in seen if s.endswith("select 1")] and [s for s in seen if s.endswith("select 3")]
    assert not [s for s in seen if s.endswith("select 2")]


@pytest.mark.herdgate_only
def test_log_hostname(start_proxy):
    proxy = start_proxy({"log_connections": True, "log_disconnections": True, "log_hostname": True}, fresh=True)
    name = socket.getnameinfo(("127.0.0.1", 0), 0)[0]
    proxy.connect().close()
    wait_until(lambda: re.search(rf"DETAIL:  connecting host={name} port=\d+", proxy.log()), "the beginning in the log")
    wait_until(lambda: re.search(rf"frontend disconnection.*host={name} port=\d+", proxy.log(), re.S), "the end in the log")


def test_per_node_log_and_notice(start_proxy):
    proxy = start_proxy({"log_per_node_statement": True, "notice_per_node_statement": True, "log_statement": True,
                         "log_connections": True, "log_disconnections": True, "backend_weight0": 0,
                         "backend_weight1": 0}, fresh=True)
    seen = []
    with proxy.connect() as c:
        c.add_notice_handler(lambda d: seen.append(d.message_primary))
        c.execute("select 4711")
        c.execute("select %s::int", (4712,))
        for sql, words in (("select 4713/0", ()), ("select %s/0", (4714,))):
            with pytest.raises(psycopg.errors.DivisionByZero):
                c.execute(sql, words)
    assert "DB node id: 2 statement: select 4711" in seen
    for what in ("Parse: ", "Bind: ", "Execute: "):
        assert f"DB node id: 2 statement: {what}select $1::int" in seen
    with pytest.raises(psycopg.OperationalError):
        proxy.connect(user="stranger")
    proxy.stop()
    log = proxy.log()
    line = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3}: \S* ?pid \d+: LOG:  "
    assert re.search(line + r"statement: select 4711", log)
    assert re.search(line + r"DB node id: 2 backend pid: \d+ statement: select 4711", log)
    assert re.search(r"DB node id: 2 backend pid: \d+ statement: Parse: select \$1::int", log)
    assert re.search(r"DB node id: 2 backend pid: \d+ statement: Execute: select \$1::int", log)
    assert re.search(r"LOG:  new connection received\n.*DETAIL:  connecting host=127\.0\.0\.1 port=\d+", log)
    assert re.search(r'pool_send_and_wait: Error or notice message from backend: DB node id: 2 backend pid: \d+ '
                     r'statement: "select 4713/0" message: "division by zero"', log)
    assert 'LOG:  Error message from backend: DB node id: 2 message: "division by zero"' in log
    assert re.search(r"frontend disconnection: .* user=stranger database=test ", log)
    assert re.search(r"frontend disconnection: session time: 0:00:\d\d\.\d{3} user=postgres database=test "
                     r"host=127\.0\.0\.1 port=\d+", log)


def test_aborted_transaction_names_the_statement(proxy):
    with proxy.connect(autocommit=False) as c:
        with pytest.raises(psycopg.errors.SyntaxError):
            c.execute("selekt")
        with pytest.raises(psycopg.errors.InFailedSqlTransaction) as caught:
            c.execute("select 'refused'")
        if proxy.kind == "herdgate":
            assert caught.value.diag.message_detail == "statement: select 'refused'"
        c.rollback()
