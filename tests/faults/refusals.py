"""A process that runs commands of ``runc`` in forked children, with one system call of theirs refused.

    python -m tests.faults.refusals

reads requests, one JSON object a line, and answers each with one: the words, and the *site* that is refused, which is a
wrapper's name and the line of the runtime that calls it. Without a site the command writes every site it comes by to
standard error: this is how all of them are found. What the runtime forks inherits both.

Every function that makes a system call is wrapped, ``os``' and those of ``pinnace.linux.libc``, but close(2) and the likes:
closing is never refused. A command here is what it is under the keeper: forked, in a process that is sealed.
"""

from __future__ import annotations

import builtins
import ctypes
import fcntl
import importlib
import json
import os
import pkgutil
import resource
import signal
import socket
import sys
import time
from collections.abc import Callable
from typing import Any

import pinnace
from pinnace.cli import main, runc
from pinnace.linux import kernel, libc, sealed
from pinnace.runc import native
from tests.faults import init_refusals

SITE = "site: "
_TRACEBACK = 70  # what a command exits with that raised
_SECONDS = 60.0
_ENDED_SECONDS = 20.0
_OS = (
    "open", "read", "write", "pread", "dup", "dup2", "stat", "fstat", "lstat", "mkdir", "mknod", "rmdir", "unlink",
    "rename", "replace", "readlink", "listdir", "scandir", "symlink", "chdir", "fchdir", "chmod", "fchmod", "chown",
    "fchown", "fork", "kill", "waitpid", "pidfd_open", "pipe", "pipe2", "memfd_create", "setsid", "setgroups",
    "setresuid", "setresgid", "sched_setaffinity", "sched_getaffinity", "setpriority", "execve", "getcwd", "sendfile",
    "fsync", "fdopen", "makedirs", "access", "set_inheritable", "set_blocking",
)  # fmt: skip
_SOCKET = (
    "bind",
    "connect",
    "listen",
    "accept",
    "send",
    "sendmsg",
    "recv",
    "recvmsg",
    "setsockopt",
)
_LIBC = ("call", "syscall", "prctl", "syscall_with_interpreter", "filesystem_type", "mount_id")
_RUNTIME = os.path.dirname(pinnace.__file__)
_SEAMS = (libc.__file__, kernel.__file__)


class Refusals:
    """Which site is refused, with which errno; without one, all that are come by are written down."""

    def __init__(self, site: str, number: int) -> None:
        self._site = site
        self._number = number
        self._write = os.write

    def install(self) -> None:
        """Put every wrapper in place, in this process and its children."""
        for name in _OS:
            self._wrap(os, name)
        for name in _LIBC:
            self._wrap(libc, name)
        for name in _SOCKET:
            self._wrap(socket.socket, name)
        self._wrap(builtins, "open")
        self._wrap(socket, "socketpair")
        self._wrap(fcntl, "flock")
        self._wrap(fcntl, "ioctl")
        self._wrap(resource, "setrlimit")
        self._wrap(signal, "pidfd_send_signal")

    def _wrap(self, owner: Any, name: str) -> None:
        real = getattr(owner, name)

        def refused(*args: Any, **kwargs: Any) -> Any:
            site = _site(name)
            if site and not self._site:
                self._write(
                    2, f"{SITE}{site}\n".encode()
                )  # the one descriptor that no process closes
            if site and site == self._site:
                return self._refuse(name, args)
            return real(*args, **kwargs)

        setattr(owner, name, refused)

    def _refuse(self, name: str, args: tuple[Any, ...]) -> Any:
        if name == "prctl":  # the one whose caller raises
            ctypes.set_errno(self._number)
            return -1
        if name == "syscall_with_interpreter":
            return -1, self._number
        path = args[0] if args and isinstance(args[0], str) else None
        raise OSError(self._number, os.strerror(self._number), path)


def _site(name: str) -> str:
    """Where in the runtime a wrapper is called; empty for calls that are not the runtime's."""
    frame = sys._getframe(2)
    while frame is not None:
        path = frame.f_code.co_filename
        if path.startswith(_RUNTIME) and path not in _SEAMS:
            return f"{path.removeprefix(_RUNTIME)}:{frame.f_lineno} {name}"
        if "importlib" in path:
            return ""
        frame = frame.f_back  # type: ignore[assignment]
    return ""


def _run(request: dict[str, Any]) -> int:
    """In a child: the command."""
    os.chdir(request["directory"])
    for number, name in ((0, "/dev/null"), (1, request["output"]), (2, request["error"])):
        flags = os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
        os.dup2(os.open(name, flags, 0o600), number)
    Refusals(request.get("site", ""), request.get("errno", 0)).install()
    if "report" in request:
        native.PROGRAM = request["init"]
        refused = tuple(request["call"]) if request.get("call") else None
        init_refusals.install(refused, request["errno"], request["report"])
    try:
        return main.main(["runc", *request["words"]])
    finally:
        sys.stderr.flush()


def _answer(request: dict[str, Any]) -> dict[str, Any]:
    pid = os.fork()
    if pid == 0:
        status = _TRACEBACK
        try:
            status = _run(request)
        except BaseException:
            sys.excepthook(*sys.exc_info())
            sys.stderr.flush()
        os._exit(status)
    return {"status": _ended(pid), "left": _left(request)}


def _ended(command: int) -> int | None:
    """The status of a command; None when it did not end. What it left is waited for meanwhile, as an init does."""
    deadline = time.monotonic() + _SECONDS
    while True:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if pid == command:
            return os.waitstatus_to_exitcode(status)
        if time.monotonic() > deadline:
            os.kill(command, signal.SIGKILL)
            os.waitpid(command, 0)
            return None
        if not pid:
            time.sleep(0.001)


def _left(request: dict[str, Any]) -> int:
    """How many processes stay, once those that were begun had time to end; a container's stays if it may."""
    deadline = time.monotonic() + (0 if request.get("keep") else _ENDED_SECONDS)
    while True:
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            return 0
        if time.monotonic() >= deadline:
            return 1
        time.sleep(0.002)


def serve() -> None:
    """Answer until the input ends."""
    for package in (runc.__path__, [f"{_RUNTIME}/runc"], [f"{_RUNTIME}/linux"]):
        for module in pkgutil.iter_modules(package):
            name = next(iter(package)).removeprefix(_RUNTIME).strip("/").replace("/", ".")
            importlib.import_module(f"pinnace.{name}.{module.name}")
    sealed._done = True
    kernel.KERNEL.prctl(kernel.PR_SET_CHILD_SUBREAPER, 1)
    answer: Callable[[str], object] = sys.stdout.write
    for line in sys.stdin:
        answer(json.dumps(_answer(json.loads(line))) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    serve()
