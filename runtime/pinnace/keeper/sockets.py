"""The unix sockets of keeper and shims."""

from __future__ import annotations

import contextlib
import fcntl
import os
import socket
import struct
from typing import TYPE_CHECKING

from pinnace.errors import SHORTAGES, AlreadyExists, InvalidArgument, from_os

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_PATH = 106
"""Bytes of a socket's path (unix(7): 108 with the final zero), less one that its making takes."""
PAUSE_SECONDS = 0.5

_CREDENTIALS = struct.Struct("3i")
"""struct ucred."""


def listen(path: str) -> socket.socket:
    """Listen on ``path``, mode 0600. A socket that nobody answers any more is replaced.

    Raises AlreadyExists when somebody does, InvalidArgument for a path that is too long. Of several that come at once
    for one path, as from a daemon that was killed and from the next one, exactly one gets it.
    """
    if len(os.fsencode(path)) > MAX_PATH:
        raise InvalidArgument(f"{path}: a socket's path has {MAX_PATH} bytes at most")
    os.makedirs(os.path.dirname(path), mode=0o711, exist_ok=True)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    mask = os.umask(0o177)
    try:
        with alone_in(os.path.dirname(path)):
            _remove(f"{path}~")
            _remove_stale(path)
            # Under its name only once it answers: others wait for the name to appear.
            sock.bind(f"{path}~")
            sock.listen(128)
            os.rename(f"{path}~", path)
    except BaseException:
        sock.close()
        raise
    finally:
        os.umask(mask)
    return sock


def is_ours(path: str) -> bool:
    """Whether this process is who listens at ``path``.

    Asked of the kernel (unix(7), SO_PEERCRED): a file's number may be another file's a moment later, and where a machine is
    busy even the time of its making is the same then.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC) as connection:
        connection.setblocking(False)
        try:
            connection.connect(path)
        except OSError:
            return False
        return _peer(connection)[0] == os.getpid()


def accept(listener: socket.socket) -> socket.socket | None:
    """The connection that waits on a ``listener`` that never blocks; ``None`` when its peer has gone again.

    Raises ResourceExhausted when there is no descriptor or no memory for it. It waits on, and poll(2) would tell of it
    again at once: look away for :data:`PAUSE_SECONDS`.
    """
    try:
        return listener.accept()[0]
    except BlockingIOError:
        return None
    except OSError as problem:
        if problem.errno in SHORTAGES:
            raise from_os(problem, "accept a connection") from None
        return None


def peer_uid(connection: socket.socket) -> int:
    """Who is at the other end, as the kernel saw it connect (unix(7), SO_PEERCRED)."""
    return _peer(connection)[1]


def _peer(connection: socket.socket) -> tuple[int, int, int]:
    """Process, user and group of who connected, or of who listens."""
    raw = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    pid, uid, gid = _CREDENTIALS.unpack(raw)
    return pid, uid, gid


@contextlib.contextmanager
def alone_in(directory: str) -> Iterator[None]:
    """Between the look at a socket and its replacement nobody else looks (flock(2), which ends with its process). Raises OSError."""
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)


def _remove(path: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)


def _remove_stale(path: str) -> None:
    if not os.path.lexists(path):
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC) as probe:
        try:
            probe.connect(path)
        except OSError:
            os.unlink(path)
            return
    raise AlreadyExists(f"another process already serves {path}")
