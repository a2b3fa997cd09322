"""Programs that get a secret on their standard input: never an argument, a variable or a file."""

from __future__ import annotations

import os
import signal
import time

from toolkit.agent.errors import AgentError
from toolkit.agent.system import ENVIRONMENT, read_until

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

_SECONDS = 60.0


def feed(argv: Sequence[str], data: bytes) -> bytes:
    """Run a program that must succeed on ``data``; its standard output.

    Raises :class:`AgentError` without what it said, which may be what it was given.
    """
    reading, writing = os.pipe2(os.O_CLOEXEC)
    # Memory that looks like a file: a pipe would fill up when the program does not read.
    given = os.memfd_create("given", os.MFD_CLOEXEC)
    os.write(given, data)
    os.lseek(given, 0, os.SEEK_SET)
    actions = [
        (os.POSIX_SPAWN_DUP2, given, 0),
        (os.POSIX_SPAWN_DUP2, writing, 1),
        (os.POSIX_SPAWN_OPEN, 2, "/dev/null", os.O_WRONLY, 0),
    ]
    try:
        pid = os.posix_spawnp(argv[0], list(argv), ENVIRONMENT, file_actions=actions, setpgroup=0)
    except FileNotFoundError:
        os.close(reading)
        raise AgentError(f"{argv[0]} is not installed") from None
    finally:
        os.close(writing)
        os.close(given)
    try:
        output = read_until(reading, time.monotonic() + _SECONDS)
    finally:
        os.close(reading)
    if output is None:
        os.killpg(pid, signal.SIGKILL)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if output is None or status:
        raise AgentError(f"{' '.join(argv)} failed with status {status}")
    return output
