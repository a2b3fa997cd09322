"""``ctr content push-object``: a piece of the content store to a registry's repository."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from pinnace.api.schema.content import Content, InfoRequest
from pinnace.cli import local
from pinnace.cli.client import Client
from pinnace.cli.ctr.images import registry
from pinnace.errors import NotFound
from pinnace.spec.digest import Digest
from pinnace.spec.image import Descriptor
from pinnace.spec.reference import Reference

if TYPE_CHECKING:
    from pinnace.cli.options import Call, Flag

USAGE = "[flags] <remote> <object> <type>"
FLAGS: tuple[Flag, ...] = registry.FLAGS
DETAILS = "<object> is a digest, <type> its media type; a manifest gets the tag of <remote>."


def run(call: Call) -> int:
    reference = call.argument(0, "please provide a reference")
    digest = Digest.parse(call.argument(1, "please provide a digest"))
    media_type = call.argument(2, "please provide a media type")
    with Client.of(call) as client:
        info = client.call(Content.info, InfoRequest(digest=str(digest))).info
        if info is None:
            raise NotFound(f"content {digest}: not found")
        descriptor = Descriptor(media_type, digest, info.size)
        with registry.resolver(call, Reference.parse(reference)) as resolver:
            resolver.push(reference, descriptor, lambda: local.Blob(client, str(digest)))
    sys.stdout.write(f"Pushed {digest} {media_type}\n")
    return 0
