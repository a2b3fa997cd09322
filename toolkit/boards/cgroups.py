"""The boards' cgroups: one subtree per board in every hierarchy that this machine has.

Machines differ: pure cgroup v2 (Debian, Ubuntu), v1, or both side by side (hybrid). The board sees
what the machine has, with its own subtree as the root (cgroup namespace), and may write to it. Only
the board's own processes are in the subtree: with a foreign one in its root, systemd could not hand
controllers down (the kernel's cgroup-v2.rst, "No Internal Process Constraint").
"""

from __future__ import annotations

import os
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from toolkit.boards import capability
from toolkit.errors import MissingPrerequisite, PinnaceError
from toolkit.process import run

PARENT = "pinnace-boards"
ROOT = Path("/sys/fs/cgroup")


@dataclass(frozen=True, slots=True)
class Hierarchy:
    """One mounted hierarchy: ``options`` are its mount options, empty for cgroup v2."""

    mountpoint: Path
    options: str

    @property
    def unified(self) -> bool:
        return not self.options

    def board(self, board_id: str) -> Path:
        """The directory of a board's cgroup."""
        return self.mountpoint / PARENT / board_id


def hierarchies(mountinfo: str | None = None) -> list[Hierarchy]:
    """The hierarchies mounted at or below /sys/fs/cgroup (proc_pid_mountinfo(5))."""
    text = Path("/proc/self/mountinfo").read_text() if mountinfo is None else mountinfo
    found: dict[Path, Hierarchy] = {}
    for line in text.splitlines():
        left, _, right = line.partition(" - ")
        target, (kind, _, options) = Path(left.split()[4]), right.split()[:3]
        if target != ROOT and ROOT not in target.parents:
            continue
        if kind == "cgroup2":
            found[target] = Hierarchy(target, "")
        elif kind == "cgroup":
            words = [word for word in options.split(",") if word not in _NOT_CONTROLLERS]
            found[target] = Hierarchy(target, ",".join(words))
    return list(found.values())


def shown(found: list[Hierarchy] | None = None) -> frozenset[str]:
    """What boards can show of limits, with the hierarchies that this machine has."""
    words = set()
    for each in hierarchies() if found is None else found:
        if each.unified:
            controllers = (each.mountpoint / "cgroup.controllers").read_text().split()
            if {"cpu", "io", "memory", "pids"} <= set(controllers):
                words |= {capability.CGROUP2, capability.MEMORY_LIMIT}
        elif "memory" in each.options.split(","):
            words.add(capability.MEMORY_LIMIT)
    return frozenset(words)


_NOT_CONTROLLERS = ("rw", "ro", "xattr", "clone_children", "cpuset_v2_mode", "noprefix")


def create(board_id: str) -> list[Path]:
    """Make the board's cgroups; returns their directories, which PID 1 of the board joins."""
    found = hierarchies()
    if not found:
        raise MissingPrerequisite(
            f"no cgroup hierarchy is mounted below {ROOT}", hint="mount cgroup2 there"
        )
    made = []
    for hierarchy in found:
        directory = hierarchy.board(board_id)
        try:
            directory.mkdir(parents=True, exist_ok=True)
        except OSError as problem:
            raise PinnaceError(f"cannot make the cgroup {directory}: {problem.strerror}") from None
        if hierarchy.unified:
            _hand_down(hierarchy.mountpoint, directory)
        elif "cpuset" in hierarchy.options.split(","):
            _fill_cpuset(hierarchy.mountpoint, directory)
        made.append(directory)
    return made


def _hand_down(top: Path, directory: Path) -> None:
    """Enable in each ancestor of ``directory`` all controllers it has (cgroup v2).

    One at a time: a controller that cannot be had (in use by v1, or processes in the parent) does
    not take the others with it. What the board then lacks, it shows itself in cgroup.controllers.
    """
    for parent in (top, directory.parent):
        for controller in (parent / "cgroup.controllers").read_text().split():
            with suppress(OSError):
                (parent / "cgroup.subtree_control").write_text(f"+{controller}")


def _fill_cpuset(top: Path, directory: Path) -> None:
    """A new v1 cpuset is empty, and nothing can join it before it has CPUs and memory."""
    for below in (directory.parent, directory):
        for name in ("cpuset.cpus", "cpuset.mems"):
            if not (below / name).read_text().strip():
                (below / name).write_text((top / name).read_text())
    # Children that the board makes get theirs by themselves.
    (directory / "cgroup.clone_children").write_text("1")


def remove(board_id: str, seconds: float = 5) -> None:
    """Remove the board's cgroups and, after the last board, their parent.

    Its processes may take a moment to be gone; raises :class:`PinnaceError` when they stay.
    """
    for hierarchy in hierarchies():
        deadline = time.monotonic() + seconds
        while not _remove_tree(hierarchy.board(board_id)):
            if time.monotonic() > deadline:
                raise PinnaceError(
                    f"cannot remove the cgroup {hierarchy.board(board_id)}: still in use"
                )
            time.sleep(0.05)
        with suppress(OSError):
            (hierarchy.mountpoint / PARENT).rmdir()


def _remove_tree(directory: Path) -> bool:
    for folder, _, _ in os.walk(directory, topdown=False):
        try:
            os.rmdir(folder)
        except FileNotFoundError:
            continue
        except OSError:
            return False
    return True


def mount_inside(target: Path, found: list[Hierarchy]) -> None:
    """Mount the hierarchies at ``target`` as this machine has them; called inside the board.

    The caller is in the board's cgroups and in a cgroup namespace, so that each mount shows the
    board's subtree as its root.
    """
    if any(hierarchy.mountpoint == ROOT for hierarchy in found):
        run(["mount", "-t", "cgroup2", "-o", "rw,nosuid,nodev,noexec", "cgroup2", target], "mounting cgroup2")  # fmt: skip
        return
    run(["mount", "-t", "tmpfs", "-o", "mode=755,nosuid,nodev,noexec", "tmpfs", target], "mounting cgroups")  # fmt: skip
    for hierarchy in found:
        below = target / hierarchy.mountpoint.relative_to(ROOT)
        below.mkdir(parents=True)
        kind = "cgroup2" if hierarchy.unified else "cgroup"
        options = (
            hierarchy.options if "name=" not in hierarchy.options else f"none,{hierarchy.options}"
        )
        words = ["-o", options] if options else []
        run(["mount", "-t", kind, *words, kind, below], f"mounting {below.name} cgroups")
        for name in hierarchy.options.split(","):
            # Where controllers share a hierarchy (cpu,cpuacct) each has a link, as everywhere.
            if name.isalnum() and name != below.name:
                (target / name).symlink_to(below.name)
