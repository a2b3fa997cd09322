"""The shim of one container that containerd talks to: ttrpc on the socket, events to containerd's own.

It is :class:`pinnace.keeper.shim.Shim` with another language. All of it is in one thread; a ``Wait`` is answered when the process ends.
"""

from __future__ import annotations

import contextlib
import os
import sys
from typing import TYPE_CHECKING, Any

from pinnace.api import grpc, ttrpc
from pinnace.api.schema import events as kinds
from pinnace.api.schema import shims as wire
from pinnace.api.services import convert
from pinnace.api.taskshim import methods
from pinnace.api.taskshim.publisher import Publisher
from pinnace.errors import Error, InvalidArgument, Unimplemented
from pinnace.keeper import cold, sockets
from pinnace.keeper.connection import Connection
from pinnace.keeper.process import STOPPED
from pinnace.keeper.shim import Shim, settle
from pinnace.keeper.wanted import Wanted, parse

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Mapping

    from pinnace.api.codec import Message

_FLUSH_SECONDS = 3.0
"""How long an ending shim waits for containerd to take its last events."""


def serve_frame(request: Mapping[str, Any], ready: Callable[[str], None]) -> None:
    """Be a container's shim until it is shut down; ``ready`` is told the socket's path.

    ``request`` has what :func:`pinnace.keeper.shim.parse` wants, ``address`` to listen on, and ``events``, the socket
    that is told of events, or nothing. Raises InvalidArgument, and AlreadyExists when a shim listens there.
    """
    wanted = parse(request)
    address, events = request.get("address"), request.get("events") or ""
    if not isinstance(address, str) or not address.startswith("/") or not isinstance(events, str):
        raise InvalidArgument("address must be an absolute path, events a path")
    listener = sockets.listen(address)
    settle(wanted.state)
    ready(address)
    shim = TaskShim(wanted, listener, events)
    try:
        shim.run()
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(address)
    shim.events.flush(_FLUSH_SECONDS)


class TtrpcConnection(Connection):
    """One of containerd's connections, of which there is one at most times."""

    __slots__ = ("_frames",)

    def __init__(self, *values: Any) -> None:
        super().__init__(*values)
        self._frames = ttrpc.Frames()

    def receive(self) -> tuple[list[Any], bool]:
        try:
            data = self.sock.recv(65536)
        except BlockingIOError:
            return [], False
        except ConnectionError:
            return [], True
        return list(self._frames.feed(data)), not data


class TaskShim(Shim):
    """Answers the Task service for one container."""

    def __init__(self, wanted: Wanted, listener: socket.socket, events: str) -> None:
        super().__init__(wanted, listener)
        self.wanted = wanted
        self.events = Publisher(self._loop, events, wanted.namespace)
        self._waiting: dict[str, list[tuple[Connection, int]]] = {}
        self._methods = {method.name: (method, name) for name, method in wire.service(2)._asdict().items()}  # fmt: skip

    def run(self) -> None:
        """Until Shutdown. It does not doze: that is between our own daemon and its shims."""
        self._wait_for_company()
        self._loop.run()

    def _connected(self, sock: socket.socket) -> Connection:
        self.events.try_again()  # who connects is likely to listen as well
        return TtrpcConnection(sock, self._loop)

    # --- calls -------------------------------------------------------------------------------

    def _answer(self, connection: Connection, request: Any) -> None:
        if request.kind != ttrpc.REQUEST:
            return
        try:
            answer = self._call(connection, request.stream, ttrpc.Request.decode(request.body))
            data = b"" if answer is None else ttrpc.answer(request.stream, answer)
        except Error as problem:
            data = ttrpc.failure(request.stream, problem.grpc_status, str(problem))
        except (OSError, TypeError, ValueError, KeyError) as problem:
            sys.stderr.write(f"pinnace-shim: {problem!r}\n")
            data = ttrpc.failure(request.stream, grpc.UNKNOWN, str(problem))
        connection.push(data)

    def _call(self, connection: Connection, stream: int, call: ttrpc.Request) -> Message | None:
        """The answer, or ``None`` for one that comes later."""
        found = self._methods.get(call.method)
        if found is None or call.service not in (
            "containerd.task.v2.Task",
            "containerd.task.v3.Task",
        ):
            raise Unimplemented(f"unknown method /{call.service}/{call.method}")
        method, name = found
        request: Any = method.request.decode(call.payload)
        if request.id != self.wanted.id:
            raise InvalidArgument(f"this is the shim of {self.wanted.id}, not of {request.id!r}")
        if name == "wait":
            return self._wait(connection, stream, request)
        handler: Callable[[TaskShim, Any], Message] = getattr(methods, name)
        return handler(self, request)

    def _wait(
        self, connection: Connection, stream: int, request: wire.WaitRequest
    ) -> Message | None:
        process = self._process({"exec_id": request.exec_id})
        if process.status == STOPPED:
            return _ended(process.exit_status, process.exited_at)
        self._waiting.setdefault(request.exec_id, []).append((connection, stream))
        return None

    # --- what happens ------------------------------------------------------------------------

    def _publish(self, event: dict[str, Any]) -> None:
        identifier = self.wanted.id
        if event["event"] == "oom":
            self.events.publish("/tasks/oom", kinds.TaskOOM(container_id=identifier))
            return
        exec_id, status, when = str(event["exec_id"]), int(event["status"]), int(event["exited_at"])
        self.events.publish(
            "/tasks/exit",
            kinds.TaskExit(
                container_id=identifier, id=exec_id or identifier, pid=int(event["pid"]),
                exit_status=status, exited_at=convert.timestamp(when),
            ),
        )  # fmt: skip
        for connection, stream in self._waiting.pop(exec_id, ()):
            connection.push(ttrpc.answer(stream, _ended(status, when)))

    def finish(self) -> None:
        """End the shim, unless it has a container: that would end with it."""
        if "" not in self._processes:
            self._loop.stop()


def _ended(status: int, when: int) -> wire.WaitResponse:
    return wire.WaitResponse(exit_status=status, exited_at=convert.timestamp(when))


def main(argv: list[str]) -> int:
    """The cold start: ``python -m pinnace.api.taskshim.shim --namespace N --id I --address SOCKET ...``."""
    request = {argv[i].removeprefix("--"): argv[i + 1] for i in range(0, len(argv) - 1, 2)}
    return cold.start(lambda ready: serve_frame(request, ready))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
