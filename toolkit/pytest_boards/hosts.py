"""testinfra's ``host``, on the board: registered after testinfra's own fixture, which it replaces."""

from __future__ import annotations

from typing import Any

import pytest

from toolkit.pytest_boards.running import RunningBoard


@pytest.fixture(scope="module")
def host(board: RunningBoard) -> Any:
    """The board of this module as testinfra sees it; every command runs as root."""
    return board.host
