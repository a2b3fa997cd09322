"""OCI images, made: layers, configs, manifests, multi-arch indexes, and image layouts as tar.

Formats: OCI image specification 1.1 (config.md, manifest.md, image-index.md, image-layout.md). This
is the writing half only, for images that the project makes itself from contents it trusts.
"""

from __future__ import annotations

import datetime
import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from toolkit.tree import Tree, compress

CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"

IMAGE_NAME = "io.containerd.image.name"
"""The annotation by which containerd names an image that it imports from a layout."""
REF_NAME = "org.opencontainers.image.ref.name"


@dataclass(frozen=True, slots=True)
class Blob:
    """Bytes with a media type; ``digest`` is ``sha256:`` and 64 hexadecimal digits."""

    media_type: str
    data: bytes = field(repr=False)
    digest: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "digest", f"sha256:{hashlib.sha256(self.data).hexdigest()}")

    def descriptor(self, **more: Any) -> dict[str, Any]:
        return {"mediaType": self.media_type, "digest": self.digest, "size": len(self.data), **more}


@dataclass(frozen=True, slots=True)
class Layer:
    """A compressed layer and the digest of what it unpacks to."""

    blob: Blob
    diff_id: str


@dataclass(frozen=True, slots=True)
class Image:
    """One platform's image: its manifest and what the manifest refers to, config first."""

    platform: str
    manifest: Blob
    blobs: tuple[Blob, ...]

    def descriptor(self) -> dict[str, Any]:
        """What an index says of it."""
        return self.manifest.descriptor(platform=platform(self.platform))


def platform(text: str) -> dict[str, str]:
    """``linux/arm/v6`` as the object an index and a config hold."""
    return dict(zip(("os", "architecture", "variant"), text.split("/"), strict=False))


def layer(tar: bytes) -> Layer:
    """Compress a layer's tar archive."""
    return Layer(Blob(LAYER, compress(tar)), f"sha256:{hashlib.sha256(tar).hexdigest()}")


def image(
    platform_name: str, layers: Sequence[Layer], config: Mapping[str, Any], *, created: int
) -> Image:
    """One platform's image.

    Args:
        platform_name: ``linux/arm/v6``.
        layers: lowest first.
        config: the execution parameters (``Env``, ``Cmd``, ``Entrypoint`` ...).
        created: seconds since the epoch; fixed by the contents, so that equal images are equal bytes.
    """
    when = datetime.datetime.fromtimestamp(created, datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    description = {
        "created": when,
        **platform(platform_name),
        "config": dict(config),
        "rootfs": {"type": "layers", "diff_ids": [each.diff_id for each in layers]},
        "history": [{"created": when, "created_by": "pinnace"} for _ in layers],
    }
    config_blob = Blob(CONFIG, to_json(description))
    manifest = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": config_blob.descriptor(),
        "layers": [each.blob.descriptor() for each in layers],
    }
    blobs = (config_blob, *(each.blob for each in layers))
    return Image(platform_name, Blob(MANIFEST, to_json(manifest)), blobs)


def index(descriptors: Iterable[Mapping[str, Any]], annotations: Mapping[str, str]) -> Blob:
    """A multi-arch index over the manifests described."""
    document: dict[str, Any] = {
        "schemaVersion": 2,
        "mediaType": INDEX,
        "manifests": [dict(each) for each in descriptors],
    }
    if annotations:
        document["annotations"] = dict(annotations)
    return Blob(INDEX, to_json(document))


def layout(images: Sequence[Image], name: str) -> bytes:
    """An image layout as a tar archive, holding one multi-arch image called ``name``."""
    top = index([each.descriptor() for each in images], {})
    tag = name.rpartition(":")[2]
    entry = top.descriptor(annotations={IMAGE_NAME: name, REF_NAME: tag})
    tree = Tree()
    tree.file("oci-layout", to_json({"imageLayoutVersion": "1.0.0"}))
    tree.file("index.json", to_json({"schemaVersion": 2, "mediaType": INDEX, "manifests": [entry]}))
    for blob in [top, *(blob for each in images for blob in (each.manifest, *each.blobs))]:
        tree.file(f"blobs/sha256/{blob.digest.partition(':')[2]}", blob.data)
    return tree.tar()


def to_json(value: object) -> bytes:
    """Canonical enough: sorted keys, no spaces, ASCII."""
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()
