#!/usr/bin/python3
"""Makes and drives a test cluster by hand: cluster.py FOLDER create|start|stop|kill|freeze|thaw|status|destroy.

  cluster.py FOLDER create [--nodes N] [--ports P,P,…] [--remote-apply] [--conf 'name = value']…   make it and start it
  cluster.py FOLDER kill|freeze|thaw|stop|start [NODE]                                            all nodes, or one
"""
import argparse
import json
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "tests"))
from support import system  # noqa: E402
from support.cluster import Cluster  # noqa: E402


def describe(folder):
    with open(f"{folder}/cluster.json") as f:
        return Cluster(folder=folder, **json.load(f))


def create(args):
    os.makedirs(args.folder)
    os.chmod(args.folder, 0o755)
    system.give(args.folder)
    ports = [int(p) for p in args.ports.split(",")] if args.ports else system.free_ports(args.nodes)
    about = {"nodes": len(ports), "ports": ports, "remote_apply": args.remote_apply}
    with open(f"{args.folder}/cluster.json", "w") as f:
        json.dump(about, f)
    return Cluster(folder=args.folder, conf="\n".join(args.conf), **about).create().start()


def status(cluster):
    for node in cluster.nodes:
        pid = node.pid()
        role = "down"
        if pid:
            role = "standby" if node.psql("select pg_is_in_recovery()", "postgres") == "t" else "primary"
        print(f"{node.number} port {node.port} pid {pid} {role}")


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("folder", type=os.path.abspath)
    p.add_argument("word", choices="create start stop kill freeze thaw status destroy".split())
    p.add_argument("node", nargs="?", type=int)
    p.add_argument("--nodes", type=int, default=3)
    p.add_argument("--ports", default="")
    p.add_argument("--remote-apply", action="store_true")
    p.add_argument("--conf", action="append", default=[])
    args = p.parse_args()
    cluster = create(args) if args.word == "create" else describe(args.folder)
    if args.word in ("create", "status"):
        status(cluster)
    elif args.word in ("destroy", "stop", "start") and args.node is None:
        getattr(cluster, args.word)()
    else:
        for node in cluster.nodes if args.node is None else [cluster.nodes[args.node]]:
            getattr(node, args.word)()


main()
