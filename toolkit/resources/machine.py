"""Packages, units, the kernel's settings and the board itself."""

from __future__ import annotations

import tarfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from toolkit.errors import UsageError
from toolkit.lab.deb import control
from toolkit.resources.base import Content, Handler, Resource


@dataclass(frozen=True, kw_only=True)
class Package(Resource):
    """Debian packages by name, installed where missing, and ``debs``: package files of this machine.

    A file of another version than what is installed replaces it.
    """

    kind = "package"
    names: tuple[str, ...] = ()
    debs: tuple[Path, ...] = ()

    @property
    def name(self) -> str:
        return " ".join([*self.names, *(deb["package"] for deb in self._debs)])

    @cached_property
    def _debs(self) -> list[dict[str, Any]]:
        return [_deb(path) for path in self.debs]

    @property
    def contents(self) -> tuple[Content, ...]:
        return tuple(map(Content, self.debs))

    def wanted(self) -> dict[str, Any]:
        return {"names": self.names, "debs": self._debs}


def _deb(path: Path) -> dict[str, Any]:
    """What a package file says about itself."""
    try:
        fields = control(path)
        named = {"package": fields["Package"], "version": fields["Version"]}
    except (KeyError, OSError, ValueError, tarfile.TarError) as problem:
        raise UsageError(f"{path} is not a Debian package: {problem}") from problem
    content = Content(path)
    return {**named, "digest": content.digest, "size": content.size}


@dataclass(frozen=True, kw_only=True)
class Unit(Resource):
    """A systemd unit, enabled and running unless said otherwise.

    ``source`` is the text of the unit's file and ``dropins`` name to text of files that add to it, where
    they are to be written. ``systemd-analyze verify`` has to find them good on the board first; a unit that
    runs is restarted after its files changed.
    """

    kind = "unit"
    unit: str
    enabled: bool = True
    running: bool = True
    source: str = ""
    dropins: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in (self.unit, *self.dropins):
            if "/" in name or name.startswith("."):
                raise UsageError(f"Unit {self.unit}: {name!r} is not a file name")
        for name in self.dropins:
            if not name.endswith(".conf"):
                raise UsageError(f"Unit {self.unit}: systemd reads drop-ins only when they end in .conf, not {name}")  # fmt: skip

    @property
    def name(self) -> str:
        return self.unit

    @property
    def files(self) -> dict[str, str]:
        """Path below /etc/systemd/system to text."""
        own = {self.unit: self.source} if self.source else {}
        return own | {f"{self.unit}.d/{name}": text for name, text in self.dropins.items()}

    @property
    def handlers(self) -> tuple[Handler, ...]:
        restart = (Handler.restart(self.unit),) if self.running and self.files else ()
        return (*self.notify, *restart)

    def wanted(self) -> dict[str, Any]:
        return {
            "unit": self.unit,
            "enabled": self.enabled,
            "running": self.running,
            "files": self.files,
        }


@dataclass(frozen=True, kw_only=True)
class Sysctl(Resource):
    """A kernel parameter, now and at the next boot.

    ``path``: the file that keeps it; empty where another resource writes that.
    """

    kind = "sysctl"
    key: str
    value: str
    path: str = "/etc/sysctl.d/60-pinnace.conf"

    @property
    def name(self) -> str:
        return self.key

    def wanted(self) -> dict[str, Any]:
        return {"key": self.key, "value": self.value, "path": self.path}


@dataclass(frozen=True, kw_only=True)
class KernelModule(Resource):
    """A kernel module, loaded or built in; with ``boot`` a file of modules-load.d(5) loads it at boot."""

    kind = "kernel_module"
    module: str
    boot: bool = True

    @property
    def name(self) -> str:
        return self.module

    def wanted(self) -> dict[str, Any]:
        return {"module": self.module, "boot": self.boot}


@dataclass(frozen=True, kw_only=True)
class KernelCmdline(Resource):
    """Words on a Raspberry Pi's kernel command line; they count after a reboot (``notify=(REBOOT,)``).

    ``absent``: words that are not to be there, one that ends in ``=`` whatever follows. ``controller``:
    where the kernel has this cgroup controller on already, nothing is changed.
    """

    kind = "kernel_cmdline"
    parameters: tuple[str, ...] = ()
    absent: tuple[str, ...] = ()
    controller: str = ""

    def __post_init__(self) -> None:
        for word in (*self.parameters, *self.absent):
            if not word or word.split() != [word]:
                raise UsageError(f"KernelCmdline: {word!r} is not one word")

    @property
    def name(self) -> str:
        return " ".join((*self.parameters, *(f"-{word}" for word in self.absent)))

    def wanted(self) -> dict[str, Any]:
        return {
            "parameters": self.parameters,
            "absent": self.absent,
            "controller": self.controller,
        }


@dataclass(frozen=True, kw_only=True)
class Reboot(Resource):
    """A reboot here, before what follows, if something before it notified ``REBOOT`` or a file of ``when`` is there."""

    kind = "reboot"
    when: tuple[str, ...] = ("/run/reboot-required",)

    @property
    def name(self) -> str:
        return "when needed"

    def wanted(self) -> dict[str, Any]:
        return {"when": self.when}


@dataclass(frozen=True, kw_only=True)
class Hostname(Resource):
    """The board's own name."""

    kind = "hostname"
    hostname: str

    @property
    def name(self) -> str:
        return self.hostname

    def wanted(self) -> dict[str, Any]:
        return {"hostname": self.hostname}


@dataclass(frozen=True, kw_only=True)
class Timezone(Resource):
    """The board's time zone, a name of the tz database (``Europe/Berlin``)."""

    kind = "timezone"
    zone: str

    def __post_init__(self) -> None:
        if self.zone.startswith("/") or ".." in self.zone:
            raise UsageError(f"Timezone: {self.zone!r} is not a name of the tz database")

    @property
    def name(self) -> str:
        return self.zone

    def wanted(self) -> dict[str, Any]:
        return {"zone": self.zone}


@dataclass(frozen=True, kw_only=True)
class Clock(Resource):
    """The board's clock within ``tolerance`` seconds of this machine's."""

    kind = "clock"
    tolerance: int = 60

    @property
    def name(self) -> str:
        return "set"

    def wanted(self) -> dict[str, Any]:
        return {"now": time.time(), "tolerance": self.tolerance}
