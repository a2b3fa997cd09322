"""``runc spec``: write an example config.json."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

from pinnace.cli.options import Flag, switch, text
from pinnace.errors import AlreadyExists, InvalidArgument
from pinnace.spec import runtime

if TYPE_CHECKING:
    from pinnace.cli.options import Call

USAGE = "[flags]"
FLAGS: tuple[Flag, ...] = (
    text("bundle", "b", default=".", about="the directory to write it to"),
    switch("rootless", about="one that an ordinary user can run"),
)


def run(call: Call) -> int:
    path = os.path.join(call.text("bundle"), "config.json")
    spec = runtime.default_spec()
    del spec["linux"]["cgroupsPath"]  # each container gets one of its own
    spec["process"]["terminal"] = True
    spec["root"]["readonly"] = True
    spec["hostname"] = "runc"
    if call.on("rootless"):
        runtime.make_rootless(spec, os.geteuid(), os.getegid())
    try:
        with open(path, "x", encoding="utf-8") as file:
            file.write(json.dumps(spec, indent="\t") + "\n")
    except FileExistsError:
        raise AlreadyExists(f"{path} exists", hint="remove it first") from None
    except OSError as problem:
        raise InvalidArgument(f"cannot write {path}: {problem.strerror}") from None
    return 0
