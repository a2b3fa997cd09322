"""``ctr images check``: which images are complete and unpacked, and with ``--verify`` whether they still are what they were."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from pinnace.api.schema.content import Content, InfoRequest
from pinnace.api.schema.images import Image, Images, ListImagesRequest
from pinnace.cli import images, unpack
from pinnace.cli.client import Client
from pinnace.cli.ctr.common import FORMAT, json_out, lines, table, wants_json
from pinnace.cli.ctr.flags import SNAPSHOTTER_FLAG
from pinnace.cli.options import Flag, switch
from pinnace.cli.tables import size
from pinnace.errors import Error, InvalidArgument, NotFound

if TYPE_CHECKING:
    from pinnace.cli.images import Contents
    from pinnace.cli.options import Call
    from pinnace.cli.verifying import Damage, Verifier

USAGE = "[flags] [<filter>, ...]"
FLAGS: tuple[Flag, ...] = (
    switch("quiet", "q", about="print only the refs of images that are complete and unpacked"),
    switch("verify", about="read every file of what is unpacked and compare it with the layers; 1 is the exit status if one differs"),
    switch("repair", about="with --verify: unpack damaged layers again"),
    SNAPSHOTTER_FLAG,
    FORMAT,
)  # fmt: skip
DETAILS = "Bits that flip in an unpacked layer are found by --verify only: neither a pull nor a start reads all of it."
_SHOWN = 10
"""Faults of one layer that are told one by one."""


def run(call: Call) -> int:
    snapshotter = call.text("snapshotter")
    if call.on("repair") and not call.on("verify"):
        raise InvalidArgument("--repair goes with --verify")
    with Client.of(call) as client:
        found = client.call(Images.list, ListImagesRequest(filters=call.args)).images
        damaged = _verify(client, call, found) if call.on("verify") else {}
        rows = [
            (image.name, *_state(client, image, snapshotter, damaged=image.name in damaged))
            for image in found
        ]
    _print(call, rows)
    return 1 if damaged else 0


Row = tuple[str, str, str, str, str]
"""Name, type and digest, status, size, whether it is unpacked."""


def _print(call: Call, rows: list[Row]) -> None:
    if call.on("quiet"):
        lines(name for name, _, status, _, unpacked in rows if (status[:8], unpacked) == _READY)
        return
    if wants_json(call):
        json_out([_document(row) for row in rows])
        return
    heading = "REF\tTYPE\tDIGEST\tSTATUS\tSIZE\tUNPACKED\t"
    shown = [
        f"{name}\t{kind}\t{status}\t{amount}\t{unpacked}"
        for name, kind, status, amount, unpacked in rows
    ]
    if shown:
        table([heading, *shown], minimum=1, padding=1)


def _verify(client: Client, call: Call, found: list[Image]) -> dict[str, list[Damage]]:
    """The damage of each image that has some, told on standard error; after the repair, if there was one."""
    from pinnace.cli import verifying

    snapshotter = call.text("snapshotter")
    verifier = verifying.Verifier(client, snapshotter)
    whole = {image.name: contents for image in found if (contents := _contents(client, image))}
    damaged = _damaged(verifier, whole)
    _tell(damaged)
    if damaged and call.on("repair"):
        everything = client.call(Images.list, ListImagesRequest()).images
        others = [contents for image in everything if (contents := _contents(client, image))]
        verifying.repair(client, snapshotter, [one for each in damaged.values() for one in each], others)  # fmt: skip
        verifier.forget()
        damaged = _damaged(verifier, {name: whole[name] for name in damaged})
        sys.stderr.write("ctr: damaged layers were unpacked again\n")
        _tell(damaged)
    return damaged


def _damaged(verifier: Verifier, whole: dict[str, Contents]) -> dict[str, list[Damage]]:
    found = {name: verifier.image(contents) for name, contents in whole.items()}
    return {name: damage for name, damage in found.items() if damage}


def _contents(client: Client, image: Image) -> Contents | None:
    """Nothing for an image that is not here for this machine, or not whole: its status says so."""
    try:
        return images.contents(client, image)
    except Error:
        return None


def _tell(damaged: dict[str, list[Damage]]) -> None:
    for name, damage in damaged.items():
        for each in damage:
            for fault in each.faults[:_SHOWN]:
                words = f"{fault.path} {fault.what}".strip()
                sys.stderr.write(f"ctr: {name}: layer {each.layer}: {words}\n")
            if more := len(each.faults[_SHOWN:]):
                sys.stderr.write(f"ctr: {name}: layer {each.layer}: {more} more\n")


_READY = ("complete", "true")


def _state(
    client: Client, image: Image, snapshotter: str, *, damaged: bool
) -> tuple[str, str, str, str]:
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
    shown = "damaged" if damaged else str(unpacked).lower()
    return kind, status, f"{size(have)}/{size(want)}", shown


def _present(client: Client, digest: str) -> bool:
    try:
        client.call(Content.info, InfoRequest(digest=digest))
    except NotFound:
        return False
    return True


def _document(row: Row) -> dict[str, object]:
    name, kind, status, amount, unpacked = row
    media_type, _, digest = kind.partition("\t")
    return {
        "ref": name,
        "type": media_type,
        "digest": digest,
        "status": status,
        "size": amount,
        "unpacked": unpacked in ("true", "damaged"),
        "damaged": unpacked == "damaged",
    }
