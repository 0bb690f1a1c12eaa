"""A flood of reads none of which comes twice: the query cache does not keep them, and goes on keeping what does
(memqcache_selective)."""
import pytest

from support.system import wait_until
from test_http import Http, with_http
from test_query_cache import ON_PRIMARY, figures, hits_of, tables, value  # noqa: F401

pytestmark = [pytest.mark.proxy_only, pytest.mark.herdgate_only]
MOST = 10000  # reads of a flood, several windows


class Flooded:
    def __init__(self, web, c, prepared):
        self.web, self.c, self.prepared, self.last = web, c, prepared, 0

    def passed(self):
        return int(self.web.figure("herdgate_query_cache_passed_total"))

    def read(self, n):
        if self.prepared:
            return self.c.execute("select v + %s::bigint from qc.a where id = 1", (n,), prepare=True).fetchone()[0]
        return self.c.execute(f"select v + {n}::bigint from qc.a where id = 1").fetchone()[0]

    def hits(self, n):
        """Whether each of several reads was answered from the cache."""
        got = []
        for _ in range(n[1]):
            before = int(figures(self.c)["hits"])
            self.read(n[0])
            got.append(int(figures(self.c)["hits"]) - before)
        return got

    def flood(self, reads):
        for _ in range(reads):
            self.last += 1
            assert self.read(10**9 + self.last) >= 10**9

    def until_selective(self):
        before, began = self.passed(), self.last
        while self.passed() == before:
            assert self.last - began < MOST, "the flood was not noticed"
            self.flood(100)

    def cacheable(self):
        return dict(self.c.execute("pgpool explain route select v from qc.a").fetchall())["cacheable"]

    def entries(self):
        return int(figures(self.c)["entries"])


@pytest.fixture
def one_worker(start_proxy, tables):  # noqa: F811
    return Http(start_proxy(with_http({**ON_PRIMARY, "num_workers": 1}), fresh=True))


@pytest.mark.parametrize("prepared", [False, True], ids=["simple", "prepared"])
def test_a_flood_is_not_kept_and_it_recovers(one_worker, prepared):
    with one_worker.proxy.connect() as c:
        f = Flooded(one_worker, c, prepared)
        f.read(0)  # the connection to the server, and the server's name of the statement
        f.flood(100)
        assert f.entries() >= 100 and f.passed() == 0, "kept as ever"
        assert f.hits((1, 2)) == [0, 1]

        f.until_selective()
        full, passed = f.entries(), f.passed()
        f.flood(500)
        assert f.entries() == full and f.passed() == passed + 500
        assert f.cacheable().startswith("yes, from the second time")
        assert f.hits((2, 4)) == [0, 0, 1, 1]
        assert f.hits((1, 1)) == [1], "what was kept before is still there"
        assert f.entries() == full + 1
        c.execute("update qc.a set v = v + 1000 where id = 1")
        assert f.read(2) == f.read(2) == value(c) + 2 >= 1002, "what changes is seen"

        # As soon as reads come again, all are kept as before.
        assert hits_of(c, "select v from qc.a where id = 2", 100) == 98
        assert f.cacheable() == "yes"
        assert f.hits((3, 2)) == [0, 1]
        f.until_selective()  # and the next flood is noticed too


def test_switched_off_and_on(one_worker):
    def settled(want):
        wait_until(lambda: c.execute("pgpool show memqcache_selective").fetchone()[0] == want, "the new setting")
    with one_worker.proxy.connect() as c:
        f = Flooded(one_worker, c, False)
        f.until_selective()
        one_worker.proxy.settings["memqcache_selective"] = False
        one_worker.proxy.reload()
        settled("off")
        full, passed = f.entries(), f.passed()
        f.flood(200)
        assert f.entries() == full + 200 and f.passed() == passed
        assert f.cacheable() == "yes"
        assert f.hits((1, 2)) == [0, 1]
        one_worker.proxy.settings["memqcache_selective"] = True
        one_worker.proxy.reload()
        settled("on")
        f.until_selective()


def test_in_memcached(start_proxy, memcached, tables):  # noqa: F811
    web = Http(start_proxy(with_http({**ON_PRIMARY, **memcached.settings(), "num_workers": 1}), fresh=True))
    with web.proxy.connect() as c:
        f = Flooded(web, c, True)
        wait_until(lambda: hits_of(c, "select v from qc.a where id = 3") == 2, "hits")  # not in the first 3 s
        f.until_selective()
        assert f.hits((2, 3)) == [0, 0, 1]
        c.execute("update qc.a set v = v + 1000 where id = 1")
        assert f.read(2) == f.read(2) == value(c) + 2 >= 1002
        # Kept when it is asked for the second time. A look-up that memcached answers too late is passed by.
        assert 90 <= hits_of(c, "select v from qc.a where id = 4", 100) <= 98
        assert f.hits((3, 2)) == [0, 1]
