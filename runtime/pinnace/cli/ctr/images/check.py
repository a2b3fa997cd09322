"""``ctr images check``: which images are complete and unpacked."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pinnace.api.schema.content import Content, InfoRequest
from pinnace.api.schema.images import Image, Images, ListImagesRequest
from pinnace.cli import images, unpack
from pinnace.cli.client import Client
from pinnace.cli.ctr.common import FORMAT, json_out, lines, table, wants_json
from pinnace.cli.ctr.flags import SNAPSHOTTER_FLAG
from pinnace.cli.options import Flag, switch
from pinnace.cli.tables import size
from pinnace.errors import Error, NotFound

if TYPE_CHECKING:
    from pinnace.cli.options import Call

USAGE = "[flags] [<filter>, ...]"
FLAGS: tuple[Flag, ...] = (
    switch("quiet", "q", about="print only the refs of images that are complete and unpacked"),
    SNAPSHOTTER_FLAG,
    FORMAT,
)


def run(call: Call) -> int:
    quiet = call.on("quiet")
    snapshotter = call.text("snapshotter")
    with Client.of(call) as client:
        found = client.call(Images.list, ListImagesRequest(filters=call.args)).images
        rows = [(image.name, *_state(client, image, snapshotter)) for image in found]
    if quiet:
        lines(name for name, _, status, _, unpacked in rows if (status[:8], unpacked) == _READY)
        return 0
    if wants_json(call):
        json_out([_document(row) for row in rows])
        return 0
    heading = "REF\tTYPE\tDIGEST\tSTATUS\tSIZE\tUNPACKED\t"
    shown = [
        f"{name}\t{kind}\t{status}\t{amount}\t{unpacked}"
        for name, kind, status, amount, unpacked in rows
    ]
    if shown:
        table([heading, *shown], minimum=1, padding=1)
    return 0


_READY = ("complete", "true")


def _state(client: Client, image: Image, snapshotter: str) -> tuple[str, str, str, str]:
    """Type and digest, status, size, whether unpacked."""
    target = images.target_of(image)
    kind = f"{target.media_type}\t{target.digest}"
    try:
        contents = images.contents(client, image)
    except Error as problem:
        status = "unavailable" if isinstance(problem, NotFound) else "error"
        return kind, status, "-", "false"
    needed = (contents.manifest.config, *contents.manifest.layers)
    present = [each for each in needed if _present(client, str(each.digest))]
    have, want = sum(each.size for each in present), sum(each.size for each in needed)
    word = "complete" if len(present) == len(needed) else "incomplete"
    unpacked = not contents.chain_id or unpack.exists(client, snapshotter, contents.chain_id)
    status = f"{word} ({len(present)}/{len(needed)})"
    return kind, status, f"{size(have)}/{size(want)}", str(unpacked).lower()


def _present(client: Client, digest: str) -> bool:
    try:
        client.call(Content.info, InfoRequest(digest=digest))
    except NotFound:
        return False
    return True


def _document(row: tuple[str, str, str, str, str]) -> dict[str, object]:
    name, kind, status, amount, unpacked = row
    media_type, _, digest = kind.partition("\t")
    return {
        "ref": name,
        "type": media_type,
        "digest": digest,
        "status": status,
        "size": amount,
        "unpacked": unpacked == "true",
    }
