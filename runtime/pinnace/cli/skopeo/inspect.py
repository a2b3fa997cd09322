"""``skopeo inspect``: what an image is, without fetching its layers."""

from __future__ import annotations

import json
import sys
from contextlib import closing
from typing import TYPE_CHECKING, Any

from pinnace.cli.options import switch, text
from pinnace.cli.skopeo import flags, places, retry
from pinnace.errors import DataLoss, InvalidArgument, NotFound, PermissionDenied
from pinnace.images import convert, select, streams
from pinnace.images.transports import base
from pinnace.spec import digest as digests
from pinnace.spec import image as images
from pinnace.spec import reference as references
from pinnace.spec.digest import Digest

if TYPE_CHECKING:
    from pinnace.cli.options import Call, Flag
    from pinnace.images.transports.base import Document, Source
    from pinnace.spec.image import Config, Descriptor, Manifest

USAGE = "IMAGE-NAME"
FLAGS: tuple[Flag, ...] = (
    switch("raw", about="print the manifest (with --config, the config) as it is"),
    switch("config", about="print the config"),
    text("format", "f", about="print what this Go template makes of it"),
    switch("no-tags", "n", about="do not list the tags of the repository"),
    text("manifest-digest", about="look at this manifest of an index"),
    flags.AUTHFILE,
    *flags.place(),
    *flags.RETRY,
)


def run(call: Call) -> int:
    name = call.only_argument("please name an image")
    if call.on("raw") and call.text("format"):
        raise InvalidArgument("--raw and --format cannot be used together")
    place = places.parse(name)
    text_ = retry.run(call, lambda: _inspect(call, place))
    sys.stdout.buffer.write(text_)
    return 0


def _inspect(call: Call, place: places.Place) -> bytes:
    with closing(places.open_source(call, place)) as source:
        root = _root(call, source)
        if call.on("raw") and not call.on("config"):
            return root.data
        document = _chosen(call, source, root)
        manifest = images.parse_manifest(document.data, document.media_type)
        raw = _config_bytes(source, manifest)
        if call.on("raw"):
            return raw
        if call.on("config"):
            return _shown(call, json.loads(raw))
        return _shown(call, _summary(call, source, root, manifest, images.parse_config(raw)))


def _root(call: Call, source: Source) -> Document:
    root = source.root()
    wanted = call.text("manifest-digest")
    if not wanted:
        return root
    digest = Digest.parse(wanted)
    if images.is_index(root.media_type):
        for item in images.parse_index(root.data, root.media_type).manifests:
            if item.digest == digest:
                return source.document(item)
    raise NotFound(f"{source.name} has no manifest {digest}")


def _chosen(call: Call, source: Source, root: Document) -> Document:
    """The manifest for the platform that was asked for."""
    if not images.is_index(root.media_type):
        return root

    def read(descriptor: Descriptor) -> bytes:
        if descriptor.digest == root.digest:
            return root.data
        if images.is_config(descriptor.media_type):
            return _blob(source, descriptor)
        return source.document(descriptor).data

    top = images.Descriptor(root.media_type, root.digest, len(root.data))
    tree = select.load(top, read, places.platform_of(call), source.name)
    return source.document(tree.manifests[0][0])


def _config_bytes(source: Source, manifest: Manifest) -> bytes:
    if not convert.is_image(manifest):
        raise InvalidArgument(
            f"{source.name} is not a container image: {manifest.config.media_type}",
            hint="--raw shows its manifest",
        )
    return _blob(source, manifest.config)


def _blob(source: Source, descriptor: Descriptor) -> bytes:
    with closing(
        streams.verified(source.blob(descriptor), descriptor.digest, descriptor.size, source.name)
    ) as stream:
        data = base.read_all(stream, images.MAX_CONFIG_BYTES)
    if len(data) > images.MAX_CONFIG_BYTES:
        raise DataLoss(f"{descriptor.digest} is too large")
    return data


def _summary(
    call: Call, source: Source, root: Document, manifest: Manifest, config: Config
) -> dict[str, Any]:
    document = config.document
    container = document.get("config") or {}
    platform = {key: document.get(key) or "" for key in ("architecture", "os")}
    found: dict[str, Any] = {
        "Name": source.reference.locator if source.reference else "",
        "Digest": str(root.digest if root.data else digests.sha256(b"")),
        "RepoTags": _tags(call, source),
        "Created": document.get("created") or _never(manifest),
        "DockerVersion": document.get("docker_version") or "",
        "Labels": container.get("Labels"),
        "Architecture": platform["architecture"],
        "Os": platform["os"],
        "Layers": [str(layer.digest) for layer in manifest.layers],
        "LayersData": [
            {
                "MIMEType": layer.media_type,
                "Digest": str(layer.digest),
                "Size": layer.size,
                "Annotations": dict(layer.annotations) or None,
            }
            for layer in manifest.layers
        ],
        "Env": container.get("Env"),
    }
    if not found["Name"]:
        del found["Name"]
    return found


def _never(manifest: Manifest) -> str | None:
    """When an image was made that does not say it, as Docker's and OCI's form have it."""
    return "0001-01-01T00:00:00Z" if manifest.media_type == images.DOCKER_MANIFEST else None


def _as_go(summary: dict[str, Any]) -> dict[str, Any]:
    """The summary for a template, which tells Go's kinds of values apart."""
    from pinnace.cli.gofunctions import NIL_LIST, NIL_MAP, Struct

    layers = [
        Struct({**layer, "Annotations": layer["Annotations"] or NIL_MAP})
        for layer in summary["LayersData"]
    ]
    return {
        **summary,
        "Labels": NIL_MAP if summary["Labels"] is None else summary["Labels"],
        "Env": NIL_LIST if summary["Env"] is None else summary["Env"],
        "LayersData": layers,
    }


def _tags(call: Call, source: Source) -> list[str]:
    """The tags of the repository; none where listing them is not allowed."""
    if call.on("no-tags") or source.reference is None or not source.name.startswith("docker://"):
        return []
    with closing(places.resolver(call, source.reference)) as resolver:
        try:
            return resolver.tags(references.Reference(source.reference.locator).locator)
        except (NotFound, PermissionDenied):
            return []


def _shown(call: Call, document: Any) -> bytes:
    template = call.text("format")
    if template and template != "json":
        from pinnace.cli import gotemplate

        text_ = gotemplate.render(template, document if call.on("config") else _as_go(document))
        return (text_ if text_.endswith("\n") else f"{text_}\n").encode()
    return json.dumps(document, indent=4, ensure_ascii=False).encode() + b"\n"
