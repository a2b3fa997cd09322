"""``ctr content fetch-blob``: blobs of a registry's repository, to standard output."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pinnace.cli.ctr.images import registry
from pinnace.cli.options import Flag, text
from pinnace.cli.stdio import write_all
from pinnace.spec.digest import Digest
from pinnace.spec.image import Descriptor
from pinnace.spec.reference import Reference

if TYPE_CHECKING:
    from pinnace.cli.options import Call
    from pinnace.registry.resolver import Resolver

_BLOB = "application/octet-stream"
USAGE = "[flags] <remote> <digest> [<digest>, ...]"
FLAGS: tuple[Flag, ...] = (
    text("media-type", about="what it is: a manifest's media type asks for a manifest"),
    *registry.FLAGS,
)


def run(call: Call) -> int:
    reference = call.argument(0, "please provide a reference")
    call.argument(1, "please provide a digest")
    digests = [Digest.parse(each) for each in call.args[1:]]
    with registry.resolver(call, Reference.parse(reference)) as resolver:
        for digest in digests:
            _write(resolver, reference, digest, call.text("media-type") or _BLOB)
    return 0


def _write(resolver: Resolver, reference: str, digest: Digest, media_type: str) -> None:
    from pinnace.images.streams import verified

    stream = resolver.fetch(reference, Descriptor(media_type, digest, -1))
    checked = verified(stream, digest, -1, reference)
    try:
        while chunk := checked.read(1 << 18):
            write_all(1, chunk)
    finally:
        checked.close()
