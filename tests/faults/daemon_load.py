"""A client that uses the daemon hard and forgives it only what a kill explains.

Each :class:`Cycle` makes a container that prints, runs further processes, and exits with a status known beforehand; calls are repeated
while the daemon is away, as a patient client would.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import select
import shutil
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

from pinnace.api.client import Channel
from pinnace.api.codec import Message
from pinnace.api.method import Method
from pinnace.api.schema import containers, snapshots, tasks
from pinnace.api.schema.wellknown import Any as AnyMessage
from pinnace.errors import AlreadyExists, Error, FailedPrecondition, NotFound, Unavailable
from pinnace.spec import oci
from toolkit.arena import Arena

SECONDS = 600.0
"""How long one call may take, with all its repetitions: its daemon may be killed again and again before it can answer."""
KILLED = 137
_END_SECONDS = 120.0
"""How long the last cycle of a client may take once nobody is killed any more; one that takes longer hangs."""
_SNAPSHOTTER = "overlayfs"
_SPEC = "types.containerd.io/opencontainers/runtime-spec/1/Spec"
_PROCESS = "types.containerd.io/opencontainers/runtime-spec/1/Process"
_SCRIPT = "echo begin; echo error >&2; read line; echo $line; exit {status}"
_PATH = "PATH=/bin:/usr/bin"

Request = TypeVar("Request", bound=Message)
Response = TypeVar("Response", bound=Message)


def shim_name(namespace: str, container_id: str) -> str:
    """The name of a shim's directory below ``<state>/s``."""
    return hashlib.sha256(f"{namespace}/{container_id}".encode()).hexdigest()[:20]


class Patient:
    """Calls that are made again while the daemon is away."""

    def __init__(self, address: str, namespace: str) -> None:
        self._channel = Channel(address, namespace=namespace)

    def call(self, method: Method[Request, Response], request: Request, done: tuple[type[Error], ...] = ()) -> Response | None:  # fmt: skip
        """Ask until there is an answer. ``None`` when a repetition gets one of ``done``: the first had arrived."""
        deadline = time.monotonic() + SECONDS
        repeated = False
        while True:
            try:
                return self._channel.unary(method, request, timeout=SECONDS)
            except Unavailable:
                assert time.monotonic() < deadline, f"{method.path} hangs"
                time.sleep(0.05)
            except done:
                if repeated:
                    return None
                raise
            repeated = True

    def close(self) -> None:
        self._channel.close()


class Cycle:
    """One container from its record to the removal of everything."""

    def __init__(self, client: Patient, arena: Arena, container_id: str, parent: str) -> None:
        self.id = container_id
        self._client = client
        self._arena = arena
        self._parent = parent
        self._place = arena.scratch / "streams" / container_id
        self._place.mkdir(parents=True)
        self._streams: dict[str, int] = {}

    def make(self, args: list[str]) -> None:
        """The record, then the snapshot that it refers to, then the task."""
        spec = oci.default_spec(self.id, self._arena.name)
        spec["process"].update(args=args, env=[_PATH])
        spec["root"] = {"path": "rootfs"}
        record = containers.Container(
            id=self.id,
            runtime=containers.Container.Runtime(name="io.containerd.runc.v2"),
            spec=AnyMessage(type_url=_SPEC, value=json.dumps(spec).encode()),
            snapshotter=_SNAPSHOTTER,
            snapshot_key=self.id,
        )
        created = containers.CreateContainerRequest(container=record)
        self._client.call(containers.Containers.create, created, done=(AlreadyExists,))
        prepare = snapshots.PrepareSnapshotRequest(
            snapshotter=_SNAPSHOTTER, key=self.id, parent=self._parent
        )
        self._client.call(snapshots.Snapshots.prepare, prepare, done=(AlreadyExists,))
        self._process = spec["process"]
        self._create()

    def _create(self) -> None:
        wanted = snapshots.MountsRequest(snapshotter=_SNAPSHOTTER, key=self.id)
        mounts = self._client.call(snapshots.Snapshots.mounts, wanted)
        assert mounts is not None
        paths = {name: self._fifo(name) for name in ("stdin", "stdout", "stderr")}
        request = tasks.CreateTaskRequest(container_id=self.id, rootfs=mounts.mounts, **paths)
        deadline = time.monotonic() + SECONDS
        while self._client.call(tasks.Tasks.create, request, done=(AlreadyExists,)) is None:
            try:
                self._client.call(tasks.Tasks.get, tasks.GetRequest(container_id=self.id))
            except NotFound:
                assert time.monotonic() < deadline, f"{self.id} is neither there nor absent"
                continue
            return

    def _fifo(self, name: str) -> str:
        path = self._place / name
        if name not in self._streams:
            os.mkfifo(path)
            self._streams[name] = os.open(path, os.O_RDWR | os.O_NONBLOCK)
        return str(path)

    def start(self, exec_id: str = "") -> None:
        request = tasks.StartRequest(container_id=self.id, exec_id=exec_id)
        self._client.call(tasks.Tasks.start, request, done=(FailedPrecondition,))

    def execute(self, exec_id: str, status: int) -> int:
        """Run a further process that exits with ``status``; how it ended."""
        process = {**self._process, "args": ["sh", "-c", f"exit {status}"]}
        spec = AnyMessage(type_url=_PROCESS, value=json.dumps(process).encode())
        request = tasks.ExecProcessRequest(container_id=self.id, exec_id=exec_id, spec=spec)
        self._client.call(tasks.Tasks.exec, request, done=(AlreadyExists,))
        self.start(exec_id)
        found = self.wait(exec_id)
        delete = tasks.DeleteProcessRequest(container_id=self.id, exec_id=exec_id)
        self._client.call(tasks.Tasks.delete_process, delete, done=(NotFound,))
        return found

    def say(self, line: str) -> None:
        """A line for its standard input."""
        os.write(self._streams["stdin"], f"{line}\n".encode())

    def wait(self, exec_id: str = "") -> int:
        request = tasks.WaitRequest(container_id=self.id, exec_id=exec_id)
        found = self._client.call(tasks.Tasks.wait, request)
        assert found is not None
        assert found.exited_at is not None
        assert abs(found.exited_at.nanoseconds() / 1e9 - time.time()) < SECONDS
        return int(found.exit_status)

    def status(self) -> int:
        found = self._client.call(tasks.Tasks.get, tasks.GetRequest(container_id=self.id))
        assert found is not None
        assert found.process is not None
        return int(found.process.status)

    def kill(self) -> None:
        request = tasks.KillRequest(container_id=self.id, signal=9)
        self._client.call(tasks.Tasks.kill, request, done=(NotFound,))

    def output(self, name: str) -> bytes:
        """What was written until now."""
        found, fd = b"", self._streams[name]
        while select.select([fd], [], [], 0)[0]:
            found += os.read(fd, 65536)
        return found

    def remove(self) -> int | None:
        """Everything, in the order of a client; the exit status that the removal of the task told, if it did."""
        try:
            deleted = self._client.call(
                tasks.Tasks.delete, tasks.DeleteTaskRequest(container_id=self.id)
            )
        except NotFound:
            deleted = None
        request = snapshots.RemoveSnapshotRequest(snapshotter=_SNAPSHOTTER, key=self.id)
        with suppress(NotFound):
            self._client.call(snapshots.Snapshots.remove, request)
        record = containers.DeleteContainerRequest(id=self.id)
        self._client.call(containers.Containers.delete, record, done=(NotFound,))
        return None if deleted is None else int(deleted.exit_status)

    def end(self) -> None:
        """Remove it, whatever state it is in."""
        with suppress(NotFound):
            self.kill()
        with suppress(NotFound):
            self.wait()
        self.remove()

    def close(self) -> None:
        for fd in self._streams.values():
            os.close(fd)
        self._streams.clear()
        shutil.rmtree(self._place)


class Load:
    """Workers that run cycles until they are told to stop. ``killed`` names the shims that were ended from outside."""

    def __init__(self, client: Callable[[], Patient], arena: Arena, parent: str, killed: set[str]) -> None:  # fmt: skip
        self._client = client
        self._arena = arena
        self._parent = parent
        self._killed = killed
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []
        self.problems: list[str] = []
        self.right = 0
        """Exit statuses that were as expected."""

    def start(self, workers: int) -> None:
        for number in range(workers):
            thread = threading.Thread(target=self._work, args=(number,), daemon=True)
            thread.start()
            self._threads.append(thread)

    def stop(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(_END_SECONDS)
            if thread.is_alive():
                self.problems.append("a client hangs")

    def _work(self, worker: int) -> None:
        client, number = self._client(), 0
        while not self._stop.is_set() and not self.problems:
            number += 1
            cycle = Cycle(client, self._arena, f"c{worker}-{number}", self._parent)
            try:
                self._attempt(cycle)
            except (Error, AssertionError, OSError) as problem:
                self.problems.append(f"{cycle.id}: {type(problem).__name__}: {problem}")
            finally:
                cycle.close()
        client.close()

    def _attempt(self, cycle: Cycle) -> None:
        try:
            self.run(cycle)
        except Error:
            # What a shim was doing when it was killed fails; what it leaves can be removed all the same.
            if not self._was_killed(cycle):
                raise
            cycle.end()

    def run(self, cycle: Cycle) -> None:
        """One cycle, with all that it is to tell."""
        status, further = random.randrange(50), random.randrange(50)
        cycle.make(["sh", "-c", _SCRIPT.format(status=status)])
        cycle.start()
        if random.random() < 0.5:
            self._expect(cycle, "exec", cycle.execute("e", further), further)
        cycle.say(cycle.id)
        self._expect(cycle, "exit status", cycle.wait(), status)
        self._expect(cycle, "output", cycle.output("stdout"), f"begin\n{cycle.id}\n".encode())
        self._expect(cycle, "errors", cycle.output("stderr"), b"error\n")
        told = cycle.remove()
        if told is not None:
            self._expect(cycle, "deleted", told, status)

    def _expect(self, cycle: Cycle, what: str, found: Any, wanted: Any) -> None:
        if found == wanted:
            self.right += 1
        elif not self._was_killed(cycle):
            self.problems.append(
                f"{cycle.id}: {what} {found!r}, not {wanted!r}; {self._said_about(cycle)}"
            )

    def _said_about(self, cycle: Cycle) -> list[str]:
        """What is in the logs of daemon, keeper and shim."""
        name = shim_name(self._arena.name, cycle.id)
        logs = [self._arena.scratch / "pinnaced.log", self._arena.scratch / "keeper.log"]
        found = []
        for log in logs:
            lines = log.read_text().splitlines()
            found += [
                line
                for line in lines
                if f"{cycle.id} " in line or name in line or f"{cycle.id}:" in line
            ]
        shim = Path(f"/proc/{self._arena.pid}/root/run/pinnace/s/{name}")
        for file in ("shim.log", "exit.json"):
            with suppress(OSError):
                found.append(f"{file}: {(shim / file).read_text()}")
        return found

    def _was_killed(self, cycle: Cycle) -> bool:
        return shim_name(self._arena.name, cycle.id) in self._killed


def remaining(path: Path) -> list[str]:
    """What is in a directory, which may be absent."""
    return sorted(each.name for each in path.iterdir()) if path.exists() else []
