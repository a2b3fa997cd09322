"""The first moments on a board: its agent is started, and gets a Python to run on where there is none."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from toolkit import console
from toolkit.connection.channel import Process
from toolkit.connection.ssh import Connection
from toolkit.errors import HostFailed, NoPython
from toolkit.plan import ship

SILENCE_SECONDS = 1900.0
"""Longer than the longest thing the agent does without a word (installing packages)."""
_INSTALL = "apt-get install -q -y --no-install-recommends python3"
# The lists of a fresh image are empty or older than the mirror.
_SCRIPT = f"export DEBIAN_FRONTEND=noninteractive; {_INSTALL} || {{ apt-get update -q && {_INSTALL}; }}"  # fmt: skip


@contextmanager
def agent(connection: Connection, *, install: bool, prefix: str = "") -> Iterator[tuple[ship.Agent, Mapping[str, Any]]]:  # fmt: skip
    """A started agent and the facts of its board; with ``install`` Python is installed where it is missing.

    Raises :class:`HostFailed`; :class:`NoPython` when there is none and it is not to be installed.
    """
    try:
        process, started, facts = _start(connection)
    except NoPython:
        # Another interpreter than Debian's own was named: it is its owner's to provide.
        if not install or connection.target.python != "python3":
            raise
        with console.step(f"{prefix}install Python"):
            _install_python(connection)
        process, started, facts = _start(connection)
    with process:
        yield started, facts


def _start(connection: Connection) -> tuple[Process, ship.Agent, Mapping[str, Any]]:
    target = connection.target
    command = shlex.join(ship.command(target.python))
    process = connection.start(command, sudo=True, timeout=SILENCE_SECONDS)
    try:
        started = ship.Agent(target.name, process)
        return process, started, started.hello()
    except BaseException:
        process.__exit__()
        raise


def _install_python(connection: Connection) -> None:
    """The one thing that is done without the agent."""
    done = connection.run("sh", "-c", _SCRIPT, sudo=True, timeout=SILENCE_SECONDS)
    if done.status:
        lines = (done.stdout + done.stderr).decode("utf-8", "replace").strip().splitlines()
        said = lines[-1] if lines else "no output"
        raise HostFailed(f"{connection.target.name}: Python could not be installed: {said}", hint="on the board: apt-get install python3")  # fmt: skip
