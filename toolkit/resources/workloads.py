"""What runs on a board: releases of the runtime, images in its store, containers started at boot.

A container is a systemd unit around ``ctr run``: systemd starts it at boot after the daemon, restarts it
as its policy says, and has its output in the journal.
"""

from __future__ import annotations

import json
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from toolkit.errors import UsageError
from toolkit.resources.base import Content, Resource
from toolkit.resources.machine import Unit
from toolkit.resources.templates import render

_RESTARTS = {"no": "no", "always": "always", "on-failure": "on-failure", "unless-stopped": "always"}


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
    def contents(self) -> tuple[Content, ...]:
        return (Content(self.archive),)

    def wanted(self) -> dict[str, Any]:
        [content] = self.contents
        return {
            "release": self.release,
            "base": self.base,
            "digest": content.digest,
            "size": content.size,
            "unpacked": self.unpacked,
        }


@dataclass(frozen=True, kw_only=True)
class Image(Resource):
    """An image in the board's store, from an OCI ``archive`` of this machine or, without one, pulled.

    With an archive, or with ``target`` (the digest that the reference is to stand for), an image of the
    same name but other content is replaced.
    """

    kind = "image"
    reference: str
    archive: Path | None = None
    target: str = ""
    namespace: str = "default"

    @property
    def name(self) -> str:
        return self.reference

    @property
    def contents(self) -> tuple[Content, ...]:
        return (Content(self.archive),) if self.archive else ()

    def wanted(self) -> dict[str, Any]:
        content = next(iter(self.contents), None)
        return {
            "reference": self.reference,
            "namespace": self.namespace,
            "target": self.target
            or (archived(self.archive, self.reference) if self.archive else ""),
            "digest": content.digest if content else "",
            "size": content.size if content else 0,
        }


_NAMES = ("io.containerd.image.name", "org.opencontainers.image.ref.name")
"""Annotations that name an image in an archive's index.json: containerd's, and the image specification's."""


def archived(archive: Path, reference: str) -> str:
    """The digest that ``reference`` has in an OCI archive; empty when its index does not say."""
    try:
        with tarfile.open(archive) as tar:
            file = tar.extractfile("index.json")
            index = json.load(file) if file else {}
    except KeyError:
        return ""  # what an older `docker save` wrote
    except (OSError, ValueError, tarfile.TarError) as problem:
        raise UsageError(f"{archive} is not an image archive: {problem}") from problem
    manifests = index.get("manifests", [])
    named = [
        one
        for one in manifests
        if any(one.get("annotations", {}).get(name) == reference for name in _NAMES)
    ]
    return str(named[0]["digest"]) if len(named) == 1 else ""


@dataclass(frozen=True, kw_only=True)
class Container(Resource):
    """A container that runs from boot on, as the unit ``container-NAME.service``.

    Its processes get a new network namespace without links unless ``network`` is ``host``. ``mounts`` are
    ``SOURCE:TARGET[:ro]``. ``memory`` in bytes, ``cpus`` in processors. ``after`` names units it waits for.
    """

    kind = "unit"
    container: str
    image: str
    command: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    mounts: tuple[str, ...] = ()
    network: str = "none"
    user: str = ""
    hostname: str = ""
    directory: str = ""
    devices: tuple[str, ...] = ()
    cap_add: tuple[str, ...] = ()
    cap_drop: tuple[str, ...] = ()
    memory: int = 0
    cpus: float = 0.0
    read_only: bool = False
    privileged: bool = False
    restart: str = "always"
    after: tuple[str, ...] = ()
    namespace: str = "default"

    def __post_init__(self) -> None:
        where = f"Container {self.container}"
        if not all(letter.isalnum() or letter in "._-" for letter in self.container):
            raise UsageError(f"{where}: a name has letters, digits, '.', '_' and '-' only")
        if self.restart not in _RESTARTS:
            raise UsageError(f"{where}: restart={self.restart!r}", hint=f"one of {', '.join(_RESTARTS)}")  # fmt: skip
        if self.network not in ("none", "host"):
            raise UsageError(f"{where}: network={self.network!r}", hint="host or none")
        for mount in self.mounts:
            _mount(mount)

    @property
    def unit(self) -> Unit:
        """What the container is to systemd."""
        run = ["run", "--rm", *self._flags(), self.image, self.container, *self.command]
        source = render(
            "container.service.j2",
            container=self.container,
            image=self.image,
            namespace=self.namespace,
            command=" ".join(map(quoted, run)),
            restart=_RESTARTS[self.restart],
            after=" ".join(("pinnaced.service", *self.after)),
        )
        return Unit(unit=f"container-{self.container}.service", source=source, notify=self.notify)

    @property
    def name(self) -> str:
        return self.unit.name

    @property
    def handlers(self) -> tuple[Any, ...]:
        return self.unit.handlers

    def wanted(self) -> dict[str, Any]:
        return self.unit.wanted()

    def _flags(self) -> list[str]:
        flags = [f"--env={name}={value}" for name, value in self.environment.items()]
        flags += [f"--mount={_mount(mount)}" for mount in self.mounts]
        flags += ["--net-host"] if self.network == "host" else []
        for name in ("user", "hostname"):
            flags += [f"--{name}={getattr(self, name)}"] if getattr(self, name) else []
        flags += [f"--cwd={self.directory}"] if self.directory else []
        flags += [f"--device={device}" for device in self.devices]
        flags += [f"--cap-add={_capability(name)}" for name in self.cap_add]
        flags += [f"--cap-drop={_capability(name)}" for name in self.cap_drop]
        flags += [f"--memory-limit={self.memory}"] if self.memory else []
        flags += [f"--cpus={self.cpus:g}"] if self.cpus else []
        flags += ["--read-only"] if self.read_only else []
        return flags + (["--privileged"] if self.privileged else [])


def _capability(name: str) -> str:
    return name if name.startswith("CAP_") else f"CAP_{name}"


def _mount(text: str) -> str:
    """``SOURCE:TARGET[:ro]`` as ctr's ``--mount`` takes it."""
    source, _, rest = text.partition(":")
    target, _, mode = rest.partition(":")
    if not (source.startswith("/") and target.startswith("/") and mode in ("", "ro", "rw")) or "," in text:  # fmt: skip
        raise UsageError(f"mount {text!r}", hint="SOURCE:TARGET or SOURCE:TARGET:ro, both absolute")
    return f"type=bind,src={source},dst={target},options=rbind:{mode or 'rw'}"


def quoted(word: str) -> str:
    """A word of a unit's command line (systemd.service(5), "Command lines"; systemd.unit(5), specifiers)."""
    escaped = word.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return '"' + escaped.replace("%", "%%").replace("$", "$$") + '"'
