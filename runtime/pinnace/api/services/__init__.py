"""containerd's gRPC services over the daemon. Each module is loaded by its first call."""

from __future__ import annotations

from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pinnace.api.server import Loader
    from pinnace.daemon.daemon import Daemon

NAMES = {
    "containerd.services.containers.v1.Containers": "containers",
    "containerd.services.content.v1.Content": "content",
    "containerd.services.diff.v1.Diff": "diff",
    "containerd.services.events.v1.Events": "events",
    "containerd.services.images.v1.Images": "images",
    "containerd.services.introspection.v1.Introspection": "introspection",
    "containerd.services.leases.v1.Leases": "leases",
    "containerd.services.namespaces.v1.Namespaces": "namespaces",
    "containerd.services.sandbox.v1.Controller": "sandboxcontroller",
    "containerd.services.sandbox.v1.Store": "sandboxes",
    "containerd.services.snapshots.v1.Snapshots": "snapshots",
    "containerd.services.streaming.v1.Streaming": "streaming",
    "containerd.services.tasks.v1.Tasks": "tasks",
    "containerd.services.transfer.v1.Transfer": "transfer",
    "containerd.services.version.v1.Version": "version",
    "grpc.health.v1.Health": "health",
}
"""Full name of each service, and its module here."""


def table(daemon: Daemon) -> dict[str, Loader]:
    """All services, for ``Server``."""
    return {name: partial(_load, module, daemon) for name, module in NAMES.items()}


def shims_table(daemon: Daemon) -> dict[str, Loader]:
    """What shims may call, for ``TtrpcServer``."""
    name = "containerd.services.events.ttrpc.v1.Events"
    return {name: partial(_load, "shimevents", daemon)}


def _load(module: str, daemon: Daemon) -> tuple[type, object]:
    found = import_module(f"{__name__}.{module}")
    return found.SCHEMA, found.Service(daemon)
