#!/usr/bin/python3
"""What log_statement costs: pgbench -S through two servers that differ in nothing else, in interleaved rounds.

Each round runs both, in a random order; the ratio is taken within a round, and the median over the rounds is the
result. Both servers collect their log in files.

  bench/log_statement.py [--rounds 9] [--seconds 4] [--clients 8] [--protocol simple] [--least 0.9]
"""
import argparse
import os
import random
import re
import statistics
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "tests"))
from support.cluster import Cluster  # noqa: E402
from support.proxy import Proxy  # noqa: E402


def make(cluster, on):
    proxy = Proxy(cluster)
    proxy.settings.update({"log_statement": on, "logging_collector": True, "log_directory": f"{proxy.folder}/logs"})
    return proxy.start()


def tps(cluster, proxy, args):
    done = subprocess.run([f"{cluster.bin}/pgbench", "-n", "-S", "-M", args.protocol, "-c", str(args.clients), "-T",
                           str(args.seconds), "-h", "127.0.0.1", "-p", str(proxy.port), "-U", "postgres", "test"],
                          capture_output=True, text=True, timeout=args.seconds + 60)
    found = re.search(r"tps = ([0-9.]+)", done.stdout)
    if done.returncode != 0 or not found:
        raise SystemExit(f"pgbench failed:\n{done.stdout}{done.stderr}")
    return float(found.group(1))


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--rounds", type=int, default=9)
    p.add_argument("--seconds", type=int, default=4)
    p.add_argument("--clients", type=int, default=8)
    p.add_argument("--protocol", default="simple", choices=["simple", "extended", "prepared"])
    p.add_argument("--least", type=float, default=0.9, help="exit code 1 below this median")
    args = p.parse_args()
    cluster = Cluster(nodes=1, conf="log_statement = none\n")
    proxies = []
    try:
        cluster.create().start()
        subprocess.run([f"{cluster.bin}/pgbench", "-i", "-q", "-s", "5", "-h", cluster.folder, "-p",
                        str(cluster.primary.port), "-U", "postgres", "test"], check=True, capture_output=True)
        proxies = [make(cluster, False), make(cluster, True)]
        ratios = []
        for number in range(args.rounds):
            got = {}
            for on in random.sample([0, 1], 2):
                got[on] = tps(cluster, proxies[on], args)
            ratios.append(got[1] / got[0])
            print(f"round {number}: off {got[0]:.0f} on {got[1]:.0f} ratio {ratios[-1]:.3f}", flush=True)
        median = statistics.median(ratios)
        print(f"log_statement on / off: median {median:.3f}, {min(ratios):.3f} to {max(ratios):.3f}")
        return 0 if median >= args.least else 1
    finally:
        for proxy in proxies:
            proxy.remove()
        cluster.destroy()


if __name__ == "__main__":
    sys.exit(main())
