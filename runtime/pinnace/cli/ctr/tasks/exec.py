"""``ctr tasks exec``: run a further process in a running container."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from pinnace.api.schema.wellknown import Any as AnyMessage
from pinnace.cli import containers
from pinnace.cli.client import Client
from pinnace.cli.ctr.flags import STDIO
from pinnace.cli.options import Flag, switch, text, texts
from pinnace.cli.processes import Process, StdioWish
from pinnace.errors import InvalidArgument
from pinnace.linux import rootfs
from pinnace.linux.mount import Mount
from pinnace.spec import oci

if TYPE_CHECKING:
    from pinnace.api.schema.containers import Container
    from pinnace.cli.options import Call

USAGE = "[flags] CONTAINER CMD [ARG...]"
FLAGS: tuple[Flag, ...] = (
    text("cwd", about="working directory of the new process"),
    texts("env", about="set an environment variable (NAME=VALUE)"),
    switch("tty", "t", about="give the process a terminal"),
    switch("detach", "d", about="return as soon as the process runs"),
    text("exec-id", about="name of the new process (required)"),
    text("user", about="run as this user (NAME|UID[:GROUP|GID])"),
    *STDIO,
)
DETAILS = "Exits with the status of the process."
_ACCOUNTS = ("/etc/passwd", "/etc/group")


def run(call: Call) -> int:
    container_id = call.argument(0, "container id must be provided")
    call.argument(1, "command must be provided")
    exec_id = call.text("exec-id")
    if not exec_id:
        raise InvalidArgument(
            'required flag "exec-id" not set', hint="name the process: --exec-id sh1"
        )
    wish = StdioWish(
        terminal=call.on("tty"),
        null=call.on("null-io"),
        log_uri=call.text("log-uri"),
        fifo_directory=call.text("fifo-dir"),
    )
    with Client.of(call) as client:
        container = containers.get(client, container_id)
        process = Process(client, container_id, exec_id)
        spec = process_spec(client, container, call)
        packed = AnyMessage(type_url=containers.PROCESS_TYPE, value=json.dumps(spec).encode())
        process.create_exec(packed, wish)
        return _drive(process, detach=call.on("detach"))


def _drive(process: Process, *, detach: bool) -> int:
    try:
        if not detach:
            return process.foreground(start=True, delete=True)
        process.start()
    except BaseException:
        process.abandon()
        raise
    finally:
        process.close(keep=detach)
    return 0


def process_spec(client: Client, container: Container, call: Call) -> dict[str, Any]:
    """The new process: as the container's first, with another command and what the flags change."""
    spec = containers.spec_of(container)
    process = spec.setdefault("process", {})
    process["args"] = call.args[1:]
    process["terminal"] = call.on("tty")
    if call.on("tty"):
        oci.with_env(spec, ["TERM=xterm"])
    oci.with_env(spec, call.texts("env"))
    if call.text("cwd"):
        process["cwd"] = call.text("cwd")
    if call.text("user"):
        root = containers.mounts_of(containers.snapshot_mounts(client, container))
        mounts = root or [Mount("bind", str((spec.get("root") or {}).get("path")))]
        oci.with_user(spec, call.text("user"), *rootfs.read_files(mounts, _ACCOUNTS))
    return dict(process)
