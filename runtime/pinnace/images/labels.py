"""Labels that tie content together, as containerd writes them; the collector follows them.

Source: containerd's docs/garbage-collection.md.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pinnace.images.select import Tree
    from pinnace.spec.digest import Digest
    from pinnace.spec.image import Index, Manifest
    from pinnace.spec.reference import Reference
    from pinnace.store.store import Store

CONTENT = "containerd.io/gc.ref.content"
SNAPSHOT = "containerd.io/gc.ref.snapshot"
UNCOMPRESSED = "containerd.io/uncompressed"
SOURCE = "containerd.io/distribution.source"

NAME = "io.containerd.image.name"
"""Annotation in an archive's index: the whole name of an image (containerd)."""
REF_NAME = "org.opencontainers.image.ref.name"
"""Annotation in an archive's index: its tag, or whatever a tool put there (OCI)."""


def of_index(index: Index) -> dict[str, str]:
    """What an index refers to."""
    return {f"{CONTENT}.m.{n}": str(item.digest) for n, item in enumerate(index.manifests)}


def of_manifest(manifest: Manifest) -> dict[str, str]:
    """What a manifest refers to."""
    layers = {f"{CONTENT}.l.{n}": str(layer.digest) for n, layer in enumerate(manifest.layers)}
    return {f"{CONTENT}.config": str(manifest.config.digest), **layers}


def of_source(reference: Reference, old: Mapping[str, str]) -> dict[str, str]:
    """Where content came from: the repositories of one registry, joined by commas."""
    key = source_key(reference)
    known = [name for name in old.get(key, "").split(",") if name]
    if reference.repository not in known:
        known.append(reference.repository)
    return {key: ",".join(sorted(known))}


def source_key(reference: Reference) -> str:
    """The label for content of a registry; its port is left out, as containerd does."""
    host, colon, port = reference.hostname.rpartition(":")
    return f"{SOURCE}.{host if colon and port.isdecimal() else reference.hostname}"


def link(store: Store, namespace: str, tree: Tree) -> None:
    """Label an image's content with what it refers to; joins the caller's transaction."""
    for descriptor, index in tree.indexes:
        _label(store, namespace, descriptor.digest, of_index(index))
    for (descriptor, manifest), config in zip(tree.manifests, tree.configs, strict=True):
        _label(store, namespace, descriptor.digest, of_manifest(manifest))
        for layer, diff_id in zip(manifest.layers, config.diff_ids, strict=False):
            _label(store, namespace, layer.digest, {UNCOMPRESSED: str(diff_id)})


def _label(store: Store, namespace: str, digest: Digest, new: Mapping[str, str]) -> None:
    paths = [f"labels.{key}" for key in new]
    store.content.update(namespace, digest, new, paths)
