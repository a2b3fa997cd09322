"""An arena with our release, with a keeper in it or without."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conformance.ctr.daemons import busybox
from toolkit.arena import Arena

_KEEPER = "/run/pinnace/keeper.sock"


@pytest.fixture(scope="module", params=["cold", "warm"])
def arena(request: pytest.FixtureRequest, release: Path) -> Iterator[Arena]:
    """Where the engine and its containers live; ``image.tar`` in its scratch directory is to be run."""
    if os.geteuid() != 0:
        pytest.skip("needs root for namespaces")
    with Arena() as made:
        (made.scratch / "image.tar").write_bytes(busybox())
        if request.param == "warm":
            made.start([release / "bin/pinnace-keeper", "--address", _KEEPER], log="keeper.log")
            made.wait_for(_KEEPER, log="keeper.log")
        yield made
