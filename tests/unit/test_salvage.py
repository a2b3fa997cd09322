"""A damaged database: the daemon comes up, what is readable is taken over, nothing is thrown away."""

from __future__ import annotations

from pathlib import Path

import pytest

from pinnace.spec import image as images
from pinnace.spec.digest import sha256
from pinnace.spec.image import Descriptor
from pinnace.store.images import Image
from pinnace.store.metadata import Database
from pinnace.store.store import Store

NS = "default"


def filled(root: Path, count: int = 200) -> Path:
    store = Store(root)
    assert store.notice == ""
    with store.db.transaction():
        for number in range(count):
            target = Descriptor(images.OCI_INDEX, sha256(str(number).encode()), 7)
            store.images.create(NS, Image(f"registry.lab/image-{number:04}", target))
    store.snapshotter().prepare(NS, "rootfs")
    Path(store.snapshotter().paths(NS, "rootfs")[0], "precious").write_text("data")
    store.close()
    return root / "metadata.db"


def damaged_files(root: Path) -> list[Path]:
    return list(root.glob("metadata.db.damaged-*"))


def test_a_page_of_rubbish_costs_its_rows_only(tmp_path: Path) -> None:
    """Whichever page is hit, the daemon starts and the snapshot's files are still there."""
    path = filled(tmp_path / "store")
    whole = path.read_bytes()
    most = 0
    for page in range(1, len(whole) // 4096, 3):
        bad = bytearray(whole)
        bad[page * 4096 : (page + 1) * 4096] = b"\xa5" * 4096
        path.write_bytes(bad)
        store = Store(path.parent)
        most = max(most, len(store.images.list(NS)))
        kept = list(Path(store.snapshotter().root, "snapshots").glob("*/fs/precious"))
        assert len(kept) == 1
        if store.notice:
            assert "taken over" in store.notice
            assert damaged_files(path.parent)
        folder = kept[0].parents[1]
        folder.rename(folder.with_name("1"))
        store.close()
    assert most > 100


@pytest.mark.parametrize("content", [b"not a database" * 1000, b"SQLite format 3\0" + bytes(5000)])
def test_rubbish_starts_anew_and_is_kept(tmp_path: Path, content: bytes) -> None:
    path = filled(tmp_path / "store", 3)
    path.write_bytes(content)
    store = Store(path.parent)
    assert "is damaged" in store.notice
    assert store.images.list(NS) == []
    assert [f.read_bytes() for f in damaged_files(path.parent)] == [content]
    lost = Path(store.snapshotter().root, "snapshots", "lost-1", "fs", "precious")
    assert lost.read_text() == "data"
    store.close()
    again = Store(path.parent)
    assert again.notice == ""
    assert lost.read_text() == "data"
    again.close()


def test_an_empty_file_is_a_new_database(tmp_path: Path) -> None:
    path = tmp_path / "metadata.db"
    path.touch()
    Database(path).close()
