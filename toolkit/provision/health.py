"""What works on a board, over SSH (``toolkit/agent/health.py`` says what that is)."""

from __future__ import annotations

from toolkit.agent.health import COMMAND, Health, read
from toolkit.connection.ssh import Connection
from toolkit.errors import HostFailed

__all__ = ["COMMAND", "Health", "look", "read"]

_SECONDS = 60.0


def look(connection: Connection) -> Health:
    """What works on the board behind ``connection``; raises :class:`HostUnreachable`."""
    found = connection.shell(COMMAND, sudo=True, timeout=_SECONDS)
    if found.status:
        said = found.stderr.decode(errors="replace").strip()
        raise HostFailed(f"{connection.target.name}: systemd does not tell of its units: {said}")
    return read(found.stdout.decode(errors="replace"))
