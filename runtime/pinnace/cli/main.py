"""Where every command of the runtime starts: the name it was called by picks the program.

The keeper calls :func:`main` in a forked child, the cold path in a fresh interpreter; both get the same
words, the same errors and the same exit statuses. Nothing here imports a program before it is chosen.
"""

from __future__ import annotations

import importlib
import os
import signal
import sys
from collections.abc import Callable, Sequence
from typing import cast

from pinnace.errors import described

PROGRAMS = {
    "ctr": "pinnace.cli.ctr:main",
    "pinnaced": "pinnace.cli.pinnaced:main",
    "containerd": "pinnace.cli.pinnaced:main",
    "runc": "pinnace.cli.runc:main",
    "skopeo": "pinnace.cli.skopeo:main",
    "containerd-shim-pinnace-v2": "pinnace.cli.shim:main",
}
"""Program name to the function that takes the words behind it and returns an exit status."""


_REMOTE_VERBS = frozenset(("pull", "push", "fetch"))


def main(argv: Sequence[str]) -> int:
    """Run the program that ``argv[0]``'s last part names; returns the exit status.

    An exception, :class:`pinnace.errors.Error` or any other, becomes one line on standard error. An interrupt
    exits with 130 and a reader that went away with 141, as a shell reports the signals.
    """
    name = os.path.basename(argv[0]) if argv else ""
    entry = PROGRAMS.get(name)
    if entry is None:
        known = ", ".join(sorted(PROGRAMS))
        sys.stderr.write(f"pinnace: there is no program {name!r} (known: {known})\n")
        return 127
    try:
        status = _load(entry)(list(argv[1:]))
        sys.stdout.flush()
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else 1
    except BrokenPipeError:
        # The reader of our output went away (`| head`): nothing more can be said to it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 128 + signal.SIGPIPE
    except Exception as problem:
        _flush_quietly()
        error = described(problem)
        sys.stderr.write(f"{name}: {error}\n")
        return error.exit_status
    return status


def wants_caller(argv: Sequence[str]) -> bool:
    """Whether a command line must run as a child of who typed it: the keeper leaves those alone."""
    if os.path.basename(argv[0]) != "runc":
        return False
    from pinnace.cli import runc

    return runc.wants_caller(list(argv[1:]))


def lesson(argv: Sequence[str]) -> str:
    """The module that a keeper imports, when it has time, for the next command like this one; empty for none."""
    is_remote = os.path.basename(argv[0]) == "skopeo" or not _REMOTE_VERBS.isdisjoint(argv)
    return "pinnace.cli.warm_registries" if is_remote else ""


def rehearse(is_wanted: Callable[[], bool]) -> Callable[[Sequence[str]], Sequence[int]]:
    """What a spare of the keeper's goes through until ``is_wanted``: the motions of a command, with no effect on anything.

    Gives a function that tells which descriptors the command with some words finds open: those of what was started
    for a ``runc`` that may come.
    """
    from pinnace.cli import rehearsal

    rehearsal.run(is_wanted)
    return rehearsal.kept


def _load(entry: str) -> Callable[[list[str]], int]:
    module, _, function = entry.partition(":")
    return cast("Callable[[list[str]], int]", getattr(importlib.import_module(module), function))


def _flush_quietly() -> None:
    """What was printed before an error belongs before the error's line."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


if __name__ == "__main__":
    # `python -m pinnace.cli.main NAME ARGUMENTS...`, as the launcher does when no keeper answers.
    sys.exit(main(sys.argv[1:]))
