"""What a control group can do, and the small file accesses that both versions share."""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import time
from typing import Any, Protocol

from pinnace.linux.cgroups.entry import Entry
from pinnace.linux.cgroups.setting import Setting, put_all

_PIECE = 1 << 16


class Placeholder(Protocol):
    """A process that only is there."""

    pid: int

    def release(self) -> None: ...


class Cgroup:
    """One control group in all its hierarchies.

    Methods raise OSError naming the file, or ``Unsupported`` for a limit without its controller.
    """

    version = 0
    unified_root = ""  # where the version 2 hierarchy is mounted; empty without one

    def __init__(self, path: str) -> None:
        self.path = path
        self.placeholder: Placeholder | None = None
        """What keeps a group of systemd's alive until the container is in it."""

    def directories(self) -> list[str]:
        """Its directory in each hierarchy."""
        raise NotImplementedError

    def create(self) -> None:
        """Make the directories; those that exist are fine."""
        raise NotImplementedError

    def apply(self, resources: dict[str, Any], *, best_effort: bool = False) -> list[str]:
        """Set the limits of an OCI ``linux.resources`` object; what it does not name stays.

        Raises Unsupported for what cannot be enforced; with ``best_effort`` it is left out, and
        the result tells each. Raises InvalidArgument and FailedPrecondition as the kernel refuses.
        """
        left_out = put_all(self.placed(resources), best_effort=best_effort)
        self.apply_devices(resources.get("devices") or [])
        return left_out

    def placed(self, resources: dict[str, Any]) -> list[tuple[str, Setting]]:
        """What ``apply`` writes but for device rules: settings, each with its directory, which is
        empty where there is no controller."""
        raise NotImplementedError

    def apply_devices(self, rules: list[dict[str, Any]]) -> None:
        """Hold the group to device rules in their order; nothing where it can't be (``limits_devices``)."""
        raise NotImplementedError

    def freeze(self, frozen: bool) -> None:
        """Stop or continue every process; returns when the kernel has done so."""
        raise NotImplementedError

    def is_frozen(self) -> bool:
        """Whether it is stopped, or about to be."""
        raise NotImplementedError

    def stats(self) -> dict[str, Any]:
        """Usage in the shape of containerd's cgroup metrics message of this version."""
        raise NotImplementedError

    def limits_devices(self) -> bool:
        """Whether device rules hold here; where not, ``apply`` leaves them out."""
        return False

    def memory_in_use(self) -> int:
        """Bytes that count against its memory limit; 0 when they are not counted."""
        raise NotImplementedError

    def oom_kills(self) -> int:
        """How many processes the kernel killed here for memory; 0 when it does not count."""
        raise NotImplementedError

    def entry(self) -> Entry:
        """The way in for processes that move themselves. Raises OSError."""
        raise NotImplementedError

    def join_unified(self, pid: int) -> None:
        """Move ``pid`` into the version 2 group only: what ``Entry.fork`` could not do."""
        raise NotImplementedError

    def exists(self) -> bool:
        """Whether any of its directories is there."""
        return any(os.path.isdir(directory) for directory in self.directories())

    def pids(self) -> list[int]:
        """Processes in it and in the groups below it, sorted."""
        found: set[int] = set()
        for directory in self.directories():
            for place, _, files in os.walk(directory):
                if "cgroup.procs" in files:
                    found.update(int(word) for word in read(place, "cgroup.procs").split())
            if found:
                break
        return sorted(found)

    def kill(self) -> None:
        """SIGKILL everything in it, also what forks meanwhile; frozen processes die too."""
        for _ in range(100):
            pids = self.pids()
            if not pids:
                return
            for pid in pids:
                kill_quietly(pid)
            self.freeze(False)
            time.sleep(0.002)

    def delete(self, timeout: float = 5.0) -> None:
        """Remove its directories, those below first; waits for the last zombie to be reaped.

        Raises OSError (EBUSY) when processes are still there after ``timeout`` seconds.
        """
        deadline = time.monotonic() + timeout
        for directory in self.directories():
            try:
                os.rmdir(directory)
            except FileNotFoundError:
                continue
            except OSError:
                for place, _, _ in os.walk(directory, topdown=False):
                    _remove(place, deadline)
            _remove_empty_parents(directory, self.path.count("/") - 1)


def read(directory: str, name: str) -> str:
    """Content of a control file; empty when the file or the group is not there."""
    try:
        fd = os.open(f"{directory}/{name}", os.O_RDONLY | os.O_CLOEXEC)
        try:
            content = b""
            while found := os.read(fd, _PIECE):
                content += found
        finally:
            os.close(fd)
        return content.decode("ascii", "replace")
    except FileNotFoundError:
        return ""
    except OSError as problem:
        if problem.errno in (errno.ENODEV, errno.EOPNOTSUPP):
            return ""
        raise


def number(directory: str, name: str) -> int:
    """A control file holding one number; ``max`` and what is missing are 0."""
    text = read(directory, name).strip()
    return int(text) if text.lstrip("-").isdigit() else 0


def pairs(directory: str, name: str) -> dict[str, int]:
    """A control file of ``key value`` lines."""
    result: dict[str, int] = {}
    for line in read(directory, name).splitlines():
        key, _, value = line.partition(" ")
        if value.strip().isdigit():
            result[key] = int(value)
    return result


def kill_quietly(pid: int) -> None:
    """SIGKILL; a process that is gone is fine."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def make(directory: str) -> None:
    """Make ``directory`` and those above it, against a removal that takes an empty parent away."""
    with contextlib.suppress(FileNotFoundError, FileExistsError):
        os.mkdir(directory)
        return
    for _ in range(100):
        with contextlib.suppress(FileNotFoundError):
            os.makedirs(directory, exist_ok=True)
            return
    os.makedirs(directory, exist_ok=True)


def _remove_empty_parents(directory: str, levels: int) -> None:
    """Groups that only held this one go, too, as many as ``levels``; systemd's units are systemd's.

    A group with processes or others below it is busy.
    """
    parent = os.path.dirname(directory)
    while levels > 0 and not parent.endswith((".slice", ".scope", ".service")):
        try:
            os.rmdir(parent)
        except OSError:
            return  # others use it
        parent = os.path.dirname(parent)
        levels -= 1


def _remove(directory: str, deadline: float) -> None:
    while True:
        try:
            os.rmdir(directory)
            return
        except FileNotFoundError:
            return
        except OSError as problem:
            if problem.errno != errno.EBUSY or time.monotonic() > deadline:
                raise
            time.sleep(0.001)
