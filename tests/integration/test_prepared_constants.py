"""Constants in a prepared statement are read when it is parsed, by the settings of the session that parses it: sessions
with other settings do not share it, whatever link they get."""
import pytest
from psycopg.pq import ExecStatus

pytestmark = [pytest.mark.proxy_only, pytest.mark.herdgate_only]
CASES = [("datestyle", "German", "ISO, MDY", "select ('01/02/03'::date - date '2000-01-01')::int"),
         ("timezone", "Asia/Tokyo", "UTC", "select extract(epoch from '2024-01-01'::timestamptz)::bigint"),
         ("intervalstyle", "sql_standard", "postgres", "select extract(epoch from '-1 2:03:04'::interval)::bigint")]


@pytest.mark.parametrize("mode", ["session", "transaction"])
@pytest.mark.parametrize("name,one,other,sql", CASES, ids=[c[0] for c in CASES])
def test_are_read_by_the_session_that_parses(start_proxy, cluster, mode, name, one, other, sql):
    proxy = start_proxy({"pool_mode": mode, "num_workers": 1, "load_balance_mode": False,
                         **({"pool_size": 1} if mode == "transaction" else {})})
    wanted = [int(cluster.primary.psql(f"set {name} = '{value}'; {sql}").split()[-1]) for value in (one, other)]
    assert wanted[0] != wanted[1]
    with proxy.connect() as a, proxy.connect() as b:
        a.prepare_threshold = b.prepare_threshold = 1
        a.execute(f"set {name} = '{one}'")
        b.execute(f"set {name} = '{other}'")
        for _ in range(3):
            assert [c.execute(sql, prepare=True).fetchone()[0] for c in (a, b)] == wanted


@pytest.mark.parametrize("by_sql", [False, True], ids=["parse", "prepare"])
@pytest.mark.parametrize("within", [False, True], ids=["alone", "in a transaction"])
@pytest.mark.parametrize("name,one,other,sql", CASES, ids=[c[0] for c in CASES])
def test_stay_those_of_the_definition_on_another_link(start_proxy, cluster, name, one, other, sql, within, by_sql):
    """The session sets something else, and the link that knows the statement is in another session's transaction."""
    proxy = start_proxy({"pool_mode": "transaction", "num_workers": 1, "load_balance_mode": False})
    wanted = [int(cluster.primary.psql(f"set {name} = '{value}'; {sql}").split()[-1]) for value in (one, other)]
    shown = cluster.primary.psql(f"set {name} = '{other}'; show {name}").splitlines()[-1]
    with proxy.connect() as a, proxy.connect() as b, proxy.connect() as holder:
        for c in (a, b, holder):
            c.prepare_threshold = None

        def define(c):
            return c.execute(f"prepare named as {sql}") if by_sql else good(c.pgconn.prepare(b"named", sql.encode()))

        def value(c):
            if by_sql:
                return c.execute("execute named").fetchone()[0]
            return int(good(c.pgconn.exec_prepared(b"named", [])).get_value(0, 0))
        a.execute(f"set {name} = '{one}'")
        define(a)
        assert value(a) == wanted[0]
        a.execute(f"set {name} = '{other}'")
        holder.execute("begin; select pg_backend_pid()")  # has the link now
        if within:
            a.execute(f"begin; set local {name} = '{other}'")
        assert (value(a), a.execute(f"show {name}").fetchone()[0]) == (wanted[0], shown)
        if within:
            a.execute("rollback")
        assert (value(a), a.execute(f"show {name}").fetchone()[0]) == (wanted[0], shown)
        # A session that defines the text as the first one did gets the same, one of the other settings its own.
        for setting, expected in ((one, wanted[0]), (other, wanted[1])):
            b.execute(f"set {name} = '{setting}'")
            define(b)
            assert value(b) == expected
            b.execute("deallocate named")
        holder.execute("rollback")
        assert value(a) == wanted[0]


def good(result):
    assert result.status in (ExecStatus.COMMAND_OK, ExecStatus.TUPLES_OK), result.error_message
    return result


@pytest.mark.parametrize("mode", ["session", "transaction"])
def test_a_zone_by_interval_is_not_the_zone_of_that_name(start_proxy, mode):
    proxy = start_proxy({"pool_mode": mode, "num_workers": 1, "load_balance_mode": False,
                         **({"pool_size": 1} if mode == "transaction" else {})})
    sql = "select extract(epoch from '2024-01-01'::timestamptz)::bigint"
    with proxy.connect() as a, proxy.connect() as b:
        a.prepare_threshold = b.prepare_threshold = 1
        a.execute("set time zone interval '-08:00' hour to minute")
        b.execute("set time zone '-08:00'")
        for _ in range(3):
            assert [c.execute(sql, prepare=True).fetchone()[0] for c in (a, b)] == [1704096000, 1704038400]
