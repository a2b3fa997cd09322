"""The daemon that these tests share; each runs with ctr of every series it names."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator

import pytest

from tests.conformance.daemon.world import CTR_RELEASES, World
from toolkit.arena import Arena


@pytest.fixture(scope="session")
def shared() -> Iterator[World]:
    """One daemon with its keeper for all tests of this directory."""
    if os.geteuid() != 0:
        pytest.skip("needs root for namespaces")
    with Arena() as arena:
        world = World(arena)
        world.start_keeper()
        world.start()
        yield world


@pytest.fixture(params=CTR_RELEASES)
def world(request: pytest.FixtureRequest, shared: World) -> World:
    """The shared daemon, driven by each series of ctr in turn, in a namespace of the test's own."""
    shared.series = request.param
    shared.namespace = f"test-{next(_numbers)}"
    return shared


_numbers = itertools.count()
