"""pg_dump through balancing: the same dump as from the primary itself, also with parallel jobs on one snapshot."""
import subprocess
import threading

import pytest

from support import system

pytestmark = pytest.mark.proxy_only


@pytest.fixture(scope="module")
def database(cluster):
    cluster.primary.psql("drop database if exists dumped", "postgres")
    cluster.primary.psql("create database dumped", "postgres")
    cluster.primary.psql("""
        create table t1 as select g as a, repeat('x', g % 50) as b from generate_series(1, 20000) g;
        create table t2 (id serial primary key, j jsonb); insert into t2 (j) select jsonb_build_object('n', g)
            from generate_series(1, 5000) g;
        create view v as select count(*) from t1; create index on t1 (a);
        create table pair_a (n int); create table pair_b (n int);
        insert into pair_a values (0); insert into pair_b values (0);
        select lo_from_bytea(0, 'blob')""", "dumped")
    cluster.wait_replayed()
    return "dumped"


def dump(port, *args):
    result = subprocess.run([f"{system.postgres_bin()}/pg_dump", "-h", "127.0.0.1", "-p", str(port), "-U", "postgres",
                             *args, "dumped"], capture_output=True, timeout=250)
    assert result.returncode == 0, result.stderr
    # Newer releases fence a dump with a random word.
    return [line for line in result.stdout.splitlines() if not line.startswith((b"\\restrict", b"\\unrestrict"))]


@pytest.fixture(params=[{}, {"statement_level_load_balance": True, "backend_weight0": 0}], ids=["session", "statement"])
def balanced(request, start_proxy):
    return start_proxy(request.param)


def test_pg_dump(balanced, cluster, database):
    assert dump(balanced.port) == dump(cluster.primary.port)


def test_pg_dump_parallel(balanced, database, tmp_path):
    dump(balanced.port, "-Fd", "-j", "3", "-f", str(tmp_path / "dump"))
    assert (tmp_path / "dump" / "toc.dat").exists()
    restored = subprocess.run([f"{system.postgres_bin()}/pg_restore", "-f", "-", str(tmp_path / "dump")],
                              capture_output=True, check=True).stdout
    assert restored.count(b"\n19999\t") == 1 and b"CREATE VIEW public.v" in restored


def test_parallel_dump_is_one_snapshot(balanced, cluster, database, tmp_path):
    """While a writer keeps two tables equal, every dump must show them equal."""
    stop = threading.Event()

    def write():
        with balanced.connect(dbname="dumped", autocommit=False) as c:
            while not stop.is_set():
                c.execute("update pair_a set n = n + 1")
                c.execute("update pair_b set n = n + 1")
                c.commit()

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for turn in range(3):
            folder = str(tmp_path / f"dump{turn}")
            dump(balanced.port, "-Fd", "-j", "2", "-f", folder, "-t", "pair_a", "-t", "pair_b")
            text = subprocess.run([f"{system.postgres_bin()}/pg_restore", "-a", "-f", "-", folder],
                                  capture_output=True, check=True).stdout.decode()
            values = [line for line in text.splitlines() if line.isdigit()]
            assert len(values) == 2 and values[0] == values[1], values
    finally:
        stop.set()
        writer.join()
