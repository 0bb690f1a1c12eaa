"""Processes, users, ports, waiting.

PostgreSQL refuses to run as root, so everything is started as the ordinary user `postgres` when root starts it, and as
oneself otherwise. A wait polls a condition against a deadline: it ends as soon as the condition holds, and a condition
that never holds is an error that says what was waited for.
"""
import collections
import fcntl
import glob
import itertools
import os
import pwd
import random
import shutil
import socket
import subprocess
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
SERVER_USER = "postgres"


def cache_dir():
    """Where downloaded and made-once things lie; shared by all worktrees of one clone, as in scripts/private_apt."""
    if os.environ.get("HERDGATE_CACHE_DIR"):
        return os.environ["HERDGATE_CACHE_DIR"]
    git = subprocess.run(["git", "-C", ROOT, "rev-parse", "--path-format=absolute", "--git-common-dir"],
                         capture_output=True, text=True)
    return os.path.join(os.path.dirname(git.stdout.strip()) if git.returncode == 0 else ROOT, ".cache")


TRIXIE = os.path.join(cache_dir(), "trixie")
IN_TRIXIE = os.path.join(ROOT, "scripts", "in_trixie")


class Timeout(Exception):
    pass


def wait_until(condition, what, seconds=60.0, poll=0.02):
    """Returns the first true value of condition(); raises Timeout when there is none in time. Half of the time at most goes
    into asking, and the less often the longer it lasts: what is waited for needs the processor too."""
    begin = time.monotonic()
    end = begin + seconds
    while True:
        asked = time.monotonic()
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise Timeout(f"waited {seconds:g} s for {what}")
        now = time.monotonic()
        time.sleep(max(poll, min(now - asked, 1.0), min((now - begin) / 10, 0.2)))


def run_as():
    """Arguments for subprocess that make the child an ordinary user."""
    if os.getuid() != 0:
        return {}
    user = pwd.getpwnam(SERVER_USER)
    groups = os.getgrouplist(SERVER_USER, user.pw_gid)
    return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": groups, "umask": 0o077}


def os_user():
    return SERVER_USER if os.getuid() == 0 else pwd.getpwuid(os.getuid()).pw_name


def give(path):
    """Makes a file or folder belong to the user the servers run as."""
    if os.getuid() == 0:
        shutil.chown(path, SERVER_USER, pwd.getpwnam(SERVER_USER).pw_gid)
    return path


def run(args, as_root=False, **options):
    """Runs a command as the server user; its output is in the exception when it fails."""
    if not as_root:
        options.update(run_as())
    result = subprocess.run(args, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                            cwd="/tmp", **options)
    if result.returncode != 0:
        raise RuntimeError(f"{' '.join(args)}: exit code {result.returncode}\n{result.stdout}")
    return result.stdout


def start(args, log_path, as_root=False, **options):
    """Starts a command as the server user, in a session of its own, output appended to log_path."""
    if not as_root:
        options.update(run_as())
    log = open(log_path, "ab")
    try:
        return subprocess.Popen(args, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, cwd="/tmp",
                                start_new_session=True, **options)
    finally:
        log.close()


def alive(pid):
    """Whether the process is there and not dead: one that nobody has waited for yet has closed everything."""
    try:
        with open(f"/proc/{pid}/stat") as f:
            return f.read().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def parents():
    """pid -> parent pid of every process."""
    result = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                with open(f"/proc/{entry}/stat") as f:
                    result[int(entry)] = int(f.read().rpartition(")")[2].split()[1])
            except OSError:
                pass
    return result


def family(pid):
    """pid and all its descendants."""
    table = parents()
    found = {pid}
    while True:
        more = {p for p, parent in table.items() if parent in found} - found
        if not more:
            return sorted(found)
        found |= more


def postgres_bin():
    """The newest server of the distribution, or what HERDGATE_PG_BIN names."""
    if "HERDGATE_PG_BIN" in os.environ:
        return os.environ["HERDGATE_PG_BIN"]
    found = sorted(glob.glob("/usr/lib/postgresql/*/bin/postgres"), key=lambda p: float(p.split("/")[4]))
    if not found:
        raise RuntimeError("no PostgreSQL server under /usr/lib/postgresql; run ./dev up or scripts/install_packages")
    return os.path.dirname(found[-1])


def port_is_free(port):
    for family_, address in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
        try:
            with socket.socket(family_, socket.SOCK_STREAM) as s:
                s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                s.bind((address, port))
        except OSError as e:
            if e.errno == 98:
                return False
    return True


ROWS = list(range(20000, 32000, 10))  # below the range from which the kernel takes client ports
rows_ahead = itertools.islice(itertools.cycle(ROWS), random.randrange(len(ROWS)), None)
mine = collections.deque()  # the newest rows, kept from runs side by side by locks on octets of one file
KEPT = 250


def keep_row(row):
    """False: another run has it."""
    global locks
    if not mine:
        locks = os.open(f"/tmp/hg-test-ports.{os.getuid()}", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    try:
        fcntl.lockf(locks, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, row)
    except OSError:
        return False
    mine.append(row)
    if len(mine) > KEPT:
        fcntl.lockf(locks, fcntl.LOCK_UN, 1, mine.popleft())
    return True


def free_ports(count, first=None):
    """Free ports in one row. What was given is not given again for a long time: who has it may not listen yet, or has stopped."""
    starts = [first + step for step in range(0, 20001, 10000)] if first else []
    for begin in itertools.chain(starts, itertools.islice(rows_ahead, len(ROWS))):
        if keep_row(begin) and all(port_is_free(begin + i) for i in range(count)):
            return [begin + i for i in range(count)]
    raise RuntimeError("no free ports")


def scratch(name):
    """A new folder for sockets, data and logs, short enough for a socket path, owned by the server user."""
    return scratch_in(os.environ.get("HERDGATE_SCRATCH", "/tmp"), name)


def scratch_in(base, name):
    path = tempfile.mkdtemp(prefix=f"hg-{name}-", dir=base)
    os.chmod(path, 0o755)
    return give(path)


def can_connect(port, host="127.0.0.1"):
    try:
        socket.create_connection((host, port), timeout=1).close()
        return True
    except OSError:
        return False


def can_connect_to(path):
    """path: of a UNIX socket."""
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as s:
            s.settimeout(1)
            s.connect(path)
        return True
    except OSError:
        return False
