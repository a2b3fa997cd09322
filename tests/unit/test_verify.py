"""An unpacked layer held against its blob: what is changed is told, and nothing that is not."""

from __future__ import annotations

import io
import os
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from pinnace.errors import DataLoss
from pinnace.images import unpack, verify
from pinnace.spec.digest import sha256
from tests.layers import LayerBuilder

ME = (os.geteuid(), os.getegid())
BIG = os.urandom(3_000_000)
LAYER = (
    LayerBuilder()
    .directory("d", 0o750, owner=ME)
    .add("d/big", BIG, owner=ME)
    .add("d/empty", owner=ME)
    .symlink("link", "d/big")
    .hard_link("again", "d/big")
    .add("pipe", kind=tarfile.FIFOTYPE, owner=ME)
    .add("link2", kind=tarfile.SYMTYPE, link="d", owner=ME)
    .add("link2/through", b"a link of the layer", owner=ME)
    .add("d/.wh.gone", owner=ME)
    .bytes()
)


def compared(layer: bytes, root: Path) -> dict[str, str]:
    found = verify.compare(io.BytesIO(layer), str(root))
    assert found.diff_id == sha256(layer)
    return dict(found.faults)


def unpacked(root: Path, layer: bytes = LAYER) -> Path:
    root.mkdir()
    unpack.apply(io.BytesIO(layer), str(root))
    return root


def test_what_was_just_unpacked_is_the_same(tmp_path: Path) -> None:
    assert compared(LAYER, unpacked(tmp_path / "root")) == {}


def _flip(path: Path, at: int = 2_000_001) -> None:
    with path.open("r+b") as file:
        file.seek(at)
        old = file.read(1)
        file.seek(at)
        file.write(bytes([old[0] ^ 4]))


def _relink(path: Path) -> None:
    path.unlink()
    path.symlink_to("d/bif")


def _replace(path: Path) -> None:
    data = path.read_bytes()
    path.unlink()
    path.write_bytes(data)


CHANGES: dict[str, tuple[Callable[[Path], object], dict[str, str]]] = {
    "a bit of a file": (lambda root: _flip(root / "d/big"), {"/d/big": "has other content"}),
    "a byte less": (lambda root: os.truncate(root / "d/big", len(BIG) - 1), {"/d/big": "has 2999999 bytes instead of 3000000"}),
    "an empty file": (lambda root: os.truncate(root / "d/big", 0), {"/d/big": "has 0 bytes instead of 3000000"}),
    "a file gone": (lambda root: (root / "d/empty").unlink(), {"/d/empty": "is missing"}),
    "a mode": (lambda root: (root / "d/empty").chmod(0o4644), {"/d/empty": "has another mode"}),
    "a mode of a directory": (lambda root: (root / "d").chmod(0o777), {"/d": "has another mode"}),
    "the target of a link": (lambda root: _relink(root / "link"), {"/link": "leads elsewhere"}),
    "a file for a pipe": (lambda root: _replace_pipe(root / "pipe"), {"/pipe": "is another kind of file"}),
    "a copy for a link": (lambda root: _replace(root / "again"), {"/again": "is no link to /d/big"}),
    "behind a link": (lambda root: _flip(root / "d/through", 3), {"/link2/through": "has other content"}),
}  # fmt: skip


def _replace_pipe(path: Path) -> None:
    path.unlink()
    path.write_bytes(b"")
    path.chmod(0o644)


@pytest.mark.parametrize("change", CHANGES)
def test_what_has_changed_is_named(tmp_path: Path, change: str) -> None:
    root = unpacked(tmp_path / "root")
    apply, wanted = CHANGES[change]
    apply(root)
    assert compared(LAYER, root) == wanted


@pytest.mark.root
def test_owners_devices_and_capabilities(tmp_path: Path) -> None:
    # cap_net_bind_service+ep, as setcap writes it (linux/capability.h, VFS_CAP_REVISION_2)
    value = bytes.fromhex("0100000200040000" + "00" * 12)
    pax = {"SCHILY.xattr.security.capability": value.decode("latin-1")}
    layer = (
        LayerBuilder()
        .add("owned", owner=(7, 8))
        .add("null", kind=tarfile.CHRTYPE, device=(1, 3))
        .add("able", b"x", pax=pax)
        .bytes()
    )
    root = unpacked(tmp_path / "root", layer)
    assert compared(layer, root) == {}
    os.chown(root / "owned", 7, 9)
    (root / "null").unlink()
    os.mknod(root / "null", 0o20644, os.makedev(1, 5))
    os.setxattr(root / "able", "security.capability", value[:5] + b"\x08" + value[6:])
    assert compared(layer, root) == {
        "/owned": "has another owner",
        "/null": "is another device",
        "/able": "has other capabilities",
    }


def test_the_last_member_of_a_path_counts(tmp_path: Path) -> None:
    layer = (
        LayerBuilder()
        .add("file", b"first", owner=ME)
        .directory("d", owner=ME)
        .add("d/inner", b"gone with its directory", owner=ME)
        .add("d", b"now a file", owner=ME)
        .add("file", b"second", owner=ME)
        .bytes()
    )
    root = unpacked(tmp_path / "root", layer)
    assert compared(layer, root) == {}
    _flip(root / "file", 1)
    assert compared(layer, root) == {"/file": "has other content"}


def test_sparse_files(tmp_path: Path) -> None:
    pax = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.realsize": "1000000", "GNU.sparse.name": "sparse"}  # fmt: skip
    map_ = b"1\n500000\n4\n"
    layer = LayerBuilder().add("x", map_.ljust(512, b"\0") + b"data", pax=pax, owner=ME).bytes()
    root = unpacked(tmp_path / "root", layer)
    assert compared(layer, root) == {}
    _flip(root / "sparse", 500_001)
    assert compared(layer, root) == {"/sparse": "has other content"}
    os.truncate(root / "sparse", 999_999)
    assert "999999 bytes" in compared(layer, root)["/sparse"]


def test_a_damaged_layer_says_nothing_about_the_tree(tmp_path: Path) -> None:
    root = unpacked(tmp_path / "root")
    with pytest.raises(DataLoss):
        verify.compare(io.BytesIO(LAYER[:5000]), str(root))
