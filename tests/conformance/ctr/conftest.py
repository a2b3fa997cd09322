"""The daemon that the tests of ctr share."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.conformance.ctr.daemons import Daemon, start_containerd, start_pinnaced
from toolkit.arena import Arena


@pytest.fixture(scope="session")
def containerd() -> Iterator[Daemon]:
    """Debian's containerd."""
    if os.geteuid() != 0:
        pytest.skip("needs root for namespaces")
    with Arena() as arena:
        yield start_containerd(arena)


@pytest.fixture(scope="session")
def pinnaced() -> Iterator[Daemon]:
    """Our keeper and daemon."""
    if os.geteuid() != 0:
        pytest.skip("needs root for namespaces")
    with Arena() as arena:
        yield start_pinnaced(arena)


@pytest.fixture(params=["containerd", "pinnaced"])
def daemon(request: pytest.FixtureRequest) -> Daemon:
    """Each of both in turn: ctr behaves the same with either."""
    found: Daemon = request.getfixturevalue(request.param)
    return found
