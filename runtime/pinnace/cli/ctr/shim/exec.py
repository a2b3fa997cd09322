"""``ctr shim exec``: run a further process in the container of a shim."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

from pinnace.api.schema.shims import ExecProcessRequest, StartRequest, WaitRequest
from pinnace.api.schema.wellknown import Any as AnyMessage
from pinnace.cli.containers import PROCESS_TYPE
from pinnace.cli.ctr.containers.specflags import read_json
from pinnace.cli.ctr.shim.connecting import connect, container_of, protocol
from pinnace.cli.options import Flag, switch, text, texts
from pinnace.errors import InvalidArgument

if TYPE_CHECKING:
    from pinnace.cli.options import Call

USAGE = "[flags] EXEC-ID [COMMAND] [ARG...]"
FLAGS: tuple[Flag, ...] = (
    switch("attach", "a", about="wait until it has ended, and exit with its status"),
    switch("tty", "t", about="give the process a terminal"),
    text("stdin", about="FIFO of its standard input"),
    text("stdout", about="FIFO of its standard output"),
    text("stderr", about="FIFO of its standard error"),
    texts("env", "e", about="set an environment variable (NAME=VALUE)"),
    text("cwd", default="/", about="working directory of the process"),
    text("spec", about="take the whole process object from this file"),
)
DETAILS = "Its streams are the FIFOs that are named; without them it has none."


def run(call: Call) -> int:
    container_id, exec_id = container_of(call), call.argument(0, "exec id must be provided")
    packed = AnyMessage(type_url=PROCESS_TYPE, value=json.dumps(_process(call)).encode())
    request = ExecProcessRequest(
        id=container_id, exec_id=exec_id, terminal=call.on("tty"), spec=packed,
        **{name: os.path.abspath(call.text(name)) for name in ("stdin", "stdout", "stderr") if call.text(name)},
    )  # fmt: skip
    task = protocol(call)
    with connect(call) as shim:
        shim.call(task.exec, request)
        shim.call(task.start, StartRequest(id=container_id, exec_id=exec_id))
        if not call.on("attach"):
            return 0
        ended = shim.call(task.wait, WaitRequest(id=container_id, exec_id=exec_id))
    return ended.exit_status


def _process(call: Call) -> dict[str, object]:
    if call.text("spec"):
        return read_json(call.text("spec"))
    if len(call.args) < 2:
        raise InvalidArgument("a command must be provided, or --spec")
    return {
        "args": call.args[1:],
        "cwd": call.text("cwd"),
        "env": call.texts("env"),
        "terminal": call.on("tty"),
        "user": {"uid": 0, "gid": 0},
        "noNewPrivileges": True,
    }
