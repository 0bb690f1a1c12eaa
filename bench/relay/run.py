#!/usr/bin/env python3
"""Measures what a round trip of 64 octets costs in a relay on net::Loop and in one on Boost.Asio callbacks.

CPU time of the relay's process from /proc/PID/stat per round trip, in interleaved rounds; system calls per round trip
by `strace -c -f` in a run of their own. Needs g++, libboost1.81-dev and strace. Usage: bench/relay/run.py [--rounds N]
"""
import argparse
import os
import pathlib
import re
import socket
import statistics
import subprocess
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
KINDS = ("loop", "asio")
TICKS = os.sysconf("SC_CLK_TCK")


def build(folder):
    common = ["g++", "-std=c++20", "-O2", "-g1", "-fno-omit-frame-pointer", f"-I{ROOT}/src"]
    net = [str(f) for m in ("net", "base") for f in sorted((ROOT / "src" / m).glob("*.cc"))
           if not f.stem.endswith(("_test", "_bench", "_fuzz"))]
    pch = ["-include", f"{ROOT}/src/base/pch.h"]
    subprocess.run([*common, str(HERE / "load.cc"), "-o", f"{folder}/load"], check=True)
    subprocess.run([*common, str(HERE / "relay_asio.cc"), "-o", f"{folder}/relay_asio", "-pthread"], check=True)
    subprocess.run([*common, *pch, str(HERE / "relay_loop.cc"), *net, "-o", f"{folder}/relay_loop", "-lfmt", "-lcrypto",
                    "-pthread"], check=True)


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def wait_port(port):
    end = time.monotonic() + 10
    while True:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
            return
        except OSError:
            if time.monotonic() > end:
                raise


def cpu_seconds(pid):
    fields = open(f"/proc/{pid}/stat").read().rpartition(")")[2].split()
    return int(fields[11]) / TICKS, int(fields[12]) / TICKS


def drive(folder, port, clients, seconds):
    out = subprocess.run([f"{folder}/load", "drive", str(port), str(clients), str(seconds)], check=True,
                         capture_output=True, text=True).stdout
    return int(out)


def measure(folder, kind, server_port, clients, seconds):
    """CPU microseconds (user, system) a round trip, and round trips a second."""
    port = free_port()
    relay = subprocess.Popen([f"{folder}/relay_{kind}", str(port), str(server_port)])
    try:
        wait_port(port)
        before = cpu_seconds(relay.pid)
        trips = drive(folder, port, clients, seconds)
        after = cpu_seconds(relay.pid)
        return [(b - a) / trips * 1e6 for a, b in zip(before, after)], trips / seconds
    finally:
        relay.terminate()
        relay.wait()


def system_calls(folder, kind, server_port, clients):
    """System calls a round trip by name, of a run under strace (slower, but the counts do not depend on speed)."""
    port = free_port()
    table = f"{folder}/strace_{kind}"
    relay = subprocess.Popen(["strace", "-c", "-f", "-o", table, f"{folder}/relay_{kind}", str(port), str(server_port)])
    try:
        wait_port(port)
        trips = drive(folder, port, clients, 3)
    finally:
        child = open(f"/proc/{relay.pid}/task/{relay.pid}/children").read().split()[0]
        os.kill(int(child), 15)
        relay.wait()
    calls = {}
    for line in open(table):
        m = re.match(r"\s*[\d.]+\s+[\d.]+\s+\d+\s+(\d+)\s+(?:\d+\s+)?(\w+)$", line)
        if m and m.group(2) != "total":
            calls[m.group(2)] = int(m.group(1)) / trips
    return {name: n for name, n in sorted(calls.items(), key=lambda i: -i[1]) if n >= 0.005}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--seconds", type=int, default=2)
    parser.add_argument("--clients", type=int, nargs="*", default=[1, 8, 64])
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        build(folder)
        server_port = free_port()
        server = subprocess.Popen([f"{folder}/load", "serve", str(server_port)])
        try:
            wait_port(server_port)
            for clients in options.clients:
                report(folder, server_port, clients, options)
        finally:
            server.terminate()
            server.wait()


def report(folder, server_port, clients, options):
    rounds = {kind: [] for kind in KINDS}
    for number in range(options.rounds):
        for kind in KINDS if number % 2 == 0 else reversed(KINDS):
            rounds[kind].append(measure(folder, kind, server_port, clients, options.seconds))
    print(f"{clients} clients, {options.rounds} rounds of {options.seconds} s")
    for kind in KINDS:
        user, system = (statistics.median(r[0][i] for r in rounds[kind]) for i in (0, 1))
        total = statistics.median(sum(r[0]) for r in rounds[kind])
        rate = statistics.median(r[1] for r in rounds[kind])
        calls = system_calls(folder, kind, server_port, clients)
        named = ", ".join(f"{name} {n:.2f}" for name, n in calls.items())
        print(f"  {kind}: {total:.2f} us a round trip (user {user:.2f}, system {system:.2f}), {rate:.0f}/s; "
              f"calls {sum(calls.values()):.2f}: {named}")
    ratios = sorted(sum(a[0]) / sum(b[0]) for a, b in zip(rounds["loop"], rounds["asio"]))
    print(f"  CPU loop/asio: median {statistics.median(ratios):.3f}, from {ratios[0]:.3f} to {ratios[-1]:.3f}", flush=True)


if __name__ == "__main__":
    main()
