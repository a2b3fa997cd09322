"""The listener of a seccomp filter, handed to the supervisor that a profile names.

Once its filter holds, a process may be stopped in any system call until the supervisor answers, so it
can't give the listener away itself: it says beforehand which descriptor it will be, and who made the
process takes it from there (pidfd_getfd(2)). Where that is impossible the process sends it, which then
must not be one of the calls that the supervisor decides.

The supervisor gets the container process state (runtime-spec, config-linux.md) with the descriptor
over its unix socket.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import time
from typing import TYPE_CHECKING, Any

from pinnace.errors import Error
from pinnace.linux.kernel import Kernel
from pinnace.runc.channel import Channel
from pinnace.spec import runtime

if TYPE_CHECKING:
    from pinnace.linux import seccomp

_SECONDS = 10.0
_NAME = "anon_inode:seccomp notify"


def load(kernel: Kernel, profile: seccomp.Filter, channel: Channel) -> None:
    """Load a filter into the calling process; the other end of ``channel`` gets its listener.

    Raises FailedPrecondition when the kernel refuses, Error when nobody takes the listener.
    """
    if not profile.notifies:
        profile.load(kernel)
        return
    spare = os.dup(channel.socket.fileno())
    os.close(spare)  # the lowest that is free: the kernel will take it
    channel.send({"listener": spare, "path": profile.listener, "metadata": profile.metadata})
    taken = channel.expect("takes")["takes"]
    listener = profile.load(kernel)
    if not taken:
        channel.send({"sent": True}, (listener,))
    # Not before it is with the supervisor may the program begin: that closes it here. Plain read(2) is
    # what every profile allows.
    if not os.read(channel.socket.fileno(), 1):
        raise Error("the seccomp listener was not delivered")


def deliver(
    kernel: Kernel, record: dict[str, Any], pid: int, state: dict[str, Any], channel: Channel
) -> None:
    """The other side of ``load``: give the listener that ``record`` announces to the supervisor.

    Args:
        pid: the process that loads the filter.
        state: the OCI state of its container.

    Raises Error when there is no supervisor, or no listener comes.
    """
    path = str(record["path"])
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC) as supervisor:
        supervisor.settimeout(_SECONDS)
        try:
            supervisor.connect(path)
            fd = _obtain(kernel, int(record["listener"]), pid, channel)
            try:
                _send(supervisor, _described(record, pid, state), fd)
            finally:
                os.close(fd)
            channel.send({"delivered": True})
        except OSError as problem:
            raise Error(
                f"seccomp listener {path}: {problem.strerror or problem}",
                hint="linux.seccomp.listenerPath is the socket of a program that decides calls",
            ) from None


def _obtain(kernel: Kernel, number: int, pid: int, channel: Channel) -> int:
    pidfd = os.pidfd_open(pid)
    try:
        if not _may_take(kernel, pidfd):
            channel.send({"takes": False})
            _, fds = channel.receive()
            if len(fds) != 1:
                raise Error("the container process sent no seccomp listener")
            return fds[0]
        channel.send({"takes": True})
        return _take(kernel, pidfd, number, channel)
    finally:
        os.close(pidfd)


def _may_take(kernel: Kernel, pidfd: int) -> bool:
    """Whether descriptors of the process can be had at all; each has a standard input."""
    with contextlib.suppress(OSError):
        os.close(kernel.pidfd_getfd(pidfd, 0))
        return True
    return False


def _take(kernel: Kernel, pidfd: int, number: int, channel: Channel) -> int:
    """Wait until the process has its filter: its descriptor ``number`` comes to be with it.

    Raises the error that a process which got none reports.
    """
    deadline = time.monotonic() + _SECONDS
    while time.monotonic() < deadline:
        try:
            fd = kernel.pidfd_getfd(pidfd, number)
        except ProcessLookupError:
            channel.expect("listener")
            raise
        except OSError:
            time.sleep(0.001)
            continue
        if os.readlink(f"/proc/self/fd/{fd}") == _NAME:
            return fd
        os.close(fd)
        break
    raise Error("the container process has no seccomp listener")


def _described(record: dict[str, Any], pid: int, state: dict[str, Any]) -> bytes:
    described = {
        "ociVersion": runtime.VERSION, "fds": ["seccompFd"], "pid": pid, "state": state,
    }  # fmt: skip
    if record["metadata"]:
        described["metadata"] = record["metadata"]
    return json.dumps(described).encode()


def _send(supervisor: socket.socket, content: bytes, fd: int) -> None:
    sent = socket.send_fds(supervisor, [content], [fd])
    supervisor.sendall(content[sent:])
