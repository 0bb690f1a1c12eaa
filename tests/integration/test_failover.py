"""Servers die, hang and come back: health checks, failover by commands, the status file. Each case ends with "and it
recovers". Every case has a cluster and a proxy of its own, because it breaks them.
"""
import os
import signal
import socket
import time
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest
from support import system
from support.cluster import Cluster
from support.proxy import Proxy
from support.system import wait_until

pytestmark = pytest.mark.herdgate_only

# Promotes the new main node when it was the primary that died, and says what it was given.
FAILOVER = """#!/bin/sh
echo "failover d=$1 h=$2 p=$3 D=$4 m=$5 H=$6 M=$7 P=$8 r=$9 R=${10} N=${11} S=${12} percent=${13}"
[ "$1" = "$8" ] || exit 0
[ "$5" != -1 ] || exit 3
exec PSQL -X -q -At -h "$6" -p "$9" -U postgres -d postgres -c "select pg_promote(true, 30)"
"""
FAILOVER_CALL = "%d %h %p %D %m %H %M %P %r %R %N %S %%"


class Herd:
    """Three servers and a proxy with a failover_command that promotes."""
    conf = ""
    nodes = 3

    def __init__(self, **parameters):
        self.cluster = Cluster(nodes=self.nodes, conf=self.conf).create().start()
        self.proxy = Proxy(self.cluster)
        self.folder = system.scratch("scripts")
        self.script("failover.sh", FAILOVER.replace("PSQL", f"{self.cluster.bin}/psql"))
        self.proxy.settings.update({
            "failover_command": f"{self.folder}/failover.sh {FAILOVER_CALL}",
            "health_check_period": 1, "health_check_timeout": 2, "health_check_max_retries": 0,
            "sr_check_period": 1, "connect_timeout": 2000, "load_balance_mode": True, **parameters})

    def script(self, name, text):
        path = f"{self.folder}/{name}"
        with open(path, "w") as f:
            f.write(text)
        os.chmod(path, 0o755)
        system.give(path)
        return path

    def start(self):
        self.proxy.start()
        self.wait_for(primary=0, down=())
        return self

    def end(self):
        try:
            self.proxy.stop()
        finally:
            self.proxy.remove()
            self.cluster.destroy()

    def show(self, what="pool_nodes"):
        with self.proxy.connect(dbname="postgres") as c:
            cursor = c.execute(f"show {what}")
            names = [d.name for d in cursor.description]
            return [dict(zip(names, row)) for row in cursor]

    def state(self):
        nodes = self.show()
        return (next((int(n["node_id"]) for n in nodes if n["role"] == "primary"), None),
                tuple(int(n["node_id"]) for n in nodes if n["status"] == "down"),
                tuple(int(n["node_id"]) for n in nodes if n["pg_role"] == "primary"))

    def wait_for(self, primary, down, seconds=60):
        def reached():
            try:
                return self.state() == (primary, tuple(down), (primary,))
            except psycopg.Error:
                return False
        wait_until(reached, f"primary {primary}, down {down}", seconds)

    def write(self):
        """The number of rows there are now. Standbys that follow have them too: what is killed next loses none."""
        with self.proxy.connect() as c:
            c.execute("create table if not exists t (a int)")
            c.execute("insert into t values (1)")
            lsn = c.execute("/*NO LOAD BALANCE*/ select pg_current_wal_lsn()").fetchone()[0]
            wait_until(lambda: c.execute("/*NO LOAD BALANCE*/ select coalesce(bool_and(coalesce(flush_lsn >= %s, false)), true) "
                                         "from pg_stat_replication", (lsn,)).fetchone()[0],
                       "the standbys to have what was written")
            return c.execute("/*NO LOAD BALANCE*/ select count(*) from t").fetchone()[0]

    def request_file(self):
        return open(f"{self.proxy.folder}/pgpool_status").read()


@pytest.fixture
def herd():
    made = []

    def make(**parameters):
        made.append(Herd(**parameters))
        return made[-1]
    yield make
    for h in made:
        h.end()


def test_kill_of_the_primary(herd):
    h = herd().start()
    h.write()
    h.cluster.nodes[0].kill()
    h.wait_for(primary=1, down=(0,), seconds=30)
    n = h.cluster.nodes
    wait_until(lambda: "=== Failover done." in h.proxy.log(), "its end in the log")
    log = h.proxy.log()
    host = "127.0.0.1"
    assert (f"failover_command: failover d=0 h={host} p={n[0].port} D={n[0].data} m=1 H={host} M=0 P=0 r={n[1].port} "
            f"R={n[1].data} N={host} S={n[0].port} percent=%") in log
    assert "failover_command for node 0 ended with exit code 0" in log
    assert log.count("=== Starting degeneration.") == 1
    assert "failover: set new primary node: 1" in log
    wait_until(lambda: h.request_file() == "down\nup\nup\n", "the status file")
    # And it recovers: writes go to the new primary; the old one comes back as its standby and is attached.
    assert h.write() >= 1
    h.cluster.nodes[0].rebuild(h.cluster.nodes[1])
    assert h.state()[1] == (0,), "nobody attaches it by itself"
    assert h.write() >= 2
    # A proxy that starts now knows the primary before it lets the first client in.
    h.proxy.stop()
    h.proxy.start()
    assert h.write() >= 3
    h.wait_for(primary=1, down=())


def limited(descriptors):
    """What a command line begins with to have so many file descriptors, as the server user."""
    user = system.SERVER_USER
    drop = ["setpriv", f"--reuid={user}", f"--regid={user}", "--init-groups"] if os.getuid() == 0 else []
    return ["prlimit", f"--nofile={descriptors}:{descriptors}", *drop]


def flood(proxy, sockets):
    """Connections that say nothing, until the proxy takes no more. A few at a time: the kernel drops what comes too fast."""
    def more():
        for _ in range(10):
            s = socket.socket()
            s.setblocking(False)
            s.connect_ex(("127.0.0.1", proxy.port))
            sockets.append(s)
        assert len(sockets) < 900  # or it is we who have no more descriptors
        return "new clients wait" in proxy.log()
    wait_until(more, "the flood to be noticed", poll=0.05)


def test_a_flood_before_login_stops_neither_writes_nor_the_failover(herd):
    h = herd(num_init_children=8, pool_mode="transaction")
    h.proxy.prefix = limited(400)
    h.start()
    h.write()
    sessions = [h.proxy.connect() for _ in range(6)]
    silent = []
    try:
        flood(h.proxy, silent)
        for c in sessions:  # each needs a connection to the primary of its own, and most have to be made
            c.execute("begin")
            c.execute("insert into t values (2)")
        for c in sessions:
            c.execute("commit")
        assert "=== Starting degeneration." not in h.proxy.log()
        h.cluster.nodes[0].kill()
        wait_until(lambda: "failover_command for node 0 ended with exit code 0" in h.proxy.log(), "the failover")

        def writes():
            try:
                return sessions[0].execute("insert into t values (3)").rowcount == 1
            except psycopg.Error:
                return False
        wait_until(writes, "a write on the new primary")
        assert h.proxy.log().count("new clients wait") <= 3  # a listener each, once a minute
    finally:
        for s in [*silent, *sessions]:
            s.close()
    # And it recovers.
    h.wait_for(primary=1, down=(0,))
    h.write()


def test_a_primary_that_nothing_takes_down_gives_way_to_one_promoted_since(herd):
    """As where another tool does the failover."""
    h = herd(health_check_period=0, failover_on_backend_error=False, failover_command="").start()
    h.write()
    n = h.cluster.nodes
    n[0].kill()
    wait_until(lambda: "node 0 does not answer" in h.proxy.log(), "its silence to be noticed")
    n[1].promote()
    h.wait_for(primary=1, down=())
    assert h.write() >= 2
    # And it recovers: the old one comes back as a standby of it, and is used without being attached.
    n[0].rebuild(n[1])
    wait_until(lambda: {r["node_id"]: r["pg_role"] for r in h.show()}["0"] == "standby", "the old primary to be a standby")
    h.wait_for(primary=1, down=())


def test_kill_of_a_standby(herd):
    h = herd(auto_failback=True, auto_failback_interval=1).start()
    with h.proxy.connect() as c:
        h.cluster.nodes[2].kill()
        h.wait_for(primary=0, down=(2,))
        assert c.execute("select 1").fetchone() == (1,)
    wait_until(lambda: "failover d=2" in h.proxy.log(), "the log to say so")
    wait_until(lambda: h.request_file() == "up\nup\ndown\n", "the status file")
    # And it recovers: it streams again, so auto_failback attaches it.
    h.cluster.nodes[2].start()
    h.wait_for(primary=0, down=())
    wait_until(lambda: "request auto failback, node id:2" in h.proxy.log(), "the log to say so")
    wait_until(lambda: h.request_file() == "up\nup\nup\n", "the status file")


@pytest.mark.parametrize("retries", [0, 1])
def test_frozen_primary_is_noticed_in_time(herd, retries):
    h = herd(health_check_max_retries=retries, health_check_retry_delay=1, failover_on_backend_error=False).start()
    bound = 1 + 2 * (retries + 1) + 1 * retries + 1
    h.write()
    h.cluster.nodes[0].freeze()
    began = time.monotonic()
    wait_until(lambda: "=== Starting degeneration." in h.proxy.log(), "the frozen server to be noticed")
    took = time.monotonic() - began
    assert took <= bound + 3, f"noticed after {took:.1f} s, the bound is {bound} s"
    h.wait_for(primary=1, down=(0,))
    assert h.write() >= 1
    # And it recovers: awake again it is not used.
    h.cluster.nodes[0].thaw()
    assert h.write() >= 2
    assert h.state() == (1, (0,), (1,))
    stats = {s["node_id"]: s for s in h.show("pool_health_check_stats")}
    assert int(stats["0"]["fail_count"]) == 1 and int(stats["0"]["max_retry_count"]) == retries
    assert int(stats["1"]["success_count"]) >= 2 and int(stats["1"]["fail_count"]) == 0


def test_a_login_whose_verifier_a_frozen_primary_was_asked_for_asks_the_next_one(herd):
    h = herd(failover_on_backend_error=False, enable_pool_hba=True, auth_query_user="postgres", auth_query_database="postgres",
             auth_query="select rolpassword from pg_authid where rolname = $1")
    h.proxy.files = {"pool_hba.conf": "host all scram_user all scram-sha-256\nhost all all all trust\n",
                     "pool_passwd": "test:TEXTtest\npostgres:TEXTpostgres\n"}
    h.start()
    h.write()
    h.cluster.nodes[0].freeze()
    with ThreadPoolExecutor(1) as pool:
        login = pool.submit(h.proxy.connect, user="scram_user", password="scram_user")
        h.wait_for(primary=1, down=(0,))
        login.result(8).close()  # less than a query may take
    h.cluster.nodes[0].thaw()
    # And it recovers.
    h.proxy.connect(user="scram_user", password="scram_user").close()
    assert h.write() >= 2


def test_frozen_standby_delays_no_other_check(herd):
    h = herd(health_check_timeout=60, connect_timeout=0).start()
    h.cluster.nodes[2].freeze()
    count = int(h.show("pool_health_check_stats")[1]["success_count"])
    wait_until(lambda: int(h.show("pool_health_check_stats")[1]["success_count"]) >= count + 3, "other checks")
    h.cluster.nodes[2].thaw()
    h.wait_for(primary=0, down=())


def test_flapping_standby_stays_down(herd):
    h = herd().start()
    h.cluster.nodes[1].kill()
    h.wait_for(primary=0, down=(1,))
    for _ in range(2):
        h.cluster.nodes[1].start()
        h.cluster.nodes[1].kill()
    h.cluster.nodes[1].start()
    wait_until(lambda: "failover d=1" in h.proxy.log(), "the log to say so")
    log = h.proxy.log()
    assert log.count("=== Starting degeneration.") == 1 and log.count("failover d=1") == 1
    assert h.state()[1] == (1,)
    # And it recovers: with -D the next start knows nothing of it.
    h.proxy.stop()
    h.proxy.start()
    h.wait_for(primary=0, down=())


def test_status_file_and_discard(herd):
    h = herd().start()
    h.cluster.nodes[2].kill()
    h.wait_for(primary=0, down=(2,))
    h.proxy.stop()
    h.cluster.nodes[2].start()
    h.proxy.discard = False
    h.proxy.start()
    h.wait_for(primary=0, down=(2,))
    wait_until(lambda: "node 2 is down in the status file" in h.proxy.log(), "the log to say so")
    h.proxy.stop()
    h.proxy.discard = True
    h.proxy.start()
    h.wait_for(primary=0, down=())


def test_all_nodes_down_and_back(herd):
    h = herd(failover_command="").start()
    h.write()
    for node in reversed(h.cluster.nodes):
        node.kill()
    wait_until(lambda: "failover: no valid backend node found" in h.proxy.log(), "all nodes to be down")
    for node in h.cluster.nodes:
        node.start()
    h.wait_for(primary=0, down=())
    assert h.write() >= 2


def test_failover_command_that_fails_and_one_that_hangs(herd):
    h = herd(failover_command_timeout=1, search_primary_node_timeout=1)
    h.proxy.settings["failover_command"] = f"{h.folder}/hangs.sh %d"
    h.script("hangs.sh", "#!/bin/sh\necho begun\n[ $1 = 2 ] && exit 9\nexec sleep 600\n")
    h.start()
    h.cluster.nodes[2].kill()
    wait_until(lambda: "failover_command for node 2 failed" in h.proxy.log(), "its exit code")
    wait_until(lambda: "exit code 9." in h.proxy.log(), "the log to say so")
    h.cluster.nodes[1].kill()
    wait_until(lambda: "took longer than its limit and was ended." in h.proxy.log(), "the limit")
    h.wait_for(primary=0, down=(1, 2))
    assert h.write() >= 1


def test_primary_and_standby_die_together(herd):
    h = herd().start()
    h.write()
    for number in (0, 1):
        os.kill(h.cluster.nodes[number].pid(), signal.SIGKILL)
    h.wait_for(primary=2, down=(0, 1))
    assert h.write() >= 1


def test_follow_primary_command(herd):
    h = herd(failback_command="echo back d=%d m=%m P=%P")
    h.proxy.settings["follow_primary_command"] = f"{h.folder}/follow.sh %d %h %p %m %H %r %M %P"
    h.script("follow.sh", "#!/bin/sh\necho \"follow $*\"\n")
    h.start()
    h.cluster.nodes[0].kill()
    h.wait_for(primary=1, down=(0, 2))
    n = h.cluster.nodes
    wait_until(lambda: "=== Follow primary command for node 2 ended ===" in h.proxy.log(), "both to follow")
    log = h.proxy.log()
    assert f"follow_primary_command: follow 0 127.0.0.1 {n[0].port} 1 127.0.0.1 {n[1].port} 0 0" in log
    assert f"follow_primary_command: follow 2 127.0.0.1 {n[2].port} 1 127.0.0.1 {n[1].port} 0 0" in log
    assert h.write() >= 1


@pytest.mark.parametrize("enabled", [False, True])
def test_backend_shutdown(herd, enabled):
    """pg_terminate_backend is no shutdown, whatever the parameter says; a real one is noticed by what the server says."""
    h = herd(failover_on_backend_error=False, failover_on_backend_shutdown=enabled, health_check_period=0,
             backend_weight0=0).start()
    with h.proxy.connect() as c:
        assert c.execute("select 1").fetchone() == (1,)
        for node in h.cluster.nodes:
            node.psql("select pg_terminate_backend(pid) from pg_stat_activity "
                      "where backend_type = 'client backend' and pid <> pg_backend_pid()")
    h.wait_for(primary=0, down=())
    with h.proxy.connect() as held:
        held.execute("select 1")
        h.cluster.nodes[1].stop()
        h.cluster.nodes[2].stop()
        if enabled:
            wait_until(lambda: "=== Failover done. shutdown host" in h.proxy.log(), "the shutdown to be noticed")
    if not enabled:
        wait_until(lambda: "does not answer" in h.proxy.log(), "the complaint")
        assert "=== Starting degeneration." not in h.proxy.log()
    for node in h.cluster.standbys:
        node.start()
    # And it recovers: the primary served all the time.
    assert h.write() >= 1
