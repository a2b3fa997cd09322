"""Documents of images from one form into another: Docker's schema 2 and OCI's, and back.

Source: OCI image spec 1.1, "Compatibility Matrix" (media types.md). Configs are the same document in
both, and keep their bytes; what Docker's manifests cannot say (annotations) is dropped.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pinnace.errors import InvalidArgument, Unimplemented
from pinnace.images.streams import GZIP, ZSTD
from pinnace.spec import image as images

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pinnace.spec.image import Descriptor

OCI, DOCKER = "oci", "v2s2"
_MANIFESTS = {OCI: images.OCI_MANIFEST, DOCKER: images.DOCKER_MANIFEST}
_INDEXES = {OCI: images.OCI_INDEX, DOCKER: images.DOCKER_INDEX}
_CONFIGS = {OCI: images.OCI_CONFIG, DOCKER: images.DOCKER_CONFIG}
_LAYERS = {
    OCI: {
        "": images.OCI_LAYER,
        GZIP: images.OCI_LAYER_GZIP,
        ZSTD: f"{images.OCI_LAYER}+zstd",
    },
    DOCKER: {"": images.DOCKER_LAYER, GZIP: images.DOCKER_LAYER_GZIP},
}


def parse_format(text: str) -> str:
    """``oci`` or ``v2s2``, or nothing; raises InvalidArgument for others, with the reason."""
    if text == "v2s1":
        raise Unimplemented(
            "Docker's schema 1 is not written: it has no content digests", hint="use v2s2 or oci"
        )
    if text not in ("", OCI, DOCKER):
        raise InvalidArgument(f"unknown manifest format {text!r}", hint="oci or v2s2")
    return text


def format_of(media_type: str) -> str:
    """The form that a manifest or an index has."""
    return OCI if media_type in (images.OCI_MANIFEST, images.OCI_INDEX) else DOCKER


def media_type_in(media_type: str, form: str) -> str:
    """The media type that a manifest or an index has in *form*."""
    table = _INDEXES if images.is_index(media_type) else _MANIFESTS
    return table[form]


def compression_of(media_type: str) -> str:
    """``gzip``, ``zstd`` or nothing, as a layer's media type has it."""
    if media_type.endswith(("+gzip", ".gzip")):
        return GZIP
    return ZSTD if media_type.endswith(("+zstd", ".zstd")) else ""


def layer_type(form: str, compression: str) -> str:
    """The media type of a layer; raises Unimplemented for what *form* has no word for."""
    found = _LAYERS[form].get(compression)
    if found is None:
        raise Unimplemented(f"a Docker schema 2 image has no {compression} layers")
    return found


def is_image(manifest: images.Manifest) -> bool:
    """Whether it is a container image, and no other artifact."""
    return images.is_config(manifest.config.media_type) and all(
        images.is_layer(layer.media_type) for layer in manifest.layers
    )


def manifest(
    document: dict[str, Any], form: str, config: Descriptor, layers: Sequence[Descriptor]
) -> bytes:
    """The manifest *document* in *form*, with these descriptors in the places of its own."""
    made: dict[str, Any] = {
        "schemaVersion": 2,
        "mediaType": _MANIFESTS[form],
        "config": _plain(config._replace(media_type=_CONFIGS[form]), form),
        "layers": [
            _plain(
                layer._replace(media_type=layer_type(form, compression_of(layer.media_type))), form
            )
            for layer in layers
        ],
    }
    if form == OCI:
        for key in ("annotations", "subject"):
            if document.get(key):
                made[key] = document[key]
    return images.dump(made)


def index(document: dict[str, Any], form: str, manifests: Sequence[Descriptor]) -> bytes:
    """The index *document* in *form*, with these manifests."""
    made: dict[str, Any] = {
        "schemaVersion": 2,
        "mediaType": _INDEXES[form],
        "manifests": [_plain(item, form) for item in manifests],
    }
    if form == OCI:
        for key in ("annotations", "subject", "artifactType"):
            if document.get(key):
                made[key] = document[key]
    return images.dump(made)


def _plain(descriptor: Descriptor, form: str) -> dict[str, Any]:
    if form == DOCKER:
        descriptor = descriptor._replace(annotations={}, artifact_type="")
    return descriptor.to_json()
