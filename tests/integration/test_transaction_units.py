"""Units of the extended protocol within transactions over more than one link, and what belongs to the primary there.

A unit goes to one server as a whole: what ends the transaction, marks a place in it or locks takes the reads beside it along.
"""
import pytest

from support.system import wait_until
from support.wire import FLUSH, SYNC, Client, bind, execute, parse, row
from test_transactions import adaptive, primary, proxy, run, step, tables  # noqa: F401 (fixtures)

pytestmark = [pytest.mark.proxy_only, pytest.mark.herdgate_only]
READ = "select count(*) from pens"
WHERE = "select current_setting('port')"


def unit(client, *texts):
    """Each by the unnamed statement and portal, with one Sync behind all."""
    return step(client, *(parse(text) + bind() + execute() for text in texts), SYNC)


@pytest.fixture
def session(start_proxy):
    return start_proxy({"backend_weight0": 0, "commit_outcome_check": False, "disable_load_balance_on_write": "dml_adaptive"})


@pytest.fixture(params=["transaction mode", "session mode"])
def client(request, adaptive, session):  # noqa: F811
    with Client((adaptive if request.param == "transaction mode" else session).port).login() as c:
        yield c


# ---- The end of a transaction beside a read

@pytest.mark.parametrize("last", [READ, "select 1"])
def test_a_rollback_ahead_of_a_balanced_read(client, primary, last):  # noqa: F811
    assert run(client, "begin") == (["BEGIN"], "T")
    assert run(client, "insert into once values (1)") == (["INSERT 0 1"], "T")
    told, status = unit(client, "rollback", last)
    assert told[0] == "ROLLBACK" and status == "I"
    assert primary.psql("select count(*) from once") == "0"


def test_a_commit_behind_a_balanced_read_tells_what_the_primary_says(client, primary):  # noqa: F811
    primary.psql("insert into once values (1)")
    run(client, "begin")
    assert run(client, "insert into once values (1)") == (["INSERT 0 1"], "T")
    told, status = unit(client, READ, "commit")
    assert told[-1] == "23505" and status == "I"


def test_a_lock_beside_a_read_commits_nothing(client, primary):  # noqa: F811
    run(client, "begin")
    run(client, "insert into once values (1)")
    told, status = unit(client, "lock table pens in access share mode", READ)
    assert told == ["LOCK TABLE", ("0",), "SELECT 1"] and status == "T"
    assert run(client, "rollback") == (["ROLLBACK"], "I")
    assert primary.psql("select count(*) from once") == "0"


def test_a_transaction_that_only_reads_stays_balanced(client, cluster):
    """Its end in one unit with its last read does not bring the primary into it."""
    run(client, "begin")
    (port,), _ = run(client, WHERE)[0]
    assert port != str(cluster.primary.port)
    told, status = unit(client, WHERE, "commit")
    assert told == [(port,), "SELECT 1", "COMMIT"] and status == "I"
    told, _ = unit(client, "begin", WHERE, "commit")
    assert told[1] != (str(cluster.primary.port),)


# ---- Savepoints

def test_a_savepoint_beside_a_read_can_be_gone_back_to(client):
    run(client, "begin")
    assert unit(client, "savepoint s", "select 1")[1] == "T"
    told, status = unit(client, "savepoint s", "select 1 / (1 - 1)")
    assert told[-1] == "22012" and status == "E"
    assert unit(client, "rollback to s") == (["ROLLBACK"], "T")
    assert unit(client, "select 2") == ([("2",), "SELECT 1"], "T")
    assert unit(client, "release s", "select 3") == (["RELEASE", ("3",), "SELECT 1"], "T")
    assert run(client, "commit") == (["COMMIT"], "I")


def test_a_savepoint_of_one_unit_is_released_by_another(client):
    run(client, "begin")
    unit(client, "savepoint s", READ)
    assert run(client, "release s") == (["RELEASE"], "T")
    run(client, "savepoint t")
    assert unit(client, "release t", READ)[0][0] == "RELEASE"
    assert run(client, "commit") == (["COMMIT"], "I")


# ---- One snapshot, one node: where BEGIN comes in one unit with what takes the snapshot

ONE_SNAPSHOT = "begin isolation level repeatable read read only"


def test_one_snapshot_for_the_unit_that_begins_and_what_follows_it(client, cluster, primary):  # noqa: F811
    cluster.wait_replayed()
    assert unit(client, ONE_SNAPSHOT, READ) == (["BEGIN", ("0",), "SELECT 1"], "T")
    primary.psql("insert into pens values (1)")
    cluster.wait_replayed()
    assert run(client, "select 1 from pg_class limit 1")[1] == "T"
    assert run(client, READ)[0] == [("0",), "SELECT 1"]
    assert run(client, "commit") == (["COMMIT"], "I")


@pytest.mark.parametrize("read", [READ, "select 1 / (1 - 1)"], ids=["works", "fails"])
@pytest.mark.parametrize("default, begin", [("read committed", ONE_SNAPSHOT),
                                            ("repeatable read", "begin isolation level read committed")])
def test_a_savepoint_in_the_unit_that_begins(client, default, begin, read):
    client.ask(f"set default_transaction_isolation to '{default}'")
    told, status = unit(client, begin, "savepoint s", read)
    assert told[:2] == ["BEGIN", "SAVEPOINT"]
    if status == "T":
        assert run(client, READ)[1] == "T"
    assert run(client, "rollback to s") == (["ROLLBACK"], "T")
    assert run(client, READ)[1] == "T"
    assert run(client, "rollback") == (["ROLLBACK"], "I")
    client.ask("discard all")


@pytest.mark.parametrize("how", ["set transaction isolation level repeatable read", "set transaction_isolation to 'repeatable read'"])
def test_a_transaction_that_may_write_begins_on_the_primary(client, primary, how):  # noqa: F811
    """Its isolation level comes behind its BEGIN, in the unit of its first read."""
    assert unit(client, "begin", how, READ)[1] == "T"
    primary.psql("insert into pens values (1)")
    assert run(client, "insert into pens values (2)") == (["INSERT 0 1"], "T")
    assert run(client, READ)[0] == [("1",), "SELECT 1"]
    assert run(client, "rollback") == (["ROLLBACK"], "I")


@pytest.mark.parametrize("how", [run, unit], ids=["simple", "extended"])
@pytest.mark.parametrize("end", ["commit and chain", "rollback and chain"])
def test_a_chained_transaction_has_a_snapshot_of_its_own(client, cluster, primary, how, end):  # noqa: F811
    """Where its first statement goes, which may be another server."""
    primary.psql("create unlogged table if not exists kept_here (a int); truncate kept_here")
    cluster.wait_replayed()
    run(client, ONE_SNAPSHOT)
    (port,), _ = run(client, WHERE)[0]
    assert port != str(cluster.primary.port)
    assert how(client, end)[1] == "T"
    assert how(client, "select count(*) from kept_here") == ([("0",), "SELECT 1"], "T")
    assert run(client, READ)[0] == [("0",), "SELECT 1"]
    primary.psql("insert into pens values (1)")
    cluster.wait_replayed()
    assert run(client, READ)[0] == [("0",), "SELECT 1"]
    assert how(client, end)[1] == "T"
    assert run(client, WHERE)[0][0] == (port,)
    assert run(client, READ)[0] == [("1",), "SELECT 1"]
    primary.psql("insert into pens values (2)")
    cluster.wait_replayed()
    assert run(client, READ)[0] == [("1",), "SELECT 1"]
    assert run(client, "commit") == (["COMMIT"], "I")


@pytest.mark.parametrize("beside", [[], [READ]], ids=["alone", "behind a read"])
def test_a_chained_transaction_may_be_set_to_write(client, primary, beside):  # noqa: F811
    run(client, ONE_SNAPSHOT)
    run(client, WHERE)
    told, status = unit(client, *beside, "commit and chain")
    assert told[-1] == "COMMIT" and status == "T"
    assert run(client, "set transaction read write") == (["SET"], "T")
    assert run(client, "insert into pens values (1)") == (["INSERT 0 1"], "T")
    assert run(client, READ)[0] == [("1",), "SELECT 1"]
    assert run(client, "commit") == (["COMMIT"], "I")
    assert primary.psql("select count(*) from pens") == "1"


def test_a_sync_by_itself_leaves_a_snapshot_where_it_is(client, cluster):
    """The beginning goes to the primary: what is still to come may write."""
    for texts in ([ONE_SNAPSHOT, WHERE], ["commit and chain", WHERE]):
        for text in texts:
            client.send(parse(text) + bind() + execute())
        client.send(FLUSH)
        ports = [tuple(row(p)) for _ in texts for k, p in client.until("C") if k == "D"]
        assert step(client, SYNC) == ([], "T")
        assert run(client, WHERE)[0][0] == ports[-1]
    assert run(client, "commit") == (["COMMIT"], "I")


def test_a_sync_by_itself_settles_nothing_for_a_chained_transaction(client, primary):  # noqa: F811
    run(client, ONE_SNAPSHOT)
    run(client, WHERE)
    client.send(parse("commit and chain") + bind() + execute() + FLUSH)
    client.until("C")
    assert step(client, SYNC) == ([], "T")
    assert run(client, "set transaction read write") == (["SET"], "T")
    assert run(client, "insert into pens values (1)") == (["INSERT 0 1"], "T")
    assert run(client, "commit") == (["COMMIT"], "I")
    assert primary.psql("select count(*) from pens") == "1"


# ---- The isolation level set where a server has begun already

SET_LEVEL = ["set transaction isolation level repeatable read", "set transaction_isolation to 'repeatable read'",
             ONE_SNAPSHOT]


@pytest.mark.parametrize("how", [run, unit], ids=["simple", "extended"])
@pytest.mark.parametrize("level", SET_LEVEL)
@pytest.mark.parametrize("before", [[], ["begin", READ]], ids=["alone", "behind another"])
def test_the_level_holds_where_the_transaction_had_begun_before(client, cluster, primary, before, level, how):  # noqa: F811
    """SHOW takes no snapshot, but has a standby begin."""
    cluster.wait_replayed()
    for text in before:
        run(client, text)
    unit(client, *(["commit"] if before else []), "begin read only")
    assert run(client, "show work_mem")[1] == "T"
    assert how(client, level)[1] == "T"
    (port,), _ = run(client, WHERE)[0]
    assert port != str(cluster.primary.port)
    assert run(client, READ)[0] == [("0",), "SELECT 1"]
    primary.psql("insert into pens values (1)")
    cluster.wait_replayed()
    assert run(client, READ)[0] == [("0",), "SELECT 1"]
    assert run(client, "show transaction_isolation")[0][0] == ("repeatable read",)
    assert run(client, "commit") == (["COMMIT"], "I")


def test_the_level_holds_beside_an_open_portal(client, cluster, primary):  # noqa: F811
    """The portal stays where it is, what reads behind SET goes where that has run."""
    cluster.wait_replayed()
    run(client, "begin read only")
    told, _ = step(client, parse(f"select g, {WHERE[7:]} from generate_series(1, 3) g"), bind(portal="p"), execute("p", 1), SYNC)
    assert told[0][1] != str(cluster.primary.port)
    assert run(client, SET_LEVEL[0]) == (["SET"], "T")
    assert run(client, READ)[0] == [("0",), "SELECT 1"]
    primary.psql("insert into pens values (1)")
    cluster.wait_replayed()
    assert run(client, READ)[0] == [("0",), "SELECT 1"]
    assert step(client, execute("p", 1), SYNC)[0][0] == ("2", told[0][1])
    assert run(client, READ)[0] == [("0",), "SELECT 1"]
    assert run(client, "commit") == (["COMMIT"], "I")


def test_a_write_behind_an_open_portal_and_another_level(client, cluster, primary):  # noqa: F811
    cluster.wait_replayed()
    run(client, "begin")
    step(client, parse(f"select g, {WHERE[7:]} from generate_series(1, 3) g"), bind(portal="p"), execute("p", 1), SYNC)
    assert run(client, SET_LEVEL[0]) == (["SET"], "T")
    assert step(client, execute("p", 1), SYNC)[0][0][0] == "2"
    assert run(client, "insert into pens values (1)") == (["INSERT 0 1"], "T")
    assert run(client, "commit") == (["COMMIT"], "I")
    assert primary.psql("select count(*) from pens") == "1"


@pytest.mark.parametrize("how", SET_LEVEL[:2])
@pytest.mark.parametrize("read", [WHERE, READ])
def test_a_read_in_the_unit_that_sets_the_level(client, primary, how, read):  # noqa: F811
    """One snapshot serves the whole transaction, in which a write may follow."""
    run(client, "begin")
    told, status = unit(client, how, read)
    assert told[0] == "SET" and told[-1] == "SELECT 1" and status == "T"
    assert run(client, "insert into pens values (1)") == (["INSERT 0 1"], "T")
    assert run(client, "commit") == (["COMMIT"], "I")
    assert primary.psql("select count(*) from pens") == "1"


def test_options_that_are_only_prepared_are_not_set(client, primary):  # noqa: F811
    run(client, "begin isolation level repeatable read")
    told, status = step(client, parse("set transaction read only", "later"), parse(READ), bind(), execute(), SYNC)
    assert told[-1] == "SELECT 1" and status == "T"
    assert run(client, "insert into pens values (1)") == (["INSERT 0 1"], "T")
    assert run(client, "commit") == (["COMMIT"], "I")


def test_read_only_reaches_the_part_that_would_write(client, primary):  # noqa: F811
    run(client, "begin")
    assert run(client, "select count(*) > 0 from pg_class")[1] == "T"
    told, status = unit(client, "set transaction read only", READ)
    assert told[0] == "SET" and told[-1] == "SELECT 1" and status == "T"
    assert run(client, "insert into pens values (1)") == (["25006"], "E")
    assert run(client, "rollback") == (["ROLLBACK"], "I")


# ---- A transaction that begins in the unit that ends another one

@pytest.mark.parametrize("last", ["select 1", "insert into once values (7)"])
def test_a_transaction_behind_one_that_had_failed_on_a_standby(client, last):
    run(client, "begin")
    assert run(client, "select 1 / (1 - 1)") == (["22012"], "E")
    told, status = unit(client, "rollback", "begin", last)
    assert told[:2] == ["ROLLBACK", "BEGIN"] and status == "T"
    assert run(client, READ)[1] == "T"
    assert run(client, "rollback") == (["ROLLBACK"], "I")


@pytest.mark.parametrize("end", ["commit", "rollback"])
@pytest.mark.parametrize("before", ["begin", ONE_SNAPSHOT])
@pytest.mark.parametrize("begins", [["begin isolation level repeatable read"], ["begin", "set transaction isolation level repeatable read"]],
                         ids=["begin", "set transaction"])
def test_a_transaction_that_may_write_behind_one_that_only_read(client, cluster, primary, before, end, begins):  # noqa: F811
    run(client, before)
    (port,), _ = run(client, WHERE)[0]
    assert port != str(cluster.primary.port)
    told, status = unit(client, end, *begins, READ)
    assert told[-1] == "SELECT 1" and status == "T"
    primary.psql("insert into pens values (1)")
    assert run(client, "insert into pens values (2)") == (["INSERT 0 1"], "T")
    assert run(client, READ)[0] == [("1",), "SELECT 1"]
    assert run(client, "commit") == (["COMMIT"], "I")


@pytest.mark.parametrize("before", ["begin", ONE_SNAPSHOT])
@pytest.mark.parametrize("begins", [["begin"], []], ids=["begin", "by itself"])
def test_a_write_in_the_unit_that_ends_a_transaction_that_only_read(client, primary, before, begins):  # noqa: F811
    run(client, before)
    run(client, WHERE)
    told, status = unit(client, "commit", *begins, "insert into pens values (2)")
    assert told[-1] == "INSERT 0 1" and status == ("T" if begins else "I")
    if begins:
        assert run(client, "commit") == (["COMMIT"], "I")
    assert primary.psql("select count(*) from pens") == "1"


@pytest.mark.parametrize("end", ["commit", "rollback"])
@pytest.mark.parametrize("before", ["begin", ONE_SNAPSHOT])
@pytest.mark.parametrize("begins", [["begin"], []], ids=["begin", "by itself"])
def test_a_write_in_a_later_part_of_the_unit_that_ends_a_transaction_that_only_read(client, primary, before, begins, end):  # noqa: F811
    """When the end is sent nothing is known of what follows the Flush."""
    run(client, before)
    run(client, WHERE)
    told, status = step(client, *(parse(text) + bind() + execute() for text in (end, *begins)), FLUSH,
                        parse("insert into pens values (2)"), bind(), execute(), SYNC)
    assert told == [end.upper(), *(text.upper() for text in begins), "INSERT 0 1"] and status == ("T" if begins else "I")
    if begins:
        assert run(client, "commit") == (["COMMIT"], "I")
    assert primary.psql("select count(*) from pens") == "1"


@pytest.mark.parametrize("before", ["begin", ONE_SNAPSHOT])
def test_a_long_write_in_the_unit_that_ends_a_transaction_that_only_read(client, primary, before):  # noqa: F811
    """The unit is cut ahead of a Bind that has not come as a whole."""
    step(client, parse("insert into pens select length($1::text)", "ins"), SYNC)
    run(client, before)
    run(client, WHERE)
    told, status = step(client, *(parse(text) + bind() + execute() for text in ("commit", "begin")),
                        bind("x" * 300_000, statement="ins"), execute(), SYNC)
    assert told == ["COMMIT", "BEGIN", "INSERT 0 1"] and status == "T"
    assert run(client, "commit") == (["COMMIT"], "I")
    assert primary.psql("select a from pens") == "300000"


def test_a_read_ahead_of_the_end_keeps_its_snapshot(client, cluster, primary):  # noqa: F811
    """The INSERT fails: the unit is where the snapshot is."""
    run(client, ONE_SNAPSHOT)
    (port,), _ = run(client, WHERE)[0]
    assert run(client, READ)[0] == [("0",), "SELECT 1"]
    primary.psql("insert into pens values (1)")
    told, _ = unit(client, WHERE, READ, "commit", "begin", "insert into pens values (2)")
    assert told[:4] == [(port,), "SELECT 1", ("0",), "SELECT 1"] and told[-1] == "25006"


# ---- PREPARE TRANSACTION

@pytest.mark.parametrize("how", [run, unit], ids=["simple", "extended"])
def test_prepare_transaction_behind_a_read_is_for_the_primary(client, cluster, how):
    run(client, "begin")
    (port,), _ = run(client, WHERE)[0]
    assert port != str(cluster.primary.port)
    told, status = how(client, "prepare transaction 'only_read'")
    assert (told, status) == (["PREPARE TRANSACTION"], "I")
    assert cluster.primary.psql("select count(*) from pg_prepared_xacts") == "1"
    assert run(client, "rollback prepared 'only_read'")[0] == ["ROLLBACK PREPARED"]


# ---- The question of commit_outcome_check takes no snapshot before the transaction has one

@pytest.fixture
def asking(start_proxy):
    with Client(start_proxy({"backend_weight0": 0}).port).login() as c:
        yield c


@pytest.mark.parametrize("first", ["set transaction read write", "set transaction isolation level serializable"])
@pytest.mark.parametrize("how", [run, unit], ids=["simple", "extended"])
def test_options_of_a_transaction_one_after_the_other(asking, how, first):
    run(asking, "begin")
    assert how(asking, first) == (["SET"], "T")
    assert how(asking, "set transaction isolation level repeatable read") == (["SET"], "T")
    assert how(asking, "lock table pens in share mode") == (["LOCK TABLE"], "T")
    assert how(asking, "set transaction isolation level serializable, deferrable") == (["SET"], "T")
    assert run(asking, "rollback")[1] == "I"


def test_who_locks_first_sees_what_was_committed_meanwhile(asking, primary):  # noqa: F811
    with Client(primary.port).login() as other:
        run(other, "begin")
        run(other, "insert into pens values (1)")
        run(asking, "begin isolation level repeatable read")
        run(asking, "lock table late in exclusive mode")
        asking.send(parse("lock table pens in exclusive mode"), bind(), execute(), SYNC)
        wait_until(lambda: primary.psql("select count(*) from pg_locks where not granted") == "1", "the lock to be waited for")
        run(other, "commit")
        asking.until("Z")
        assert run(asking, READ)[0][0] == ("1",)
        run(asking, "rollback")


# ---- State that belongs to the primary

@pytest.fixture
def listed(start_proxy):
    """The function lists name nothing of this."""
    return start_proxy({"backend_weight0": 0, "write_function_list": "nextval,setval"})


def test_advisory_locks_are_taken_on_the_primary_whatever_the_lists_say(listed, primary):  # noqa: F811
    with Client(listed.port).login() as c, Client(listed.port).login() as other:
        assert c.ask("select pg_try_advisory_lock(4712)") == [["t"]]
        assert other.ask("select pg_try_advisory_lock(4712)") == [["f"]]
        assert primary.psql("select pg_try_advisory_lock(4712)") == "f"
        assert c.ask("select pg_advisory_unlock(4712)") == [["t"]]
        assert other.ask("select pg_try_advisory_lock(4712), pg_advisory_unlock(4712)") == [["t", "t"]]
        run(c, "insert into pens values (1)")


def test_what_a_session_sets_by_a_parameter_its_reads_see(listed):
    with Client(listed.port).login() as c:
        told, _ = step(c, parse("select set_config('app.tenant', $1, false)"), bind("mine"), execute(), SYNC)
        assert told[0] == ("mine",)
        for _ in range(3):
            assert c.ask("select current_setting('app.tenant', true)") == [["mine"]]


def test_what_is_set_by_a_parameter_beside_a_constant(start_proxy, primary):  # noqa: F811
    proxy = start_proxy({"pool_mode": "transaction", "backend_weight0": 0, "write_function_list": "nextval,setval"})
    with Client(proxy.port).login() as c:
        told, _ = step(c, parse("select set_config('app.color', 'red', false), set_config('app.tenant', $1, false)"), bind("mine"),
                       execute(), SYNC)
        assert told[0] == ("red", "mine")
        assert run(c, "insert into pens values (1)") == (["INSERT 0 1"], "I")
        assert c.ask("select current_setting('app.color', true), current_setting('app.tenant', true)") == [["red", "mine"]]


def test_a_write_between_begin_and_a_balanced_read(client, primary):  # noqa: F811
    for texts in (["begin", "insert into once values (1)", READ, "commit"], ["set work_mem to '7MB'", "insert into once values (2)", READ],
                  ["begin", READ, "insert into once values (3)", READ, "commit"]):
        told, status = unit(client, *texts)
        assert "25006" not in told and "INSERT 0 1" in told and status == "I"
    assert primary.psql("select count(*) from once") == "3"
    run(client, "discard all")


# ---- What a link is told that joins

@pytest.mark.parametrize("role", ["set local role joiner", "set role joiner"])
def test_a_setting_for_superusers_ahead_of_a_role(client, cluster, role):
    cluster.primary.psql("do $$ begin create role joiner; exception when duplicate_object then null; end $$; "
                         "grant select on pens to joiner")
    cluster.wait_replayed()
    run(client, "begin")
    run(client, "set local lc_messages = 'C'")
    run(client, role)
    assert run(client, READ)[1] == "T"
    assert run(client, "select current_user, current_setting('lc_messages')")[0][0] == ("joiner", "C")
    run(client, "rollback")


def test_set_config_of_a_constant_that_is_cast(client):
    """What the other connections are told is the value, or nothing."""
    assert client.ask("select set_config('app.day', '0042'::int::text, false)") == [["42"]]
    for _ in range(4):
        assert client.ask("select current_setting('app.day', true)") == [["42"]]
    run(client, "discard all")


@pytest.mark.parametrize("to", ["'UTF8'", "unicode"])
def test_to_set_the_encoding_to_what_it_is_pins_nothing(proxy, cluster, to):  # noqa: F811
    with Client(proxy.port).login(application_name="caf\u00e9") as c:
        c.ask(f"set client_encoding to {to}")
        assert c.ask(WHERE) != [[str(cluster.primary.port)]]


@pytest.mark.parametrize("first, then", [("UTF8", "LATIN1"), ("LATIN1", "UTF8")])
def test_letters_that_were_set_under_another_encoding(client, cluster, first, then):
    """Set again elsewhere under the encoding of now they would be other letters, or none."""
    for _ in range(2):  # the second session may get a connection on which the same octets mean something else
        client.ask(f"set client_encoding to {first}")
        client.ask("set app.word to '\u00e9t\u00e9'")
        client.ask(f"set client_encoding to {then}")
        run(client, "begin")
        run(client, "insert into pens values (1)")
        run(client, "rollback")
        for _ in range(4):
            assert client.ask("select length(current_setting('app.word', true))") == [["3" if first == "UTF8" else "5"]]
        client.ask("discard all")
