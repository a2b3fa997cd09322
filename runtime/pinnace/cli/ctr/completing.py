"""Names that may stand as an argument: what the daemon has, when it answers at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pinnace.cli.client import Client
from pinnace.errors import Error

if TYPE_CHECKING:
    from collections.abc import Callable

    from pinnace.cli.options import Call

_SECONDS = 1.0
"""Nobody waits longer for a completion."""

_KINDS = {
    "images": ("ctr run", "ctr containers create", "ctr install", "ctr images"),
    "containers": ("ctr containers", "ctr tasks"),
    "namespaces": ("ctr namespaces",),
    "leases": ("ctr leases",),
    "snapshots": ("ctr snapshots",),
}
_NONE = (
    "create", "import", "pull", "prune", "ingest", "list", "check", "unpack", "tree", "unmount", "build-erofs-cache",
)  # fmt: skip
"""Verbs whose first argument is not a name that the daemon has, or is any filter."""
_MANY = ("delete", "remove")


def arguments(call: Call) -> list[str]:
    """What there is for the next argument of ``call``; nothing when that is no name or nobody answers."""
    kind = _kind(call)
    if not kind:
        return []
    try:
        client = Client(
            call.text("address") or _default(), call.text("namespace"),
            timeout=_SECONDS, connect_timeout=_SECONDS,
        )  # fmt: skip
        with client:
            return sorted(set(_NAMES[kind](client, call)) - set(call.args))
    except Error:
        return []


def _kind(call: Call) -> str:
    verb = call.command.name
    if call.args and verb not in _MANY:
        return ""
    for kind, places in _KINDS.items():
        for place in places:
            if call.path == place or (call.path.startswith(f"{place} ") and (verb not in _NONE)):
                return kind
    return ""


def _default() -> str:
    from pinnace.cli.client import default_address

    return default_address()


def _images(client: Client, _: Call) -> list[str]:
    from pinnace.api.schema.images import Images, ListImagesRequest

    return [each.name for each in client.call(Images.list, ListImagesRequest()).images]


def _containers(client: Client, _: Call) -> list[str]:
    from pinnace.api.schema.containers import Containers, ListContainersRequest

    return [each.id for each in client.call(Containers.list, ListContainersRequest()).containers]


def _namespaces(client: Client, _: Call) -> list[str]:
    from pinnace.api.schema.namespaces import ListNamespacesRequest, Namespaces

    found = client.call(Namespaces.list, ListNamespacesRequest()).namespaces
    return [each.name for each in found]


def _leases(client: Client, _: Call) -> list[str]:
    from pinnace.api.schema.leases import Leases, ListRequest

    return [each.id for each in client.call(Leases.list, ListRequest()).leases]


def _snapshots(client: Client, call: Call) -> list[str]:
    from pinnace.api.schema.snapshots import ListSnapshotsRequest, Snapshots

    request = ListSnapshotsRequest(snapshotter=call.text("snapshotter"))
    return [each.name for answer in client.read(Snapshots.list, request) for each in answer.info]


_NAMES: dict[str, Callable[[Client, Call], list[str]]] = {
    "images": _images,
    "containers": _containers,
    "namespaces": _namespaces,
    "leases": _leases,
    "snapshots": _snapshots,
}
