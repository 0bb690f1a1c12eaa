"""Measures one run: throughput and latency by pgbench, CPU time and memory of the proxy from /proc."""
import glob
import os
import re
import resource
import shutil
import subprocess
import tempfile

from support import system
from support.wire import Client

SCRIPTS = {
    # About 1 MB in ten thousand rows, and in four.
    "rows": "select g, repeat('x', 90) from generate_series(1, 10000) g;\n",
    "wide": "select repeat('x', 262144) from generate_series(1, 4) g;\n",
    "pipeline": "\\set aid random(1, 1000000)\n\\startpipeline\n" +
                "select abalance from pgbench_accounts where aid = :aid;\n" * 10 + "\\endpipeline\n",
    # Few keys: all but the first of each are answered from a query cache. And none that comes twice.
    "hit": "\\set aid random(1, 100)\nselect abalance from pgbench_accounts where aid = :aid;\n",
    "miss": "\\set aid random(1, 1000000)\n\\set once random(1, 1000000000000)\n" +
            "select abalance + :once::bigint from pgbench_accounts where aid = :aid;\n",
}
SELECTS = [(f"{mode}-{clients}", ["-S", "-M", mode, "-c", str(clients)])
           for mode in ("simple", "extended", "prepared") for clients in (8, 64, 200)]
WORKLOADS = dict([
    *SELECTS,
    ("connect", ["-S", "-C", "-c", "8"]),
    ("tpcb", ["-b", "tpcb-like", "-M", "prepared", "-c", "8"]),
    ("rows-1MB", ["-f", "rows", "-c", "8"]),
    ("wide-1MB", ["-f", "wide", "-c", "8"]),
    ("pipeline-10", ["-f", "pipeline", "-M", "prepared", "-c", "8"]),
])
CACHE_WORKLOADS = {f"{what}-{mode}-{clients}": ["-f", what, "-M", mode, "-c", str(clients)]
                   for what in ("hit", "miss") for mode in ("simple", "prepared") for clients in (8, 64)}


def cpu_seconds(pids):
    """CPU time used so far by all threads of these processes."""
    total = 0.0
    for pid in pids:
        for path in glob.glob(f"/proc/{pid}/task/*/schedstat"):
            try:
                with open(path) as f:
                    total += int(f.read().split()[0]) / 1e9
            except (OSError, ValueError, IndexError):
                pass
    if total == 0.0:
        total = sum(ticks(pid) for pid in pids) / os.sysconf("SC_CLK_TCK")
    return total


def machine_seconds(target):
    """Of the proxy, the servers and the clients of the runs that have ended: whatever one transaction costs."""
    clients = resource.getrusage(resource.RUSAGE_CHILDREN)
    total = cpu_seconds(target.pids()) + clients.ru_utime + clients.ru_stime
    for node in target.cluster.nodes:
        total += cpu_seconds(system.family(node.pid())) + ticks(node.pid(), ended=True) / os.sysconf("SC_CLK_TCK")
    return total


def ticks(pid, ended=False):
    try:
        with open(f"/proc/{pid}/stat") as f:
            fields = f.read().rpartition(")")[2].split()
        return int(fields[13]) + int(fields[14]) if ended else int(fields[11]) + int(fields[12])
    except OSError:
        return 0


def memory_bytes(pids):
    """Proportional set size: shared pages count once."""
    total = 0
    for pid in pids:
        try:
            with open(f"/proc/{pid}/smaps_rollup") as f:
                total += next(int(line.split()[1]) for line in f if line.startswith("Pss:")) * 1024
        except (OSError, StopIteration):
            pass
    return total


def percentile(values, share):
    return values[min(len(values) - 1, int(len(values) * share))] if values else None


def pgbench(target, workload, seconds):
    """One run; a dict of tps, p50_ms, p99_ms, and for each transaction cpu_us of the proxy, all_us of all processes."""
    folder = tempfile.mkdtemp(prefix="hg-pgbench-")
    try:
        args = list((WORKLOADS | CACHE_WORKLOADS)[workload])
        if "-f" in args:
            at = args.index("-f") + 1
            with open(f"{folder}/script.sql", "w") as f:
                f.write(SCRIPTS[args[at]])
            args[at] = f"{folder}/script.sql"
        command = [f"{system.postgres_bin()}/pgbench", "-n", "-h", "127.0.0.1", "-p", str(target.port), "-U",
                   "postgres", "-j", "2", "-T", str(seconds), "--log", f"--log-prefix={folder}/log",
                   "--sampling-rate=0.2", *args, "bench"]
        before, before_all = cpu_seconds(target.pids()), machine_seconds(target)
        result = subprocess.run(command, capture_output=True, text=True, timeout=seconds + 120)
        used = cpu_seconds(target.pids()) - before
        used_all = machine_seconds(target) - before_all
        done = re.search(r"actually processed: (\d+)", result.stdout)
        tps = re.search(r"^tps = ([\d.]+)", result.stdout, re.M)
        if result.returncode != 0 or not done or not int(done.group(1)):
            raise RuntimeError(f"{target.name} {workload}: {result.stdout[-300:]}{result.stderr[-600:]}")
        waits = sorted(int(line.split()[2]) for path in glob.glob(f"{folder}/log*") for line in open(path))
        per = 1e6 / int(done.group(1))
        return {"tps": float(tps.group(1)), "cpu_us": used * per, "all_us": used_all * per,
                "p50_ms": (percentile(waits, 0.5) or 0) / 1000, "p99_ms": (percentile(waits, 0.99) or 0) / 1000}
    finally:
        shutil.rmtree(folder)


def idle_memory(target, clients):
    """Bytes of the proxy for each idle client that has run one query. The first twenty warm it up."""
    held = []
    try:
        for _ in range(20):
            held.append(one_query(target.port))
        before = memory_bytes(target.pids())
        for _ in range(clients):
            held.append(one_query(target.port))
        return {"bytes": (memory_bytes(target.pids()) - before) / clients}
    finally:
        for c in held:
            c.close()


def one_query(port):
    c = Client(port, seconds=60).login(database="bench")
    if c.ask("select 1") != [["1"]]:
        raise RuntimeError("wrong answer")
    return c
