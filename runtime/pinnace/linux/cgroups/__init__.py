"""Control groups of a container, version 1, version 2 and both together, behind one interface.

``find(path)`` decides from what is mounted (mountinfo), never from /proc/cgroups, which misleads
on kernels from 6.12 on. A limit that the kernel cannot enforce is an error naming the controller:
many Raspberry Pi kernels boot with the memory controller off.
"""

from __future__ import annotations

from pinnace.errors import FailedPrecondition
from pinnace.linux import mountinfo
from pinnace.linux.cgroups import base
from pinnace.linux.cgroups.base import Cgroup
from pinnace.linux.cgroups.entry import Entry
from pinnace.linux.cgroups.v1 import LegacyCgroup
from pinnace.linux.cgroups.v2 import UnifiedCgroup

__all__ = ["Cgroup", "Entry", "beside", "find", "normalize"]


def find(
    path: str, mounts: list[mountinfo.MountPoint] | None = None
) -> LegacyCgroup | UnifiedCgroup:
    """The control group called ``path`` (absolute below each hierarchy); it need not exist yet."""
    path = normalize(path)
    points = mountinfo.read_types("cgroup", "cgroup2") if mounts is None else mounts
    version1: dict[str, str] = {}
    version2 = ""
    for point in points:
        if point.type == "cgroup2":
            version2 = version2 or point.target
        elif point.type == "cgroup":
            for option in point.super_options:
                if option not in ("rw", "ro", "clone_children", "xattr", "none"):
                    version1.setdefault(option, point.target)
    if version1:
        return LegacyCgroup(path, version1, version2)
    return UnifiedCgroup(path, version2 or "/sys/fs/cgroup")


def beside(group: Cgroup, pid: int) -> Cgroup:
    """The group that process ``pid`` is in now, in the unified hierarchy of ``group``."""
    for line in base.read(f"/proc/{pid}", "cgroup").splitlines():
        if line.startswith("0::"):
            return UnifiedCgroup(line.removeprefix("0::").strip(), group.unified_root)
    raise FailedPrecondition(f"process {pid} is in no version 2 control group")


def normalize(path: str) -> str:
    """An OCI ``cgroupsPath`` as a path below the hierarchies' roots, without ``..``.

    systemd's ``slice:prefix:name`` form becomes the path systemd would give that scope.
    """
    parts = path.split(":")
    if len(parts) == 3 and parts[0].endswith(".slice"):
        path = f"{_expand_slice(parts[0])}/{parts[1]}-{parts[2]}.scope"
    kept: list[str] = []
    for part in path.split("/"):
        if part == "..":
            kept = kept[:-1]
        elif part not in ("", "."):
            kept.append(part)
    return "/" + "/".join(kept)


def _expand_slice(name: str) -> str:
    """``a-b.slice`` lives in ``a.slice/a-b.slice`` (systemd.slice(5))."""
    words = name.removesuffix(".slice").split("-")
    if name == "-.slice":
        return ""
    return "/".join("-".join(words[: end + 1]) + ".slice" for end in range(len(words)))
