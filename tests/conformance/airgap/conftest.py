"""One board for all tests of this directory."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.conformance.airgap.bench import Bench, started


@pytest.fixture(scope="package")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    with started(tmp_path_factory.mktemp("offline")) as made:
        yield made
