"""Staying with a process: its signals, its terminal, its exit status."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from pinnace.linux.kernel import KERNEL, PR_SET_CHILD_SUBREAPER
from pinnace.runc import container

if TYPE_CHECKING:
    from pinnace.cli.terminal import RawTerminal

_FORWARDED = (
    signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2,
)  # fmt: skip


def adopt_orphans(*, adopt: bool = True) -> None:
    """Become the parent of containers' processes, so that they can be waited for; or no longer."""
    KERNEL.prctl(PR_SET_CHILD_SUBREAPER, int(adopt))


def attend(made: container.Created, start: Callable[[], None]) -> int:
    """Start a process and stay until it ends; its exit status, as a shell gives it."""
    with forwarding(made.pid):
        if made.console is None:
            start()
            return _wait(made.pid)
        from pinnace.cli.terminal import RawTerminal

        with RawTerminal(sys.stdin.fileno()) as own, _sized(own, made.console):
            start()
            _copy(made.console)
            os.close(made.console)
            return _wait(made.pid)


def wait_for(pid: int) -> int:
    """Stay until a process ends, passing signals on to it; its exit status, as a shell gives it."""
    with forwarding(pid):
        return _wait(pid)


def _wait(pid: int) -> int:
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    return code if code >= 0 else 128 - code


@contextlib.contextmanager
def forwarding(pid: int) -> Iterator[None]:
    """Pass the signals that this command gets on to a process."""

    def forward(number: int, _: object) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)

    before = {number: signal.signal(number, forward) for number in _FORWARDED}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def _sized(own: RawTerminal, console: int) -> Iterator[None]:
    """Keep the container's window as large as ours."""
    from pinnace.runc import terminal

    def resize(*_: object) -> None:
        width, height = own.size()
        if width and height:  # a terminal that nobody sized says nothing about the container's
            terminal.resize(console, width, height)

    before = signal.signal(signal.SIGWINCH, resize)
    resize()
    try:
        yield
    finally:
        signal.signal(signal.SIGWINCH, before)


def _copy(console: int) -> None:
    """Keys in, output out, until the last process that has the terminal lets go of it."""
    sources = [sys.stdin.fileno(), console]
    while True:
        for fd in select.select(sources, [], [])[0]:
            try:
                data = os.read(fd, 32 << 10)
            except OSError:
                data = b""  # EIO: how Linux says that a terminal's other side is closed
            if fd == console and not data:
                return
            if not data:
                sources.remove(fd)
                continue
            _write_all(console if fd != console else sys.stdout.fileno(), data)


def _write_all(fd: int, data: bytes) -> None:
    while data:
        data = data[os.write(fd, data) :]
