"""``skopeo manifest-digest``: the digest of a manifest in a file."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from pinnace.errors import DataLoss
from pinnace.images.transports import files
from pinnace.spec import digest as digests
from pinnace.spec import image as images

if TYPE_CHECKING:
    from pinnace.cli.options import Call, Flag

USAGE = "MANIFEST-FILE"
FLAGS: tuple[Flag, ...] = ()


def run(call: Call) -> int:
    path = call.only_argument("please name a file")
    data = sys.stdin.buffer.read() if path == "-" else files.read(path, images.MAX_DOCUMENT_BYTES)
    if not data:
        raise DataLoss(f"{path} is empty")
    sys.stdout.write(f"{digests.sha256(data)}\n")
    return 0
