"""File systems and swap."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from toolkit.errors import UsageError
from toolkit.resources.base import Resource


@dataclass(frozen=True, kw_only=True)
class Mount(Resource):
    """A file system mounted now and, by /etc/fstab, at boot.

    ``source``: a device, ``UUID=...``, ``server:/path``, or a word such as ``tmpfs``. ``check_order`` is
    fstab's last field. Not ``present``: unmounted, and not in /etc/fstab.
    """

    kind = "mount"
    path: str
    source: str
    fstype: str = "auto"
    options: tuple[str, ...] = ("defaults", "nofail")
    check_order: int = 0
    present: bool = True

    def __post_init__(self) -> None:
        if not self.path.startswith("/") or self.path == "/":
            raise UsageError(f"Mount: {self.path!r} is not a path to mount at")

    @property
    def name(self) -> str:
        return self.path

    def wanted(self) -> dict[str, Any]:
        return {
            "path": self.path.rstrip("/"),
            "source": self.source,
            "fstype": self.fstype,
            "options": self.options,
            "check_order": self.check_order,
            "present": self.present,
        }


@dataclass(frozen=True, kw_only=True)
class Swap(Resource):
    """A swap file of ``size`` bytes, used now and at boot; none with 0."""

    kind = "swap"
    size: int
    path: str = "/var/swap"

    def __post_init__(self) -> None:
        if self.size and (self.size < 1 << 20 or self.size % 4096):
            raise UsageError(f"Swap: {self.size} bytes are not whole pages, or less than 1 MiB")

    @property
    def name(self) -> str:
        return self.path

    def wanted(self) -> dict[str, Any]:
        return {"path": self.path, "size": self.size}
