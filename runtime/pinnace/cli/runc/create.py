"""``runc create``: everything of a container but its program, which waits for ``runc start``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pinnace.cli.options import Flag, text
from pinnace.cli.runc import common
from pinnace.runc import container

if TYPE_CHECKING:
    from pinnace.cli.options import Call

USAGE = "[flags] CONTAINER"
FLAGS: tuple[Flag, ...] = (
    text("bundle", "b", default=".", about="the directory with config.json"),
    text("console-socket", about="unix socket that gets the master of the container's terminal"),
    text("pid-file", about="file to write the first process's id to"),
)


def run(call: Call) -> int:
    identifier, root = common.container_of(call)
    common.secure()
    made = container.create(identifier, call.text("bundle"), root, None)
    try:
        common.finish(call, made)
    except BaseException:
        container.delete(identifier, root, force=True)
        raise
    return 0
