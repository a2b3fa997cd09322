"""The resources, each a small frozen class; ``toolkit/agent/kinds`` has the other half."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from toolkit.resources.base import Content, Resource


@dataclass(frozen=True, kw_only=True)
class File(Resource):
    """A file with these contents, mode and owner."""

    kind = "file"
    path: str
    source: bytes | Path
    mode: str = "0644"
    owner: str = "root"
    group: str = "root"

    @property
    def name(self) -> str:
        return self.path

    @property
    def content(self) -> Content:
        return Content(self.source)

    def wanted(self) -> dict[str, Any]:
        content = self.content
        return {
            "path": self.path,
            "mode": self.mode,
            "owner": self.owner,
            "group": self.group,
            "digest": content.digest,
            "size": content.size,
        }


@dataclass(frozen=True, kw_only=True)
class Directory(Resource):
    """A directory with this mode and owner; directories above it are made where missing."""

    kind = "directory"
    path: str
    mode: str = "0755"
    owner: str = "root"
    group: str = "root"

    @property
    def name(self) -> str:
        return self.path

    def wanted(self) -> dict[str, Any]:
        return {"path": self.path, "mode": self.mode, "owner": self.owner, "group": self.group}


@dataclass(frozen=True, kw_only=True)
class Link(Resource):
    """A symbolic link."""

    kind = "link"
    path: str
    target: str

    @property
    def name(self) -> str:
        return self.path

    def wanted(self) -> dict[str, Any]:
        return {"path": self.path, "target": self.target}


@dataclass(frozen=True, kw_only=True)
class Line(Resource):
    """One line in a file that is somebody else's, in place of the lines that ``match`` finds."""

    kind = "line"
    path: str
    line: str
    match: str

    @property
    def name(self) -> str:
        return f"{self.path} ({self.line})"

    def wanted(self) -> dict[str, Any]:
        return {"path": self.path, "line": self.line, "match": self.match}


@dataclass(frozen=True, kw_only=True)
class Package(Resource):
    """Debian packages, installed where missing."""

    kind = "package"
    names: tuple[str, ...]

    @property
    def name(self) -> str:
        return " ".join(self.names)

    def wanted(self) -> dict[str, Any]:
        return {"names": self.names}


@dataclass(frozen=True, kw_only=True)
class Unit(Resource):
    """A systemd unit, enabled and running unless said otherwise."""

    kind = "unit"
    unit: str
    enabled: bool = True
    running: bool = True

    @property
    def name(self) -> str:
        return self.unit

    def wanted(self) -> dict[str, Any]:
        return {"unit": self.unit, "enabled": self.enabled, "running": self.running}


@dataclass(frozen=True, kw_only=True)
class Sysctl(Resource):
    """A kernel parameter as it is now; a file in /etc/sysctl.d keeps it so."""

    kind = "sysctl"
    key: str
    value: str

    @property
    def name(self) -> str:
        return self.key

    def wanted(self) -> dict[str, Any]:
        return {"key": self.key, "value": self.value}


@dataclass(frozen=True, kw_only=True)
class Module(Resource):
    """A kernel module, loaded or built in."""

    kind = "module"
    module: str

    @property
    def name(self) -> str:
        return self.module

    def wanted(self) -> dict[str, Any]:
        return {"module": self.module}


@dataclass(frozen=True, kw_only=True)
class KernelCmdline(Resource):
    """Words on a Raspberry Pi's kernel command line that switch a cgroup controller on."""

    kind = "kernel_cmdline"
    parameters: tuple[str, ...]
    controller: str

    @property
    def name(self) -> str:
        return " ".join(self.parameters)

    def wanted(self) -> dict[str, Any]:
        return {"parameters": self.parameters, "controller": self.controller}


@dataclass(frozen=True, kw_only=True)
class Clock(Resource):
    """The board's clock within ``tolerance`` seconds of this machine's."""

    kind = "clock"
    tolerance: int

    @property
    def name(self) -> str:
        return "set"

    def wanted(self) -> dict[str, Any]:
        return {"now": time.time(), "tolerance": self.tolerance}


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
class Bundle(Resource):
    """A release of the runtime, unpacked and current."""

    kind = "bundle"
    release: str
    archive: Path
    unpacked: int
    base: str = "/opt/pinnace"

    @property
    def name(self) -> str:
        return self.release

    @property
    def content(self) -> Content:
        return Content(self.archive)

    def wanted(self) -> dict[str, Any]:
        content = self.content
        return {
            "release": self.release,
            "base": self.base,
            "digest": content.digest,
            "size": content.size,
            "unpacked": self.unpacked,
        }
