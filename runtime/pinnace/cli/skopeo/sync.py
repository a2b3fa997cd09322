"""``skopeo sync``: many images between a registry and a directory, or two registries."""

from __future__ import annotations

import os
import sys
from contextlib import closing
from typing import TYPE_CHECKING

from pinnace.cli.options import switch, text
from pinnace.cli.skopeo import flags, places, policies, retry, synclist
from pinnace.cli.skopeo.progress import Display
from pinnace.errors import Error, InvalidArgument
from pinnace.images import convert, copy
from pinnace.images.transports import files
from pinnace.spec import reference as references

if TYPE_CHECKING:
    from pinnace.cli.options import Call, Flag
    from pinnace.cli.skopeo.synclist import Item

USAGE = "--src TRANSPORT --dest TRANSPORT SOURCE DESTINATION"
FLAGS: tuple[Flag, ...] = (
    text("src", "s", about="where from: docker, dir or yaml"),
    text("dest", "d", about="where to: docker or dir"),
    switch("all", "a", about="copy indexes with the images for all platforms"),
    switch("scoped", about="keep the whole source name below the destination"),
    switch("dry-run", about="only say what would be copied"),
    switch("keep-going", about="go on with the others when one cannot be copied"),
    text("append-suffix", about="put this behind each tag"),
    text("digestfile", about="write digests and names of the copies into this file"),
    text("format", "f", about="form of the manifests: oci or v2s2"),
    switch("preserve-digests", about="fail rather than change a digest"),
    switch("remove-signatures", about="leave signatures out"),
    flags.AUTHFILE,
    text("src-authfile", about="file with the logins for the source"),
    text("dest-authfile", about="file with the logins for the destination"),
    *flags.registry("src-"),
    *flags.registry("dest-"),
    *flags.RETRY,
    *flags.SIGNING,
)
DETAILS = (
    "A source without a tag means all tags. A yaml file names registries with their images:\n"
    "registry.example: {images: {busybox: [latest]}, images-by-tag-regex: {nginx: ^1}}"
)


def run(call: Call) -> int:
    if len(call.args) != 2:
        raise InvalidArgument("name a source and a destination", hint=USAGE)
    if call.text("dest") not in (places.DOCKER, places.DIRECTORY):
        raise InvalidArgument(f"--dest {call.text('dest')!r}: docker or dir")
    source, destination = call.args
    options = _options(call)
    lines: list[str] = []
    failed = count = 0
    for item in synclist.items(call, source):
        target = _target(call, item, destination)
        count += 1
        sys.stdout.write(f"Copying {item.place} to {target}\n")
        sys.stdout.flush()
        if call.on("dry-run"):
            continue
        try:
            lines.append(f"{_copy(item, target, options)} {target}\n")
        except Error as problem:
            if not call.on("keep-going"):
                raise
            sys.stderr.write(f"skopeo: {item.place}: {problem}\n")
            failed += 1
    if call.text("digestfile"):
        files.write(os.path.abspath(call.text("digestfile")), "".join(lines).encode())
    done = "Would have synced" if call.on("dry-run") else "Synced"
    sys.stdout.write(f"{done} {count - failed} images\n")
    return 1 if failed else 0


def _copy(item: Item, target: places.Place, options: copy.Options) -> str:
    def once() -> str:
        with (
            Display(quiet=True) as display,
            closing(places.open_source(item.call, item.place, "src-")) as origin,
            closing(places.open_target(item.call, target)) as destination,
        ):
            made = copy.copy(origin, destination, options._replace(report=display.hear))
            return str(made.digest)

    if target.transport == places.DIRECTORY:
        files.make_directory(target.path)
    return retry.run(item.call, once)


def _target(call: Call, item: Item, destination: str) -> places.Place:
    """Where an image goes: its last part, or with ``--scoped`` its whole name, below *destination*."""
    name = item.scope if call.on("scoped") else os.path.basename(item.scope)
    suffix = call.text("append-suffix")
    if suffix and item.tag.startswith("@"):
        raise InvalidArgument(f"{item.place}: a digest cannot get a suffix")
    path = f"{destination.rstrip('/')}/{name}{item.tag}{suffix}"
    if call.text("dest") == places.DIRECTORY:
        return places.Place(places.DIRECTORY, path)
    references.normalize(path)
    return places.Place(places.DOCKER, path)


def _options(call: Call) -> copy.Options:
    return copy.Options(
        policies.check_of(call),
        multi_arch=copy.ALL if call.on("all") else copy.SYSTEM,
        platform=places.platform_of(call),
        format=convert.parse_format(call.text("format")),
        preserve_digests=call.on("preserve-digests"),
        remove_signatures=call.on("remove-signatures"),
        signers=policies.signers_of(call),
        sign_identity=policies.identity_of(call),
    )
