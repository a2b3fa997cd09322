"""Every board: a clock that is right, a name, the packages that the runtime calls."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from roles.context import Board
from toolkit.agent.signed import REVOKED, SIGNERS
from toolkit.resources import Clock, File, Hostname, Package, Resource

NEEDED = ("ca-certificates", "iproute2", "libseccomp2", "libzstd1")


def recipe(board: Board) -> Iterator[Resource]:
    # First, because with a clock years behind no certificate is valid.
    yield Clock(tolerance=board.settings.clock_tolerance)
    if board.settings.hostname:
        yield Hostname(hostname=board.settings.hostname)
    yield Package(names=(*NEEDED, *board.settings.packages))
    # Whose bundles and releases the board takes on.
    for path, source in (
        (SIGNERS, board.settings.allowed_signers),
        (REVOKED, board.settings.revoked_keys),
    ):
        if source:
            yield File(path=path, source=Path(source))
