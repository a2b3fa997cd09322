"""``skopeo delete``: remove an image, with all its tags, from a registry; or one from a layout."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

from pinnace.cli.skopeo import flags, places, retry
from pinnace.errors import InvalidArgument
from pinnace.spec import reference as references

if TYPE_CHECKING:
    from pinnace.cli.options import Call, Flag

USAGE = "IMAGE-NAME"
FLAGS: tuple[Flag, ...] = (flags.AUTHFILE, *flags.place(), *flags.RETRY)
DETAILS = "A registry keeps the layers until it collects its garbage."


def run(call: Call) -> int:
    place = places.parse(call.only_argument("please name an image"))
    if place.transport != places.DOCKER:
        raise InvalidArgument(
            f"{place.transport}: images are files: remove them as such",
        )
    reference = references.normalize(place.path)
    retry.run(call, lambda: _delete(call, reference))
    return 0


def _delete(call: Call, reference: references.Reference) -> None:
    with closing(places.resolver(call, reference)) as resolver:
        resolver.delete(str(reference))
