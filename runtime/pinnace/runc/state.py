"""A container's state on disk: ``<root>/<id>/state.json``, replaced atomically.

``Status`` is the state machine; callers ask it what is allowed and never compare words. Where a container is in
it is found out from the kernel when somebody asks, so that no crash can leave a wrong word behind:

========  ==================================================================================
creating  no process is recorded, and a creator holds the lock
stopped   no process is recorded and nobody holds the lock, or the process (pid and start time) is gone
paused    its control group is frozen
created   the process still accepts connections on the start socket
running   it does not any more: its program closed the socket
========  ==================================================================================

A command that changes a container holds its lock meanwhile (``hold``); one that asks or signals does not.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
from collections.abc import Iterator
from enum import Enum
from typing import Any

from pinnace.errors import AlreadyExists, DataLoss, InvalidArgument, NotFound
from pinnace.linux import cgroups, proc
from pinnace.linux.sockets import limit_sending
from pinnace.runc.lock import WAIT_SECONDS, Lock, is_held
from pinnace.spec.runtime import VERSION

START_SOCKET = "start.sock"
_ID_LETTERS = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_+.-")
_ID_MOST = 1024


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
        "annotations", "bundle", "cgroup_manager", "cgroup_path", "config", "created", "directory", "id",
        "lock", "owner", "pid", "rootfs", "start_time",
    )  # fmt: skip

    def __init__(self, identifier: str, directory: str, bundle: str) -> None:
        self.id = identifier
        self.directory = directory
        self.bundle = bundle
        self.rootfs = ""
        self.pid = 0  # of the init process, as the host sees it; 0 while creating
        self.start_time = 0  # clock ticks after boot, see proc.Stat
        self.config = ""  # path of its configuration
        self.owner = 0  # user id of its creator
        self.cgroup_path = ""  # empty when the container has no control group of its own
        self.cgroup_manager = ""  # who makes its control groups; empty for this runtime itself
        self.created = 0.0  # seconds since the epoch
        self.annotations: dict[str, str] = {}
        self.lock: Lock | None = None  # while this command holds it; never on disk

    def status(self) -> Status:
        """Found out now: from the process and the freezer, not from memory."""
        if not self.pid:
            creating = self.lock is None and is_held(self.directory)
            return Status.CREATING if creating else Status.STOPPED
        if not proc.alive(self.pid, self.start_time):
            return Status.STOPPED
        if self.cgroup_path and cgroups.find(self.cgroup_path).is_frozen():
            return Status.PAUSED
        return Status.CREATED if accepts_start(self.directory) else Status.RUNNING

    def oci(self) -> dict[str, Any]:
        """The state object of runtime.md, as hooks and ``runc state`` get it."""
        return self.told(self.status())

    def told(self, status: Status) -> dict[str, Any]:
        """The same, for a caller who knows the status."""
        result: dict[str, Any] = {
            "ociVersion": VERSION,
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
        content = json.dumps({name: getattr(self, name) for name in _KEPT})
        with open(path + ".new", "wb", buffering=0) as file:
            file.write(content.encode())
        os.replace(path + ".new", path)

    def remove(self) -> None:
        """Forget the container: remove its directory, then let go of its lock."""
        with contextlib.suppress(FileNotFoundError):
            for entry in os.scandir(self.directory):
                os.unlink(entry.path)
            os.rmdir(self.directory)
        self.release()

    def release(self) -> None:
        """Let the next command on this container in."""
        if self.lock is not None:
            self.lock.release()
            self.lock = None


_KEPT = [name for name in ContainerState.__slots__ if name not in ("directory", "lock")]


def directory_of(root: str, identifier: str) -> str:
    """The state directory of container ``identifier``. Raises InvalidArgument for an id that is no name."""
    is_name = 0 < len(identifier) <= _ID_MOST and _ID_LETTERS.issuperset(identifier)
    if not is_name or identifier in (".", ".."):
        raise InvalidArgument(f"invalid container id {identifier!r}")
    return f"{root}/{identifier}"


def new(root: str, identifier: str, bundle: str) -> ContainerState:
    """Reserve ``identifier`` and hold its lock. Raises AlreadyExists when it is taken."""
    directory = directory_of(root, identifier)
    os.makedirs(root, mode=0o711, exist_ok=True)
    while True:
        try:
            os.mkdir(directory, 0o711)
        except FileExistsError:
            raise AlreadyExists(f"container with id exists already: {identifier}") from None
        state = ContainerState(identifier, directory, bundle)
        # A `delete --force` that comes between takes it for a dead creation's and removes it.
        with contextlib.suppress(FileNotFoundError):
            state.lock = Lock(directory)
            return state


@contextlib.contextmanager
def hold(
    root: str, identifier: str, *, shared: bool = False, wait: float = WAIT_SECONDS
) -> Iterator[ContainerState]:
    """The container called ``identifier``, its lock held for the length of the context.

    Raises what ``load`` raises, and FailedPrecondition when another command holds it for ``wait`` seconds.
    """
    directory = directory_of(root, identifier)
    try:
        lock = Lock(directory, shared=shared, wait=wait)
    except FileNotFoundError:
        raise NotFound(f"container {identifier} does not exist") from None
    try:
        state = load(root, identifier)
        state.lock = lock
        yield state
    finally:
        lock.release()


@contextlib.contextmanager
def hold_again(state: ContainerState) -> Iterator[ContainerState]:
    """A container that this process has made, its lock held once more. Raises NotFound."""
    try:
        state.lock = Lock(state.directory)
    except FileNotFoundError:
        raise NotFound(f"container {state.id} does not exist") from None
    try:
        yield state
    finally:
        state.release()


def load(root: str, identifier: str) -> ContainerState:
    """The container called ``identifier``. Raises NotFound, or DataLoss for an unreadable file."""
    directory = directory_of(root, identifier)
    if not os.path.isdir(directory):
        raise NotFound(f"container {identifier} does not exist")
    state = ContainerState(identifier, directory, "")
    try:
        with open(f"{directory}/state.json", "rb") as file:
            content = json.loads(file.read())
        for name in _KEPT:
            setattr(state, name, content[name])
    except FileNotFoundError:
        return state  # its creator died before the first write, or delete after the last
    except (ValueError, KeyError, TypeError) as problem:
        raise DataLoss(f"{directory}/state.json is damaged: {problem}") from None
    return state


def all_ids(root: str) -> list[str]:
    """Every container below ``root``, sorted; none when there is no such directory."""
    with contextlib.suppress(FileNotFoundError):
        return sorted(entry.name for entry in os.scandir(root) if entry.is_dir())
    return []


@contextlib.contextmanager
def short(directory: str) -> Iterator[str]:
    """A name for a state directory that fits into a socket's address, whatever its path is."""
    fd = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{fd}"
    finally:
        os.close(fd)


def connect_start(directory: str, seconds: int) -> socket.socket:
    """A connection to the process that waits for its start.

    Raises OSError when none waits, BlockingIOError among them when it does not accept for ``seconds``
    (0: not at once), as it may have been stopped.
    """
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC)
    try:
        if seconds:
            limit_sending(connection, seconds)
        else:
            connection.setblocking(False)
        with short(directory) as place:
            connection.connect(f"{place}/{START_SOCKET}")
    except BaseException:
        connection.close()
        raise
    return connection


def accepts_start(directory: str) -> bool:
    """Whether a process waits for its start; it notices nothing of the question."""
    try:
        connect_start(directory, 0).close()
    except BlockingIOError:
        return True
    except OSError:
        return False
    return True
