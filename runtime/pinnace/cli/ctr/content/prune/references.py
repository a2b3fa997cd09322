"""``ctr content prune references``: let go of layers as they were fetched; the unpacked ones stay.

A manifest's content keeps its layers by labels. Without them the collector removes the compressed layers, which
only pushing and exporting need, and keeps manifests and configs, which running needs.
"""

from __future__ import annotations

import os
import sys
import time
from typing import TYPE_CHECKING

from pinnace.api.schema.content import Content, Info, ListContentRequest, UpdateRequest
from pinnace.api.schema.leases import CreateRequest, DeleteRequest, Leases
from pinnace.api.schema.wellknown import FieldMask
from pinnace.cli.client import Client
from pinnace.cli.options import Flag, switch

if TYPE_CHECKING:
    from pinnace.cli.options import Call

USAGE = "[flags]"
FLAGS: tuple[Flag, ...] = (
    switch("async", about="return at once; the space is given back soon after"),
    switch("dry", about="only show which labels would be removed"),
)

_REFERENCE = "containerd.io/gc.ref.content."


def run(call: Call) -> int:
    with Client.of(call) as client:
        found = [
            info
            for answer in client.read(Content.list, ListContentRequest())
            for info in answer.info
        ]
        for info in found:
            layers = sorted(label for label in info.labels if refers_to_layer(label))
            if call.on("dry"):
                sys.stdout.write("".join(f"{info.digest} {label}\n" for label in layers))
            elif layers:
                forget(client, info.digest, layers)
        if not call.on("dry"):
            _collect(client, wait=not call.on("async"))
    return 0


def refers_to_layer(label: str) -> bool:
    """Whether a label keeps a layer: ``...content.l.0``, and ``...content.1`` of older clients, whose 0 is the config."""
    rest = label.removeprefix(_REFERENCE)
    if rest == label:
        return False
    return rest.startswith("l.") or (rest.isdecimal() and rest != "0")


def forget(client: Client, digest: str, labels: list[str]) -> None:
    mask = FieldMask(paths=[f"labels.{label}" for label in labels])
    client.call(Content.update, UpdateRequest(info=Info(digest=digest), update_mask=mask))


def _collect(client: Client, *, wait: bool) -> None:
    """Make the daemon collect: deleting a lease asks for it, and there is no call that does only that."""
    name = f"prune-{os.urandom(8).hex()}"
    end = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 3600))
    client.call(Leases.create, CreateRequest(id=name, labels={"containerd.io/gc.expire": end}))
    client.call(Leases.delete, DeleteRequest(id=name, sync=wait))
