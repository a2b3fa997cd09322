"""``ctr images usage``: what an image takes on disk, layer by layer; without a name, what each image takes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pinnace.api.schema.images import Images, ListImagesRequest
from pinnace.cli import images, unpack, usage
from pinnace.cli.client import Client
from pinnace.cli.ctr.common import FORMAT, json_out, table, wants_json
from pinnace.cli.ctr.flags import SNAPSHOTTER_FLAG
from pinnace.cli.options import Flag, switch
from pinnace.cli.tables import size
from pinnace.errors import NotFound

if TYPE_CHECKING:
    from pinnace.cli.options import Call

USAGE = "[flags] [<ref>]"
FLAGS: tuple[Flag, ...] = (SNAPSHOTTER_FLAG, switch("b", about="print bytes"), FORMAT)
DETAILS = "Without a ref: all images; SHARED is what other images use, too, UNIQUE what deleting this one gives back."


def run(call: Call) -> int:
    with Client.of(call) as client:
        if wants_json(call):
            json_out(_documents(client, call))
            return 0
        if call.args:
            rows = ["KEY\tSIZE\tINODES\t", *_layers(client, call)]
        else:
            rows = ["REF\tCONTENT\tSNAPSHOTS\tSHARED\tUNIQUE\t", *_images(client, call)]
    table(rows, minimum=1, padding=1)
    return 0


def _amount(call: Call, count: int) -> str:
    return str(count) if call.on("b") else size(count)


def _chain(client: Client, call: Call) -> list[tuple[str, int, int]]:
    name, snapshotter = call.args[0], call.text("snapshotter")
    key = images.contents(client, images.get(client, name)).chain_id
    if not unpack.exists(client, snapshotter, key):
        raise NotFound(f"image {name} isn't unpacked in snapshotter {snapshotter}")
    return usage.chain(client, snapshotter, key)


def _layers(client: Client, call: Call) -> list[str]:
    return [
        f"{layer}\t{_amount(call, count)}\t{inodes}\t"
        for layer, count, inodes in _chain(client, call)
    ]


def _used(client: Client, call: Call) -> list[tuple[str, usage.Usage]]:
    found = client.call(Images.list, ListImagesRequest()).images
    used = usage.of_images(client, found, call.text("snapshotter"))
    return [(image.name, each) for image, each in zip(found, used, strict=True)]


def _images(client: Client, call: Call) -> list[str]:
    return [
        "\t".join((name, *(_amount(call, count) for count in counts), ""))
        for name, each in _used(client, call)
        for counts in [(each.content, each.snapshots, each.shared, each.unique)]
    ]


def _documents(client: Client, call: Call) -> list[dict[str, object]]:
    if call.args:
        return [
            {"key": layer, "size": count, "inodes": inodes}
            for layer, count, inodes in _chain(client, call)
        ]
    return [
        {
            "ref": name,
            "content": each.content,
            "snapshots": each.snapshots,
            "shared": each.shared,
            "unique": each.unique,
        }
        for name, each in _used(client, call)
    ]
