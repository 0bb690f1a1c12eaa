"""The checker of bench/failover.py finds what is broken, and nothing where all is well."""
import os
import sys

import pytest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "bench"))
from history import ACKNOWLEDGED, REFUSED, UNKNOWN, Writes, broken_promises, first_after, longest_gap  # noqa: E402


def told():
    writes = Writes()
    for number, outcome in enumerate((ACKNOWLEDGED, ACKNOWLEDGED, REFUSED, UNKNOWN, UNKNOWN), start=1):
        writes.tell(number, outcome)
    return writes


@pytest.mark.parametrize("afterwards", [[1, 2], [1, 2, 4], [2, 4, 1, 5]])
def test_kept_promises(afterwards):
    assert broken_promises(told(), afterwards) == []


@pytest.mark.parametrize("afterwards,what", [
    ([1], "1 acknowledged and missing: [2]"),
    ([], "2 acknowledged and missing: [1, 2]"),
    ([1, 2, 2], "1 there more than once: [2]"),
    ([1, 2, 4, 4], "1 there more than once: [4]"),
    ([1, 2, 3], "1 refused and there all the same: [3]"),
    ([1, 2, 9], "1 never written: [9]"),
])
def test_broken_promises(afterwards, what):
    assert broken_promises(told(), afterwards) == [what]


def test_nothing_is_told_twice():
    with pytest.raises(AssertionError):
        told().tell(3, ACKNOWLEDGED)


def test_gaps():
    assert longest_gap([1, 2, 2.5, 7], 0, 8) == 4.5
    assert longest_gap([], 0, 8) == 8
    assert longest_gap([1], 2, 8) == 6
    assert first_after([1, 5, 9], 4) == 1
    assert first_after([1], 4) is None
