#!/usr/bin/python3
"""What the HTTP service costs those who send SQL: pgbench -S beside a flood of /healthz, and /metrics with many links.

The flood takes processor time from pgbench wherever it goes, so in each round it also goes to a second, idle server:
the ratio of the two is what answering in the same process costs. /metrics is asked every 60 ms (figures are gathered
at most every 50 ms), with few and with many links; the processor time is that of the whole server.

  bench/http_cost.py [--rounds 7] [--seconds 3] [--clients 8] [--links 2000]
"""
import argparse
import http.client
import multiprocessing
import os
import random
import re
import resource
import socket
import statistics
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "tests"))
from support import system  # noqa: E402
from support.cluster import Cluster  # noqa: E402
from support.proxy import Proxy  # noqa: E402

PIPELINED = 50


def make(cluster, links):
    proxy = Proxy(cluster)
    proxy.settings.update({"http_port": system.free_ports(1)[0], "num_init_children": links + 100, "max_pool": 1})
    return proxy.start()


def flood(port, answered):
    with socket.create_connection(("127.0.0.1", port)) as s:
        while True:
            s.sendall(b"GET /healthz HTTP/1.1\r\nHost: h\r\n\r\n" * PIPELINED)
            seen, rest = 0, b""
            while seen < PIPELINED:
                data = rest + s.recv(65536)
                seen += data.count(b"alive\n")
                rest = data[-5:] if not data.endswith(b"alive\n") else b""
            with answered.get_lock():
                answered.value += PIPELINED


def tps(cluster, proxy, args):
    done = subprocess.run([f"{cluster.bin}/pgbench", "-n", "-S", "-c", str(args.clients), "-T", str(args.seconds), "-h",
                           "127.0.0.1", "-p", str(proxy.port), "-U", "postgres", "test"],
                          capture_output=True, text=True, timeout=args.seconds + 60)
    found = re.search(r"tps = ([0-9.]+)", done.stdout)
    if done.returncode != 0 or not found:
        raise SystemExit(f"pgbench failed:\n{done.stdout}{done.stderr}")
    return float(found.group(1))


def beside_flood(cluster, proxy, target, args):
    """(statements, answers to the flood) a second"""
    answered = multiprocessing.Value("q", 0)
    flooders = [multiprocessing.Process(target=flood, args=(target.settings["http_port"], answered), daemon=True)
                for _ in range(2)] if target else []
    for one in flooders:
        one.start()
    began, before = time.monotonic(), answered.value
    try:
        got = tps(cluster, proxy, args)
        return got, (answered.value - before) / (time.monotonic() - began)
    finally:
        for one in flooders:
            one.terminate()
            one.join()


def hold(cluster, proxy, count):
    """That many clients, each of which keeps a connection to the server and is silent."""
    script = f"{proxy.folder}/hold.sql"
    with open(script, "w") as f:
        f.write("select 1;\n\\sleep 600 s\n")
    pgbench = subprocess.Popen([f"{cluster.bin}/pgbench", "-n", "-c", str(count), "-T", "600", "-f", script, "-h",
                                "127.0.0.1", "-p", str(proxy.port), "-U", "postgres", "test"],
                               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def used():
        connection = http.client.HTTPConnection("127.0.0.1", proxy.settings["http_port"], timeout=20)
        connection.request("GET", "/metrics")
        text = connection.getresponse().read().decode()
        connection.close()
        return re.search(r'herdgate_node_links\{node="0",state="used"\} (\d+)', text).group(1) == str(count)

    system.wait_until(used, f"{count} links", 120)
    return pgbench


def cpu_seconds(pid):
    with open(f"/proc/{pid}/stat") as f:
        fields = f.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def metrics_cost(proxy, turns=100):
    """(processor milliseconds for each answer, median milliseconds until it is there)"""
    connection = http.client.HTTPConnection("127.0.0.1", proxy.settings["http_port"], timeout=20)
    began, waits = cpu_seconds(proxy.process.pid), []
    for _ in range(turns):
        at = time.monotonic()
        connection.request("GET", "/metrics")
        connection.getresponse().read()
        waits.append(1000 * (time.monotonic() - at))
        time.sleep(0.06)
    return 1000 * (cpu_seconds(proxy.process.pid) - began) / turns, statistics.median(waits)


def compare_floods(cluster, proxies, args):
    here, other, alone = [], [], []
    for number in range(args.rounds):
        got = {}
        for which in random.sample([0, 1, 2], 3):
            target = (None, proxies[0], proxies[1])[which]
            got[which] = beside_flood(cluster, proxies[0], target, args)
        here.append(got[1][0] / got[2][0])
        other.append(got[1][1])
        alone.append(got[1][0] / got[0][0])
        print(f"round {number}: alone {got[0][0]:.0f}, flooded {got[1][0]:.0f} beside {got[1][1]:.0f} answers/s, another "
              f"server flooded {got[2][0]:.0f} beside {got[2][1]:.0f}", flush=True)
    print(f"statements/s, flood here over flood elsewhere: median {statistics.median(here):.3f}, {min(here):.3f} to "
          f"{max(here):.3f}; over no flood: median {statistics.median(alone):.3f}; {statistics.median(other):.0f} answers/s")


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--rounds", type=int, default=7)
    p.add_argument("--seconds", type=int, default=3)
    p.add_argument("--clients", type=int, default=8)
    p.add_argument("--links", type=int, default=2000)
    args = p.parse_args()
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))  # pgbench inherits it
    cluster = Cluster(nodes=1, conf=f"log_statement = none\nmax_connections = {args.links + 200}\n")
    proxies = []
    try:
        cluster.create().start()
        subprocess.run([f"{cluster.bin}/pgbench", "-i", "-q", "-s", "5", "-h", cluster.folder, "-p",
                        str(cluster.primary.port), "-U", "postgres", "test"], check=True, capture_output=True)
        proxies = [make(cluster, args.links), make(cluster, 10)]
        if args.rounds:
            compare_floods(cluster, proxies, args)
        for count in (10, args.links):
            holder = hold(cluster, proxies[0], count)
            try:
                cpu, wait = metrics_cost(proxies[0])
            finally:
                holder.terminate()
                holder.wait()
            print(f"/metrics with {count} links: {cpu:.2f} ms of processor time, answered after {wait:.2f} ms", flush=True)
    finally:
        for proxy in proxies:
            proxy.remove()
        cluster.destroy()


if __name__ == "__main__":
    sys.exit(main())
