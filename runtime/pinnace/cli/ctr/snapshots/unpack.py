"""``ctr snapshots unpack``: apply the layers of a manifest that is in the content store."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from pinnace.api.schema.images import Images, ListImagesRequest
from pinnace.cli import containers, images, unpack
from pinnace.cli.client import Client
from pinnace.cli.ctr.flags import SNAPSHOTTER_FLAG, SYNC_FS
from pinnace.cli.options import Flag
from pinnace.errors import NotFound
from pinnace.spec.digest import Digest

if TYPE_CHECKING:
    from pinnace.cli.options import Call

USAGE = "[flags] <digest>"
FLAGS: tuple[Flag, ...] = (SNAPSHOTTER_FLAG, SYNC_FS)
DETAILS = "The digest is that of an image's target, as `ctr images list` shows it."


def run(call: Call) -> int:
    digest = Digest.parse(call.only_argument("please specify the manifest digest to unpack"))
    with Client.of(call) as client:
        found = client.call(Images.list, ListImagesRequest()).images
        image = next((each for each in found if images.target_of(each).digest == digest), None)
        if image is None:
            raise NotFound(f"no image has the target {digest}")
        sys.stdout.write(f"unpacking {digest} ({images.target_of(image).media_type})...")
        sys.stdout.flush()
        contents = images.contents(client, image)
        with containers.leased(client):
            unpack.ensure(client, contents, call.text("snapshotter"), sync_fs=call.on("sync-fs"))
        sys.stdout.write("done\n")
    return 0
