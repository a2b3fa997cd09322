"""The launcher that stands in for a command which the keeper runs (``runtime/native/launch.c``), seen from the command.

It is the child of who typed the command, and the command is the keeper's. What a command leaves behind, a container
above all, has to become a child of who typed it: engines learn so of its end. The launcher starts such a process.
"""

from __future__ import annotations

import json
import os
import socket
import struct
from collections.abc import Iterable

_LENGTH = struct.Struct("<I")
_MOST = 60  # descriptors; the launcher takes 64

_line: socket.socket | None = None
_is_left_behind = False


class NeedsCaller(BaseException):
    """This command has to be run by Python that the launcher starts; what was begun has been undone."""


def attach(fd: int) -> None:
    """Speak to the launcher through ``fd``, which this process owns from now on."""
    global _line
    _line = socket.socket(fileno=fd)


def ended(status: int) -> None:
    """Tell the launcher how the command ends, so that it need not wait for the end of this process."""
    _say({"exit": status & 0xFF})


def start_again() -> None:
    """Have the launcher run the command itself."""
    _say({"cold": 1})


def leave_behind(*, natively: bool = True) -> None:
    """From here on processes that are started are to outlive the command.

    Raises NeedsCaller when that can't be had: not ``natively``, only by Python, and not as our own child.
    """
    global _is_left_behind
    _is_left_behind = _line is not None
    if _is_left_behind and not natively:
        raise NeedsCaller


def leaves_behind() -> bool:
    """Whether :func:`leave_behind` was called, and the launcher is who starts processes."""
    return _is_left_behind


def need_own_child() -> None:
    """Before a fork of something that stays. Raises NeedsCaller when it would be the keeper's."""
    if _is_left_behind:
        raise NeedsCaller


def spawn(program: int, channel: int, steps: int, descriptors: Iterable[int]) -> bool:
    """Have the launcher start the native init; false when this process is to do it.

    Args:
        program, channel, steps: descriptors as ``init.c`` takes them.
        descriptors: what it gets beside its standard streams, ``channel`` and ``steps`` among them.
    """
    if not _is_left_behind:
        return False
    targets = sorted({fd for fd in descriptors if fd > 2})
    if len(targets) > _MOST:
        raise NeedsCaller
    frame = {"spawn": 1, "channel": channel, "steps": steps, "targets": targets}
    _say(frame, [*targets, program])
    return True


def _say(document: dict[str, object], fds: Iterable[int] = ()) -> None:
    if _line is None:
        return
    body = json.dumps(document, separators=(",", ":")).encode()
    try:
        socket.send_fds(_line, [_LENGTH.pack(len(body)) + body], list(fds), socket.MSG_NOSIGNAL)
    except OSError:
        os._exit(1)  # killed, and so shall be its command
