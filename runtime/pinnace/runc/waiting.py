"""A native init that was started before anybody asked for a container: started, it waits to be told of one.

The keeper's spare has one. Starting a program, and making the network namespace that nearly every container has of its
own, are a fifth of the time that a container takes to run; here they have happened before. Such an init knows nothing of
any container, nobody can look into it, and it ends when the process that started it does.
"""

from __future__ import annotations

import json
import os
import socket
import struct
from collections.abc import Iterable

from pinnace.linux import sealed

_held: WaitingInit | None = None


class WaitingInit:
    """One that waits, our child. ``has_network`` tells whether it is in a network namespace of its own, with loopback up."""

    __slots__ = ("_line", "has_network", "pid")

    def __init__(self, program: str) -> None:
        """Start it. Raises OSError."""
        self._line, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.has_network = False
        with theirs:
            executable = sealed.open_program(program)
            try:
                words = ["pinnace:init", str(theirs.fileno())]
                # A descriptor made its own copy loses close-on-exec.
                actions = [(os.POSIX_SPAWN_DUP2, theirs.fileno(), theirs.fileno())]
                self.pid = os.posix_spawn(
                    f"/proc/self/fd/{executable}", words, {}, file_actions=actions
                )
            finally:
                os.close(executable)

    def fileno(self) -> int:
        return self._line.fileno()

    def is_ready(self) -> bool:
        """Wait until it waits; false when it has ended."""
        try:
            said = self._line.recv(256)
        except OSError:
            return False
        self.has_network = bool(said) and bool(json.loads(said).get("network"))
        return bool(said)

    def give(self, channel: int, steps: int, descriptors: Iterable[int]) -> None:
        """Have it take steps, as ``native.spawn`` does. Raises OSError.

        It inherits what a process that is started now would: resource limits and OOM score.
        """
        numbers = sorted(set(descriptors))
        words = (channel, steps, *numbers)
        socket.send_fds(self._line, [struct.pack(f"={len(words)}i", *words)], numbers)
        self._line.close()

    def dismiss(self) -> None:
        """Have it end, some time: nobody waits for it."""
        self._line.close()


def prepare(program: str) -> None:
    """Start one for :func:`take`. Raises OSError."""
    global _held
    _held = WaitingInit(program)


def descriptors() -> list[int]:
    """What this process has to keep open for it."""
    return [] if _held is None else [_held.fileno()]


def take(*, own_network: bool) -> WaitingInit | None:
    """The one that waits, if there is one that fits; it is the caller's from now on.

    ``own_network``: the process will be in another network namespace than ours. One that would leave its own is of no use
    to others.
    """
    global _held
    found, _held = _held, None
    if found is not None and found.is_ready() and (own_network or not found.has_network):
        return found
    if found is not None:
        found.dismiss()
    return None


def dismiss() -> None:
    """End the one that waits, if there is one: this process makes no container."""
    global _held
    if _held is not None:
        _held.dismiss()
        _held = None
