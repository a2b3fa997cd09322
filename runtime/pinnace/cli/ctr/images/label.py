"""``ctr images label``: set and clear labels of an image."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from pinnace.api.schema.images import Image, Images, UpdateImageRequest
from pinnace.api.schema.wellknown import FieldMask
from pinnace.cli.client import Client
from pinnace.cli.ctr.common import label_changes
from pinnace.cli.options import Flag, switch

if TYPE_CHECKING:
    from pinnace.cli.options import Call

USAGE = "[flags] <name> [<key>=<value>, ...]"
FLAGS: tuple[Flag, ...] = (
    switch("replace-all", "r", about="replace all labels instead of changing some"),
)


def run(call: Call) -> int:
    name = call.argument(0, "image name must be provided")
    labels, mask = label_changes(call.args[1:], f"{call.path} {USAGE}")
    if call.on("replace-all"):
        mask = FieldMask(paths=["labels"])
    with Client.of(call) as client:
        request = UpdateImageRequest(image=Image(name=name, labels=labels), update_mask=mask)
        updated = client.call(Images.update, request).image
    shown = sorted(updated.labels.items() if updated else ())
    sys.stdout.write(",".join(f"{key}={value}" for key, value in shown) + "\n")
    return 0
