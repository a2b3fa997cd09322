"""Every command of Debian's ctr of three series: with our daemon it shows what it shows with containerd."""

from __future__ import annotations

import difflib
from collections.abc import Iterator

import pytest

from tests.conformance.daemon.world import CTR_RELEASES
from tests.conformance.matrix import sides
from tests.conformance.matrix.differences import KNOWN
from tests.conformance.matrix.sides import Row, Seen, Side
from tests.conformance.matrix.stories import STORIES

pytestmark = [pytest.mark.root, pytest.mark.peer]


@pytest.fixture(scope="module", params=CTR_RELEASES)
def pair(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Side, Side]]:
    """Ours and theirs, both with nothing in them yet, under the same ctr, and each with a registry."""
    with (
        sides.pinnaced() as ours,
        sides.containerd(request.param) as theirs,
        sides.registries(tmp_path_factory.mktemp("registries"), ours, theirs),
    ):
        yield ours.with_ctr(theirs.ctr), theirs


@pytest.mark.parametrize("story", STORIES)
def test_ctr_shows_the_same_with_both_daemons(pair: tuple[Side, Side], story: str) -> None:
    ours, theirs = pair
    found = []
    for row in STORIES[story]:
        found += unexplained(row, ours.see(row), theirs.see(row))
    assert not found, "\n".join(["not explained ('-' ours, '+' theirs):", *found])


def unexplained(row: Row, ours: Seen, theirs: Seen) -> list[str]:
    """Lines that one side alone shows, without those that are known."""
    lines = difflib.unified_diff(_lines(ours), _lines(theirs), lineterm="", n=0)
    differing = [it for it in lines if not it.startswith(("---", "+++", "@@"))]
    new = [it for it in differing if not any(k.explains(row.words, it[1:]) for k in KNOWN)]
    return [f"ctr {row.words}", *(f"  {it}" for it in new)] if new else []


def _lines(seen: Seen) -> list[str]:
    out = [f"out: {line}" for line in seen.out.splitlines()]
    err = [f"err: {line}" for line in seen.err.splitlines()]
    return [f"status: {seen.status}", *out, *err]
