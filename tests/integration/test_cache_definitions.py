"""Random definitions by several sessions: each answer compared with the server's own, asked directly in the same state.

A kind is one row of support/definitions.py. A step takes one: its reads are warmed (most become hits), its statements run in some way (a
transaction, a DO block, a unit …), and the reads are compared. Every session has a twin on the primary, with the same
user, protocol, search_path and prepared statements.

--seed N repeats a run; --seconds N makes it longer; test_seeds (--long) takes one seed after another.
"""
import collections
import random
import time

import pytest

from support.definitions import CLEAN, KINDS, SETUP, WAYS
from support.system import wait_until
from support.wire import SYNC, Client, bind, close, error, execute, parse, query, row
from test_query_cache import ON_PRIMARY

pytestmark = [pytest.mark.proxy_only, pytest.mark.herdgate_only]
VIEWS_TOO = {**ON_PRIMARY, "cache_safe_memqcache_table_list": ".*", "memqcache_selective": False,
             "memqcache_maxcache": 4096}
PATHS = ["d1, dd", "d1, dd", "d1, dd", "dd", "dd, d1", '"$user", d1, dd']
USERS = ["postgres", "postgres", "dd_alice", "dd_alice", "postgres"]
ELSEWHERE = ("each", "do", "transaction", "two-phase", "unit")  # ways that need no functions of the test's
PROTOCOLS = ["simple", "extended", "simple", "named", "named"]


class Side:
    """One connection; what comes of a statement is its rows, or the SQLSTATE."""

    def __init__(self, port, user, protocol, path, database="test"):
        self.wire = Client(port).login(user=user, database=database, options="-c statement_timeout=20s")
        self.protocol, self.names, self.count = protocol, {}, 0
        if path:
            self.simple(f"set search_path = {path}")

    def result(self, messages):
        failed = [error(p) for k, p in messages if k == "E"]
        self.message = failed[0]["M"] if failed else ""
        return failed[0]["C"] if failed else [row(p) for k, p in messages if k == "D"]

    def simple(self, sql):
        self.wire.send(query(sql))
        return self.result(self.wire.until())

    def unit(self, *texts):
        self.wire.send(*[m for t in texts for m in (parse(t), bind(), execute())], SYNC)
        return self.result(self.wire.until())

    def named(self, sql):
        ahead, name = [], self.names.get(sql)
        if name is None:
            self.count += 1
            name = self.names[sql] = f"s{self.count}"
            ahead = [parse(sql, name=name)]
        self.wire.send(*ahead, bind(statement=name), execute(), SYNC)
        got = self.result(self.wire.until())
        if isinstance(got, str):  # it may not have been prepared, or its columns have changed
            self.wire.send(close(name=name), SYNC)
            self.wire.until()
            del self.names[sql]
        return got

    def read(self, sql):
        return {"simple": self.simple, "extended": self.unit, "named": self.named}[self.protocol](sql)


class Session:
    """A session of a proxy and its twin."""

    def __init__(self, run, number):
        self.run, self.number = run, number
        self.user, self.protocol = USERS[number], PROTOCOLS[number]
        self.start()

    def start(self):
        path = self.run.rnd.choice(PATHS)
        port = self.run.proxies[self.number % len(self.run.proxies)].port
        self.own = Side(port, self.user, self.protocol, path)
        self.twin = Side(self.run.primary, self.user, self.protocol, path)
        self.path = path

    def close(self):
        self.own.wire.close()
        self.twin.wire.close()


class Run:
    def __init__(self, proxies, primary, seed, invalidates=True):
        self.rnd = random.Random(seed)
        self.proxies, self.primary, self.seed = proxies, primary, seed
        self.invalidates = invalidates
        self.tally = collections.defaultdict(collections.Counter)
        self.history = []
        self.watch = [Client(p.port).login() for p in proxies]
        self.admin = Side(proxies[0].port, "postgres", "simple", "")
        self.elsewhere = Side(proxies[0].port, "postgres", "simple", "", database="postgres")
        for sql in CLEAN:
            self.admin.simple(sql)
        for sql in SETUP:
            got = self.admin.simple(sql)
            assert isinstance(got, list), (sql, got)
        self.sessions = [Session(self, n) for n in range(len(USERS))]

    def close(self):
        for s in self.sessions:
            s.close()
        for sql in CLEAN:
            self.admin.simple(sql)
        for c in [*self.watch, self.admin.wire, self.elsewhere.wire]:
            c.close()

    def hits(self):
        return sum(int(w.ask("show pool_cache")[0][0]) for w in self.watch)

    def compare(self, kind, sql, sessions):
        for s in sessions:
            for again in range(2):
                got, wanted = s.own.read(sql), s.twin.read(sql)
                if got != wanted and (kind.name, s.protocol) not in ALLOWED:
                    raise AssertionError(f"seed {self.seed}, kind {kind.name}: {s.user} ({s.protocol}, {s.path}, run "
                                         f"{again + 1}) reads {sql!r}: {got} {s.own.message}, the server says {wanted} "
                                         f"{s.twin.message}; "
                                         "the last steps:\n" + "\n".join(map(str, self.history[-12:])))
            self.tally[kind.name]["reads"] += 2
            yield wanted

    def step(self):
        kind = self.rnd.choice(KINDS)
        others = [self.rnd.choice(self.rnd.choice(KINDS).reads)]
        readers = self.rnd.sample(self.sessions, 3)
        before = self.hits()
        old = [list(self.compare(kind, sql, readers)) for sql in kind.reads]
        warmed = self.hits() - before
        self.tally[kind.name]["hits"] += warmed
        self.change(kind, readers)
        new = [list(self.compare(kind, sql, readers)) for sql in kind.reads]
        self.tally[kind.name]["steps"] += 1
        self.tally[kind.name]["changed"] += old != new and warmed > 0
        for sql in others:
            list(self.compare(kind, sql, self.rnd.sample(self.sessions, 2)))

    def change(self, kind, readers):
        statements = kind.make(self.rnd)
        way = self.rnd.choice([w for w in WAYS if kind.ways is None or w.name in kind.ways])
        if kind.everywhere and self.rnd.random() < 0.4:
            writer, where = self.elsewhere, "database postgres"
            way = self.rnd.choice([w for w in WAYS if w.name in ELSEWHERE and (kind.ways is None or w.name in kind.ways)])
        else:
            s = self.rnd.choice([s for s in self.sessions if s.user == "postgres"])
            writer, where = s.own, s.number
        self.history.append((kind.name, way.name, where, statements))
        for call, text in way.make(statements):
            if call == "peek":
                self.peek(writer, kind, readers)
                continue
            got = getattr(writer, call)(*text) if call == "unit" else writer.simple(text)
            self.tally[kind.name]["failed" if isinstance(got, str) else "done"] += 1
            self.history[-1] += ((got,) if isinstance(got, str) else ())
        writer.simple("rollback")
        if writer is not self.elsewhere and self.rnd.random() < 0.6:
            writer_session = next(s for s in self.sessions if s.own is writer)
            writer_session.close()
            writer_session.start()
        for s in self.sessions:
            if kind.logins:
                s.close()
                s.start()
            # A server does not read a prepared text anew for a new table, function or cast that would now be preferred.
            s.own.names.clear()
            s.twin.names.clear()

    def peek(self, writer, kind, readers):
        """Within a transaction: its own reads are the server's, and others still see what was before."""
        sql = self.rnd.choice(kind.reads)
        if writer.simple("savepoint peek") == []:
            own, asked = writer.simple(sql), None
            if isinstance(own, list):
                asked = writer.simple("/*NO QUERY CACHE*/ " + sql.removeprefix("/*FORCE QUERY CACHE*/ "))
                assert own == asked, (self.seed, sql, own, asked, self.history[-3:])
            writer.simple("rollback to peek")
        for s in readers:
            if s.own is writer:
                continue
            both = []
            for side in (s.twin, s.own):
                side.simple("set lock_timeout = 10")
                both.append(side.simple(sql))
                side.simple("reset lock_timeout")
            # A server has a read wait, unless it knows the types of its columns from before; what was kept may be shown.
            if "55P03" not in both:
                assert both[0] == both[1], (self.seed, "while it is open", sql, both, self.history[-3:])


# (kind, protocol) whose differences docs/compat.md names.
ALLOWED = {}


def run_for(proxies, cluster, seed, seconds=None, steps=None):
    run = Run(proxies, cluster.primary.port, seed)
    try:
        end, done = time.monotonic() + (seconds or 0), 0
        while done < (steps or 0) or time.monotonic() < end:
            run.step()
            done += 1
        return run
    finally:
        run.close()


def seed_of(request, otherwise):
    given = request.config.getoption("--seed")
    return otherwise if given is None else given


def report(tally):
    for name, t in sorted(tally.items()):
        print(f"{name:28} {dict(t)}")


@pytest.mark.parametrize("mode", [pytest.param("session", marks=pytest.mark.long), "transaction"])
def test_random_definitions(start_proxy, cluster, request, mode):
    proxy = start_proxy({**VIEWS_TOO, "pool_mode": mode})
    seconds = request.config.getoption("--seconds")
    run = run_for([proxy], cluster, seed_of(request, 1), seconds=seconds if seconds > 5 else None, steps=60)
    report(run.tally)
    assert sum(t["hits"] for t in run.tally.values()) > 100
    assert sum(t["changed"] for t in run.tally.values()) > 10, "answers that had been kept are others now"


@pytest.mark.long
def test_two_proxies(start_proxy, cluster, request):
    memcached = request.getfixturevalue("memcached")
    proxies = [start_proxy({**VIEWS_TOO, **memcached.settings()}, fresh=True) for _ in range(2)]
    with proxies[0].connect() as a, proxies[1].connect() as b:  # in a new memcached nothing is kept for 3 s
        for c in (a, b):
            wait_until(lambda: hits_now(c) > 0, "hits")
    run = run_for(proxies, cluster, seed_of(request, 2), steps=40)
    report(run.tally)
    assert sum(t["hits"] for t in run.tally.values()) > 20  # under a sanitizer some 50: what is kept has time to go


def hits_now(c):
    c.execute("select 1")
    return int(c.execute("show pool_cache").fetchone()[0])


def test_it_can_fail(start_proxy, cluster):
    """Without invalidation the same steps find old answers."""
    proxy = start_proxy({**VIEWS_TOO, "memqcache_auto_cache_invalidation": False}, fresh=True)
    with pytest.raises(AssertionError, match="the server says"):
        run_for([proxy], cluster, 1, steps=60)


@pytest.mark.long
@pytest.mark.parametrize("mode", ["session", "transaction"])
def test_seeds(start_proxy, cluster, request, mode):
    """One seed after another, each with new tables; --seconds says how long."""
    proxy = start_proxy({**VIEWS_TOO, "pool_mode": mode})
    end, seed, tally = time.monotonic() + request.config.getoption("--seconds"), seed_of(request, 1000), {}
    found = []
    while time.monotonic() < end:
        try:
            run = run_for([proxy], cluster, seed, steps=100)
            for name, t in run.tally.items():
                tally.setdefault(name, collections.Counter()).update(t)
        except AssertionError as e:
            found.append(e.args[0])
            print(e.args[0], flush=True)
        seed += 1
    report(tally)
    assert not found, "\n\n".join(map(str, found))
