"""The plugins table: what containerd's clients ask to learn what a daemon can do."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from pinnace.spec import platform

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from pinnace.spec.platform import Platform


class Plugin(NamedTuple):
    """A part of the daemon under the name that containerd gives it."""

    type: str
    id: str
    platforms: tuple[Platform, ...] = ()
    capabilities: tuple[str, ...] = ()
    exports: Mapping[str, str] = {}
    requires: tuple[str, ...] = ()
    problem: str = ""


_WITH_PLATFORM = {
    "io.containerd.differ.v1": ("walking",),
    "io.containerd.runtime.v2": ("task",),
    "io.containerd.transfer.v1": ("local",),
}
_PLAIN = {
    "io.containerd.content.v1": ("content",),
    "io.containerd.metadata.v1": ("bolt",),
    "io.containerd.gc.v1": ("scheduler",),
    "io.containerd.event.v1": ("exchange",),
    "io.containerd.lease.v1": ("manager",),
    "io.containerd.monitor.container.v1": ("restart",),
    "io.containerd.sandbox.controller.v1": ("shim",),
    "io.containerd.sandbox.store.v1": ("local",),
    "io.containerd.streaming.v1": ("manager",),
}
_GRPC = (
    "containers", "content", "diff", "events", "healthcheck", "images", "introspection", "leases",
    "namespaces", "sandbox-controllers", "sandboxes", "snapshots", "streaming", "tasks", "transfer", "version",
)  # fmt: skip


def table(snapshotters: Iterable[tuple[str, str]]) -> list[Plugin]:
    """All plugins; ``snapshotters`` are names with their root directories."""
    here = (platform.default(),)
    found = [Plugin(kind, name) for kind, names in _PLAIN.items() for name in names]
    found += [Plugin(kind, name, here) for kind, names in _WITH_PLATFORM.items() for name in names]
    found += [
        Plugin("io.containerd.snapshotter.v1", name, here, exports={"root": root})
        for name, root in snapshotters
    ]
    found += [Plugin("io.containerd.grpc.v1", name) for name in _GRPC]
    return sorted(found, key=lambda plugin: (plugin.type, plugin.id))
