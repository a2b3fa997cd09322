"""``ctr images list``: the images of a namespace."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pinnace.api.schema.images import Image, Images, ListImagesRequest
from pinnace.cli import images
from pinnace.cli.client import Client
from pinnace.cli.ctr.common import lines, shown_labels, table
from pinnace.cli.options import Flag, switch
from pinnace.cli.tables import size
from pinnace.errors import Error

if TYPE_CHECKING:
    from pinnace.cli.options import Call

USAGE = "[flags] [<filter>, ...]"
FLAGS: tuple[Flag, ...] = (switch("quiet", "q", about="print only the image refs"),)
DETAILS = 'A filter is name==REF, name~=REGEXP, labels."KEY"==VALUE or target.mediatype==TYPE.'


def run(call: Call) -> int:
    with Client.of(call) as client:
        found = client.call(Images.list, ListImagesRequest(filters=call.args)).images
        if call.on("quiet"):
            lines(image.name for image in found)
            return 0
        rows = [_row(client, image) for image in found]
    table(["REF\tTYPE\tDIGEST\tSIZE\tPLATFORMS\tLABELS\t", *rows], minimum=1, padding=1)
    return 0


def _row(client: Client, image: Image) -> str:
    target = images.target_of(image)
    cells = (image.name, target.media_type, str(target.digest), _size(client, image))
    return "\t".join((*cells, _platforms(client, image), shown_labels(image.labels), ""))


def _size(client: Client, image: Image) -> str:
    try:
        return size(images.contents(client, image).size)
    except Error:
        return "-"  # not for this machine, or not complete: `images check` says more


def _platforms(client: Client, image: Image) -> str:
    try:
        return ",".join(images.platforms_of(client, image)) or "-"
    except Error:
        return "-"
