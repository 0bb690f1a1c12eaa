"""Online recovery and attaching: the sample scripts of etc/ on real servers. Each case ends with "and it recovers"."""
import os
import shutil
import threading
import time

import psycopg
import pytest
from support import system
from support.system import wait_until
from test_builtin_failover import BuiltinHerd
from test_extension import install_extensions
from test_failover import Herd
from test_pcp import USERS, Pcp

pytestmark = pytest.mark.herdgate_only
SCRIPTS = ("recovery_1st_stage", "recovery_basebackup", "pgpool_remote_start")


def prepare(h):
    """The extension, the samples in every data directory, PCP."""
    install_extensions()
    h.cluster.primary.psql("create extension pgpool_recovery", "template1")
    for node in h.cluster.nodes:
        for name in SCRIPTS:
            shutil.copy(f"{system.ROOT}/etc/{name}.sample", f"{node.data}/{name}")
            os.chmod(f"{node.data}/{name}", 0o700)
            system.give(f"{node.data}/{name}")
    h.proxy.files["pcp.conf"] = USERS
    h.pcp = Pcp(h.proxy)
    return h


# By the original's commands and by our own failover; of the latter `./dev test` runs all, of the former one.
BOTH = pytest.mark.parametrize("herd", ["command", "builtin"], indirect=True)
BUILTIN_FIRST = pytest.mark.parametrize("herd", [pytest.param("command", marks=pytest.mark.long), "builtin"], indirect=True)


@pytest.fixture
def herd(request):
    made = []

    def make(**parameters):
        kind = BuiltinHerd if request.param == "builtin" else Herd
        h = kind(**{"recovery_user": "postgres", "recovery_1st_stage_command": "recovery_1st_stage",
                    "recovery_timeout": 60, **parameters})
        made.append(h)
        return prepare(h).start()
    yield make
    for h in made:
        if os.path.exists(h.pcp.passes[True]):
            os.unlink(h.pcp.passes[True])
        h.end()


def follows(h, node, primary=None):
    primary = primary or h.cluster.primary
    primary.psql("create table if not exists after_all (n int)")
    primary.psql("insert into after_all values (1)")
    count = primary.psql("select count(*) from after_all")
    wait_until(lambda: node.psql("select to_regclass('after_all') is not null") == "t", "the table to follow")
    wait_until(lambda: node.psql("select count(*) from after_all") == count, "the rows to follow")


@BOTH
def test_a_standby_without_data_comes_back(herd):
    h = herd(recovery_1st_stage_command="recovery_basebackup")
    h.write()
    n = h.cluster.nodes[2]
    assert "node recovery failed, node id: 2 is alive" in h.pcp.run("pcp_recovery_node", "-n", "2")[2]
    assert "primary server cannot be recovered" in h.pcp.run("pcp_recovery_node", "0")[2]
    n.kill()
    h.wait_for(primary=0, down=(2,))
    shutil.rmtree(n.data)
    assert h.pcp.ok("pcp_recovery_node", "-n", "2") == "pcp_recovery_node -- Command Successful\n"
    h.wait_for(primary=0, down=())
    follows(h, n)
    wait_until(lambda: "recovery done" in h.proxy.log(), "its end in the log")
    log = h.proxy.log()
    lines = ["starting recovering node 2", "node recovery, 1st stage is done", "node recovery, node: 2 restarted",
             "recovery done"]
    assert [log.find(line) for line in lines] == sorted(log.find(line) for line in lines)
    assert -1 not in [log.find(line) for line in lines]
    # And it recovers: another time, too. (Stopped, not killed: the script's server has no parent here that would reap it.)
    n.stop()
    h.wait_for(primary=0, down=(2,))
    h.pcp.ok("pcp_recovery_node", "-n", "2")
    h.wait_for(primary=0, down=())
    follows(h, n)


def successor_of_node_0(h):
    """The built-in failover takes the one that has more, which need not be node 1."""
    def reached():
        try:
            primary, down, real = h.state()
        except psycopg.Error:
            return False
        return primary in (1, 2) and down == (0,) and real == (primary,)
    wait_until(reached, "a successor of node 0")
    return h.state()[0]


@BUILTIN_FIRST
def test_an_old_primary_is_rewound(herd):
    """The old primary has written what nobody has received: it can only follow after pg_rewind."""
    h = herd(follow_primary_command="")
    h.cluster.nodes[0].stop()
    successor = successor_of_node_0(h)
    old, new = h.cluster.nodes[0], h.cluster.nodes[successor]
    h.write()
    old.start()
    old.psql("create table lost as select generate_series(1, 1000)")
    wait_until(lambda: "node 0 answers again and is not used" in h.proxy.log(), "the report about the old primary")
    assert h.state() == (successor, (0,), (successor,))
    h.pcp.ok("pcp_recovery_node", "-n", "0")
    h.wait_for(primary=successor, down=())
    follows(h, old, new)
    assert old.psql("select to_regclass('lost') is null") == "t"
    # And it recovers.
    assert h.write() >= 2


def when_no_failover(h, *words):
    """What it says once what it asks for is not refused because of a failover whose commands still run."""
    def said():
        out = h.pcp.run(*words)[2]
        return out if "is in progress" not in out else None
    return wait_until(said, "the failover's end")


def reload(h, **settings):
    before = h.proxy.log().count("configuration files reloaded")
    h.proxy.settings.update(settings)
    h.proxy.reload()
    wait_until(lambda: h.proxy.log().count("configuration files reloaded") > before, "the reload")


@BUILTIN_FIRST
def test_failures_are_told_and_leave_the_node_down(herd):
    h = herd(recovery_timeout=3)
    n = h.cluster.nodes[2]
    n.kill()
    h.wait_for(primary=0, down=(2,))
    kept = f"{n.data}.kept"
    os.rename(n.data, kept)
    out = when_no_failover(h, "pcp_recovery_node", "-n", "2")
    assert 'execution of command failed at "1st stage"' in out and "there is no server in" in out
    assert h.state()[1] == (2,)
    os.rename(kept, n.data)
    start = f"{h.cluster.primary.data}/pgpool_remote_start"
    with open(start) as f:
        good = f.read()

    def script(text):
        with open(start, "w") as f:
            f.write(text)
    script("#!/bin/sh\necho nobody home >&2\nexit 7\n")
    out = h.pcp.run("pcp_recovery_node", "-n", "2")[2]
    assert "executing remote start failed" in out and "ended with exit code 7: nobody home" in out
    script("#!/bin/sh\nexit 0\n")
    began = time.monotonic()
    out = h.pcp.run("pcp_recovery_node", "-n", "2")[2]
    assert 'database:"' in out and "failed to start in 3 second" in out
    assert 3 <= time.monotonic() - began < 60
    assert h.state()[1] == (2,)
    h.cluster.primary.psql("drop extension pgpool_recovery", "template1")
    how = ("Node 0 has no such function in database template1: install Herdgate's extension pgpool_recovery there and run "
           "CREATE EXTENSION pgpool_recovery, behind a DROP EXTENSION pgpool_recovery where an older version is installed.")
    # Of an older version, say.
    h.cluster.primary.psql("create function pgpool_recovery(text, text, text) returns bool return true", "template1")
    out = h.pcp.run("pcp_recovery_node", "-n", "2")[2]
    assert "function pgpool_recovery(" in out and "does not exist" in out and how in out
    h.cluster.primary.psql("drop function pgpool_recovery", "template1")
    reload(h, recovery_1st_stage_command="")
    out = h.pcp.run("pcp_recovery_node", "-n", "2")[2]
    assert "executing remote start failed" in out and "function pgpool_remote_start(" in out and how in out
    wait_until(lambda: "node 2 is started with the data it has" in h.proxy.log(), "the log to say so")
    reload(h, recovery_1st_stage_command="recovery_1st_stage")
    h.cluster.primary.psql("create extension pgpool_recovery", "template1")
    # And it recovers.
    script(good)
    h.pcp.ok("pcp_recovery_node", "-n", "2")
    h.wait_for(primary=0, down=())
    follows(h, n)


@BUILTIN_FIRST
def test_one_recovery_at_a_time_and_nothing_waits_for_it(herd):
    h = herd()
    n = h.cluster.nodes[2]
    n.kill()
    h.wait_for(primary=0, down=(2,))
    gate = f"{h.folder}/go"
    with open(f"{h.cluster.primary.data}/recovery_1st_stage") as f:
        good = f.read()
    with open(f"{h.cluster.primary.data}/recovery_1st_stage", "w") as f:
        f.write(f"#!/bin/bash\nwhile [ ! -e {gate} ]; do sleep 0.05; done\n" + good)
    answers = []
    asker = threading.Thread(target=lambda: answers.append(h.pcp.run("pcp_recovery_node", "-n", "2")))
    asker.start()
    wait_until(lambda: "starting recovery command" in h.proxy.log(), "the first stage")
    code, out, err = h.pcp.run("pcp_recovery_node", "-n", "2")
    assert err == ("FATAL:  process recovery request failed\n"
                   "DETAIL:  pgpool-II is already processing another recovery request\n\n")
    assert h.write() >= 1
    h.pcp.ok("pcp_detach_node", "-n", "1")
    h.wait_for(primary=0, down=(1, 2))
    open(gate, "w").close()
    asker.join(60)
    assert answers and answers[0][1] == "pcp_recovery_node -- Command Successful\n", answers
    # And it recovers.
    h.pcp.ok("pcp_attach_node", "-n", "1")
    h.wait_for(primary=0, down=())
    follows(h, n)


@pytest.mark.long
def test_a_standby_that_missed_the_failover_is_pointed_at_the_new_primary():
    h = prepare(BuiltinHerd(recovery_user="postgres", recovery_1st_stage_command="recovery_1st_stage"))
    try:
        h.start()
        h.write()
        away = h.cluster.nodes[2]
        away.stop()
        h.wait_for(primary=0, down=(2,))
        h.cluster.nodes[0].kill()
        h.wait_for(primary=1, down=(0, 2))
        new = h.cluster.nodes[1]
        h.write()
        away.start()
        h.pcp.ok("pcp_attach_node", "-n", "2")
        h.wait_for(primary=1, down=(0,))
        follows(h, away, new)
        # The old primary comes back as one: it is said, and it is not attached.
        h.cluster.nodes[0].start()
        wait_until(lambda: "node 0 answers again and is not used" in h.proxy.log(), "the report")
        assert "it would be a second primary" in h.pcp.run("pcp_attach_node", "-n", "0")[2]
        # One that has what the new primary lacks cannot follow, and is told so.
        h.cluster.nodes[0].psql("create table lost as select generate_series(1, 1000)")
        h.cluster.nodes[0].stop()
        h.cluster.nodes[0].append_conf(f"primary_conninfo = 'host=127.0.0.1 port={new.port} user=postgres'")
        open(f"{h.cluster.nodes[0].data}/standby.signal", "w").close()
        system.give(f"{h.cluster.nodes[0].data}/standby.signal")
        h.cluster.nodes[0].start()
        assert "it does not receive from the primary" in h.pcp.run("pcp_attach_node", "-n", "0")[2]
        assert h.state() == (1, (0,), (1,))
        # And it recovers.
        assert h.write() >= 2
    finally:
        h.end()
