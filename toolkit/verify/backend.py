"""testinfra over our own connection: strict host keys, jump hosts and sudo as everywhere else."""

from __future__ import annotations

from typing import Any

from testinfra.backend.base import BaseBackend
from testinfra.host import Host

from toolkit.connection.ssh import Connection

_SECONDS = 300.0


class Backend(BaseBackend):  # type: ignore[misc]
    """Every command runs as root, like what is verified."""

    NAME = "pinnace"

    def __init__(self, connection: Connection) -> None:
        super().__init__(connection.target.name)
        self.connection = connection

    def run(self, command: str, *args: str, **_: Any) -> Any:
        text = self.quote(command, *args)
        done = self.connection.shell(text, sudo=True, timeout=_SECONDS)
        return self.result(done.status, self.encode(text), done.stdout, done.stderr)


def host(connection: Connection) -> Any:
    """A testinfra host whose commands run on the board."""
    return Host(Backend(connection))
