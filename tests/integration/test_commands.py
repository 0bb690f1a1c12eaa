"""The pgpool command: start, stop, reload, checks, files; as scripts and service managers use it."""
import concurrent.futures
import os
import signal
import socket
import subprocess

import psycopg
import pytest

from support import system
from support.proxy import Proxy
from support.system import wait_until

pytestmark = pytest.mark.proxy_only
herdgate_only = pytest.mark.herdgate_only


@pytest.fixture
def fresh(cluster):
    """A proxy of this test's own, not started."""
    proxy = Proxy(cluster)
    yield proxy
    proxy.remove()


def pgpool(proxy, *args, seconds=40):
    options = {} if proxy.kind == "pgpool" else system.run_as()
    return subprocess.run(proxy.command(*args), stdin=subprocess.DEVNULL, capture_output=True, text=True,
                          timeout=seconds, cwd="/tmp", env={**os.environ, "HOME": proxy.inner}, **options)


def test_version(fresh):
    fresh.write_files()
    result = pgpool(fresh, "--version")
    text = result.stdout + result.stderr
    assert result.returncode == 0 and text.split()[1] == "version" and text.split()[2].startswith("4.6"), text


def test_unknown_option_and_argument(fresh):
    fresh.write_files()
    assert pgpool(fresh, "--no-such-option").returncode == 1
    assert pgpool(fresh, "frobnicate").returncode == 1
    assert pgpool(fresh, "-m", "x", "stop").returncode == 1


@pytest.mark.parametrize("mode", ["s", "smart", "f", "fast", "i", "immediate"])
def test_start_and_stop(fresh, mode):
    fresh.start()
    pid_file = f"{fresh.folder}/pgpool.pid"
    with open(pid_file, "rb") as f:
        content = f.read()
    assert content.endswith(b"\0") and int(content[:-1]) == fresh.process.pid
    assert os.stat(pid_file).st_mode & 0o777 == 0o600
    assert os.path.exists(f"{fresh.folder}/.s.PGSQL.{fresh.port}")
    # The command waits for the process to be gone, which it is only when we, its parent, have seen it end.
    with concurrent.futures.ThreadPoolExecutor() as threads:
        result = threads.submit(pgpool, fresh, "-m", mode, "stop")
        assert fresh.process.wait(60) == 0
        assert result.result().returncode == 0, result.result().stderr
    fresh.process = None
    assert not os.path.exists(pid_file) and not os.path.exists(f"{fresh.folder}/.s.PGSQL.{fresh.port}")
    fresh.start()  # at once, on the same port
    fresh.stop()


def test_stop_when_nothing_runs(fresh):
    fresh.write_files()
    assert pgpool(fresh, "-m", "f", "stop").returncode != 0


def test_second_start_is_refused(fresh):
    fresh.start()
    result = pgpool(fresh, "-n")
    assert result.returncode == 1 and "pid file found" in result.stderr + result.stdout
    fresh.stop()


@herdgate_only
def test_stale_pid_file(fresh):
    fresh.start()
    fresh.abort()
    assert os.path.exists(f"{fresh.folder}/pgpool.pid")
    fresh.start()
    fresh.stop()


@herdgate_only
def test_background_start(fresh):
    fresh.write_files()
    assert pgpool(fresh, "-D").returncode == 0
    wait_until(lambda: system.can_connect(fresh.port), "the server to listen")
    with fresh.connect() as c:
        assert c.execute("select 1").fetchone() == (1,)
    assert pgpool(fresh, "-m", "f", "stop").returncode == 0


def test_smart_stop_waits_for_clients(fresh):
    fresh.start()
    with fresh.connect() as c:
        os.kill(fresh.process.pid, signal.SIGTERM)
        for _ in range(20):
            assert c.execute("select pg_sleep(0.02), 7").fetchone()[1] == 7
        assert fresh.process.poll() is None
    assert fresh.process.wait(60) == 0
    fresh.process = None


def test_unix_socket(fresh):
    fresh.start()
    with psycopg.connect(f"host={fresh.folder} port={fresh.port} user=postgres dbname=test") as c:
        assert c.execute("select 1").fetchone() == (1,)
    fresh.stop()


@pytest.mark.skipif(not os.path.exists("/proc/net/if_inet6") or not open("/proc/net/if_inet6").read(), reason="no IPv6")
def test_ipv6(fresh):
    fresh.settings["listen_addresses"] = "*"
    fresh.start()
    with psycopg.connect(f"host=::1 port={fresh.port} user=postgres dbname=test") as c:
        assert c.execute("select 1").fetchone() == (1,)
    fresh.stop()


def test_reload_applies(fresh):
    fresh.start()
    fresh.settings["client_idle_limit"] = 33
    fresh.write_files()
    assert pgpool(fresh, "reload").returncode == 0

    def shown():
        with fresh.connect() as c:
            return c.execute("pgpool show client_idle_limit").fetchone()[0]

    wait_until(lambda: shown() in ("33", "33s"), "the new value")
    fresh.stop()


def test_reload_takes_a_new_node_in(fresh):
    added = {name: fresh.settings.pop(name) for name in list(fresh.settings) if name.startswith("backend_")
             and name.endswith("2")}
    fresh.start()
    with fresh.connect() as c:
        assert len(c.execute("show pool_nodes").fetchall()) == 2
        fresh.settings.update(added)
        fresh.write_files()
        assert pgpool(fresh, "reload").returncode == 0
        wait_until(lambda: [(r[3], r[6]) for r in c.execute("show pool_nodes").fetchall()][2:] == [("up", "standby")],
                   "the new node to be a standby in use")
    fresh.stop()


@herdgate_only
def test_reload_with_an_error_keeps_all_old_settings(fresh):
    fresh.start()
    fresh.settings["client_idle_limit"] = 44
    fresh.settings["num_init_children"] = "many"
    fresh.reload()
    wait_until(lambda: "num_init_children" in fresh.log(), "the error to be named")
    with fresh.connect() as c:
        assert c.execute("pgpool show client_idle_limit").fetchone()[0] in ("0", "0s")
    fresh.stop()


@herdgate_only
@pytest.mark.parametrize("name,value", [
    ("port", "99999999"), ("num_init_children", "-1"), ("load_balance_mode", "perhaps"),
    ("backend_clustering_mode", "sideways"), ("backend_weight0", "-3"), ("child_life_time", "5 parsecs"),
    ("backend_clustering_mode", "native_replication"), ("use_watchdog", "on"),
])
def test_nonsense_is_refused_with_the_line(fresh, name, value):
    fresh.settings.pop(name, None)
    fresh.settings[name] = value
    fresh.write_files()
    for args in (("-n",), ("--check",)):
        result = pgpool(fresh, *args)
        text = result.stdout + result.stderr
        assert result.returncode == 1 and name.rstrip("0") in text and "pgpool.conf" in text, text
    assert not system.can_connect(fresh.port)


@herdgate_only
def test_check_accepts_a_good_configuration(fresh):
    fresh.write_files()
    result = pgpool(fresh, "--check")
    assert result.returncode == 0, result.stdout + result.stderr


@herdgate_only
def test_check_reads_the_other_files(fresh):
    fresh.files["pool_hba.conf"] = "host all all 127.0.0.1/32 frobnicate\n"
    fresh.settings["enable_pool_hba"] = True
    fresh.write_files()
    result = pgpool(fresh, "--check")
    assert result.returncode == 1 and "pool_hba.conf" in result.stdout + result.stderr


@herdgate_only
@pytest.mark.parametrize("entry,words", [
    ("cow:", "is empty"), ("cow:SCRAM-SHA-256$bad", "is no complete SCRAM-SHA-256 verifier"),
    ("cow:AESzz", "could not be decrypted with the key file"),
    ("cow:AESnotOfThisKeyAAAAAAAAA==", "could not be decrypted with the key file"), ("cow:plain", None),
])
@pytest.mark.parametrize("key", [True, False])
def test_check_tells_of_passwords_that_let_nobody_in(fresh, entry, words, key):
    fresh.files["pool_passwd"] = entry + "\n"
    fresh.files["key"] = "a key\n"
    fresh.write_files()
    os.chmod(f"{fresh.folder}/key", 0o600)
    result = pgpool(fresh, *(["-k", f"{fresh.inner}/key"] if key else []), "--check")
    text = result.stdout + result.stderr
    if words and not key:
        words = words.replace("could not be decrypted with the key file", "is encrypted and there is no key file")
    assert result.returncode == 0 and (f'the password of "cow" {words}' in text if words else "password" not in text), text


@herdgate_only
def test_last_value_wins_and_unquoted_spellings(fresh):
    fresh.write_files()
    with open(f"{fresh.folder}/pgpool.conf", "a") as f:
        f.write("\n\tclient_idle_limit=10 # first\nclient_idle_limit = 2min\nlog_statement ON\nunix_socket_permissions = 0770\n")
    process = system.start(fresh.command("-n"), fresh.log_path)
    fresh.process = process
    wait_until(fresh.ready, "the server to listen")
    with fresh.connect() as c:
        assert c.execute("pgpool show client_idle_limit").fetchone()[0] in ("120", "2min")
        assert c.execute("pgpool show log_statement").fetchone() == ("on",)
    assert os.stat(f"{fresh.folder}/.s.PGSQL.{fresh.port}").st_mode & 0o777 == 0o770
    fresh.stop()


@herdgate_only
def test_readiness_is_told_to_the_service_manager(fresh):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as s:
        path = f"{fresh.folder}/notify"
        s.bind(path)
        os.chmod(path, 0o777)
        s.settimeout(60)
        fresh.environment["NOTIFY_SOCKET"] = path
        fresh.start()
        assert b"READY=1" in s.recv(4096)
    fresh.stop()


@herdgate_only
def test_full_disk_for_the_log(fresh):
    """A log that cannot be written is no reason to stop serving."""
    fresh.write_files()
    with open("/dev/full", "w") as full:
        fresh.process = subprocess.Popen(fresh.command("-D", "-n"), stdin=subprocess.DEVNULL, stdout=full, stderr=full,
                                         cwd="/tmp", start_new_session=True, **system.run_as())
    wait_until(fresh.ready, "the server to listen")
    for _ in range(20):
        with fresh.connect() as c:
            assert c.execute("select 1").fetchone() == (1,)
    fresh.stop()
