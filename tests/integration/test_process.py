"""The pgpool process from outside: start, background, stop, reload, pid file, sockets. Needs no PostgreSQL."""
import fcntl
import os
import pwd
import re
import shutil
import signal
import socket
import stat
import subprocess
import sys

import pytest

from support import netns, system
from support.proxy import UNDER_TEST, herdgate_binary
from support.system import wait_until
from test_pcp import USERS, Pcp

pytestmark = pytest.mark.skipif(UNDER_TEST != "herdgate", reason="Herdgate only")


class Program:
    """One folder with a configuration, and the program to run on it."""

    def __init__(self):
        self.folder = system.scratch("process")
        self.binary = f"{self.folder}/bin/pgpool"
        os.mkdir(f"{self.folder}/bin")
        os.chmod(f"{self.folder}/bin", 0o755)
        shutil.copy2(herdgate_binary(), self.binary)
        self.port, self.pcp_port, self.dead_port = system.free_ports(3)
        self.settings = {"listen_addresses": "localhost", "port": self.port, "pcp_port": self.pcp_port,
                         "unix_socket_directories": self.folder, "pcp_socket_dir": self.folder,
                         "pid_file_name": "pgpool.pid", "logdir": self.folder, "num_init_children": 8,
                         "backend_hostname0": "127.0.0.1", "backend_port0": self.dead_port, "sr_check_period": 0,
                         "backend_clustering_mode": "raw"}
        self.processes = []
        self.write()

    def write(self, **more):
        self.settings.update(more)
        with open(self.conf, "w") as f:
            for name, value in self.settings.items():
                f.write(f"{name} = '{value}'\n")
        system.give(self.conf)

    @property
    def conf(self):
        return f"{self.folder}/pgpool.conf"

    @property
    def pid_path(self):
        return f"{self.folder}/pgpool.pid"

    @property
    def socket_path(self):
        return f"{self.folder}/.s.PGSQL.{self.port}"

    def words(self, *words):
        files = ["-f", self.conf, "-F", f"{self.folder}/pcp.conf", "-a", f"{self.folder}/pool_hba.conf"]
        return [self.binary, *files, *words]

    def call(self, *words, **options):
        """Runs a command to its end; the standard streams are pipes, so whatever holds them open is noticed."""
        return subprocess.run(self.words(*words), stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60,
                              cwd=self.folder, **system.run_as(), **options)

    def start(self, *words, **options):
        """In the foreground, with the log in a file; returns when it serves."""
        before = len(self.log())
        process = system.start(self.words("-n", *words), f"{self.folder}/log", **options)
        self.processes.append(process)
        wait_until(lambda: process.poll() is not None or "successfully started" in self.log()[before:], "the start")
        assert process.poll() is None, self.log()
        return process

    def log(self):
        if not os.path.exists(f"{self.folder}/log"):
            return ""
        with open(f"{self.folder}/log", errors="replace") as f:
            return f.read()

    def pid(self):
        with open(self.pid_path, "rb") as f:
            return int(f.read().rstrip(b"\0"))

    def clean(self):
        for process in self.processes:
            if process.poll() is None:
                process.kill()
            process.wait()
        if os.path.exists(self.pid_path):
            try:
                os.kill(self.pid(), signal.SIGKILL)
            except (OSError, ValueError):
                pass
        shutil.rmtree(self.folder, ignore_errors=True)


@pytest.fixture
def program():
    p = Program()
    yield p
    p.clean()


def listens(port, host="127.0.0.1"):
    try:
        socket.create_connection((host, port), timeout=60).close()
        return True
    except OSError:
        return False


def test_version_and_help_need_no_configuration(program):
    for word in ("--version", "-v"):
        result = subprocess.run([program.binary, word], capture_output=True, text=True)
        assert (result.returncode, result.stdout) == (0, "")
        assert result.stderr.split()[:2] == ["pgpool-II", "version"] and result.stderr.split()[2].startswith("4.6")
    result = subprocess.run([program.binary, "--help"], capture_output=True, text=True)
    assert result.returncode == 0 and "Usage:" in result.stderr


@pytest.mark.parametrize("words", [["-c"], ["start"], ["-m", "x", "stop"], ["stop", "stop"], ["--nonsense"]])
def test_wrong_command_lines_print_the_usage(program, words):
    result = program.call(*words)
    assert result.returncode == 1 and "Usage:" in result.stderr


def test_foreground(program):
    process = program.start()
    with open(program.pid_path, "rb") as f:
        assert f.read() == str(process.pid).encode() + b"\0"
    assert stat.S_IMODE(os.stat(program.pid_path).st_mode) == 0o600
    assert stat.S_ISSOCK(os.stat(program.socket_path).st_mode)
    assert listens(program.port)
    line = re.search(r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3}: main pid (\d+): LOG:  pgpool-II successfully started\. "
                     r"version 4\.6\S* \(Herdgate\)$", program.log(), re.MULTILINE)
    assert line and int(line.group(1)) == process.pid, program.log()
    result = program.call("-m", "f", "stop")
    assert result.returncode == 0 and re.fullmatch(r"\.+done\.\n", result.stderr), result.stderr
    assert process.wait(60) == 0
    assert not os.path.exists(program.pid_path) and not os.path.exists(program.socket_path)
    assert not listens(program.port)


def test_background(program):
    result = program.call()
    # The pipes of the streams are closed, or call() would not have come back.
    assert result.returncode == 0, result.stderr
    assert "successfully started" in result.stderr
    pid = program.pid()
    assert os.getsid(pid) == pid and os.readlink(f"/proc/{pid}/cwd") == "/"
    assert {os.readlink(f"/proc/{pid}/fd/{fd}") for fd in (0, 1, 2)} == {"/dev/null"}
    assert listens(program.port)
    # Relative names in the configuration still mean the same files.
    assert program.call("reload").returncode == 0
    stopped = program.call("-D", "-n", "-m", "f", "stop")
    assert stopped.returncode == 0, stopped.stderr
    assert not system.alive(pid)
    assert not os.path.exists(program.pid_path) and not os.path.exists(program.socket_path)


def test_a_start_follows_a_stop_at_once(program):
    for _ in range(3):
        assert program.call().returncode == 0
        assert listens(program.port)
        assert program.call("-m", "fast", "stop").returncode == 0


def test_start_errors_reach_the_terminal(program):
    with socket.create_server(("127.0.0.1", program.port)):
        result = program.call()
    assert result.returncode == 1
    assert f"127.0.0.1:{program.port}" in result.stderr and "FATAL" in result.stderr, result.stderr
    assert not os.path.exists(program.pid_path)
    assert program.call().returncode == 0  # and it recovers


def test_a_second_server_is_refused(program):
    process = program.start()
    result = program.call("-n")
    assert result.returncode == 1
    assert result.stderr == f"ERROR: pid file found. is another pgpool({process.pid}) is running?\n"
    assert program.pid() == process.pid and listens(program.port)


def test_a_stale_pid_file_is_replaced(program):
    gone = subprocess.Popen(["true"])
    gone.wait()
    with open(program.pid_path, "wb") as f:
        f.write(str(gone.pid).encode() + b"\0")
    system.give(program.pid_path)
    with open(f"{program.folder}/.s.PGSQL.{program.port}", "w"):
        pass
    os.unlink(program.socket_path)
    program.write(log_min_messages="notice")
    process = program.start()
    assert program.pid() == process.pid
    wait_until(lambda: "NOTICE:  replacing a stale pid file" in program.log(), "the log to say so")


def test_a_killed_server_leaves_nothing_that_hinders_the_next(program):
    process = program.start()
    process.kill()
    process.wait()
    assert os.path.exists(program.socket_path) and os.path.exists(program.pid_path)
    program.start()
    assert listens(program.port)


def test_stop_without_a_server(program):
    result = program.call("stop")
    assert result.returncode != 0 and "FATAL:  could not read pid file" in result.stderr
    with open(program.pid_path, "w") as f:
        f.write("999999999")
    system.give(program.pid_path)
    result = program.call("-m", "f", "stop")
    assert result.returncode != 0 and not os.path.exists(program.pid_path)
    assert program.call("reload").returncode == 1


def test_smart_waits_for_clients_and_fast_does_not(program):
    process = program.start()
    client = socket.create_connection(("127.0.0.1", program.port))
    client.sendall(b"\0\0\0\x08\x04\xd2\x16\x2f")  # SSLRequest: the answer shows that it is served
    assert client.recv(1) == b"N"
    os.kill(process.pid, signal.SIGTERM)
    wait_until(lambda: "received smart shutdown request" in program.log(), "the request to be logged")
    wait_until(lambda: not listens(program.port), "the port to close")
    assert process.poll() is None
    os.kill(process.pid, signal.SIGINT)
    assert process.wait(60) == 0
    wait_until(lambda: "received fast shutdown request" in program.log(), "the log to say so")
    client.close()


def test_smart_ends_when_the_last_client_leaves(program):
    process = program.start()
    client = socket.create_connection(("127.0.0.1", program.port))
    client.sendall(b"\0\0\0\x08\x04\xd2\x16\x2f")
    assert client.recv(1) == b"N"
    stop = subprocess.Popen(program.words("stop"), stderr=subprocess.PIPE, text=True, **system.run_as())
    wait_until(lambda: "received smart shutdown request" in program.log(), "the request to be logged")
    assert process.poll() is None and stop.poll() is None
    client.close()
    assert process.wait(60) == 0
    assert stop.wait(60) == 0 and stop.stderr.read().endswith("done.\n")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGQUIT])
def test_every_stop_signal_ends_an_idle_server(program, number):
    process = program.start()
    os.kill(process.pid, number)
    assert process.wait(60) == 0
    assert not os.path.exists(program.pid_path)


def test_harmless_signals_do_not_end_it(program):
    process = program.start()
    for number in (signal.SIGUSR1, signal.SIGUSR2, signal.SIGPIPE, signal.SIGHUP):
        os.kill(process.pid, number)
    wait_until(lambda: "configuration files reloaded" in program.log(), "the reload")
    assert process.poll() is None and listens(program.port)


def test_reload(program):
    program.start()
    program.write(log_line_prefix="changed %p ", log_min_messages="debug1", num_init_children=9)
    assert program.call("reload").returncode == 0
    wait_until(lambda: "configuration files reloaded" in program.log(), "the reload")
    wait_until(lambda: "a restart is needed for: num_init_children" in program.log(), "what was not changed")
    log = program.log()
    assert re.search(r"^changed \d+ LOG:  changed by reload: .*log_line_prefix", log, re.MULTILINE), log


def test_a_reload_with_an_error_changes_nothing(program):
    program.start()
    program.write(log_line_prefix="changed %p ", port="many")
    os.kill(program.pid(), signal.SIGHUP)
    wait_until(lambda: "the settings in force stay" in program.log(), "the reload to be refused")
    assert f"{program.conf}:2:" in program.log() and "changed" not in program.log().split("reloading")[1]
    program.write(port=program.port)
    program.call("reload")  # and it recovers
    wait_until(lambda: re.search(r"^changed \d+ LOG", program.log(), re.MULTILINE), "the next reload")


def test_the_word_reload_tells_of_errors_and_leaves_the_server_alone(program):
    program.start()
    program.write(port="many", enable_pool_hba="on")
    with open(f"{program.folder}/pool_hba.conf", "w") as f:
        f.write("host all all 127.0.0.1 nonsense\n")
    result = program.call("reload")
    assert result.returncode == 1
    assert re.search(rf"^ERROR: {re.escape(program.conf)}:2: .*port", result.stderr, re.MULTILINE), result.stderr
    assert "not reloaded: the configuration has errors" in result.stderr
    program.write(port=program.port)
    result = program.call("reload")
    assert result.returncode == 1 and f"ERROR: {program.folder}/pool_hba.conf:1: " in result.stderr, result.stderr
    assert "reload" not in program.log()
    # The server may read another file than the default one.
    anywhere = [program.binary, "-f", program.conf, "reload"]
    assert subprocess.run(anywhere, capture_output=True, timeout=60, **system.run_as()).returncode == 0
    wait_until(lambda: "the settings in force stay" in program.log(), "the server to refuse")
    with open(f"{program.folder}/pool_hba.conf", "w") as f:
        f.write("host all all all trust\n")
    assert program.call("reload").returncode == 0  # and it recovers
    wait_until(lambda: "configuration files reloaded" in program.log(), "the reload")


def test_check(program):
    result = program.call("--check")
    assert result.returncode == 0, result.stderr
    program.write(port="many", no_such_thing=1, ssl="on")
    result = program.call("--check")
    assert result.returncode == 1
    for expected in ("port", "no_such_thing", "ssl"):
        assert re.search(rf"^ERROR: {re.escape(program.conf)}:\d+: .*{expected}", result.stderr, re.MULTILINE), expected
    assert not os.path.exists(program.pid_path)


def test_check_warns_of_folders_that_a_start_would_miss(program):
    program.write(pid_file_name=f"{program.folder}/missing/pid")
    result = program.call("--check")
    assert result.returncode == 0
    assert f'WARNING: pid_file_name: there is no folder "{program.folder}/missing"' in result.stderr


@pytest.mark.parametrize("name,value,words", [
    ("unix_socket_directories", "{}/missing", 'there is no folder "{}/missing" on this machine'),
    ("pcp_socket_dir", "{}/missing", 'there is no folder "{}/missing" on this machine'),
    ("pcp_socket_dir", "{}/shut", 'this user can make no file in "{}/shut": Permission denied'),
    ("unix_socket_group", "no-such-group", 'group "no-such-group" does not exist'),
    ("unix_socket_group", "root", 'this user is not a member of "root" and cannot give it a socket'),
    ("unix_socket_group", str(pwd.getpwnam(system.os_user()).pw_gid), None),
    ("log_directory", "{}/missing/log/", 'this user can make no log file in "{}/missing/log": No such file or directory'),
    ("log_directory", "{}/shut/log", 'this user can make no log file in "{}/shut/log": Permission denied'),
    ("log_directory", "{}/file", 'this user can make no log file in "{}/file": Not a directory'),
    ("log_directory", "{}/log/", None),  # a start makes it
])
def test_check_warns_of_what_a_start_would_be_refused_for(program, name, value, words):
    os.mkdir(f"{program.folder}/shut", mode=0o555)
    open(f"{program.folder}/file", "w").close()
    program.write(**{name: value.format(program.folder), "logging_collector": "on" if "log" in name else "off"})
    result = program.call("--check")
    assert result.returncode == 0, result.stderr
    said = [line for line in result.stderr.splitlines() if line.startswith(f"WARNING: {name}: ")]
    assert said == ([f"WARNING: {name}: {words.format(program.folder)}"] if words else []), result.stderr
    if words:
        assert program.call("-n").returncode == 1


@pytest.mark.skipif(os.getuid() != 0, reason="only root can make such a folder")
def test_a_folder_may_give_its_group_to_sockets(program):
    """Of which the user need not be a member: it is neither warned nor refused."""
    os.chown(program.folder, -1, 0)
    os.chmod(program.folder, 0o2755)
    program.write(unix_socket_group="root")
    result = program.call("--check")
    assert result.returncode == 0 and "unix_socket_group" not in result.stderr, result.stderr
    program.start()
    assert os.stat(program.socket_path).st_gid == 0


def test_check_reads_the_hba_file_that_is_named_though_it_is_off(program):
    with open(f"{program.folder}/pool_hba.conf", "w") as f:
        f.write("host all all 127.0.0.1/32 nonsense\n")
    result = program.call("--check")
    assert result.returncode == 1 and f"ERROR: {program.folder}/pool_hba.conf:1: " in result.stderr, result.stderr
    program.start()  # which does not read it
    assert program.call("reload").returncode == 0


def test_check_warns_of_addresses_that_are_not_this_machines(program):
    program.write(listen_addresses="localhost,192.0.2.7", pcp_listen_addresses="no-such-name.invalid")
    refused = program.call("-n")  # what it warns of is what a start says
    assert refused.returncode == 1 and "no-such-name.invalid" in refused.stderr
    result = program.call("--check")
    assert result.returncode == 0, result.stderr
    assert re.search(r'^WARNING: listen_addresses: .*"192\.0\.2\.7"', result.stderr, re.MULTILINE)
    assert re.search(r'^WARNING: pcp_listen_addresses: .*"no-such-name\.invalid"', result.stderr, re.MULTILINE)
    assert '"localhost"' not in result.stderr


def test_check_beside_a_server_at_work_warns_of_nothing(program):
    program.start()
    result = program.call("--check")
    assert result.returncode == 0 and not re.search("WARNING: .*(listen|descriptors)", result.stderr), result.stderr


def test_check_warns_of_too_few_descriptors(program):
    program.write(num_init_children=600)
    limited = ["prlimit", "--nofile=800:800", *program.words("--check")]
    result = subprocess.run(limited, capture_output=True, text=True, timeout=60, cwd=program.folder, **system.run_as())
    assert result.returncode == 0
    assert re.search("^WARNING: num_init_children: too few file descriptors: 600 clients.* the limit is 800", result.stderr,
                     re.MULTILINE), result.stderr


def test_nonsense_is_refused_with_file_and_line(program):
    program.write(port="many")
    result = program.call("-n")
    assert result.returncode == 1 and f"{program.conf}:2: " in result.stderr
    assert not os.path.exists(program.pid_path)
    os.unlink(program.conf)
    for words in (["-n"], ["stop"], ["--check"]):
        result = program.call(*words)
        assert result.returncode != 0 and "pgpool.conf" in result.stderr


def test_too_few_descriptors_are_refused_with_numbers(program):
    program.write(num_init_children=1000)
    limited = ["prlimit", "--nofile=500:500", *program.words("-n")]
    result = subprocess.run(limited, capture_output=True, text=True, timeout=60, **system.run_as())
    assert result.returncode == 1 and "the limit is 500" in result.stderr, result.stderr


def test_sockets(program):
    folders = [f"{program.folder}/a", f"{program.folder}/b"]
    for folder in folders:
        os.mkdir(folder)
        system.give(folder)
    group = pwd.getpwnam(system.os_user()).pw_gid
    program.write(unix_socket_directories=",".join(folders), unix_socket_permissions="0770", unix_socket_group=group,
                  listen_addresses="*")
    program.start()
    for folder in folders:
        about = os.stat(f"{folder}/.s.PGSQL.{program.port}")
        assert stat.S_IMODE(about.st_mode) == 0o770 and about.st_gid == group
    assert listens(program.port, "127.0.0.1")
    if socket.has_ipv6 and os.path.exists("/proc/net/if_inet6") and open("/proc/net/if_inet6").read():
        assert listens(program.port, "::1")


def test_only_unix_sockets(program):
    program.write(listen_addresses="")
    program.start()
    assert not listens(program.port)
    with socket.socket(socket.AF_UNIX) as s:
        s.connect(program.socket_path)


def test_the_service_manager_is_told(program):
    path = f"{program.folder}/notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(path)
        system.give(path)
        manager.settimeout(60)
        process = program.start(env={**os.environ, "NOTIFY_SOCKET": path})
        message = manager.recv(4096).decode().split("\n")
        assert "READY=1" in message and f"MAINPID={process.pid}" in message
        program.call("reload")
        assert manager.recv(4096).decode().startswith("RELOADING=1\nMONOTONIC_USEC=")
        assert manager.recv(4096).decode().startswith("READY=1")
        os.kill(process.pid, signal.SIGTERM)
        assert manager.recv(4096).decode() == "STOPPING=1"


def test_a_blocked_stderr_holds_nobody(program):
    """Nobody reads the log; the server must serve and stop all the same."""
    program.write(log_min_messages="debug5", log_connections="on")
    reader, writer = os.pipe()
    room = fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 4096)
    process = subprocess.Popen(program.words("-n", "-d"), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                               stderr=writer, cwd=program.folder, **system.run_as())
    program.processes.append(process)
    os.close(writer)
    wait_until(lambda: listens(program.port), "the port")
    for _ in range(300):  # each of them logs more than a hundred octets
        # The answer shows that it is served. It also keeps the backlog short: a full one costs a second for each SYN.
        with socket.create_connection(("127.0.0.1", program.port), timeout=60) as client:
            client.sendall(b"\0\0\0\x08\x04\xd2\x16\x2f")  # SSLRequest
            assert client.recv(1) == b"N"
    os.kill(process.pid, signal.SIGINT)
    assert process.wait(60) == 0
    with os.fdopen(reader, "rb") as log:
        assert 0 < len(log.read()) <= room < 300 * 100  # it was blocked


def test_start_options(program):
    """-k names the key, -d shows debug messages; -C and -x change nothing here."""
    key = f"{program.folder}/key"
    with open(key, "w") as f:
        f.write("a key\n")
    os.chmod(key, 0o644)
    system.give(key)
    process = program.start("-C", "-x", "-d", "-k", key)
    wait_until(lambda: "group or world access" in program.log(), "the log to say so")  # said, and used
    assert "DEBUG1:  " in program.log()
    os.kill(process.pid, signal.SIGHUP)
    wait_until(lambda: "configuration files reloaded" in program.log(), "the reload")
    assert process.poll() is None


@pytest.mark.parametrize("words", [[], ["-D"]])
def test_status_file(program, words):
    """A node that was down stays down; -D forgets it. Where nobody listens, the other one is found out at once."""
    other = system.free_ports(1)[0]
    program.write(backend_hostname1="127.0.0.1", backend_port1=other)
    status = f"{program.folder}/pgpool_status"
    with open(status, "w") as f:
        f.write("up\ndown \n")  # people edit it
    system.give(status)
    program.start(*words)
    for port in [program.dead_port] + ([other] if words else []):
        wait_until(lambda p=port: f"Failover done. shutdown host 127.0.0.1({p})" in program.log(), "the node to be down")
    assert (f"degeneration. shutdown host 127.0.0.1({other})" in program.log()) == bool(words)


def test_a_relative_folder_of_the_state(program):
    """What a server in the background has written there, the next start finds."""
    os.mkdir(f"{program.folder}/run")
    for name, text in {"run/pgpool_status": "up\nup\n", "run/backend_down_request": "0\tdown\n", "pcp.conf": USERS}.items():
        with open(f"{program.folder}/{name}", "w") as f:
            f.write(text)
        system.give(f"{program.folder}/{name}")
    system.give(f"{program.folder}/run")
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as other:
        program.write(logdir="run", pcp_listen_addresses="localhost", backend_port0=one.getsockname()[1],
                      backend_hostname1="127.0.0.1", backend_port1=other.getsockname()[1])
        pcp = Pcp(program)
        assert program.call().returncode == 0
        pcp.ok("pcp_detach_node", "1")
        wait_until(lambda: pcp.nodes()[1][4] == "down", "the node to be down")
        assert program.call("-m", "fast", "stop").returncode == 0
        with open(f"{program.folder}/run/pgpool_status") as f:
            assert f.read().split() == ["up", "down"]
        program.write(health_check_period=1, health_check_test="on")
        assert program.call().returncode == 0
        assert pcp.nodes()[1][4] == "down"
        # The other file in there is found in the background too.
        wait_until(lambda: pcp.nodes()[0][4] == "down", "the order to be obeyed")
        assert program.call("-m", "fast", "stop").returncode == 0


LOGIN_FROM = """
import socket, sys
s = socket.create_connection(("127.0.0.1", int(sys.argv[2])), timeout=60, source_address=(sys.argv[1], 0))
words = b"\\0\\3\\0\\0user\\0u\\0database\\0d\\0\\0"
s.sendall((len(words) + 4).to_bytes(4, "big") + words)
print(s.recv(1000))
"""


@pytest.mark.skipif(not netns.available(), reason="no network namespaces here")
def test_samehost_follows_the_addresses_of_the_machine(program):
    """An address that comes after the start, a virtual one for instance, is ours after a reload."""
    cable, address = netns.Cable(), "127.0.0.9"
    try:
        def answer():
            inside = ["ip", "netns", "exec", cable.ends[0]]
            return subprocess.run([*inside, sys.executable, "-c", LOGIN_FROM, address, str(program.port)], check=True,
                                  capture_output=True, text=True, timeout=60).stdout

        hba = f"{program.folder}/pool_hba.conf"
        with open(hba, "w") as f:
            f.write("host all all samehost md5\nhost all all all reject\n")
        system.give(hba)
        program.write(listen_addresses="127.0.0.1", enable_pool_hba="on")
        process = system.start([*cable.inside(0), *program.words("-n")], f"{program.folder}/log", as_root=True)
        program.processes.append(process)
        wait_until(lambda: "successfully started" in program.log(), "the start")
        assert "pool_hba.conf rejects" in answer()
        netns.ip("-n", cable.ends[0], "address", "add", f"{address}/8", "dev", "lo")
        os.kill(process.pid, signal.SIGHUP)
        wait_until(lambda: "configuration files reloaded" in program.log(), "the reload")
        wait_until(lambda: "pool_passwd file does not contain" in answer(), "the address to be one of the machine")
    finally:
        cable.remove()


def test_include(program):
    more = f"{program.folder}/conf.d"
    os.mkdir(more)
    with open(f"{more}/ports.conf", "w") as f:
        f.write(f"include 'deeper.conf'\nlisten_addresses='127.0.0.1'\n")
    with open(f"{more}/deeper.conf", "w") as f:
        f.write(f"port = {program.port}\nlisten_addresses = 'nowhere.invalid'\n")
    system.give(more)
    for name in os.listdir(more):
        system.give(f"{more}/{name}")
    program.write(port=program.dead_port)
    with open(program.conf, "a") as f:
        f.write("include 'conf.d/ports.conf'\n")
    program.start()
    assert listens(program.port)
    with open(f"{more}/deeper.conf", "a") as f:
        f.write("max_pool = many\n")
    result = program.call("--check")
    assert result.returncode == 1 and f"{more}/deeper.conf:3: " in result.stderr, result.stderr


def test_list_of_addresses(program):
    program.write(listen_addresses="127.0.0.1, 127.0.0.2")
    program.start()
    assert listens(program.port, "127.0.0.1") and listens(program.port, "127.0.0.2")
    assert not listens(program.port, "127.0.0.3")


@pytest.mark.parametrize("multiplier, wanted", [(3, 24), (2 ** 29, 65535)])  # the second: 8 times it is 2 ** 32
def test_how_many_may_wait_to_be_accepted(program, multiplier, wanted):
    """num_init_children times listen_backlog_multiplier, as far as the kernel goes."""
    with open("/proc/sys/net/core/somaxconn") as f:
        wanted = min(wanted, int(f.read()))
    program.write(listen_addresses="127.0.0.1", num_init_children=8, listen_backlog_multiplier=multiplier)
    program.start()
    for kind, place in (("-t", f"127.0.0.1:{program.port}"), ("-x", program.socket_path)):
        lines = subprocess.run(["ss", "-Hln", kind], check=True, capture_output=True, text=True).stdout.splitlines()
        # …, what waits, how much may wait, the place
        assert [int(line.split()[-3 if kind == "-t" else -5]) for line in lines if place in line.split()] == [wanted], lines


def test_ipv6_alone(program):
    if not os.path.exists("/proc/net/if_inet6") or not open("/proc/net/if_inet6").read():
        pytest.skip("no IPv6 here")
    program.write(listen_addresses="::1")
    program.start()
    assert listens(program.port, "::1") and not listens(program.port, "127.0.0.1")


def test_addresses_that_cannot_be_had_are_named(program):
    program.write(listen_addresses="127.0.0.1,192.0.2.1")
    result = program.call("-n")
    assert result.returncode == 1 and "192.0.2.1" in result.stderr
    program.write(listen_addresses="127.0.0.1", unix_socket_directories=f"{program.folder}/missing")
    result = program.call("-n")
    assert result.returncode == 1 and f"{program.folder}/missing" in result.stderr
    program.write(unix_socket_directories=program.folder, unix_socket_group="no_such_group")
    result = program.call("-n")
    assert result.returncode == 1 and "no_such_group" in result.stderr
    assert not os.path.exists(program.pid_path)


def test_what_is_not_built_refuses_the_start_or_is_named(program):
    for name, value in (("ssl", "on"), ("use_watchdog", "on"), ("backend_clustering_mode", "native_replication")):
        old = program.settings.get(name)
        program.write(**{name: value})
        result = program.call("-n")
        assert result.returncode == 1 and re.search(rf"{re.escape(program.conf)}:\d+: .*{name}", result.stderr), result
        program.write(**{name: old if old else "off"})


def test_without_memcached_it_starts_and_says_so(program):
    program.write(memory_cache_enabled="on", memqcache_method="memcached", memqcache_memcached_host=f"{program.folder}/none")
    program.start()
    wait_until(lambda: "WARNING:  memcached is in trouble" in program.log(), "the line")
    assert "not built" not in program.log()


def test_every_escape_of_the_prefix(program):
    program.write(log_line_prefix="a=%a P=%P u=%u d=%d p=%p l=%l t=%t m=%m %% [%-8P][%8P] ")
    process = program.start()
    line = next(x for x in program.log().splitlines() if "successfully started" in x)
    time = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d"
    assert re.match(rf"a=main P=MAIN u=\[No Connection\] d=\[No Connection\] p={process.pid} l=\d+ t={time} "
                    rf"m={time}\.\d{{3}} % \[MAIN    \]\[    MAIN\] LOG:  ", line), line


def test_syslog(program):
    """Where no daemon listens the messages are lost, and nothing else happens."""
    path = "/dev/log"
    if os.path.exists(path) or os.getuid() != 0:
        pytest.skip("needs a free /dev/log")
    program.write(log_destination="syslog", syslog_facility="LOCAL3", syslog_ident="herd")
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as daemon:
            daemon.bind(path)
            os.chmod(path, 0o666)
            daemon.settimeout(60)
            process = system.start(program.words("-n"), f"{program.folder}/log")
            program.processes.append(process)
            text = ""
            while "successfully started" not in text:
                text = daemon.recv(65536).decode()
            # facility 19, severity 6
            assert re.match(rf"<158>\w{{3}} [ \d]\d \d\d:\d\d:\d\d herd\[{process.pid}\]: ", text), text
        assert "successfully started" not in program.log()
        os.kill(process.pid, signal.SIGINT)
        assert process.wait(60) == 0
    finally:
        os.unlink(path)
