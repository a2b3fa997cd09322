"""A daemon with a keeper, for containers that misbehave."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.conformance.daemon.world import World
from toolkit.arena import Arena


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    if os.geteuid() != 0:
        pytest.skip("needs root for namespaces")
    with Arena() as arena:
        made = World(arena)
        made.start_keeper()
        made.start()
        made.ok("images", "import", made.archive)
        yield made
