"""``ctr images delete``: delete images by name."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from pinnace.api.schema.images import DeleteImageRequest, Images
from pinnace.cli import images
from pinnace.cli.client import Client
from pinnace.cli.options import Flag, switch
from pinnace.errors import NotFound

if TYPE_CHECKING:
    from pinnace.cli.options import Call

USAGE = "[flags] <ref> [<ref>, ...]"
FLAGS: tuple[Flag, ...] = (
    switch("sync", about="return only when the content nothing else needs is gone"),
)


def run(call: Call) -> int:
    names = call.need_args("image ref must be provided")
    with Client.of(call) as client:
        for index, name in enumerate(names):
            # Collecting once, with the last, is enough.
            sync = call.on("sync") and index == len(names) - 1
            try:
                client.call(Images.delete, DeleteImageRequest(name=name, sync=sync))
            except NotFound:
                # As ctr: what is not there need not be deleted, but say so.
                sys.stderr.write(f"ctr: {images.missing(client, name)}\n")
                continue
            sys.stdout.write(f"{name}\n")
    return 0
