"""A streaming-replication cluster of real PostgreSQL servers, made in a second or two.

initdb and the roles are done once and kept as a template. A standby begins as a copy of the same (cleanly stopped)
template with standby.signal, which is a valid cold base backup; rebuild() uses pg_basebackup.

Roles (password = name): postgres and test (trust), scram_user, md5_user, password_user (each by the method of its
name). Databases: postgres, test. Every statement is in the server's log, so a test can ask where it ran.
"""
import hashlib
import os
import re
import select
import shutil
import signal
import subprocess

import psycopg

from . import system
from .system import wait_until

ROLES = """
create role test login;
create role reader login;
set password_encryption = 'scram-sha-256';
create role scram_user login password 'scram_user';
set password_encryption = 'md5';
create role md5_user login password 'md5_user';
create role password_user login password 'password_user';
create database test owner test;
grant all on database test to public;
\\c test
grant all on schema public to public;
"""
HBA = """
local all all trust
host all scram_user all scram-sha-256
host all md5_user all md5
host all password_user all password
host all all all trust
local replication all trust
host replication all all trust
"""
CONF = """
listen_addresses = '127.0.0.1'
fsync = off
dynamic_shared_memory_type = mmap  # in the folder: a server that is killed leaves nothing in /dev/shm
shared_buffers = 64MB
wal_level = replica
max_wal_senders = 20
max_replication_slots = 20
wal_keep_size = 256MB
hot_standby = on
hot_standby_feedback = on
wal_receiver_status_interval = 1s
wal_retrieve_retry_interval = 100ms
max_prepared_transactions = 20
log_min_messages = warning
log_min_error_statement = panic
log_line_prefix = '%m [%p] %u@%d '
log_statement = all
lc_messages = 'C'
timezone = 'UTC'
"""


class Sessions:
    """Of tests that ask a server: each login costs it more processor time than most of what is asked. With `keeps` one stays
    for each DSN of a database that is always there, for what leaves nothing behind in it."""

    LEAVES = re.compile(r"\b(temp|temporary|listen|prepare|begin|start|load|discard|declare|advisory|role|set_config)\b"
                        r"|(^|;)\s*(set|reset|drop database|create database)\b", re.IGNORECASE)

    def __init__(self, keeps):
        self.keeps, self.kept = keeps, {}

    def printed(self, dsn, dbname, sql):
        """What psql -A -t prints."""
        dsn = f"{dsn} dbname={dbname} application_name=psql"
        try:
            if not self.keeps or dbname not in ("postgres", "test") or self.LEAVES.search(sql):
                with psycopg.connect(dsn, autocommit=True) as c:
                    return self._printed(c, sql)
            c = self.kept.get(dsn)
            if c is None or c.closed or select.select([c], [], [], 0)[0]:  # its server has said something: it has ended it
                self.kept[dsn] = c = psycopg.connect(dsn, autocommit=True)
            return self._printed(c, sql)
        except psycopg.Error as e:
            raise RuntimeError(f"psql: ERROR:  {e}") from e

    @staticmethod
    def _printed(c, sql):
        lines = []
        cursor = c.execute(sql)
        while True:
            result = cursor.pgresult
            for row in range(result.ntuples):
                values = [result.get_value(row, column) or b"" for column in range(result.nfields)]
                lines.append("|".join(v.decode(errors="replace") for v in values))
            if not cursor.nextset():
                return "\n".join(lines).strip()

    def close(self):
        for c in self.kept.values():
            c.close()
        self.kept.clear()


class Node:
    """One server. number 0 begins as the primary."""

    def __init__(self, cluster, number, port):
        self.cluster, self.number, self.port = cluster, number, port
        self.data = os.path.join(cluster.folder, f"data{number}")
        self.inner_data = os.path.join(cluster.inner, f"data{number}")
        self.log_path = os.path.join(cluster.folder, f"server{number}.log")
        self.log_begin = 0
        self.process = None
        self.prefix = []  # of its command line: where it runs, see netns.py
        self.host = cluster.inner  # where its standbys find it

    def start(self, wait=True):
        self.process = system.start([*self.prefix, *self.cluster.program(
            "postgres", "-D", self.inner_data, "-p", str(self.port), "-k", self.cluster.inner)],
            self.log_path, as_root=self.cluster.trixie or bool(self.prefix))
        if wait:
            self.wait_ready()

    def wait_ready(self):
        wait_until(self.ready, f"server {self.number} on port {self.port}\n{self.log()[-2000:]}")

    def ready(self):
        if not self.pid():
            raise RuntimeError(f"server {self.number} ended at start:\n{self.log()[-3000:]}")
        return subprocess.run(self.cluster.program("pg_isready", "-q", "-h", self.cluster.inner,
                                                   "-p", str(self.port))).returncode == 0

    def pid(self):
        """The postmaster's pid, or 0. Works too for a cluster that another process started."""
        if self.process is not None and self.process.poll() is None:
            return self.process.pid
        try:  # it may have been started again by somebody else, as after a switchover
            with open(f"{self.data}/postmaster.pid") as f:
                pid = int(f.readline())
            with open(f"/proc/{pid}/cmdline") as f:
                command = f.read()
        except (OSError, ValueError):
            return 0
        return pid if system.alive(pid) and "postgres" in command else 0

    def end(self, signal_number):
        pid = self.pid()
        if not pid:
            return
        os.kill(pid, signal.SIGCONT)
        os.kill(pid, signal_number)
        wait_until(lambda: not self.pid(), f"server {self.number} to end")
        self.process = None

    def stop(self):
        """Fast shutdown."""
        self.end(signal.SIGINT)

    def kill(self):
        """Dies without a word: every process of the server at once. When it returns all their sockets are closed."""
        pid = self.pid()
        if not pid:
            return
        family = system.family(pid)
        # Stopped first: one that saw its parent die would say that an administrator has ended it.
        self.signal_all(family, signal.SIGSTOP)
        self.signal_all(family, signal.SIGKILL)
        wait_until(lambda: not self.pid() and not any(map(system.alive, family)), f"server {self.number} to die")
        self.process = None

    def freeze(self):
        """Stops answering but keeps its sockets open, as a hung machine does."""
        self.signal_all(system.family(self.pid()), signal.SIGSTOP)

    def thaw(self):
        self.signal_all(reversed(system.family(self.pid())), signal.SIGCONT)

    @staticmethod
    def signal_all(pids, number):
        for pid in pids:
            try:
                os.kill(pid, number)
            except ProcessLookupError:  # a session that has ended meanwhile
                pass

    def psql(self, sql, dbname="test", user="postgres"):
        """What psql -A -t prints. Tests ask so often that starting it each time took half of their processor time."""
        if not self.cluster.trixie and not sql.startswith("\\") and "copy " not in sql.lower():
            return self.cluster.sessions.printed(f"host={self.cluster.folder} port={self.port} user={user}", dbname, sql)
        return self.cluster.run("psql", "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-h", self.cluster.inner,
                                "-p", str(self.port), "-U", user, "-d", dbname, "-c", sql).strip()

    def log(self):
        """What it has written since begin_log(), or from the start."""
        try:
            with open(self.log_path, "rb") as f:
                f.seek(self.log_begin)
                return f.read().decode(errors="replace")
        except OSError:
            return ""

    def begin_log(self):
        """A server of many tests writes hundreds of MB: what came before is not read again and again."""
        self.log_begin = os.path.getsize(self.log_path)

    def append_conf(self, text):
        with open(f"{self.data}/postgresql.auto.conf", "a") as f:
            f.write(text + "\n")

    def follow(self, primary):
        """Makes this (stopped) server a standby of `primary`."""
        slot = f"node{self.number}"
        primary.psql(f"select pg_create_physical_replication_slot('{slot}') where not exists "
                     f"(select from pg_replication_slots where slot_name = '{slot}')", "postgres")
        self.append_conf(f"primary_conninfo = 'host={primary.host} port={primary.port} user=postgres "
                         f"application_name=node{self.number}'\nprimary_slot_name = '{slot}'\n"
                         f"port = {self.port}")  # postgresql.conf may have come from the primary
        open(f"{self.data}/standby.signal", "w").close()
        system.give(f"{self.data}/standby.signal")

    def free_shared_memory(self):
        """What a killed server leaves behind, of which a machine has 4,096: the next one in its folder would clear it up."""
        try:
            with open(f"{self.data}/postmaster.pid") as f:
                segment = f.read().splitlines()[6].split()[1]
        except (OSError, IndexError):
            return
        subprocess.run(["ipcrm", "-m", segment], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def rebuild(self, primary):
        """A fresh standby from a base backup of `primary`."""
        self.kill()
        self.free_shared_memory()
        shutil.rmtree(self.data)
        self.cluster.run("pg_basebackup", "-D", self.inner_data, "-h", self.cluster.inner, "-p", str(primary.port),
                         "-U", "postgres", "-X", "stream", "-c", "fast", "--no-sync")
        self.follow(primary)
        self.start()

    def is_standby(self):
        """By its data directory; it need not run."""
        return os.path.exists(f"{self.data}/standby.signal")

    def timeline(self):
        """Of a stopped server."""
        control = self.cluster.run("pg_controldata", "-D", self.inner_data)
        return int(re.search(r"Latest checkpoint's TimeLineID: *(\d+)", control).group(1))

    def promote(self):
        self.psql("select pg_promote(true, 60)", "postgres")


class Cluster:
    def __init__(self, nodes=3, folder=None, conf=None, ports=None, remote_apply=False, trixie=False, keeps_sessions=False):
        """conf: extra lines of postgresql.conf for all nodes. trixie: PostgreSQL 17 of scripts/fetch_trixie."""
        self.sessions = Sessions(keeps_sessions)
        self.trixie = trixie
        self.bin = "/usr/lib/postgresql/17/bin" if trixie else system.postgres_bin()
        self.folder = folder or (system.scratch_in(f"{system.TRIXIE}/tmp", "cluster") if trixie
                                 else system.scratch("cluster"))
        # The same folder as the servers know it.
        self.inner = self.folder[len(system.TRIXIE):] if trixie else self.folder
        self.ports = ports or system.free_ports(nodes)
        self.nodes = [Node(self, i, p) for i, p in enumerate(self.ports)]
        self.conf = conf or ""
        self.remote_apply = remote_apply
        self.primary_number = 0

    def program(self, name, *args):
        """The command line of one of PostgreSQL's programs."""
        return [*([system.IN_TRIXIE] if self.trixie else []), f"{self.bin}/{name}", *args]

    def run(self, name, *args):
        return system.run(self.program(name, *args), as_root=self.trixie)

    @property
    def primary(self):
        return self.nodes[self.primary_number]

    @property
    def standbys(self):
        return [n for n in self.nodes if n.number != self.primary_number]

    def create(self):
        template = make_template(self.trixie)
        # Also when it is started without our command line, as by scripts.
        extra = f"{CONF}unix_socket_directories = '{self.inner}'\n{self.conf}\n"
        for node in self.nodes:
            subprocess.run(["cp", "-a", template, node.data], check=True)
            with open(f"{node.data}/postgresql.conf", "a") as f:
                f.write(f"{extra}port = {node.port}\n")
        return self

    def start(self):
        """Starts the nodes, the first time also the replication."""
        first_time = not os.path.exists(f"{self.folder}/created")
        self.primary.start()
        for node in self.standbys:
            if first_time:
                node.follow(self.primary)
            node.start(wait=False)
        for node in self.standbys:
            node.wait_ready()
        self.wait_streaming()
        if first_time and self.remote_apply and self.standbys:
            self.set_remote_apply()
        open(f"{self.folder}/created", "w").close()
        return self

    def set_remote_apply(self):
        names = ", ".join(f"node{n.number}" for n in self.standbys)
        self.primary.psql(f"alter system set synchronous_standby_names = '{len(self.standbys)} ({names})'", "postgres")
        self.primary.psql("alter system set synchronous_commit = remote_apply", "postgres")
        self.primary.psql("select pg_reload_conf()", "postgres")
        wait_until(lambda: self.primary.psql("select count(*) from pg_stat_replication where sync_state = 'sync'")
                   == str(len(self.standbys)), "synchronous standbys")

    def wait_streaming(self):
        wait_until(lambda: self.primary.psql("select count(*) from pg_stat_replication where state = 'streaming'",
                                             "postgres") == str(len(self.standbys)), "streaming standbys")

    def wait_replayed(self):
        """Until every standby has applied what the primary has written up to now."""
        lsn = self.primary.psql("select pg_current_wal_lsn()")
        for node in self.standbys:
            wait_until(lambda n=node: n.psql(f"select pg_last_wal_replay_lsn() >= '{lsn}'") == "t",
                       f"server {node.number} to replay {lsn}")

    def where(self, mark):
        """Numbers of the nodes whose log shows a statement containing `mark`."""
        return {n.number for n in self.nodes if mark in n.log()}

    def node_at(self, port):
        return next(n for n in self.nodes if n.port == port)

    def stop(self):
        for node in reversed(self.nodes):
            node.stop()

    def destroy(self):
        self.sessions.close()
        for node in self.nodes:
            node.kill()
            node.free_shared_memory()
        shutil.rmtree(self.folder, ignore_errors=True)


def make_template(trixie):
    """A stopped data folder with the roles above; made once for each server version and set of roles."""
    maker = Cluster(nodes=1, trixie=trixie)
    try:
        key = hashlib.sha256((maker.run("postgres", "-V") + ROLES + HBA).encode()).hexdigest()[:16]
        kept = os.path.join(system.cache_dir(), "cluster", key)
        if not os.path.exists(kept):
            fill_template(maker, kept)
    finally:
        shutil.rmtree(maker.folder, ignore_errors=True)
    return kept


def fill_template(maker, kept):
    node = maker.primary
    maker.run("initdb", "-D", node.inner_data, "-U", "postgres", "-A", "trust", "--no-locale", "-E", "UTF8", "-k",
              "--no-sync", "--no-instructions")
    node.append_conf("listen_addresses = ''\nfsync = off")
    node.start()
    system.give(_write(f"{maker.folder}/roles.sql", ROLES))
    maker.run("psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", "-h", maker.inner, "-p", str(node.port), "-U", "postgres",
              "-d", "postgres", "-f", f"{maker.inner}/roles.sql")
    node.stop()
    _write(f"{node.data}/pg_hba.conf", HBA)
    _write(f"{node.data}/postgresql.auto.conf", "")
    os.makedirs(os.path.dirname(kept), exist_ok=True)
    # Two runs may come here at once: each makes its own, the first one stays.
    fresh = f"{kept}.{os.getpid()}"
    subprocess.run(["cp", "-a", node.data, fresh], check=True)
    try:
        os.rename(fresh, kept)
    except OSError:
        shutil.rmtree(fresh)


def _write(path, text):
    with open(path, "w") as f:
        f.write(text)
    return path
