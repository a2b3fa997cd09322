"""The native init under a supervisor that refuses one of its system calls.

The wrappers of ``refusals.py`` see what Python calls. What is executed between fork and exec is a program of its own,
so here the kernel asks: a seccomp filter has every call wait for the answer of a supervisor (seccomp_unotify(2)), which
lets all of them go on but one. A call is named by the process that makes it, 0 for the one that was spawned and 1 for
its child, and by its place among the calls of that process.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import os
import select
import struct
from collections.abc import Sequence
from typing import Any

from pinnace.linux.kernel import KERNEL

Call = tuple[int, int]
"""The process, and the place of the call among its own."""

_NEW_LISTENER, _MODE_FILTER = 8, 1
_USER_NOTIFY = 0x7FC00000
_RECEIVE, _SEND = 0xC0502100, 0xC0182101  # SECCOMP_IOCTL_NOTIF_RECV, ..._SEND
_CONTINUE = 1
_EXECVE = {"x86_64": 59, "aarch64": 221, "armv7l": 11, "armv6l": 11}[os.uname().machine]
_ASKED = struct.Struct("=QIIiIQ6Q")  # struct seccomp_notif
_ANSWER = struct.Struct("=QqiI")  # struct seccomp_notif_resp


def install(refused: Call | None, number: int, report: str) -> None:
    """From here on this process starts programs under a supervisor.

    Args:
        refused: the call that fails with ``number``; None refuses nothing.
        report: file that gets a line for each call: process, place, number of the call.
    """

    def spawn(path: str, words: Sequence[str], environment: Any, *, file_actions: Any) -> int:
        pid = os.fork()
        if pid == 0:
            _become(path, words, environment, [action[1] for action in file_actions])
        _supervise(pid, refused, number, report)
        return pid

    os.posix_spawn = spawn  # type: ignore[assignment]


def _become(path: str, words: Sequence[str], environment: Any, kept: list[int]) -> None:
    """Load the filter, be the program; does not return."""
    try:
        for fd in kept:
            os.set_inheritable(fd, True)
        code = struct.pack("=HBBI", 0x06, 0, 0, _USER_NOTIFY)  # BPF_RET | BPF_K
        buffer = ctypes.create_string_buffer(code)
        program = struct.pack("@HxxxxxxQ", 1, ctypes.addressof(buffer))
        KERNEL.seccomp(_MODE_FILTER, _NEW_LISTENER, ctypes.create_string_buffer(program))
        os.execve(path, words, environment)
    finally:
        os._exit(127)


def _supervise(pid: int, refused: Call | None, number: int, report: str) -> None:
    """Fork a process that answers until every process with the filter has ended."""
    if os.fork():
        return
    try:
        _close_from(3)  # the ends of lines among them, which others wait to see closed
        listener = _listener_of(pid)
        with open(report, "w", encoding="ascii") as file:
            _answer_all(listener, refused, number, file)
    finally:
        os._exit(0)


def _close_from(first: int) -> None:
    os.closerange(first, 4096)


def _listener_of(pid: int) -> int:
    """The filter's listener, from the process that waits for its first answer."""
    pidfd = os.pidfd_open(pid)
    while True:
        for name in os.listdir(f"/proc/{pid}/fd"):
            with contextlib.suppress(OSError):
                if "seccomp notify" in os.readlink(f"/proc/{pid}/fd/{name}"):
                    return KERNEL.pidfd_getfd(pidfd, int(name))


def _answer_all(listener: int, refused: Call | None, number: int, report: Any) -> None:
    poll = select.poll()
    poll.register(listener, select.POLLIN)
    counts: dict[int, int] = {}  # of calls by process, in the order in which they appeared
    programs: dict[int, int] = {}  # executed by each
    while poll.poll()[0][1] & select.POLLIN:
        asked = bytearray(_ASKED.size)
        try:
            fcntl.ioctl(listener, _RECEIVE, asked)
        except OSError as problem:
            if problem.errno in (errno.ENOENT, errno.EINTR):
                continue  # it was killed meanwhile
            raise
        request, pid, _, call, *_ = _ASKED.unpack(asked)
        who = list(counts).index(pid) if pid in counts else len(counts)
        place = counts.setdefault(pid, 0)
        executed = programs.setdefault(pid, min(who, 2))
        refuses = False
        # The first program is init itself, the second the container's: what is between is init's.
        if executed == 1:
            refuses = refused == (who, place)
            report.write(f"{who} {place} {call}\n")
            report.flush()
            counts[pid] += 1
        if call == _EXECVE and not refuses:
            programs[pid] += 1
        answer = _ANSWER.pack(request, 0, -number if refuses else 0, 0 if refuses else _CONTINUE)
        with contextlib.suppress(FileNotFoundError):  # it was killed meanwhile
            fcntl.ioctl(listener, _SEND, bytearray(answer))
