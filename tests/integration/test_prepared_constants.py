"""Constants in a prepared statement are read when it is parsed, by the settings of the session that parses it: sessions
with other settings do not share it, whatever link they get."""
import pytest

pytestmark = [pytest.mark.proxy_only, pytest.mark.herdgate_only]
CASES = [("datestyle", "German", "US", "select ('01/02/03'::date - date '2000-01-01')::int"),
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
