"""Layers against Python's tarfile: what it packs and unpacks, we unpack to the same tree."""

from __future__ import annotations

import gzip
import io
import os
import shutil
import tarfile
import tempfile
from pathlib import Path

from hypothesis import example, given, settings
from hypothesis import strategies as st

from pinnace.errors import Error, InvalidArgument
from pinnace.images import diff, tar, unpack
from pinnace.images.compression import LayerReader
from pinnace.linux import zstd
from pinnace.spec.digest import sha256
from tests.layers import LayerBuilder, listing
from toolkit.tree import extract

NAMES = st.sampled_from(["a", "b", "c", "dir", "x" * 120, "ü", "with space", "-dash", ".hidden"])
PATHS = st.lists(NAMES, min_size=1, max_size=3).map("/".join)
FORMATS = st.sampled_from([tarfile.PAX_FORMAT, tarfile.GNU_FORMAT])
MTIMES = st.integers(0, 2**33)
MODES = st.integers(0, 0o777).map(lambda mode: mode | 0o600)


Member = tuple[str, str, int, int, bytes, str]
"""Kind, path, mode, time, data, target of a link."""


@st.composite
def layers(draw: st.DrawFn) -> list[Member]:
    """Members in a sensible order: directories before what is in them, files before their links."""
    members: list[Member] = []
    kinds: dict[str, str] = {}
    for path in draw(st.lists(PATHS, unique=True, max_size=12)):
        parts = path.split("/")
        above = ["/".join(parts[:n]) for n in range(1, len(parts))]
        if path in kinds or any(kinds.get(parent, "directory") != "directory" for parent in above):
            continue
        for parent in above:
            if parent not in kinds:
                members.append(("directory", parent, draw(MODES) | 0o700, draw(MTIMES), b"", ""))
                kinds[parent] = "directory"
        files = [name for name, kind in kinds.items() if kind == "file"]
        kind = draw(st.sampled_from(["file", "file", "link", "fifo", *(["hard"] if files else [])]))
        data = draw(st.binary(max_size=1000)) * draw(st.sampled_from([1, 1, 900]))
        target = draw(st.sampled_from(files)) if kind == "hard" else draw(PATHS)
        members.append((kind, path, draw(MODES), draw(MTIMES), data, target))
        kinds[path] = kind
    return members


def pack(members: list[Member], fmt: int = tarfile.PAX_FORMAT) -> bytes:
    builder = LayerBuilder(fmt)
    for kind, path, mode, mtime, data, target in members:
        if kind == "file":
            builder.add(path, data, mode=mode, mtime=mtime)
        elif kind == "directory":
            builder.directory(path, mode, mtime=mtime)
        elif kind == "fifo":
            builder.add(path, kind=tarfile.FIFOTYPE, mode=mode, mtime=mtime)
        elif kind == "link":
            builder.symlink(path, target)
        else:
            # As tar writes it: the looks of a link are those of its file.
            _, _, mode, mtime, _, _ = next(member for member in members if member[1] == target)
            builder.add(path, kind=tarfile.LNKTYPE, link=target, mode=mode, mtime=mtime)
    return builder.bytes()


@settings(max_examples=60, deadline=None)
@given(layers(), FORMATS, st.booleans())
def test_same_tree_as_tarfile(members: list[Member], fmt: int, compressed: bool) -> None:
    data = pack(members, fmt)
    with tempfile.TemporaryDirectory() as scratch:
        ours, theirs = Path(scratch, "ours"), Path(scratch, "theirs")
        ours.mkdir()
        stream = io.BytesIO(gzip.compress(data, 1) if compressed else data)
        applied = unpack.apply(stream, str(ours))
        assert (applied.diff_id, applied.size) == (sha256(data), len(data))
        with tarfile.open(fileobj=io.BytesIO(data)) as archive:
            extract(archive, theirs, "fully_trusted")
        links = {path for path in listing(ours) if os.path.islink(ours / path)}
        mine, other = listing(ours), listing(theirs)
        for path in links:  # tarfile leaves the times of links alone
            mine[path] = mine[path][:3] + mine[path][4:]
            other[path] = other[path][:3] + other[path][4:]
        assert mine == other


@settings(max_examples=100, deadline=None)
@given(layers(), st.lists(st.tuples(st.integers(0), st.integers(0, 255)), min_size=1, max_size=8))
def test_any_damage_is_an_error_of_ours_or_harmless(
    members: list[Member], damage: list[tuple[int, int]]
) -> None:
    bad = bytearray(pack(members))
    for at, value in damage:
        bad[at % len(bad)] = value
    reader = LayerReader(io.BytesIO(bad), 1 << 30, ahead=False)
    try:
        for member in tar.members(reader, 1000):
            reader.skip(member.size + tar.padding(member.size))
    except Error:
        pass


@settings(max_examples=40, deadline=None)
@given(st.binary(max_size=3000), st.integers(1, 400))
def test_zstd_round_trip(data: bytes, repeat: int) -> None:
    data *= repeat
    reader = LayerReader(io.BytesIO(zstd.compress(data)), 1 << 30, ahead=False)
    assert reader.read(len(data) + 1) == data
    assert reader.finish().diff_id == sha256(data)


def change(root: Path, members: list[Member], removed: list[str]) -> None:
    """Apply members over a tree and remove some names, as a container would."""
    for name in removed:
        path = root / name
        if path.is_symlink() or not path.is_dir():
            path.unlink(missing_ok=True)
        else:
            shutil.rmtree(path)
    unpack.apply(io.BytesIO(pack(members)), str(root))


@settings(max_examples=50, deadline=None)
@given(layers(), layers(), st.lists(NAMES, max_size=3), st.booleans())
@example(
    [("file", "a", 0o600, 0, b"", "a")],
    [("file", "a", 0o600, 0, b"", "a"), ("hard", "b", 0o600, 0, b"", "a")],
    [],
    False,
)
@example(
    [("file", "b", 0o600, 0, b"", "b")],
    [("file", "b", 0o600, 0, b"", "b"), ("hard", "a", 0o600, 0, b"", "b")],
    [],
    False,
)
def test_a_diff_applied_gives_the_other_tree(
    before: list[Member], after: list[Member], removed: list[str], compress: bool
) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        lower, upper, again = (Path(scratch, name) for name in ("lower", "upper", "again"))
        for root in (lower, upper, again):
            root.mkdir()
            unpack.apply(io.BytesIO(pack(before)), str(root))
        try:
            change(upper, after, removed)
        except InvalidArgument:
            return  # a member below a file: no tree to compare
        first, second = io.BytesIO(), io.BytesIO()
        summary = diff.diff(str(lower), str(upper), first, compress=compress)
        diff.diff(str(lower), str(upper), second, compress=compress)
        assert first.getvalue() == second.getvalue()
        first.seek(0)
        applied = unpack.apply(first, str(again))
        assert (applied.diff_id, applied.size) == summary
        mine, other = listing(again), listing(upper)
        for tree in (mine, other):  # the times of directories are not compared, as in containerd
            for path, entry in tree.items():
                if str(entry[0]).startswith("0o4"):
                    tree[path] = (*entry[:3], 0, *entry[4:])
        assert mine == other
