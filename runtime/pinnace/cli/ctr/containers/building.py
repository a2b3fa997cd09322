"""A container from the flags of ``run`` and ``containers create``."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from pinnace.api.schema import runc, runtimeoptions
from pinnace.api.schema.containers import Container
from pinnace.api.schema.wellknown import Any as AnyMessage
from pinnace.cli import containers, images, unpack
from pinnace.cli.ctr.containers import userns
from pinnace.cli.ctr.containers.specflags import make_spec, read_json
from pinnace.errors import InvalidArgument
from pinnace.linux.mount import Mount
from pinnace.spec import oci
from pinnace.spec import platform as platforms

if TYPE_CHECKING:
    from pinnace.cli.client import Client
    from pinnace.cli.options import Call


def build(client: Client, call: Call) -> Container:
    """Create the container that a command line asks for; returns its record."""
    if call.text("config"):
        return _from_config(client, call)
    image_name = call.argument(0, "image ref must be provided")
    container_id = call.argument(1, "container id must be provided")
    if call.on("rootfs"):
        return _from_rootfs(client, call, image_name, container_id)
    snapshotter = call.text("snapshotter")
    with containers.leased(client):
        platform = call.text("platform") if call.has("platform") else ""
        contents = containers.image_contents(
            client,
            image_name,
            platform,
            snapshotter,
            sync_fs=call.has("sync-fs") and call.on("sync-fs"),
        )
        labels = containers.parse_labels(call.texts("snapshotter-label"))
        parent = contents.chain_id
        shift = userns.wanted(call)
        if shift is not None and call.on("remap-labels"):
            labels |= shift.labels()
        elif shift is not None:
            parent = userns.shifted(client, snapshotter, parent, shift)
        mounts = containers.prepare_snapshot(client, snapshotter, container_id, parent, labels)
        try:
            config = contents.config.document.get("config") or {}
            spec = make_spec(call, container_id, config, mounts)
            if shift is not None:
                shift.apply(spec)
            record = containers.record(
                container_id, spec, image=image_name, snapshotter=snapshotter, key=container_id,
                labels=containers.labels_from_image(config, _labels(call)),
            )  # fmt: skip
            return containers.create(client, _with_runtime(record, call))
        except BaseException:
            containers.discard(client, snapshotter, container_id)
            raise


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
