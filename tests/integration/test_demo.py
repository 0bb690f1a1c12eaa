"""./dev up and ./dev down without the building: what they print is so."""
import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys

import pytest

from support import system
from support.proxy import UNDER_TEST

pytestmark = pytest.mark.skipif(UNDER_TEST != "herdgate", reason="Herdgate only")


def processes_in(folder):
    found = []
    for pid in system.parents():
        try:
            if any(os.readlink(f"/proc/{pid}/{name}").startswith(folder) for name in ("cwd", "exe")):
                found.append(pid)
        except OSError:
            pass  # it has ended, or is the kernel's
    return found


@pytest.fixture
def folder():
    path = system.scratch("demo")
    yield f"{path}/new"
    for pid in processes_in(path):  # the test has failed
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    shutil.rmtree(path, ignore_errors=True)


def run(*words, **options):
    return subprocess.run(words, check=True, stdout=subprocess.PIPE, text=True, timeout=120, **options).stdout


def demo(folder, word, **environment):
    return run(sys.executable, f"{system.ROOT}/scripts/demo.py", word,
               env={**os.environ, "HERDGATE_DEMO_DIR": folder, **environment})


def test_up_and_down(folder):
    assert demo(folder, "down") == "nothing runs\n"
    # The second time with what is there, and nothing to build extensions with.
    for id, environment in ((1, {}), (2, {"PG_CONFIG": "/bin/false"})):
        said = demo(folder, "up", **environment)
        assert "extensions are not installed" in said or not environment, said
        assert re.search(rf"insert into herd … returning id → {id}  served by node 0 \(primary, port \d+\)\n", said), said
        reads = re.findall(r"  select … +served by (?:node 0 \(primary|node [12] \(standby), port (\d+)\)\n", said)
        assert len(reads) == 6, said
        psql = [*re.search(r"^It runs: +(psql .*)$", said, re.M)[1].split(), "-X", "-A", "-t"]
        assert run(*psql, "-c", "/*NO LOAD BALANCE*/ select count(*) from herd") == f"{id}\n"
        ports = set(run(*psql, *["-c", "select inet_server_port()"] * 50).split())
        assert len(ports) == 3 and ports >= set(reads)
        assert len(processes_in(folder)) > 4
        assert demo(folder, "down") == "stopped\n"
        assert processes_in(folder) == []
