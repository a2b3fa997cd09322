"""Device files of a container: the default ones, those of the configuration, and the links.

The defaults are config-linux.md's "Default Devices". Where device files can't be made (a user
namespace), the host's are bind mounted.
"""

from __future__ import annotations

import contextlib
import os
import stat
from typing import Any

from pinnace.linux import mount as mnt
from pinnace.linux.kernel import Kernel
from pinnace.runc.paths import Root

_NULL = os.makedev(1, 3)
_DEFAULT = (
    ("/dev/null", 1, 3), ("/dev/zero", 1, 5), ("/dev/full", 1, 7), ("/dev/random", 1, 8),
    ("/dev/urandom", 1, 9), ("/dev/tty", 5, 0),
)  # fmt: skip
_LINKS = (
    ("/proc/self/fd", "/dev/fd"), ("/proc/self/fd/0", "/dev/stdin"),
    ("/proc/self/fd/1", "/dev/stdout"), ("/proc/self/fd/2", "/dev/stderr"),
    ("/proc/kcore", "/dev/core"),
)  # fmt: skip
PTMX = "/dev/ptmx"
KINDS = {"c": stat.S_IFCHR, "u": stat.S_IFCHR, "b": stat.S_IFBLK, "p": stat.S_IFIFO}

# What every container may use whatever its rules say: making device files (mknod is a capability
# of its own), the default devices, terminals (runc's AllowedDevices).
ALLOWED: list[dict[str, Any]] = [
    {"allow": True, "type": "c", "access": "m"},
    {"allow": True, "type": "b", "access": "m"},
    *(
        {"allow": True, "type": "c", "major": major, "minor": minor, "access": "rwm"}
        for major, minor in (
            (1, 3),
            (1, 8),
            (1, 7),
            (5, 0),
            (1, 5),
            (1, 9),
            (136, -1),
            (5, 2),
        )
    ),
]


def is_null(fd: int) -> bool:
    """Whether the null device is behind the descriptor."""
    found = os.fstat(fd)
    return stat.S_ISCHR(found.st_mode) and found.st_rdev == _NULL


def make_all(kernel: Kernel, root: Root, spec: dict[str, Any]) -> None:
    """Make devices and links; what the image or a mount has in a place already stays."""
    for item in wanted((spec.get("linux") or {}).get("devices") or []):
        _make(kernel, root, item)
    for target, path in links():
        _link(root, target, path)


def wanted(configured: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The device files to be made: the default ones, and those of the configuration in place of them or beside them."""
    found = {item["path"]: item for item in (_default(entry) for entry in _DEFAULT)}
    found.update({item["path"]: item for item in configured})
    # That one is always the link into the container's own devpts.
    return [item for item in found.values() if os.path.normpath(item["path"]) != PTMX]


def links() -> list[tuple[str, str]]:
    """The links to be made, as target and path; the one of ``PTMX`` replaces what is there."""
    has_core = os.path.exists("/proc/kcore")
    usual = [(target, path) for target, path in _LINKS if path != "/dev/core" or has_core]
    return [*usual, ("pts/ptmx", PTMX)]


def _default(entry: tuple[str, int, int]) -> dict[str, Any]:
    path, major, minor = entry
    return {"path": path, "type": "c", "major": major, "minor": minor, "fileMode": 0o666}


def _make(kernel: Kernel, root: Root, item: dict[str, Any]) -> None:
    device = os.makedev(item.get("major") or 0, item.get("minor") or 0)
    mode = mode_of(item)
    with root.parent(item["path"]) as (directory, name):
        try:
            kernel.mknod(name, KINDS[item["type"]] | stat.S_IMODE(mode), device, directory)
        except FileExistsError:
            return
        except PermissionError:
            _bind(kernel, root, item["path"])
            return
        with contextlib.suppress(FileNotFoundError):
            os.chown(name, item.get("uid") or 0, item.get("gid") or 0, dir_fd=directory, follow_symlinks=False)  # fmt: skip


def mode_of(item: dict[str, Any]) -> int:
    """The permissions of a device file."""
    mode = item.get("fileMode")
    return 0o666 if mode is None else int(mode)


def _bind(kernel: Kernel, root: Root, path: str) -> None:
    with root.file(path) as place:
        kernel.mount(path, place, "", mnt.MS_BIND)


def _link(root: Root, target: str, path: str) -> None:
    with root.parent(path) as (directory, name):
        if path == PTMX:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(name, dir_fd=directory)
            os.symlink(target, name, dir_fd=directory)
            return
        with contextlib.suppress(FileExistsError):
            os.symlink(target, name, dir_fd=directory)
