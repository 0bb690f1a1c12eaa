"""Drivers, each in its own way of talking: psycopg (sync, async, pipelines), asyncpg, psycopg2, JDBC, node-postgres."""
import asyncio
import contextlib
import os
import shutil
import subprocess

import asyncpg
import psycopg
import psycopg2
import pytest
from psycopg.pq import DiagnosticField, ExecStatus

from support import system

TESTS = os.path.join(system.ROOT, "tests")
JDBC = "/usr/share/java/postgresql.jar"


@pytest.fixture(params=["session", pytest.param("transaction", marks=pytest.mark.herdgate_only)])
def endpoint(request, start_proxy):
    parameters = {"num_init_children": 64}
    if request.param == "transaction":
        parameters.update({"pool_mode": "transaction", "pool_size": 3})
    return start_proxy(parameters)


def test_psycopg_pipeline(endpoint):
    with endpoint.connect(autocommit=False) as c:
        c.execute("create temp table piped (a int)")
        with c.pipeline():
            cursors = [c.execute("select %s::int", (i,)) for i in range(200)]
            c.cursor().executemany("insert into piped values (%s)", [(i,) for i in range(100)])
        assert [cursor.fetchone()[0] for cursor in cursors] == list(range(200))
        assert c.execute("select count(*), sum(a) from piped").fetchone() == (100, 4950)


def test_psycopg_pipeline_with_an_error(endpoint):
    with endpoint.connect() as c:
        with pytest.raises(psycopg.errors.DivisionByZero):
            with c.pipeline() as p:
                first = c.execute("select 1")
                p.sync()
                c.execute("select 1 / %s::int", (0,))
                c.execute("select 2")
                p.sync()
        assert first.fetchone() == (1,)
        assert c.execute("select 3").fetchone() == (3,)


def test_psycopg_prepared_in_pipelines(endpoint):
    with psycopg.connect(endpoint.dsn(), autocommit=True, prepare_threshold=0) as c:
        for turn in range(20):
            with c.pipeline():
                cursors = [c.execute("select %s::int + %s::int", (turn, i)) for i in range(10)]
            assert [cursor.fetchone()[0] for cursor in cursors] == [turn + i for i in range(10)]


def test_psycopg_async(endpoint):
    async def one(number):
        async with await psycopg.AsyncConnection.connect(endpoint.dsn(), autocommit=True) as c:
            for i in range(20):
                cursor = await c.execute("select %s::int, %s::int", (number, i))
                assert await cursor.fetchone() == (number, i)

    async def main():
        await asyncio.gather(*(one(n) for n in range(30)))

    asyncio.run(main())


def test_psycopg2(endpoint):
    c = psycopg2.connect(endpoint.dsn())
    with c, c.cursor() as cursor:
        cursor.execute("create temp table p2 (a int) on commit drop")
        cursor.execute("insert into p2 select generate_series(1, %s)", (10,))
        cursor.execute("select sum(a) from p2")
        assert cursor.fetchone() == (55,)
    c.close()


def asyncpg_words(endpoint):
    return {"host": "127.0.0.1", "port": endpoint.port, "user": "postgres", "database": "test", "ssl": False}


def test_asyncpg(endpoint):
    async def main():
        c = await asyncpg.connect(**asyncpg_words(endpoint))
        for i in range(50):
            assert await c.fetchval("select $1::int + 1", i) == i + 1
        statement = await c.prepare("select $1::text, $2::int[]")
        for i in range(20):
            assert list(await statement.fetchrow(f"x{i}", [i, i])) == [f"x{i}", [i, i]]
        with pytest.raises(asyncpg.DivisionByZeroError):
            await c.fetchval("select 1 / $1::int", 0)
        async with c.transaction():
            await c.execute("create temp table ap (a int, b text) on commit drop")
            await c.copy_records_to_table("ap", records=[(i, str(i)) for i in range(1000)])
            assert await c.fetchval("select sum(a) from ap") == 499500
            assert [r["a"] async for r in c.cursor("select a from ap order by a", prefetch=37)] == list(range(1000))
        with pytest.raises(asyncio.TimeoutError):
            await c.execute("select pg_sleep(30)", timeout=0.5)
        assert await c.fetchval("select 5") == 5
        await c.close()

    asyncio.run(main())


def test_asyncpg_pool(endpoint):
    async def main():
        async with asyncpg.create_pool(min_size=2, max_size=10, **asyncpg_words(endpoint)) as pool:
            async def one(i):
                assert await pool.fetchval("select $1::int * 2", i) == i * 2
            await asyncio.gather(*(one(i) for i in range(500)))

    asyncio.run(main())


def test_asyncpg_ddl_between_runs(endpoint):
    """A table that changes under a prepared statement: the driver prepares anew and goes on."""
    async def main():
        c = await asyncpg.connect(**asyncpg_words(endpoint))
        await c.execute("drop table if exists changing; create table changing (a int); insert into changing values (1)")
        for columns in range(1, 4):
            for _ in range(3):
                try:
                    got = await c.fetch("select * from changing")
                except asyncpg.exceptions.InvalidCachedStatementError:
                    got = await c.fetch("select * from changing")
                assert len(got[0]) == columns
            await c.execute(f"alter table changing add column c{columns} int")
        await c.close()

    asyncio.run(main())


@pytest.mark.skipif(not (shutil.which("javac") and os.path.exists(JDBC)), reason="no Java or no JDBC driver")
def test_jdbc(endpoint, tmp_path):
    subprocess.run(["javac", "-d", str(tmp_path), f"{TESTS}/java/Drive.java"], check=True, timeout=250)
    result = subprocess.run(["java", "-cp", f"{tmp_path}:{JDBC}", "Drive",
                             f"jdbc:postgresql://127.0.0.1:{endpoint.port}/test?targetServerType=primary", "postgres", ""],
                            capture_output=True, text=True, timeout=250)
    assert result.stdout.endswith("ok\n"), result.stdout + result.stderr


def node_environment():
    return {**os.environ, "NODE_PATH": f"{TESTS}/node/node_modules:/usr/share/nodejs"}


def has_node_postgres():
    return bool(shutil.which("node")) and subprocess.run(
        ["node", "-e", "require('pg')"], env=node_environment(), capture_output=True).returncode == 0


@pytest.mark.skipif(not has_node_postgres(), reason="no node-postgres")
def test_node_postgres(endpoint):
    result = subprocess.run(["node", f"{TESTS}/node/drive.js", str(endpoint.port), "postgres", "x"],
                            env=node_environment(), capture_output=True, text=True, timeout=250)
    assert result.stdout.endswith("ok\n"), result.stdout + result.stderr


@pytest.mark.parametrize("mode", ["session", "transaction"])
@pytest.mark.parametrize("pipeline", [False, True], ids=["one by one", "pipeline"])
def test_psycopg_deallocates_the_statements_it_has_too_many_of(start_proxy, mode, pipeline):
    """By SQL's DEALLOCATE: what the protocol has prepared and what SQL has share their names."""
    proxy = start_proxy({"pool_mode": mode, "num_workers": 1})
    with proxy.connect() as c, proxy.connect() as other:
        other.prepare_threshold = c.prepare_threshold = 1
        c.prepared_max = 3
        with c.pipeline() if pipeline else contextlib.nullcontext():
            for i in [*range(8), *range(8)]:
                for _ in range(3):
                    answers = [d.execute(f"select {i}") for d in (c, other)]
                    assert [a.fetchone()[0] for a in answers] == [i, i]
        assert c.execute("select count(*) from generate_series(1, 3)").fetchone()[0] == 3


@pytest.mark.parametrize("mode", ["session", "transaction"])
def test_sql_deallocates_what_the_protocol_prepared(start_proxy, mode):
    proxy = start_proxy({"pool_mode": mode, "num_workers": 1})
    with proxy.connect() as c:
        c.prepare_threshold = None
        for extended in (False, True):
            def run(sql, ask=c.pgconn.exec_params if extended else c.pgconn.exec_):
                return ask(sql, []) if extended else ask(sql)
            for _ in range(2):
                assert c.pgconn.prepare(b"named", b"select 1").status == ExecStatus.COMMAND_OK
                assert c.pgconn.exec_prepared(b"named", []).get_value(0, 0) == b"1"
                done = run(b"deallocate named")
                assert (done.status, done.command_status) == (ExecStatus.COMMAND_OK, b"DEALLOCATE")
                assert c.pgconn.exec_prepared(b"named", []).error_field(DiagnosticField.SQLSTATE) == b"26000"
            assert run(b"deallocate named").error_field(DiagnosticField.SQLSTATE) == b"26000"
            # Within a transaction, and not undone by its rollback; in a failed one it is refused.
            c.pgconn.prepare(b"named", b"select 1"), c.pgconn.prepare(b"kept", b"select 2")
            run(b"begin")
            assert run(b"deallocate named").status == ExecStatus.COMMAND_OK
            assert run(b"select 1/0").error_field(DiagnosticField.SQLSTATE) == b"22012"
            assert run(b"deallocate kept").error_field(DiagnosticField.SQLSTATE) == b"25P02"
            run(b"rollback")
            assert c.pgconn.exec_prepared(b"named", []).error_field(DiagnosticField.SQLSTATE) == b"26000"
            assert c.pgconn.exec_prepared(b"kept", []).get_value(0, 0) == b"2"
            run(b"deallocate kept")
