"""What runs inside the arena: clients that start containers as fast as a daemon does it. Prints starts per second.

``starts.py ADDRESS NAMESPACE SECONDS CLIENTS``; each client is a process with a container of its own, whose task it creates, starts, waits
for and deletes, again and again, through containerd's API. Needs ``runtime/`` on PYTHONPATH.
"""

from __future__ import annotations

import json
import os
import sys
import time

from pinnace.api.client import Channel
from pinnace.api.schema import containers, snapshots, tasks
from pinnace.api.schema.wellknown import Any as AnyMessage
from pinnace.spec import oci

_SNAPSHOTTER = "overlayfs"
_SPEC = "types.containerd.io/opencontainers/runtime-spec/1/Spec"


class Client:
    """One container, started over and over."""

    def __init__(self, address: str, namespace: str, name: str) -> None:
        self._channel = Channel(address, namespace=namespace, timeout=60)
        self._namespace = namespace
        self.id = name

    def make(self) -> None:
        spec = oci.default_spec(self.id, self._namespace)
        spec["process"].update(args=["true"], env=["PATH=/bin:/usr/bin"])
        spec["root"] = {"path": "rootfs"}
        record = containers.Container(
            id=self.id,
            runtime=containers.Container.Runtime(name="io.containerd.runc.v2"),
            spec=AnyMessage(type_url=_SPEC, value=json.dumps(spec).encode()),
            snapshotter=_SNAPSHOTTER,
            snapshot_key=self.id,
        )
        request = containers.CreateContainerRequest(container=record)
        self._channel.unary(containers.Containers.create, request)
        prepare = snapshots.PrepareSnapshotRequest(
            snapshotter=_SNAPSHOTTER, key=self.id, parent=self._parent()
        )
        self._mounts = self._channel.unary(snapshots.Snapshots.prepare, prepare).mounts

    def _parent(self) -> str:
        """The image's snapshot, the only one that is committed."""
        request = snapshots.ListSnapshotsRequest(snapshotter=_SNAPSHOTTER)
        with self._channel.stream(snapshots.Snapshots.list, request) as call:
            for answer in call:
                for info in answer.info:
                    if info.kind == snapshots.KIND_COMMITTED:
                        return str(info.name)
        raise SystemExit("no image is unpacked")

    def start(self) -> None:
        create = tasks.CreateTaskRequest(container_id=self.id, rootfs=self._mounts)
        self._channel.unary(tasks.Tasks.create, create)
        with self._channel.stream(tasks.Tasks.wait, tasks.WaitRequest(container_id=self.id)) as end:
            self._channel.unary(tasks.Tasks.start, tasks.StartRequest(container_id=self.id))
            found = end.receive()
        if found is None or found.exit_status:
            raise SystemExit(f"{self.id} did not end well")
        self._channel.unary(tasks.Tasks.delete, tasks.DeleteTaskRequest(container_id=self.id))

    def remove(self) -> None:
        request = snapshots.RemoveSnapshotRequest(snapshotter=_SNAPSHOTTER, key=self.id)
        self._channel.unary(snapshots.Snapshots.remove, request)
        self._channel.unary(
            containers.Containers.delete, containers.DeleteContainerRequest(id=self.id)
        )


def _work(client: Client, seconds: float) -> int:
    """Start until the time is over; how often."""
    client.make()
    client.start()  # a warm-up
    count, end = 0, time.monotonic() + seconds
    while time.monotonic() < end:
        client.start()
        count += 1
    client.remove()
    return count


def main(address: str, namespace: str, seconds: float, clients: int) -> None:
    results = []
    for number in range(clients):
        reading, writing = os.pipe()
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                count = _work(Client(address, namespace, f"start{number}"), seconds)
                os.write(writing, b"%d" % count)
                status = 0
            finally:
                os._exit(status)
        os.close(writing)
        results.append((pid, reading))
    total = 0
    for pid, reading in results:
        told = os.read(reading, 64)
        os.waitpid(pid, 0)
        if not told:
            raise SystemExit("a client failed")
        total += int(told)
    print(total / seconds)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], float(sys.argv[3]), int(sys.argv[4]))
