"""``runc exec``: a further process in a running container."""

from __future__ import annotations

import json
import os
import sys
from typing import TYPE_CHECKING, Any

from pinnace.cli.options import Flag, integer, switch, text, texts
from pinnace.cli.runc import common, foreground
from pinnace.errors import InvalidArgument
from pinnace.runc import container
from pinnace.spec import oci, runtime

if TYPE_CHECKING:
    from pinnace.cli.options import Call

USAGE = "[flags] CONTAINER COMMAND [ARGUMENT...]"
FLAGS: tuple[Flag, ...] = (
    text("console-socket", about="with --detach: socket that gets the master of the terminal"),
    text("cwd", about="working directory, instead of the container's"),
    texts("env", "e", about="set a variable, NAME=value"),
    switch("tty", "t", about="give it a terminal"),
    text("user", "u", about="UID or UID:GID, instead of the container's"),
    integer("additional-gids", "g", about="a further group", default=-1),
    text("process", "p", about="file with an OCI process object, instead of a command and flags"),
    switch("detach", "d", about="do not wait for it"),
    text("pid-file", about="file to write its id to"),
    switch("no-new-privs", about="never let it gain privileges"),
    texts("cap", "c", about="give it this capability, too"),
)


def run(call: Call) -> int:
    identifier = call.argument(0, common.ID_MISSING)
    common.secure()
    root = call.text("root")
    process = _process(call, container.state(identifier, root)["bundle"])
    if process.get("terminal") and not call.on("detach") and not os.isatty(sys.stdin.fileno()):
        raise InvalidArgument("a terminal was asked for, and standard input is not one")
    foreground.adopt_orphans()
    made = container.exec_(identifier, root, process, None)
    if call.on("detach"):
        common.finish(call, made)
        return 0
    if call.text("pid-file"):
        common.write_pid(call.text("pid-file"), made.pid)
    return foreground.attend(made, lambda: None)


def _process(call: Call, bundle: str) -> dict[str, Any]:
    if call.text("process"):
        try:
            with open(call.text("process"), "rb") as file:
                return runtime.check_process(json.loads(file.read(runtime.MAX_CONFIG)))
        except (OSError, ValueError) as problem:
            raise InvalidArgument(f"{call.text('process')}: {problem}") from None
    if len(call.args) < 2:
        raise InvalidArgument("process args cannot be empty")
    process = dict(runtime.load(bundle)["process"])
    process["args"] = call.args[1:]
    process["terminal"] = call.on("tty")
    process["cwd"] = call.text("cwd") or process["cwd"]
    process["env"] = oci.merged_env(process.get("env") or [], call.texts("env"))
    if call.on("no-new-privs"):
        process["noNewPrivileges"] = True
    _set_user(call, process)
    for name in call.texts("cap"):
        sets = process["capabilities"] = dict(process.get("capabilities") or {})
        for kind in ("bounding", "effective", "permitted"):
            sets[kind] = [*(sets.get(kind) or []), name]
    return process


def _set_user(call: Call, process: dict[str, Any]) -> None:
    user = process["user"] = dict(process.get("user") or {})
    if call.text("user"):
        uid, _, gid = call.text("user").partition(":")
        try:
            user["uid"] = int(uid)
            user["gid"] = int(gid) if gid else user.get("gid", 0)
        except ValueError:
            raise InvalidArgument(
                f"--user {call.text('user')}: UID or UID:GID is expected"
            ) from None
    if call.integer("additional-gids") >= 0:
        user["additionalGids"] = [
            *(user.get("additionalGids") or []),
            call.integer("additional-gids"),
        ]
