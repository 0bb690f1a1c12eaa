"""Which differences between two runs of a test suite are explained, and which explanations are true no longer.

The list is a table of four columns, set apart by tabs: modes (with commas), script, when, reason. `when` is "always", or
"sometimes" for what depends on the choice of a node or on time.
"""


def read(path, mode):
    """script -> (when, reason) of this mode. A line that is not of four columns is an error."""
    found = {}
    with open(path, encoding="utf-8") as f:
        for number, line in enumerate(f, 1):
            if line.startswith("#") or not line.strip():
                continue
            columns = line.rstrip("\n").split("\t")
            if len(columns) != 4 or columns[2] not in ("always", "sometimes") or not columns[3]:
                raise ValueError(f"{path}:{number}: wants modes, script, always or sometimes, reason")
            if mode in columns[0].split(","):
                found[columns[1]] = (columns[2], columns[3])
    return found


def judge(reasons, differing, ran):
    """(unexplained, stale): scripts that differ without a reason; reasons said to hold always that did not."""
    unexplained = sorted(set(differing) - set(reasons))
    stale = sorted(s for s, (when, _) in reasons.items() if when == "always" and s in ran and s not in differing)
    return unexplained, stale
