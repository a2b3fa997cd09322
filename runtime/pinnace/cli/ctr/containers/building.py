"""A container from the flags of ``run`` and ``containers create``."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

from pinnace.api.schema import runc, runtimeoptions
from pinnace.api.schema.containers import Container
from pinnace.api.schema.wellknown import Any as AnyMessage
from pinnace.cli import containers, images, unpack
from pinnace.cli.ctr.containers import userns
from pinnace.cli.ctr.containers.specflags import make_spec, read_json
from pinnace.errors import Error, InvalidArgument, NotFound
from pinnace.linux.mount import Mount
from pinnace.spec import oci
from pinnace.spec import platform as platforms

if TYPE_CHECKING:
    from collections.abc import Callable

    from pinnace.cli.client import Client
    from pinnace.cli.images import Contents
    from pinnace.cli.options import Call


class Built(NamedTuple):
    """A container's record, and the mounts of its root where it has a snapshot."""

    container: Container
    mounts: list[Mount]
    settle: Callable[[], object] = lambda: None
    """Waits for what the command still has under way; raises what the daemon says of it."""


def build(client: Client, call: Call) -> Built:
    """Create the container that a command line asks for."""
    if call.text("config"):
        return Built(_from_config(client, call), [])
    image_name = call.argument(0, "image ref must be provided")
    container_id = call.argument(1, "container id must be provided")
    if call.on("rootfs"):
        return Built(_from_rootfs(client, call, image_name, container_id), [])
    lease = containers.Lease(client)
    try:
        platform = call.text("platform") if call.has("platform") else ""
        contents = containers.image_parts(client, image_name, platform)
        lease.hold()
        container, mounts = _from_image(client, call, container_id, contents)
    except BaseException:
        with suppress(Error):  # the first error is the one that counts
            lease.end()()
        raise
    return Built(container, mounts, lease.end())


def _from_image(
    client: Client, call: Call, container_id: str, contents: Contents
) -> tuple[Container, list[Mount]]:
    snapshotter = call.text("snapshotter")
    labels = containers.parse_labels(call.texts("snapshotter-label"))
    shift = userns.wanted(call)
    mounts = _prepare(client, call, container_id, contents, labels, shift)
    try:
        config = contents.config.document.get("config") or {}
        spec = make_spec(call, container_id, config, mounts)
        if shift is not None:
            shift.apply(spec)
        record = containers.record(
            container_id, spec, image=call.args[0], snapshotter=snapshotter, key=container_id,
            labels=containers.labels_from_image(config, _labels(call)),
        )  # fmt: skip
        return containers.create(client, _with_runtime(record, call)), mounts
    except BaseException:
        containers.discard(client, snapshotter, container_id)
        raise


def _prepare(
    client: Client, call: Call, key: str, contents: Contents, labels: dict[str, str],
    shift: userns.Shift | None,
) -> list[Mount]:  # fmt: skip
    """The container's snapshot; the image is unpacked when that turns out to be missing."""
    snapshotter, parent = call.text("snapshotter"), contents.chain_id
    if shift is not None and call.on("remap-labels"):
        labels = {**labels, **shift.labels()}
    elif shift is not None:
        unpack.ensure(client, contents, snapshotter, sync_fs=_syncs(call))
        parent = userns.shifted(client, snapshotter, parent, shift)
    try:
        return containers.prepare_snapshot(client, snapshotter, key, parent, labels)
    except NotFound:
        unpack.ensure(client, contents, snapshotter, sync_fs=_syncs(call))
    return containers.prepare_snapshot(client, snapshotter, key, parent, labels)


def _syncs(call: Call) -> bool:
    return call.has("sync-fs") and call.on("sync-fs")


def _from_config(client: Client, call: Call) -> Container:
    container_id = call.argument(0, "container id must be provided")
    if len(call.args) > 1:
        raise InvalidArgument("with --config only the container's id is given")
    spec = read_json(call.text("config"))
    record = containers.record(
        container_id, spec, image="", labels=_labels(call), snapshotter="", key=""
    )
    return containers.create(client, _with_runtime(record, call))


def _from_rootfs(client: Client, call: Call, directory: str, container_id: str) -> Container:
    root = containers.bundle_root(directory)
    spec = make_spec(call, container_id, {}, [Mount("bind", root)])
    spec["root"]["path"] = root
    record = containers.record(
        container_id, spec, image="", labels=_labels(call), snapshotter="", key=""
    )
    return containers.create(client, _with_runtime(record, call))


def _labels(call: Call) -> dict[str, str]:
    return containers.parse_labels(call.texts("label"))


def _with_runtime(record: Container, call: Call) -> Container:
    record.runtime = Container.Runtime(name=call.text("runtime"), options=runtime_options(call))
    record.sandbox = call.text("sandbox")
    return record


def runtime_options(call: Call) -> AnyMessage:
    """What the flags say to the runtime; as containerd's client, empty options rather than none."""
    if call.text("runtime-config-path"):
        path = os.path.abspath(call.text("runtime-config-path"))
        return AnyMessage.pack(runtimeoptions.Options(config_path=path))
    options = runc.Options(
        binary_name=call.text("runc-binary"),
        root=call.text("runc-root"),
        systemd_cgroup=call.on("runc-systemd-cgroup"),
    )
    return AnyMessage.pack(options)


def dump(client: Client, call: Call) -> oci.Spec:
    """The specification that :func:`build` would record; nothing is made."""
    if call.text("config"):
        return read_json(call.text("config"))
    image_name = call.argument(0, "image ref must be provided")
    container_id = call.argument(1, "container id must be provided")
    if call.on("rootfs"):
        return make_spec(
            call, container_id, {}, [Mount("bind", containers.bundle_root(image_name))]
        )
    platform = platforms.parse(call.text("platform")) if call.text("platform") else None
    found = images.contents(client, images.get(client, image_name), platform)
    config = found.config.document.get("config") or {}
    with containers.leased(client):
        snapshotter, key = call.text("snapshotter"), f"ctr-dump-{os.urandom(6).hex()}"
        unpack.ensure(client, found, snapshotter)
        mounts = containers.prepare_snapshot(client, snapshotter, key, found.chain_id, {})
        try:
            spec = make_spec(call, container_id, config, mounts)
        finally:
            containers.discard(client, snapshotter, key)
    shift = userns.wanted(call)
    if shift is not None:
        shift.apply(spec)
    return spec
