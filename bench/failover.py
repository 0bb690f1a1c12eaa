#!/usr/bin/python3
"""What clients notice when a server dies: a steady load through Herdgate, a fault in the middle of it, and a check of every
promise made to a client (bench/history.py).

  bench/failover.py [--runs 10] [--only SCENARIO]… [--soak N]

Scenarios    kill-primary    kill -9 of the primary's postmaster
             kill-standby    all processes of a standby die at once
             freeze-primary  every process of the primary is stopped; later it goes on
             cut-primary     the primary is cut off from proxy and standbys (network namespaces); later the cable is mended
             switchover      pcp_promote_node --switchover
Load         20 writers (half of them with BEGIN and COMMIT) and 20 readers, sessions that stay, paced
Herd         three nodes, synchronous_commit = remote_apply with ANY 1 of the standbys, failover_method = builtin,
             health_check_period 1
Ends with 1 when a promise was broken.
"""
import argparse
import os
import statistics
import subprocess
import sys
import threading
import time

import psycopg2

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "tests"))
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from history import ACKNOWLEDGED, REFUSED, UNKNOWN, Writes, broken_promises, longest_gap  # noqa: E402
from support import netns, system  # noqa: E402
from support.cluster import Cluster  # noqa: E402
from support.proxy import Proxy  # noqa: E402
from support.system import wait_until  # noqa: E402

WRITERS, READERS = 20, 20
PAUSE = 0.04  # between the statements of one client
BEFORE, AFTER = 2.0, 4.0  # seconds of load before the fault, and after writes go on
GIVE_UP = 40.0
# Errors that say a statement did not happen.
DID_NOT_HAPPEN = {"40001", "25006", "53300", "57P03", "25P02"}
HEALTH = {"health_check_period": 1, "health_check_timeout": 2, "health_check_max_retries": 0, "connect_timeout": 2000}
CONF = """
wal_receiver_timeout = 2s
log_statement = none
max_connections = 200
"""


class Herd:
    """Three nodes and a proxy in front. cable: node 0 stands at one end of it, all the rest at the other."""

    def __init__(self, cable=None):
        self.cable = cable
        self.cluster = Cluster(nodes=3, conf=CONF + ("listen_addresses = '*'\n" if cable else ""))
        try:
            if cable:
                for node in self.cluster.nodes:
                    end = 0 if node.number == 0 else 1
                    node.prefix, node.host = cable.inside(end), cable.addresses[end]
            self.cluster.create().start()
            system.run([f"{system.ROOT}/scripts/install_extensions"], as_root=True)  # as oneself
            self.cluster.primary.psql("create extension pgpool_recovery", "template1")
            self.synchronous()
            self.proxy = Proxy(self.cluster, kind="herdgate", name="failover")
            self.proxy.settings.update({
                "failover_method": "builtin", "recovery_user": "postgres", "num_init_children": 100, "max_pool": 3, "sr_check_period": 1,
                "auto_failback": True, "auto_failback_interval": 1, **HEALTH})
            if cable:
                self.proxy.prefix = cable.inside(1)
                for node in self.cluster.nodes:
                    self.proxy.settings[f"backend_hostname{node.number}"] = node.host
            self.proxy.files["pcp.conf"] = "postgres:e8a48653851e28c69d0506508fb27fc5\n"  # postgres
            self.proxy.start()
            wait_until(lambda: self.roles().count("primary") == 1, "the proxy to know the primary")
        except BaseException:
            self.cluster.destroy()
            raise
        with self.connect() as c, c.cursor() as cursor:
            cursor.execute("create table told (writer int, number int)")

    def synchronous(self):
        """The primary waits for one of the others; nobody else waits for anybody."""
        for node in self.cluster.nodes:
            names = ", ".join(f"node{n.number}" for n in self.cluster.standbys)
            value = f"ANY 1 ({names})" if node is self.cluster.primary else ""
            node.psql(f"alter system set synchronous_standby_names = '{value}'", "postgres")
            node.psql("alter system set synchronous_commit = remote_apply", "postgres")
            node.psql("select pg_reload_conf()", "postgres")
        wait_until(lambda: self.cluster.primary.psql("select count(*) from pg_stat_replication where sync_state = 'quorum'")
                   == "2", "synchronous standbys")

    def connect(self):
        c = psycopg2.connect(host=self.proxy.folder, port=self.proxy.port, user="postgres", dbname="test")
        c.autocommit = True
        return c

    def rows(self, sql):
        with self.connect() as c, c.cursor() as cursor:
            cursor.execute(sql)
            return cursor.fetchall() if cursor.description else []

    def nodes(self):
        """(id, status, role) of each."""
        return [(int(row[0]), row[3], row[6]) for row in self.rows("show pool_nodes")]

    def roles(self):
        return [role for _, _, role in self.nodes()]

    def statuses(self):
        return [status for _, status, _ in self.nodes()]

    def primary(self):
        return next((node for node, status, role in self.nodes() if role == "primary" and status != "down"), None)

    def pcp(self, program, *args):
        tool = os.path.join(os.path.dirname(os.environ.get("HERDGATE_BINARY", f"{system.ROOT}/build/tools/pgpool")), "pcp_client")
        path = f"{self.proxy.folder}/{program}"
        if not os.path.exists(path):
            candidates = [tool, f"{system.ROOT}/build/tools/pcp_client/pcp_client", f"{system.ROOT}/build/tools/{program}",
                          f"{system.ROOT}/build/tools/pcp_client/{program}"]
            os.symlink(next(c for c in candidates if os.path.isfile(c)), path)
        passwords = f"{self.proxy.folder}/pcppass"
        with open(passwords, "w") as f:
            f.write("*:*:postgres:postgres\n")
        os.chmod(passwords, 0o600)
        return subprocess.run([path, "-h", self.proxy.folder, "-p", str(self.proxy.pcp_port), "-U", "postgres", "-w", *args],
                              env={**os.environ, "PCPPASSFILE": passwords}, capture_output=True, text=True, timeout=120)

    def end(self):
        try:
            self.proxy.stop()
        finally:
            self.proxy.remove()
            self.cluster.destroy()


class Client(threading.Thread):
    """One session that stays; whatever goes wrong is kept with its time."""

    def __init__(self, herd, number):
        super().__init__(daemon=True)
        self.herd, self.number, self.stopping = herd, number, False
        self.done, self.errors, self.dropped = [], [], 0
        self.connection = None

    def run(self):
        while not self.stopping:
            try:
                if self.connection is None:
                    self.connection = self.herd.connect()
                with self.connection.cursor() as cursor:
                    self.step(cursor)
                self.done.append(time.monotonic())
            except psycopg2.Error as e:
                self.failed(e)
            time.sleep(PAUSE)
        if self.connection is not None:
            self.connection.close()

    def failed(self, error):
        self.errors.append((time.monotonic(), error.pgcode, str(error).strip().splitlines()[0] if str(error) else ""))
        if self.connection is None or self.connection.closed:
            self.dropped += self.connection is not None
            self.connection = None
            return
        try:
            with self.connection.cursor() as cursor:
                cursor.execute("rollback")
        except psycopg2.Error:
            pass


class Writer(Client):
    def __init__(self, herd, number):
        super().__init__(herd, number)
        self.writes, self.next = Writes(), 0

    def step(self, cursor):
        self.next += 1
        number, asked_to_commit = self.next, False
        try:
            if self.number % 2:
                cursor.execute("begin")
                cursor.execute("insert into told values (%s, %s)", (self.number, number))
                asked_to_commit = True
                cursor.execute("commit")
                happened = cursor.statusmessage == "COMMIT"
            else:
                asked_to_commit = True
                cursor.execute("insert into told values (%s, %s)", (self.number, number))
                happened = True
        except psycopg2.Error as e:
            self.writes.tell(number, REFUSED if not asked_to_commit or e.pgcode in DID_NOT_HAPPEN else UNKNOWN)
            raise
        self.writes.tell(number, ACKNOWLEDGED if happened else REFUSED)


class Reader(Client):
    def step(self, cursor):
        cursor.execute("select count(*) from told where writer = %s", (self.number,))
        cursor.fetchall()


class Load:
    def __init__(self, herd):
        self.herd = herd
        self.writers = [Writer(herd, n) for n in range(WRITERS)]
        self.readers = [Reader(herd, n) for n in range(READERS)]
        for client in self.clients():
            client.start()
        try:
            wait_until(lambda: all(c.done for c in self.clients()), "every client to work")
        except system.Timeout as e:
            for c in self.clients():
                if not c.done:
                    print(f"    {type(c).__name__} {c.number} has not worked: {c.errors[:3]}", file=sys.stderr)
            raise RuntimeError(f"{e}; the proxy says: {herd.proxy.log()[-3000:]}") from e
        time.sleep(BEFORE)

    def clients(self):
        return self.writers + self.readers

    def written(self):
        return [t for w in self.writers for t in list(w.done)]

    def goes_on(self, moment):
        """Waits until every writer has written after `moment`, then lets the load go on for a while."""
        wait_until(lambda: all(w.done and w.done[-1] > moment for w in self.writers), "every writer to go on", GIVE_UP)
        time.sleep(AFTER)

    def end(self):
        """The number of clients that hang."""
        for client in self.clients():
            client.stopping = True
        until = time.monotonic() + GIVE_UP
        for client in self.clients():
            client.join(max(0, until - time.monotonic()))
        return sum(client.is_alive() for client in self.clients())

    def broken(self):
        rows = self.herd.rows("/*NO LOAD BALANCE*/ select writer, number from told")
        return [f"writer {w.number}: {sentence}" for w in self.writers
                for sentence in broken_promises(w.writes, [n for writer, n in rows if writer == w.number])]


def kill_primary(herd, _):
    os.kill(herd.cluster.nodes[0].pid(), 9)


def kill_standby(herd, _):
    herd.cluster.nodes[2].kill()


def freeze_primary(herd, _):
    herd.cluster.nodes[0].freeze()


def cut_primary(herd, _):
    herd.cable.cut()


def switchover(herd, load):
    answer = herd.pcp("pcp_promote_node", "--switchover", "-n", "1")
    if "Command Successful" not in answer.stdout:
        raise RuntimeError(f"pcp_promote_node: {answer.stdout}{answer.stderr}")
    wait_until(lambda: herd.primary() == 1, "node 1 to be the primary", GIVE_UP)


def back_again(herd):
    """The old primary wakes up, or its cable is mended: it must not be written to."""
    if herd.cable:
        herd.cable.mend()
    else:
        herd.cluster.nodes[0].thaw()
    load = Load(herd)
    load.end()
    assert herd.primary() != 0, "the old primary is used again"
    return load.broken()


SCENARIOS = {"kill-primary": (kill_primary, None), "kill-standby": (kill_standby, None),
             "freeze-primary": (freeze_primary, back_again), "cut-primary": (cut_primary, back_again),
             "switchover": (switchover, None)}


def one_run(name):
    """A fresh herd, the fault, and what came of it."""
    fault, afterwards = SCENARIOS[name]
    cable = netns.Cable() if name == "cut-primary" else None
    herd = None
    try:
        herd = Herd(cable)
        load = Load(herd)
        noticed = []
        watch = threading.Thread(target=lambda: noticed.append(notice(herd)), daemon=True)
        watch.start()
        moment = time.monotonic()
        fault(herd, load)
        load.goes_on(moment)
        hanging = load.end()
        now = time.monotonic()
        watch.join(1)
        result = {
            "pause": longest_gap(load.written(), moment, now),
            "longest read": max(longest_gap(r.done, moment, r.done[-1]) for r in load.readers),
            "noticed": noticed[0] - moment if noticed and noticed[0] else None,
            "dropped": sum(c.dropped for c in load.clients()), "hanging": hanging,
            "read errors": [e for r in load.readers for e in r.errors],
            "write errors": [e for w in load.writers for e in w.errors],
            "unknown": sum(len(w.writes.numbers(UNKNOWN)) for w in load.writers),
            "written": sum(len(w.writes.numbers(ACKNOWLEDGED)) for w in load.writers),
            "broken": load.broken(),
        }
        if afterwards:
            herd.rows("truncate told")
            result["broken"] += afterwards(herd)
        return result
    finally:
        if herd:
            herd.end()
        if cable:
            cable.remove()


def notice(herd):
    try:
        wait_until(lambda: "=== Starting degeneration" in herd.proxy.log(), "a failover", GIVE_UP)
        return time.monotonic()
    except system.Timeout:
        return None


def codes(errors):
    found = {}
    for _, code, _ in errors:
        found[code or "lost"] = found.get(code or "lost", 0) + 1
    return " ".join(f"{code}×{n}" for code, n in sorted(found.items())) or "–"


def show(name, results):
    def spread(key):
        values = [r[key] for r in results if r[key] is not None]
        return f"{statistics.median(values):.2f} / {max(values):.2f}" if values else "–"
    print(f"| {name} | {len(results)} | {spread('pause')} | {spread('longest read')} | {spread('noticed')} | "
          f"{sum(r['dropped'] for r in results)} | {codes([e for r in results for e in r['write errors']])} | "
          f"{codes([e for r in results for e in r['read errors']])} | {sum(r['unknown'] for r in results)} | "
          f"{sum(len(r['broken']) for r in results)} of {sum(r['written'] for r in results)} |", flush=True)
    for text in {e[2] for r in results for e in r["write errors"] + r["read errors"]}:
        print(f"    {text}", file=sys.stderr)
    for r in results:
        for sentence in r["broken"]:
            print(f"    BROKEN: {sentence}")
        if r["hanging"]:
            print(f"    {r['hanging']} clients hang")


def descriptors_and_memory(proxy):
    pid = proxy.process.pid
    with open(f"/proc/{pid}/status") as f:
        resident = next(int(line.split()[1]) for line in f if line.startswith("VmRSS"))
    return len(os.listdir(f"/proc/{pid}/fd")), resident


def soak(rounds):
    """Failovers and rejoins in a row, under load. The load's sessions are the same from beginning to end."""
    herd = Herd()
    broken = []
    try:
        load = Load(herd)
        first = None
        for number in range(1, rounds + 1):
            old = herd.cluster.primary
            old.kill()
            load.goes_on(time.monotonic())
            wait_until(lambda: herd.primary() is not None, "a primary")  # node 0 is one too
            herd.cluster.primary_number = promoted = herd.primary()
            old.rebuild(herd.cluster.primary)
            wait_until(lambda: set(herd.statuses()) == {"up"}, "all nodes to be up", 60)
            herd.synchronous()
            fds, resident = descriptors_and_memory(herd.proxy)
            first = first or (fds, resident)
            if number in (1, rounds) or number % 10 == 0:
                print(f"failover {number}: primary {promoted}, {fds} descriptors, {resident} kB resident", flush=True)
        hanging = load.end()
        broken = load.broken()
        dropped = sum(c.dropped for c in load.clients())
        print(f"soak: {rounds} failovers and rejoins, {dropped} sessions dropped, {hanging} hang, {len(broken)} promises broken; "
              f"descriptors {first[0]} → {fds}, resident {first[1]} → {resident} kB")
        for sentence in broken:
            print(f"    BROKEN: {sentence}")
    except system.Timeout:
        print(herd.proxy.log()[-4000:], file=sys.stderr)
        raise
    finally:
        herd.end()
    return broken


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--runs", type=int, default=10)
    p.add_argument("--only", action="append", default=[], choices=list(SCENARIOS))
    p.add_argument("--soak", type=int, default=0, metavar="N")
    args = p.parse_args()
    broken = 0
    if args.soak:
        broken += len(soak(args.soak))
    else:
        print("| scenario | runs | writes pause, median / most s | a read waits | noticed after | sessions dropped | errors of writers | "
              "of readers | outcome unknown | promises broken |")
        print("|---|--:|--:|--:|--:|--:|---|---|--:|--:|")
        for name in args.only or SCENARIOS:
            if name == "cut-primary" and not netns.available():
                print(f"left out: {name}: no network namespaces here")
                continue
            results = [one_run(name) for _ in range(args.runs)]
            show(name, results)
            broken += sum(len(r["broken"]) + r["hanging"] for r in results)
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
