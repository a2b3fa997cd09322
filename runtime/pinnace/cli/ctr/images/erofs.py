"""``ctr images build-erofs-cache``: refused, as this daemon has no EROFS layers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pinnace.cli.options import Flag, switch, text, texts
from pinnace.errors import Unimplemented

if TYPE_CHECKING:
    from pinnace.cli.options import Call

USAGE = "[flags] <image_ref> <cache_dir>"
FLAGS: tuple[Flag, ...] = (
    text("compressors", about="as containerd's ctr has it"),
    text("mkfs-options", about="as containerd's ctr has it"),
    texts("platform", about="as containerd's ctr has it"),
    switch("dmverity", about="as containerd's ctr has it"),
)


def run(call: Call) -> int:
    raise Unimplemented(
        f"{call.path}: this daemon has no EROFS layers",
        hint="its snapshotters unpack layers into directories: `ctr images pull` does all there is to do",
    )
