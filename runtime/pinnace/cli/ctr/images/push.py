"""``ctr images push``: send an image to a registry."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

from pinnace.api.schema import transfertypes as types
from pinnace.api.schema.content import Content, InfoRequest
from pinnace.cli import images, transfer
from pinnace.cli.client import Client
from pinnace.cli.ctr.content.fetching import reporter
from pinnace.cli.ctr.flags import refuse
from pinnace.cli.ctr.images import registry
from pinnace.cli.local import Push
from pinnace.cli.options import Flag, integer, switch, text, texts
from pinnace.cli.progress import Display
from pinnace.errors import InvalidArgument, NotFound
from pinnace.spec import platform as platforms
from pinnace.spec.digest import Digest
from pinnace.spec.image import OCI_MANIFEST, Descriptor
from pinnace.spec.reference import Reference

if TYPE_CHECKING:
    from pinnace.cli.options import Call

USAGE = "[flags] <remote> [<local>]"
FLAGS: tuple[Flag, ...] = (
    texts("platform", about="send the part for this platform only"),
    text("manifest", about="send this manifest of the content store (a digest)"),
    text("manifest-type", default=OCI_MANIFEST, about="what the manifest is"),
    integer("max-concurrent-uploaded-layers", about="refused: layers are sent one after the other"),
    switch("local", about="send with this command instead of with the daemon"),
    switch(
        "allow-non-distributable-blobs", about="with --local: send layers that may not be passed on"
    ),
    *registry.FLAGS,
)
DETAILS = (
    "REMOTE is the name it gets, LOCAL the image's name here where that is another one.\n"
    "The daemon sends: its certificates apply, files named here are read by it."
)


def run(call: Call) -> int:
    if not 1 <= len(call.args) <= 2:
        raise InvalidArgument("please provide a remote image reference to push")
    remote, local = call.args[0], call.args[-1]
    reference = Reference.parse(remote)
    wanted = [platforms.parse(each) for each in call.texts("platform")]
    source = types.ImageStore(
        name=local, platforms=[transfer.platform_message(each) for each in wanted]
    )
    refuse(call, "layers are sent one after the other", "max-concurrent-uploaded-layers")
    if call.on("local") or call.text("manifest"):
        return _push_here(call, remote, local, wanted)
    refuse(call, "the daemon sends none: add --local", "allow-non-distributable-blobs")
    started = time.monotonic()
    with (
        Client.of(call) as client,
        Display(remote) as display,
        transfer.Exchange(client, display.hear) as exchange,
        registry.registry(call, exchange, reference, remote) as target,
    ):
        exchange.run(source, target)
    sys.stdout.write(f"done: {time.monotonic() - started:.1f} s\n")
    return 0


def _push_here(call: Call, remote: str, local: str, wanted: list[platforms.Platform]) -> int:
    """Send with this command, as for daemons without a Transfer service."""
    started = time.monotonic()
    with Client.of(call) as client, registry.resolver(call, Reference.parse(remote)) as resolver:
        if call.text("manifest"):
            digest = Digest.parse(call.text("manifest"))
            info = client.call(Content.info, InfoRequest(digest=str(digest))).info
            if info is None:
                raise NotFound(f"content {digest}: not found")
            root = Descriptor(call.text("manifest-type"), digest, info.size)
        else:
            root = images.target_of(images.get(client, local))
        with Display(remote) as display:
            Push(
                client, resolver, remote, wanted=wanted, report=reporter(display),
                foreign=call.on("allow-non-distributable-blobs"),
            ).run(root)  # fmt: skip
    sys.stdout.write(f"done: {time.monotonic() - started:.1f} s\n")
    return 0
