"""The ``cgroup`` mount inside a container, usually read-only.

It shows the container's own groups; version 2 without a cgroup namespace the whole hierarchy, as runc and crun do.
"""

from __future__ import annotations

import contextlib
import os
from typing import Any

from pinnace.linux import mount as mnt
from pinnace.linux.cgroups import Cgroup
from pinnace.linux.cgroups.v1 import LegacyCgroup
from pinnace.linux.kernel import Kernel
from pinnace.linux.mount import MountOptions
from pinnace.runc.paths import Root

_FLAGS = mnt.MS_NOSUID | mnt.MS_NODEV | mnt.MS_NOEXEC


def mount_cgroups(
    kernel: Kernel, root: Root, target: str, parsed: MountOptions, spec: dict[str, Any],
    cgroup: Cgroup | None,
) -> None:  # fmt: skip
    """Mount what the host has: one unified hierarchy, or a tmpfs with one directory for each."""
    if cgroup is None:
        return
    kinds = [item["type"] for item in (spec.get("linux") or {}).get("namespaces") or ()]
    own = "cgroup" in kinds
    if isinstance(cgroup, LegacyCgroup):
        _mount_legacy(kernel, root, target, parsed, cgroup, own)
    else:
        with root.directory(target) as place:
            try:
                kernel.mount("cgroup", place, "cgroup2", parsed.flags, parsed.data)
            except PermissionError:
                if own:
                    raise
                # A user namespace may not show the whole of a hierarchy that it does not own.
                _bind(kernel, root, target, place, cgroup.directories()[0], parsed.flags)


def _mount_legacy(
    kernel: Kernel, root: Root, target: str, parsed: MountOptions, cgroup: LegacyCgroup, own: bool
) -> None:
    with root.directory(target) as place:
        kernel.mount("tmpfs", place, "tmpfs", _FLAGS, "mode=755")
    together: dict[str, list[str]] = {}
    for controller, mounted in cgroup.hierarchies.items():
        together.setdefault(mounted, []).append(controller)
    for mounted, controllers in together.items():
        name = os.path.basename(mounted)
        inner = f"{target}/{name}"
        with root.directory(inner) as place:
            if own:
                kernel.mount("cgroup", place, "cgroup", parsed.flags, ",".join(controllers))
            else:
                _bind(kernel, root, inner, place, mounted + cgroup.path, parsed.flags)
        _link_controllers(root, target, name, controllers)
    if cgroup.unified_root:
        with contextlib.suppress(OSError), root.directory(f"{target}/unified") as place:
            if own:
                kernel.mount("cgroup2", place, "cgroup2", parsed.flags)
            else:
                _bind(kernel, root, f"{target}/unified", place, cgroup.unified_root + cgroup.path, parsed.flags)  # fmt: skip
    if parsed.flags & mnt.MS_RDONLY:
        with root.existing(target) as place:
            kernel.mount("", place, "", _FLAGS | mnt.MS_RDONLY | mnt.MS_BIND | mnt.MS_REMOUNT)


def _link_controllers(root: Root, target: str, name: str, controllers: list[str]) -> None:
    """cpu -> cpu,cpuacct: programs look for each controller by its own name."""
    for controller in controllers:
        if controller != name and "=" not in controller:
            with (
                root.parent(f"{target}/{controller}") as (directory, link),
                contextlib.suppress(FileExistsError),
            ):
                os.symlink(name, link, dir_fd=directory)


def _bind(kernel: Kernel, root: Root, target: str, place: str, source: str, flags: int) -> None:
    kernel.mount(source, place, "", mnt.MS_BIND | mnt.MS_REC)
    with root.existing(target) as covered:
        kernel.mount("", covered, "", flags | mnt.MS_BIND | mnt.MS_REMOUNT)
