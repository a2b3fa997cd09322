"""Malicious and damaged layers, each in an image whose digests fit, with what is wrong with it as its name."""

from __future__ import annotations

import gzip
import json
import tarfile

from pinnace.spec.digest import sha256
from tests import hostile
from tests.layers import LayerBuilder

_ZSTD = b"\x28\xb5\x2f\xfd"


def image(plain: bytes, packed: bytes = b"") -> bytes:
    """An image with one layer, as gzip unless *packed* is what goes over the wire."""
    packed = packed or gzip.compress(plain, mtime=0)
    config = hostile.config()
    config["rootfs"]["diff_ids"] = [str(sha256(plain))]
    data = json.dumps(config).encode()
    return hostile.with_manifest(hostile.manifest(data, packed), data, packed)


def _pax(**records: str) -> bytes:
    """A file with PAX records, whose keys have two underscores for a dot."""
    named = {key.replace("__", "."): value for key, value in records.items()}
    return LayerBuilder().add("x", b"abc", pax=named).bytes()


def _sparse(map_: bytes, name: str = "s") -> bytes:
    pax = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.realsize": "10", "GNU.sparse.name": name}  # fmt: skip
    return LayerBuilder().add("x", map_.ljust(512, b"\0"), pax=pax).bytes()


def _zstd(blocks: int, window_log: int) -> bytes:
    """A frame of zeros by run-length blocks (RFC 8878, 3.1.1), 128 KiB each, without its last one."""
    block = ((1 << 1) | (131_072 << 3)).to_bytes(3, "little") + b"\0"
    return _ZSTD + bytes([0, (window_log - 10) << 3]) + block * blocks


def _number(value: int) -> bytes:
    """A file whose owner's number is in GNU's base 256."""
    data = bytearray(LayerBuilder(tarfile.GNU_FORMAT).add("x").bytes())
    data[108:116] = ((1 << 63) | (value & ((1 << 63) - 1))).to_bytes(8, "big")
    data[148:156] = b" " * 8
    data[148:156] = b"%06o\0 " % sum(data[:512])
    return bytes(data)


TREES: dict[str, bytes] = {
    "name that leaves": LayerBuilder().add("../evil", b"x").bytes(),
    "name that leaves behind a directory": LayerBuilder().add("a/../../evil", b"x").bytes(),
    "hard link that leaves": LayerBuilder().hard_link("a", "../../etc/passwd").bytes(),
    "hard link to a directory": LayerBuilder().directory("d").hard_link("a", "d").bytes(),
    "hard link to the root": LayerBuilder().hard_link("a", "/").bytes(),
    "hard link to nothing": LayerBuilder().hard_link("a", "nope").bytes(),
    "hard link through a link to the host": LayerBuilder().symlink("e", "/etc").hard_link("a", "e/passwd").bytes(),
    "300 directories deep": LayerBuilder().add("d/" * 300 + "f", b"x").bytes(),
    "file for the root": LayerBuilder().add(".", b"x").bytes(),
    "file as a parent": LayerBuilder().add("a", b"x").add("a/b", b"y").bytes(),
    "links in a circle": LayerBuilder().symlink("a", "b").symlink("b", "a").add("a/x").bytes(),
    "link to nothing": LayerBuilder().add("x", kind=tarfile.SYMTYPE).bytes(),
    "link of 5000 letters": _pax(linkpath="a" * 5000),
    "name of 300 letters": LayerBuilder().add("x" * 300).bytes(),
    "name of 5000 letters": LayerBuilder().add("x/" * 2500).bytes(),
    "name with a zero byte": _pax(path="a\0b"),
    "whiteout of ..": LayerBuilder().add(".wh...").bytes(),
    "whiteout of .": LayerBuilder().add(".wh..").bytes(),
    "whiteout of nothing": LayerBuilder().add("d/.wh.").bytes(),
    "device of impossible numbers": LayerBuilder().add("x", kind=tarfile.CHRTYPE, device=(0o7777777, 0o7777777)).bytes(),
    "owner above 32 bits": _pax(uid="99999999999"),
    "owner that means nobody": _pax(gid="4294967295"),
    "negative owner": _number(-5),
    "owner of 63 bits": _number(1 << 61),
    "negative time with a letter": _pax(mtime="-1e9"),
    "time of thirty digits": _pax(mtime="9" * 30),
    "size of many terabytes": _pax(size="99999999999999"),
    "negative size": _pax(size="-1"),
    "header of two megabytes": _pax(comment="c" * (2 << 20)),
    "attribute of 200 KB": _pax(SCHILY__xattr__user__a="v" * 200_000),
    "attribute name of 300 letters": _pax(**{"SCHILY__xattr__user__" + "n" * 300: "v"}),
    "sparse map out of order": _sparse(b"2\n5\n4\n0\n4\n"),
    "sparse map beyond its file": _sparse(b"1\n0\n99999999999999\n"),
    "sparse map of a million holes": _sparse(b"999999\n"),
    "sparse map that is no number": _sparse(b"one\n"),
    "sparse file that leaves": _sparse(b"0\n", "../s"),
}  # fmt: skip

STREAMS: dict[str, bytes] = {
    "zstd window of 128 MiB": _zstd(1200, 27),
    "zstd window of 2 GiB": _zstd(10, 31),
    "zstd that ends early": _zstd(3, 20),
    "zstd with a dictionary": _ZSTD + b"\x03\x50\x01\x02\x03\x04\x03\0\0",
    "zstd frame to be passed over, of 4 GB": b"\x50\x2a\x4d\x18\xff\xff\xff\xff" + bytes(1000),
    "zstd of a reserved block": _ZSTD + b"\0\x50" + b"\x07\0\0",
    "gzip with a name without end": b"\x1f\x8b\x08\x08" + bytes(6) + b"n" * 200_000,
    "gzip of another method": b"\x1f\x8b\x07\0" + bytes(200),
    "gzip with garbage behind it": gzip.compress(hostile.LAYER, mtime=0) + b"garbage",
    "gzip that unpacks to 32 MiB of another layer": gzip.compress(bytes(32 << 20), 1, mtime=0),
}

LAYERS: dict[str, bytes] = {
    **{name: image(plain) for name, plain in TREES.items()},
    **{name: image(hostile.LAYER, packed) for name, packed in STREAMS.items()},
}
