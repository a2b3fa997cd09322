"""``ctr content ingest``: store what comes on standard input."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from pinnace.cli import upload
from pinnace.cli.client import Client
from pinnace.cli.options import Flag, integer, text
from pinnace.errors import InvalidArgument

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pinnace.cli.options import Call

USAGE = "[flags] <key>"
FLAGS: tuple[Flag, ...] = (
    integer("expected-size", about="refuse anything but this many bytes"),
    text("expected-digest", about="refuse anything with another digest"),
)
DETAILS = (
    "The key names the upload while it goes on. Nothing refers to the blob: label or use it soon."
)


def run(call: Call) -> int:
    key = call.only_argument("must specify a transaction reference")
    size, digest = call.integer("expected-size"), call.text("expected-digest")
    if digest:
        from pinnace.spec.digest import Digest

        digest = str(Digest.parse(digest))
    if size < 0:
        raise InvalidArgument("--expected-size is a number of bytes")
    with Client.of(call) as client:
        upload.write(client, key, _input(), size=size, digest=digest)
    return 0


def _input() -> Iterator[bytes]:
    while chunk := os.read(0, upload.CHUNK):
        yield chunk
