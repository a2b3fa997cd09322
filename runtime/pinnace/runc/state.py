"""A container's state on disk: ``<root>/<id>/state.json``, replaced atomically.

``Status`` is the state machine; callers ask it what is allowed and never compare words.
``creating`` and ``stopped`` are found out when the file is read: a creator that died, or an init
process that is gone (pid and start time), is seen without anybody having written it down.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
from enum import Enum
from typing import Any

from pinnace.errors import AlreadyExists, DataLoss, InvalidArgument, NotFound
from pinnace.linux import cgroups, proc

_ID = re.compile(r"[A-Za-z0-9_+.-]{1,1024}")


class Status(Enum):
    """Where in its life a container is (runtime.md, "State", and runc's paused)."""

    CREATING = "creating"
    CREATED = "created"
    RUNNING = "running"
    PAUSED = "paused"
    STOPPED = "stopped"

    def can_start(self) -> bool:
        """Only what was created and not yet started."""
        return self is Status.CREATED

    def can_exec(self) -> bool:
        """A process may join once the namespaces exist."""
        return self in (Status.CREATED, Status.RUNNING)

    def can_kill(self) -> bool:
        """There is a process to signal."""
        return self in (Status.CREATED, Status.RUNNING, Status.PAUSED)

    def can_delete(self) -> bool:
        """Nothing runs in it any more, or nothing ever did."""
        return self is Status.STOPPED

    def can_pause(self) -> bool:
        """Freezing makes sense for what has processes."""
        return self in (Status.CREATED, Status.RUNNING)


class ContainerState:
    """What is remembered about one container."""

    __slots__ = (
        "annotations", "bundle", "cgroup_path", "created", "directory", "id", "pid", "rootfs",
        "start_time", "started",
    )  # fmt: skip

    def __init__(self, identifier: str, directory: str, bundle: str) -> None:
        self.id = identifier
        self.directory = directory
        self.bundle = bundle
        self.rootfs = ""
        self.pid = 0  # of the init process, as the host sees it; 0 while creating
        self.start_time = 0  # clock ticks after boot, see proc.Stat
        self.cgroup_path = ""  # empty when the container has no control group of its own
        self.created = 0.0  # seconds since the epoch
        self.started = False
        self.annotations: dict[str, str] = {}

    def status(self) -> Status:
        """Found out now: from the process and the freezer, not from memory."""
        if not self.pid:
            return Status.CREATING
        if not proc.alive(self.pid, self.start_time):
            return Status.STOPPED
        if self.cgroup_path and cgroups.find(self.cgroup_path).is_frozen():
            return Status.PAUSED
        return Status.RUNNING if self.started else Status.CREATED

    def oci(self) -> dict[str, Any]:
        """The state object of runtime.md, as hooks and ``runc state`` get it."""
        status = self.status()
        result: dict[str, Any] = {
            "ociVersion": "1.2.0",
            "id": self.id,
            "status": status.value,
            "bundle": self.bundle,
        }
        if status is not Status.STOPPED:
            result["pid"] = self.pid
        if self.annotations:
            result["annotations"] = self.annotations
        return result

    def save(self) -> None:
        """Write the state file: complete under another name, then renamed."""
        path = f"{self.directory}/state.json"
        content = {name: getattr(self, name) for name in self.__slots__ if name != "directory"}
        with open(path + ".new", "w", encoding="utf-8") as file:
            json.dump(content, file)
        os.replace(path + ".new", path)

    def remove(self) -> None:
        """Forget the container: remove its directory."""
        shutil.rmtree(self.directory, ignore_errors=True)


def directory_of(root: str, identifier: str) -> str:
    """The state directory of container ``identifier``. Raises InvalidArgument for an id that is no name."""
    if not _ID.fullmatch(identifier) or identifier in (".", ".."):
        raise InvalidArgument(f"invalid container id {identifier!r}")
    return f"{root}/{identifier}"


def new(root: str, identifier: str, bundle: str) -> ContainerState:
    """Reserve ``identifier``. Raises AlreadyExists when it is taken."""
    directory = directory_of(root, identifier)
    os.makedirs(root, mode=0o711, exist_ok=True)
    try:
        os.mkdir(directory, 0o711)
    except FileExistsError:
        raise AlreadyExists(f"container with id exists already: {identifier}") from None
    return ContainerState(identifier, directory, bundle)


def load(root: str, identifier: str) -> ContainerState:
    """The container called ``identifier``. Raises NotFound, or DataLoss for an unreadable file."""
    directory = directory_of(root, identifier)
    if not os.path.isdir(directory):
        raise NotFound(f"container {identifier} does not exist")
    state = ContainerState(identifier, directory, "")
    try:
        with open(f"{directory}/state.json", encoding="utf-8") as file:
            content = json.load(file)
        for name in ContainerState.__slots__:
            if name != "directory":
                setattr(state, name, content[name])
    except FileNotFoundError:
        return state  # its creator died before the first write: status creating, pid 0
    except (ValueError, KeyError, TypeError) as problem:
        raise DataLoss(f"{directory}/state.json is damaged: {problem}") from None
    return state


def all_ids(root: str) -> list[str]:
    """Every container below ``root``, sorted; none when there is no such directory."""
    with contextlib.suppress(FileNotFoundError):
        return sorted(entry.name for entry in os.scandir(root) if entry.is_dir())
    return []
