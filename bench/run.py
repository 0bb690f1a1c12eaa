#!/usr/bin/python3
"""Compares Herdgate with PgBouncer 1.24, Pgpool-II 4.6.1 and direct access on one cluster, in interleaved rounds.

Every round runs every workload against every target, in a new random order; ratios are taken within a round, and the
median over the rounds is shown, so that a noisy neighbour hits all alike. Everything runs on this machine.

  bench/run.py [--rounds 9] [--seconds 3] [--only WORD]… [--targets NAME,…] [--quick] [--add] [--memory-only]
               [--no-memory] [--cache] [--pgo]

A target NAME@FILE is NAME with the pgpool in FILE, to see two builds side by side.

--cache compares the query caches instead: ours and that of Pgpool-II, in memory and in memcached, ours switched off and
direct access, where all is found in it and where nothing is. memcached's own CPU time counts with the proxy's.
"""
import argparse
import json
import os
import random
import resource
import signal
import statistics
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "tests"))
from support import system  # noqa: E402
from support.cluster import Cluster  # noqa: E402
from support.system import wait_until  # noqa: E402

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import measure  # noqa: E402
import targets  # noqa: E402

CONF = """
log_statement = none
max_connections = 1500
shared_buffers = 256MB
"""
RESULTS = os.path.join(system.ROOT, "build", "bench.json")
CACHE_RESULTS = os.path.join(system.ROOT, "build", "bench_cache.json")
IDLE = (1000, 5000)


def options():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--rounds", type=int, default=9)
    p.add_argument("--seconds", type=int, default=3)
    p.add_argument("--only", action="append", default=[], help="workloads whose name contains this word")
    p.add_argument("--targets", default="", help="comma list of " + " ".join(targets.NAMES))
    p.add_argument("--quick", action="store_true", help="one round, one second, few workloads")
    p.add_argument("--add", action="store_true", help="to the results of the last run, which may have been cut in parts")
    p.add_argument("--memory-only", action="store_true")
    p.add_argument("--no-memory", action="store_true")
    p.add_argument("--cache", action="store_true", help="the query caches: " + " ".join(targets.CACHE_NAMES))
    p.add_argument("--pgo", action="store_true", help="the build that ./dev pgo has made")
    args = p.parse_args()
    if args.pgo:
        os.environ["HERDGATE_BINARY"] = os.path.join(system.ROOT, "build-pgo", "tools", "pgpool")
    if args.cache:
        args.no_memory, args.memory_only = True, False
    if args.quick:
        args.rounds, args.seconds = 1, 1
        args.only = args.only or ["-8", "tpcb", "pipeline"]
    return args


def make_cluster():
    cluster = Cluster(nodes=3, conf=CONF).create().start()
    cluster.primary.psql("create database bench", "postgres")
    system.run([f"{cluster.bin}/pgbench", "-i", "-q", "-s", "10", "-h", cluster.folder, "-p",
                str(cluster.primary.port), "-U", "postgres", "bench"])
    cluster.wait_replayed()
    return cluster


def start_all(names, cluster):
    running, missing = [], []
    for name in names:
        target = None
        try:
            target = targets.make(name, cluster)
            target.cluster = cluster
            running.append(target.start())
        except (RuntimeError, OSError) as e:
            missing.append(f"{name}: {str(e).splitlines()[0]}")
            if target is not None:
                target.stop()
    for line in missing:
        print(f"left out: {line}")
    return running


def rounds(args, running, results):
    known = measure.CACHE_WORKLOADS if args.cache else measure.WORKLOADS
    names = [w for w in known if not args.only or any(word in w for word in args.only)]
    for number in range(args.rounds):
        stamp = time.time()  # tells the round among those of other runs
        for workload in names:
            order = list(running)
            random.shuffle(order)
            for target in order:
                try:
                    run = measure.pgbench(target, workload, args.seconds)
                except (RuntimeError, subprocess.TimeoutExpired) as e:
                    run = {"error": str(e)[:400]}
                    print(f"  {e}", flush=True)
                run["round"] = stamp
                results.setdefault(workload, {}).setdefault(target.name, []).append(run)
        print(f"round {number + 1} of {args.rounds} done", flush=True)


def memory(args, names, cluster, results):
    """A fresh process for each count. The session modes would need as many server links: few clients suffice there."""
    for name in names:
        if name == "direct" or "-session" in name or name.endswith("-primary"):
            continue
        for clients in IDLE if name != "pgpool" else (200,):
            target = targets.make(name, cluster, clients + 50)
            try:
                target.start()
                run = measure.idle_memory(target, clients)
            except (RuntimeError, OSError) as e:
                run = {"error": str(e)[:400]}
                print(f"  {name} with {clients} idle clients: {e}")
            finally:
                target.stop()
                wait_until(lambda: int(cluster.primary.psql("select count(*) from pg_stat_activity")) < 600, "links to go")
            results.setdefault(f"idle-{clients}", {}).setdefault(name, []).append(run)


def earlier(path):
    with open(path) as f:
        return json.load(f)["results"]


def median_of(runs, key):
    values = [r[key] for r in runs if key in r]
    return statistics.median(values) if values else None


def median_ratio(ours, theirs, key):
    of_round = {b["round"]: b for b in theirs if b.get(key)}
    pairs = [a[key] / of_round[a["round"]][key] for a in ours if a.get(key) and a["round"] in of_round]
    return statistics.median(pairs) if pairs else None


def number(value, digits=1):
    return "-" if value is None else f"{value:,.{digits}f}"


def show(results, order, rivals):
    print(f"\n{'workload':<17}{'target':<30}{'tps':>10}{'cpu µs/tx':>11}{'all µs/tx':>11}{'p50 ms':>9}{'p99 ms':>9}")
    for workload, by_target in results.items():
        for name, runs in sorted(by_target.items(), key=lambda item: order.index(item[0].partition("@")[0])):
            if workload.startswith("idle"):
                print(f"{workload:<17}{name:<30}{number(median_of(runs, 'bytes'), 0):>10} bytes a client")
                continue
            print(f"{workload:<17}{name:<30}{number(median_of(runs, 'tps'), 0):>10}{number(median_of(runs, 'cpu_us')):>11}"
                  f"{number(median_of(runs, 'all_us')):>11}"
                  f"{number(median_of(runs, 'p50_ms'), 2):>9}{number(median_of(runs, 'p99_ms'), 2):>9}")
    pairs = [(a, b) for a, b in rivals if any(a in r and b in r for r in results.values())]
    if not pairs:
        return
    print("\nmedian ratio, ours / theirs: CPU time of the proxy, CPU time of clients and servers too, throughput")
    print(f"{'workload':<17}" + "".join(f"{a.replace('herdgate-', 'hg-')[-31:]:>32}" for a, _ in pairs))
    print(f"{'over':<17}" + "".join(f"{b[-31:]:>32}" for _, b in pairs))
    for workload, by_target in results.items():
        if workload.startswith("idle"):
            continue
        line = f"{workload:<17}"
        for ours, theirs in pairs:
            a, b = by_target.get(ours, []), by_target.get(theirs, [])
            cpu, total, tps = (median_ratio(a, b, key) for key in ("cpu_us", "all_us", "tps"))
            line += f"{'cpu ' + number(cpu, 2) + '  all ' + number(total, 2) + '  tps ' + number(tps, 2):>32}"
        print(line)


def main():
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("terminated"))
    args = options()
    order, rivals = targets.NAMES, targets.RIVALS
    path = RESULTS
    if args.cache:
        order, rivals, path = targets.CACHE_NAMES, targets.CACHE_RIVALS, CACHE_RESULTS
    names = args.targets.split(",") if args.targets else list(order)
    if any(n.startswith("pg") for n in names):
        subprocess.run([f"{system.ROOT}/scripts/fetch_trixie", "programs"], check=True)
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))  # inherited by the proxies; 5,000 clients need 5,100
    results, running, cluster = earlier(path) if args.add else {}, [], None
    try:
        cluster = make_cluster()
        if not args.memory_only:
            running = start_all(names, cluster)
            rounds(args, running, results)
            for target in running:
                target.stop()
            running = []
        if not args.no_memory and not args.quick:
            memory(args, names, cluster, results)
    finally:
        for target in running:
            target.stop()
        if cluster is not None:
            cluster.destroy()
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w") as f:
        json.dump({"rounds": args.rounds, "seconds": args.seconds, "results": results}, f, indent=1)
    show(results, order, targets.rivals_of(names, rivals))


if __name__ == "__main__":
    main()
