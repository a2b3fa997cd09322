"""Containers by name: the low-level runtime as its users (shim, ``runc`` command) call it.

Each operation is one function; all raise subclasses of ``pinnace.errors.Error``: NotFound for a
container that does not exist, FailedPrecondition for one in the wrong state, InvalidArgument for a
wrong configuration, Error with runc's words when the program cannot be executed.
"""

from __future__ import annotations

import functools
import signal as signals
import time
from collections.abc import Callable
from typing import Any, NamedTuple, ParamSpec, TypeVar

from pinnace.errors import DataLoss, InvalidArgument, NotFound, from_os
from pinnace.runc import control, joining, starting
from pinnace.runc import create as creation
from pinnace.runc import made as making
from pinnace.runc import state as states

_Arguments = ParamSpec("_Arguments")
_Result = TypeVar("_Result")


def _explained(
    doing: str,
) -> Callable[[Callable[_Arguments, _Result]], Callable[_Arguments, _Result]]:
    """What the system refuses while ``doing`` becomes an Error that says so."""

    def wrap(operation: Callable[_Arguments, _Result]) -> Callable[_Arguments, _Result]:
        @functools.wraps(operation)
        def explained(*args: _Arguments.args, **kwargs: _Arguments.kwargs) -> _Result:
            try:
                return operation(*args, **kwargs)
            except OSError as problem:
                raise from_os(problem, doing) from problem

        return explained

    return wrap


class Stdio(NamedTuple):
    """Descriptors that become a process's standard input, output and error."""

    stdin: int
    stdout: int
    stderr: int


class Created(NamedTuple):
    """A process that exists; ``console`` is its terminal's master side, if it has a terminal.

    ``warnings`` are what the configuration asked for and could not be given, for people to read.
    """

    pid: int
    console: int | None
    made: making.Created
    warnings: tuple[str, ...] = ()


Options = making.Options


@_explained("cannot create the container")
def create(
    container_id: str, bundle: str, state_root: str, stdio: Stdio | None,
    options: Options = making.DEFAULTS,
) -> Created:  # fmt: skip
    """Make everything of the container; its first process waits for :func:`start`.

    Without ``stdio`` the process shares the caller's. The caller waits for the process, whose
    parent it becomes when it is a child subreaper (PR_SET_CHILD_SUBREAPER) or pid 1.
    """
    streams = stdio or (0, 1, 2)
    made = creation.create(
        container_id, bundle, state_root=state_root, stdio=streams, options=options
    )
    return Created(made.pid, made.terminal, made, made.warnings)


@_explained("cannot start the container")
def start(container_id: str, state_root: str) -> None:
    """Let the created container run its program; returns once it does."""
    starting.start(state_root, container_id)


@_explained("cannot start the container")
def start_created(created: Created) -> None:
    """The same for a container that this process has created just now: less has to be looked up."""
    starting.start_made(created.made)


def let_go(created: Created) -> None:
    """Hold a container no longer that was created with ``held`` and could not be started; harmless for any other."""
    starting.let_go(created.made)


@_explained("cannot delete the container")
def delete_created(created: Created) -> None:
    """Remove a container that this process has created, whose first process has ended."""
    control.delete_made(created.made.state, created.made.spec, created.made.cgroup)


@_explained("cannot run the process")
def exec_(
    container_id: str, state_root: str, process: dict[str, Any], stdio: Stdio | None,
    options: Options = making.DEFAULTS,
) -> Created:  # fmt: skip
    """Run a further process, an OCI ``process`` object, at once."""
    streams = stdio or (0, 1, 2)
    made = joining.exec_(state_root, container_id, process, stdio=streams, options=options)
    return Created(made.pid, made.terminal, made, made.warnings)


@_explained("cannot signal the container")
def kill(
    container_id: str, state_root: str, signal: int | str,
    all: bool = False,  # noqa: A002 (runc's word for it)
) -> None:  # fmt: skip
    """Send a signal, by number or name (``KILL``, ``SIGKILL``), to the first or to all processes."""
    control.kill(state_root, container_id, signal_number(signal), everyone=all)


def signal_number(signal: int | str) -> int:
    """The number of a signal; raises InvalidArgument for what is none."""
    text = str(signal).upper()
    if text.isdigit():
        number = int(text)
    else:
        name = text if text.startswith("SIG") else f"SIG{text}"
        found = signals.Signals.__members__.get(name)
        number = int(found) if found else 0
        if not found:
            raise InvalidArgument(f"unknown signal {signal!r}")
    if not 0 <= number < signals.NSIG:
        raise InvalidArgument(f"unknown signal {signal!r}")
    return number


@_explained("cannot delete the container")
def delete(container_id: str, state_root: str, force: bool = False) -> None:
    """Remove what is left of a stopped container; ``force`` kills it first, and takes none for done."""
    control.delete(state_root, container_id, force=force)


@_explained("cannot tell the state")
def state(container_id: str, state_root: str) -> dict[str, Any]:
    """The OCI state, with ``rootfs``, ``created`` (RFC 3339), ``owner`` (a user id) and ``config`` (its path) beside it."""
    return _described(states.load(state_root, container_id))


@_explained("cannot list containers")
def list_(state_root: str) -> list[dict[str, Any]]:
    """The states of all containers, by id; a damaged one is listed as stopped, so that it can be deleted."""
    found = []
    for identifier in states.all_ids(state_root):
        try:
            container = states.load(state_root, identifier)
        except NotFound:
            continue  # deleted meanwhile
        except DataLoss:
            container = states.ContainerState(identifier, f"{state_root}/{identifier}", "")
        found.append(_described(container))
    return found


@_explained("cannot list the processes")
def pids(container_id: str, state_root: str) -> list[int]:
    """Every process in the container, as the caller's pid namespace numbers them."""
    return control.pids(state_root, container_id)


@_explained("cannot pause the container")
def pause(container_id: str, state_root: str) -> None:
    control.pause(state_root, container_id)


@_explained("cannot resume the container")
def resume(container_id: str, state_root: str) -> None:
    control.resume(state_root, container_id)


@_explained("cannot measure the container")
def stats(container_id: str, state_root: str) -> dict[str, Any]:
    """Resource use; ``cgroup`` says of which version's metrics the names are."""
    return control.stats(state_root, container_id)


@_explained("cannot update the container")
def update(container_id: str, state_root: str, resources: dict[str, Any]) -> None:
    """Change limits: an OCI ``linux.resources`` object; what it does not name stays."""
    control.update(state_root, container_id, resources)


def _described(container: states.ContainerState) -> dict[str, Any]:
    seconds = time.gmtime(container.created)
    micro = int(container.created % 1 * 1_000_000)
    created = time.strftime("%Y-%m-%dT%H:%M:%S", seconds) + f".{micro:06d}Z"
    return {
        **container.oci(),
        "rootfs": container.rootfs,
        "created": created,
        "owner": container.owner,
        "config": container.config,
    }
