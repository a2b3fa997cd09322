"""The laptop's half of a confirmed change: come back over a new connection, see that all is well, say so.

A board that is not told so in time puts back what was changed (``toolkit/agent/confirm.py``).
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable

from toolkit.connection.ssh import Connection, wait_until_reachable
from toolkit.errors import HostFailed, HostUnreachable, PinnaceError
from toolkit.provision import bootstrap
from toolkit.provision.health import Health, look
from toolkit.provision.journal import by

SECONDS = 60.0
"""How long a board waits to be told, unless ``--confirm`` says otherwise."""
STEADY_SECONDS = 3.0
"""How long the board must be healthy without a break: what starts may end at once."""
_INTERVAL = 1.0

Connect = Callable[[], Connection]
"""Makes a connection that is not open yet."""


def new_run() -> dict[str, str]:
    """What a board remembers of a run: an id, and who did it."""
    return {"id": uuid.uuid4().hex, "by": by()}


def confirm(name: str, connect: Connect, run: dict[str, str], before: Health, seconds: float) -> None:  # fmt: skip
    """Confirm ``run`` over a new connection once the board is healthy.

    Raises :class:`HostFailed`, what was changed being put back, when that is not so within ``seconds``.
    """
    deadline = time.monotonic() + seconds * 0.9  # the board has to be told in time
    try:
        connection = wait_until_reachable(connect, seconds=seconds * 0.9)
    except HostUnreachable as problem:
        raise HostFailed(f"{name}: not reachable any more after the change: {problem.message}; the board puts back what was changed after {seconds:.0f} s", hint="look at what the plan changes of network, SSH and firewall") from problem  # fmt: skip
    with connection:
        wrong = _healthy(connection, before, deadline)
        with bootstrap.agent(connection, install=False) as (board, _):
            if not wrong:
                board.confirm(run)
                return
            try:
                board.revert(run, of=run["id"])
            except HostFailed:
                # Its watcher was first, and is at it.
                raise HostFailed(f"{name}: not well after the change: {wrong}; the board puts back what was changed") from None  # fmt: skip
    raise HostFailed(f"{name}: not well after the change: {wrong}; what was changed is put back")


def _healthy(connection: Connection, before: Health, deadline: float) -> str:
    """Wait until the board was healthy for a moment; why it is not in the end, or nothing."""
    since: float | None = None
    while True:
        try:
            problem = before.problem_after(look(connection))
        except PinnaceError as found:
            problem = found.message
        now = time.monotonic()
        since = None if problem else (since or now)
        if since is not None and now - since >= STEADY_SECONDS:
            return ""
        if now + _INTERVAL > deadline:
            return problem or "its units started only a moment ago"
        time.sleep(_INTERVAL)
