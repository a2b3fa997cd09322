"""A copy of the keeper that is forked before it is needed, and waits for the next command.

A fork costs the time to copy page tables, and then a page fault for every page that Python touches, as it counts
references in it. A spare has both behind it: it has gone through a command's motions (``rehearse``) and so has
pages of its own for what they touch.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
from collections.abc import Sequence
from typing import Any

from pinnace.keeper import command, practice
from pinnace.keeper.protocol import Receiver

_MOST = 64 << 10
"""Bytes of a request that are certain to fit into the socket, so that the keeper never waits for a spare."""


class Spare:
    """One forked copy. ``pid`` is its process id, a child of the keeper's."""

    __slots__ = ("_line", "pid")

    def __init__(self, entry: command.Entry, rehearse: command.Rehearsal) -> None:
        """Fork it. Raises OSError."""
        self._line, theirs = socket.socketpair()
        self.pid = os.fork()
        if self.pid == 0:
            _wait(theirs, entry, rehearse)
        theirs.close()

    def take(self, request: bytes, fds: Sequence[int]) -> bool:
        """Have it run the command of a frame, as ``command.become`` does; false when it can't: then it goes away."""
        try:
            if len(request) > _MOST:
                return False
            return socket.send_fds(self._line, [request], list(fds)) == len(request)
        except OSError:
            return False
        finally:
            self.close()

    def close(self) -> None:
        """Let go of it; without a command it ends by itself."""
        self._line.close()

    def dismiss(self) -> None:
        """End it, unused."""
        self.close()
        with contextlib.suppress(ProcessLookupError, ChildProcessError):
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)


def _wait(line: socket.socket, entry: command.Entry, rehearse: command.Rehearsal) -> None:
    """What the copy does; does not return."""
    try:
        command.close_all_but(0, 1, 2, line.fileno())
        command.prepare()
        poll = select.poll()
        poll.register(line, select.POLLIN)
        if not poll.poll(practice.quiet_milliseconds()):
            _practise()
        kept_for = rehearse(lambda: bool(poll.poll(0)))
        receiver = Receiver(line)
        frames: list[dict[str, Any]] = []
        while not frames:
            line.recv(1, socket.MSG_PEEK)
            frames, gone = receiver.receive()
            if gone and not frames:
                os._exit(0)
        request = command.Request(frames[0])
        kept = kept_for(request.argv)
        command.become(request, receiver.fds, entry, is_prepared=True, kept=kept)
    finally:
        os._exit(1)


def _practise() -> None:
    with contextlib.suppress(OSError), practice.caller() as connection, connection:
        receiver = Receiver(connection)
        (frame,), _ = receiver.receive()
        command.practise(frame)
        receiver.close_fds()
