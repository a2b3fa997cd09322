"""A forked copy of the keeper becomes a command: its streams, directory, environment, its words.

The child was a warm keeper a moment ago. Nothing of that may show: no descriptor of another session stays
open, signals and streams are as in a fresh process, and it ends without running the keeper's exit code.
"""

from __future__ import annotations

import gc
import importlib
import io
import os
import resource
import signal
import sys
from collections.abc import Callable, Sequence
from typing import Any, cast

from pinnace.errors import InvalidArgument
from pinnace.linux import caller

_MAX_DESCRIPTORS = 65536
"""Above every descriptor that a keeper has; close_range(2) makes it one call."""

_COLLECT_AFTER = 20_000  # objects made and not freed
_MAX_LIMITS = 16  # RLIM_NLIMITS

_own_limits: list[tuple[int, int]] = []
"""This process's, once it was prepared."""

Entry = Callable[[Sequence[str]], int]
Refusal = Callable[[Sequence[str]], bool]
"""Whether a command line is none for the keeper, because it must be a child of who typed it."""
Rehearsal = Callable[[Callable[[], bool]], Callable[[Sequence[str]], Sequence[int]]]
"""Goes through a command's motions, until what it is given says that there is one; gives what tells, of a command's words,
which descriptors it finds open."""


class Request:
    """A command as the launcher asks for it (``runtime/native/launch.c``), checked."""

    __slots__ = ("argv", "env", "oom_score_adj", "release", "rlimits", "umask")

    def __init__(self, document: dict[str, Any]) -> None:
        """Raises :class:`InvalidArgument` for anything that is not such a request."""
        argv, env, umask = document.get("argv"), document.get("env"), document.get("umask")
        if not _is_strings(argv) or not argv:
            raise InvalidArgument("argv is not a list of words")
        if not isinstance(env, list) or not all(_is_strings(item, 2) for item in env):
            raise InvalidArgument("env is not a list of pairs")
        if not isinstance(umask, int) or not 0 <= umask <= 0o777:
            raise InvalidArgument("umask is not a mask")
        self.argv = cast("list[str]", argv)
        self.env = {name: value for name, value in env if name and "=" not in name}
        self.umask = umask
        score = document.get("oom_score_adj")
        self.oom_score_adj = score if isinstance(score, int) else None
        self.rlimits = _limits_in(document.get("rlimits") or [])
        self.release = str(document.get("release") or "")


def _limits_in(pairs: object) -> list[tuple[int, int]]:
    """Soft and hard limits by the resource's number; the kernel has the last word on their values."""
    if not isinstance(pairs, list) or len(pairs) > _MAX_LIMITS:
        raise InvalidArgument("rlimits is not a list of limits")
    for pair in pairs:
        if not isinstance(pair, list) or len(pair) != 2:
            raise InvalidArgument("a limit is not a pair")
        if not all(isinstance(value, int) and -1 <= value < 1 << 63 for value in pair):
            raise InvalidArgument("a limit is not a number")
    return [(soft, hard) for soft, hard in pairs]


def _is_strings(value: object, length: int = 0) -> bool:
    return (
        isinstance(value, list)
        and all(isinstance(item, str) and "\0" not in item for item in value)
        and (not length or len(value) == length)
    )


def load(entry: str) -> Entry:
    """The function that ``package.module:function`` names."""
    module, _, function = entry.partition(":")
    return cast(Entry, getattr(importlib.import_module(module), function))


def refusal_beside(entry: str) -> Refusal:
    """The function ``wants_caller`` of an entry's module; without one nothing is refused."""
    module = importlib.import_module(entry.partition(":")[0])
    return cast(Refusal, getattr(module, "wants_caller", lambda _: False))


def rehearsal_beside(entry: str) -> Rehearsal:
    """The function ``rehearse`` of an entry's module; without one nothing is rehearsed."""
    module = importlib.import_module(entry.partition(":")[0])
    return cast(Rehearsal, getattr(module, "rehearse", lambda _: lambda _: ()))


def lesson_beside(entry: str) -> Callable[[Sequence[str]], str]:
    """The function ``lesson`` of an entry's module; without one nothing is learnt."""
    module = importlib.import_module(entry.partition(":")[0])
    return cast("Callable[[Sequence[str]], str]", getattr(module, "lesson", lambda _: ""))


def prepare() -> None:
    """Let go of what was the keeper's, in a forked copy of it that will :func:`become` a command."""
    global _own_limits
    reset_signals()
    os.environ.clear()
    _own_limits = [resource.getrlimit(number) for number in range(_MAX_LIMITS)]


def practise(document: dict[str, Any]) -> None:
    """Go through what comes before a command's own code, with no effect."""
    Request(document)
    for fd, mode in ((0, "r"), (1, "w"), (2, "w")):
        _text(fd, mode)


def become(
    request: Request, fds: Sequence[int], entry: Entry, *, is_prepared: bool = False,
    kept: Sequence[int] = (),
) -> None:  # fmt: skip
    """Run the command in this (forked) process and end it; does not return.

    Args:
        fds: standard input, output, error, the working directory, and the line to the launcher, if it gave one.
        is_prepared: :func:`prepare` was called.
        kept: further descriptors that stay open.
    """
    status = 1
    try:
        if not is_prepared:
            prepare()
        _take_streams(fds, kept)
        os.environ.update(request.env)
        os.umask(request.umask)
        _set_limits(request.rlimits)
        if request.oom_score_adj is not None:
            _set_oom_score(request.oom_score_adj)
        sys.argv = list(request.argv)
        # What a command makes is seldom garbage: looking for it costs a short one more than it frees.
        gc.set_threshold(_COLLECT_AFTER)
        gc.enable()
        status = entry(request.argv)
        _flush()
        caller.ended(status)
    except caller.NeedsCaller:
        _flush()
        caller.start_again()
    except SystemExit as ended:
        status = ended.code if isinstance(ended.code, int) else 1
    except BaseException as problem:
        # A defect of ours: say so in one line, as every other error.
        os.write(
            2, f"{os.path.basename(request.argv[0])}: {problem!r}\n".encode("utf-8", "replace")
        )
        status = 1
    finally:
        os._exit(status & 0xFF)


def _set_limits(limits: list[tuple[int, int]]) -> None:
    """Have the caller's resource limits in place of the keeper's: what the command starts inherits them."""
    for number, pair in enumerate(limits):
        if (_own_limits[number] if _own_limits else resource.getrlimit(number)) != pair:
            resource.setrlimit(number, pair)


def _set_oom_score(score: int) -> None:
    """Have the caller's score as well: the keeper's own protects it, not what it starts."""
    file = os.open("/proc/self/oom_score_adj", os.O_RDWR | os.O_CLOEXEC)
    try:
        if int(os.read(file, 16)) != score:
            os.write(file, str(score).encode())
    finally:
        os.close(file)


def _take_streams(fds: Sequence[int], kept: Sequence[int]) -> None:
    stdin, stdout, stderr, directory, *line = fds
    os.setsid()
    for target, fd in enumerate((stdin, stdout, stderr)):
        os.dup2(fd, target, inheritable=True)
    os.fchdir(directory)
    # Everything else was the keeper's: its sockets, other sessions' descriptors.
    close_all_but(0, 1, 2, *line, *kept)
    for fd in line:
        caller.attach(fd)
    sys.stdin = _text(0, "r")
    sys.stdout = _text(1, "w")
    sys.stderr = _text(2, "w", line_buffering=True)


def close_all_but(*kept: int) -> None:
    """Close every other descriptor of this process."""
    first = 0
    for fd in sorted(kept):
        # An empty range from 0 is taken for all of them (close_range(2) with a last of -1).
        if fd > first:
            os.closerange(first, fd)
        first = fd + 1
    os.closerange(first, _MAX_DESCRIPTORS)


def _text(fd: int, mode: str, *, line_buffering: bool = False) -> io.TextIOWrapper:
    """A stream as the interpreter makes it at its start."""
    raw = io.FileIO(fd, mode, closefd=False)
    buffer = io.BufferedReader(raw) if mode == "r" else io.BufferedWriter(raw)
    return io.TextIOWrapper(
        buffer,
        encoding="utf-8",
        errors="surrogateescape",
        line_buffering=line_buffering or os.isatty(fd),
        write_through=False,
    )


def reset_signals() -> None:
    """As in a process that was just started."""
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def _flush() -> None:
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except OSError:
        return  # nobody reads any more
