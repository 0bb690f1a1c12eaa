"""Starts the server under test in front of a cluster and watches over it.

HERDGATE_UNDER_TEST says which: herdgate (default; build/tools/pgpool or HERDGATE_BINARY), pgpool (the original from
.cache/trixie, see scripts/fetch_trixie), or direct (no proxy: the primary itself, for proving the tests).
"""
import os
import shutil
import signal
import subprocess
import weakref

import psycopg

from . import system
from .system import wait_until

UNDER_TEST = os.environ.get("HERDGATE_UNDER_TEST", "herdgate")
TROUBLE = ("ERROR: AddressSanitizer", "ERROR: LeakSanitizer", "runtime error:", "WARNING: ThreadSanitizer",
           "HG_ASSERT", "terminate called", "stack smashing")


def herdgate_binary():
    return os.environ.get("HERDGATE_BINARY") or os.path.join(system.ROOT, "build", "tools", "pgpool")


def conf_value(value):
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, (int, float)):
        return str(value)
    return "'" + str(value).replace("'", "\\'") + "'"


class Proxy:
    """One running proxy. Its folder has pgpool.conf, pool_hba.conf, pool_passwd, pcp.conf, the sockets and the log."""

    made = weakref.WeakSet()

    @classmethod
    def live(cls):
        return [p for p in cls.made if p.process is not None]

    def __init__(self, cluster, kind=UNDER_TEST, port=None, name="proxy", folder=None):
        Proxy.made.add(self)
        self.cluster, self.kind, self.name = cluster, kind, name
        self.process = None
        self.given = folder
        ports = system.free_ports(2, first=port)
        self.port, self.pcp_port = ports
        self.make_folder()
        self.files = {"pool_hba.conf": "local all all trust\nhost all all 0.0.0.0/0 trust\nhost all all ::/0 trust\n",
                      "pool_passwd": "", "pcp.conf": ""}
        self.settings = self.defaults()
        self.environment = {}
        self.binary = herdgate_binary()
        self.prefix = []  # of its command line: where it runs, see netns.py
        self.discard = True  # start with -D

    def make_folder(self):
        """The original lives in a chroot: what it must see lies in there, and it knows it by a shorter name."""
        if self.kind == "pgpool":
            self.folder = system.scratch_in(f"{system.TRIXIE}/tmp", self.name)
            self.inner = self.folder[len(system.TRIXIE):]
        else:
            self.folder = self.inner = self.given or system.scratch(self.name)

    def defaults(self):
        s = {
            "backend_clustering_mode": "streaming_replication",
            "listen_addresses": "127.0.0.1", "port": self.port,
            "pcp_listen_addresses": "127.0.0.1", "pcp_port": self.pcp_port,
            "unix_socket_directories": self.inner, "pcp_socket_dir": self.inner, "wd_ipc_socket_dir": self.inner,
            "pid_file_name": f"{self.inner}/pgpool.pid", "logdir": self.inner,
            "num_init_children": 32, "max_pool": 4,
            "sr_check_user": "postgres", "sr_check_database": "postgres", "sr_check_period": 1,
            "health_check_user": "postgres", "health_check_database": "postgres", "health_check_period": 0,
            "load_balance_mode": True, "log_line_prefix": "%m: %a pid %p: ",
        }
        if self.kind == "herdgate":
            s["num_workers"] = 2  # whatever the machine: links and clients of more than one worker are under test
            s["io_method"] = os.environ.get("HERDGATE_IO_METHOD", "auto")
        for node in self.cluster.nodes:
            n = node.number
            s[f"backend_hostname{n}"] = "127.0.0.1"
            s[f"backend_port{n}"] = node.port
            s[f"backend_weight{n}"] = 1
            s[f"backend_data_directory{n}"] = node.data
            s[f"backend_application_name{n}"] = f"node{n}"
        return s

    def write_files(self):
        text = "".join(f"{name} = {conf_value(value)}\n" for name, value in self.settings.items())
        for name, content in {"pgpool.conf": text, **self.files}.items():
            path = f"{self.folder}/{name}"
            with open(path, "w") as f:
                f.write(content)
            os.chmod(path, 0o600)
            system.give(path)

    def command(self, *more):
        """The command line with the configuration files named."""
        args = ["-f", f"{self.inner}/pgpool.conf", "-F", f"{self.inner}/pcp.conf", "-a", f"{self.inner}/pool_hba.conf"]
        if self.kind == "pgpool":
            return [system.IN_TRIXIE, "/usr/sbin/pgpool", *args, *more]
        return [self.place_binary(), *args, *more]

    def place_binary(self):
        """A copy that the server user may run wherever the tree lies, and that a rebuild does not disturb."""
        binary = f"{self.folder}/bin/pgpool"
        if not os.path.exists(binary):
            if not os.path.exists(self.binary):
                raise RuntimeError(f"{self.binary} is not built; run ./dev build")
            os.makedirs(os.path.dirname(binary))
            os.chmod(os.path.dirname(binary), 0o755)
            shutil.copy2(self.binary, binary)
        return binary

    @property
    def log_path(self):
        return f"{self.folder}/log"

    def start(self, wait=True):
        if self.kind == "direct":
            self.port = self.cluster.primary.port
            return self
        self.write_files()
        self.process = system.start([*self.prefix, *self.command(*(["-D"] if self.discard else []), "-n")], self.log_path,
                                    as_root=self.kind == "pgpool" or bool(self.prefix),
                                    env={**os.environ, "HOME": self.inner, **self.environment})
        if wait:
            wait_until(self.ready, f"{self.kind} to listen on port {self.port}\n{self.log()[-3000:]}")
        return self

    def ready(self):
        if self.process.poll() is not None:
            raise RuntimeError(f"{self.kind} ended at start with code {self.process.returncode}:\n{self.log()[-4000:]}")
        return system.can_connect(self.port) if not self.prefix else system.can_connect_to(f"{self.folder}/.s.PGSQL.{self.port}")

    def stop(self, signal_number=signal.SIGINT):
        """Fast shutdown; fails when the proxy did not end well or a sanitizer spoke."""
        if self.process is not None:
            self.check_alive()
            os.kill(self.process.pid, signal_number)
            try:
                code = self.process.wait(60)
            except subprocess.TimeoutExpired:
                self.abort()
                raise AssertionError(f"{self.kind} did not stop\n{self.log()[-3000:]}") from None
            self.process = None
            assert code == 0, f"{self.kind} ended with code {code}\n{self.log()[-3000:]}"
        self.check_log()

    def abort(self):
        for pid in system.family(self.process.pid) if self.process.poll() is None else []:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass  # a script of ours that has just ended
        self.process.wait()
        self.process = None

    def check_alive(self):
        assert self.process.poll() is None, f"{self.kind} died with code {self.process.poll()}\n{self.log()[-5000:]}"

    def check_log(self):
        if self.kind != "herdgate":
            return
        log = self.log()
        for word in TROUBLE:
            assert word not in log, log[max(0, log.find(word) - 500):][:6000]

    def remove(self):
        if self.process is not None:
            self.abort()
        shutil.rmtree(self.folder, ignore_errors=True)

    def reload(self):
        self.write_files()
        os.kill(self.process.pid, signal.SIGHUP)

    def log(self):
        try:
            with open(self.log_path, errors="replace") as f:
                return f.read()
        except OSError:
            return ""

    def dsn(self, user="postgres", dbname="test", **more):
        words = {"host": "127.0.0.1", "port": self.port, "user": user, "dbname": dbname, "sslmode": "disable",
                 "connect_timeout": 60, "gssencmode": "disable", **more}
        quoted = {k: str(v).replace("\\", "\\\\").replace("'", "\\'") for k, v in words.items()}
        return " ".join(f"{k}='{v}'" for k, v in quoted.items())

    def connect(self, user="postgres", dbname="test", autocommit=True, **more):
        # Pure libpq towards the server: psycopg would otherwise prepare on its own after five runs.
        return psycopg.connect(self.dsn(user, dbname, **more), autocommit=autocommit, prepare_threshold=None)

    def pids(self):
        return system.family(self.process.pid) if self.process else []
