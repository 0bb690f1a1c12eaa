"""How often one worker enters the kernel for each transaction of 64 clients, by the counters of its own loop."""
import re
import subprocess

import pytest

from support import system

CLIENTS, EACH = 64, 400
CONNECTS = 200  # where one connects for each transaction
PIPELINE = "\\startpipeline\n" + "select 1 + :client_id;\n" * 10 + "\\endpipeline\n"

pytestmark = pytest.mark.herdgate_only


def pgbench(proxy, *args):
    command = [f"{system.postgres_bin()}/pgbench", "-n", "-h", "127.0.0.1", "-p", str(proxy.port), "-U", "postgres",
               "-c", str(CLIENTS), "-j", "2", "-t", str(EACH), *args, "test"]
    result = subprocess.run(command, capture_output=True, text=True, timeout=250)
    assert result.returncode == 0, result.stdout[-2000:] + result.stderr[-3000:]


@pytest.mark.parametrize("method", ["epoll", "auto"])
@pytest.mark.parametrize("mode, pool_mode, text", [
    ("simple", "session", "select 1 + :client_id;\n"),
    ("simple", "transaction", "select 1 + :client_id;\n"),
    ("prepared", "session", "select 1 + :client_id;\n"),
    ("prepared", "transaction", "select 1 + :client_id;\n"),
    ("prepared", "session", PIPELINE),
    ("prepared", "transaction", PIPELINE),
], ids=["simple-session", "simple-transaction", "prepared-session", "prepared-transaction", "pipeline-session",
        "pipeline-transaction"])
def test_two_receives_two_sends_and_few_waits(start_proxy, tmp_path, mode, pool_mode, text, method):
    """By io_uring the sends are made with the waits, which may be more for that: up to one for each transaction."""
    script = tmp_path / "script.sql"
    script.write_text(text)
    proxy = start_proxy({"num_workers": 1, "pool_mode": pool_mode, "num_init_children": 100, "pool_size": 20
                         if pool_mode == "transaction" else 0, "log_min_messages": "debug1", "io_method": method}, fresh=True)
    pgbench(proxy, "-M", mode, "-f", str(script))
    proxy.stop()
    counters = re.search(r"worker 0: (\d+) waits, \d+ events, (\d+) receives, (\d+) sends \((\d+) with", proxy.log())
    assert counters, proxy.log()[-2000:]
    waits, receives, sends, with_waits = (int(v) / (CLIENTS * EACH) for v in counters.groups())
    print(f"{mode} {pool_mode} {method}: {waits:.2f} waits, {receives:.2f} receives, {sends:.2f} sends, {with_waits:.2f} with the waits")
    assert waits + sends - with_waits < 2.65
    assert waits < (1 if with_waits > 1 else 0.5)
    assert receives < 2.15  # logins included, some 0.06 for each of their messages
    assert sends < 2.15


def switches(pid, thread):
    """How often this thread has gone to sleep so far."""
    with open(f"/proc/{pid}/task/{thread}/status") as f:
        return int(re.search(r"^voluntary_ctxt_switches:\s*(\d+)", f.read(), re.M).group(1))


def test_a_single_worker_accepts_by_itself(start_proxy, tmp_path):
    script = tmp_path / "script.sql"
    script.write_text("select 1;\n")
    proxy = start_proxy({"num_workers": 1, "sr_check_period": 0}, fresh=True)
    pid = proxy.process.pid
    one_by_one = ["-C", "-c", "1", "-f", str(script)]
    pgbench(proxy, *one_by_one, "-t", "10")  # what the control thread learns from the first links is past
    before = switches(pid, pid)
    pgbench(proxy, *one_by_one, "-t", str(CONNECTS))
    woken = (switches(pid, pid) - before) / CONNECTS
    print(f"control thread: {woken:.3f} sleeps for each client")
    assert woken < 0.2  # it was woken once for each
