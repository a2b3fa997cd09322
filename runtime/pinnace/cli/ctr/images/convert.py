"""``ctr images convert``: an image in another form, under another name."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from pinnace.api.schema.images import CreateImageRequest, Image, Images, UpdateImageRequest
from pinnace.api.schema.types import Descriptor
from pinnace.cli import containers, images
from pinnace.cli.client import Client
from pinnace.cli.ctr.flags import refuse
from pinnace.cli.options import Flag, switch, text, texts
from pinnace.errors import AlreadyExists, InvalidArgument
from pinnace.spec import platform as platforms

if TYPE_CHECKING:
    from pinnace.cli.options import Call

_NO_EROFS = "this daemon has no EROFS layers"
USAGE = "[flags] <source_ref> <target_ref>"
FLAGS: tuple[Flag, ...] = (
    switch("uncompress", about="unpack the layers' compression: plain tar archives"),
    switch("oci", about="OCI's media types instead of Docker's"),
    switch("erofs", about=f"refused: {_NO_EROFS}"),
    text("erofs-compressors", about=f"refused: {_NO_EROFS}"),
    text("erofs-mkfs-options", about=f"refused: {_NO_EROFS}"),
    texts("platform", about="keep the part for this platform instead of this machine's"),
    switch("all-platforms", about="keep the parts for all platforms"),
)
DETAILS = "Prints the digest of the result."


def run(call: Call) -> int:
    source = call.argument(0, "src and target image need to be specified")
    target = call.argument(1, "src and target image need to be specified")
    refuse(call, _NO_EROFS, "erofs", "erofs-compressors", "erofs-mkfs-options")
    if call.on("all-platforms") and call.texts("platform"):
        raise InvalidArgument("--platform and --all-platforms cannot be used together")
    wanted = [platforms.parse(each) for each in call.texts("platform")]
    if not wanted and not call.on("all-platforms"):
        wanted = [platforms.default()]
    from pinnace.cli.conversion import Conversion

    with Client.of(call) as client, containers.leased(client):
        image = images.get(client, source)
        conversion = Conversion(
            client, uncompress=call.on("uncompress"), oci=call.on("oci"), wanted=wanted
        )
        made = conversion.convert(images.target_of(image), source)
        record = Image(
            name=target,
            labels=image.labels,
            target=Descriptor(media_type=made.media_type, digest=str(made.digest), size=made.size),
        )
        try:
            client.call(Images.create, CreateImageRequest(image=record))
        except AlreadyExists:
            client.call(Images.update, UpdateImageRequest(image=record))
        sys.stdout.write(f"{made.digest}\n")
    return 0
