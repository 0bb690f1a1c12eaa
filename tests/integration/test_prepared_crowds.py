"""Many prepared statements at once, and names that change their meaning within a unit."""
import pytest

from support.wire import SYNC, Client, bind, close, describe, error, execute, parse

pytestmark = [pytest.mark.proxy_only, pytest.mark.herdgate_only]
# Under what a statement is read: each has to be set, and set back, around a statement that is prepared elsewhere.
SETS = ["datestyle to german", "timezone to 'Asia/Tokyo'", "intervalstyle to iso_8601", "lc_monetary to 'C'",
        "xmloption to document", "array_nulls to off", "bytea_output to escape", "extra_float_digits to -3",
        "transform_null_equals to on", "quote_all_identifiers to on", "timezone_abbreviations to 'Australia'",
        "search_path to nowhere, public"]


def ask(client, *messages):
    client.send(*messages, SYNC)
    return [error(payload)["C"] if kind == "E" else (kind, payload) for kind, payload in client.until() if kind not in "SN"]


def rows(told):
    return [payload for kind, payload in told if kind == "D"]


@pytest.fixture
def proxy_of(start_proxy):
    return lambda **more: start_proxy({"pool_mode": "transaction", "num_workers": 1, "load_balance_mode": False, **more})


def test_a_unit_that_has_everything_prepared_by_other_settings(proxy_of):
    proxy, many = proxy_of(pool_size=1, max_prepared_statements=100), 1500
    with Client(proxy.port).login() as c:
        for setting in SETS:
            c.ask("set " + setting)
        for at in range(0, many, 100):
            ask(c, *[parse(f"select {i}", f"s{i}") for i in range(at, at + 100)])
        for setting in SETS:
            c.ask("reset " + setting.split()[0])
        for _ in range(2):
            c.send(*[bind(statement=f"s{i}") + execute() for i in range(many)], SYNC)
            assert [p[6:] for k, p in c.until() if k == "D"] == [str(i).encode() for i in range(many)]
        assert c.ask("select 1") == [["1"]]


def test_all_of_sql_prepare_comes_to_another_link(proxy_of):
    proxy, many = proxy_of(pool_size=2), 5000
    with Client(proxy.port, 60).login() as c, Client(proxy.port).login() as one, Client(proxy.port).login() as other:
        for setting in SETS:
            c.ask("set " + setting)
        for i in range(many):
            c.ask(f"prepare p{i} as select {i}")
        for setting in SETS:
            c.ask("reset " + setting.split()[0])
        # The link that it has had is another's now, and so it is given the one that does not have them.
        for session in (c, other):
            session.ask("begin")
            session.ask("select 1")
        c.ask("rollback")
        one.ask("begin")
        one.ask("select 1")
        other.ask("rollback")
        for i in (0, 7, many - 1):
            assert c.ask(f"execute p{i}") == [[str(i)]]
        one.ask("rollback")
        assert c.ask("execute p8") == [["8"]]


def test_more_statements_are_compared_than_a_link_keeps(proxy_of):
    proxy = proxy_of(pool_size=2, max_prepared_statements=2)
    with proxy.connect() as admin, Client(proxy.port).login() as c, Client(proxy.port).login() as other:
        admin.prepare_threshold = None
        admin.execute("drop table if exists crowd; create table crowd (a int)")
        for i in range(5):
            ask(c, parse(f"select {i}, count(*) from crowd", f"s{i}"), describe("S", f"s{i}"))
        admin.execute("alter table crowd add b int")
        other.ask("begin")
        other.ask("select 1")
        for _ in range(2):
            told = ask(c, *[bind(statement=f"s{i}") + execute() for i in range(5)])
            assert [p[6:7] for p in rows(told)] == [str(i).encode() for i in range(5)]
        other.ask("rollback")


def test_a_name_that_its_unit_gives_to_another_statement(proxy_of):
    """What it stood for had other columns; drivers that keep few names use them again at once."""
    proxy = proxy_of(pool_size=2)
    with proxy.connect() as admin, Client(proxy.port).login() as c, Client(proxy.port).login() as other:
        admin.prepare_threshold = None
        admin.execute("drop table if exists crowd; create table crowd (a int); insert into crowd values (1)")
        ask(c, parse("select * from crowd", "p"), describe("S", "p"))
        admin.execute("alter table crowd add b int default 2")
        other.ask("begin")
        other.ask("select 1")
        told = ask(c, close("S", "p"), parse("select * from crowd", "p"), bind(statement="p"), execute())
        assert rows(told) == [b"\0\2\0\0\0\0011\0\0\0\0012"]
        other.ask("rollback")


def test_deallocated_and_at_once_prepared_under_another_name(proxy_of, cluster):
    proxy = proxy_of(pool_size=1)
    told = []
    for port in (cluster.primary.port, proxy.port):
        with Client(port).login() as c:
            used = [bind(statement="b"), execute()]
            told.append([ask(c, parse("select 7", "a"), bind(statement="a"), execute()),
                         ask(c, parse("deallocate a"), bind(), execute(), parse("select 7", "b"), *used),
                         ask(c, parse("begin"), bind(), execute()), ask(c, *used), ask(c, *used),
                         ask(c, parse("rollback"), bind(), execute()), ask(c, *used)])
    assert told[1] == told[0] and rows(told[0][-1])
