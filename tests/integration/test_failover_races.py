"""What goes on while a built-in failover or switchover begins, and must not spoil it. Each case ends with "and it recovers"."""
import contextlib
import os
import shutil
import signal
import subprocess
import threading

import psycopg
import pytest
from support import netns, system
from support.proxy import Proxy
from support.system import family, wait_until
from support.wire import Client, message, startup
from test_builtin_failover import BuiltinHerd, streams_from
from test_recovery import prepare

pytestmark = pytest.mark.herdgate_only
CONNINFO_LOCK = int.from_bytes(b"Herdgate", "big")


@pytest.fixture
def herd():
    made = []

    def make(**parameters):
        made.append(prepare(BuiltinHerd(recovery_user="postgres", **parameters)))
        return made[-1].start()
    yield make
    for h in made:
        if os.path.exists(h.pcp.passes[True]):
            os.unlink(h.pcp.passes[True])
        h.end()


def test_an_attach_under_way_does_not_lead_back_to_the_old_primary(herd):
    h = herd(sync="ANY 1 (node1, node2)")
    h.write()
    old, new, standby = h.cluster.nodes
    h.pcp.ok("pcp_detach_node", "-n", "2")
    h.wait_for(primary=0, down=(2,))
    nowhere = f"host={h.folder} port=1 user=postgres application_name=node2"
    standby.psql(f"alter system set primary_conninfo = '{nowhere}'")
    standby.psql("alter system set primary_slot_name = ''")
    standby.psql("select pg_reload_conf()")
    streams_from(old, 1)
    answers = []
    asker = threading.Thread(target=lambda: answers.append(h.pcp.run("pcp_attach_node", "-n", "2")))
    asker.start()
    wait_until(lambda: "SELECT received_tli" in standby.log(), "the attach to look at the standby")
    old.kill()
    asker.join(60)
    h.wait_for(primary=1, down=(0, 2))
    streams_from(new, 1)
    assert "not the primary any more" in answers[0][1] + answers[0][2]
    # The old one wakes up: no standby may acknowledge anything to it.
    old.start()
    assert f"port={new.port}" in standby.psql("show primary_conninfo")
    standby.psql("select pg_reload_conf()")
    streams_from(new, 1)
    assert old.psql("select count(*) from pg_stat_replication") == "0"
    # And it recovers.
    h.pcp.ok("pcp_attach_node", "-n", "2")
    h.wait_for(primary=1, down=(0,))
    assert h.write() >= 2


def test_who_may_still_change_a_standby_holds_up_the_failover(herd):
    """A session that was given up: what it was told last may be carried out at any time, so nobody is promoted before."""
    h = herd(sync="ANY 1 (node1, node2)")
    h.write()
    with psycopg.connect(host=h.cluster.inner, port=h.cluster.nodes[2].port, user="postgres", dbname="postgres") as held:
        held.execute("select pg_advisory_lock(%s)", (CONNINFO_LOCK,))
        process = held.info.backend_pid
        h.cluster.nodes[0].kill()
        told = f"node 2: its primary_conninfo is being changed by process {process} of user postgres"
        wait_until(lambda: told in h.proxy.log(), "the refusal")
        assert h.cluster.nodes[1].psql("select pg_is_in_recovery()") == "t"
        # The proxy dies: the next one knows that a failover did not end.
        h.proxy.abort()
        h.proxy.start()
        wait_until(lambda: "a failover of node 0 did not end" in h.proxy.log(), "it to be taken up")
    # And it recovers, by itself.
    assert h.write() >= 2
    wait_until(lambda: not os.path.exists(f"{h.proxy.folder}/pgpool_unfinished"), "the note to be removed")
    promoted = h.state()[0]
    streams_from(h.cluster.nodes[promoted], 1)
    locks = "select count(*) from pg_locks where locktype = 'advisory'"
    wait_until(lambda: h.cluster.nodes[3 - promoted].psql(locks) == "0", "the lock to be given back")


def set_conninfo(node, text):
    quoted = text.replace("'", "''")
    node.psql(f"alter system set primary_conninfo = '{quoted}'")
    node.psql("select pg_reload_conf()")


@pytest.mark.long
def test_a_uri_as_primary_conninfo_is_pointed_at_the_new_primary(herd):
    h = herd()
    h.write()
    nodes = h.cluster.nodes
    place = h.cluster.inner.replace("/", "%2F")
    for node in nodes[1:]:
        set_conninfo(node, f"postgresql://postgres@{place}:{nodes[0].port}/?application_name=the%20{node.number}")
    named = "select string_agg(application_name, ',' order by application_name) from pg_stat_replication where state = 'streaming'"
    wait_until(lambda: nodes[0].psql(named) == "the 1,the 2", "both to stream under their names")
    nodes[0].kill()
    assert h.write() >= 2
    first = h.state()[0]
    other = nodes[3 - first]
    wait_until(lambda: nodes[first].psql(named) == f"the {other.number}", "the other to follow under its name")
    assert h.state()[1] == (0,)
    # One that nobody can read: the standby is left down with the reason, and keeps it behind the mark.
    nodes[0].rebuild(nodes[first])
    h.pcp.ok("pcp_attach_node", "-n", "0")
    h.wait_for(primary=first, down=())
    unreadable = "postgresql://postgres@[::1/db"
    set_conninfo(other, unreadable)
    streams_from(nodes[first], 1)
    nodes[first].kill()
    h.wait_for(primary=0, down=(1, 2))
    told = (f"Node {other.number}: could not be pointed at the new primary: primary_conninfo is not understood: a [ in the URI "
            "has no ].")
    wait_until(lambda: told in h.proxy.log(), "the reason")
    assert other.psql("show primary_conninfo") == f"stopped_by_pgpool=1 {unreadable}"
    code, out, err = h.pcp.run("pcp_attach_node", "-n", str(other.number))
    assert "primary_conninfo is not understood" in out + err
    assert other.psql("show primary_conninfo") == f"stopped_by_pgpool=1 {unreadable}"
    # And it recovers: with one that can be read the standby is attached.
    set_conninfo(other, "user=postgres application_name=again")
    h.pcp.ok("pcp_attach_node", "-n", str(other.number))
    h.wait_for(primary=0, down=(first,))
    assert nodes[0].psql(named) == "again"
    assert h.write() >= 3


def in_recovery(node):
    return node.psql("select pg_is_in_recovery()", "postgres")


def refuses(node):
    try:
        node.psql("select 1", "postgres")
        return False
    except RuntimeError as e:
        return "shutting down" in str(e)


def test_a_proxy_that_dies_while_the_old_primary_stops_takes_it_up_again(herd):
    h = herd()
    before = h.write()
    old, new = h.cluster.nodes[0], h.cluster.nodes[2]
    hold = h.script("hold", "")
    for command in ("archive_mode = on", f"archive_command = 'while test -e {hold}; do sleep 0.05; done'"):
        old.psql(f"alter system set {command}")
    os.unlink(hold)
    h.proxy.stop()
    old.stop()
    old.start()  # with the archiver
    h.start()
    streams_from(old, 2)  # a switchover to one that does not yet is given up
    h.script("hold", "")  # the server cannot end before its last segment is archived
    asker = threading.Thread(target=lambda: h.pcp.run("pcp_promote_node", "--switchover", "-n", "2"))
    asker.start()
    wait_until(lambda: refuses(old), "the old primary to be stopped")
    h.proxy.abort()
    asker.join(60)
    assert open(f"{h.proxy.folder}/pgpool_unfinished").read().startswith("switchover from 0 to 2\nsynchronous_standby_names \n")
    h.proxy.start()
    wait_until(lambda: "node 0, which was the primary, does not answer" in h.proxy.log(), "the wait for it")
    assert [in_recovery(node) for node in h.cluster.nodes[1:]] == ["t", "t"]
    os.unlink(hold)
    h.wait_for(primary=2, down=())
    assert [in_recovery(node) for node in h.cluster.nodes] == ["t", "t", "f"]
    streams_from(new, 2)
    assert h.write() == before + 1
    wait_until(lambda: not os.path.exists(f"{h.proxy.folder}/pgpool_unfinished"), "the note to be removed")
    # And it recovers: back again.
    h.pcp.ok("pcp_promote_node", "--switchover", "-n", "0")
    h.wait_for(primary=0, down=())
    assert h.write() == before + 2


def test_a_switchover_that_cannot_be_noted_is_given_up_and_one_not_begun_is_taken_back(herd):
    h = herd()
    h.write()
    note = f"{h.proxy.folder}/pgpool_unfinished"
    os.mkdir(note)  # no file takes its place
    out = "".join(h.pcp.run("pcp_promote_node", "--switchover", "-n", "1")[1:])
    assert "could not switch over to node 1" in out and "pgpool_unfinished: Is a directory" in out
    h.wait_for(primary=0, down=())
    os.rmdir(note)
    # A proxy that died before it came to the stop.
    h.proxy.abort()
    with open(note, "w") as f:
        f.write("switchover from 0 to 1\n")
    h.start()
    wait_until(lambda: "it was not stopped" in h.proxy.log() and not os.path.exists(note), "the note to be used up")
    assert in_recovery(h.cluster.nodes[0]) == "f"
    # And it recovers.
    h.pcp.ok("pcp_promote_node", "--switchover", "-n", "1")
    h.wait_for(primary=1, down=())
    assert h.write() >= 2
    wait_until(lambda: not os.path.exists(note), "the note to be removed")


def test_a_login_that_waits_for_the_clients_password_while_its_server_hangs(herd):
    """The password is asked for on behalf of the primary; that one is given up, and the login goes on at the next."""
    h = herd(failover_on_backend_error=False, connect_timeout=600_000)  # nobody waits for that
    h.write()
    with Client(h.proxy.port) as c:
        c.send(startup(user="password_user"))
        assert c.receive() == ("R", b"\0\0\0\3")
        h.cluster.nodes[0].freeze()
        wait_until(lambda: "was promoted" in h.proxy.log(), "a promotion")
        c.send(message("p", b"password_user\0"))
        kind = ""
        while kind not in ("Z", "E"):
            kind, text = c.receive()
        assert kind == "Z", text
    # And it recovers: the next login works.
    with h.proxy.connect(user="password_user", password="password_user") as c:
        assert c.execute("select 1").fetchone() == (1,)
    h.cluster.nodes[0].thaw()
    assert h.write() >= 2


def logging_in(h):
    """The primary's processes that wait for the password; who has not logged in is in no view."""
    found = []
    for pid in family(h.cluster.nodes[0].pid()):
        with contextlib.suppress(OSError), open(f"/proc/{pid}/cmdline", "rb") as f:
            title = f.read()
            if b"password_user" in title and b"authentication" in title:
                found.append(pid)
    return found


@pytest.mark.parametrize("how", [*(pytest.param(h, marks=pytest.mark.long) for h in ("nothing", "stop")), "kill"])
def test_a_login_whose_server_ends_while_the_client_is_asked_for_its_password(herd, how):
    h = herd()
    before = h.write()
    with Client(h.proxy.port) as c:
        c.send(startup(user="password_user"))
        assert c.receive() == ("R", b"\0\0\0\3")
        if how == "nothing":
            wait_until(lambda: not logging_in(h), "the session that asked for the password to be given up")
        else:
            getattr(h.cluster.nodes[0], how)()
            wait_until(lambda: "was promoted" in h.proxy.log(), "a promotion")
        c.send(message("p", b"password_user\0"))
        kind = ""
        while kind not in ("Z", "E"):
            kind, text = c.receive()
        assert kind == "Z", text
    # A wrong password is none that a lost server has let in.
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        h.proxy.connect(user="password_user", password="wrong")
    # And it recovers.
    with h.proxy.connect(user="password_user", password="password_user") as c:
        assert c.execute("select 1").fetchone() == (1,)
    assert h.write() == before + 1


def test_a_wrong_password_is_refused_though_its_server_went_away(herd):
    h = herd()
    with Client(h.proxy.port) as c:
        c.send(startup(user="password_user"))
        assert c.receive() == ("R", b"\0\0\0\3")
        h.cluster.nodes[0].kill()
        wait_until(lambda: "was promoted" in h.proxy.log(), "a promotion")
        c.send(message("p", b"wrong\0"))
        kind, text = c.receive()
        assert kind == "E" and b"password authentication failed" in text
    # And it recovers.
    with h.proxy.connect(user="password_user", password="password_user") as c:
        assert c.execute("select 1").fetchone() == (1,)


class Holder:
    """A proxy that holds the lock of node 2 when it is silenced: it attaches it, and the primary does not answer."""

    def __init__(self, h):
        self.h = h
        self.standby = h.cluster.nodes[2]

    def hold(self):
        h = self.h
        h.pcp.ok("pcp_detach_node", "-n", "2")
        h.wait_for(primary=0, down=(2,))
        set_conninfo(self.standby, f"host={h.folder} port=1 user=postgres application_name=node2")
        streams_from(h.cluster.nodes[0], 1)
        asker = threading.Thread(target=self.ask)
        asker.start()
        wait_until(lambda: "substr(pg_catalog.pg_walfile_name" in h.cluster.nodes[0].log() and "SELECT received_tli" in self.standby.log(),
                   "the attach")
        h.cluster.nodes[0].freeze()  # it is asked for a slot once the lock is taken
        wait_until(lambda: self.holders() == 1, "the lock", poll=0.1)
        return asker

    def ask(self):
        try:
            self.h.pcp.run("pcp_attach_node", "-n", "2")
        except subprocess.TimeoutExpired:
            pass  # nobody answers

    def holders(self):
        return int(self.standby.psql("select count(*) from pg_locks where locktype = 'advisory'", "postgres"))


def attached_at_last(h, holders):
    """Who wants the lock is told who has it, until that session has given no sign of life for a minute and is ended."""
    assert holders() == 1
    code, out, err = h.pcp.run("pcp_attach_node", "-n", "2")
    assert "its primary_conninfo is being changed by process" in out + err
    wait_until(lambda: "Command Successful" in h.pcp.run("pcp_attach_node", "-n", "2")[1], "the attach", 120, poll=1)
    h.wait_for(primary=0, down=())
    streams_from(h.cluster.nodes[0], 2)
    wait_until(lambda: holders() == 0, "the lock to be given back")


@pytest.mark.long
@pytest.mark.timeout(240)
def test_a_proxy_that_is_stopped_while_it_holds_the_lock_is_evicted(herd):
    h = herd(health_check_period=0, sr_check_period=600, failover_on_backend_error=False)
    before = h.write()
    holder = Holder(h)
    asker = holder.hold()
    silent = h.proxy
    os.kill(silent.process.pid, signal.SIGSTOP)
    h.cluster.nodes[0].thaw()
    other = Proxy(h.cluster, name="other")
    own = {name: value for name, value in other.settings.items() if silent.folder in str(silent.settings[name]) or "port" in name}
    other.settings = {**silent.settings, **own}
    other.files = dict(silent.files)
    other.discard = False
    try:
        shutil.copy(f"{silent.folder}/pgpool_status", other.folder)
        system.give(f"{other.folder}/pgpool_status")
        h.proxy = h.pcp.proxy = other.start()
        h.wait_for(primary=0, down=(2,))
        # And it recovers.
        attached_at_last(h, holder.holders)
        assert h.write() == before + 1
    finally:
        os.kill(silent.process.pid, signal.SIGCONT)
        asker.join(60)
        h.proxy = silent
        other.stop()
        other.remove()


@pytest.mark.long
@pytest.mark.timeout(240)
@pytest.mark.skipif(not netns.available(), reason="no network namespaces here")
def test_a_holder_of_the_lock_behind_a_cut_cable_is_evicted():
    cable = netns.Cable()
    h = prepare(BuiltinHerd(recovery_user="postgres"))
    try:
        node = h.cluster.nodes[2]
        node.stop()
        node.append_conf("listen_addresses = '*'")
        node.prefix = cable.inside(1)
        node.start()
        for n in range(3):  # the UNIX sockets, to which no cable leads
            h.proxy.settings[f"backend_hostname{n}"] = h.cluster.inner
        h.start()
        before = h.write()
        h.pcp.ok("pcp_detach_node", "-n", "2")
        h.wait_for(primary=0, down=(2,))
        set_conninfo(node, f"host={h.folder} port=1 user=postgres application_name=node2")
        streams_from(h.cluster.nodes[0], 1)
        client = subprocess.Popen([*cable.inside(0), *h.cluster.program(
            "psql", "-X", "-h", cable.addresses[1], "-p", str(node.port), "-U", "postgres", "-d", "postgres")],
            stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
        client.stdin.write(f"select pg_advisory_lock({CONNINFO_LOCK});\n")
        client.stdin.flush()

        def holders():
            return int(node.psql("select count(*) from pg_locks where locktype = 'advisory'", "postgres"))
        wait_until(lambda: holders() == 1, "the lock")
        cable.cut()  # the server never hears of the client's end
        client.kill()
        client.wait()
        client.stdin.close()
        # And it recovers.
        attached_at_last(h, holders)
        assert h.write() == before + 1
    finally:
        if os.path.exists(h.pcp.passes[True]):
            os.unlink(h.pcp.passes[True])
        h.end()
        cable.remove()
