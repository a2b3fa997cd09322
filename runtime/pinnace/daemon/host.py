"""What the daemon asks of its host: to be the only one, a socket, and systemd's attention."""

from __future__ import annotations

import fcntl
import os
import socket
import stat
from typing import TYPE_CHECKING

from pinnace.errors import FailedPrecondition, PermissionDenied, Unavailable

if TYPE_CHECKING:
    from collections.abc import Callable

_BACKLOG = 4096
"""Connections that wait to be accepted; Go's clients fail at once when there is no room (unix(7), EAGAIN)."""


def lock(directory: str) -> int:
    """Hold ``directory`` for this process; the descriptor that holds it.

    Raises FailedPrecondition naming the process that has it. The kernel lets go when we end,
    however we end (flock(2)).
    """
    path = os.path.join(directory, "daemon.lock")
    try:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as problem:
        raise PermissionDenied(f"cannot open {path}: {problem.strerror}") from None
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.pread(fd, 20, 0).decode("ascii", "replace").strip()
        os.close(fd)
        raise FailedPrecondition(
            f"{directory} is in use by another daemon (pid {holder or 'unknown'})",
            hint="stop it, or give another --root and --state",
        ) from None
    os.ftruncate(fd, 0)
    os.pwrite(fd, f"{os.getpid()}\n".encode(), 0)
    return fd


def listen(path: str, uid: int, gid: int) -> socket.socket:
    """A listening unix socket that only its owner may open (0600).

    A socket that a dead daemon left is replaced; raises FailedPrecondition when one answers there,
    Unavailable when the path can't be used.
    """
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        os.makedirs(os.path.dirname(path), mode=0o711, exist_ok=True)
        _remove_stale(path)
        # No moment in which others could connect: the mode is right before anyone can.
        before = os.umask(0o177)
        try:
            sock.bind(path)
        finally:
            os.umask(before)
        if (uid, gid) != (os.geteuid(), os.getegid()):
            os.chown(path, uid, gid)
            os.chmod(path, 0o660)  # containerd's mode; the group was asked for
        sock.listen(_BACKLOG)
    except OSError as problem:
        sock.close()
        raise Unavailable(f"cannot listen on {path}: {problem.strerror}") from None
    return sock


def _remove_stale(path: str) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(path)
        except FileNotFoundError:
            return
        except ConnectionRefusedError:
            # A plain file refuses, too; that is not ours to remove, and bind(2) will say so.
            if stat.S_ISSOCK(os.lstat(path).st_mode):
                os.unlink(path)
            return
    raise FailedPrecondition(f"another daemon listens on {path}", hint="stop it first")


def notify(state: str) -> None:
    """Tell systemd, when it started us with ``Type=notify`` (sd_notify(3))."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return
    if address.startswith("@"):
        address = "\0" + address[1:]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
        try:
            sock.connect(address)
            sock.sendall(state.encode())
        except OSError:
            return  # systemd has gone on without us; it will tell if it minds


def set_oom_score(score: int, warn: Callable[[str], None]) -> None:
    """How readily the kernel kills the daemon when memory is short (proc(5))."""
    try:
        with open("/proc/self/oom_score_adj", "w", encoding="ascii") as file:
            file.write(str(score))
    except OSError as problem:
        warn(f"cannot set oom_score to {score}: {problem.strerror}")
