"""pgbench as a client: many at once, in every protocol mode, and the books must balance afterwards."""
import re
import subprocess

import pytest

from support import system

SCALE = 2


@pytest.fixture(scope="module")
def bench_db(cluster):
    cluster.primary.psql("drop database if exists bench", "postgres")
    cluster.primary.psql("create database bench", "postgres")
    system.run([f"{cluster.bin}/pgbench", "-i", "-q", "-s", str(SCALE), "-h", cluster.folder, "-p",
                str(cluster.primary.port), "-U", "postgres", "bench"])
    cluster.wait_replayed()
    return "bench"


def pgbench(proxy, *args):
    command = [f"{system.postgres_bin()}/pgbench", "-n", "-h", "127.0.0.1", "-p", str(proxy.port), "-U", "postgres",
               *args, "bench"]
    result = subprocess.run(command, capture_output=True, text=True, timeout=250)
    assert result.returncode == 0, result.stdout[-2000:] + result.stderr[-3000:] + "\nthe proxy:\n" + proxy.log()[-6000:]
    done = int(re.search(r"number of transactions actually processed: (\d+)", result.stdout).group(1))
    failed = re.search(r"number of failed transactions: (\d+)", result.stdout)
    assert failed is None or failed.group(1) == "0", result.stdout
    return done


def sums(cluster):
    """What TPC-B has added up so far: it adds the same delta to an account, a teller, a branch and the history."""
    text = cluster.primary.psql("select (select sum(abalance) from pgbench_accounts), (select sum(tbalance) from "
                                "pgbench_tellers), (select sum(bbalance) from pgbench_branches), (select "
                                "coalesce(sum(delta), 0) from pgbench_history), (select count(*) from pgbench_history)",
                                "bench")
    return [int(v) for v in text.split("|")]


def check_books(cluster, before, done):
    *added, transactions = [b - a for a, b in zip(before, sums(cluster))]
    assert len(set(added)) == 1, f"accounts, tellers, branches, history grew by {added}"
    assert transactions == done


@pytest.fixture(params=["session", pytest.param("transaction", marks=pytest.mark.herdgate_only)])
def pooled(request, start_proxy, bench_db):
    parameters = {"num_init_children": 40}
    if request.param == "transaction":
        parameters["pool_mode"] = "transaction"
    return start_proxy(parameters)


@pytest.mark.parametrize("protocol", ["simple", "extended", "prepared"])
def test_tpcb(pooled, cluster, protocol):
    before = sums(cluster)
    done = pgbench(pooled, "-M", protocol, "-c", "16", "-j", "2", "-t", "50")
    assert done == 800
    check_books(cluster, before, done)


@pytest.mark.parametrize("protocol", ["simple", "extended", "prepared"])
def test_select_only(pooled, protocol):
    assert pgbench(pooled, "-S", "-M", protocol, "-c", "32", "-j", "2", "-t", "200") == 6400


@pytest.mark.proxy_only
@pytest.mark.parametrize("protocol", ["simple", "extended", "prepared"])
def test_select_only_reads_its_own_row(pooled, cluster, marks, tmp_path, protocol):
    """As pgbench -S, but a client ends at a value that is not that of the row it has asked for."""
    mark = marks()
    cluster.primary.psql("update pgbench_accounts set abalance = 3 * aid where aid <= 2000", "bench")
    script = tmp_path / "select.sql"
    script.write_text("\\set aid random(1, 2000)\n"
                      f"SELECT abalance FROM pgbench_accounts WHERE aid = :aid /* {mark} */\n\\gset\n"
                      "\\if :abalance <> 3 * :aid\n"
                      "select ('account ' || :aid || ' has ' || :abalance)::int;\n"  # an error that says so
                      "\\endif\n")
    assert pgbench(pooled, "-M", protocol, "-f", str(script), "-c", "32", "-j", "2", "-t", "100") == 3200
    assert cluster.where(mark) == {0, 1, 2}


@pytest.mark.parametrize("protocol", ["simple", "prepared"])
def test_connect_for_each_transaction(pooled, cluster, protocol):
    before = sums(cluster)
    done = pgbench(pooled, "-C", "-M", protocol, "-c", "8", "-j", "2", "-t", "25")
    assert done == 200
    check_books(cluster, before, done)


def test_pipelines(pooled, tmp_path):
    script = tmp_path / "pipeline.sql"
    lines = ["\\set aid random(1, 100000)", "\\startpipeline"]
    lines += ["select abalance from pgbench_accounts where aid = :aid;"] * 10 + ["\\endpipeline", ""]
    script.write_text("\n".join(lines))
    assert pgbench(pooled, "-M", "prepared", "-f", str(script), "-c", "8", "-t", "100") == 800


def test_more_clients_than_links(start_proxy, bench_db, cluster):
    """Clients beyond num_init_children wait for their turn; none is refused. (A thread each: pgbench blocks there.)"""
    few = start_proxy({"num_init_children": 4})
    assert pgbench(few, "-C", "-S", "-c", "16", "-j", "16", "-t", "10") == 160
