"""Random sequences of messages, answered through the proxy as by a server directly: kinds, SQLSTATEs, texts, rows, ReadyForQuery.

Several clients at once, over one or two links where these are shared. Each has a table of its own, and says the same to the
primary first. A difference is cut down to the messages that it takes, and shown with them.

A search for differences, not a test: it still finds some, so it is run by hand (docs/status.md):

    cd tests/integration && /usr/bin/python3 -m pytest -q --show-capture=no model_protocol.py --seconds 60

--seed N repeats the choices of a run; --seconds N runs longer.

Left out, because docs/compat.md says that they differ:
- EXECUTE and DEALLOCATE in a text amid an unfinished unit (26000 there);
- pg_prepared_statements, currval, pg_backend_pid: they show what links have;
- the name of a statement in "bind message supplies …": ours, hg_…;
- the unnamed statement behind a text amid a unit: it is there still;
- Bind, Describe, Close and Parse, by its name, of what SQL's PREPARE has made in the same unit: not known yet;
- DETAIL of 25P02: the statement, as Pgpool-II says it;
- which of several names 26000 tells, where one EXECUTE leads to another;
- what DEALLOCATE and EXECUTE find that another EXECUTE runs, and those behind a COMMIT in the text of a failed transaction;
- whether a portal that has been run to its end is there still (34000, 55000), and the oids of tables;
- Describe in a failed transaction of a statement without rows that this link has not: 25P02;
- DDL that changes columns under prepared statements: test_prepared_columns.py has these;
- settings changed while a cursor or portal is open on another node; COPY FROM: test_ledger_cases.py has these.
"""
import random
import re
import socket
import threading
import time
from typing import NamedTuple

import pytest

from support import wire
from support.wire import Client, Closed, error, row

pytestmark = [pytest.mark.proxy_only, pytest.mark.herdgate_only, pytest.mark.timeout(7200)]

CLIENTS = 4
SHARES = {  # of --seconds
    "session": {"pool_mode": "session", "load_balance_mode": False},
    "session-balanced": {"pool_mode": "session", "backend_weight0": 0},
    "one-link": {"pool_mode": "transaction", "load_balance_mode": False, "pool_size": 1},
    "balanced": {"pool_mode": "transaction", "backend_weight0": 0, "pool_size": 2},
    "cache": {"pool_mode": "transaction", "backend_weight0": 0, "pool_size": 1, "memory_cache_enabled": True},
    "few-interned": {"pool_mode": "transaction", "load_balance_mode": False, "pool_size": 2, "max_prepared_statements": 2},
}
SHARE = 0.5
NAMES = ["p", "q", "Odd one"]
SQL_NAMES = ["sp", "Sql one"]  # of PREPARE; where SQL names what the protocol has prepared: test_prepared_names.py
PORTALS = ["", "", "c", "d"]


class Said(NamedTuple):
    """One message of a client, to be read and to be sent."""
    name: str
    args: tuple = ()

    def octets(self):
        if self.name == "bound":
            values, portal, statement = self.args
            return wire.bind(*values, portal=portal, statement=statement)
        made = getattr(wire, self.name)
        return made(*self.args) if callable(made) else made


def quoted(name):
    return name if name.islower() else f'"{name}"'


class Chance:
    """What one client says, of one seed. A step is a list of messages that ends with a Sync or a text."""

    def __init__(self, seed, number):
        self.r, self.table = random.Random(seed), f"model_{number}"

    def steps(self):
        return [self.step() for _ in range(self.r.randint(3, 14))]

    def step(self):
        if self.r.random() < 0.35:
            return [self.text()]
        said = []
        for _ in range(self.r.choice((1, 1, 2, 3, 5))):
            said += self.part()
            if any(m.name == "parse" and m.args[0].startswith("prepare ") for m in said):
                break
        if self.r.random() < 0.05:  # a text amid the unit
            said += [Said("query", (self.plain(),)), Said("parse", ("select 1",))]
        return [*said, Said("SYNC")]

    def text(self):
        if self.r.random() < 0.67:
            return Said("query", (self.sql(),))
        return Said("query", ("; ".join(self.plain() for _ in range(self.r.choice((2, 3)))),))

    def part(self):
        r = self.r
        name = r.choice(["", "", *NAMES])
        sql = self.sql(types := [])
        # What SQL's EXECUTE is not to run: with these a server ends the connection, with DEALLOCATE we differ.
        while name and (sql in self.ends or sql.startswith("deallocate") or sql == "discard all"):
            sql = self.sql(types)
        portal = r.choice(PORTALS)
        values = tuple(str(r.randint(0, 3)) for _ in types)
        run = [self.bound(values, portal, name), *self.maybe_described("P", portal), Said("execute", (portal, r.choice((0, 0, 0, 1, 2))))]
        made = Said("parse", (sql, name, tuple(types)))
        kind = r.random()
        if kind < 0.40:
            said = [made, *self.maybe_described("S", name), *run]
        elif kind < 0.55:
            said = [self.bound((), portal, name), *self.maybe_described("P", portal), Said("execute", (portal, r.choice((0, 0, 1))))]
        elif kind < 0.65:
            said = [made]
        elif kind < 0.75:
            said = [Said("close", ("S", name)), made, *(run if r.random() < 0.5 else [])]
        elif kind < 0.80:
            said = [Said("close", ("S", name))]
        elif kind < 0.84:
            said = [Said("close", ("P", portal))]
        elif kind < 0.90:
            said = [Said("execute", (portal, r.choice((0, 1, 2))))]
        elif kind < 0.95:
            said = [Said("describe", ("P", r.choice("cd")))]
        else:
            said = [self.bound(("1",), portal, name)]
        return [*said, Said("FLUSH")] if r.random() < 0.1 else said

    def bound(self, values, portal, name):
        return Said("bound", (values, portal, name))

    def maybe_described(self, what, name):
        return [Said("describe", (what, name))] if self.r.random() < 0.3 else []

    def plain(self):
        """Anything that names no statement of the protocol."""
        while True:
            sql = self.sql()
            if sql and not any(word in sql for word in ("execute", "deallocate", "prepare", "discard")):
                return sql

    def sql(self, types=None):
        r, t, name = self.r, self.table, quoted(self.r.choice(SQL_NAMES))
        one = "1"
        if types is not None and r.random() < 0.5:
            types.append(23)
            one = "$1"
        chosen = r.choices(self.KINDS, self.WEIGHTS)[0]
        if chosen != "reads" and chosen != "writes" and chosen != "fails" and types:
            types.clear()
        return r.choice(getattr(self, chosen)).format(t=t, name=name, one=one, other=quoted(r.choice(SQL_NAMES)))

    WEIGHTS_OF = {"reads": 24, "writes": 10, "fails": 8, "ends": 20, "settings": 14, "names": 24, "cursors": 5, "temporary": 1}
    KINDS, WEIGHTS = list(WEIGHTS_OF), list(WEIGHTS_OF.values())
    reads = ["select {one}::int", "select count(*), sum(a) from {t} where a >= {one}", "select a from {t} order by a",
             "select n from generate_series({one}, 5) n", "select '01/02/03'::date::text, {one}::int", "select a from {t} where a = {one} for update",
             "table {t} order by 1", "values ({one}::int)", "/* c */ select {one}::int", "select 'execute sp', {one}::int", ""]
    writes = ["insert into {t} values ({one})", "insert into {t} values ({one}) returning a", "update {t} set a = a + {one} where a < 50",
              "delete from {t} where a > {one}", "with w as (insert into {t} values ({one}) returning a) select * from w"]
    fails = ["select 1 / ({one}::int - {one}::int)", "select nonsense", "select {one}::int from nowhere", "selec 1", "insert into {t} values ({one}::text)",
             "select 1/0", "insert into {t} values (-1)"]
    ends = ["begin", "begin", "begin", "commit", "commit", "rollback", "savepoint s", "rollback to s", "release s", "begin read only", "end", "abort",
            "begin isolation level repeatable read", "commit and chain", "rollback and chain", "start transaction", "savepoint s"]
    settings = ["set work_mem = '5MB'", "set local work_mem = '6MB'", "show work_mem", "reset work_mem", "set datestyle = 'ISO, DMY'", "reset all",
                "set datestyle to default", "show datestyle", "discard all", "select set_config('work_mem', '7MB', false)",
                "set application_name = 'model'", "show application_name", "set session characteristics as transaction read only",
                "set session characteristics as transaction read write", "set transaction read only", "show transaction_read_only",
                "set search_path = pg_catalog", "show search_path", "set work_mem = 'nonsense'", "discard plans"]
    names = ["prepare {name} as select 1", "prepare {name} (int) as select a from {t} where a = $1", "execute {name}", "execute {name}(1)", "execute {name}",
             "execute {name}", "deallocate {name}", "deallocate {name}", "deallocate all", "deallocate prepare {name}", "explain (costs off) execute {name}",
             "execute {name}(2)", "prepare {name} as insert into {t} values (7)", 
             "prepare {name} as select '01/02/03'::date::text", "discard all"]
    cursors = ["declare k cursor for select n from generate_series(1, 5) n", "fetch 2 from k", "close k", "fetch all k", "close all", "move 1 from k"]
    temporary = ["create temp table made as select 1 as b", "drop table made", "select * from made", "create temp table made as execute sp"]


def columns(payload):
    """Names, types and formats; the table's oid is another where other tables were made before."""
    out, at = [], 2
    while at < len(payload):
        end = payload.index(b"\0", at)
        out.append((payload[at:end], payload[end + 5:end + 19]))
        at = end + 19
    return out


def understood(kind, payload):
    """A message as far as it has to be the same."""
    if kind in "EN":
        fields = error(payload)
        fields["M"] = re.sub('(bind message .* prepared statement )".*"', r"\1…", fields["M"])
        if fields["C"] in ("34000", "55000"):
            return kind, "portal"
        if fields["M"].startswith("bind message supplies"):  # in a failed transaction 25P02, if the link lacks the statement
            return kind, "25P02"
        if fields["C"] == "25P02":
            return kind, "25P02"
        kept = {"26000": "SC"}.get(fields["C"], "SCMDHP")
        return (kind, *(fields.get(f) for f in kept))
    if kind == "T":
        return kind, columns(payload)
    if kind == "D":
        return (kind, *row(payload))
    return kind, payload


def answers(client, steps):
    """Steps sent at once, up to the last ReadyForQuery that they are owed."""
    said = [m for step in steps for m in step]
    inside = any(m.name == "query" and len(step) > 1 for step in steps for m in step)
    for piece in client.cut(b"".join(m.octets() for m in said) + (wire.query("") + wire.SYNC if inside else b"")):
        client.send(piece)
    got = []
    # A server that skips a text within a unit says nothing of it: then the Sync behind the last text, which is not
    # skipped, ends it.
    due = sum(m.name in ("SYNC", "query") for m in said) if not inside else None
    while True:
        kind, payload = client.receive()
        if kind not in "SA":
            got.append(understood(kind, payload))
        if kind != "Z":
            continue
        if due is not None:
            due -= 1
            if due == 0:
                return got
        elif len(got) > 2 and got[-2][0] == "Z" and got[-3][0] == "I":
            return got


class Talker(Client):
    def __init__(self, port, cuts):
        super().__init__(port, seconds=30)
        self.cuts = cuts

    def cut(self, octets):
        if self.cuts is None or self.cuts.random() < 0.6:
            return [octets]
        at = sorted(self.cuts.randint(0, len(octets)) for _ in range(self.cuts.randint(1, 3)))
        return [octets[a:b] for a, b in zip([0, *at], [*at, len(octets)]) if a < b]


def talk(port, script, cuts=None):
    """script: groups of steps, each group sent at once. What came, group by group; the last one may be what went wrong."""
    came = []
    try:
        with Talker(port, cuts).login() as c:
            for group in script:
                came.append(answers(c, group))
            c.send(wire.TERMINATE)
    except (Closed, socket.timeout, OSError) as e:
        came.append(repr(e))
    return came


def script_of(seed, number):
    chance = Chance(f"{seed}.{number}", number)
    steps, groups = chance.steps(), []
    while steps:
        count = chance.r.choice((1, 1, 1, 2, 3))
        groups.append(steps[:count])
        steps = steps[count:]
    return groups


class Round:
    """One seed: directly, then through the proxy, all clients at once."""

    def __init__(self, cluster, proxy, scripts, seed):
        self.cluster, self.proxy, self.scripts, self.seed = cluster, proxy, scripts, seed

    def empty(self):
        with Client(self.cluster.primary.port).login() as c:
            for number in self.scripts:
                c.ask(f"delete from model_{number}; insert into model_{number} values (1), (2), (3)")

    def said_by(self, port, cut):
        self.empty()
        came = {}

        def one(number):
            came[number] = talk(port, self.scripts[number], random.Random(f"{self.seed}.{number}.cut") if cut else None)

        threads = [threading.Thread(target=one, args=(n,)) for n in self.scripts]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        return came

    def differs(self):
        """The client whose answers differ, and what it got on both ways."""
        directly = self.said_by(self.cluster.primary.port, cut=False)
        proxied = self.said_by(self.proxy.port, cut=True)
        for number in self.scripts:
            if directly[number] != proxied[number]:
                return number, directly[number], proxied[number]
        return None

    def shrunk(self, until):
        """The same, without all that it does not take."""
        found = self.differs()
        if found is None:
            return self
        best = self.attempt({found[0]: self.scripts[found[0]]}) or self
        smaller = True
        while smaller and time.monotonic() < until:
            smaller = False
            for scripts in list(best.smaller_scripts()):
                if (one := best.attempt(scripts)) is not None:
                    best, smaller = one, True
                    break
                if time.monotonic() > until:
                    break
        return best

    def attempt(self, scripts):
        one = Round(self.cluster, self.proxy, scripts, self.seed)
        return one if one.differs() else None

    def smaller_scripts(self):
        for number, groups in self.scripts.items():
            for i in range(len(groups)):
                yield {**self.scripts, number: groups[:i] + groups[i + 1:]}
            for i, group in enumerate(groups):
                for j, step in enumerate(group):
                    if len(group) > 1:
                        yield {**self.scripts, number: groups[:i] + [group[:j] + group[j + 1:]] + groups[i + 1:]}
                    for k in range(len(step) - 1):
                        less = [*group[:j], step[:k] + step[k + 1:], *group[j + 1:]]
                        yield {**self.scripts, number: [*groups[:i], less, *groups[i + 1:]]}

    def shown(self, first):
        """first: what differed before anything was left out."""
        out = []
        found = self.differs()
        for number, groups in self.scripts.items():
            out.append(f"client {number}:")
            for group in groups:
                out.append("  " + " | ".join(" ".join(f"{m.name}{m.args}" for m in step) for step in group))
        if found is None:
            out.append("(not the second time; the first time:)")
            found = first
        number, directly, proxied = found
        for at in range(max(len(directly), len(proxied))):
            one, other = (list(x[at]) if at < len(x) and not isinstance(x[at], str) else [x[at:]] for x in (directly, proxied))
            if one != other:
                out += [f"group {at} of client {number}, directly:", *map(repr, one), "through the proxy:", *map(repr, other)]
                break
        return "\n".join(out)


@pytest.fixture(scope="module")
def tables(cluster):
    cluster.primary.psql("; ".join(f"create table if not exists model_{n} (a int check (a >= 0))" for n in range(CLIENTS)))
    cluster.wait_replayed()


@pytest.mark.parametrize("share", SHARES)
def test_answers_are_those_of_a_server(cluster, tables, start_proxy, request, share):
    proxy = start_proxy(SHARES[share])
    seed = request.config.getoption("--seed")
    first = seed if seed is not None else random.randrange(1_000_000_000)
    until = time.monotonic() + request.config.getoption("--seconds") * SHARE
    rounds = 0
    while rounds == 0 or time.monotonic() < until:
        one = Round(cluster, proxy, {n: script_of(first + rounds, n) for n in range(CLIENTS)}, first + rounds)
        found = one.differs()
        proxy.check_alive()
        if found:
            small = one.shrunk(time.monotonic() + 60)
            pytest.fail(f"--seed {first + rounds}\n{small.shown(found)}", pytrace=False)
        rounds += 1
    print(f"{rounds} rounds")
