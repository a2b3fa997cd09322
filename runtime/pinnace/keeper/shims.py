"""Shims as the keeper has them: forked, or free since their last container is gone.

Each has a line to the keeper, by which it says where it listens, and later that it is free. A free one waits a moment for
the next container: the pages that Python writes to, because it counts references in them, are its own by then, and neither
a fork nor an end has to be paid for. Free is only who has nothing left of its container (:class:`_Beginning`).
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
import sys
from collections.abc import Callable
from typing import Any

from pinnace.errors import Error, from_os
from pinnace.keeper import command
from pinnace.keeper.protocol import Receiver, pack
from pinnace.linux.kernel import KERNEL

_FREE_SECONDS = 5.0
"""How long a free one waits; after as long, everything else of an idle daemon has become small as well."""
_MOST_FREE = 4
_MOST_CONTAINERS = 100
"""How many one has in its life, so that what a heap gathers has an end."""

Answer = Callable[[dict[str, Any]], None]
StartShim = Callable[[dict[str, Any], Callable[[str], None]], bool]
"""Be the shim for a request; calls back with its address once it listens. Whether it may be one again afterwards."""


class _Line:
    """The keeper's end of the line to one shim, and who waits for its address, if anybody does."""

    __slots__ = ("answer", "is_used", "receiver", "request", "sock")

    def __init__(self, sock: socket.socket, request: dict[str, Any], answer: Answer) -> None:
        self.sock = sock
        self.receiver = Receiver(sock)
        self.request = request
        self.answer: Answer | None = answer
        self.is_used = False
        """Whether it has had a container before."""


class Shims:
    """Starts them for the keeper, whose ``poll`` watches their lines: what is there on one goes to :meth:`attend`."""

    def __init__(self, poll: select.poll, start_shim: StartShim) -> None:
        self._poll = poll
        self._start_shim = start_shim
        self._lines: dict[int, _Line] = {}
        self._free: list[_Line] = []

    def __contains__(self, fd: int) -> bool:
        return fd in self._lines

    def start(self, request: dict[str, Any], answer: Answer) -> None:
        """Have a shim for ``request``; ``answer`` gets the frame with its ``address``, or an ``error``."""
        while self._free and not request.get("protocol"):
            line = self._free.pop()
            if _sent(line.sock, request):
                line.request, line.answer = request, answer
                return
            self._drop(line)
        self._fork(request, answer)

    def attend(self, fd: int) -> None:
        """Take what a shim says, or that its line has ended: it is gone, or it dozes."""
        line = self._lines[fd]
        try:
            frames, gone = line.receiver.receive()
        except Error:
            frames, gone = [], True
        for frame in frames:
            if "free" in frame:
                self._keep(line)
            elif line.answer is not None:
                answer, line.answer = line.answer, None
                answer(frame)
        if gone:
            self._lost(line)

    def _fork(self, request: dict[str, Any], answer: Answer) -> None:
        """Fork one. It outlives us: when we end, init adopts it.

        One fork, not the daemon's usual two: what the first would have written to is memory that
        the second keeps (0.4 MB a container).
        """
        pair: tuple[socket.socket, ...] = ()
        try:
            ours, theirs = pair = socket.socketpair()
            pid = os.fork()
        except OSError as problem:
            for each in pair:
                each.close()
            refused = from_os(problem, f"start a process for the shim of {request['id']}")
            sys.stderr.write(f"pinnace-keeper: {refused}\n")
            answer(_error(str(refused), refused.grpc_status))
            return
        if pid == 0:
            os.setsid()
            _become(request, theirs, self._start_shim)
        theirs.close()
        self._lines[ours.fileno()] = _Line(ours, request, answer)
        self._poll.register(ours.fileno(), select.POLLIN)

    def _keep(self, line: _Line) -> None:
        line.is_used = True
        if len(self._free) < _MOST_FREE:
            self._free.append(line)
        else:
            self._drop(line)

    def _lost(self, line: _Line) -> None:
        self._drop(line)
        answer, line.answer = line.answer, None
        if answer is None:
            return
        if line.is_used:
            self._fork(line.request, answer)  # it had waited long enough just as it was asked
        else:
            answer(_error("the shim ended before it listened"))

    def _drop(self, line: _Line) -> None:
        """Let go of a line; a shim that was free ends then."""
        fd = line.sock.fileno()
        if self._lines.pop(fd, None) is not None:
            self._poll.unregister(fd)
        if line in self._free:
            self._free.remove(line)
        line.sock.close()


def _sent(line: socket.socket, frame: dict[str, Any]) -> bool:
    data = pack(frame)
    try:
        return line.send(data, socket.MSG_DONTWAIT) == len(data)
    except OSError:
        return False


def _error(message: str, status: int = Error.grpc_status) -> dict[str, Any]:
    return {"error": {"status": status, "message": message}}


class _Beginning:
    """What a shim's process is before it has a container: nothing else may be left when it gets the next one."""

    __slots__ = ("_errors", "_found")

    def __init__(self) -> None:
        self._errors = os.dup(2)
        self._found = _look()

    def is_back(self) -> bool:
        """Put back what every shim changes; whether that was all, and no process is left."""
        with open(os.devnull, "rb", buffering=0) as null:
            for target in (0, 1):
                os.dup2(null.fileno(), target, inheritable=True)
        os.dup2(self._errors, 2, inheritable=True)
        command.reset_signals()
        return not _has_children() and _look() == self._found


def _look() -> tuple[list[str], list[str]]:
    """The descriptors that are open, and the namespaces that one is in."""
    spaces = [os.readlink(f"/proc/self/ns/{name}") for name in sorted(os.listdir("/proc/self/ns"))]
    return sorted(os.listdir("/proc/self/fd")), spaces


def _has_children() -> bool:
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        return False
    return True


def _become(request: dict[str, Any], line: socket.socket, start_shim: StartShim) -> None:
    """Be a shim, and the next, until nobody wants one; does not return."""
    status = 1
    try:
        command.close_all_but(0, 1, 2, line.fileno())
        null = os.open(os.devnull, os.O_RDWR)
        os.dup2(null, 0)
        os.dup2(null, 1)
        os.close(null)
        command.reset_signals()
        beginning = _Beginning()
        receiver = Receiver(line)
        for _ in range(_MOST_CONTAINERS):
            if not _be(request, line, start_shim) or not beginning.is_back():
                break
            found = _next(line, receiver)
            if found is None:
                break
            request = found
        status = 0
    finally:
        os._exit(status)


def _be(request: dict[str, Any], line: socket.socket, start_shim: StartShim) -> bool:
    """Be the shim for ``request``; whether it went as it should, to its end."""
    told = False

    def ready(address: str) -> None:
        nonlocal told
        told = True
        line.sendall(pack({"pid": os.getpid(), "address": address}))

    try:
        return start_shim(request, ready)
    except BaseException as problem:
        os.write(2, f"shim of {request['id']}: {problem!r}\n".encode("utf-8", "replace"))
        if not told:  # else nobody waits for this
            with contextlib.suppress(OSError):
                line.sendall(pack(_error(str(problem)[:4000])))
        return False


def _next(line: socket.socket, receiver: Receiver) -> dict[str, Any] | None:
    """Say that we are free, and wait for the next request; ``None`` when there is none."""
    try:
        line.sendall(pack({"free": True}))
        KERNEL.set_process_name("pinnace-keeper")
        poll = select.poll()
        poll.register(line, select.POLLIN)
        while poll.poll(_FREE_SECONDS * 1000):
            frames, gone = receiver.receive()
            if frames:
                return frames[0]
            if gone:
                break
    except (OSError, Error):
        pass  # the keeper is gone
    return None
