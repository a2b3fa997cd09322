"""A container's control group: made and limited when it is created, found again from its state."""

from __future__ import annotations

import contextlib
import errno
import os
import sys
from collections.abc import Iterator
from typing import Any, NamedTuple

from pinnace.errors import (
    DeadlineExceeded,
    Error,
    FailedPrecondition,
    InvalidArgument,
    PermissionDenied,
    Unavailable,
)
from pinnace.linux import cgroups
from pinnace.linux.cgroups.v1 import LegacyCgroup
from pinnace.linux.cgroups.v2 import UnifiedCgroup
from pinnace.runc import devices
from pinnace.runc.state import ContainerState

BEST_EFFORT = "io.pinnace.resources"
"""Annotation; with the value ``best-effort`` a limit that cannot be enforced is only a warning."""

_REFUSED = (errno.EACCES, errno.EPERM, errno.EROFS)


def make(spec: dict[str, Any], state: ContainerState) -> cgroups.Cgroup | None:
    """Make the group that ``spec`` asks for, with its limits; what it is called is saved first.

    None, as runc has it, for a user who has no right to make groups and asks for no limit. Raises
    Unsupported, InvalidArgument, FailedPrecondition, and PermissionDenied for a user who does ask.
    """
    path, resources = _wanted(spec)
    if state.cgroup_manager == "disabled":
        _refuse_limits(resources, "control groups are disabled (--cgroup-manager)")
        return None
    if state.cgroup_manager == "systemd":
        return _make_unit(path, resources, state)
    group = _found(path, state)
    _refuse_used(group)
    with _whole(group):
        return _make_group(group, path, resources, state)


@contextlib.contextmanager
def _whole(group: cgroups.Cgroup) -> Iterator[None]:
    """A group that can't be made as it was asked for does not stay."""
    try:
        yield
    except BaseException:
        with contextlib.suppress(OSError):
            group.delete()
        raise


class Pending(NamedTuple):
    """A group that is known and not yet made, or without its device rules: see :func:`begin`."""

    group: LegacyCgroup | UnifiedCgroup
    path: str
    resources: dict[str, Any]
    state: ContainerState

    def make(self) -> None:
        """What is left of :func:`make`, with the same errors; what was made until then stays."""
        if isinstance(self.group, LegacyCgroup):
            _make_group(self.group, self.path, self.resources, self.state)
        else:
            self.group.apply_devices(self.resources.get("devices") or [])


def begin(spec: dict[str, Any], state: ContainerState) -> Pending | None:
    """The part of ``make`` that comes before the first process; None for a group that has to be there as a whole.

    A process enters groups of version 1 by itself, the later the better. There is one for each controller, and making
    them takes about as long as what the process does before it enters. A group of version 2 it is born in, so that all that
    it uses counts; only which devices it may open need not be said before it is about to become somebody else's
    program. Raises as ``make`` does.
    """
    pending = sought(spec, state)
    if pending is None:
        return None
    group = pending.group
    if isinstance(group, UnifiedCgroup):
        with _whole(group):
            _make_group(group, pending.path, {**pending.resources, "devices": []}, state)
    elif group.unified_root:
        _save_path(state, group)
        group.create_unified()
    return pending


def sought(spec: dict[str, Any], state: ContainerState) -> Pending | None:
    """What ``begin`` gives, with nothing made."""
    if state.cgroup_manager or os.geteuid() != 0:
        return None
    path, resources = _wanted(spec)
    group = _found(path, state)
    # What version 2 limits it limits from the process's birth on.
    if isinstance(group, LegacyCgroup) and group.limits_elsewhere(resources):
        return None
    _refuse_used(group)
    return Pending(group, path, resources, state)


def _wanted(spec: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """The group's path, which may be empty, and its limits, all devices that the container has among them."""
    linux = spec.get("linux") or {}
    resources = dict(linux.get("resources") or {})
    if resources.get("devices"):
        # A pipe is no device; an unbuffered one is a character device (mknod(1)).
        named = [_allowed(it) for it in linux.get("devices") or () if it["type"] != "p"]
        resources["devices"] = [*resources["devices"], *devices.ALLOWED, *named]
    return str(linux.get("cgroupsPath") or ""), resources


def _found(path: str, state: ContainerState) -> LegacyCgroup | UnifiedCgroup:
    # One level below the root: each costs a directory in every hierarchy, made and removed.
    return cgroups.find(path or f"/pinnace-runc-{state.id}")


def _make_group(
    group: cgroups.Cgroup, path: str, resources: dict[str, Any], state: ContainerState
) -> cgroups.Cgroup | None:
    """A group of directories that are ours."""
    _save_path(state, group)
    if refused := _create(group):
        text = f"control group {group.path} cannot be made: {refused}"
        _refuse_limits({**resources, "cgroupsPath": path}, text)
        state.cgroup_path = ""
        state.save()
        return None
    _apply(group, resources, state)
    return group


def _save_path(state: ContainerState, group: cgroups.Cgroup) -> None:
    """From here on a crash leaves enough to clean up."""
    if state.cgroup_path != group.path:
        state.cgroup_path = group.path
        state.save()


def _create(group: cgroups.Cgroup) -> str:
    """Make the group's directories; why a user who is not root may not, or nothing. Raises OSError."""
    try:
        group.create()
    except OSError as problem:
        if problem.errno not in _REFUSED or os.geteuid() == 0:
            raise
        return os.strerror(problem.errno)
    return ""


def _make_unit(path: str, resources: dict[str, Any], state: ContainerState) -> cgroups.Cgroup:
    """A unit of systemd, whose group is handed to us."""
    from pinnace.linux.cgroups import systemd, units  # with a D-Bus client: only when asked for

    unit = units.unit(path, state.id, rootless=os.geteuid() != 0)
    group = cgroups.find(unit.path)
    _refuse_used(group)
    state.cgroup_path = group.path
    state.save()  # the unit's name is the path's end
    placeholder = systemd.Placeholder()
    try:
        properties = units.start_properties(unit, placeholder.pid, group.version)
        properties += units.properties(resources, group.version)
        rules = resources.get("devices") or []
        properties += units.device_properties(rules, systemd.driver_names())
        group = cgroups.find(systemd.start(unit, properties))
        state.cgroup_path = group.path
        state.save()
        group.create()
        _apply(group, resources, state)
    except BaseException:
        placeholder.release()
        with contextlib.suppress(Error, OSError):
            remove(state, group)
        raise
    group.placeholder = placeholder
    return group


def remove(state: ContainerState, group: cgroups.Cgroup, timeout: float = 5.0) -> None:
    """Remove the group and, when it is systemd's, its unit; its processes are gone.

    Raises OSError when processes are still in it after ``timeout`` seconds. That systemd can't be reached
    is no error: it forgets a unit whose group is gone by itself.
    """
    if group.placeholder is not None:
        group.placeholder.release()
    group.delete(timeout)
    if state.cgroup_manager == "systemd":
        from pinnace.linux.cgroups import systemd

        with contextlib.suppress(Unavailable, DeadlineExceeded):
            systemd.stop(os.path.basename(group.path))


def _refuse_limits(resources: dict[str, Any], reason: str) -> None:
    """Without a group no limit can be had; none is fine, as runc has it."""
    if any(value for key, value in resources.items() if key != "devices"):
        raise PermissionDenied(
            reason,
            hint="limits take a control group that is this user's: --systemd-cgroup, or delegation",
        )


def _refuse_used(group: cgroups.Cgroup) -> None:
    """A container may not share a group: what ends the one would kill the other, or the host."""
    if not group.exists():
        return
    if found := group.pids():
        raise FailedPrecondition(
            f"container's cgroup {group.path} is not empty: {len(found)} process(es) found"
        )
    if group.is_frozen():
        raise FailedPrecondition(f"container's cgroup {group.path} is frozen")


def of(state: ContainerState, below: str = "") -> cgroups.Cgroup:
    """The group of a container that has one, or the one called ``below`` in it.

    Raises InvalidArgument for a container without, or a name that leads out of it.
    """
    if not state.cgroup_path:
        raise InvalidArgument(f"container {state.id} has no control group of its own")
    if ".." in below.split("/"):
        raise InvalidArgument(f"{below} is not a control group below the container's")
    return cgroups.find(f"{state.cgroup_path}/{below}")


def update(state: ContainerState, resources: dict[str, Any]) -> None:
    """Change limits of a container; what ``resources`` does not name stays, device rules always do.

    Raises as ``make`` does.
    """
    group = of(state)
    _check_before(group, resources.get("memory") or {})
    if state.cgroup_manager == "systemd":
        from pinnace.linux.cgroups import systemd, units

        systemd.update(os.path.basename(group.path), units.properties(resources, group.version))
    _apply(group, {**resources, "devices": []}, state)


def join_beside(state: ContainerState, pid: int, below: str = "") -> None:
    """Move a further process into the unified group, or where the container's first one has gone.

    A container that made groups below its own may have given these controllers; none may be in
    its own then ("no internal processes", cgroup-v2.rst).
    """
    group = of(state, below)
    try:
        group.join_unified(pid)
    except OSError as problem:
        if problem.errno != errno.EBUSY:
            raise
        cgroups.beside(group, state.pid).join_unified(pid)


def _apply(group: cgroups.Cgroup, resources: dict[str, Any], state: ContainerState) -> None:
    best_effort = state.annotations.get(BEST_EFFORT) == "best-effort"
    for left_out in group.apply(resources, best_effort=best_effort):
        sys.stderr.write(f"warning: {left_out}\n")


def _check_before(group: cgroups.Cgroup, memory: dict[str, Any]) -> None:
    """``checkBeforeUpdate``: version 2 takes a limit below what is in use, and kills."""
    limit = memory.get("limit") or 0
    if memory.get("checkBeforeUpdate") and 0 < limit < group.memory_in_use():
        raise InvalidArgument(
            f"memory limit {limit} is below what is in use ({group.memory_in_use()} bytes)"
        )


def _allowed(item: dict[str, Any]) -> dict[str, Any]:
    kind = "c" if item["type"] == "u" else item["type"]
    return {"type": kind, "major": item.get("major"), "minor": item.get("minor"), "allow": True}
