"""Unpacking: what a layer says happens, and nothing a hostile one wants does."""

from __future__ import annotations

import gzip
import io
import os
import subprocess
import tarfile
import threading
import zlib
from pathlib import Path

import pytest

from pinnace.errors import DataLoss, Error, InvalidArgument, Unimplemented
from pinnace.images import unpack
from pinnace.images.extract import Target
from pinnace.images.unpack import Limits
from pinnace.linux.mount import Mount
from pinnace.spec.digest import sha256
from tests.layers import LayerBuilder, listing


def apply(data: bytes, root: Path, **options: object) -> unpack.Applied:
    root.mkdir(exist_ok=True)
    return unpack.apply(io.BytesIO(data), str(root), **options)  # type: ignore[arg-type]


def some_layer() -> bytes:
    return (
        LayerBuilder()
        .directory("etc", mtime=5)
        .add("etc/hello", b"hello\n", mode=0o4755, mtime=1.5)
        .symlink("etc/link", "/etc/hello")
        .hard_link("etc/hard", "etc/hello")
        .add("pipe", kind=tarfile.FIFOTYPE, mode=0o600)
        .add("n" * 200 + "/" + "m" * 120, b"deep")
        .bytes()
    )


@pytest.mark.parametrize("ahead", [False, True])
def test_a_layer_is_unpacked_and_its_digest_known(tmp_path: Path, ahead: bool) -> None:
    data = some_layer()
    applied = apply(gzip.compress(data), tmp_path / "root", ahead=ahead)
    assert (applied.diff_id, applied.size) == (sha256(data), len(data))
    found = listing(tmp_path / "root")
    assert found["etc/hello"][0] == "0o104755"
    assert found["etc/hello"][3:5] == (1_500_000_000, b"hello\n")
    assert found["etc/hard"][5] == found["etc/hello"][5]
    assert found["etc/link"][4] == "/etc/hello"
    assert found["etc"][3] == 5_000_000_000
    assert found["pipe"][0] == "0o10600"
    assert found["n" * 200 + "/" + "m" * 120][4] == b"deep"


def test_compression_is_told_from_the_bytes(tmp_path: Path) -> None:
    from pinnace.linux import zstd

    data = some_layer()
    members = gzip.compress(data[:700]) + gzip.compress(data[700:]) + bytes(100)
    for number, form in enumerate((data, gzip.compress(data), members, zstd.compress(data))):
        root = tmp_path / str(number)
        assert apply(form, root).diff_id == sha256(data)
        assert "etc/hello" in listing(root)


@pytest.mark.parametrize("cut", [1, 600, 1100])
def test_a_layer_that_ends_early_is_damaged(tmp_path: Path, cut: int) -> None:
    data = LayerBuilder().add("a", b"x" * 1000).bytes()
    with pytest.raises(DataLoss):
        apply(data[:cut], tmp_path / "root")


@pytest.mark.parametrize("ahead", [False, True])
def test_damaged_compression_is_said(tmp_path: Path, ahead: bool) -> None:
    from pinnace.linux import zstd

    data = some_layer() * 20
    packed = bytearray(gzip.compress(data))
    packed[len(packed) // 2] ^= 0xFF
    for bad in (bytes(packed), gzip.compress(data)[:-9], zstd.compress(data)[:-9]):
        with pytest.raises(DataLoss):
            apply(bad, tmp_path / "root", ahead=ahead)
    assert not [t for t in threading.enumerate() if t.name == "layer-reader"]


HOSTILE: dict[str, bytes] = {
    "dot dot": LayerBuilder().add("../escaped", b"x").bytes(),
    "dot dot inside": LayerBuilder().directory("a").add("a/../../escaped", b"x").bytes(),
    "hard link outside": LayerBuilder().hard_link("passwd", "../outside").bytes(),
    "hard link absolute": LayerBuilder().hard_link("passwd", "/outside").bytes(),
    "hard link through link": LayerBuilder()
    .symlink("up", "..")
    .hard_link("stolen", "up/outside")
    .bytes(),
    "hard link to directory": LayerBuilder().directory("d").hard_link("h", "d").bytes(),
    "hard link to root": LayerBuilder().hard_link("h", "/").bytes(),
    "parent is a file": LayerBuilder().add("f", b"x").add("f/child", b"x").bytes(),
    "link loop": LayerBuilder().symlink("a", "b").symlink("b", "a").add("a/x", b"x").bytes(),
    "root becomes a link": LayerBuilder().symlink("./", "/etc").bytes(),
    "whiteout of dot dot": LayerBuilder().add(".wh...").bytes(),
    "whiteout of nothing": LayerBuilder().add(".wh.").bytes(),
    "too deep": LayerBuilder().add("d/" * 300 + "x").bytes(),
    "name too long": LayerBuilder().add("n" * 300).bytes(),
    "path too long": LayerBuilder().add("/".join(["n" * 200] * 30)).bytes(),
    "NUL in name": LayerBuilder().add("a", pax={"path": "a\0b"}).bytes(),
    "unknown type": LayerBuilder().add("a", kind=b"Z").bytes(),
    "negative size": LayerBuilder().add("a", pax={"size": "-1"}).bytes(),
    "huge PAX header": LayerBuilder().add("a", pax={"comment": "x" * (2 << 20)}).bytes(),
    "malformed PAX": LayerBuilder().add("x", b"99 path=evil\n", kind=b"x").add("a").bytes(),
    "many PAX headers": b"".join(
        LayerBuilder().add("x", b"12 path=evi\n", kind=b"x").bytes()[:1024] for _ in range(100)
    ),
    "wrong checksum": b"x" * 512 + bytes(1024),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_layers_are_refused_and_touch_nothing(tmp_path: Path, case: str) -> None:
    outside = tmp_path / "outside"
    outside.write_text("secret")
    root = tmp_path / "jail" / "root"
    root.parent.mkdir()
    with pytest.raises((InvalidArgument, DataLoss)) as caught:
        apply(HOSTILE[case], root)
    assert str(caught.value)
    assert {p.name for p in tmp_path.iterdir()} == {"outside", "jail"}
    assert [p.name for p in root.parent.iterdir()] == ["root"]
    assert outside.read_text() == "secret"
    assert outside.stat().st_nlink == 1


CONFINED = {
    "through an absolute link": ("/tmp-target", "tmp-target/x"),
    "through an upward link": ("../../../../tmp-target", "tmp-target/x"),
    "through a chain": ("b/../../tmp-target", "tmp-target/x"),
}


@pytest.mark.parametrize("case", CONFINED)
def test_links_lead_nowhere_but_inside(tmp_path: Path, case: str) -> None:
    target, landed = CONFINED[case]
    layer = LayerBuilder().directory("b").symlink("a", target).add("a/x", b"caught").bytes()
    apply(layer, tmp_path / "root")
    assert (tmp_path / "root" / landed).read_bytes() == b"caught"
    assert {p.name for p in tmp_path.iterdir()} == {"root"}


def test_absolute_names_are_relative_to_the_root(tmp_path: Path) -> None:
    apply(LayerBuilder().add("//etc/./x", b"1").bytes(), tmp_path / "root")
    assert (tmp_path / "root/etc/x").read_bytes() == b"1"


def test_a_parent_may_change_its_type_but_not_the_place(tmp_path: Path) -> None:
    """A directory replaced by a link and written through again (the classic escape)."""
    (tmp_path / "victim").mkdir()
    layer = (
        LayerBuilder()
        .directory("d")
        .add("d/a", b"1")
        .symlink("d", str(tmp_path / "victim"))
        .add("d/b", b"2")
        .bytes()
    )
    apply(layer, tmp_path / "root")
    assert list((tmp_path / "victim").iterdir()) == []
    assert (tmp_path / "root" / str(tmp_path / "victim")[1:] / "b").read_bytes() == b"2"


def test_later_members_replace_earlier_ones(tmp_path: Path) -> None:
    layer = (
        LayerBuilder()
        .add("a", b"1")
        .directory("a")
        .add("a/x", b"2")
        .directory("b")
        .add("b/y", b"3")
        .add("b", b"4")
        .symlink("c", "a")
        .add("c", b"5")
        .bytes()
    )
    apply(layer, tmp_path / "root")
    found = listing(tmp_path / "root")
    assert sorted(found) == ["a", "a/x", "b", "c"]
    assert (found["b"][4], found["c"][4]) == (b"4", b"5")


def test_hard_links_do_not_carry_writes(tmp_path: Path) -> None:
    """A file written over a hard link replaces the name, not the content of the other name."""
    layer = LayerBuilder().add("a", b"1").hard_link("b", "a").add("b", b"2").bytes()
    apply(layer, tmp_path / "root")
    assert (tmp_path / "root/a").read_bytes() == b"1"
    assert (tmp_path / "root/b").read_bytes() == b"2"


def test_whiteouts_of_a_plain_directory(tmp_path: Path) -> None:
    lower = (
        LayerBuilder().add("gone", b"1").add("kept", b"1").add("d/old", b"1").add("e/f/g").bytes()
    )
    upper = (
        LayerBuilder()
        .add(".wh.gone")
        .add(".wh.never-there")
        .directory("d")
        .add("d/new", b"2")
        .add("d/.wh..wh..opq")
        .add("d/newer", b"2")
        .add(".wh.e")
        .add(".wh..wh.plnk")
        .add("both", b"2")
        .add(".wh.both")
        .bytes()
    )
    apply(lower, tmp_path / "root")
    apply(upper, tmp_path / "root")
    assert sorted(listing(tmp_path / "root")) == ["both", "d", "d/new", "d/newer", "kept"]


def test_attributes_of_the_host_are_not_taken_from_layers(tmp_path: Path) -> None:
    names = ("trusted.overlay.redirect", "trusted.x", "user.overlay.opaque", "security.selinux")
    pax = {f"SCHILY.xattr.{name}": "y" for name in names}
    apply(LayerBuilder().add("a", pax=pax).directory("d", pax=pax).bytes(), tmp_path / "root")
    for name in ("a", "d"):
        assert not set(os.listxattr(tmp_path / "root" / name)) & set(names)


@pytest.mark.parametrize("version", ["0.0", "0.1", "1.0", "old"])
def test_sparse_files(tmp_path: Path, version: str) -> None:
    source = tmp_path / "sparse"
    with source.open("wb") as file:
        file.seek(1 << 20)
        file.write(b"middle")
        file.truncate(3 << 20)
    archive = tmp_path / "a.tar"
    form = ["--format=gnu"] if version == "old" else ["--format=pax", f"--sparse-version={version}"]
    subprocess.run(["tar", "-S", *form, "-cf", archive, "-C", tmp_path, "sparse"], check=True)
    assert archive.stat().st_size < 1 << 20
    apply(archive.read_bytes(), tmp_path / "root")
    assert (tmp_path / "root/sparse").read_bytes() == source.read_bytes()
    assert (tmp_path / "root/sparse").stat().st_blocks * 512 < 1 << 20


def test_bounds(tmp_path: Path) -> None:
    layer = LayerBuilder().add("a", bytes(100_000)).add("b").add("c").bytes()
    with pytest.raises(InvalidArgument, match="more than 2 members"):
        apply(layer, tmp_path / "root", limits=Limits(members=2))
    with pytest.raises(InvalidArgument, match="larger than 50000 bytes"):
        apply(layer, tmp_path / "root", limits=Limits(size=50_000))


def test_a_bomb_is_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from pinnace.images import compression

    monkeypatch.setattr(compression, "_RATIO_FROM", 1 << 20)
    bomb = zlib.compress(bytes(64 << 20), 9, wbits=31)
    with pytest.raises(InvalidArgument, match="unpacks to more than"):
        apply(bomb, tmp_path / "root")


def test_the_layer_below_shapes_directories_named_in_passing(tmp_path: Path) -> None:
    lower, upper = tmp_path / "lower", tmp_path / "upper"
    (lower / "secret").mkdir(parents=True)
    (lower / "secret").chmod(0o700)
    upper.mkdir()
    target = Target(str(upper), [str(lower)], "user.overlay.")
    unpack.apply(io.BytesIO(LayerBuilder().add("secret/key", b"1").bytes()), target)
    assert (upper / "secret").stat().st_mode & 0o7777 == 0o700


def test_targets_of_mounts() -> None:
    overlay = Mount("overlay", "overlay", "", ("upperdir=/u", "workdir=/w", "lowerdir=/a:/b"))
    assert unpack.target_of([overlay]) == Target("/u", ["/a", "/b"], "trusted.overlay.")
    bind = Mount("bind", "/fs", "", ("rw", "rbind"))
    assert unpack.target_of([bind]) == Target("/fs")
    for bad in ([bind._replace(options=("ro",))], [overlay._replace(options=("lowerdir=/a",))]):
        with pytest.raises(InvalidArgument):
            unpack.target_of(bad)
    with pytest.raises(Unimplemented):
        unpack.target_of([Mount("nfs", "x")])


def test_no_descriptor_is_left_open(tmp_path: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))
    apply(some_layer(), tmp_path / "root")
    for data in HOSTILE.values():
        with pytest.raises(Error):
            apply(data, tmp_path / "root")
    assert len(os.listdir("/proc/self/fd")) == before
