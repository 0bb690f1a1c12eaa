"""Why nodes are taken out of use, each reason once, as /metrics counts them; and the rules that decide it: health_check_*
of one node, health_check_test, detach_false_primary, backend_flag. Each case ends with "and it recovers"."""
import os

import pytest
from support import system
from support.system import wait_until
from test_builtin_failover import BuiltinHerd, streams_from
from test_failover import Herd
from test_failover_races import in_recovery, set_conninfo
from test_http import Http, with_http
from test_recovery import prepare

pytestmark = pytest.mark.herdgate_only


@pytest.fixture
def herd():
    made = []

    def make(kind=Herd, **parameters):
        made.append(prepare(kind(recovery_user="postgres", **with_http(parameters))))
        h = made[-1].start()
        h.web = Http(h.proxy)
        return h
    yield make
    for h in made:
        if os.path.exists(h.pcp.passes[True]):
            os.unlink(h.pcp.passes[True])
        h.end()


def reasons(h, node):
    """{reason: how often} of what was counted for the node."""
    return {dict(labels)["reason"]: int(value) for labels, value in h.web.figures()["herdgate_node_failovers_total"].items()
            if ("node", str(node)) in labels and value != 0}


def attach(h, node, primary=0):
    h.pcp.ok("pcp_attach_node", "-n", str(node))
    h.wait_for(primary=primary, down=())


def order_down(h, node):
    path = f"{h.proxy.folder}/backend_down_request"
    with open(path, "w") as f:
        f.write(f"{node}\tdown\n")
    system.give(path)
    return path


def test_every_reason_is_counted_and_nothing_else(herd):
    # Nodes 0 and 2 are not checked: of node 2 only a session's hint is heard.
    h = herd(health_check_period=0, health_check_period1=1, health_check_test=True, detach_false_primary=True,
             failover_command="", search_primary_node_timeout=1)
    h.write()
    assert [reasons(h, n) for n in range(3)] == [{}, {}, {}]

    h.pcp.ok("pcp_detach_node", "-n", "2")
    h.wait_for(primary=0, down=(2,))
    assert reasons(h, 2) == {"request": 1}
    attach(h, 2)

    order = order_down(h, 1)
    h.wait_for(primary=0, down=(1,))
    assert reasons(h, 1) == {"health_check": 1}
    assert open(order).read() == "1\talready_down\n"
    os.unlink(order)
    attach(h, 1)

    h.cluster.nodes[2].kill()
    wait_until(lambda: h.state()[1] == (2,), "the probe after a session's hint or a round")
    assert reasons(h, 2) == {"request": 1, "connection": 1}
    h.cluster.nodes[2].start()
    attach(h, 2)

    streams_from(h.cluster.nodes[0], 2)
    h.cluster.nodes[2].promote()  # two primaries; node 1 receives from node 0
    wait_until(lambda: h.state()[1] == (2,), "the false primary to be detached")
    assert reasons(h, 2) == {"request": 1, "connection": 1, "false_primary": 1}
    wait_until(lambda: "a false primary: node 0 is the primary" in h.proxy.log(), "the log to say so")
    h.cluster.nodes[2].rebuild(h.cluster.nodes[0])
    attach(h, 2)

    # A promotion by PCP changes roles and sets the others down; the server itself is promoted by somebody else.
    h.pcp.ok("pcp_promote_node", "-n", "1")
    wait_until(lambda: h.state()[:2] == (1, (0, 2)), "the others to be set down")
    assert reasons(h, 0) == {"promotion": 1}
    assert reasons(h, 2) == {"request": 1, "connection": 1, "false_primary": 1, "promotion": 1}
    assert reasons(h, 1) == {"health_check": 1}
    # And it recovers.
    h.cluster.nodes[1].promote()
    h.wait_for(primary=1, down=(0, 2))
    for node in (0, 2):
        h.cluster.nodes[node].rebuild(h.cluster.nodes[1])
        h.pcp.ok("pcp_attach_node", "-n", str(node))
    h.wait_for(primary=1, down=())
    assert h.write() == 2
    assert h.web.figure("herdgate_node_failbacks_total", node="2") == 4


def test_reasons_of_the_built_in_actions(herd):
    h = herd(kind=BuiltinHerd)
    before = h.write()
    h.pcp.ok("pcp_promote_node", "--switchover", "-n", "1")
    h.wait_for(primary=1, down=())
    assert [reasons(h, n) for n in range(3)] == [{"switchover": 1}, {}, {}]
    set_conninfo(h.cluster.nodes[2], "postgresql://postgres@[::1/db")  # nobody can point it elsewhere
    streams_from(h.cluster.nodes[1], 1)
    h.cluster.nodes[1].kill()
    h.wait_for(primary=0, down=(1, 2))
    assert reasons(h, 2) == {"left_behind": 1}
    assert list(reasons(h, 1).values()) == [1] and set(reasons(h, 1)) <= {"health_check", "connection"}
    # And it recovers.
    set_conninfo(h.cluster.nodes[2], "user=postgres application_name=node2")
    h.pcp.ok("pcp_attach_node", "-n", "2")
    h.wait_for(primary=0, down=(1,))
    assert h.write() == before + 1


def test_two_primaries_without_detach_false_primary_are_named_and_left_alone(herd):
    h = herd(failover_command="")
    h.write()
    h.cluster.nodes[2].promote()
    wait_until(lambda: "find_primary_node: invalid node 2" in h.proxy.log(), "the warning")
    wait_until(lambda: h.state() == (0, (), (0, 2)), "both to be shown")
    assert reasons(h, 2) == {}
    assert h.write() == 2  # at the one that stands
    # And it recovers.
    h.pcp.ok("pcp_detach_node", "-n", "2")  # it is not there for a while, which a health check may see or not
    h.wait_for(primary=0, down=(2,))
    h.cluster.nodes[2].rebuild(h.cluster.nodes[0])
    attach(h, 2)


def test_backend_flags(herd):
    """DISALLOW_TO_FAILOVER: it stays in use, whatever happens. ALWAYS_PRIMARY: whatever it says of itself."""
    h = herd(failover_command="", backend_flag2="DISALLOW_TO_FAILOVER", backend_flag1="ALLOW_TO_FAILOVER")
    h.write()
    h.cluster.nodes[2].kill()
    wait_until(lambda: "failover is disallowed on the node" in h.proxy.log(), "the log to say so")
    out = "".join(h.pcp.run("pcp_detach_node", "-n", "2")[1:])
    assert "degenerate backend request for node_id: 2 is canceled because failover is disallowed on the node" in out
    assert h.state()[:2] == (0, ()) and reasons(h, 2) == {}
    h.cluster.nodes[1].kill()
    wait_until(lambda: h.state()[1] == (1,), "the other one to be down")
    h.proxy.stop()
    h.proxy.settings["backend_flag2"] = "ALWAYS_PRIMARY"
    for node in h.cluster.nodes[1:]:
        node.start()
    h.proxy.start()
    wait_until(lambda: {n["node_id"]: n["role"] for n in h.show()} == {"0": "standby", "1": "standby", "2": "primary"}, "the flag to count")
    assert in_recovery(h.cluster.nodes[2]) == "t"
    # And it recovers.
    h.proxy.stop()
    h.proxy.settings["backend_flag2"] = "ALLOW_TO_FAILOVER"
    h.proxy.start()
    h.wait_for(primary=0, down=())
    assert h.write() == 2


def test_the_false_primary_is_the_one_that_no_standby_receives_from(herd):
    h = herd(failover_command="", detach_false_primary=True)
    h.write()
    h.proxy.stop()
    zero, one, two = h.cluster.nodes
    for node in h.cluster.nodes:  # as the standbys name their primary
        h.proxy.settings[f"backend_hostname{node.number}"] = h.cluster.inner
    two.promote()
    one.psql("alter system set primary_slot_name = ''")
    set_conninfo(one, f"host={h.cluster.inner} port={two.port} user=postgres application_name=node1")
    streams_from(two, 1)
    h.proxy.start()
    h.wait_for(primary=2, down=(0,))
    assert reasons(h, 0) == {"false_primary": 1}
    # And it recovers.
    zero.rebuild(two)
    h.pcp.ok("pcp_attach_node", "-n", "0")
    h.wait_for(primary=2, down=())
    assert h.write() == 2
