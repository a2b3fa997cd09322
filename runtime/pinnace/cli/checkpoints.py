"""Checkpoints as images: an index of what is needed to make a container again.

Its entries are the specification, the runtime's options, the writable layer, the image, and the task's memory, each
under containerd's media type (containerd's docs/client-opts.md and its ``images`` package name them); annotations
say which runtime and snapshotter it had and the image's name.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from pinnace.api.schema.runc import CheckpointOptions
from pinnace.api.schema.tasks import CheckpointTaskRequest, Tasks
from pinnace.api.schema.wellknown import Any as AnyMessage
from pinnace.cli import images, local, upload
from pinnace.errors import InvalidArgument
from pinnace.spec import image as documents
from pinnace.spec.digest import Digest, sha256
from pinnace.spec.image import Descriptor

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pinnace.api.schema.containers import Container
    from pinnace.cli.client import Client

SPEC = "application/vnd.containerd.container.checkpoint.config.v1+proto"
OPTIONS = "application/vnd.containerd.container.checkpoint.runtime.options+proto"
MEMORY = "application/vnd.containerd.container.criu.checkpoint.criu.tar"
RUNTIME_KEY = "io.containerd.checkpoint.runtime"
SNAPSHOTTER_KEY = "io.containerd.checkpoint.snapshotter"
IMAGE_KEY = "org.opencontainers.image.ref.name"


def task(
    client: Client, container_id: str, *, exit_after: bool = False, image_path: str = "", work_path: str = ""
) -> list[Descriptor]:  # fmt: skip
    """Have criu write a running task's memory; what the daemon stored of it."""
    options = CheckpointOptions(exit=exit_after, image_path=image_path, work_path=work_path)
    request = CheckpointTaskRequest(container_id=container_id, options=AnyMessage.pack(options))
    return [
        Descriptor(each.media_type, Digest.parse(each.digest), each.size)
        for each in client.call(Tasks.checkpoint, request).descriptors
    ]


def message(client: Client, media_type: str, packed: AnyMessage) -> Descriptor:
    """Store a packed message as a piece of a checkpoint."""
    data = packed.encode()
    digest = sha256(data)
    upload.write(
        client, f"checkpoint-{os.urandom(6).hex()}", [data], size=len(data), digest=str(digest)
    )
    return Descriptor(media_type, digest, len(data))


def store(
    client: Client, container: Container, name: str, pieces: Sequence[Descriptor]
) -> Descriptor:
    """Write the index of the pieces and name it; call it under a lease."""
    found = {each.media_type for each in pieces}
    kept = list(pieces)
    if SPEC not in found and container.spec is not None:
        kept.append(message(client, SPEC, container.spec))
    options = container.runtime.options if container.runtime else None
    if OPTIONS not in found and options is not None:
        kept.append(message(client, OPTIONS, options))
    annotations = {
        RUNTIME_KEY: container.runtime.name if container.runtime else "",
        SNAPSHOTTER_KEY: container.snapshotter,
        IMAGE_KEY: container.image,
    }
    document: dict[str, Any] = {
        "schemaVersion": 2,
        "mediaType": documents.OCI_INDEX,
        "manifests": [each.to_json() for each in kept],
        "annotations": {key: value for key, value in annotations.items() if value},
    }
    data = documents.dump(document)
    root = Descriptor(documents.OCI_INDEX, sha256(data), len(data))
    labels = {f"containerd.io/gc.ref.content.{n}": str(each.digest) for n, each in enumerate(kept)}
    upload.write(
        client, f"checkpoint-{os.urandom(6).hex()}", [data], size=len(data),
        digest=str(root.digest), labels=labels,
    )  # fmt: skip
    local.name_it(client, name, root, {})
    return root


class Checkpoint:
    """A checkpoint that was stored; raises InvalidArgument for an image that is none."""

    def __init__(self, client: Client, name: str) -> None:
        self._client = client
        root = images.target_of(images.get(client, name))
        data = images.read_document(client, root)
        document = documents.parse_document(data)
        annotations = document.get("annotations") or {}
        if RUNTIME_KEY not in annotations:
            raise InvalidArgument(
                f"image {name} is no checkpoint", hint="ctr containers checkpoint"
            )
        self.runtime = str(annotations[RUNTIME_KEY])
        self.snapshotter = str(annotations.get(SNAPSHOTTER_KEY) or "")
        self.image = str(annotations.get(IMAGE_KEY) or "")
        entries = documents.parse_index(data, documents.OCI_INDEX).manifests
        self.pieces = {each.media_type: each for each in entries}

    def packed(self, media_type: str) -> AnyMessage | None:
        """A packed message among the pieces."""
        piece = self.pieces.get(media_type)
        if piece is None:
            return None
        return AnyMessage.decode(images.read_document(self._client, piece))

    def layer(self) -> Descriptor | None:
        """The layer with what the container had written."""
        found = [each for kind, each in self.pieces.items() if documents.is_layer(kind)]
        return found[0] if found else None
