"""pcp_promote_node --switchover: built in, and by failover_command. Each case ends with "and it recovers"."""
import os
import shutil
import threading
import time

import psycopg
import pytest
from support import system
from support.system import wait_until
from test_builtin_failover import BuiltinHerd, check, run_writers
from test_failover import Herd
from test_recovery import follows, prepare

pytestmark = pytest.mark.herdgate_only


@pytest.fixture
def herd():
    made = []

    def make(kind=BuiltinHerd, **parameters):
        made.append(prepare(kind(recovery_user="postgres", **parameters)))
        return made[-1].start()
    yield make
    for h in made:
        if os.path.exists(h.pcp.passes[True]):
            os.unlink(h.pcp.passes[True])
        h.end()


def switch(h, to):
    """What pcp_promote_node --switchover printed."""
    code, out, err = h.pcp.run("pcp_promote_node", "--switchover", "-n", str(to))
    return out + err


def roles(h):
    return [n.psql("select pg_is_in_recovery()", "postgres") for n in h.cluster.nodes]


def test_without_the_switch_a_standby_is_not_taken_for_the_primary(herd):
    """Nobody would promote it, and the primary that works would be down."""
    h = herd()
    before = h.write()
    err = h.pcp.run("pcp_promote_node", "-n", "2")[2]
    assert err.startswith("ERROR:  could not promote node 2\n") and "Use --switchover." in err
    assert h.state() == (0, (), (0,))
    assert h.write() == before + 1
    # And it recovers: what was taken for the primary by the other method gives way to the one that works.
    h.proxy.settings["failover_method"] = "command"
    h.proxy.reload()
    wait_until(lambda: "configuration files reloaded" in h.proxy.log(), "the reload")
    h.pcp.ok("pcp_promote_node", "-n", "2")
    wait_until(lambda: h.state()[:2] == (2, (0, 1)), "it to be taken for the primary")
    h.proxy.settings["failover_method"] = "builtin"
    h.proxy.reload()
    wait_until(lambda: h.state()[0] != 2, "it to be none any more")
    for node in (0, 1):
        h.pcp.ok("pcp_attach_node", "-n", str(node))
        h.wait_for(primary=0, down=(1,) if node == 0 else ())
    assert h.write() == before + 2
    assert roles(h) == ["f", "t", "t"]


@pytest.mark.parametrize("sync", [pytest.param("", marks=pytest.mark.long), "ANY 1 (node1, node2)"])
def test_there_and_back_under_writes(herd, sync):
    h = herd(sync=sync)
    writer = run_writers(h, patience=30)
    assert switch(h, 2) == "pcp_promote_node -- Command Successful\n"
    h.wait_for(primary=2, down=())
    assert roles(h) == ["t", "t", "f"]
    follows(h, h.cluster.nodes[0], h.cluster.nodes[2])
    follows(h, h.cluster.nodes[1], h.cluster.nodes[2])
    count = len(writer.acknowledged)
    wait_until(lambda: len(writer.acknowledged) > count + 20, "writes on the new primary")
    # And back.
    assert switch(h, 0) == "pcp_promote_node -- Command Successful\n"
    h.wait_for(primary=0, down=())
    assert roles(h) == ["f", "t", "t"]
    check(h, writer)
    assert not writer.errors, "a switchover is a pause and nothing else"
    said = "no commit is missing: it has all that the old primary wrote until its end"
    wait_until(lambda: h.proxy.log().count(said) == 2, "both reasons in the log")
    log = h.proxy.log()
    assert ("synchronous_standby_names of node 2 asks for 0" in log) == bool(sync)
    print(f"longest gap {writer.longest_gap:.2f} s")
    # And it recovers: a failover works as before.
    h.cluster.nodes[0].kill()
    wait_until(lambda: "built-in failover: node" in h.proxy.log() and "was promoted" in h.proxy.log(), "a failover")
    assert h.write() >= 1


def test_refusals_say_why_and_change_nothing(herd):
    h = herd()
    h.write()
    n = h.cluster.nodes
    n[0].psql("drop extension pgpool_recovery", "template1")
    out = switch(h, 1)
    assert "could not switch over to node 1" in out and "CREATE EXTENSION pgpool_recovery" in out
    n[0].psql("create extension pgpool_recovery", "template1")
    assert "already primary" in switch(h, 0)
    conninfo = n[1].psql("show primary_conninfo")
    n[1].psql("alter system set primary_conninfo = ''")
    n[1].psql("select pg_reload_conf()")
    wait_until(lambda: n[1].psql("select count(*) from pg_stat_wal_receiver") == "0", "the receiver to end")
    assert "node 1 does not receive from the primary" in switch(h, 1)
    quoted = conninfo.replace("'", "''")
    n[1].psql(f"alter system set primary_conninfo = '{quoted}'")
    n[1].psql("select pg_reload_conf()")
    wait_until(lambda: n[1].psql("select count(*) from pg_stat_wal_receiver where status = 'streaming'") == "1", "it")
    assert h.state() == (0, (), (0,))
    n[2].kill()
    h.wait_for(primary=0, down=(2,))
    assert "could not promote node 2" in switch(h, 2)
    assert h.write() >= 2
    # And it recovers.
    assert switch(h, 1) == "pcp_promote_node -- Command Successful\n"
    h.wait_for(primary=1, down=(2,))
    assert h.write() >= 3


def test_a_transaction_that_does_not_end_is_cut_off(herd):
    h = herd(failover_wait_timeout=3)
    h.write()
    with h.proxy.connect(autocommit=False) as c:
        c.execute("insert into t values (2)")
        began = time.monotonic()
        assert switch(h, 1) == "pcp_promote_node -- Command Successful\n"
        assert time.monotonic() - began < 60
        wait_until(lambda: "did not end their transactions in time" in h.proxy.log(), "the log to say so")
        with pytest.raises(psycopg.errors.SerializationFailure, match="connection to node 0 was lost"):
            c.execute("select 1")
        c.rollback()
    h.wait_for(primary=1, down=())
    # And it recovers.
    assert h.write() >= 1


def test_the_new_primary_dies_while_the_old_one_stops(herd):
    """The old primary has everything, so it takes over again."""
    h = herd(health_check_period=0, failover_on_backend_error=False)
    h.write()
    # The standby goes as soon as the old primary is being stopped.
    other = h.cluster.nodes[2]
    answers = []
    asker = threading.Thread(target=lambda: answers.append(switch(h, 2)))
    asker.start()
    wait_until(lambda: "switchover to node 2." in h.proxy.log(), "the stop")
    other.kill()
    asker.join(60)
    assert answers
    if "Command Successful" not in answers[0]:
        assert "could not switch over to node 2" in answers[0]
        wait_until(lambda: h.state()[0] == 0, "the old primary")
        assert h.cluster.nodes[0].psql("select pg_is_in_recovery()") == "f"
    # And it recovers.
    other.process = None
    other.start()
    wait_until(lambda: h.write() >= 1, "writes")


def still_there(h):
    """Nothing has changed, and nobody is the worse for it."""
    h.wait_for(primary=0, down=())
    assert roles(h) == ["f", "t", "t"]
    for number in (1, 2):
        follows(h, h.cluster.nodes[number], h.cluster.nodes[0])
    assert h.write() >= 2
    assert "pgpool_remote_start" not in h.proxy.log()


def test_a_connection_that_is_lost_while_writes_end_stops_nothing(herd):
    h = herd()
    h.write()
    ours = "datname = 'template1' and backend_type = 'client backend'"
    with h.proxy.connect(autocommit=False) as c:
        c.execute("insert into t values (1)")
        answers = []
        asker = threading.Thread(target=lambda: answers.append(switch(h, 1)))
        asker.start()
        # It asks for others' transactions, as long as there are any.
        wait_until(lambda: h.cluster.nodes[0].psql("select count(*) from pg_stat_activity where state <> 'active' and "
                                                   f"query like '%backend_type = ''client backend''%' and {ours}") == "1",
                   "the switchover to wait for the transaction")
        h.cluster.nodes[0].psql(f"select pg_terminate_backend(pid) from pg_stat_activity where {ours}")
        asker.join(60)
        c.execute("insert into t values (1)")
        c.commit()
    assert "could not switch over to node 1" in answers[0] and "node 0 could not be asked" in answers[0]
    still_there(h)
    # And it recovers.
    assert switch(h, 1) == "pcp_promote_node -- Command Successful\n"
    h.wait_for(primary=1, down=())


def test_a_primary_that_was_not_stopped_is_taken_back(herd):
    h = herd()
    h.write()
    n = h.cluster.nodes
    n[0].psql("drop extension pgpool_recovery", "template1")
    n[0].psql("create function pgpool_restart_as_standby(text) returns bool language sql as 'select true'", "template1")
    answer = switch(h, 1)
    assert "could not switch over to node 1" in answer and "node 0 was not stopped and is the primary still" in answer
    still_there(h)
    # And it recovers.
    n[0].psql("drop function pgpool_restart_as_standby", "template1")
    n[0].psql("create extension pgpool_recovery", "template1")
    assert switch(h, 1) == "pcp_promote_node -- Command Successful\n"
    h.wait_for(primary=1, down=())


def test_by_failover_command(herd):
    """As the original: the scripts do it, here the samples of etc/."""
    for name in ("failover.sh", "follow_primary.sh"):
        assert os.path.exists(f"{system.ROOT}/etc/{name}.sample")
    h = prepare(Herd(recovery_user="postgres"))
    try:
        pg_bin = h.cluster.bin
        for name in ("failover.sh", "follow_primary.sh"):
            with open(f"{system.ROOT}/etc/{name}.sample") as f:
                h.script(name, f.read())
        passes = f"{h.folder}/pcppass"
        shutil.copy(h.pcp.passes[False], passes)
        os.chmod(passes, 0o600)
        system.give(passes)
        clients = f"{h.folder}/bin"
        os.makedirs(clients)
        os.chmod(clients, 0o755)
        shutil.copy(f"{h.pcp.bin}/pcp_attach_node", f"{clients}/pcp_attach_node")
        h.proxy.environment = {"PGBIN": pg_bin, "PCPBIN": clients, "PCP_PORT": str(h.proxy.pcp_port),
                               "PCP_HOST": "127.0.0.1", "PCP_USER": "postgres", "PCPPASSFILE": passes}
        h.proxy.settings["failover_command"] = f"{h.folder}/failover.sh %d %h %p %D %m %H %M %P %r %R %N %S"
        h.proxy.settings["follow_primary_command"] = f"{h.folder}/follow_primary.sh %d %h %p %D %m %H %r"
        for node in h.cluster.nodes:
            node.append_conf("wal_log_hints = on")
            node.append_conf(f"port = {node.port}")
        h.cluster.stop()
        h.cluster.start()
        h.start()
        h.write()
        assert switch(h, 1) == "pcp_promote_node -- Command Successful\n"
        h.wait_for(primary=1, down=())
        assert roles(h) == ["t", "f", "t"]
        for number in (0, 2):
            follows(h, h.cluster.nodes[number], h.cluster.nodes[1])
        # And it recovers.
        assert h.write() >= 2
    finally:
        h.end()
