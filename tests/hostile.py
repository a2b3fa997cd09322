"""Malicious and damaged archives of images, each with what is wrong with it as its name.

Each is an OCI layout in a tar, or pretends to be: the digests fit unless they are the point, so that a
reader gets as far as the harm.
"""

from __future__ import annotations

import gzip
import io
import json
import tarfile
from collections.abc import Callable
from typing import Any

from pinnace.spec import image as images
from pinnace.spec.digest import sha256
from tests.layers import LayerBuilder

Document = dict[str, Any]
LAYER = LayerBuilder().add("hello", b"world").bytes()
PACKED = gzip.compress(LAYER, mtime=0)
DEEP = b"[" * 100_000
NOTHING = f"sha256:{'0' * 64}"


def _descriptor(media_type: str, data: bytes) -> Document:
    return {"mediaType": media_type, "digest": str(sha256(data)), "size": len(data)}


def config() -> Document:
    return {
        "architecture": "amd64", "os": "linux",
        "rootfs": {"type": "layers", "diff_ids": [str(sha256(LAYER))]},
    }  # fmt: skip


def manifest(config_bytes: bytes, layer: bytes = PACKED) -> Document:
    return {
        "schemaVersion": 2,
        "mediaType": images.OCI_MANIFEST,
        "config": _descriptor(images.OCI_CONFIG, config_bytes),
        "layers": [_descriptor(images.OCI_LAYER_GZIP, layer)],
    }


def layout(root: bytes, media_type: str, *blobs: bytes, **overrides: Any) -> bytes:
    """A layout whose index names *root*; *overrides* are fields of that entry."""
    entry = {
        **_descriptor(media_type, root),
        "annotations": {"org.opencontainers.image.ref.name": "x/y:1"},
        **overrides,
    }
    builder = LayerBuilder().add("oci-layout", b'{"imageLayoutVersion":"1.0.0"}')
    builder.add("index.json", json.dumps({"schemaVersion": 2, "manifests": [entry]}).encode())
    for data in {root, *blobs}:
        builder.add(f"blobs/sha256/{sha256(data).hex}", data)
    return builder.bytes()


def with_config(data: bytes | Document) -> bytes:
    """An image with this config."""
    body = data if isinstance(data, bytes) else json.dumps(data).encode()
    return with_manifest(manifest(body), body)


def with_manifest(data: bytes | Document, *blobs: bytes) -> bytes:
    """An image with this manifest."""
    body = data if isinstance(data, bytes) else json.dumps(data).encode()
    usual = json.dumps(config()).encode()
    return layout(body, images.OCI_MANIFEST, usual, PACKED, *blobs)


def with_index(data: bytes | Document, *blobs: bytes) -> bytes:
    """An image with this index over it."""
    body = data if isinstance(data, bytes) else json.dumps(data).encode()
    return layout(body, images.OCI_INDEX, *blobs)


def changed(change: Callable[[Document], object]) -> Document:
    """The usual manifest after *change*."""
    made = manifest(json.dumps(config()).encode())
    change(made)
    return made


def changed_config(change: Callable[[Document], object]) -> bytes:
    made = config()
    change(made)
    return with_config(made)


def _first(field: str, value: Any) -> Document:
    return changed(lambda m: m["layers"][0].update({field: value}))


def index(*entries: Any, **more: Any) -> Document:
    return {"schemaVersion": 2, "mediaType": images.OCI_INDEX, "manifests": list(entries), **more}


GOOD = with_config(config())

MANIFESTS: dict[str, bytes] = {
    "empty manifest": with_manifest(b""),
    "manifest that is no JSON": with_manifest(b"\x7fELF"),
    "manifest that is a list": with_manifest(b"[]"),
    "manifest that is a string": with_manifest(b'"sha256:0"'),
    "manifest nested without end": with_manifest(DEEP),
    "manifest with invalid UTF-8": with_manifest(b'{"a":"\xff"}'),
    "manifest with a number of many digits": with_manifest(b'{"schemaVersion":' + b"9" * 9000 + b"}"),
    "manifest of more than 4 MiB": with_manifest(changed(lambda m: m.update(annotations={"a": "x" * (5 << 20)}))),
    "manifest that is an index, too": with_manifest(changed(lambda m: m.update(manifests=[]))),
    "manifest of schema 1": with_manifest(changed(lambda m: m.update(schemaVersion=1, mediaType=None))),
    "mediaType that is a number": with_manifest(changed(lambda m: m.update(mediaType=7))),
    "mediaType of an index": with_manifest(changed(lambda m: m.update(mediaType=images.OCI_INDEX))),
    "no config": with_manifest(changed(lambda m: m.pop("config"))),
    "config that is a list": with_manifest(changed(lambda m: m.update(config=[]))),
    "config without a digest": with_manifest(changed(lambda m: m["config"].pop("digest"))),
    "config that is not there": with_manifest(changed(lambda m: m["config"].update(digest=NOTHING))),
    "config that is a layer": with_manifest(changed(lambda m: m.update(config=_descriptor(images.OCI_CONFIG, PACKED)))),
    "layers that are an object": with_manifest(changed(lambda m: m.update(layers={}, config=m["config"]) or m.update(layers={"0": 1}))),
    "layer that is null": with_manifest(changed(lambda m: m.update(layers=[None]))),
    "layer without a media type": with_manifest(_first("mediaType", "")),
    "layer with a huge media type": with_manifest(_first("mediaType", "application/" + "x" * 999)),
    "digest that is a path": with_manifest(_first("digest", "sha256:../../../../etc/passwd")),
    "digest in capitals": with_manifest(_first("digest", NOTHING.replace("0", "A"))),
    "digest too short": with_manifest(_first("digest", "sha256:00")),
    "digest of md5": with_manifest(_first("digest", "md5:d41d8cd98f00b204e9800998ecf8427e")),
    "digest that is a number": with_manifest(_first("digest", 5)),
    "digest with a newline": with_manifest(_first("digest", NOTHING + "\n")),
    "layer that is not there": with_manifest(_first("digest", NOTHING)),
    "negative size": with_manifest(_first("size", -1)),
    "size that is text": with_manifest(_first("size", "12")),
    "size that is true": with_manifest(_first("size", True)),
    "size that is a fraction": with_manifest(_first("size", 1.5)),
    "size of an exabyte": with_manifest(_first("size", 1 << 60)),
    "layer longer than its size": with_manifest(_first("size", 10)),
    "layer shorter than its size": with_manifest(_first("size", len(PACKED) + 1)),
    "more layers than overlayfs stacks": with_manifest(changed(lambda m: m.update(layers=m["layers"] * 501))),
    "more layers than diff ids": with_manifest(changed(lambda m: m.update(layers=m["layers"] * 2))),
    "fewer layers than diff ids": with_manifest(changed(lambda m: m.update(layers=[]))),
    "annotations that are a list": with_manifest(changed(lambda m: m.update(annotations=[1]))),
    "annotation that is an object": with_manifest(changed(lambda m: m.update(annotations={"a": {}}))),
    "urls that are text": with_manifest(_first("urls", "http://x")),
    "platform that is text": with_manifest(_first("platform", "linux")),
}  # fmt: skip

CONFIGS: dict[str, bytes] = {
    "empty config": with_config(b""),
    "config that is no JSON": with_config(b"\0\1\2"),
    "config that is null": with_config(b"null"),
    "config nested without end": with_config(DEEP),
    "config of more than 8 MiB": changed_config(lambda c: c.update(a="x" * (9 << 20))),
    "rootfs that is a list": changed_config(lambda c: c.update(rootfs=[])),
    "rootfs of another type": changed_config(lambda c: c["rootfs"].update(type="bundle")),
    "diff ids that are text": changed_config(lambda c: c["rootfs"].update(diff_ids=NOTHING)),
    "diff id that is a path": changed_config(lambda c: c["rootfs"].update(diff_ids=["sha256:../x"])),
    "diff id that is null": changed_config(lambda c: c["rootfs"].update(diff_ids=[None])),
    "diff id of another layer": changed_config(lambda c: c["rootfs"].update(diff_ids=[NOTHING])),
    "architecture that is a number": changed_config(lambda c: c.update(architecture=64)),
    "os that is a list": changed_config(lambda c: c.update(os=["linux"])),
    "process config that is a list": changed_config(lambda c: c.update(config=[])),
}  # fmt: skip

_IMAGE = json.dumps(manifest(json.dumps(config()).encode())).encode()
_ENTRY = _descriptor(images.OCI_MANIFEST, _IMAGE)
_ALL = (_IMAGE, json.dumps(config()).encode(), PACKED)


def nested(depth: int) -> bytes:
    """Indexes in indexes; each blob has its right digest."""
    blobs = list(_ALL)
    entry = _ENTRY
    for _ in range(depth):
        data = json.dumps(index(entry)).encode()
        blobs.append(data)
        entry = _descriptor(images.OCI_INDEX, data)
    return with_index(index(entry), *blobs)


INDEXES: dict[str, bytes] = {
    "index nested without end": with_index(DEEP),
    "index that is a list": with_index(b"[1]"),
    "manifests that are an object": with_index(index(manifests={"a": 1})),
    "manifest that is null": with_index(index(None)),
    "index of nothing": with_index(index()),
    "index of more than 4096": with_index(index(*[_ENTRY] * 4097), *_ALL),
    "indexes in indexes": nested(8),
    "index whose manifest is not there": with_index(index({**_ENTRY, "digest": NOTHING})),
    "index whose manifest is a layer": with_index(index(_descriptor(images.OCI_MANIFEST, PACKED)), *_ALL),
    "index with a malformed platform": with_index(index({**_ENTRY, "platform": {"os": 1}}), *_ALL),
    "index for other platforms": with_index(index({**_ENTRY, "platform": {"os": "plan9", "architecture": "mips"}}), *_ALL),
    "index entry with a negative size": with_index(index({**_ENTRY, "size": -5}), *_ALL),
    "manifest under the media type of an index": layout(_IMAGE, images.OCI_INDEX, *_ALL),
    "index under the media type of a manifest": layout(json.dumps(index(_ENTRY)).encode(), images.OCI_MANIFEST, *_ALL),
}  # fmt: skip


def _spoiled_blob() -> bytes:
    """The layer's bytes are not those of its name."""
    return GOOD.replace(PACKED, PACKED[:-9] + b"\0" + PACKED[-8:])


def _special(name: str, kind: bytes, link: str = "") -> bytes:
    """A good archive in which a member is something else."""
    made = io.BytesIO()
    with tarfile.open(fileobj=io.BytesIO(GOOD)) as old, tarfile.open(fileobj=made, mode="w") as new:
        for member in old.getmembers():
            if member.name == name or (name == "layer" and member.size == len(PACKED)):
                member.type, member.linkname, member.size = kind, link, 0
                new.addfile(member)
            else:
                new.addfile(member, old.extractfile(member))
    return made.getvalue()


def _header(change: Callable[[bytearray], object]) -> bytes:
    """The archive after its first header was changed, with the right checksum."""
    data = bytearray(GOOD)
    change(data)
    data[148:156] = b" " * 8
    data[148:156] = b"%06o\0 " % sum(data[:512])
    return bytes(data)


def _set(start: int, value: bytes) -> Callable[[bytearray], object]:
    return lambda data: data.__setitem__(slice(start, start + len(value)), value)


ARCHIVES: dict[str, bytes] = {
    "no archive": b"#!/bin/sh\nrm -rf /\n" * 400,
    "nothing at all": b"",
    "only zeros": bytes(10240),
    "gzip that ends early": gzip.compress(GOOD)[:-300],
    "gzip with a flipped bit": (lambda d: d[:90] + bytes([d[90] ^ 8]) + d[91:])(gzip.compress(GOOD)),
    "archive cut in a header": GOOD[:1536 + 100],
    "archive cut in a blob": GOOD[: GOOD.index(PACKED) + 20],
    "blob with other bytes": _spoiled_blob(),
    "index that is a link to the host": _special("index.json", tarfile.SYMTYPE, "/etc/passwd"),
    "index that is a hard link to the host": _special("index.json", tarfile.LNKTYPE, "../../etc/passwd"),
    "index that is a fifo": _special("index.json", tarfile.FIFOTYPE),
    "index that is a device": _special("index.json", tarfile.CHRTYPE),
    "index that links to itself": _special("index.json", tarfile.SYMTYPE, "index.json"),
    "layer that is a link to the host": _special("layer", tarfile.SYMTYPE, "/etc/shadow"),
    "layer that is a directory": _special("layer", tarfile.DIRTYPE),
    "member of a negative size": _header(_set(124, b"\xff" * 12)),
    "member larger than the archive": _header(_set(124, b"77777777777\0")),
    "member of a size in base 256": _header(_set(124, b"\x80" + b"\x7f" * 11)),
    "member of an unknown type": _header(_set(156, b"Q")),
    "member whose size is no number": _header(_set(124, b"zzzzzzzzzzz\0")),
    "header with a wrong checksum": b"A" + GOOD[1:],
    "PAX record without an end": LayerBuilder().add("x", b"9999 path=a\n", kind=b"x").bytes() + GOOD,
    "long name of a megabyte": LayerBuilder(tarfile.GNU_FORMAT).add("n" * (2 << 20)).bytes(),
    "extended headers without a member": b"".join(
        LayerBuilder().add("x", b"12 path=evi\n", kind=b"x").bytes()[:1024] for _ in range(100)
    ),
    "docker archive with a config outside": LayerBuilder().add(
        "manifest.json", b'[{"Config":"../../etc/passwd","Layers":[]}]').bytes(),
    "docker archive with a layer outside": LayerBuilder().add(
        "manifest.json", b'[{"Config":"c.json","Layers":["/etc/passwd"]}]'
    ).add("c.json", json.dumps(config()).encode()).bytes(),
    "docker archive with layers of a link": LayerBuilder().add(
        "manifest.json", b'[{"Config":"c.json","Layers":["l"]}]'
    ).add("c.json", json.dumps(config()).encode()).symlink("l", "../../../etc/passwd").bytes(),
    "docker archive with another layer": LayerBuilder().add(
        "manifest.json", b'[{"Config":"c.json","Layers":["l"]}]'
    ).add("c.json", json.dumps(config()).encode()).add("l", LayerBuilder().add("evil").bytes()).bytes(),
    "docker archive that is an object": LayerBuilder().add("manifest.json", b"{}").bytes(),
    "docker archive nested without end": LayerBuilder().add("manifest.json", DEEP).bytes(),
}  # fmt: skip

CORPUS: dict[str, bytes] = {**MANIFESTS, **CONFIGS, **INDEXES, **ARCHIVES}
