"""How often one worker enters the kernel for each transaction of 64 clients, by the counters of its own loop."""
import re
import subprocess

import pytest

from support import system

CLIENTS, EACH = 64, 400
PIPELINE = "\\startpipeline\n" + "select 1 + :client_id;\n" * 10 + "\\endpipeline\n"

pytestmark = pytest.mark.herdgate_only


def pgbench(proxy, *args):
    command = [f"{system.postgres_bin()}/pgbench", "-n", "-h", "127.0.0.1", "-p", str(proxy.port), "-U", "postgres",
               "-c", str(CLIENTS), "-j", "2", "-t", str(EACH), *args, "test"]
    result = subprocess.run(command, capture_output=True, text=True, timeout=110)
    assert result.returncode == 0, result.stdout[-2000:] + result.stderr[-3000:]


@pytest.mark.parametrize("mode, pool_mode, text", [
    ("simple", "session", "select 1 + :client_id;\n"),
    ("simple", "transaction", "select 1 + :client_id;\n"),
    ("prepared", "session", "select 1 + :client_id;\n"),
    ("prepared", "transaction", "select 1 + :client_id;\n"),
    ("prepared", "session", PIPELINE),
    ("prepared", "transaction", PIPELINE),
], ids=["simple-session", "simple-transaction", "prepared-session", "prepared-transaction", "pipeline-session",
        "pipeline-transaction"])
def test_two_receives_two_sends_and_few_waits(start_proxy, tmp_path, mode, pool_mode, text):
    script = tmp_path / "script.sql"
    script.write_text(text)
    proxy = start_proxy({"num_workers": 1, "pool_mode": pool_mode, "num_init_children": 100, "pool_size": 20
                         if pool_mode == "transaction" else 0, "log_min_messages": "debug1"}, fresh=True)
    pgbench(proxy, "-M", mode, "-f", str(script))
    proxy.stop()
    counters = re.search(r"worker 0: (\d+) waits, \d+ events, (\d+) receives, (\d+) sends", proxy.log())
    assert counters, proxy.log()[-2000:]
    waits, receives, sends = (int(v) / (CLIENTS * EACH) for v in counters.groups())
    print(f"{mode} {pool_mode}: {waits:.2f} waits, {receives:.2f} receives, {sends:.2f} sends")
    assert waits < 0.5
    assert receives < 2.15  # logins included, some 0.06 for each of their messages
    assert sends < 2.15
