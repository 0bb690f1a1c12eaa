"""The list of explained differences of PostgreSQL's regression suite, and how it is applied."""
import os

import pytest

from support import explained, system

LIST = os.path.join(system.ROOT, "tests", "regress", "explained.tsv")
MODES = ("raw", "off", "balanced", "transaction")
REASONS = {"known": ("always", "so it is"), "at times": ("sometimes", "by chance")}


@pytest.mark.parametrize("differing, ran, unexplained, stale", [
    (["known"], ["known", "at times", "other"], [], []),
    (["known", "other"], ["known", "at times", "other"], ["other"], []),
    ([], ["known", "at times", "other"], [], ["known"]),
    (["at times", "known"], ["known", "at times", "other"], [], []),
    ([], ["other"], [], []),
])
def test_judge(differing, ran, unexplained, stale):
    assert explained.judge(REASONS, differing, ran) == (unexplained, stale)


def test_a_broken_line_is_an_error(tmp_path):
    path = tmp_path / "list"
    path.write_text("raw\tstats\tnever\treason\n")
    with pytest.raises(ValueError, match="list:1"):
        explained.read(path, "raw")


@pytest.mark.parametrize("mode", MODES)
def test_every_explanation_stands_in_the_document(mode):
    with open(os.path.join(system.ROOT, "docs", "compat.md"), encoding="utf-8") as f:
        rows = [line for line in f if line.startswith("| ")]
    for script in explained.read(LIST, mode):
        assert any(f"`{script}`" in row and mode in row for row in rows), f"docs/compat.md lacks {script} in mode {mode}"
