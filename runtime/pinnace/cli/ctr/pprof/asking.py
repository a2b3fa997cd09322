"""HTTP on a debug socket."""

from __future__ import annotations

import http.client
import os
import socket
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from pinnace.cli.options import Flag, duration, integer
from pinnace.cli.stdio import write_all
from pinnace.errors import Error, NotFound, Unavailable

if TYPE_CHECKING:
    from pinnace.cli.options import Call

SOCKETS = ("/run/pinnace/debug.sock", "/run/containerd/debug.sock")
DEBUG = integer("debug", about="0 for tools, 1 and 2 for people")
STACKS = integer("debug", default=2, about="0 for tools, 1 and 2 for people")


def seconds(default: float) -> Flag:
    return duration("seconds", "s", default=default, about="how long to collect")


class _Connection(http.client.HTTPConnection):
    def __init__(self, path: str, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def ask(call: Call, name: str) -> int:
    """Write what the socket answers about ``name``; raises Unavailable, NotFound."""
    query: dict[str, int] = {"debug": call.integer("debug")}
    wait = 0.0
    if call.has("seconds"):
        wait = call.seconds("seconds")
        query["seconds"] = max(1, round(wait))
    path = _socket(call)
    connection = _Connection(path, 30.0 + wait)
    try:
        connection.request("GET", f"/debug/pprof/{name}?{urlencode(query)}")
        answer = connection.getresponse()
        if answer.status != 200:
            reason = answer.read(4096).decode(errors="replace").strip()
            kind = NotFound if answer.status == 404 else Error
            raise kind(f"{path}: {reason or answer.reason}")
        while chunk := answer.read(1 << 16):
            write_all(1, chunk)
    except OSError as problem:
        reason = os.strerror(problem.errno) if problem.errno else "timed out"
        raise Unavailable(
            f"cannot connect to {path}: {reason}",
            hint="config.toml turns the debug socket on: [debug] address",
        ) from None
    except http.client.HTTPException as problem:
        raise Unavailable(f"{path} does not speak HTTP: {problem!r}") from None
    finally:
        connection.close()
    return 0


def _socket(call: Call) -> str:
    if call.has("shim-address"):
        # A shim's debug socket has its name with ".debug" (containerd-shim's -debug-socket).
        from pinnace.cli.ctr.shim.connecting import address_of

        return address_of(call).removeprefix("unix://") + ".debug"
    given = call.text("debug-socket").removeprefix("unix://")
    if given:
        return given
    return next((each for each in SOCKETS if os.path.exists(each)), SOCKETS[0])
