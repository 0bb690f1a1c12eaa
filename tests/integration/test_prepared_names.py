"""Statements of the protocol that SQL names, dropped within a unit, and what a failed transaction says: as a server says it."""
import itertools

import pytest

from support.wire import FLUSH, SYNC, Client, bind, close, describe, error, execute, parse, query, row

pytestmark = [pytest.mark.proxy_only, pytest.mark.herdgate_only]
PROXIES = [pytest.param({"pool_mode": mode, "load_balance_mode": balanced, **({"backend_weight0": 0} if balanced else {}),
                         "memory_cache_enabled": cache}, id=f"{mode}-{'balanced' if balanced else 'primary'}{'-cache' if cache else ''}")
           for mode in ("session", "transaction") for balanced in (False, True) for cache in (False, True) if balanced or not cache]


@pytest.fixture(params=PROXIES)
def proxy(request, start_proxy, cluster):
    cluster.primary.psql("create table if not exists named (a int); truncate named; insert into named values (1), (2), (3);"
                         "create schema if not exists named_s; create table if not exists named_s.elsewhere (a int)")
    cluster.wait_replayed()
    return start_proxy(request.param)


def told(messages):
    out = []
    for kind, payload in messages:
        if kind == "E":
            out.append((error(payload)["C"], error(payload)["M"]))
        elif kind == "D":
            out.append(tuple(row(payload)))
        elif kind == "C":
            out.append(payload.rstrip(b"\0").decode())
        elif kind in "Z1n3":
            out.append((kind, payload.decode()))
    return out


def step(client, *messages):
    client.send(*messages)
    return told(client.until("Z"))


def unit(*messages):
    return b"".join(messages) + SYNC


def run(sql, name=""):
    """By the extended protocol."""
    return parse(sql, name) + bind(statement=name) + execute()


def same(proxy, cluster, *steps, **login):
    """Each step is sent whole and answered up to its last ReadyForQuery; then the sessions still work."""
    seen = {}
    for name, port in (("directly", cluster.primary.port), ("through the proxy", proxy.port)):
        with Client(port).login(**login) as c:
            seen[name] = [step(c, s) for s in steps]
            assert step(c, query("rollback"))[-1] == ("Z", "I")
            assert c.ask("select 'works'") == [["works"]]
    for one, other, sent in zip(seen["through the proxy"], seen["directly"], steps):
        assert one == other, sent
    return seen["directly"]


COUNT = unit(parse("select count(*) from named where a > $1", "p", types=[23]))
numbers = itertools.count()
FORMS = {"simple": query, "extended": lambda sql: unit(run(sql)), "named": lambda sql: unit(run(sql, f"n{next(numbers)}"))}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("within", [False, True], ids=["alone", "in a transaction"])
def test_execute_of_what_the_protocol_prepared(proxy, cluster, form, within):
    q = FORMS[form]
    steps = [COUNT, q("execute p(1)"), q("EXECUTE p ( 2 )"), q("explain (costs off, analyze, timing off, summary off) execute p(1)"),
             q("/* execute p(9) */ execute p(0)"), unit(bind("1", statement="p"), execute()), q("execute p(1)"),
             q("execute p(1, 2)"), q("rollback"), q("execute nobody"), q("rollback"),
             unit(parse("select 7", "Other Name")), q('execute "Other Name"'), q("execute p(1)")]
    if within:
        steps = [q("begin"), *steps[:8], q("rollback"), q("begin"), q("insert into named values (9)"), q("execute p(1)"), q("rollback"),
                 q("execute p(1)")]
    answers = same(proxy, cluster, *steps)
    assert ("2",) in answers[2 if within else 1]


@pytest.mark.parametrize("form", FORMS)
def test_what_execute_finds_changes(proxy, cluster, form):
    q = FORMS[form]
    same(proxy, cluster, COUNT, q("create temp table made as execute p(1)"), q("select * from made"), q("drop table made"),
         q("prepare p as select 1"), q("execute p(1)"), unit(close("S", "p")), q("execute p(1)"),
         q("prepare p as select 'of sql'"), q("execute p"), unit(parse("select 1", "p")), q("deallocate p"),
         unit(parse("select 'anew'", "p")), q("execute p"), q("deallocate p"), q("execute p"), q("deallocate p"),
         COUNT, q("execute p(1)"), q("deallocate all"), q("execute p(1)"), COUNT, q("execute p(1)"), q("discard all"),
         q("execute p(1)"), COUNT, q("execute p(1)"),
         unit(parse("insert into named select 99 where false returning a", "w")), q("execute w"), q("execute p(1)"))


def test_several_in_one_text(proxy, cluster):
    same(proxy, cluster, COUNT, query("execute p(1); execute p(2)"), query("execute p(1); deallocate p; execute p(1)"), query("execute p(1)"),
         COUNT, query("begin; execute p(1)"), query("execute p(1); commit"), query("deallocate p; prepare p as select 5; execute p"))


def test_sessions_do_not_find_each_others(proxy, cluster):
    """Two with one name, over the same links."""
    with Client(proxy.port).login() as a, Client(proxy.port).login() as b:
        step(a, unit(parse("select 'of a'", "p"))), step(b, unit(parse("select 'of b'", "p")))
        for _ in range(3):
            for c, mine in ((a, "of a"), (b, "of b")):
                assert step(c, query("execute p"))[0] == (mine,)
                assert step(c, unit(run("execute p")))[-3] == (mine,)
        assert step(a, query("deallocate p"))[0] == "DEALLOCATE"
        assert step(b, query("execute p"))[0] == ("of b",)
        assert step(a, query("execute p"))[0][0] == "26000"
        with Client(proxy.port).login() as third:
            assert step(third, query("execute p"))[0][0] == "26000"
        assert step(a, query("prepare p as select 'of sql'"))[0] == "PREPARE"
        assert step(b, query("execute p"))[0] == ("of b",)
        assert step(a, query("execute p"))[0] == ("of sql",)


def test_constants_are_those_it_was_defined_with(proxy, cluster):
    for form in FORMS.values():
        same(proxy, cluster, query("set datestyle = 'ISO, DMY'"), unit(parse("select '01/02/03'::date::text", "d")),
             query("set datestyle = 'ISO, MDY'"), form("execute d"), form("show datestyle"))


def test_a_table_that_is_gone(proxy, cluster):
    steps = [query("create temp table gone (a int)"), unit(parse("select * from gone", "g")), query("execute g"), query("drop table gone"),
             query("execute g"), query("deallocate g")]
    same(proxy, cluster, *steps)


DROPS = ["deallocate a", "deallocate all", "discard all"]


@pytest.mark.parametrize("drop", DROPS)
def test_dropped_and_prepared_again_in_one_unit(proxy, cluster, drop):
    a = unit(parse("select 1", "a"))
    again = parse("select 2", "a") + bind(statement="a") + execute()
    used = unit(bind(statement="a"), execute())
    same(proxy, cluster, a, used, unit(run(drop), again), used, query("execute a"), unit(run(drop), parse("select 3", "a")), used,
         # The same text, which others share.
         unit(run(drop), parse("select 3", "a"), bind(statement="a"), execute()), used,
         # It is gone for what follows.
         unit(run(drop), bind(statement="a"), execute()), used, a, used,
         unit(run(drop), describe("S", "a")), used, a, used, unit(parse("select 4", "a")),
         # It fails before, or behind.
         unit(parse("select nonsense"), run(drop), again), used, unit(run(drop), parse("select nonsense"), again), used, a, used,
         query("begin"), unit(run(drop), again), used, query("rollback"), used, a, used, unit(run("deallocate nobody"), again), used)


def test_closed_and_prepared_again_in_one_unit(proxy, cluster):
    """SQL is to find the new one, also where the server had refused the one before."""
    new = close("S", "p") + parse("select 'new'", "p")
    p = unit(parse("select 'old'", "p"))
    same(proxy, cluster, p, query("execute p"), unit(new, run("execute p")), query("execute p"),
         # The Close is skipped: what was there is there, whatever the rest of the unit would have made of it.
         unit(close("S", "p")), p, query("execute p"), unit(parse("select nonsense"), new, run("execute p")), query("execute p"),
         unit(parse("select nonsense"), run("deallocate p"), parse("select 'new'", "p"), run("execute p")), query("execute p"),
         unit(close("S", "p")), query("execute p"))
    gone = [query("create temp table gone (a int)"), unit(parse("select * from gone", "p")), query("drop table gone"), query("execute p")]
    same(proxy, cluster, *gone, unit(new, run("execute p")), query("execute p"))
    # What is on the link now is known: nobody finds another's.
    with Client(proxy.port).login() as c:
        assert step(c, query("execute p"))[0][0] == "26000"
        assert step(c, query("prepare p as select 'of sql'"))[0] == "PREPARE"
        assert step(c, query("execute p"))[0] == ("of sql",)


def test_execute_amid_an_unfinished_unit_is_answered(proxy):
    """After a Flush and before the Sync a text finds only what SQL has prepared; its client never waits for nothing."""
    with Client(proxy.port).login() as c:
        step(c, query("create temp table gone (a int)")), step(c, unit(parse("select * from gone", "s"))), step(c, query("drop table gone"))
        for sql in ("execute s", "deallocate s"):
            c.send(run("select 5"), FLUSH)
            c.until("C")
            assert step(c, query(sql))[-1][0] == "Z"
            assert step(c, SYNC)[-1] == ("Z", "I")
        # And it recovers.
        assert step(c, query("deallocate s"))[0] == "DEALLOCATE"
        assert c.ask("select 'works'") == [["works"]]


def test_more_names_than_a_link_may_owe(start_proxy):
    """Each is prepared under the settings it was defined with, set and put back: some 14 replies, of which the client sees none."""
    proxy = start_proxy({"pool_mode": "transaction", "pool_size": 1, "num_workers": 1})
    count = 9500
    with Client(proxy.port).login() as c:
        for setting in ("datestyle = 'German'", "timezone = 'Asia/Tokyo'", "intervalstyle = 'sql_standard'", "bytea_output = 'escape'",
                        "extra_float_digits = 0", "search_path = 'pg_catalog'", "xmloption = 'document'", "default_text_search_config = 'english'"):
            c.ask(f"set {setting}")
        for first in range(0, count, 500):
            step(c, unit(*[parse(f"select {n}", f"s{n}") for n in range(first, first + 500)]))
        c.ask("reset all")
        answers = step(c, query(";".join(f"execute s{n}" for n in range(count))))
        assert answers[0] == ("0",) and answers[-1] == ("Z", "I")
        # And it recovers.
        assert step(c, query("execute s9000"))[0] == ("9000",)
        assert c.ask("select 'works'") == [["works"]]


@pytest.mark.parametrize("reset", ["discard all", "reset all", "reset search_path", "set search_path to default"])
def test_start_up_values_are_back_within_the_unit(proxy, cluster, reset):
    """RESET goes back to what the start-up packet gave, before the next statement of the same unit."""
    for value in ({"search_path": "named_s"}, {"options": "-c search_path=named_s -c work_mem=5MB"}):
        shows = run("select count(*) from elsewhere") + run("show search_path") + run("show work_mem")
        same(proxy, cluster, query("set search_path = public"), unit(run(reset), shows), unit(shows),
             query("set search_path = public; set work_mem = '6MB'"), unit(run(reset) + shows), query("show work_mem"), **value)
        same(proxy, cluster, unit(run(reset), shows), query("begin"), query("set search_path = public"),
             unit(run("reset search_path"), shows), query("commit"), unit(shows), **value)


@pytest.mark.parametrize("form", FORMS)
def test_a_syntax_error_in_a_failed_transaction(proxy, cluster, form):
    q = FORMS[form]
    answers = same(proxy, cluster, q("begin"), q("select * from nowhere"), q("selec 1"), q("select 1"), query("select 1; selec 2"), q(""),
                   q("rollback"), q("begin"), q("select 1 from named"), q("selec 1"), q("selec 2"), q("select 1"), q("commit"), q("select 1"),
                   q("begin"), q("selec 1"), q("selec 2"), q("rollback"))
    assert answers[2][0][0] == "42601" and answers[3][-2][0] == "25P02"


UTILITIES = ["set work_mem = '5MB'", "prepare inner_one as select 'of a'", "set local work_mem = '6MB'", "discard all", "deallocate p",
             "deallocate all", "reset all", "set search_path = named_s", "set datestyle = 'German'"]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("utility", UTILITIES)
def test_execute_of_what_sql_could_not_prepare(start_proxy, cluster, form, utility):
    """The protocol prepares anything, and SQL's EXECUTE runs it: the session has what it leaves, and no other session finds it."""
    proxy = start_proxy({"pool_mode": "transaction", "pool_size": 1, "num_workers": 1, "load_balance_mode": False})
    q = FORMS[form]
    shows = [query("show work_mem"), query("show search_path"), query("show datestyle")]
    same(proxy, cluster, COUNT, query("set work_mem = '7MB'"), unit(parse(utility, "u")), q("execute u"), *shows, query("execute inner_one"),
         unit(bind("1", statement="p"), execute()), query("execute p(1)"), q("execute u"), *shows)
    with Client(proxy.port).login() as a, Client(proxy.port).login() as b, Client(cluster.primary.port).login() as direct:
        step(a, unit(parse(utility, "u"))), step(a, q("execute u")), step(a, query("commit"))
        for sent in [*shows, query("execute inner_one"), query("prepare inner_one as select 'of b'"), query("execute inner_one")]:
            assert step(b, sent) == step(direct, sent)


def test_a_parse_in_a_failed_transaction(proxy, cluster):
    """Also of a text that the link has for another name."""
    answers = same(proxy, cluster, unit(parse("select 7", "seven")), unit(parse("rollback", "back")), query("begin"),
                   query("select 1 / 0"), unit(parse("select 7", "other")), unit(parse("rollback", "back again")),
                   unit(bind(statement="other"), execute()), unit(bind(statement="back again"), execute()),
                   unit(bind(statement="seven"), execute()))
    assert answers[4][0][0] == "25P02" and answers[5][0] == ("1", "")


@pytest.mark.parametrize("opens", ["begin", "select 1"])
@pytest.mark.parametrize("amid", ["insert into named values (8)", "select 1"])
def test_what_is_behind_a_text_amid_a_failed_unit_is_skipped(proxy, cluster, opens, amid):
    seen = []
    for port in (cluster.primary.port, proxy.port):
        with Client(port).login() as c:
            step(c, query(opens))
            c.send(run("insert into named values (6)"), execute("no portal"), query(amid), run("insert into named values (7)"), SYNC,
                   query("rollback"), query("select count(*) from named where a > 3"))
            seen.append([told(c.until("Z")) for _ in range(3)])
    assert seen[0] == seen[1] and ("0",) in seen[0][2]


def test_what_was_not_dropped_is_not_in_the_way(proxy, cluster):
    """A DISCARD ALL that is skipped; a 26000 that is about another name of its unit."""
    bad = run('execute "no such"')
    same(proxy, cluster, unit(parse("discard all", "d")), unit(execute("no portal"), bind(statement="d"), execute()),
         unit(bind(statement="d"), execute()), unit(parse("insert into named values (9)", "p")),
         unit(parse("execute p", "e"), bad, parse("deallocate p", "z")), unit(bind(statement="e"), execute()),
         query("begin"), unit(bind(statement="e"), execute()), query("execute p"), query("rollback"))


@pytest.mark.parametrize("amid", ["flush", "text"])
def test_set_in_a_failed_unit_in_parts(proxy, cluster, amid):
    seen = []
    for port in (cluster.primary.port, proxy.port):
        with Client(port).login() as c:
            got = [step(c, query("set work_mem = '7MB'"))]
            if amid == "flush":
                c.send(run("set work_mem = '5MB'"), run("select 1/0"), FLUSH)
                got.append(told(c.until("E")))
                c.send(SYNC)
            else:
                c.send(run("set work_mem = '5MB'"), execute("no portal"), query("select 1"), SYNC)
            got.append(told(c.until("Z")))
            got.append(step(c, query("show work_mem")))
            got.append(step(c, query("show work_mem")))
            seen.append(got)
    assert seen[0] == seen[1]


@pytest.mark.parametrize("behind", [[], [parse("select 3", name="named")]], ids=["at_once", "another_parsed"])
def test_a_skipped_parse_leaves_the_unnamed_statement(proxy, cluster, behind):
    answers = same(proxy, cluster, unit(parse("select 1")), unit(execute("no portal"), parse("select 2")), unit(*behind),
                   unit(bind(), execute()), unit(parse("select nonsense")), unit(bind(), execute()))
    assert ("1",) in answers[3] and answers[5][0][0] == "26000"


def test_a_statement_named_as_what_fails_our_units_saves_none(proxy):
    """An error that the proxy finds fails the unit at the server by a message to a name of its own, whoever has that name."""
    with Client(proxy.port).login() as c:
        c.ask("prepare hg_poison as select 1")
        assert step(c, parse("select 1", "taken"), SYNC) == [("1", ""), ("Z", "I")]
        refused = step(c, parse("insert into named values (4)"), bind(), execute(), parse("select 2", "taken"), SYNC)
        assert refused[-2:] == [("42P05", 'prepared statement "taken" already exists'), ("Z", "I")]
        assert c.ask("/*NO LOAD BALANCE*/ select count(*) from named") == [["3"]]
        assert step(c, query("execute hg_poison"))[0] == ("1",)
