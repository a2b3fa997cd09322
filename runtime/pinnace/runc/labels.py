"""AppArmor profiles and SELinux labels of a container: its process, its keyring, its mounts.

The kernel takes them from files in /proc/self/attr, for the next exec; they are written through the
host's /proc and only to procfs. What a configuration asks for and the kernel does not have is an error,
before anything is made: a container that seems confined is worse than none.
"""

from __future__ import annotations

import errno
import os
from typing import Any

from pinnace.errors import Error, FailedPrecondition, Unimplemented
from pinnace.linux import procfs

APPARMOR = "/sys/module/apparmor/parameters/enabled"
SELINUX = "/sys/fs/selinux/enforce"  # there while selinuxfs is mounted, whatever it says

# File systems that the kernel labels by itself (runc mounts them without a context, too).
_LABELLED_BY_KERNEL = ("proc", "sysfs", "mqueue", "cgroup", "cgroup2")


class Labels:
    """What one process of a container is labelled with."""

    __slots__ = ("_apparmor", "_selinux")

    def __init__(self, process: dict[str, Any], linux: dict[str, Any]) -> None:
        """Raises FailedPrecondition for what this kernel has not, Unimplemented for Intel RDT."""
        self._apparmor = str(process.get("apparmorProfile") or "")
        self._selinux = str(process.get("selinuxLabel") or "")
        if self._apparmor and not _has_apparmor():
            raise FailedPrecondition(
                f"process.apparmorProfile {self._apparmor}: AppArmor is not enabled on this machine",
                hint="kernel command line: apparmor=1 security=apparmor; or leave the profile out",
            )
        wanted = self._selinux or str(linux.get("mountLabel") or "")
        if wanted and not os.path.exists(SELINUX):
            raise FailedPrecondition(
                f"label {wanted}: SELinux is not enabled on this machine",
                hint="leave process.selinuxLabel and linux.mountLabel out",
            )
        if linux.get("intelRdt"):
            raise Unimplemented(
                "linux.intelRdt is not supported", hint="no board has it; leave it out"
            )

    def apply(self) -> None:
        """Have the calling process, and what it forks, labelled at the next exec.

        Raises Error naming the profile or label that the kernel refuses.
        """
        if self._apparmor:
            _write(("self/attr/apparmor/exec", "self/attr/exec"), f"exec {self._apparmor}")
        if self._selinux:
            _write(("self/attr/exec",), self._selinux)

    def begin_keyring(self) -> None:
        """Keys that are made from here on carry the container's label."""
        if self._selinux:
            _write(("self/attr/keycreate",), self._selinux)


def mount_data(kind: str, data: str, linux: dict[str, Any]) -> str:
    """A file system's options with ``linux.mountLabel``, where it has a label at all."""
    label = str(linux.get("mountLabel") or "")
    if not label or kind in _LABELLED_BY_KERNEL:
        return data
    return ",".join(part for part in (data, f'context="{label}"') if part)


def _has_apparmor() -> bool:
    try:
        with open(APPARMOR, encoding="ascii") as file:
            return file.read(1) == "Y"
    except OSError:
        return False


def _write(files: tuple[str, ...], text: str) -> None:
    """Write to the first of ``files`` that exists: with two security modules each has its own."""
    for path in files:
        try:
            procfs.write(path, text)
            return
        except FileNotFoundError as problem:
            # Also what AppArmor says to a profile that is not loaded; then no other file helps.
            refused: OSError = problem
            if os.path.exists(f"/proc/{path}"):
                break
        except OSError as problem:
            refused = problem
            break
    reason = os.strerror(refused.errno or errno.EIO)
    hint = "is the profile loaded?" if text.startswith("exec ") else ""
    raise Error(f"security label {text.removeprefix('exec ')}: {reason}", hint=hint)
