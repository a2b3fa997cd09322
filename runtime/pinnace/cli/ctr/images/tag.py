"""``ctr images tag``: give an image further names."""

from __future__ import annotations

import contextlib
import sys
from typing import TYPE_CHECKING

from pinnace.api.schema.images import (
    CreateImageRequest,
    DeleteImageRequest,
    Image,
    Images,
)
from pinnace.cli import images
from pinnace.cli.client import Client
from pinnace.cli.options import Flag, switch
from pinnace.errors import AlreadyExists, InvalidArgument, NotFound
from pinnace.spec.reference import Reference

if TYPE_CHECKING:
    from pinnace.cli.options import Call

USAGE = "[flags] <source_ref> <target_ref> [<target_ref>, ...]"
FLAGS: tuple[Flag, ...] = (
    switch("force", about="replace an image that has the new name already"),
    switch("local", about="give the name with this command; so it is without the flag, too"),
    switch("skip-reference-check", about="take the new name as it is, without a look at its form"),
)


def run(call: Call) -> int:
    source = call.argument(0, "source image reference must be provided")
    call.argument(1, "target image reference must be provided")
    with Client.of(call) as client:
        image = images.get(client, source)
        for target in call.args[1:]:
            if not call.on("skip-reference-check"):
                _check(target)
            _tag(client, image, target, force=call.on("force"))
            sys.stdout.write(f"{target}\n")
    return 0


def _check(name: str) -> None:
    """Raises :class:`InvalidArgument` for a name that could not be pulled or pushed."""
    Reference.parse(name).checked()
    if "//" in name:
        raise InvalidArgument(f"invalid reference {name!r}: a part of its path is empty")


def _tag(client: Client, image: Image, name: str, *, force: bool) -> None:
    request = CreateImageRequest(image=Image(name=name, labels=image.labels, target=image.target))
    try:
        client.call(Images.create, request)
    except AlreadyExists:
        if not force:
            raise
        with contextlib.suppress(NotFound):
            client.call(Images.delete, DeleteImageRequest(name=name))
        client.call(Images.create, request)
