"""``ctr images list``: the images of a namespace."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pinnace.api.schema.images import Image, Images, ListImagesRequest
from pinnace.cli import images
from pinnace.cli.client import Client
from pinnace.cli.ctr.common import FORMAT, json_out, lines, rfc3339, shown_labels, table, wants_json
from pinnace.cli.options import Flag, switch
from pinnace.cli.tables import size
from pinnace.errors import Error

if TYPE_CHECKING:
    from pinnace.cli.options import Call

USAGE = "[flags] [<filter>, ...]"
FLAGS: tuple[Flag, ...] = (switch("quiet", "q", about="print only the image refs"), FORMAT)
DETAILS = 'A filter is name==REF, name~=REGEXP, labels."KEY"==VALUE or target.mediatype==TYPE.'


def run(call: Call) -> int:
    with Client.of(call) as client:
        found = client.call(Images.list, ListImagesRequest(filters=call.args)).images
        if call.on("quiet"):
            lines(image.name for image in found)
            return 0
        if wants_json(call):
            json_out([_document(client, image) for image in found])
            return 0
        rows = [_row(client, image) for image in found]
    table(["REF\tTYPE\tDIGEST\tSIZE\tPLATFORMS\tLABELS\t", *rows], minimum=1, padding=1)
    return 0


def _row(client: Client, image: Image) -> str:
    target = images.target_of(image)
    count = _bytes(client, image)
    amount = "-" if count is None else size(count)
    platforms = ",".join(_platforms(client, image)) or "-"
    cells = (image.name, target.media_type, str(target.digest), amount, platforms)
    return "\t".join((*cells, shown_labels(image.labels), ""))


def _document(client: Client, image: Image) -> dict[str, object]:
    target = images.target_of(image)
    return {
        "ref": image.name,
        "type": target.media_type,
        "digest": str(target.digest),
        "size": _bytes(client, image),
        "platforms": _platforms(client, image),
        "labels": dict(sorted(image.labels.items())),
        "created": rfc3339(image.created_at),
    }


def _bytes(client: Client, image: Image) -> int | None:
    """``None`` when it is not for this machine, or not complete: `images check` says more."""
    try:
        return images.contents(client, image).size
    except Error:
        return None


def _platforms(client: Client, image: Image) -> list[str]:
    try:
        return images.platforms_of(client, image)
    except Error:
        return []
