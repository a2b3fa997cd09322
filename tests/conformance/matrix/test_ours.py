"""Our ctr beside Debian's: with either daemon it prints the same tables and exits with the same statuses.

Errors are compared by whether there is one: ours are one line with a remedy, in words of their own.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator

import pytest

from tests.conformance.matrix import sides
from tests.conformance.matrix.differences import OF_OUR_CTR
from tests.conformance.matrix.sides import Row, Seen, Side
from tests.conformance.matrix.stories import STORIES

pytestmark = [pytest.mark.root, pytest.mark.peer]
SERIES = "2.1"


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Side, Side]]:
    """Our ctr with our daemon, and containerd's with containerd, and each with a registry."""
    with (
        sides.pinnaced() as ours,
        sides.containerd(SERIES) as theirs,
        sides.registries(tmp_path_factory.mktemp("registries"), ours, theirs),
    ):
        yield ours, theirs


@pytest.mark.parametrize("story", STORIES)
def test_our_ctr_shows_what_containerds_shows(pair: tuple[Side, Side], story: str) -> None:
    ours, theirs = pair
    found = []
    for row in STORIES[story]:
        found += unexplained(row, ours.see(row), theirs.see(row))
    assert not found, "\n".join(["not explained ('-' ours, '+' theirs):", *found])


def unexplained(row: Row, ours: Seen, theirs: Seen) -> list[str]:
    """Differences of the status and of standard output, without those that are known."""
    lines = difflib.unified_diff(_lines(ours), _lines(theirs), lineterm="", n=0)
    differing = [it for it in lines if not it.startswith(("---", "+++", "@@"))]
    new = [it for it in differing if not any(k.explains(row.words, it[1:]) for k in OF_OUR_CTR)]
    said = [f"  ({side.err.strip()})" for side in (ours, theirs) if side.err]
    return [f"ctr {row.words}", *(f"  {it}" for it in new), *said] if new else []


def _lines(seen: Seen) -> list[str]:
    failed = ["err: yes"] if seen.status else []
    return [f"status: {seen.status}", *failed, *(f"out: {line}" for line in seen.out.splitlines())]
