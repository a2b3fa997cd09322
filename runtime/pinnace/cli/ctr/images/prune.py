"""``ctr images prune``: delete the images that no container was made from."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from pinnace.api.schema.containers import Containers, ListContainersRequest
from pinnace.api.schema.images import DeleteImageRequest, Images, ListImagesRequest
from pinnace.cli.client import Client
from pinnace.cli.options import Flag, switch
from pinnace.errors import Error, NotFound

if TYPE_CHECKING:
    from pinnace.cli.options import Call

USAGE = "[flags]"
FLAGS: tuple[Flag, ...] = (
    switch("all", about="delete all that are not used; without it nothing is deleted"),
)
DETAILS = "As with containerd's ctr, nothing happens without --all: there are no images without a name here."


def run(call: Call) -> int:
    if not call.on("all"):
        sys.stderr.write("ctr: no images were deleted: `images prune` needs --all\n")
        return 0
    with Client.of(call) as client:
        containers = client.call(Containers.list, ListContainersRequest()).containers
        used = {container.image for container in containers}
        found = client.call(Images.list, ListImagesRequest()).images
        return _delete(client, [image.name for image in found if image.name not in used])


def _delete(client: Client, names: list[str]) -> int:
    status = 0
    for index, name in enumerate(names):
        # Collecting once, with the last, is enough.
        request = DeleteImageRequest(name=name, sync=index == len(names) - 1)
        try:
            client.call(Images.delete, request)
        except NotFound:
            continue  # somebody else was first
        except Error as problem:
            sys.stderr.write(f'ctr: failed to delete image "{name}": {problem}\n')
            status = problem.exit_status
            continue
        sys.stdout.write(f"deleted image: {name}\n")
    return status
