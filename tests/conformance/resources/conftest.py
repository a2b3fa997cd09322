"""Room for private roots."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture(scope="module")
def disk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A tmpfs: an overlay's upper layer cannot be on another overlay, as containers of CI have."""
    path = tmp_path_factory.mktemp("roots")
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", path], check=True)
    try:
        yield path
    finally:
        subprocess.run(["umount", path], check=True)


@pytest.fixture
def scratch(disk: Path) -> Iterator[Path]:
    path = disk / "one"
    path.mkdir()
    try:
        yield path
    finally:
        subprocess.run(["rm", "-rf", path], check=True)
