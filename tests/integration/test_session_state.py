"""Random sessions, once on a server and once through the proxy in transaction mode: both must see the same state.

The server itself is the model here: parameters, roles, isolation, savepoints, prepared statements, transaction status
and error codes after every step.
"""
import random

import pytest

from support.wire import SYNC, Client, bind, describe, error, execute, parse, query

pytestmark = pytest.mark.herdgate_only

PARAMETERS = ["herd.x", "herd.y", "work_mem"]
# A parameter that only its own link has ever seen is empty there and unknown elsewhere: both count as empty.
STATE = ("select coalesce(current_setting('herd.x', true), ''), coalesce(current_setting('herd.y', true), ''), "
         "current_setting('work_mem'), current_setting('search_path'), current_setting('DateStyle'), "
         "current_setting('transaction_isolation'), current_user, session_user")


def value_of(draw, name):
    return f"{draw.randint(1, 9)}MB" if name == "work_mem" else str(draw.randint(0, 9))


def one_statement(draw):
    name = draw.choice(PARAMETERS)
    value = value_of(draw, name)
    savepoint = draw.choice("stu")
    return draw.choice([
        f"set {name} = '{value}'", f"set local {name} = '{value}'", f"reset {name}", f"set {name} to default",
        f"set local {name} to default", f"select set_config('{name}', '{value}', false)",
        f"select set_config('{name}', '{value}', true)", "reset all", "discard all",
        "begin", "begin isolation level repeatable read", "begin", "commit", "rollback", "commit and chain",
        "rollback and chain", f"savepoint {savepoint}", f"savepoint {savepoint}", f"release {savepoint}",
        f"rollback to {savepoint}", f"rollback to {savepoint}", "select 1/0", "select 1",
        "set search_path = pg_catalog, public", "set search_path = 'a, b'", "select set_config('search_path', 'a, b', false)",
        "reset search_path", "set datestyle = sql, dmy", "set role test", "set local role reader", "reset role",
        "set role none", "set session authorization test", "reset session authorization",
        "set session characteristics as transaction isolation level repeatable read",
        "set transaction isolation level repeatable read", "set default_transaction_isolation to default",
        "prepare p as select 41", "execute p", "deallocate p", "deallocate all",
    ])


def steps(seed, count=80):
    """Texts of one or several statements. The isolation level is only set where no snapshot has been taken yet."""
    draw = random.Random(seed)
    for _ in range(count):
        several = draw.random() < 0.15
        yield "; ".join(one_statement(draw) for _ in range(draw.randint(2, 4) if several else 1))


def run(client, text):
    """Error code, if any, and transaction status after one simple query."""
    client.send(query(text))
    messages = client.until("Z")
    codes = [error(payload)["C"] for kind, payload in messages if kind == "E"]
    return codes, messages[-1][1].decode()


@pytest.mark.parametrize("seed", range(8))
def test_the_same_as_on_a_server(start_proxy, cluster, seed):
    proxy = start_proxy({"pool_mode": "transaction", "pool_size": 3, "num_init_children": 20, "query_wait_timeout": 10})
    options = "-c work_mem=3MB -c herd.y=start" if seed % 2 else ""
    pairs, status = [], {}
    try:
        for number in range(3):  # more cannot be open at once: each may hold a link to every node
            direct = Client(cluster.primary.port).login(options=options)
            pairs.append((direct, Client(proxy.port).login(options=options), steps(seed * 100 + number), []))
            status[direct] = "I"
        for _ in range(80):
            for direct, through, texts, history in pairs:
                text = next(texts)
                # The proxy's links take their snapshots one by one; a server refuses another level after its one.
                if "isolation level" in text and "characteristics" not in text and status[direct] != "I":
                    continue
                history.append(text)
                want, got = run(direct, text), run(through, text)
                assert got == want, history
                status[direct] = want[1]
                # A read fixes the isolation level: so mostly between transactions.
                if want[1] == "I" or (want[1] == "T" and len(history) % 3 == 0):
                    assert through.ask(STATE) == direct.ask(STATE), history
    finally:
        for direct, through, _, _ in pairs:
            direct.close()
            through.close()


SETTERS = [
    ("set {} = '5MB'", "5MB"), ("reset {}", ""), ("set {} = '6MB'", "6MB"), ("begin; set {} = '7MB'; rollback", "6MB"),
    ("begin; set {} = '8MB'; commit", "8MB"), ("begin; set local {} = '9MB'; commit", "8MB"),
    ("begin; savepoint s; set {} = '9MB'; rollback to s; commit", "8MB"), ("begin; reset {}; rollback", "8MB"),
    ("select set_config('{}', '7MB', false)", "7MB"), ("set {} to default", ""), ("set {} = '5MB'", "5MB"), ("reset all", ""),
]


@pytest.mark.parametrize("name", ["work_mem", "herd.x"])
@pytest.mark.parametrize("mode", ["session", "transaction"])
def test_each_standby_that_answers_has_what_was_set(start_proxy, cluster, mode, name):
    proxy = start_proxy({"pool_mode": mode, "statement_level_load_balance": True, "backend_weight0": 0})
    standbys = {str(node.port) for node in cluster.standbys}

    def told(c):
        """What the standbys say, asked until each has answered three times."""
        answers = []
        while min([a for a, _ in answers].count(port) for port in standbys) < 3:
            answers += c.ask(f"select inet_server_port(), coalesce(current_setting('{name}', true), '')")
        assert {a for a, _ in answers} == standbys
        return {value for _, value in answers}

    with Client(proxy.port).login() as c:
        at_first = "" if name == "herd.x" else cluster.primary.psql(f"show {name}")
        assert told(c) == {at_first}
        for setter, value in SETTERS:
            for statement in setter.format(name).split("; "):
                c.ask(statement)
            assert told(c) == {value or at_first}, setter
        c.ask(f"set {name} = '5MB'")
    with Client(proxy.port).login() as c:  # of the next session nobody has set anything
        assert told(c) == {at_first}


FAILURES = {"syntax": [parse("selekt")], "a table that is not there": [parse("select * from nowhere")],
            "a name that is taken": [parse("select 1", "kept")], "a statement that is not there": [bind(statement="nope"), execute()],
            "a portal that is not there": [execute("nope")], "a description of nothing": [describe("S", "nope")],
            "too many values": [bind("1", "2", statement="kept")], "an error at run time": [parse("select 1/0"), bind(), execute()]}
UNIT_SETS = ["set datestyle = german", "set search_path = nowhere", "set role reader", "select set_config('herd.x', '7', false)", "begin"]


@pytest.mark.parametrize("sql", UNIT_SETS)
@pytest.mark.parametrize("mode", ["session", "transaction"])
def test_a_unit_that_fails_takes_back_what_it_has_set(start_proxy, cluster, mode, sql):
    proxy = start_proxy({"pool_mode": mode, "num_workers": 1, "load_balance_mode": False})
    for name, failure in FAILURES.items():
        seen = []
        for port in (cluster.primary.port, proxy.port):
            with Client(port).login() as c:
                c.send(parse("select 1", "kept"), SYNC)
                c.until()
                c.send(parse(sql), bind(), execute(), *failure, SYNC)
                answer = c.until()
                codes = [error(payload)["C"] for kind, payload in answer if kind == "E"]
                again = run(c, "rollback") if answer[-1][1] != b"I" else None
                seen.append((codes, answer[-1], again, c.ask(STATE)))
        assert seen[1] == seen[0], name
