"""The sample scripts of the watchdog, run as it runs them: in network namespaces, with stand-ins for ssh, sudo, curl and aws."""
import os
import shutil
import subprocess

import pytest

from support import netns, system

pytestmark = [pytest.mark.herdgate_only, pytest.mark.skipif(not netns.available(), reason="no network namespaces here")]
ADDRESS, DEVICE = "192.0.2.50", "cable"  # as support/netns.py names the device
STAND_INS = {
    # A namespace is a machine; options end where its name stands.
    "ssh": 'while :; do case $1 in -T) shift ;; -o) shift 2 ;; *) break ;; esac; done\nhost=$1\nshift\n'
           'ip netns list | grep -q "^$host" || { echo "no route to $host" >&2; exit 255; }\nexec ip netns exec "$host" "$@"\n',
    "sudo": '[ "$1" = -n ] && shift\nexec "$@"\n',
    "curl": 'case "$*" in */api/token) echo token ;; *"token: token"*/instance-id) echo i-here ;; '
            '*"token: token"*/interface-id) echo eni-here ;; *) exit 22 ;; esac\n',
    "aws": '[ "$1 $3 $5" = "--cli-connect-timeout --cli-read-timeout --output" ] || exit 252\nshift 6\necho "$*" >> "$CALLS"\n'
           'case "$*" in *AllocationId) echo eipalloc-1 ;; *AssociationId) echo eipassoc-1 ;; '
           '*describe*) echo "$HOLDER" ;; *"$REFUSED"*) echo refused >&2; exit 254 ;; esac\n'}


@pytest.fixture
def place():
    folder = system.scratch("samples")
    for name, text in STAND_INS.items():
        with open(f"{folder}/{name}", "w") as f:
            f.write("#!/bin/sh\n" + text)
        os.chmod(f"{folder}/{name}", 0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def cable():
    made = netns.Cable()
    yield made
    made.remove()


def script(place, name, **settings):
    """The sample made ready for use."""
    with open(f"{system.ROOT}/etc/{name}.sample") as f:
        lines = f.readlines()
    for variable, value in settings.items():
        (number,) = [n for n, line in enumerate(lines) if line.startswith(f"{variable}=")]
        lines[number] = f"{variable}='{value}'\n"
    with open(f"{place}/{name}", "w") as f:
        f.writelines(lines)
    os.chmod(f"{place}/{name}", 0o755)
    return f"{place}/{name}"


def run(place, *words, **environment):
    """(exit code, stdout and stderr)"""
    done = subprocess.run(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60,
                          env={**os.environ, "PATH": f"{place}:{os.environ['PATH']}", "CALLS": f"{place}/calls", **environment})
    return done.returncode, done.stdout


def give(end, prefix=24):
    netns.ip("-n", end, "address", "add", f"{ADDRESS}/{prefix}", "dev", DEVICE)


def has(end):
    return ADDRESS in subprocess.run(["ip", "-n", end, "address", "show"], capture_output=True, text=True).stdout


def escalation(place, hosts):
    return run(place, script(place, "escalation.sh", pgpools=hosts, address=ADDRESS, prefix=24, device=DEVICE))


def test_escalation_takes_the_address_from_who_holds_it(place, cable):
    a, b = cable.ends
    give(b)
    code, said = escalation(place, f"localhost {os.uname().nodename} {a} nowhere {b}")
    assert code == 0 and not has(b)
    assert sorted(said.splitlines()) == [f"escalation: {b} held {ADDRESS} and has given it up",
                                         "escalation: nowhere could not be reached: no route to nowhere"]
    assert escalation(place, f"{a} {b}") == (0, "")


def test_escalation_tells_who_keeps_it(place, cable):
    a, b = cable.ends
    give(a, prefix=32)  # not as it was told
    give(b)
    code, said = escalation(place, f"{a} {b}")
    assert code == 1 and has(a) and not has(b) and f"escalation: {a} could not give up {ADDRESS}: " in said


def calls(place):
    try:
        with open(f"{place}/calls") as f:
            return f.read().splitlines()
    except FileNotFoundError:
        return []
    finally:
        if os.path.exists(f"{place}/calls"):
            os.unlink(f"{place}/calls")


def test_an_elastic_ip_is_moved(place):
    words = [script(place, "aws_eip_if_cmd.sh"), "up", ADDRESS, f"{place}/aws"]
    look = f"ec2 describe-addresses --public-ips {ADDRESS} --query Addresses[0]."
    associate = "ec2 associate-address --allocation-id eipalloc-1 --instance-id i-here --allow-reassociation"
    assert run(place, *words, REFUSED="nothing")[0] == 0
    assert calls(place) == [look + "AllocationId", associate]
    code, said = run(place, *words, REFUSED="associate")
    assert code == 1 and f"{ADDRESS} could not be moved to i-here" in said
    calls(place)
    words[1] = "down"
    assert run(place, *words, HOLDER="i-here", REFUSED="nothing")[0] == 0
    assert calls(place) == [look + "InstanceId", look + "AssociationId", "ec2 disassociate-address --association-id eipassoc-1"]
    for other in ("i-other", "None"):  # the next leader has it
        assert run(place, *words, HOLDER=other) == (0, "")
        assert calls(place) == [look + "InstanceId"]
    for wrong in ((), ("sideways", ADDRESS), ("up",)):
        assert run(place, words[0], *wrong)[0] == 1
    assert calls(place) == []


def test_routes_follow_the_address(place, cable):
    here = ["ip", "netns", "exec", cable.ends[0], script(place, "aws_rtb_if_cmd.sh")]
    words = [ADDRESS, DEVICE, "rtb-1,rtb-2", f"{place}/aws"]
    route = lambda what, table: f"ec2 {what}-route --route-table-id {table} --destination-cidr-block {ADDRESS}/32"
    to_here = lambda what, table: f"{route(what, table)} --network-interface-id eni-here"
    assert run(place, *here, "up", *words, REFUSED="replace-route --route-table-id rtb-2") == (0, "")
    assert has(cable.ends[0])
    assert calls(place) == [to_here("replace", "rtb-1"), to_here("replace", "rtb-2"), to_here("create", "rtb-2")]
    code, said = run(place, *here, "up", *words, REFUSED="rtb-1")  # once more; the other table is tried all the same
    assert code == 1 and f"the route to {ADDRESS} in rtb-1 could not be changed" in said
    assert calls(place)[-1] == to_here("replace", "rtb-2")
    assert run(place, *here, "down", *words, HOLDER="eni-here", REFUSED="nothing") == (0, "")
    assert not has(cable.ends[0])
    assert [c for c in calls(place) if "describe" not in c] == [route("delete", "rtb-1"), route("delete", "rtb-2")]
    assert run(place, *here, "down", *words, HOLDER="eni-other") == (0, "")
    assert all("describe-route-tables" in c for c in calls(place))
    for wrong in (("up", ADDRESS, DEVICE), ("sideways", *words)):
        assert run(place, *here, *wrong)[0] == 1
    assert not has(cable.ends[0]) and calls(place) == []
