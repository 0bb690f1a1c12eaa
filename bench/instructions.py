#!/usr/bin/python3
"""Counts Herdgate's own instructions (user space) for each transaction, by callgrind: one worker, exact to a per cent
whatever else the machine does.

  bench/instructions.py [--mode session|transaction] [--only WORD]… [--profile FOLDER] [--binary PATH]
                        [--set NAME=VALUE]…

--profile leaves callgrind's files in FOLDER, one for each workload; callgrind_annotate reads them.
"""
import argparse
import glob
import os
import re
import shutil
import signal
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "tests"))
from support import system  # noqa: E402
from support.cluster import Cluster  # noqa: E402
from support.proxy import Proxy  # noqa: E402

CLIENTS = 8
WARM_UP = 5  # transactions of each client
WARM_UP_MISS = 300  # the query cache knows a flood by a window of look-ups (src/cache/admission.h)
# name: arguments of pgbench, transactions of each client
WORKLOADS = {
    "simple": (["-S", "-M", "simple"], 400),
    "prepared": (["-S", "-M", "prepared"], 400),
    "pipeline-10": (["-f", "pipeline", "-M", "prepared"], 100),
    "tpcb": (["-b", "tpcb-like", "-M", "prepared"], 50),
    "connect": (["-S", "-C"], 100),
    # With --set memory_cache_enabled=on: answered from the query cache.
    "hit-simple": (["-f", "hit", "-M", "simple"], 400),
    "hit-prepared": (["-f", "hit", "-M", "prepared"], 400),
    "miss-simple": (["-f", "miss", "-M", "simple"], 400),
    "miss-prepared": (["-f", "miss", "-M", "prepared"], 400),
}
SCRIPTS = {
    "pipeline": "\\set aid random(1, 100000)\n\\startpipeline\n" +
                "select abalance from pgbench_accounts where aid = :aid;\n" * 10 + "\\endpipeline\n",
    "hit": "\\set aid random(1, 10)\nselect abalance from pgbench_accounts where aid = :aid;\n",
    "miss": "\\set aid random(1, 100000)\n\\set once random(1, 1000000000000)\n" +
            "select abalance + :once::bigint from pgbench_accounts where aid = :aid;\n",
}


class Counted:
    """Herdgate under callgrind. Logins of the runs other than `connect` are counted apart and taken off."""

    def __init__(self, cluster, mode, binary, settings):
        self.proxy = Proxy(cluster, kind="herdgate", name="instructions")
        self.proxy.settings.update({
            "num_workers": 1, "pool_mode": mode, "num_init_children": 64, "sr_check_period": 0,
            "log_min_messages": "warning", "pool_size": 20 if mode == "transaction" else 0, **settings})
        self.proxy.binary = binary or self.proxy.binary
        command = self.proxy.command
        self.proxy.command = lambda *more: ["valgrind", "--tool=callgrind", "--callgrind-out-file=" + self.out(),
                                            "--dump-instr=yes", *command(*more)]

    def out(self):
        return f"{self.proxy.folder}/callgrind.out"

    def start(self):
        self.proxy.start()
        return self

    def stop(self):
        os.kill(self.proxy.process.pid, signal.SIGINT)
        self.proxy.process.wait(60)
        self.proxy.process = None
        self.proxy.remove()

    def control(self, option):
        system.run(["callgrind_control", option, str(self.proxy.process.pid)])

    def pgbench(self, folder, args, transactions):
        args = [f"{folder}/{a}.sql" if a in SCRIPTS else a for a in args]
        system.run([f"{system.postgres_bin()}/pgbench", "-n", "-h", "127.0.0.1", "-p", str(self.proxy.port), "-U",
                    "postgres", "-c", str(CLIENTS), "-t", str(transactions), *args, "bench"], timeout=300)

    def count(self, folder, name, keep):
        """Instructions for one transaction, and callgrind's file of them."""
        args, transactions = WORKLOADS[name]
        # Links are opened, caches filled.
        self.pgbench(folder, args, WARM_UP_MISS if name.startswith("miss") else WARM_UP)
        login = 0 if name == "connect" else self.dumped(folder, args, 1, None)
        total = self.dumped(folder, args, transactions + (0 if name == "connect" else 1), keep)
        return (total - login) / (CLIENTS * transactions)

    def dumped(self, folder, args, transactions, keep):
        self.control("--zero")
        self.pgbench(folder, args, transactions)
        self.control("--dump")
        newest = max(glob.glob(self.out() + ".*"), key=os.path.getmtime)
        with open(newest) as f:
            total = int(re.search(r"^(?:summary|totals): (\d+)", f.read(), re.M).group(1))
        if keep:
            shutil.copy(newest, keep)
        return total


def options():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--mode", choices=("session", "transaction"), default="session")
    p.add_argument("--only", action="append", default=[], help="workloads whose name contains this word")
    p.add_argument("--profile", default="", help="folder for callgrind's files")
    p.add_argument("--binary", default="", help="instead of build/tools/pgpool")
    p.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="a parameter of Herdgate")
    return p.parse_args()


def main():
    args = options()
    names = [n for n in WORKLOADS if not args.only or any(w in n for w in args.only)]
    folder = system.scratch("instructions-scripts")
    for name, script in SCRIPTS.items():
        with open(f"{folder}/{name}.sql", "w") as f:
            f.write(script)
        system.give(f"{folder}/{name}.sql")
    cluster = Cluster(nodes=3, conf="max_connections = 300")
    try:
        cluster.create().start()
        cluster.primary.psql("create database bench", "postgres")
        system.run([f"{cluster.bin}/pgbench", "-i", "-q", "-s", "1", "-h", cluster.folder, "-p",
                    str(cluster.primary.port), "-U", "postgres", "bench"])
        cluster.wait_replayed()
        counted = Counted(cluster, args.mode, args.binary, dict(s.split("=", 1) for s in args.set)).start()
        try:
            for name in names:
                keep = os.path.join(args.profile, f"{name}.callgrind") if args.profile else None
                print(f"{args.mode:12} {name:12} {counted.count(folder, name, keep):10,.0f}", flush=True)
        finally:
            counted.stop()
    finally:
        cluster.destroy()
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
