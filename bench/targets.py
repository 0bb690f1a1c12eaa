"""What bench/run.py compares: direct access, Herdgate, PgBouncer and Pgpool-II, each ready to take clients."""
import os
import shutil
import signal

from support import system
from support.memcached import Memcached
from support.proxy import Proxy

LINKS = 20  # server links in the transaction modes
MOST_CLIENTS = 220  # in the session modes


class Target:
    """name: as in the table. port: where clients go. pids(): the processes whose CPU and memory count."""

    def __init__(self, name, port):
        self.name, self.port = name, port

    def start(self):
        return self

    def pids(self):
        return []

    def stop(self):
        pass


class ProxyTarget(Target):
    """Herdgate or the original, in front of all three nodes, with routing and balancing on."""

    def __init__(self, name, cluster, kind, parameters):
        self.proxy = Proxy(cluster, kind=kind, name="bench")
        self.proxy.settings.pop("num_workers", None)  # as many as it takes by itself
        self.proxy.settings.update({"num_init_children": MOST_CLIENTS, "max_pool": 1, "sr_check_period": 10,
                                    "log_min_messages": "warning", **parameters})
        super().__init__(name, self.proxy.port)

    def start(self):
        self.proxy.start()
        return self

    def pids(self):
        return self.proxy.pids()

    def stop(self):
        if self.proxy.process is not None:
            os.kill(self.proxy.process.pid, signal.SIGINT)
            self.proxy.process.wait(30)
            self.proxy.process = None
        self.proxy.remove()


class PgBouncer(Target):
    """PgBouncer 1.24 of scripts/fetch_trixie, in front of the primary."""

    def __init__(self, name, cluster, mode):
        super().__init__(name, system.free_ports(1)[0])
        self.folder = system.scratch_in(f"{system.TRIXIE}/tmp", "bouncer")
        self.inner = self.folder[len(system.TRIXIE):]
        size = LINKS if mode == "transaction" else MOST_CLIENTS
        self.write("users.txt", '"postgres" ""\n')
        self.write("pgbouncer.ini", f"""
[databases]
* = host=127.0.0.1 port={cluster.primary.port}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {self.port}
unix_socket_dir =
auth_type = trust
auth_file = {self.inner}/users.txt
pool_mode = {mode}
default_pool_size = {size}
max_client_conn = 6000
max_prepared_statements = 200
ignore_startup_parameters = extra_float_digits
log_connections = 0
log_disconnections = 0
""")
        self.process = None

    def write(self, name, text):
        with open(f"{self.folder}/{name}", "w") as f:
            f.write(text)
        system.give(f"{self.folder}/{name}")

    def start(self):
        self.process = system.start([system.IN_TRIXIE, "/usr/sbin/pgbouncer", f"{self.inner}/pgbouncer.ini"],
                                    f"{self.folder}/log", as_root=True)
        system.wait_until(lambda: system.can_connect(self.port), "pgbouncer to listen")
        return self

    def pids(self):
        return system.family(self.process.pid)

    def stop(self):
        if self.process is not None:
            self.process.send_signal(signal.SIGINT)
            try:
                self.process.wait(5)
            except Exception:
                self.process.kill()
                self.process.wait()
            self.process = None
        shutil.rmtree(self.folder, ignore_errors=True)


def herdgate(name, cluster, clients=MOST_CLIENTS):
    """herdgate-MODE balances reads over the three nodes; herdgate-MODE-primary routes as well, but the standbys have no
    weight, so that the servers' work is the same as behind PgBouncer: they share the two cores with all the rest.
    With -epoll at the end without io_uring."""
    _, mode, *where = name.split("-")
    parameters = {"pool_mode": mode, "num_init_children": clients}
    if mode == "transaction":
        parameters["pool_size"] = LINKS
    if "primary" in where:
        parameters |= {"backend_weight1": 0, "backend_weight2": 0}
    if "epoll" in where:
        parameters["io_method"] = "epoll"
    return ProxyTarget(name, cluster, "herdgate", parameters)


class RemoteCacheTarget(ProxyTarget):
    """One that keeps its answers in a memcached of its own, whose CPU time is counted with the proxy's."""

    def __init__(self, name, cluster, kind, parameters):
        self.memcached = Memcached()
        super().__init__(name, cluster, kind, {**parameters, **self.memcached.settings()})

    def start(self):
        self.memcached.start()
        return super().start()

    def pids(self):
        return super().pids() + system.family(self.memcached.process.pid)

    def stop(self):
        super().stop()
        self.memcached.remove()


def cache(name, cluster, clients):
    """Herdgate or the original with its query cache, or without: the reads are those of the primary."""
    kind, _, where = name.partition("-cache")
    parameters = {"num_init_children": clients, "load_balance_mode": False, "memory_cache_enabled": where != "-off"}
    target = (RemoteCacheTarget if where == "-memcached" else ProxyTarget)(name, cluster, kind, parameters)
    target.proxy.settings["memqcache_oiddir"] = f"{target.proxy.inner}/oiddir"
    os.mkdir(f"{target.proxy.folder}/oiddir")
    system.give(f"{target.proxy.folder}/oiddir")
    return target


def make(name, cluster, clients=MOST_CLIENTS):
    """NAME@FILE is NAME with another pgpool of ours than the one just built."""
    name, _, binary = name.partition("@")
    target = make_of(name, cluster, clients)
    if binary:
        target.name, target.proxy.binary = f"{name}@{binary}", binary
    return target


def make_of(name, cluster, clients):
    kind, _, mode = name.partition("-")
    if kind == "direct":
        return Target("direct", cluster.primary.port)
    if mode.startswith("cache"):
        return cache(name, cluster, clients)
    if kind == "herdgate":
        return herdgate(name, cluster, clients)
    if kind == "pgbouncer":
        return PgBouncer(name, cluster, mode)
    if kind == "pgpool":
        return ProxyTarget("pgpool", cluster, "pgpool", {"num_init_children": clients})
    raise ValueError(name)


NAMES = ("direct", "herdgate-session", "herdgate-session-primary", "herdgate-transaction", "herdgate-transaction-primary",
         "herdgate-session-primary-epoll", "herdgate-transaction-primary-epoll", "pgbouncer-session", "pgbouncer-transaction",
         "pgpool")
# Like mode against like mode.
RIVALS = (("herdgate-session", "pgbouncer-session"), ("herdgate-session-primary", "pgbouncer-session"),
          ("herdgate-transaction", "pgbouncer-transaction"), ("herdgate-transaction-primary", "pgbouncer-transaction"),
          ("herdgate-session", "pgpool"), ("herdgate-session-primary", "herdgate-session-primary-epoll"),
          ("herdgate-session-primary-epoll", "pgbouncer-session"),
          ("herdgate-transaction-primary", "herdgate-transaction-primary-epoll"))


def rivals_of(names, rivals):
    """The pairs of `rivals`, and those of the other builds in `names`: with the same rivals, and the new one over them."""
    others = [(name, name.partition("@")[0]) for name in names if "@" in name]
    return [*rivals, *((name, theirs) for name, base in others for ours, theirs in rivals if ours == base),
            *((base, name) for name, base in others)]


# The query cache. The pairs with -off say what it costs where nothing is found in it.
CACHE_NAMES = ("direct", "herdgate-cache", "herdgate-cache-off", "pgpool-cache", "herdgate-cache-memcached",
               "pgpool-cache-memcached")
CACHE_RIVALS = (("herdgate-cache", "direct"), ("herdgate-cache", "pgpool-cache"), ("herdgate-cache", "herdgate-cache-off"),
                ("herdgate-cache-memcached", "direct"), ("herdgate-cache-memcached", "herdgate-cache"),
                ("herdgate-cache-memcached", "pgpool-cache-memcached"),
                ("herdgate-cache-memcached", "herdgate-cache-off"))
