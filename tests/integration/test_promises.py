"""One run of each scenario of bench/failover.py: whatever dies, no client is dropped and no promise is broken."""
import os
import sys

import pytest
from support import netns

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "bench"))
import failover  # noqa: E402

pytestmark = pytest.mark.herdgate_only


def run(name):
    result = failover.one_run(name)
    assert result["broken"] == []
    assert result["hanging"] == 0
    assert result["dropped"] == 0
    assert result["written"] > 100
    print({key: value for key, value in result.items() if not key.endswith("errors")},
          failover.codes(result["write errors"]), failover.codes(result["read errors"]))
    return result


def test_kill_of_the_primary():
    run("kill-primary")


def test_kill_of_a_standby():
    result = run("kill-standby")
    assert result["read errors"] == [] and result["write errors"] == []


def test_frozen_primary():
    run("freeze-primary")


@pytest.mark.skipif(not netns.available(), reason="no network namespaces here")
def test_partition():
    run("cut-primary")
