"""The services as a client sees them: a whole daemon on a socket, over pretended shims."""

from __future__ import annotations

import hashlib
import json
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pinnace import errors
from pinnace.api.client import Channel
from pinnace.api.method import methods_of
from pinnace.api.schema import (
    containers,
    content,
    eventservice,
    health,
    images,
    introspection,
    leases,
    namespaces,
    runc,
    runtimeoptions,
    snapshots,
    tasks,
    version,
)
from pinnace.api.schema import events as kinds
from pinnace.api.schema.types import Descriptor
from pinnace.api.schema.wellknown import Any, Empty, FieldMask
from pinnace.api.server import Server
from pinnace.api.services import NAMES, table
from pinnace.api.services.runtime import options_of
from pinnace.daemon.config import Config
from pinnace.daemon.daemon import Daemon
from pinnace.daemon.log import Log
from tests.unit.daemon.shims import FakeShims

LAYER = "application/vnd.oci.image.layer.v1.tar"
SPEC = Any(type_url="types.containerd.io/opencontainers/runtime-spec/1/Spec", value=b"{}")
ROOTED = {"containerd.io/gc.root": "now"}
RUNC = containers.Container.Runtime(name="io.containerd.runc.v2")


class World:
    """A daemon with its API, and a channel to it."""

    def __init__(self, root: Path) -> None:
        # The first collection comes late: content that nothing refers to must outlive a slow test.
        settings = {
            "root": str(root / "root"),
            "state": str(root / "run"),
            "gc_startup_delay": "1h",
        }
        self.shims = FakeShims()
        self.daemon = Daemon(Config(settings), Log("panic"), self.shims)
        self.failures: list[str] = []
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(root / "s"))
        listener.listen()
        self.server = Server(listener, table(self.daemon), on_failure=self.failures.append)
        threading.Thread(target=self.server.serve, daemon=True).start()
        self.daemon.start()
        self.channel = Channel(str(root / "s"), namespace="default", timeout=10)
        self.call = self.channel.unary

    def write(self, data: bytes, ref: str = "ref", *, rooted: bool = True, **labels: str) -> str:
        """Write a blob as clients do; its digest. A root stays, whenever the collector runs."""
        digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
        with self.channel.stream(content.Content.write) as call:
            call.send(
                content.WriteContentRequest(
                    action=content.WRITE_ACTION_COMMIT,
                    ref=ref,
                    total=len(data),
                    expected=digest,
                    data=data,
                    labels={**(ROOTED if rooted else {}), **labels},
                )
            )
            answer = call.receive()
            call.finish()
            assert call.receive() is None
        assert answer is not None
        assert answer.digest == digest
        return digest

    def create_image(self, name: str, digest: str) -> images.Image:
        target = Descriptor(media_type=LAYER, digest=digest, size=5)
        request = images.CreateImageRequest(image=images.Image(name=name, target=target))
        found = self.call(images.Images.create, request).image
        assert found is not None
        return found

    def create_container(self, name: str, **fields: object) -> None:
        container = containers.Container(id=name, runtime=RUNC, spec=SPEC, **fields)
        request = containers.CreateContainerRequest(container=container)
        self.call(containers.Containers.create, request)


def wait_released(world: World, ref: str) -> None:
    """The daemon sees that a client has left when it gets to it."""
    deadline = time.monotonic() + 10
    while world.daemon.store.content.blobs.busy(f"default/{ref}") and time.monotonic() < deadline:
        time.sleep(0.01)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    found = World(tmp_path)
    yield found
    found.channel.close()
    found.server.stop(grace=1)
    found.daemon.stop()
    assert found.failures == []


@pytest.mark.parametrize("name", NAMES)
def test_every_declared_method_is_served(world: World, name: str) -> None:
    schema, service = table(world.daemon)[name]()
    missing = [method for method in methods_of(schema) if not hasattr(service, method)]
    assert missing == []


def test_version_health_and_who_serves(world: World) -> None:
    assert world.call(version.Version.version, Empty()).version.startswith("v2.")
    check = world.call(health.Health.check, health.HealthCheckRequest())
    assert check.status == health.SERVING_STATUS_SERVING
    first = world.call(introspection.Introspection.server, Empty())
    assert first.pid > 0
    assert len(first.uuid) == 36
    with pytest.raises(errors.NotFound):
        world.call(health.Health.check, health.HealthCheckRequest(service="none"))


def test_plugins_are_filtered(world: World) -> None:
    request = introspection.PluginsRequest(filters=["type==io.containerd.snapshotter.v1"])
    found = world.call(introspection.Introspection.plugins, request).plugins
    assert [plugin.id for plugin in found] == ["native", "overlayfs"]
    assert found[0].exports["root"].endswith("native")


def test_namespaces(world: World) -> None:
    wanted = namespaces.Namespace(name="web", labels={"a": "b"})
    world.call(namespaces.Namespaces.create, namespaces.CreateNamespaceRequest(namespace=wanted))
    listed = world.call(namespaces.Namespaces.list, namespaces.ListNamespacesRequest())
    assert listed.namespaces == [wanted]
    world.call(namespaces.Namespaces.delete, namespaces.DeleteNamespaceRequest(name="web"))
    with pytest.raises(errors.NotFound):
        world.call(namespaces.Namespaces.get, namespaces.GetNamespaceRequest(name="web"))


def test_content_is_written_and_read(world: World) -> None:
    data = bytes(range(256)) * 4000
    digest = world.write(data, l="1")
    info = world.call(content.Content.info, content.InfoRequest(digest=digest)).info
    assert info is not None
    assert (info.size, info.labels) == (len(data), {**ROOTED, "l": "1"})
    for offset, size in ((0, 0), (10, 0), (1_000_000, 24_000), (0, 1)):
        request = content.ReadContentRequest(digest=digest, offset=offset, size=size)
        with world.channel.stream(content.Content.read, request) as call:
            got = b"".join(part.data for part in call)
        assert got == data[offset : offset + size if size else None]
    request = content.ReadContentRequest(digest=digest, offset=len(data) + 1)
    with (
        world.channel.stream(content.Content.read, request) as call,
        pytest.raises(errors.OutOfRange),
    ):
        call.receive()


def test_content_that_exists_is_refused(world: World) -> None:
    digest = world.write(b"data")
    with world.channel.stream(content.Content.write) as call:
        call.send(content.WriteContentRequest(ref="again", total=4, expected=digest))
        with pytest.raises(errors.AlreadyExists):
            call.receive()


def test_an_interrupted_write_is_resumed(world: World) -> None:
    def request(action: int, **fields: object) -> content.WriteContentRequest:
        return content.WriteContentRequest(action=action, ref="r", total=8, **fields)

    with world.channel.stream(content.Content.write) as call:
        call.send(request(content.WRITE_ACTION_WRITE, data=b"half"))
        assert call.receive() is not None
    status = world.call(content.Content.status, content.StatusRequest(ref="r")).status
    assert status is not None
    assert (status.offset, status.total) == (4, 8)
    wait_released(world, "r")
    with world.channel.stream(content.Content.write) as call:
        call.send(request(content.WRITE_ACTION_STAT))
        found = call.receive()
        assert found is not None
        assert found.offset == 4
        call.send(request(content.WRITE_ACTION_COMMIT, offset=4, data=b"left"))
        done = call.receive()
        assert done is not None
        assert done.digest == f"sha256:{hashlib.sha256(b'halfleft').hexdigest()}"


@pytest.mark.parametrize(
    ("first", "second", "error"),
    [
        ({"ref": ""}, {}, errors.InvalidArgument),
        ({"ref": "a"}, {"ref": "b"}, errors.InvalidArgument),
        ({"ref": "a", "total": 5}, {"ref": "a", "total": 6}, errors.InvalidArgument),
        ({"ref": "a", "data": b"123"}, {"offset": 9, "data": b"4"}, errors.OutOfRange),
        (
            {"ref": "a", "data": b"1"},
            {"action": content.WRITE_ACTION_COMMIT, "offset": 1, "total": 7},
            errors.FailedPrecondition,
        ),
        ({"ref": "a", "expected": "sha256:12"}, {}, errors.InvalidArgument),
    ],
)
def test_wrong_writes(
    world: World, first: dict[str, object], second: dict[str, object], error: type[Exception]
) -> None:
    def write() -> None:
        with world.channel.stream(content.Content.write) as call:
            for fields in (first, second):
                call.send(content.WriteContentRequest(**{"action": 1, **fields}))
                call.receive()

    with pytest.raises(error):
        write()


def test_images(world: World) -> None:
    digest = world.write(b"image")
    world.create_image("registry.lab/a:1", digest)
    with pytest.raises(errors.AlreadyExists):
        world.create_image("registry.lab/a:1", digest)
    update = images.UpdateImageRequest(
        image=images.Image(name="registry.lab/a:1", labels={"k": "v"}, target=Descriptor()),
        update_mask=FieldMask(paths=["labels.k"]),
    )
    changed = world.call(images.Images.update, update).image
    assert changed is not None
    assert changed.target is not None
    assert (changed.labels, changed.target.digest) == ({"k": "v"}, digest)
    listed = world.call(images.Images.list, images.ListImagesRequest(filters=["name~=lab"]))
    assert [image.name for image in listed.images] == ["registry.lab/a:1"]


def test_removing_an_image_synchronously_frees_its_content(world: World) -> None:
    digest = world.write(b"image", rooted=False)
    world.create_image("a", digest)
    world.call(images.Images.delete, images.DeleteImageRequest(name="a", sync=True))
    with pytest.raises(errors.NotFound):
        world.call(content.Content.info, content.InfoRequest(digest=digest))


def test_a_lease_keeps_content_from_the_collector(world: World) -> None:
    lease = world.call(leases.Leases.create, leases.CreateRequest(id="l1")).lease
    assert lease is not None
    leased = Channel(world.channel.address, namespace="default", lease="l1", timeout=10)
    before, world.channel = world.channel, leased
    digest = world.write(b"kept", rooted=False)
    world.channel = before
    leased.close()
    world.daemon.collector.freed(sync=True)
    world.call(content.Content.info, content.InfoRequest(digest=digest))
    held = world.call(leases.Leases.list_resources, leases.ListResourcesRequest(id="l1"))
    assert [item.type for item in held.resources] == ["content"]
    world.call(leases.Leases.delete, leases.DeleteRequest(id="l1", sync=True))
    with pytest.raises(errors.NotFound):
        world.call(content.Content.info, content.InfoRequest(digest=digest))


def test_snapshots(world: World) -> None:
    native = {"snapshotter": "native"}
    service = snapshots.Snapshots
    root = {"containerd.io/gc.root": "now"}  # the collector runs beside the test
    request = snapshots.PrepareSnapshotRequest(key="k", labels=root, **native)
    mounts = world.call(service.prepare, request).mounts
    Path(mounts[0].source, "file").write_text("x")
    world.call(
        service.commit,
        snapshots.CommitSnapshotRequest(name="n", key="k", labels={"a": "b", **root}, **native),
    )
    info = world.call(service.stat, snapshots.StatSnapshotRequest(key="n", **native)).info
    assert info is not None
    assert (info.kind, info.labels) == (snapshots.KIND_COMMITTED, {"a": "b", **root})
    with world.channel.stream(service.list, snapshots.ListSnapshotsRequest(**native)) as call:
        assert [item.name for page in call for item in page.info] == ["n"]
    assert world.call(service.usage, snapshots.UsageRequest(key="n", **native)).inodes >= 1
    world.call(service.remove, snapshots.RemoveSnapshotRequest(key="n", **native))
    with pytest.raises(errors.NotFound):
        world.call(service.mounts, snapshots.MountsRequest(key="n", **native))
    with pytest.raises(errors.InvalidArgument, match="snapshotter not loaded: zfs"):
        world.call(service.mounts, snapshots.MountsRequest(snapshotter="zfs", key="n"))


def test_containers(world: World) -> None:
    world.create_container("c1", labels={"app": "web"}, extensions={"e": SPEC})
    get = containers.GetContainerRequest(id="c1")
    found = world.call(containers.Containers.get, get).container
    assert found is not None
    assert (found.spec, found.runtime, found.extensions) == (SPEC, RUNC, {"e": SPEC})
    with world.channel.stream(
        containers.Containers.list_stream, containers.ListContainersRequest()
    ) as call:
        assert [item.container.id for item in call if item.container] == ["c1"]
    world.call(containers.Containers.delete, containers.DeleteContainerRequest(id="c1"))
    with pytest.raises(errors.NotFound, match='container "c1" in namespace "default"'):
        world.call(containers.Containers.get, get)


def test_a_task_through_the_api(world: World) -> None:
    world.create_container("c1")
    service = tasks.Tasks
    created = world.call(service.create, tasks.CreateTaskRequest(container_id="c1"))
    assert created.pid == 100
    assert world.call(service.start, tasks.StartRequest(container_id="c1")).pid == 100
    listed = world.call(service.list, tasks.ListTasksRequest()).tasks
    assert [(task.id, task.status) for task in listed] == [("c1", 2)]
    timer = threading.Timer(0.02, lambda: world.shims.only.end("", 33))
    timer.start()
    waited = world.call(service.wait, tasks.WaitRequest(container_id="c1"))
    assert waited.exit_status == 33
    gone = world.call(service.delete, tasks.DeleteTaskRequest(container_id="c1"))
    assert (gone.id, gone.exit_status) == ("c1", 33)


def test_waiting_with_a_deadline_and_after_the_client_left(world: World) -> None:
    world.create_container("c1")
    world.call(tasks.Tasks.create, tasks.CreateTaskRequest(container_id="c1"))
    with pytest.raises(errors.DeadlineExceeded):
        world.call(tasks.Tasks.wait, tasks.WaitRequest(container_id="c1"), timeout=0.05)
    world.channel.stream(tasks.Tasks.wait, tasks.WaitRequest(container_id="c1")).cancel()


def test_options_of_cri_come_as_text() -> None:
    body = b'SystemdCgroup = true\nBinaryName = "/usr/bin/runc"\nOther = 1\n'
    packed = Any.pack(runtimeoptions.Options(config_body=body))
    assert options_of(packed) == {"systemd_cgroup": True, "binary_name": "/usr/bin/runc"}
    assert options_of(Any.pack(runtimeoptions.Options(config_path="/etc/x"))) == {}
    for wrong in (b"SystemdCgroup = 1", b"SystemdCgroup = ", b'BinaryName = "/bin/crun"', b"\xff"):
        with pytest.raises(errors.InvalidArgument):
            options_of(Any.pack(runtimeoptions.Options(config_body=wrong)))


@pytest.mark.parametrize(
    ("runtime", "options", "error"),
    [
        ("io.containerd.kata.v2", None, errors.NotFound),
        ("io.containerd.runc.v2", Any(type_url="evil", value=b"x"), errors.InvalidArgument),
        (
            "io.containerd.runc.v2",
            Any(type_url="containerd.runc.v1.Options", value=b"\xff"),
            errors.InvalidArgument,
        ),
    ],
)
def test_runtimes_that_are_not_here(
    world: World, runtime: str, options: Any | None, error: type[Exception]
) -> None:
    container = containers.Container(
        id="c1", runtime=containers.Container.Runtime(name=runtime), spec=SPEC
    )
    request = containers.CreateContainerRequest(container=container)
    world.call(containers.Containers.create, request)
    with pytest.raises(error):
        world.call(tasks.Tasks.create, tasks.CreateTaskRequest(container_id="c1", options=options))


def test_a_process_spec_and_resources_go_to_the_shim(world: World) -> None:
    world.create_container("c1")
    service = tasks.Tasks
    world.call(service.create, tasks.CreateTaskRequest(container_id="c1"))
    spec = Any(value=json.dumps({"args": ["ls"]}).encode())
    world.call(service.exec, tasks.ExecProcessRequest(container_id="c1", exec_id="e", spec=spec))
    resources = Any(value=b'{"memory": {"limit": 1}}')
    world.call(service.update, tasks.UpdateTaskRequest(container_id="c1", resources=resources))
    calls = dict(world.shims.only.calls)
    assert calls["exec"]["process"] == {"args": ["ls"]}
    assert calls["update"]["resources"] == {"memory": {"limit": 1}}
    with pytest.raises(errors.InvalidArgument):
        world.call(
            service.update,
            tasks.UpdateTaskRequest(container_id="c1", resources=Any(value=b"[]")),
        )


def test_a_checkpoint_goes_to_the_shim_and_into_content(world: World) -> None:
    world.create_container("c1")
    service = tasks.Tasks
    world.call(service.create, tasks.CreateTaskRequest(container_id="c1"))
    found = world.call(service.checkpoint, tasks.CheckpointTaskRequest(container_id="c1"))
    assert [each.media_type.rpartition(".")[2] for each in found.descriptors] == ["tar", "v1+proto"]
    options = Any.pack(runc.CheckpointOptions(image_path="/images", exit=True))
    request = tasks.CheckpointTaskRequest(container_id="c1", options=options)
    assert world.call(service.checkpoint, request).descriptors == []
    asked = [params for method, params in world.shims.only.calls if method == "checkpoint"]
    assert [each["path"] == "/images" for each in asked] == [False, True]
    assert [each["options"]["exit"] for each in asked] == [False, True]
    with pytest.raises(errors.NotFound):
        world.call(service.checkpoint, tasks.CheckpointTaskRequest(container_id="c2"))


def test_events_arrive_in_order_and_as_messages(world: World) -> None:
    listening = len(world.daemon.events._subscriptions)  # the daemon's own parts
    with world.channel.stream(
        eventservice.Events.subscribe, eventservice.SubscribeRequest(filters=["namespace==default"])
    ) as call:
        marker = eventservice.PublishRequest(topic="/test/marker", event=Any(type_url="t"))
        while len(world.daemon.events._subscriptions) == listening:
            world.call(version.Version.version, Empty())
        world.call(eventservice.Events.publish, marker)
        world.create_container("c1")
        world.call(tasks.Tasks.create, tasks.CreateTaskRequest(container_id="c1", stdout="/o"))
        world.call(tasks.Tasks.start, tasks.StartRequest(container_id="c1"))
        world.shims.only.end("", 5)
        got = [call.receive() for _ in range(5)]
    topics = [envelope.topic for envelope in got if envelope]
    assert topics == [
        "/test/marker",
        "/containers/create",
        "/tasks/create",
        "/tasks/start",
        "/tasks/exit",
    ]
    create, ended = got[2], got[4]
    assert create is not None
    assert create.event is not None
    assert create.event.unpack(kinds.TaskCreate).io == kinds.TaskIO(stdout="/o")
    assert ended is not None
    assert ended.event is not None
    assert ended.event.unpack(kinds.TaskExit).exit_status == 5


def test_namespaces_keep_things_apart(world: World) -> None:
    world.create_container("c1")
    other = Channel(world.channel.address, namespace="other", timeout=10)
    listed = other.unary(containers.Containers.list, containers.ListContainersRequest())
    assert listed.containers == []
    nobody = Channel(world.channel.address, timeout=10)
    with pytest.raises(errors.FailedPrecondition, match="namespace is required"):
        nobody.unary(containers.Containers.list, containers.ListContainersRequest())
    other.close()
    nobody.close()
