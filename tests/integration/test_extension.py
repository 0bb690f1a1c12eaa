"""The server-side extension pgpool_recovery, on a server of its own and by SQL alone."""
import os
import subprocess
import threading
import time

import pytest
from support import system
from support.cluster import Cluster
from support.system import wait_until

pytestmark = pytest.mark.herdgate_only
SAYS = """#!/bin/sh
for a in "$0" "$@"; do printf '[%s]' "$a"; done > "$(dirname "$0")/said"
"""


def install_extensions():
    done = subprocess.run([f"{system.ROOT}/scripts/install_extensions"], capture_output=True, text=True)
    if done.returncode != 0:
        pytest.skip(f"the extension cannot be installed: {done.stderr.strip().splitlines()[-1]}")


@pytest.fixture(scope="module")
def node():
    install_extensions()
    c = Cluster(nodes=1).create().start()
    try:
        c.primary.psql("create extension pgpool_recovery")
        yield c.primary
    finally:
        c.destroy()


def script(node, name, text, mode=0o700):
    path = f"{node.data}/{name}"
    with open(path, "w") as f:
        f.write(text)
    os.chmod(path, mode)
    return system.give(path)


def refusal(node, sql, user="postgres"):
    with pytest.raises(RuntimeError) as e:
        node.psql(sql, user=user)
    return str(e.value)


def said(node):
    with open(f"{node.data}/said") as f:
        return f.read()


def commanded(node, sql):
    """What ends the server: the end of the session may be faster than the answer, or come with it."""
    try:
        assert "t" in node.psql(sql).splitlines()
    except RuntimeError as e:
        assert "terminating connection due to administrator command" in str(e)


def test_version_and_signatures(node):
    assert node.psql("select extversion from pg_extension where extname = 'pgpool_recovery'") == "1.4"
    there = node.psql("select oid::regprocedure || ' ' || prorettype::regtype from pg_proc "
                      "where probin like '%pgpool-recovery%'").splitlines()
    words = ["text", "text", "text", "text", "integer", "text", "text"]
    assert set(there) == {*(f"pgpool_recovery({','.join(words[:n])}) boolean" for n in (3, 4, 5, 6, 7)),
                          "pgpool_remote_start(text,text) boolean", "pgpool_pgctl(text,text) boolean",
                          "pgpool_switch_xlog(text) text", "pgpool_restart_as_standby(text) boolean"}


def test_a_script_gets_its_arguments_untouched(node):
    path = script(node, "say", SAYS)
    nasty = "$(touch /tmp/x) `id` \"quoted\" ; rm *\nnew line"
    sql_nasty = nasty.replace("'", "''")
    assert node.psql(f"select pgpool_recovery('say', '{sql_nasty}', '/d d', '5432', 2, '5433', 'main')") == "t"
    assert said(node) == f"[{path}][{node.data}][{nasty}][/d d][5432][2][5433][main]"
    for more, count in (("", 4), (", '5432'", 5), (", '5432', 2", 6), (", '5432', 2, '5433'", 7)):
        assert node.psql(f"select pgpool_recovery('say', 'h', '/d'{more})") == "t"
        assert said(node).count("[") == count
    script(node, "pgpool_remote_start", SAYS)
    assert node.psql("select pgpool_remote_start('h h', '/d')") == "t"
    assert said(node) == f"[{node.data}/pgpool_remote_start][h h][/d]"


@pytest.mark.parametrize("name", ["../bin/sh", "/bin/sh", "base/x", "", "no_such_script"])
def test_only_scripts_of_the_data_directory(node, name):
    text = refusal(node, f"select pgpool_recovery('{name}', 'h', '/d')")
    assert "is no name of a script" in text or "could not find script" in text


def test_what_is_no_script(node):
    assert "no file that the server may run" in refusal(node, "select pgpool_recovery('base', 'h', '/d')")
    script(node, "plain", SAYS, mode=0o600)
    assert "no file that the server may run" in refusal(node, "select pgpool_recovery('plain', 'h', '/d')")
    script(node, "broken", "#!/no/such/shell\n")
    assert "ended with exit code 127: could not run it" in refusal(node, "select pgpool_recovery('broken', 'h', '/d')")


def test_exit_code_and_standard_error_are_reported(node):
    script(node, "fail", "#!/bin/sh\necho to the log\necho first >&2\necho 'no space left' >&2\nexit 3\n")
    text = refusal(node, "select pgpool_recovery('fail', 'h', '/d')")
    assert 'script "fail" ended with exit code 3: no space left' in text
    assert "first\nno space left" in text
    assert "to the log" in node.log() and "first" in node.log()
    script(node, "fail", "#!/bin/sh\nhead -c 100000 /dev/zero | tr '\\0' x >&2\necho >&2\necho end >&2\nkill -9 $$\n")
    text = refusal(node, "select pgpool_recovery('fail', 'h', '/d')")
    assert "was killed by signal 9: end" in text and len(text) < 5000
    script(node, "fail", "#!/bin/sh\nprintf '\\377\\376' >&2\nexit 1\n")
    assert "ended with exit code 1" in refusal(node, "select pgpool_recovery('fail', 'h', '/d')")
    # And it recovers.
    script(node, "fail", "#!/bin/sh\nexit 0\n")
    assert node.psql("select pgpool_recovery('fail', 'h', '/d')") == "t"


def test_a_cancelled_query_ends_its_script(node):
    script(node, "long", "#!/bin/sh\necho $$ > \"$1/long.pid\"\nsleep 1000\n")
    path, answers = f"{node.data}/long.pid", []
    asker = threading.Thread(target=lambda: answers.append(refusal(node, "select pgpool_recovery('long', 'h', '/d')")))
    asker.start()
    wait_until(lambda: os.path.exists(path) and os.path.getsize(path), "the script to run")
    node.psql("select pg_cancel_backend(pid) from pg_stat_activity where query like '%long%' and pid <> pg_backend_pid()")
    asker.join(60)
    assert "canceling statement due to user request" in answers[0]
    with open(path) as f:
        pid = int(f.read())
    wait_until(lambda: not system.alive(pid), "the script to end")


def test_a_process_left_behind_is_not_waited_for(node):
    script(node, "leave", "#!/bin/sh\nsleep 60 &\nexit 0\n")
    began = time.monotonic()
    assert node.psql("select pgpool_recovery('leave', 'h', '/d')") == "t"
    assert time.monotonic() - began < 50


def test_superusers_only(node):
    calls = ["pgpool_recovery('say', 'h', '/d')", "pgpool_remote_start('h', '/d')", "pgpool_pgctl('reload', '')",
             "pgpool_switch_xlog('/tmp')", "pgpool_restart_as_standby('fast')"]
    for call in calls:
        assert "permission denied for function" in refusal(node, f"select {call}", user="test")
    # Not even when somebody granted it.
    node.psql("grant execute on all functions in schema public to test")
    for call in calls:
        assert "only superusers may control the server" in refusal(node, f"select {call}", user="test")
    node.psql("revoke execute on all functions in schema public from test")


def test_switch_xlog_waits_for_the_archive(node):
    folder = system.scratch("archive")
    node.psql("alter system set archive_mode = on", "postgres")
    node.psql(f"alter system set archive_command = 'cp %p {folder}/%f'", "postgres")
    node.stop()
    node.start()
    node.psql("create table if not exists t as select 1")
    segment = node.psql(f"select pgpool_switch_xlog('{folder}')")
    assert len(segment) == 24 and os.path.exists(f"{folder}/{segment}")
    assert "is no directory" in refusal(node, "select pgpool_switch_xlog('/no/such')")


def test_pgctl(node):
    node.append_conf("work_mem = '77MB'")
    assert node.psql("select pgpool_pgctl('reload', 'fast')") == "t"
    wait_until(lambda: node.psql("show work_mem") == "77MB", "the new setting")
    assert "invalid action" in refusal(node, "select pgpool_pgctl('explode', 'fast')")
    assert "invalid stop mode" in refusal(node, "select pgpool_pgctl('stop', 'softly')")
    before = node.pid()
    commanded(node, "select pgpool_pgctl('restart', 'fast')")
    wait_until(lambda: node.pid() not in (0, before), "another postmaster")
    node.process = None
    wait_until(node.ready, "the server to answer")
    assert node.psql("show work_mem") == "77MB"
    commanded(node, "select pgpool_pgctl('stop', 'fast')")
    wait_until(lambda: not node.pid(), "the server to end")
    # And it recovers.
    node.start()
    assert node.psql("select 1") == "1"


def test_restart_as_standby(node):
    assert "primary_conninfo is empty" in refusal(node, "select pgpool_restart_as_standby('fast')")
    node.psql("alter system set primary_conninfo = 'host=/nowhere port=1'")
    node.append_conf("pgpool.pg_ctl = '/no/such/pg_ctl'")
    node.psql("select pg_reload_conf()")
    wait_until(lambda: node.psql("show primary_conninfo"), "primary_conninfo")
    assert 'could not start "/no/such/pg_ctl"' in refusal(node, "select pgpool_restart_as_standby('fast')")
    assert not node.is_standby()
    node.append_conf("pgpool.pg_ctl = ''")
    node.psql("select pg_reload_conf()")
    assert node.psql("select pg_is_in_recovery()") == "f"
    before = node.pid()
    commanded(node, "select pgpool_restart_as_standby('fast')")
    wait_until(lambda: node.pid() not in (0, before), "another postmaster")
    node.process = None
    wait_until(node.ready, "the server to answer")
    assert node.psql("select pg_is_in_recovery()") == "t" and node.is_standby()
    # And it recovers.
    node.promote()
    assert node.psql("select pg_is_in_recovery()") == "f"


@pytest.mark.skipif(os.getuid() != 0 or not os.path.exists(f"{system.TRIXIE}/.recipe"), reason="scripts/fetch_trixie")
@pytest.mark.parametrize("extension, library", [("pgpool_recovery", "pgpool-recovery"), ("pgpool_adm", "pgpool_adm"),
                                                ("pgpool_regclass", "pgpool-regclass")])
def test_builds_against_postgresql_17(tmp_path, extension, library):
    """Its headers lie in the unpacked tree; so pg_config is asked in there and its answers moved."""
    pg_config = tmp_path / "pg_config"
    pg_config.write_text(f"#!/bin/bash\n{system.IN_TRIXIE} pg_config \"$@\" | "
                         f"sed -E 's#(^|[ =])/usr#\\1{system.TRIXIE}/usr#g'\n")
    pg_config.chmod(0o755)
    done = subprocess.run(["make", "-C", str(tmp_path), "-f", f"{system.ROOT}/sql/extension/{extension}/Makefile",
                           f"PG_CONFIG={pg_config}", "with_llvm=no"], capture_output=True, text=True)
    assert done.returncode == 0 and "warning" not in done.stderr, done.stderr
    assert "/17/server" in done.stdout and (tmp_path / f"{library}.so").exists()
