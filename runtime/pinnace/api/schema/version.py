"""The Version service."""

from __future__ import annotations

from pinnace.api import codec as pb
from pinnace.api.method import Method
from pinnace.api.schema.wellknown import Empty

PACKAGE = "containerd.services.version.v1"


class VersionResponse(pb.Message):
    version = pb.string(1)
    revision = pb.string(2)


_SERVICE = "containerd.services.version.v1.Version"


class Version:
    """The methods of ``containerd.services.version.v1.Version``."""

    version = Method(_SERVICE, "Version", Empty, VersionResponse)
