"""The snapshotters that need no root, through the suite of all; and what overlayfs is asked for."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from pinnace.store import overlay
from pinnace.store.metadata import Database
from pinnace.store.native import NativeSnapshotter
from pinnace.store.overlay import OverlaySnapshotter
from pinnace.store.snapshots import Snapshotter
from tests.snapshotter_suite import SnapshotterSuite


@pytest.fixture(params=[OverlaySnapshotter, NativeSnapshotter])
def snapshotter(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Snapshotter]:
    database = Database(tmp_path / "metadata.db")
    yield request.param(tmp_path / "root", database)
    database.close()


class TestWithoutRoot(SnapshotterSuite):
    """Directories and records."""


@pytest.mark.parametrize(
    ("kernel", "options"),
    [
        ({}, ()),  # before 4.10: none of these exists, and naming one would be refused
        ({"redirect_dir": "N", "index": "N", "metacopy": "N"}, ("index=off",)),
        (
            {"redirect_dir": "Y", "index": "Y", "metacopy": "Y"},
            ("index=off", "redirect_dir=off", "metacopy=off"),
        ),
    ],
)
def test_what_kernels_turn_on_is_turned_off(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, kernel: dict[str, str], options: tuple[str, ...]
) -> None:  # fmt: skip
    for name, value in kernel.items():
        (tmp_path / name).write_text(f"{value}\n")
    monkeypatch.setattr(overlay, "_PARAMETERS", str(tmp_path))
    assert overlay.default_options(("userxattr",)) == options
