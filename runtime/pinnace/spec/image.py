"""Images as documents: descriptors, indexes, manifests and configs, read from untrusted JSON.

Promise: what these functions return has the shape its type says; anything else, from a wrong type
to a negative size or a document larger than a registry may send, is InvalidArgument with the
reason. Sources: OCI image spec 1.1 (descriptor, image-index, manifest, config) and Docker's
"Image Manifest Version 2, Schema 2".
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple

from pinnace.errors import InvalidArgument, Unimplemented
from pinnace.spec import platform as platforms
from pinnace.spec.digest import Digest, sha256
from pinnace.spec.platform import Platform

if TYPE_CHECKING:
    from collections.abc import Mapping

OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
OCI_LAYER = "application/vnd.oci.image.layer.v1.tar"
OCI_LAYER_GZIP = OCI_LAYER + "+gzip"
DOCKER_INDEX = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"
DOCKER_LAYER = "application/vnd.docker.image.rootfs.diff.tar"
DOCKER_LAYER_GZIP = DOCKER_LAYER + ".gzip"
DOCKER_LAYER_ZSTD = DOCKER_LAYER + ".zstd"

INDEX_TYPES = frozenset((OCI_INDEX, DOCKER_INDEX))
MANIFEST_TYPES = frozenset((OCI_MANIFEST, DOCKER_MANIFEST))
CONFIG_TYPES = frozenset((OCI_CONFIG, DOCKER_CONFIG))
_SCHEMA_1 = "application/vnd.docker.distribution.manifest.v1+"

MAX_DOCUMENT_BYTES = 4 * 1024 * 1024
"""Largest manifest or index (OCI distribution spec, "Pushing Manifests", names 4 MiB)."""
MAX_CONFIG_BYTES = 8 * 1024 * 1024
MAX_LAYERS = 500
"""overlayfs stacks at most 500 lower layers (OVL_MAX_STACK in the kernel's fs/overlayfs)."""
MAX_MANIFESTS = 4096
MAX_BLOB_BYTES = 1 << 50


class Descriptor(NamedTuple):
    """What a piece of content is, its digest and its size in bytes."""

    media_type: str
    digest: Digest
    size: int
    annotations: Mapping[str, str] = {}
    platform: Platform | None = None
    artifact_type: str = ""
    urls: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """The descriptor as OCI writes it."""
        document: dict[str, Any] = {
            "mediaType": self.media_type,
            "digest": str(self.digest),
            "size": self.size,
        }
        if self.urls:
            document["urls"] = list(self.urls)
        if self.annotations:
            document["annotations"] = dict(self.annotations)
        if self.platform is not None:
            document["platform"] = platform_json(self.platform)
        if self.artifact_type:
            document["artifactType"] = self.artifact_type
        return document


class Index(NamedTuple):
    """An image index (manifest list): one image for several platforms."""

    media_type: str
    manifests: tuple[Descriptor, ...]
    annotations: Mapping[str, str] = {}


class Manifest(NamedTuple):
    """One image: its config and its layers, lowest first."""

    media_type: str
    config: Descriptor
    layers: tuple[Descriptor, ...]
    annotations: Mapping[str, str] = {}


class Config(NamedTuple):
    """What is needed of an image's config; ``document`` is all of it."""

    platform: Platform
    diff_ids: tuple[Digest, ...]
    document: Mapping[str, Any]


def is_index(media_type: str) -> bool:
    """Whether the content is an index of manifests."""
    return media_type in INDEX_TYPES


def is_manifest(media_type: str) -> bool:
    """Whether the content is an image manifest."""
    return media_type in MANIFEST_TYPES


def is_config(media_type: str) -> bool:
    """Whether the content is an image config."""
    return media_type in CONFIG_TYPES


def is_layer(media_type: str) -> bool:
    """Whether the content is a file system layer, of any compression."""
    return media_type.startswith(
        ("application/vnd.oci.image.layer.", "application/vnd.docker.image.rootfs.")
    )


def is_foreign(media_type: str) -> bool:
    """Whether a layer must not be pushed elsewhere (non-distributable, "foreign")."""
    return is_layer(media_type) and ("nondistributable" in media_type or ".foreign." in media_type)


def parse_document(data: bytes, limit: int = MAX_DOCUMENT_BYTES) -> dict[str, Any]:
    """The JSON object in *data*, at most *limit* bytes."""
    if len(data) > limit:
        raise InvalidArgument(f"document of {len(data)} bytes is larger than {limit}")
    try:
        document = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise InvalidArgument(f"not valid JSON: {error}") from None
    if not isinstance(document, dict):
        raise InvalidArgument("not a JSON object")
    return document


def media_type_of(document: Mapping[str, Any], declared: str = "") -> str:
    """The media type of an index or manifest: written in it, declared, or told from its shape.

    A document that has both layers and manifests, or contradicts itself, is refused
    (CVE-2021-41190: one digest read as two different things).
    """
    has_manifests, has_layers = (
        "manifests" in document,
        "layers" in document or "config" in document,
    )
    if has_manifests and has_layers:
        raise InvalidArgument("ambiguous document: it is both an index and a manifest")
    written = document.get("mediaType") or declared
    if not isinstance(written, str):
        raise InvalidArgument("mediaType is not a string")
    if written.startswith(_SCHEMA_1) or document.get("schemaVersion") == 1:
        raise Unimplemented(
            "image manifest of Docker's schema 1, which has no content digests",
            hint="push the image again with a current tool",
        )
    if _contradict(written, declared):
        raise InvalidArgument(f"document is {written}, and was announced as {declared}")
    if written not in INDEX_TYPES and written not in MANIFEST_TYPES:
        written = OCI_INDEX if has_manifests else OCI_MANIFEST
    if is_index(written) is not has_manifests:
        raise InvalidArgument(f"document is not what its media type says: {written}")
    return written


def _contradict(written: str, declared: str) -> bool:
    """Whether one says index and the other manifest; Docker's and OCI's words for one are the same."""
    return (is_index(written) and is_manifest(declared)) or (
        is_manifest(written) and is_index(declared)
    )


def parse_index(data: bytes, declared: str = "") -> Index:
    """Read an index; raises InvalidArgument with what is wrong."""
    document = parse_document(data)
    media_type = media_type_of(document, declared)
    if not is_index(media_type):
        raise InvalidArgument("not an image index")
    items = _list(document, "manifests", MAX_MANIFESTS)
    manifests = tuple(parse_descriptor(item, f"manifests[{i}]") for i, item in enumerate(items))
    return Index(media_type, manifests, _strings(document, "annotations"))


def parse_manifest(data: bytes, declared: str = "") -> Manifest:
    """Read an image manifest; raises InvalidArgument with what is wrong."""
    document = parse_document(data)
    media_type = media_type_of(document, declared)
    if not is_manifest(media_type):
        raise InvalidArgument("not an image manifest")
    items = _list(document, "layers", MAX_LAYERS)
    return Manifest(
        media_type,
        parse_descriptor(document.get("config"), "config"),
        tuple(parse_descriptor(item, f"layers[{i}]") for i, item in enumerate(items)),
        _strings(document, "annotations"),
    )


def parse_config(data: bytes) -> Config:
    """Read an image config; raises InvalidArgument with what is wrong."""
    document = parse_document(data, MAX_CONFIG_BYTES)
    rootfs = document.get("rootfs", {})
    if not isinstance(rootfs, dict):
        raise InvalidArgument("rootfs is not an object")
    if rootfs.get("type", "layers") != "layers":
        raise InvalidArgument(f"rootfs.type is {rootfs['type']!r}, not 'layers'")
    diff_ids = tuple(Digest.parse(item) for item in _list(rootfs, "diff_ids", MAX_LAYERS))
    if "config" in document and not isinstance(document["config"], dict | None):
        raise InvalidArgument("config is not an object")
    return Config(parse_platform(document), diff_ids, document)


def parse_platform(document: Mapping[str, Any]) -> Platform:
    """The platform named by a config or by the ``platform`` of a descriptor."""
    return platforms.normalize(
        Platform(
            _string(document, "os") or "linux",
            _string(document, "architecture"),
            _string(document, "variant"),
        )
    )


def platform_json(platform: Platform) -> dict[str, str]:
    """A platform as OCI writes it."""
    document = {"architecture": platform.architecture, "os": platform.os}
    if platform.variant:
        document["variant"] = platform.variant
    return document


def parse_descriptor(document: object, where: str = "descriptor") -> Descriptor:
    """Read a descriptor; *where* names it in errors."""
    if not isinstance(document, dict):
        raise InvalidArgument(f"{where} is not an object")
    size = document.get("size")
    if not isinstance(size, int) or isinstance(size, bool) or not 0 <= size <= MAX_BLOB_BYTES:
        raise InvalidArgument(f"{where}.size is not a size: {str(size)[:40]}")
    media_type = _string(document, "mediaType")
    if not media_type or len(media_type) > 255:
        raise InvalidArgument(f"{where} has no media type")
    if media_type.startswith(_SCHEMA_1):
        raise Unimplemented(f"{where} is of Docker's schema 1", hint="push the image again")
    try:
        digest = Digest.parse(_string(document, "digest"))
    except InvalidArgument as error:
        raise InvalidArgument(f"{where}: {error.message}", hint=error.hint) from None
    platform = document.get("platform")
    if platform is not None and not isinstance(platform, dict):
        raise InvalidArgument(f"{where}.platform is not an object")
    return Descriptor(
        media_type,
        digest,
        size,
        _strings(document, "annotations"),
        parse_platform(platform) if platform else None,
        _string(document, "artifactType"),
        tuple(str(url) for url in _list(document, "urls", 64)),
    )


def chain_ids(diff_ids: tuple[Digest, ...]) -> list[Digest]:
    """The chain id of each layer (OCI image config, "Layer ChainID"): what a snapshot is named."""
    chain: list[Digest] = []
    for diff_id in diff_ids:
        chain.append(sha256(f"{chain[-1]} {diff_id}".encode()) if chain else diff_id)
    return chain


def dump(document: Mapping[str, Any]) -> bytes:
    """JSON in the one form we write, so that equal documents have equal digests."""
    return json.dumps(document, separators=(",", ":"), ensure_ascii=False).encode()


def _list(document: Mapping[str, Any], key: str, limit: int) -> list[Any]:
    value = document.get(key)
    if value is None:
        return []
    if not isinstance(value, list):
        raise InvalidArgument(f"{key} is not a list")
    if len(value) > limit:
        raise InvalidArgument(f"{key} has {len(value)} entries; {limit} are allowed")
    return value


def _string(document: Mapping[str, Any], key: str) -> str:
    value = document.get(key)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise InvalidArgument(f"{key} is not a string")
    return value


def _strings(document: Mapping[str, Any], key: str) -> dict[str, str]:
    value = document.get(key)
    if value is None:
        return {}
    if not isinstance(value, dict) or not all(isinstance(text, str) for text in value.values()):
        raise InvalidArgument(f"{key} is not a map of strings")
    return value
