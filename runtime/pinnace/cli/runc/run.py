"""``runc run``: create and start a container, and wait for its end."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from pinnace.cli.options import Flag, switch, text
from pinnace.cli.runc import common, foreground
from pinnace.errors import InvalidArgument
from pinnace.runc import container
from pinnace.spec import runtime

if TYPE_CHECKING:
    from pinnace.cli.options import Call

USAGE = "[flags] CONTAINER"
FLAGS: tuple[Flag, ...] = (
    text("bundle", "b", default=".", about="the directory with config.json"),
    text("console-socket", about="with --detach: socket that gets the master of the terminal"),
    switch("detach", "d", about="do not wait for it"),
    switch("keep", about="do not delete it when it has ended"),
    text("pid-file", about="file to write the first process's id to"),
)


def run(call: Call) -> int:
    identifier, root = common.container_of(call)
    common.secure()
    bundle = os.path.abspath(call.text("bundle"))
    process = runtime.load(bundle).get("process") or {}
    if process.get("terminal") and not call.on("detach") and not os.isatty(sys.stdin.fileno()):
        raise InvalidArgument("config.json asks for a terminal, and standard input is not one")
    foreground.adopt_orphans()
    made = container.create(identifier, bundle, root, None)
    try:
        if call.on("detach"):
            common.finish(call, made)
            container.start(identifier, root)
            return 0
        if call.text("pid-file"):
            common.write_pid(call.text("pid-file"), made.pid)
        status = foreground.attend(made, lambda: container.start(identifier, root))
    except BaseException:
        container.delete(identifier, root, force=True)
        raise
    if not call.on("keep"):
        container.delete(identifier, root)
    return status
