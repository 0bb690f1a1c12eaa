"""failover_method = builtin: no script, no ssh. Each case ends with "and it recovers"."""
import concurrent.futures
import os
import re
import signal
import threading
import time

import psycopg
import pytest
from support.system import wait_until
from test_failover import Herd

pytestmark = pytest.mark.herdgate_only


class BuiltinHerd(Herd):
    conf = "wal_receiver_timeout = 2s\nsynchronous_commit = on"

    def __init__(self, sync="", nodes=None, **parameters):
        self.nodes = nodes or self.nodes
        super().__init__(failover_method="builtin", failover_command="exit 1", **parameters)
        if sync:
            self.cluster.primary.psql(f"alter system set synchronous_standby_names = '{sync}'", "postgres")
            self.cluster.primary.psql("select pg_reload_conf()", "postgres")


@pytest.fixture
def herd():
    made = []

    def make(**parameters):
        made.append(BuiltinHerd(**parameters))
        return made[-1]
    yield make
    for h in made:
        h.end()


class Writer(threading.Thread):
    """Inserts numbers one after another, each in a session of its own, and remembers which were acknowledged."""

    def __init__(self, proxy, patience):
        super().__init__(daemon=True)
        self.proxy, self.patience = proxy, patience
        self.acknowledged, self.unknown, self.errors, self.stopping = [], [], [], False
        self.longest_gap = 0.0

    def run(self):
        number, last = 0, time.monotonic()
        while not self.stopping:
            number += 1
            try:
                with self.proxy.connect(connect_timeout=self.patience) as c:
                    c.execute(f"set statement_timeout = '{self.patience}s'")
                    c.execute("insert into numbers values (%s)", (number,))
                self.acknowledged.append(number)
                now = time.monotonic()
                self.longest_gap, last = max(self.longest_gap, now - last), now
            except psycopg.Error as e:
                self.unknown.append(number)
                self.errors.append(f"{number}: {e}")

    def end(self):
        self.stopping = True
        self.join(60)


def run_writers(h, patience=5):
    with h.proxy.connect() as c:
        c.execute("create table numbers (n int)")
    writer = Writer(h.proxy, patience)
    writer.start()
    wait_until(lambda: len(writer.acknowledged) > 50, "some writes")
    return writer


def check(h, writer):
    """No acknowledged write is missing, none is there twice."""
    count = len(writer.acknowledged)
    wait_until(lambda: len(writer.acknowledged) > count + 20, "writes to go on")
    writer.end()
    with h.proxy.connect() as c:
        there = [row[0] for row in c.execute("/*NO LOAD BALANCE*/ select n from numbers")]
    assert len(there) == len(set(there))
    missing = set(writer.acknowledged) - set(there)
    assert not missing, f"{len(missing)} acknowledged writes are missing: {sorted(missing)[:10]}"


def test_kill_of_the_primary(herd):
    h = herd(sync="ANY 1 (node1, node2)").start()
    writer = run_writers(h)
    h.cluster.nodes[0].kill()
    wait_until(lambda: "was promoted" in h.proxy.log(), "a promotion")
    check(h, writer)
    promoted = h.state()[0]
    assert promoted in (1, 2)
    h.wait_for(primary=promoted, down=(0,))
    wait_until(lambda: "no acknowledged commit is missing: 2 of 2 synchronous standbys answer, 2 are needed" in h.proxy.log(),
               "the reason in the log")
    assert "failover_command" not in h.proxy.log()
    new = h.cluster.nodes[promoted]
    wait_until(lambda: new.psql("select count(*) from pg_stat_replication where state = 'streaming'") == "1",
               "the other standby to follow")
    print(f"longest gap between acknowledged writes: {writer.longest_gap:.2f} s")
    assert writer.longest_gap < 30
    # And it recovers: the old one comes back as a standby and reads are spread again.
    h.cluster.nodes[0].rebuild(new)
    assert h.state()[1] == (0,)


def test_a_standby_that_another_one_feeds_does_not_hold_it_up(herd):
    """A cascade: node 2 receives from node 1, before and after the death of the primary."""
    h = herd(sync="ANY 1 (node1)").start()
    middle, last = h.cluster.nodes[1:]
    last.psql("alter system set primary_conninfo = "
              f"'host={middle.host} port={middle.port} user=postgres application_name=node2'")
    last.psql("alter system set primary_slot_name = ''")
    last.psql("select pg_reload_conf()")
    streaming = "select count(*) from pg_stat_replication where state = 'streaming' and application_name = 'node2'"
    wait_until(lambda: middle.psql(streaming) == "1", "the cascade")
    before = h.write()
    h.cluster.nodes[0].kill()
    h.wait_for(primary=1, down=(0,))
    assert "still receives" not in h.proxy.log()
    # And it recovers: everything is there, on both.
    assert h.write() == before + 1
    wait_until(lambda: middle.psql(streaming) == "1", "the other standby to follow")


def with_pcp(h):
    from test_pcp import USERS, Pcp  # which needs this module
    h.proxy.files["pcp.conf"] = USERS
    h.pcp = Pcp(h.proxy)
    if os.path.exists(h.pcp.passes[True]):  # of the original's clients
        os.unlink(h.pcp.passes[True])
    return h


def primary_is_heard(h):
    """By a probe that begins after this: what has left recovery before has not taken over. The probe that follows it begins
    when the answer has been dealt with. They keep their session; health checks, which do not ask who is the primary, do not."""
    primary = h.cluster.primary
    for which in ("a probe of the primary", "the probe behind it"):
        now = primary.psql("select clock_timestamp()")
        probed = ("select count(*) from pg_stat_activity where query like '%synchronous_standby_names%' and state = 'idle' "
                  f"and backend_start < '{now}' and query_start > '{now}' and application_name <> 'psql'")
        wait_until(lambda sql=probed: primary.psql(sql) != "0", which)


@pytest.mark.parametrize("fate", ["in use", "detached", "gone"])
def test_a_standby_of_one_promoted_by_mistake_does_not_win(herd, fate):
    """Node 2 follows node 1 onto a later timeline, and lacks what node 3 acknowledges meanwhile."""
    h = with_pcp(herd(nodes=4, sync="ANY 1 (node3)")).start()
    mistaken, its_standby, good = h.cluster.nodes[1:]
    h.write()
    its_standby.psql("alter system set primary_conninfo = "
                     f"'host={mistaken.host} port={mistaken.port} user=postgres application_name=node2'")
    its_standby.psql("alter system set primary_slot_name = ''")
    its_standby.psql("select pg_reload_conf()")
    wait_until(lambda: mistaken.psql("select count(*) from pg_stat_replication where state = 'streaming'") == "1", "the cascade")
    mistaken.promote()
    wait_until(lambda: "find_primary_node: invalid node 1" in h.proxy.log(), "the warning")
    wait_until(lambda: its_standby.psql("select received_tli from pg_stat_wal_receiver") == "2", "the later timeline")
    primary_is_heard(h)
    if fate == "gone":
        mistaken.kill()
    if fate == "detached":
        h.pcp.ok("pcp_detach_node", "-n", "1")
    if fate != "in use":
        wait_until(lambda: h.state()[1] == (1,), "it to be down")
    before = h.write()
    h.cluster.nodes[0].kill()
    wait_until(lambda: "built-in failover: node 3 was promoted" in h.proxy.log(), "the good one to be promoted")
    wait_until(lambda: "Node 2: could not be pointed at the new primary: it is on timeline 2, the new primary was on 1"
               in h.proxy.log(), "the other one to be left behind")
    down = (0, 2) if fate == "in use" else (0, 1, 2)
    assert h.state() == (3, down, (1, 3) if fate == "in use" else (3,))
    # And it recovers: what was acknowledged is there.
    assert h.write() == before + 1
    its_standby.rebuild(good)
    streams_from(good, 1)


def rewind(node, source):
    """Makes a standby of what was promoted. The segment in which it split off stays, on its timeline."""
    node.stop()
    node.cluster.run("pg_rewind", "-D", node.inner_data,
                     "--source-server", f"host={node.cluster.inner} port={source.port} user=postgres dbname=postgres")
    assert any(re.fullmatch("00000002[0-9A-F]{16}", name) for name in os.listdir(f"{node.data}/pg_wal"))
    node.follow(source)
    node.start()


def test_one_that_was_rewound_after_a_mistaken_promotion_has_not_diverged(herd):
    h = with_pcp(herd(nodes=2)).start()
    old, mistaken = h.cluster.nodes
    h.write()
    mistaken.promote()
    wait_until(lambda: "find_primary_node: invalid node 1" in h.proxy.log(), "the warning")
    mistaken.psql("create table mistake (a int)")
    h.write()
    h.pcp.ok("pcp_detach_node", "-n", "1")
    rewind(mistaken, old)
    wait_until(lambda: mistaken.psql("select received_tli from pg_stat_wal_receiver") == "1", "the timeline of the primary")
    left = [f"{mistaken.data}/pg_wal/{name}" for name in os.listdir(f"{mistaken.data}/pg_wal") if re.fullmatch("0{7}2.{16}", name)]
    # Servers tell the time of a file by the second: what is received from here on is younger than what was left.
    wait_until(lambda: time.time() > max(os.path.getmtime(file) for file in left) + 1, "another second")
    h.pcp.ok("pcp_attach_node", "-n", "1")
    h.wait_for(primary=0, down=())
    before = h.write()
    old.kill()
    h.wait_for(primary=1, down=(0,))
    # And it recovers: everything is there.
    assert h.write() == before + 1


def test_too_few_synchronous_standbys(herd):
    h = herd(sync="ANY 1 (node1, node2)").start()
    h.write()
    h.cluster.nodes[2].kill()
    h.wait_for(primary=0, down=(2,))
    # The monitor must have asked the primary; then it dies too.
    conninfo = h.cluster.nodes[1].psql("show primary_conninfo")
    h.cluster.nodes[0].kill()
    wait_until(lambda: "1 of 2 synchronous standbys answer, 2 are needed" in h.proxy.log(), "the refusal")
    assert h.cluster.nodes[1].psql("select pg_is_in_recovery()") == "t"
    wait_until(lambda: h.cluster.nodes[1].psql("show primary_conninfo") == conninfo, "the old primary_conninfo")
    # And it recovers: the primary comes back and goes on, nobody has to do anything.
    h.cluster.nodes[0].start()
    h.wait_for(primary=0, down=(2,))
    h.cluster.nodes[2].start()
    assert h.write() >= 2


def test_frozen_primary(herd):
    h = herd(sync="2 (node1, node2)", failover_on_backend_error=False).start()
    writer = run_writers(h)
    h.cluster.nodes[0].freeze()
    began = time.monotonic()
    wait_until(lambda: "=== Starting degeneration." in h.proxy.log(), "the frozen server to be noticed")
    assert time.monotonic() - began <= 1 + 2 + 1 + 3
    wait_until(lambda: "was promoted" in h.proxy.log(), "a promotion")
    check(h, writer)
    # And it recovers: awake again, the old primary is not used.
    h.cluster.nodes[0].thaw()
    promoted = h.state()[0]
    assert promoted in (1, 2)
    assert h.write() >= 1
    assert h.state() == (promoted, (0,), (promoted,))


def test_asynchronous_replication_says_what_may_be_lost(herd):
    h = herd().start()
    h.write()
    h.cluster.nodes[0].kill()
    wait_until(lambda: "was promoted" in h.proxy.log(), "a promotion")
    wait_until(lambda: "asynchronous replication: " in h.proxy.log(), "the log to say so")
    assert h.write() >= 1


def test_a_session_whose_commit_is_lost_is_told(herd):
    """Asynchronous replication: one commit has reached the standbys, another has not."""
    h = herd(commit_outcome_check=True).start()
    h.write()
    with h.proxy.connect(autocommit=False) as kept, h.proxy.connect(autocommit=False) as lost, \
            h.proxy.connect() as other, h.proxy.connect() as extended, concurrent.futures.ThreadPoolExecutor() as threads:
        notices = []
        for c in (kept, other):
            c.add_notice_handler(lambda d: notices.append((d.sqlstate, d.message_primary)))
        kept.execute("insert into t values (100)")
        kept.commit()
        h.cluster.wait_replayed()
        for pid in h.cluster.nodes[0].psql("select pid from pg_stat_replication").split():
            os.kill(int(pid), signal.SIGSTOP)
        lost.execute("insert into t values (200)")
        lost.commit()
        for text in ("begin", "insert into t values (201)", "commit"):
            extended.execute(text)
        h.cluster.nodes[0].kill()
        # It waits for the new primary and is the first to write there: the id of the lost transaction is given out again.
        wait_until(lambda: "=== Starting degeneration" in h.proxy.log(), "the failover")
        write = threads.submit(other.execute, "insert into t values (300)")
        wait_until(lambda: "was promoted" in h.proxy.log(), "a promotion")
        there = "/*NO LOAD BALANCE*/ select a from t where a >= 100 order by a"
        for text in (b"", b"rollback"):  # as a pool does: nothing is said yet
            assert lost.pgconn.exec_(text).error_message == b""
            assert extended.pgconn.exec_params(text, []).error_message == b""
        with pytest.raises(psycopg.Error) as failure:
            lost.execute(there)
        new = h.state()[0]
        told_it = failure.value.diag
        assert (told_it.severity, told_it.sqlstate) == ("ERROR", "58000")
        assert told_it.message_primary == ("a committed transaction of this session is lost: "
                                           f"node {new}, the primary of now, does not have it")
        with pytest.raises(psycopg.Error, match="a committed transaction of this session is lost"):
            extended.execute("select %s::int", (1,))
        assert extended.execute("select %s::int", (1,)).fetchall() == [(1,)]
        lost.rollback()
        assert [r[0] for r in lost.execute(there)] in ([100], [100, 300])
        assert write.result().rowcount == 1
        assert [r[0] for r in kept.execute(there)] == [100, 300]
        assert notices == []
        said = f"node {new} lacks the last known commit of 2 of 3 sessions that had committed on node 0"
        wait_until(lambda: said in h.proxy.log(), "the log to say so")
        # And it recovers: it is said once, and the session goes on.
        lost.execute("insert into t values (400)")
        lost.commit()
        assert [r[0] for r in lost.execute(there)] == [100, 300, 400]
        lost.commit()
        kept.commit()


def test_a_standby_that_cannot_follow_is_left_down(herd):
    h = herd().start()
    h.write()
    h.cluster.nodes[0].kill()
    wait_until(lambda: "was promoted" in h.proxy.log(), "a promotion")
    promoted = h.state()[0]
    other = 3 - promoted
    new = h.cluster.nodes[promoted]
    wait_until(lambda: new.psql("select count(*) from pg_stat_replication where state = 'streaming'") == "1", "to follow")
    # The herd is down to two; now the last standby refuses to be promoted because it cannot be altered: it is gone.
    h.cluster.nodes[other].kill()
    h.wait_for(primary=promoted, down=tuple(sorted((0, other))))
    assert h.write() >= 1


def streams_from(new, count):
    """`count` standbys have all there is: a "streaming" one may have been sent it only."""
    lsn = new.psql("select pg_current_wal_lsn()")
    wait_until(lambda: new.psql("select count(*) from pg_stat_replication where state = 'streaming' "
                                f"and flush_lsn >= '{lsn}'") == str(count), f"{count} standbys to follow")


class BigHerd(BuiltinHerd):
    nodes = 4


def test_two_failovers_in_quick_succession():
    """The control files still show the first timeline, but for the one standby that lacks the last writes."""
    h = BigHerd()
    try:
        h.start()
        h.write()
        h.cluster.nodes[0].kill()
        wait_until(lambda: "was promoted" in h.proxy.log(), "a promotion")
        first = h.state()[0]
        new = h.cluster.nodes[first]
        streams_from(new, 2)
        ahead, behind = (h.cluster.nodes[n] for n in (1, 2, 3) if n != first)
        control = "select timeline_id from pg_control_checkpoint()"
        new.psql("checkpoint")
        position = new.psql("select pg_current_wal_lsn()")
        wait_until(lambda: behind.psql(f"select pg_last_wal_replay_lsn() >= '{position}'") == "t", "the replay")
        behind.psql("checkpoint")
        assert (behind.psql(control), ahead.psql(control)) == ("2", "1")
        behind.psql("alter system set primary_conninfo = ''")
        behind.psql("select pg_reload_conf()")
        streams_from(new, 1)
        before = h.write()
        position = new.psql("select pg_current_wal_lsn()")
        wait_until(lambda: ahead.psql(f"select pg_last_wal_replay_lsn() >= '{position}'") == "t", "the replay")
        new.kill()
        h.wait_for(primary=ahead.number, down=sorted((0, first)))
        # And it recovers: nothing is missing, and the one that was behind follows.
        assert h.write() == before + 1
        streams_from(ahead, 1)
    finally:
        h.end()


def test_a_primary_that_dies_before_it_was_ever_probed(herd):
    """What the old primary's death needs to be judged by, synchronous_standby_names, the new one said at its promotion."""
    h = herd(sr_check_period=600, health_check_period=0).start()  # only hints of sessions have it probed
    h.write()
    h.cluster.nodes[0].kill()
    assert h.write() >= 2
    first = h.state()[0]
    streams_from(h.cluster.nodes[first], 1)
    h.cluster.nodes[first].kill()  # the server that failed before is down still
    assert h.write() >= 3
    assert "was never asked for synchronous_standby_names" not in h.proxy.log()
    # And it recovers: the server that failed last comes back as a standby of the last one.
    last = h.cluster.nodes[3 - first]
    assert h.state() == (last.number, (0, first), (last.number,))
    h.cluster.nodes[first].rebuild(last)
    streams_from(last, 1)


def test_a_standby_left_cut_off_is_pointed_at_the_primary_again(herd):
    """As a proxy leaves it that dies between stopping the receivers and the promotion."""
    h = herd().start()
    n = h.cluster.nodes[2]
    conninfo = n.psql("show primary_conninfo")
    n.psql(f"alter system set primary_conninfo = 'stopped_by_pgpool=1 {conninfo}'")
    n.psql("select pg_reload_conf()")
    wait_until(lambda: "node 2 was cut off from its primary" in h.proxy.log(), "the warning")
    wait_until(lambda: "node 2 receives again" in h.proxy.log(), "its end")
    assert 'invalid connection option "stopped_by_pgpool"' in n.log()
    # And it recovers.
    streams_from(h.cluster.primary, 2)
    assert "stopped_by_pgpool" not in n.psql("show primary_conninfo")
    assert h.state() == (0, (), (0,))
    assert h.write() >= 1


def test_a_primary_conninfo_that_cannot_be_put_back_is_told(herd):
    h = herd(sync="ANY 1 (node1, node2)").start()
    h.write()
    h.cluster.nodes[2].kill()
    h.wait_for(primary=0, down=(2,))
    n = h.cluster.nodes[1]
    conninfo = n.psql("show primary_conninfo")
    settings, obstacle = f"{n.data}/postgresql.auto.conf", f"{n.data}/postgresql.auto.conf.tmp"
    told = "its primary_conninfo could not be put back"
    h.cluster.nodes[0].kill()
    deadline = time.monotonic() + 30
    while told not in h.proxy.log() and time.monotonic() < deadline:  # it tries again every second
        with open(settings) as f:
            if "stopped_by_pgpool" not in f.read():
                continue
        try:
            os.mkdir(obstacle)  # now ALTER SYSTEM fails
        except FileExistsError:  # its own file is there at this moment
            continue
        wait_until(lambda: told in h.proxy.log() or "stopped_by_pgpool" not in open(settings).read(), "the attempt")
        if told not in h.proxy.log():
            os.rmdir(obstacle)
    assert told in h.proxy.log()
    assert n.psql("show primary_conninfo") == f"stopped_by_pgpool=1 {conninfo}"
    # And it recovers: the next attempt puts it back, and the old primary goes on.
    os.rmdir(obstacle)
    wait_until(lambda: n.psql("show primary_conninfo") == conninfo, "the old primary_conninfo")
    h.cluster.nodes[0].start()
    wait_until(lambda: h.cluster.nodes[0].psql("select count(*) from pg_stat_replication where state = 'streaming'")
               == "1", "the standby to follow")


def test_a_long_wal_receiver_timeout_is_named(herd):
    h = herd()
    h.cluster.nodes[1].psql("alter system set wal_receiver_timeout = '60s'", "postgres")
    h.cluster.nodes[1].psql("select pg_reload_conf()", "postgres")
    h.start()
    wait_until(lambda: "wal_receiver_timeout of node 1 is longer" in h.proxy.log(), "the warning")
    wait_until(lambda: "ALTER SYSTEM SET wal_receiver_timeout = '2s'" in h.proxy.log(), "the log to say so")
    assert "wal_receiver_timeout of node 2" not in h.proxy.log()


def of_roles(h):
    return [n.psql("select pg_is_in_recovery()", "postgres") for n in h.cluster.nodes[1:]]


def test_a_standby_that_somebody_else_has_promoted_is_the_primary(herd):
    """Asynchronous, so the remaining standby could be promoted as well: there would be two primaries."""
    h = herd(health_check_period=0).start()
    h.write()
    h.cluster.nodes[0].freeze()  # it is not heard any more, or the other one would be a false primary
    h.cluster.nodes[1].promote()
    h.cluster.nodes[0].kill()
    assert h.write() >= 2
    h.wait_for(primary=1, down=(0,))
    wait_until(lambda: "node 1 is the primary already, nobody is promoted" in h.proxy.log(), "the log to say so")
    wait_until(lambda: "=== Failover done." in h.proxy.log(), "the end of the failover")
    assert of_roles(h) == ["f", "t"]
    assert "promoting node" not in h.proxy.log()
    # And it recovers: the old one comes back as a standby of it.
    h.cluster.nodes[0].rebuild(h.cluster.nodes[1])
    assert h.state() == (1, (0,), (1,))


def test_the_promotion_itself_sees_that_somebody_else_was_faster(herd):
    """The probes cannot log in any more, so that only the one who is to promote hears of it."""
    h = herd(recovery_user="postgres", sr_check_user="checker")
    h.cluster.primary.psql("create role checker login in role pg_monitor")
    h.cluster.wait_replayed()
    h.start()
    h.write()
    h.cluster.primary.psql("alter role checker nologin")
    h.cluster.wait_replayed()
    for n in h.cluster.nodes:
        n.psql("select pg_terminate_backend(pid) from pg_stat_activity where usename = 'checker'")
    wait_until(lambda: "could not check node 1" in h.proxy.log(), "a probe to be refused")
    h.cluster.nodes[1].promote()
    h.cluster.nodes[0].kill()
    wait_until(lambda: "node 1 is the primary already, nobody is promoted" in h.proxy.log(), "the log to say so")
    wait_until(lambda: "=== Failover done." in h.proxy.log(), "the end of the failover")
    assert of_roles(h) == ["f", "t"]
    assert "promoting node" not in h.proxy.log()
    # And it recovers.
    h.cluster.nodes[1].psql("alter role checker login")
    assert h.write() >= 2
    h.wait_for(primary=1, down=(0,))


@pytest.mark.long
def test_a_standby_that_has_much_to_replay_is_waited_for(herd):
    """pg_promote() gives up after 25 s; the standby is promoted all the same."""
    h = herd().start()
    h.write()
    chosen = h.cluster.nodes[1]
    replay = int(chosen.psql("select pid from pg_stat_activity where backend_type = 'startup'"))
    os.kill(replay, signal.SIGSTOP)
    try:
        h.cluster.nodes[0].kill()
        wait_until(lambda: "promoting node 1" in h.proxy.log(), "the promotion to begin")
        wait_until(lambda: "server did not promote within" in chosen.log(), "pg_promote() to give up")
    finally:
        os.kill(replay, signal.SIGCONT)
    wait_until(lambda: "built-in failover: node 1 was promoted" in h.proxy.log(), "the end of it")
    h.wait_for(primary=1, down=(0,))
    assert of_roles(h) == ["f", "t"]
    # And it recovers: the other one follows.
    streams_from(chosen, 1)
    assert h.write() >= 2


def test_a_standby_that_was_told_and_does_not_answer_is_waited_for(herd):
    """Asynchronous, so the other one could be promoted as well: there would be two primaries."""
    h = herd(health_check_period=0, backend_flag1="DISALLOW_TO_FAILOVER").start()
    h.write()
    chosen = h.cluster.nodes[1]
    server = chosen.pid()
    replay = int(chosen.psql("select pid from pg_stat_activity where backend_type = 'startup'"))
    told = "select pid from pg_stat_activity where wait_event = 'Promote'"
    os.kill(replay, signal.SIGSTOP)
    try:
        h.cluster.nodes[0].kill()
        wait_until(lambda: chosen.psql(told), "the promotion to begin")
        session = int(chosen.psql(told))
        os.kill(server, signal.SIGSTOP)
        os.kill(session, signal.SIGTERM)
        wait_until(lambda: "node 1 was told to promote itself and does not answer" in h.proxy.log(), "the log to say so")
    finally:
        os.kill(server, signal.SIGCONT)
        os.kill(replay, signal.SIGCONT)
    wait_until(lambda: "built-in failover: node 1 was promoted" in h.proxy.log(), "the end of it")
    assert h.proxy.log().count("promoting node") == 1
    assert of_roles(h) == ["f", "t"]
    # And it recovers: the other one follows.
    streams_from(chosen, 1)
    assert h.write() >= 2


def test_a_standby_that_the_promotion_finds_first_is_used_as_soon_as_it_answers(herd):
    """It is down for the proxy, which asks it every 10 s only, and is pointed at the new primary before that."""
    h = herd(sync="ANY 1 (node1, node2)", sr_check_period=10).start()
    h.write()

    def kill(node, downs):
        h.cluster.nodes[node].kill()
        wait_until(lambda: h.proxy.log().count("=== Starting degeneration.") == downs, f"node {node} to be taken down")
    kill(2, 1)
    kill(0, 2)
    wait_until(lambda: "1 of 2 synchronous standbys answer, 2 are needed" in h.proxy.log(), "the refusal")
    kill(1, 3)
    h.cluster.nodes[2].start()
    wait_until(lambda: "=== Starting fail back." in h.proxy.log(), "node 2 to be used again")
    h.cluster.nodes[1].start()
    wait_until(lambda: "was promoted" in h.proxy.log(), "a promotion")
    # And it recovers: nobody has to attach the other one.
    wait_until(lambda: h.state()[1] == (0,), "both to be used")
    assert h.write() >= 2


@pytest.mark.long
def test_a_standby_that_is_restarted_while_it_is_to_follow_stays_in_use(herd):
    """At first the new primary lets nobody receive, so the promotion's session ends before the standby follows."""
    flags = {f"backend_flag{n}": "DISALLOW_TO_FAILOVER" for n in (1, 2)}
    h = herd(health_check_period=0, backend_flag0="ALLOW_TO_FAILOVER", **flags).start()
    h.write()
    for node in h.cluster.nodes[1:]:
        let_receive(node, False)
    h.cluster.nodes[0].kill()
    wait_until(lambda: "was promoted" in h.proxy.log(), "a promotion")
    promoted = h.state()[0]
    began = time.monotonic()
    new, other = h.cluster.nodes[promoted], h.cluster.nodes[3 - promoted]
    wait_until(lambda: f"port={new.port}" in other.psql("show primary_conninfo").replace("'", ""), "the other one to be pointed")
    other.stop()
    other.start()
    assert new.psql("select count(*) from pg_stat_replication") == "0"
    let_receive(new, True)
    streams_from(new, 1)
    assert time.monotonic() - began < 14, "too slow: it may have been given up by now"
    wait_until(lambda: time.monotonic() - began > 20, "the end of the watch")
    # And it recovers: nobody has to attach it.
    assert h.state()[1] == (0,)
    assert h.write() >= 2


def let_receive(node, allowed):
    path = f"{node.data}/pg_hba.conf"
    with open(path) as f:
        text = f.read()
    refusal = "host replication all all reject\nlocal replication all reject\n"
    with open(path, "w") as f:
        f.write(text.replace(refusal, "") if allowed else refusal + text)
    node.psql("select pg_reload_conf()")
