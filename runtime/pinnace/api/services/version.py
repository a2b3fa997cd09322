"""The Version service. Clients compare the version with their own and only warn when it differs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pinnace.api.schema import version as wire
from pinnace.version import CONTAINERD_VERSION, REVISION

if TYPE_CHECKING:
    from pinnace.api.schema.wellknown import Empty
    from pinnace.api.server import Context
    from pinnace.daemon.daemon import Daemon

SCHEMA = wire.Version


class Service:
    def __init__(self, daemon: Daemon) -> None:
        pass

    def version(self, request: Empty, context: Context) -> wire.VersionResponse:
        return wire.VersionResponse(version=CONTAINERD_VERSION, revision=REVISION)
