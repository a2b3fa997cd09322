"""How the verbs of ``ctr shim`` find a shim and which protocol it speaks."""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING

from pinnace.api.schema import shims
from pinnace.api.ttrpcclient import TtrpcClient
from pinnace.cli.client import default_address
from pinnace.cli.options import integer
from pinnace.errors import InvalidArgument, Unavailable

if TYPE_CHECKING:
    from pinnace.cli.options import Call

SOCKETS = "/run/containerd/s"
API_VERSION = integer("api-version", default=3, about="version of the shim's protocol: 2 or 3")


def container_of(call: Call) -> str:
    if not call.text("id"):
        raise InvalidArgument('required flag "id" not set', hint="ctr shim --id CONTAINER ...")
    return call.text("id")


def address_of(call: Call) -> str:
    """The socket that was named, or the one whose name containerd makes of daemon, namespace and id."""
    if call.text("shim-address"):
        return call.text("shim-address")
    daemon = call.text("address") or default_address()
    path = "/".join((daemon, call.text("namespace"), container_of(call)))
    return f"{SOCKETS}/{sha256(path.encode()).hexdigest()}"


def connect(call: Call) -> TtrpcClient:
    """Raises :class:`Unavailable`: no shim there, or one of this daemon's, which speaks otherwise."""
    address = address_of(call)
    try:
        return TtrpcClient(address)
    except Unavailable as problem:
        raise Unavailable(
            problem.message,
            hint="a shim of containerd's is asked here; pinnaced's are the keeper's",
        ) from None


def protocol(call: Call) -> shims.Task:
    version = call.integer("api-version") if call.has("api-version") else 2
    if version not in (2, 3):
        raise InvalidArgument(f"--api-version {version}: 2 or 3 is expected")
    return shims.service(version)
