"""Letting a created container run its program."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from typing import Any

from pinnace.errors import Error, FailedPrecondition
from pinnace.linux.kernel import KERNEL
from pinnace.runc import attending, hooks
from pinnace.runc import state as states
from pinnace.runc.channel import Channel
from pinnace.runc.made import Created
from pinnace.runc.state import ContainerState, Status
from pinnace.spec import runtime


def start(state_root: str, identifier: str) -> ContainerState:
    """Let the created container run its program.

    Raises NotFound, FailedPrecondition for any other state than created, Error when the program
    cannot be executed.
    """
    with states.hold(state_root, identifier) as state:
        spec = _configuration(state)
        status = state.status()
        if not status.can_start():
            raise FailedPrecondition(f"cannot start a container in the {status.value} state")
        _start(state, spec)
    _poststart(state, spec)
    return state


def start_made(made: Created) -> None:
    """The same for a container that this process has created just now."""
    if made.channel is None:
        with states.hold_again(made.state):
            _start(made.state, made.spec)
    else:
        try:
            is_told = made.channel.tell({"created": True})
            if not made.is_ready:
                _await_ready(made.channel, made)
            _started(made.channel, made.state, made.spec)
            if not is_told:
                raise attending.ended_early(made.cgroup)
        finally:
            let_go(made)
    _poststart(made.state, made.spec)


def _await_ready(channel: Channel, made: Created) -> None:
    """Wait until a process that was let go on early has done its part. Raises Error when it could not."""
    attending.wait_for(channel, made.pid, time.monotonic() + attending.CREATE_SECONDS)
    record, _ = attending.heard(channel)
    if record is None:
        raise attending.ended_early(made.cgroup)
    if "ready" not in record:
        raise attending.in_context(record)


def let_go(made: Created) -> None:
    """Hold a container no longer; one that was not started ends. A second call does nothing."""
    if made.channel is not None:
        made.channel.close()
        made.state.release()


def _poststart(state: ContainerState, spec: dict[str, Any]) -> None:
    # Not under the lock: a hook may well work on the container.
    if hooks.named(spec, "poststart"):
        try:
            hooks.run(spec, "poststart", state.told(Status.RUNNING))
        except Error:
            # runtime.md, "Lifecycle": a failure of these stops the container.
            with contextlib.suppress(ProcessLookupError):
                os.kill(state.pid, signal.SIGKILL)
            raise


def _configuration(state: ContainerState) -> dict[str, Any]:
    """What the container was made from; nothing when that has been removed since."""
    return runtime.read(state.config) if os.path.exists(state.config) else {}


def _start(state: ContainerState, spec: dict[str, Any]) -> None:
    try:
        connection = states.connect_start(state.directory, attending.EXEC_SECONDS)
    except OSError:
        raise FailedPrecondition("cannot start an already running container") from None
    with connection:
        connection.send(b"start")
        _started(Channel(connection), state, spec)


def _started(channel: Channel, state: ContainerState, spec: dict[str, Any]) -> None:
    """Wait until the process is the program, which closes the channel."""
    # Hooks have their own limits, or none; becoming the program takes no time.
    patient = hooks.named(spec, "startContainer")
    limit = float("inf") if patient else time.monotonic() + attending.EXEC_SECONDS
    attending.wait_for(channel, state.pid, limit)
    record, _ = channel.receive()
    if record is not None and "listener" in record:
        attending.deliver(KERNEL, record, state.pid, state.oci(), channel)
        attending.wait_for(channel, state.pid, limit)
        record, _ = channel.receive()
    if record is not None:
        raise attending.in_context(record)
    with contextlib.suppress(FileNotFoundError):
        os.unlink(f"{state.directory}/{states.START_SOCKET}")
