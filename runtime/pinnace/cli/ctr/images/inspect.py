"""``ctr images inspect``: an image's documents and layers as a tree."""

from __future__ import annotations

import json
import sys
import time
from typing import TYPE_CHECKING

from pinnace.api.schema.content import Content, InfoRequest
from pinnace.cli import images
from pinnace.cli.client import Client
from pinnace.cli.options import Flag, switch
from pinnace.errors import Error, InvalidArgument, NotFound
from pinnace.spec import image as documents

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pinnace.api.schema.wellknown import Timestamp
    from pinnace.cli.options import Call
    from pinnace.spec.image import Descriptor

USAGE = "<image> [flags]"
FLAGS: tuple[Flag, ...] = (
    switch("content", about="show labels and the documents themselves, too"),
)  # fmt: skip
DETAILS = "--content may stand behind the image, too."
_DEPTH = 8


def run(call: Call) -> int:
    name = call.argument(0, "please provide an image reference to inspect")
    with_content = call.on("content")
    for word in call.args[1:]:
        if word != "--content":
            raise InvalidArgument(f"unexpected argument {word}")
        with_content = True
    with Client.of(call) as client:
        image = images.get(client, name)
        sys.stdout.write(f"{name}\n")
        sys.stdout.write(f"│    Created: {_time(image.created_at)}\n")
        sys.stdout.write(f"│    Updated: {_time(image.updated_at)}\n")
        _Tree(client, with_content).show(images.target_of(image), "", True, 0)
    return 0


def _time(when: Timestamp | None) -> str:
    seconds, nanos = (when.seconds, when.nanos) if when else (0, 0)
    shown = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(seconds))
    fraction = f".{nanos:09d}".rstrip("0") if nanos else ""
    return f"{shown}{fraction} +0000 UTC"


class _Tree:
    def __init__(self, client: Client, with_content: bool) -> None:
        self._client = client
        self._with_content = with_content

    def show(self, descriptor: Descriptor, prefix: str, last: bool, depth: int) -> None:
        """One piece of content and, below it, what it refers to."""
        branch, bar = ("└── ", "    ") if last else ("├── ", "│   ")
        sys.stdout.write(
            f"{prefix}{branch}{descriptor.media_type} @{descriptor.digest} ({descriptor.size} bytes)\n"
        )
        inner = prefix + bar
        children, data = self._read(descriptor) if depth < _DEPTH else ([], b"")
        sign = "│" if children else " "
        if descriptor.platform is not None:
            sys.stdout.write(f"{inner}{sign}    Platform: {descriptor.platform}\n")
        if self._with_content:
            self._labels(descriptor, f"{inner}{sign}   ")
            if data:
                self._content(data, f"{inner}{sign}   ")
        for number, child in enumerate(children, 1):
            self.show(child, inner, number == len(children), depth + 1)

    def _read(self, descriptor: Descriptor) -> tuple[Sequence[Descriptor], bytes]:
        kind = descriptor.media_type
        if not (documents.is_index(kind) or documents.is_manifest(kind) or documents.is_config(kind)):  # fmt: skip
            return (), b""
        try:
            data = images.read_document(self._client, descriptor)
        except NotFound:
            return (), b""  # a part for another platform that was not fetched
        if documents.is_index(kind):
            return documents.parse_index(data, kind).manifests, data
        if documents.is_manifest(kind):
            manifest = documents.parse_manifest(data, kind)
            return (manifest.config, *manifest.layers), data
        return (), data

    def _labels(self, descriptor: Descriptor, margin: str) -> None:
        try:
            request = InfoRequest(digest=str(descriptor.digest))
            info = self._client.call(Content.info, request).info
        except Error:
            return
        if info is None or not info.labels:
            return
        rows = [f"{json.dumps(key)}: {json.dumps(value)}" for key, value in sorted(info.labels.items())]  # fmt: skip
        self._box("Labels", rows, margin)

    def _content(self, data: bytes, margin: str) -> None:
        shown = json.dumps(json.loads(data), indent=3, sort_keys=True, ensure_ascii=False)
        self._box("Content", shown.split("\n"), margin)

    def _box(self, title: str, rows: Sequence[str], margin: str) -> None:
        side = (23 - len(title)) // 2
        top = "─" * side + title + "─" * (23 - side - len(title))
        inside = "".join(f"{margin}│{row}\n" for row in rows)
        sys.stdout.write(f"{margin}┌{top}\n{inside}{margin}└{'─' * 23}\n")
