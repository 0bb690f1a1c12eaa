"""The plain life of a client: what psql and a driver do all day, with every answer checked."""
import struct
import subprocess

import psycopg
import pytest

from support import system
from support.wire import Client, Closed, error, kinds, query, row, startup


@pytest.fixture
def conn(proxy):
    with proxy.connect() as c:
        yield c


@pytest.fixture
def psql(proxy):
    def run(*args, stdin=None, fails=False):
        result = subprocess.run([f"{system.postgres_bin()}/psql", "-X", "-q", "-A", "-t", "-d", proxy.dsn(), *args],
                                input=stdin, capture_output=True, text=True, timeout=60)
        assert (result.returncode != 0) == fails, result.stderr
        return result
    return run


def test_psql_reads_and_writes(psql):
    out = psql("-c", "create temp table t (a int, b text)", "-c", "insert into t values (1, 'x'), (2, null)",
               "-c", "select a, coalesce(b, '-') from t order by a").stdout
    assert out == "1|x\n2|-\n"


def test_psql_error_has_its_fields(psql):
    result = psql("-v", "VERBOSITY=verbose", "-c", "select 1/0", fails=True)
    assert "22012" in result.stderr and "division by zero" in result.stderr


def test_psql_goes_on_after_an_error(psql):
    assert psql(stdin="select nonsense;\nselect 7;\n").stdout == "7\n"


def test_psql_meta_commands(psql):
    assert "postgres" in psql("-c", "\\l").stdout
    psql("-c", "create table if not exists described (a int primary key, b text)")
    assert "a|integer||not null|" in psql("-c", "\\d described").stdout


def test_multi_statement_text(psql):
    assert psql("-c", "select 1; select 2; select 3").stdout.split() == ["1", "2", "3"]


def test_empty_query(conn):
    cursor = conn.execute("")
    assert cursor.statusmessage in ("", None)
    assert conn.execute("select 5").fetchone() == (5,)


def test_null_and_types(conn):
    row = conn.execute("select null::int, true, 1.5::numeric, 'ä€𝄞', '{1,2}'::int[], '\\x00ff'::bytea").fetchone()
    assert row[:2] == (None, True) and float(row[2]) == 1.5
    assert row[3:] == ("ä€𝄞", [1, 2], b"\x00\xff")


def test_parameters_text_and_binary(conn):
    for binary in (False, True):
        cursor = conn.cursor(binary=binary)
        assert cursor.execute("select %s::int8 + %s::int8, %s::text", (2**40, 3, "p")).fetchone() == (2**40 + 3, "p")


def test_prepared_statements(conn):
    for i in range(30):
        assert conn.execute("select %s::int * 2", (i,), prepare=True).fetchone() == (i * 2,)
    assert conn.execute("select count(*) from pg_prepared_statements").fetchone()[0] <= 2


def test_sql_level_prepare(conn):
    conn.execute("prepare twice(int) as select $1 * 2")
    assert conn.execute("execute twice(21)").fetchone() == (42,)
    conn.execute("deallocate twice")
    with pytest.raises(psycopg.errors.InvalidSqlStatementName):
        conn.execute("execute twice(21)")


def test_error_in_extended_protocol_and_recovery(conn):
    with pytest.raises(psycopg.errors.DivisionByZero):
        conn.execute("select 1 / %s::int", (0,))
    with pytest.raises(psycopg.errors.UndefinedTable):
        conn.execute("select * from no_such_table where a = %s", (1,))
    assert conn.execute("select %s::int", (9,)).fetchone() == (9,)


def test_transaction_states(proxy):
    with proxy.connect(autocommit=False) as c:
        status = psycopg.pq.TransactionStatus
        assert c.info.transaction_status == status.IDLE
        c.execute("create temp table tx (a int)")
        assert c.info.transaction_status == status.INTRANS
        with pytest.raises(psycopg.errors.SyntaxError):
            c.execute("selekt")
        assert c.info.transaction_status == status.INERROR
        with pytest.raises(psycopg.errors.InFailedSqlTransaction):
            c.execute("select 1")
        c.rollback()
        assert c.execute("select to_regclass('pg_temp.tx')").fetchone() == (None,)


def test_savepoints(proxy):
    with proxy.connect(autocommit=False) as c:
        c.execute("create temp table sp (a int)")
        c.execute("savepoint s")
        with pytest.raises(psycopg.errors.DivisionByZero):
            c.execute("insert into sp values (1/0)")
        c.execute("rollback to s")
        c.execute("insert into sp values (1)")
        assert c.execute("select a from sp").fetchall() == [(1,)]


def test_many_rows(conn):
    rows = conn.execute("select g, repeat('x', 20) from generate_series(1, 200000) g").fetchall()
    assert len(rows) == 200000 and sum(r[0] for r in rows) == 200000 * 200001 // 2
    assert all(r[1] == "x" * 20 for r in rows[::1000])


@pytest.mark.parametrize("size", [1, 8191, 8192, 8193, 65535, 65536, 1 << 20, 5_000_000, pytest.param(50_000_000, marks=pytest.mark.long)])
def test_one_wide_value(conn, size):
    value = conn.execute("select repeat('ab', %s)", (size,)).fetchone()[0]
    assert len(value) == 2 * size and value == "ab" * size


@pytest.mark.parametrize("size", [10_239, 10_241, 70_000, 5_000_000, pytest.param(40_000_000, marks=pytest.mark.long)])
def test_long_statement_and_long_parameter(conn, size):
    assert conn.execute("select length('" + "y" * size + "')").fetchone() == (size,)
    assert conn.execute("select length(%s::text)", ("z" * size,)).fetchone() == (size,)


def test_row_limit_and_portal(conn):
    with conn.transaction():
        with conn.cursor(name="c") as cursor:
            cursor.itersize = 7
            cursor.execute("select g from generate_series(1, 100) g")
            assert [r[0] for r in cursor] == list(range(1, 101))


def test_copy_in_and_out(conn):
    conn.execute("create temp table cp (a int, b text)")
    with conn.cursor() as cursor:
        with cursor.copy("copy cp from stdin") as copy:
            for i in range(50000):
                copy.write_row((i, f"row {i}"))
        assert cursor.rowcount == 50000
        assert cursor.execute("select count(*), sum(a) from cp").fetchone() == (50000, 50000 * 49999 // 2)
        with cursor.copy("copy (select a, b from cp order by a) to stdout") as copy:
            lines = b"".join(copy).decode().splitlines()
    assert len(lines) == 50000 and lines[777] == "777\trow 777"


def test_copy_error_in_the_middle(conn):
    conn.execute("create temp table cpe (a int)")
    with pytest.raises(psycopg.errors.InvalidTextRepresentation):
        with conn.cursor().copy("copy cpe from stdin") as copy:
            for _ in range(20000):
                copy.write("12345\n")
            copy.write("not a number\n")
            for _ in range(200000):
                copy.write("12345\n")
    assert conn.execute("select count(*) from cpe").fetchone() == (0,)


def test_copy_given_up_by_the_client(conn):
    conn.execute("create temp table cpf (a int)")
    with pytest.raises(psycopg.errors.QueryCanceled):
        with conn.cursor().copy("copy cpf from stdin") as copy:
            copy.write("1\n")
            raise ZeroDivisionError
    assert conn.execute("select count(*) from cpf").fetchone() == (0,)


def test_notices(conn):
    seen = []
    conn.add_notice_handler(lambda d: seen.append((d.severity, d.message_primary)))
    conn.execute("do $$ begin raise notice 'one'; raise warning 'two'; end $$")
    assert seen == [("NOTICE", "one"), ("WARNING", "two")]


def test_notification_to_another_session(proxy):
    with proxy.connect() as listener, proxy.connect() as sender:
        listener.execute("listen herd_news")
        sender.execute("select pg_notify('herd_news', 'hello')")
        heard = next(listener.notifies())
        assert (heard.channel, heard.payload) == ("herd_news", "hello")


def test_parameter_status_follows_set(conn):
    conn.execute("set application_name = 'cow'")
    assert conn.info.parameter_status("application_name") == "cow"
    conn.execute("set client_encoding = 'LATIN1'")
    assert conn.info.parameter_status("client_encoding") == "LATIN1"
    assert conn.info.parameter_status("server_version") and conn.info.parameter_status("TimeZone") == "UTC"


def test_startup_options(proxy):
    with proxy.connect(options="-c work_mem=7MB -c search_path=pg_catalog,public", application_name="opts") as c:
        assert c.execute("show work_mem").fetchone() == ("7MB",)
        assert c.execute("show application_name").fetchone() == ("opts",)
        assert c.execute("show search_path").fetchone() == ("pg_catalog,public",)


def test_unknown_database_and_user(proxy):
    with pytest.raises(psycopg.OperationalError, match='database "nowhere" does not exist'):
        proxy.connect(dbname="nowhere")
    with pytest.raises(psycopg.OperationalError, match='role "nobody_here" does not exist'):
        proxy.connect(user="nobody_here")
    with proxy.connect() as c:
        assert c.execute("select 1").fetchone() == (1,)


def test_large_object(proxy):
    with proxy.connect(autocommit=False) as c:
        oid = c.execute("select lo_from_bytea(0, %s)", (b"moo" * 100000,)).fetchone()[0]
        assert c.execute("select length(lo_get(%s))", (oid,)).fetchone() == (300000,)
        c.execute("select lo_unlink(%s)", (oid,))
        c.commit()


def test_backend_pid_is_real(conn):
    assert system.alive(conn.execute("select pg_backend_pid()").fetchone()[0])


@pytest.mark.herdgate_only
@pytest.mark.parametrize("asked, told", [((3, 0), (3, 0)), ((3, 1), (3, 0)), ((3, 2), (3, 2)), ((3, 9), (3, 2))])
def test_no_version_higher_than_asked_is_negotiated(start_proxy, asked, told):
    with Client(start_proxy().port) as c:
        c.send(startup(version=asked[0] << 16 | asked[1], **{"_pq_.unknown": "on"}))
        greeting = c.until()
        kind, payload = greeting[0]
        assert (kind, payload[:4]) == ("v", struct.pack("!HH", *told))
        key = next(payload for kind, payload in greeting if kind == "K")
        assert len(key) == 4 + (4 if told == (3, 0) else 32)


@pytest.mark.herdgate_only
@pytest.mark.parametrize("major", [2, 4])
def test_other_protocols_are_refused_in_words(proxy, major):
    """A packet of protocol 2 is one of fixed fields."""
    packet = struct.pack("!II64s32s64s64s64s", 296, major << 16, b"test", b"postgres", b"", b"", b"")
    with Client(proxy.port) as c:
        c.send(packet)
        kind, payload = c.receive()
        assert kind == "E"
        said = error(payload)
        assert (said["S"], said["C"], said["M"]) == ("FATAL", "0A000", f"unsupported frontend protocol {major}.0")
        assert said["H"] == "Herdgate speaks protocol 3.0 and 3.2."
        with pytest.raises(Closed):
            c.receive()


# What a start-up packet asks for is kept for the next that is the same: that one must get all that the first one got.
@pytest.mark.herdgate_only
@pytest.mark.parametrize("mode", ["session", "transaction"])
def test_the_same_startup_packet_again(start_proxy, mode):
    proxy = start_proxy({"pool_mode": mode, "num_workers": 1})
    packet = startup(version=196610, application_name="again", options="-c work_mem=5MB", **{"_pq_.unknown": "on"})
    other = startup(version=196610, application_name="other", options="-c work_mem=6MB", **{"_pq_.unknown": "on"})
    asked = query("select current_setting('application_name'), current_setting('work_mem')")
    keys = set()
    for sent, answer in [(packet, ["again", "5MB"]), (packet, ["again", "5MB"]), (other, ["other", "6MB"]),
                         (packet, ["again", "5MB"])]:
        with Client(proxy.port) as c:
            c.send(sent)
            greeting = c.until()
            assert kinds(greeting, without="SN") == "vRKZ"
            assert b"_pq_.unknown\0" in greeting[0][1]
            key = next(payload for kind, payload in greeting if kind == "K")
            assert len(key) == 4 + 32
            keys.add(key[4:])
            c.send(asked)
            assert [row(payload) for kind, payload in c.until() if kind == "D"] == [answer]
    assert len(keys) == 4
