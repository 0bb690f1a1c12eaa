"""Drivers of other languages: what an application does, run at the primary itself and through the proxy, must print the same.

The scripts in drivers/ print every answer they get. In transaction mode others use the same links meanwhile.
"""
import contextlib
import os
import re
import shutil
import subprocess
import threading

import psycopg
import pytest

from support import system

SCRIPTS = os.path.join(system.ROOT, "tests", "integration", "drivers")
# The command line of each, and what shows that the driver is there.
DRIVERS = {
    "pdo.php": (["php"], ["php", "-r", "exit(extension_loaded('pdo_pgsql') && extension_loaded('pgsql') ? 0 : 1);"]),
    "rails.rb": (["ruby"], ["ruby", "-e", "require 'active_record'; require 'pg'"]),
    "dbi.pl": (["perl"], ["perl", "-e", "use DBD::Pg"]),
    "odbc.py": (["/usr/bin/python3"], ["/usr/bin/python3", "-c",
                                       "import glob, pyodbc; glob.glob('/usr/lib/*/odbc/psqlodbcw.so')[0]"]),
}
WAYS = {
    "session": {"pool_mode": "session"},
    "transaction": {"pool_mode": "transaction", "pool_size": 3},
    "cache": {"pool_mode": "transaction", "pool_size": 3, "memory_cache_enabled": True},
}


def is_there(check):
    return bool(shutil.which(check[0])) and subprocess.run(check, capture_output=True, timeout=60).returncode == 0


@pytest.fixture(scope="module")
def run(cluster):
    """run(script, port): its output in a database of its own, without what differs from run to run."""
    made = []

    def run_script(script, port, others=False):
        name = f"other_{os.getpid()}_{len(made)}"
        cluster.primary.psql(f"create database {name}", "postgres")
        made.append(name)
        cluster.wait_replayed()
        with company(port, name) if others else contextlib.nullcontext():
            done = subprocess.run([*DRIVERS[script][0], f"{SCRIPTS}/{script}", str(port), name], capture_output=True, text=True,
                                  errors="replace", timeout=250, env={**os.environ, "TZ": "UTC", "LC_ALL": "C.UTF-8"})
        assert done.returncode == 0 and re.search(r'end\b\W*$', done.stdout), f"{done.stdout[-3000:]}\n{done.stderr}"
        # docs/compat.md: a statement refused in a failed transaction has this line.
        text = re.sub(r'(\n|\\n)DETAIL:  statement: .*?(?="|\n|$)', "", done.stdout + done.stderr)
        return text.replace(name, "DATABASE").splitlines()

    return run_script


@pytest.fixture(scope="module")
def direct(cluster, run):
    """What a script prints at the primary itself; run once."""
    known = {}

    def at_the_primary(script):
        if script not in known:
            known[script] = run(script, cluster.primary.port)
        return known[script]

    return at_the_primary


@contextlib.contextmanager
def company(port, database):
    """Two more sessions, whose settings, temporary tables and statements must not be met by anybody."""
    over = threading.Event()

    def keep_busy():
        words = {"host": "127.0.0.1", "port": port, "user": "postgres", "dbname": database}
        with psycopg.connect(**words, autocommit=True) as a, psycopg.connect(**words, autocommit=True) as b:
            while not over.is_set():
                for c in (a, b):
                    c.execute("set timezone = 'Pacific/Apia'")
                    c.execute("set search_path = pg_catalog")
                    with c.transaction(force_rollback=c is b):
                        c.execute("set local datestyle = 'SQL, DMY'")
                        c.execute("create temp table t (other text) on commit drop")
                        c.execute("select now()", prepare=True)
                over.wait(0.005)

    busy = threading.Thread(target=keep_busy)
    busy.start()
    try:
        yield
    finally:
        over.set()
        busy.join()


@pytest.mark.herdgate_only
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("script", DRIVERS)
def test_prints_what_it_prints_at_the_primary(start_proxy, run, direct, script, way):
    if not is_there(DRIVERS[script][1]):
        pytest.skip(f"no driver for {script}")
    proxy = start_proxy(WAYS[way])
    assert run(script, proxy.port, others=way != "session") == direct(script)
