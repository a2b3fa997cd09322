"""Containers as commands make them: a specification, a writable snapshot, and the record of both.

The calls and names are those of containerd's client, so that other clients can work on the result: the
snapshot's key is the container's id, the runtime is ``io.containerd.runc.v2``.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, NamedTuple

from pinnace.api.schema import containers as containers_api
from pinnace.api.schema import leases as leases_api
from pinnace.api.schema import snapshots as snapshots_api
from pinnace.api.schema.wellknown import Any as AnyMessage
from pinnace.cli import images
from pinnace.errors import Error, InvalidArgument, NotFound
from pinnace.linux.mount import Mount
from pinnace.spec import oci

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pinnace.api.schema.types import Mount as MountMessage
    from pinnace.cli.client import Client

RUNTIME = "io.containerd.runc.v2"
SNAPSHOTTER = "overlayfs"
SPEC_TYPE = "types.containerd.io/opencontainers/runtime-spec/1/Spec"
PROCESS_TYPE = "types.containerd.io/opencontainers/runtime-spec/1/Process"
_LEASE_HOURS = 24
_STOP_SIGNAL = "io.containerd.image.config.stop-signal"


class Prepared(NamedTuple):
    """A container's root: the mounts that make it, and what the image says about its process."""

    mounts: list[Mount]
    image_config: dict[str, Any]


@contextmanager
def leased(client: Client) -> Iterator[None]:
    """Keep the garbage collector from what is made inside until something refers to it."""
    lease = Lease(client)
    lease.hold()
    try:
        yield
    finally:
        lease.end()()


class Lease:
    """What :func:`leased` makes, without waiting: it is asked for here, there from :meth:`hold` on."""

    __slots__ = ("_client", "_id", "_is_held", "_made")

    def __init__(self, client: Client) -> None:
        import time

        until = time.time() + _LEASE_HOURS * 3600
        expires = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(until))
        self._client = client
        self._id = f"{time.time_ns()}-{os.urandom(4).hex()}"
        request = leases_api.CreateRequest(id=self._id, labels={"containerd.io/gc.expire": expires})
        self._made = client.begin(leases_api.Leases.create, request)
        self._is_held = False

    def hold(self) -> None:
        """Have it keep what is made from now on; raises what the daemon says."""
        self._is_held = True
        self._made.result()
        self._client.lease = self._id

    def end(self) -> Callable[[], object]:
        """Ask for its end; what is given waits for that, and raises what the daemon says."""
        if not self._is_held:
            self._made.result()  # its end must not come before it
        self._client.lease = ""
        request = leases_api.DeleteRequest(id=self._id)
        return self._client.begin(leases_api.Leases.delete, request).result


def mounts_of(messages: Sequence[MountMessage]) -> list[Mount]:
    return [Mount(each.type, each.source, each.target, tuple(each.options)) for each in messages]


def mount_messages(mounts: Sequence[Mount]) -> list[MountMessage]:
    """The reverse of :func:`mounts_of`."""
    from pinnace.api.schema.types import Mount as Message

    return [
        Message(type=each.type, source=each.source, target=each.target, options=list(each.options))
        for each in mounts
    ]


def prepare_snapshot(
    client: Client, snapshotter: str, key: str, parent: str, labels: dict[str, str]
) -> list[Mount]:
    """A writable snapshot over ``parent``; its mounts."""
    answer = client.call(
        snapshots_api.Snapshots.prepare,
        snapshots_api.PrepareSnapshotRequest(
            snapshotter=snapshotter, key=key, parent=parent, labels=labels
        ),
    )
    return mounts_of(answer.mounts)


def remove_snapshot(client: Client, snapshotter: str, key: str) -> None:
    request = snapshots_api.RemoveSnapshotRequest(snapshotter=snapshotter, key=key)
    client.call(snapshots_api.Snapshots.remove, request)


def snapshot_mounts(client: Client, container: containers_api.Container) -> list[MountMessage]:
    """The mounts of a container's root, as messages for Tasks.Create; empty without a snapshot."""
    if not container.snapshot_key:
        return []
    request = snapshots_api.MountsRequest(
        snapshotter=container.snapshotter, key=container.snapshot_key
    )
    return client.call(snapshots_api.Snapshots.mounts, request).mounts


def get(client: Client, container_id: str) -> containers_api.Container:
    """The container's record; raises :class:`NotFound`."""
    answer = client.call(
        containers_api.Containers.get, containers_api.GetContainerRequest(id=container_id)
    )
    if answer.container is None:
        raise NotFound(f'container "{container_id}": not found')
    return answer.container


def create(client: Client, record: containers_api.Container) -> containers_api.Container:
    request = containers_api.CreateContainerRequest(container=record)
    answer = client.call(containers_api.Containers.create, request)
    return answer.container or record


def delete(client: Client, container: containers_api.Container, *, keep_snapshot: bool) -> None:
    """Delete the record, and its snapshot before it (a record without one can be deleted again)."""
    if container.snapshot_key and not keep_snapshot:
        with suppress(NotFound):
            remove_snapshot(client, container.snapshotter, container.snapshot_key)
    request = containers_api.DeleteContainerRequest(id=container.id)
    client.call(containers_api.Containers.delete, request)


def record(
    container_id: str, spec: oci.Spec, *, image: str, labels: dict[str, str], snapshotter: str, key: str
) -> containers_api.Container:  # fmt: skip
    """The record of a container that is to be created."""
    return containers_api.Container(
        id=container_id,
        labels=labels,
        image=image,
        runtime=containers_api.Container.Runtime(name=RUNTIME),
        spec=AnyMessage(type_url=SPEC_TYPE, value=json.dumps(spec).encode()),
        snapshotter=snapshotter,
        snapshot_key=key,
    )


def spec_of(container: containers_api.Container) -> dict[str, Any]:
    """The specification in a container's record; raises :class:`InvalidArgument` when it has none."""
    if container.spec is None or not container.spec.value:
        raise InvalidArgument(f'container "{container.id}" has no specification')
    try:
        spec = json.loads(container.spec.value)
    except ValueError as problem:
        raise InvalidArgument(f'container "{container.id}": {problem}') from None
    if not isinstance(spec, dict):
        raise InvalidArgument(f'container "{container.id}": its specification is not an object')
    return spec


def labels_from_image(config: dict[str, Any], given: dict[str, str]) -> dict[str, str]:
    """The labels of a new container: the image's, its stop signal (SIGTERM by default), and over them the user's."""
    labels = {str(name): str(value) for name, value in (config.get("Labels") or {}).items()}
    labels[_STOP_SIGNAL] = str(config.get("StopSignal") or "SIGTERM")
    return {**labels, **given}


def parse_labels(words: Sequence[str]) -> dict[str, str]:
    """``key=value`` words; a bare ``key`` has the value ``""``."""
    return dict(word.partition("=")[::2] for word in words)


def image_parts(client: Client, image_name: str, platform_name: str) -> images.Contents:
    """What is in an image for a platform (empty: this machine's)."""
    from pinnace.spec import platform

    wanted = platform.parse(platform_name) if platform_name else None
    return images.contents(client, images.get(client, image_name), wanted)


def image_contents(
    client: Client, image_name: str, platform_name: str, snapshotter: str
) -> images.Contents:
    """The same, unpacked into ``snapshotter`` if it is not yet."""
    from pinnace.cli import unpack

    contents = image_parts(client, image_name, platform_name)
    unpack.ensure(client, contents, snapshotter)
    return contents


def bundle_root(path: str) -> str:
    """A root file system given as a directory; its absolute path."""
    absolute = os.path.abspath(path)
    if not os.path.isdir(absolute):
        raise InvalidArgument(f"rootfs {path} is not a directory")
    return absolute


def discard(client: Client, snapshotter: str, key: str) -> None:
    """Take back a snapshot after a failure; the first error is the one that counts."""
    try:
        remove_snapshot(client, snapshotter, key)
    except Error:
        return
