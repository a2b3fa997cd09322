"""Everything done to a container that exists: signals, pausing, limits, numbers, deletion."""

from __future__ import annotations

import contextlib
import os
import signal as signals
import time
from typing import Any

from pinnace.errors import DataLoss, FailedPrecondition, InvalidArgument, NotFound
from pinnace.linux import cgroups
from pinnace.linux.cgroups import oom
from pinnace.linux.cgroups.oom import OomWatch
from pinnace.runc import hooks, limits
from pinnace.runc import state as states
from pinnace.runc.state import ContainerState, Status
from pinnace.spec import runtime

_END_SECONDS = 10


def state(state_root: str, identifier: str) -> dict[str, Any]:
    """The OCI state object. Raises NotFound."""
    return states.load(state_root, identifier).oci()


def kill(state_root: str, identifier: str, signal: int, *, everyone: bool = False) -> None:
    """Send ``signal`` to the init process, or with ``everyone`` to every process.

    Raises NotFound, FailedPrecondition (runc's "container not running") when nothing runs.
    """
    container = states.load(state_root, identifier)
    status = container.status()
    if everyone:
        for pid in limits.of(container).pids():
            _send(pid, signal)
        return
    if not status.can_kill():
        raise FailedPrecondition("container not running")
    _send_checked(container, signal)
    if signal == signals.SIGKILL and status is Status.PAUSED:
        limits.of(container).freeze(False)  # a frozen process dies only when it runs again


def _send_checked(container: ContainerState, signal: int) -> None:
    """Signal the init process through a pidfd, so that a reused pid is never hit."""
    try:
        fd = os.pidfd_open(container.pid)
    except (ProcessLookupError, OSError):
        raise FailedPrecondition("container not running") from None
    try:
        if container.status() is Status.STOPPED:
            raise FailedPrecondition("container not running")
        signals.pidfd_send_signal(fd, signal)
    except ProcessLookupError:
        raise FailedPrecondition("container not running") from None
    finally:
        os.close(fd)


def _send(pid: int, signal: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal)


def pids(state_root: str, identifier: str) -> list[int]:
    """Every process in the container, as the host numbers them."""
    return limits.of(states.load(state_root, identifier)).pids()


def pause(state_root: str, identifier: str) -> None:
    """Freeze every process. Raises FailedPrecondition when it does not run."""
    with states.hold(state_root, identifier) as container:
        status = container.status()
        if not status.can_pause():
            raise FailedPrecondition(f"cannot pause a {status.value} container")
        limits.of(container).freeze(True)


def resume(state_root: str, identifier: str) -> None:
    """Let a paused container go on. Raises FailedPrecondition when it is not paused."""
    with states.hold(state_root, identifier) as container:
        status = container.status()
        if status is not Status.PAUSED:
            raise FailedPrecondition(f"cannot resume a {status.value} container")
        limits.of(container).freeze(False)


def stats(state_root: str, identifier: str) -> dict[str, Any]:
    """Usage, in the shape of containerd's metrics; ``cgroup`` says of which version."""
    return limits.of(states.load(state_root, identifier)).stats()


def usage(state_root: str, identifier: str) -> dict[str, Any]:
    """Usage in the form of ``runc events``. Raises NotFound."""
    from pinnace.linux.cgroups import report  # only ``runc events`` needs it

    return report.usage(limits.of(states.load(state_root, identifier)))


def watch_oom(state_root: str, identifier: str) -> OomWatch | None:
    """Something to wait on for the container's memory to run out; None where it is not limited."""
    container = states.load(state_root, identifier)
    return oom.watch(limits.of(container)) if container.cgroup_path else None


def watched_oom(state_root: str, identifier: str, fd: int, seen: int) -> OomWatch:
    """What :func:`watch_oom` gave, in a process that has its descriptor."""
    return oom.OomWatch(limits.of(states.load(state_root, identifier)), fd, seen)


def update(state_root: str, identifier: str, resources: dict[str, Any]) -> None:
    """Change limits; what ``resources`` does not name stays."""
    if not isinstance(resources, dict):
        raise InvalidArgument("resources is not an object")
    with states.hold(state_root, identifier) as container:
        if container.status() is Status.STOPPED:
            raise FailedPrecondition("cannot update a stopped container")
        limits.update(container, resources)


def delete(state_root: str, identifier: str, *, force: bool = False) -> None:
    """Remove a stopped container; with ``force`` kill it first, and a missing one is fine.

    What is left of it on the host goes: processes, control group and state. Its mounts went with its mount
    namespace; what is mounted on the bundle's root is its maker's. Works as well after its creator, another
    ``delete`` or its shim were killed anywhere. Raises NotFound, FailedPrecondition.
    """
    try:
        if force:
            _kill_early(state_root, identifier)
        with states.hold(state_root, identifier) as container:
            _delete(container, force=force)
    except NotFound:
        if not force:
            raise
    except DataLoss:
        if not force:
            raise
        # Nothing is known but the name; the directory is what stands in the way of a new one.
        states.ContainerState(identifier, states.directory_of(state_root, identifier), "").remove()


def delete_made(
    container: ContainerState, spec: dict[str, Any], group: cgroups.Cgroup | None
) -> None:
    """The same for a container that this process has made from ``spec``, and its control group ``group``."""
    with states.hold_again(container):
        _delete(container, force=False, spec=spec, group=group)


def _kill_early(state_root: str, identifier: str) -> None:
    """End the container before waiting for commands that work on it: they end the sooner."""
    container = states.load(state_root, identifier)
    if container.pid and container.status().can_kill():
        with contextlib.suppress(FailedPrecondition):
            _send_checked(container, signals.SIGKILL)


def _delete(
    container: ContainerState, *, force: bool, spec: dict[str, Any] | None = None,
    group: cgroups.Cgroup | None = None,
) -> None:  # fmt: skip
    status = container.status()
    if not status.can_delete():
        if not force:
            raise FailedPrecondition(f"cannot delete a container in the {status.value} state")
        _end(container)
    with contextlib.suppress(FileNotFoundError):
        if container.cgroup_path:
            _delete_group(container, group or limits.of(container))
        else:
            _wait_for_makers(container)
    with contextlib.suppress(NotFound, InvalidArgument):
        spec = runtime.read(container.config) if spec is None else spec
        if hooks.named(spec, "poststop"):
            hooks.run_quietly(spec, "poststop", {**container.oci(), "status": "stopped"})
    container.remove()


def _delete_group(container: ContainerState, group: cgroups.Cgroup) -> None:
    if container.pid:
        try:
            limits.remove(container, group, timeout=0)  # most often nothing is in it
            return
        except OSError:
            pass
    group.kill()
    _wait_for_makers(container)
    limits.remove(container, group)


def _wait_for_makers(container: ContainerState) -> None:
    """Wait until processes of a creator that was killed are gone: they end by themselves then.

    They hold the start socket until their end. One that waits in the control group was killed with it.
    """
    deadline = time.monotonic() + _END_SECONDS
    while not container.pid and states.accepts_start(container.directory):
        if time.monotonic() > deadline:
            raise FailedPrecondition(f"what began to make {container.id} does not end")
        if container.cgroup_path:
            limits.of(container).kill()
        time.sleep(0.002)


def _end(container: ContainerState) -> None:
    """SIGKILL and wait until it is gone."""
    with contextlib.suppress(FailedPrecondition):
        if container.pid:
            _send_checked(container, signals.SIGKILL)
    if container.cgroup_path:
        limits.of(container).kill()
    deadline = time.monotonic() + _END_SECONDS
    while container.status().can_kill() and time.monotonic() < deadline:
        time.sleep(0.001)
