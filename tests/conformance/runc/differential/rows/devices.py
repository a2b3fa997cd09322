"""Device files."""

from __future__ import annotations

import os
from typing import Any

from tests.conformance.runc.differential.bundle import Bundle
from tests.conformance.runc.differential.table import Row, mount


def _device(name: str, ask: tuple[str, ...] = (), **item: Any) -> Row:
    return Row(f"device-{name}", {"linux.devices": [item]}, ask=ask)


def _in_the_image(bundle: Bundle) -> None:
    os.mknod(bundle.root / "data/loop", 0o60600, os.makedev(7, 9))


def _rules(*rules: dict[str, Any]) -> dict[str, Any]:
    return {"linux.resources": {"devices": list(rules)}}


_FUSE: dict[str, Any] = {"path": "/dev/fuse", "type": "c", "major": 10, "minor": 229}

ROWS = [
    _device("character", **_FUSE),
    _device("mode-and-owner", **_FUSE, fileMode=0o640, uid=1000, gid=5),
    _device("mode-zero", **_FUSE, fileMode=0),
    _device("mode-with-type", **_FUSE, fileMode=0o20640),
    _device("block", path="/dev/loop9", type="b", major=7, minor=9, fileMode=0o660),
    _device("pipe", path="/dev/pipe", type="p", fileMode=0o600),
    _device("unbuffered", path="/dev/other", type="u", major=10, minor=229),
    _device("nested", path="/dev/net/tun", type="c", major=10, minor=200, ask=("list:/dev/net",)),
    _device("outside-of-dev", path="/data/null", type="c", major=1, minor=3, ask=("list:/data",)),
    _device("replaces-default", path="/dev/null", type="c", major=1, minor=3, fileMode=0o600),
    _device("replaces-default-with-another", path="/dev/full", type="c", major=1, minor=3),
    _device("unknown-type", path="/dev/x", type="x", major=1, minor=3),
    _device("relative", path="dev/x", type="c", major=1, minor=3),
    _device("over-a-file", path="/etc/passwd", type="c", major=1, minor=3, ask=("stat:/etc/passwd",)),
    Row("devices-two", {"linux.devices": [_FUSE, {**_FUSE, "path": "/dev/fuse2"}]}),
    Row("device-bound-tree", {}, [mount("/dev", "bind", "/dev", "rbind")], ask=("stat:/dev/null",)),
    Row("device-rules-none", {"linux.resources": {}}, ask=("mknod:/tmp/device",)),
    Row("device-rules-all-allowed", _rules({"allow": True, "access": "rwm"})),
    Row("device-rules-no-mknod", _rules({"allow": False, "access": "rwm"}), ask=("mknod:/tmp/device", "read:/dev/null")),
    Row("device-of-the-image", {}, ask=("stat:/data/loop", "read:/data/loop"), change=_in_the_image),
]  # fmt: skip
