"""``skopeo list-tags``: the tags of a repository, or the names in an archive."""

from __future__ import annotations

import json
import sys
from contextlib import closing
from typing import TYPE_CHECKING

from pinnace.cli.skopeo import flags, places, retry
from pinnace.errors import InvalidArgument
from pinnace.spec import image as images
from pinnace.spec import reference as references

if TYPE_CHECKING:
    from pinnace.cli.options import Call, Flag

USAGE = "[docker://REPOSITORY|docker-archive:PATH]"
FLAGS: tuple[Flag, ...] = (flags.AUTHFILE, *flags.registry(), *flags.RETRY)


def run(call: Call) -> int:
    place = places.parse(call.only_argument("please name a repository"))
    if place.transport == places.DOCKER_ARCHIVE:
        found: dict[str, object] = {"Tags": _in_archive(call, place)}
    elif place.transport == places.DOCKER:
        reference = references.normalize(place.path)
        if "@" in place.path or ":" in place.path.rpartition("/")[2]:
            raise InvalidArgument(f"{place} is an image", hint=f"docker://{reference.locator}")
        found = {
            "Repository": reference.locator,
            "Tags": retry.run(call, lambda: _tags(call, reference)),
        }
    else:
        raise InvalidArgument(f"{place.transport}: has no tags to be listed")
    sys.stdout.write(json.dumps(found, indent=4) + "\n")
    return 0


def _tags(call: Call, reference: references.Reference) -> list[str]:
    with closing(places.resolver(call, reference)) as resolver:
        return resolver.tags(reference.locator)


def _in_archive(call: Call, place: places.Place) -> list[str]:
    from pinnace.images.transports import docker
    from pinnace.images.transports.tarfile import TarReader

    with closing(TarReader(place.path, places.temporary(call))) as archive:
        entries = docker.entries(archive.read("manifest.json", images.MAX_DOCUMENT_BYTES))
    return [str(references.normalize(tag)) for entry in entries for tag in entry.tags]
