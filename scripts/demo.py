#!/usr/bin/python3
"""./dev up and ./dev down: a primary, two streaming standbys, and pgpool in front of them, under .demo/ or HERDGATE_DEMO_DIR."""
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "tests"))
from support import system  # noqa: E402
from support.cluster import Cluster  # noqa: E402
from support.proxy import Proxy  # noqa: E402

DEMO = os.path.abspath(os.environ.get("HERDGATE_DEMO_DIR") or os.path.join(system.ROOT, ".demo"))
FIRST_PORT, FIRST_HTTP_PORT, FIRST_SERVER_PORT = 9999, 10080, 11002
FOLLOW_SECONDS = 15
# A primary that dies is replaced by one of the standbys, which needs no script.
HEALTH = {"health_check_period": 2, "health_check_timeout": 5, "failover_method": "builtin",
          "recovery_user": "postgres", "recovery_1st_stage_command": "recovery_1st_stage"}
CONF = "wal_receiver_timeout = 5s"


def home():
    """The demo's folder; elsewhere when the server user cannot reach the tree (a clone under /root)."""
    if os.path.islink(DEMO) or os.path.isdir(DEMO):
        return os.path.realpath(DEMO)
    os.makedirs(DEMO)
    os.chmod(DEMO, 0o755)
    system.give(DEMO)
    reachable = subprocess.run(["test", "-w", DEMO], cwd="/", **system.run_as()).returncode == 0
    # A socket's path may have 107 octets.
    if reachable and len(DEMO) < 80:
        return DEMO
    os.rmdir(DEMO)
    elsewhere = system.scratch_in("/var/tmp", "demo")
    os.symlink(elsewhere, DEMO)
    return elsewhere


def load():
    try:
        with open(f"{DEMO}/demo.json") as f:
            return json.load(f)
    except OSError:
        return None


def cluster_of(about):
    return Cluster(folder=os.path.realpath(DEMO), ports=about["servers"], nodes=len(about["servers"]),
                   conf=CONF)


def pgpool_pid(about):
    """The running proxy's pid, or 0: the pid file counts only while that process runs our copy of the program."""
    try:
        with open(f"{about['folder']}/pgpool/pgpool.pid") as f:
            pid = int(f.read().strip(" \n\0"))
        return pid if os.readlink(f"/proc/{pid}/exe").startswith(about["folder"]) else 0
    except (OSError, ValueError):
        return 0


def stop_pgpool(about):
    pid = pgpool_pid(about)
    if pid:
        os.kill(pid, signal.SIGINT)
        system.wait_until(lambda: not system.alive(pid), "pgpool to stop", 30)


def start_servers(folder):
    about = load()
    if about is None:
        about = {"folder": folder, "servers": system.free_ports(3, first=FIRST_SERVER_PORT)}
        cluster = cluster_of(about).create()
        with open(f"{folder}/demo.json", "w") as f:
            json.dump(about, f)
    cluster = cluster_of(about)
    running = [bool(n.pid()) for n in cluster.nodes]
    primaries = [n for n in cluster.nodes if not n.is_standby()]
    if all(running) and len(primaries) == 1:
        cluster.primary_number = primaries[0].number
        all_follow(cluster)
        return about, cluster
    for node, up in zip(cluster.nodes, running):
        if not up and not system.port_is_free(node.port):
            sys.exit(f"port {node.port} is taken by another program; ./dev down, remove {DEMO} and try again")
    for node in cluster.nodes:
        node.stop()
    if os.path.exists(f"{cluster.folder}/created"):
        after_failover(cluster)
        for node in [cluster.primary, *cluster.standbys]:
            if not node.pid():
                node.start(wait=node is cluster.primary)
        all_follow(cluster)
    else:
        cluster.start()
    return about, cluster


def all_follow(cluster):
    """What was away while another node became the primary does not follow it, and what it has may not be the primary's."""
    def missing():
        rows = cluster.primary.psql("select application_name from pg_stat_replication where state = 'streaming'", "postgres")
        return [n for n in cluster.standbys if f"node{n.number}" not in rows.split()]
    try:
        system.wait_until(lambda: not missing(), "all standbys to stream", FOLLOW_SECONDS)
    except system.Timeout:
        for node in missing():
            print(f"node {node.number} does not follow node {cluster.primary_number}; it is made a standby anew")
            node.rebuild(cluster.primary)
        cluster.wait_streaming()
    for node in cluster.standbys:
        node.wait_ready()


def after_failover(cluster):
    """When another node has become the primary, those that were one before it are made standbys anew."""
    primaries = [n for n in cluster.nodes if not n.is_standby()]
    if not primaries:
        sys.exit(f"all nodes are standbys; ./dev down, remove {DEMO} and try again")
    primary = max(primaries, key=lambda n: n.timeline())
    cluster.primary_number = primary.number
    if len(primaries) == 1:
        return
    primary.start()
    for node in primaries:
        if node is not primary:
            print(f"node {node.number} was the primary before; it is made a standby of node {primary.number}")
            node.rebuild(primary)
            node.stop()
    primary.stop()


def start_pgpool(about, cluster):
    stop_pgpool(about)
    folder = f"{about['folder']}/pgpool"
    shutil.rmtree(folder, ignore_errors=True)
    os.mkdir(folder)
    os.chmod(folder, 0o755)
    system.give(folder)
    proxy = Proxy(cluster, kind="herdgate", port=FIRST_PORT, folder=folder)
    if proxy.port != FIRST_PORT:
        print(f"port {FIRST_PORT} or the one after it is taken by another program; pgpool gets {proxy.port}")
    # Statement by statement, so that one psql session shows the reads going round.
    proxy.settings.update({"statement_level_load_balance": True, "listen_addresses": "localhost",
                           "http_port": system.free_ports(1, first=FIRST_HTTP_PORT)[0], **HEALTH})
    proxy.files["pcp.conf"] = f"demo:{hashlib.md5(b'demo').hexdigest()}\n"
    passes = f"{folder}/pcppass"
    with open(passes, "w") as f:
        f.write("*:*:demo:demo\n")
    os.chmod(passes, 0o600)
    proxy.start()
    return proxy


def extension(cluster):
    """What online recovery and switchover need in the servers; the demo goes on without it."""
    done = subprocess.run([os.path.join(system.ROOT, "scripts", "install_extensions"), "--if-possible"],
                          capture_output=True, text=True)
    print(done.stderr, end="")
    there = cluster.primary.psql("select count(*) from pg_available_extensions where name = 'pgpool_recovery'")
    if there != "1":
        return
    cluster.primary.psql("create extension if not exists pgpool_recovery", "template1")
    for node in cluster.nodes:
        for name in ("recovery_1st_stage", "recovery_basebackup", "pgpool_remote_start"):
            path = f"{node.data}/{name}"
            shutil.copy(os.path.join(system.ROOT, "etc", f"{name}.sample"), path)
            os.chmod(path, 0o700)
            system.give(path)


def show(proxy, cluster):
    names = {n.port: f"node {n.number} ({'primary' if n is cluster.primary else 'standby'}, port {n.port})"
             for n in cluster.nodes}
    with proxy.connect() as c:
        c.execute("create table if not exists herd (id int generated always as identity, seen timestamptz)")
        row = c.execute("insert into herd (seen) values (now()) returning id, inet_server_port()").fetchone()
        print(f"  insert into herd … returning id → {row[0]}  served by {names[row[1]]}")
        for _ in range(6):
            # Not pg_is_in_recovery(): that function is volatile, and a read with one goes to the primary.
            port, recovery = c.execute("select inet_server_port(), current_setting('in_hot_standby')").fetchone()
            print(f"  select …                          served by {names[port]}")
            if recovery != ("off" if port == cluster.primary.port else "on"):
                sys.exit("a node is not in the role it should have")


def up():
    folder = home()
    print("starting one primary and two standbys")
    about, cluster = start_servers(folder)
    extension(cluster)
    print("starting pgpool")
    proxy = start_pgpool(about, cluster)
    show(proxy, cluster)
    print(f"""
It runs:  psql -h 127.0.0.1 -p {proxy.port} -U postgres test
Try:      show pool_nodes;   kill -9 the primary: its pid is the first line of {cluster.primary.data}/postmaster.pid
Figures:  http://127.0.0.1:{proxy.settings['http_port']}/metrics, /healthz, /readyz, /api/state
Files:    {about['folder']}/pgpool (pgpool.conf, log), {about['folder']}/data0, data1, data2
PCP:      PCPPASSFILE={about['folder']}/pgpool/pcppass build/tools/pcp_recovery_node -w -h 127.0.0.1 -p {proxy.pcp_port} -U demo -n 2
          makes a node that is down a standby again (user and password: demo)
Stop:     ./dev down""")


def down():
    about = load()
    if about is None:
        print("nothing runs")
        return
    stop_pgpool(about)
    cluster_of(about).stop()
    print("stopped")


try:
    {"up": up, "down": down}[sys.argv[1]]()
except system.Timeout as e:
    sys.exit(f"{e}\n./dev down, remove {DEMO} and try again")
