"""What writers and readers were told, and whether the servers kept those promises. No sockets, no clock of its own.

A writer's numbers rise by one. Each is told to be acknowledged (the client saw success), refused (an error that says it
did not happen) or unknown (an error, or a lost connection, that leaves it open). afterwards: the numbers of one writer that
the table holds, with repetitions.
"""
from collections import Counter

ACKNOWLEDGED, REFUSED, UNKNOWN = "acknowledged", "refused", "unknown"


class Writes:
    """What one writer was told."""

    def __init__(self):
        self.told = {}

    def tell(self, number, outcome):
        assert outcome in (ACKNOWLEDGED, REFUSED, UNKNOWN), outcome
        assert number not in self.told, f"{number} was told already"
        self.told[number] = outcome

    def numbers(self, outcome):
        return {n for n, told in self.told.items() if told == outcome}


def broken_promises(writes, afterwards):
    """Sentences, one for each kind of broken promise; none when all were kept."""
    count = Counter(afterwards)
    there = set(count)
    found = {
        "acknowledged and missing": writes.numbers(ACKNOWLEDGED) - there,
        "there more than once": {n for n, times in count.items() if times > 1},
        "refused and there all the same": writes.numbers(REFUSED) & there,
        "never written": there - set(writes.told),
    }
    return [f"{len(numbers)} {what}: {sorted(numbers)[:10]}" for what, numbers in found.items() if numbers]


def longest_gap(times, begin, end):
    """The longest time within [begin, end] in which none of `times` lies."""
    inside = sorted(t for t in times if begin <= t <= end)
    edges = [begin, *inside, end]
    return max(b - a for a, b in zip(edges, edges[1:]))


def first_after(times, moment):
    """How long after `moment` the first of `times` lies; None when there is none."""
    later = [t for t in times if t > moment]
    return min(later) - moment if later else None
