"""``ctr images import``: read images from an archive (OCI layout or ``docker save``)."""

from __future__ import annotations

import os
import sys
import time
from typing import TYPE_CHECKING

from pinnace.api.schema import transfertypes as types
from pinnace.api.schema.content import Content, InfoRequest
from pinnace.cli import images, transfer
from pinnace.cli.client import Client
from pinnace.cli.containers import parse_labels
from pinnace.cli.ctr.content.prune.references import forget, refers_to_layer
from pinnace.cli.ctr.flags import SNAPSHOTTER_FLAG, refuse
from pinnace.cli.options import Flag, switch, text, texts
from pinnace.cli.progress import Display
from pinnace.errors import InvalidArgument
from pinnace.spec import platform as platforms

if TYPE_CHECKING:
    from pinnace.cli.options import Call

USAGE = "[flags] <in>"
FLAGS: tuple[Flag, ...] = (
    text("base-name", about="only import images of this name, and name unnamed ones after it"),
    switch("digests", about="also make images named after their digest"),
    switch("skip-digest-for-named", about="with --digests: not for images that have a name"),
    text("index-name", about="name to give to the archive's whole index"),
    switch("all-platforms", about="import the parts for all platforms"),
    text("platform", about="import the part for this platform instead of this machine's"),
    switch("no-unpack", about="store the content without unpacking it"),
    SNAPSHOTTER_FLAG,
    texts("label", about="label of the images (KEY=VALUE)"),
    switch("compress-blobs", about="compress the layers of a Docker archive that are not"),
    switch("discard-unpacked-layers", about="let go of layers once they are unpacked"),
    switch("local", about="refused: the daemon reads archives"),
    switch("sync-fs", about="refused: the daemon says when files are on the disk"),
)
DETAILS = "<in> is a file, or - for standard input."


def run(call: Call) -> int:
    path = call.only_argument("an archive must be provided (- for standard input)")
    refuse(call, "the daemon reads archives", "local")
    refuse(call, "the daemon says when files are on the disk", "sync-fs")
    if call.on("discard-unpacked-layers") and call.on("no-unpack"):
        raise InvalidArgument("--discard-unpacked-layers and --no-unpack cannot be used together")
    wanted = platforms.parse(call.text("platform")) if call.text("platform") else None
    fd = _open(path)
    display = Display(path)
    try:
        with Client.of(call) as client, transfer.Exchange(client, display.hear) as exchange:
            stream = types.ImageImportStream(
                stream=exchange.send_file(fd), force_compress=call.on("compress-blobs")
            )
            exchange.run(stream, _destination(call, wanted))
    finally:
        if fd:
            os.close(fd)
    if call.on("discard-unpacked-layers"):
        with Client.of(call) as client:
            for name, _ in display.saved:
                _let_go(client, name, wanted)
    for name, digest in display.saved:
        doing = "importing" if call.on("no-unpack") else "unpacking"
        sys.stdout.write(f"{doing} {name} ({digest})...done\n")
    return 0


def _let_go(client: Client, name: str, wanted: platforms.Platform | None) -> None:
    manifest = images.contents(client, images.get(client, name), wanted).manifest_descriptor
    digest = str(manifest.digest)
    info = client.call(Content.info, InfoRequest(digest=digest)).info
    layers = [label for label in (info.labels if info else ()) if refers_to_layer(label)]
    if layers:
        forget(client, digest, layers)


def _open(path: str) -> int:
    if path == "-":
        return 0
    try:
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as problem:
        raise InvalidArgument(f"{path}: {problem.strerror}") from None


def _destination(call: Call, wanted: platforms.Platform | None) -> types.ImageStore:
    base = call.text("base-name")
    platform = transfer.platform_message(wanted or platforms.default())
    unpack = types.UnpackConfiguration(platform=platform, snapshotter=call.text("snapshotter"))
    names = types.ImageReference(
        name=base or time.strftime("import-%Y-%m-%d"),
        is_prefix=True,
        # A made-up name gives way to the one in the archive.
        allow_overwrite=not base,
        add_digest=call.on("digests"),
        skip_named_digest=call.on("skip-digest-for-named"),
    )
    return types.ImageStore(
        name=call.text("index-name"),
        labels=parse_labels(call.texts("label")),
        platforms=[] if call.on("all-platforms") else [platform],
        extra_references=[names],
        unpacks=[] if call.on("no-unpack") else [unpack],
    )
