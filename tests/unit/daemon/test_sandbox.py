"""The built-in pause image."""

from __future__ import annotations

from pathlib import Path

import pytest

from pinnace.daemon import sandbox
from pinnace.errors import DataLoss
from pinnace.store.store import Store
from toolkit import oci
from toolkit.tree import Tree

NAME = "registry.k8s.io/pause:3.10.2"


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    tree = Tree()
    tree.file("pause", "program", 0o755)
    images = [
        oci.image(platform, [oci.layer(tree.tar())], {}, created=0)
        for platform in ("linux/amd64", "linux/arm64", "linux/arm/v7", "linux/arm/v6")
    ]
    path = tmp_path / "pause.tar"
    path.write_bytes(oci.layout(images, "registry.k8s.io/pause:built-in"))
    return path


def test_it_is_imported_once_and_pinned(tmp_path: Path, archive: Path) -> None:
    store = Store(tmp_path / "root")
    assert sandbox.ensure(store, NAME, str(archive), "native")
    (image,) = store.images.list(sandbox.NAMESPACE)
    assert image.name == NAME
    assert image.labels["io.cri-containerd.pinned"] == "pinned"
    assert len(list(store.snapshotter("native").walk(sandbox.NAMESPACE))) == 1
    assert not sandbox.ensure(store, NAME, str(archive), "native")
    store.close()


def test_without_an_archive_nothing_happens(tmp_path: Path) -> None:
    store = Store(tmp_path / "root")
    assert not sandbox.ensure(store, NAME, str(tmp_path / "none"), "native")
    assert store.images.list(sandbox.NAMESPACE) == []
    store.close()


def test_a_damaged_archive_is_refused(tmp_path: Path, archive: Path) -> None:
    store = Store(tmp_path / "root")
    archive.write_bytes(b"not a tar" * 200)
    with pytest.raises(DataLoss):
        sandbox.ensure(store, NAME, str(archive), "native")
    assert store.images.list(sandbox.NAMESPACE) == []
    store.close()
