#!/usr/bin/python3
"""Runs the bench's workloads against a pgpool that counts what it executes, for ./dev pgo.

  bench/train.py FOLDER      its build folder; the counts go to FOLDER/profiles
"""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "tests"))
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import measure  # noqa: E402
import run  # noqa: E402
import targets  # noqa: E402

SECONDS = 2
SHORT = ["simple-8", "extended-8", "prepared-64", "connect", "tpcb", "rows-1MB", "pipeline-10"]
CACHE = ["hit-simple-8", "hit-prepared-8", "miss-simple-8", "miss-prepared-8"]
TRAINING = [("herdgate-session", SHORT), ("herdgate-transaction", SHORT), ("herdgate-cache", CACHE)]


def main():
    folder = os.path.abspath(sys.argv[1])
    profiles = f"{folder}/profiles"
    os.makedirs(profiles, exist_ok=True)
    os.chmod(profiles, 0o777)  # pgpool runs as an ordinary user
    os.environ["HERDGATE_BINARY"] = f"{folder}/tools/pgpool"
    cluster = run.make_cluster()
    try:
        for name, workloads in TRAINING:
            target = targets.make(name, cluster)
            target.cluster = cluster
            target.start()
            try:
                for workload in workloads:
                    measure.pgbench(target, workload, SECONDS)
            finally:
                target.stop()
    finally:
        cluster.destroy()
    found = sum(name.endswith(".gcda") for name in os.listdir(profiles))
    if found == 0:
        sys.exit(f"no profiles in {profiles}: was it built with HERDGATE_PROFILE=generate?")
    print(f"{found} profiles in {profiles}")


if __name__ == "__main__":
    main()
