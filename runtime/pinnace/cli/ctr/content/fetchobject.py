"""``ctr content fetch-object``: what a registry has under a name, to standard output."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pinnace.cli.ctr.images import registry
from pinnace.cli.stdio import write_all
from pinnace.spec.reference import Reference

if TYPE_CHECKING:
    from pinnace.cli.options import Call, Flag
    from pinnace.registry.resolver import Resolver
    from pinnace.spec.image import Descriptor

USAGE = "[flags] <remote> [<object> [<hint>, ...]]"
FLAGS: tuple[Flag, ...] = registry.FLAGS
DETAILS = "<remote> is a reference; of <object> and hints containerd's ctr makes nothing either."


def run(call: Call) -> int:
    reference = call.argument(0, "please provide a reference")
    with registry.resolver(call, Reference.parse(reference)) as resolver:
        name, root = resolver.resolve(reference)
        copy_out(resolver, name, root)
    return 0


def copy_out(resolver: Resolver, reference: str, descriptor: Descriptor) -> None:
    """Write content to standard output, whole and as its digest says; else raise DataLoss."""
    from pinnace.images.streams import verified

    stream = resolver.fetch(reference, descriptor)
    checked = verified(stream, descriptor.digest, descriptor.size, reference)
    try:
        while chunk := checked.read(1 << 18):
            write_all(1, chunk)
    finally:
        checked.close()
