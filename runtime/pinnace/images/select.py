"""Which of an image's manifests is meant."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pinnace.errors import InvalidArgument, NotFound
from pinnace.spec import image as images
from pinnace.spec import platform as platforms

if TYPE_CHECKING:
    from collections.abc import Callable

    from pinnace.spec.image import Config, Descriptor, Index, Manifest
    from pinnace.spec.platform import Platform
    from pinnace.store.store import Store

    Read = Callable[[Descriptor], bytes]
    """Gets a document, verified, from wherever it is."""

_MAX_DEPTH = 4


class Tree:
    """The documents of an image: its indexes and the manifests that were chosen.

    ``indexes`` and ``manifests`` are in the order they were met; ``configs`` belongs to
    ``manifests``, entry by entry.
    """

    def __init__(self) -> None:
        self.indexes: list[tuple[Descriptor, Index]] = []
        self.manifests: list[tuple[Descriptor, Manifest]] = []
        self.configs: list[Config] = []


def load(
    root: Descriptor, read: Read, platform: Platform | None, name: str, *, partial: bool = False
) -> Tree:
    """Read the image at *root*: the manifest that suits *platform* best, or all with None.

    *partial* leaves out the manifests that cannot be found. Raises NotFound naming the platforms that exist, InvalidArgument for malformed documents.
    """
    tree = Tree()
    _Loader(tree, read, platform, name, partial).descend(root, 0)
    if not tree.manifests:
        raise NotFound(f"{name} has no images at all")
    return tree


def stored(
    store: Store, namespace: str, root: Descriptor, platform: Platform | None, name: str
) -> Tree:
    """The documents of an image in the store; with *platform* None all that are there."""

    def read(descriptor: Descriptor) -> bytes:
        return store.content.read(namespace, descriptor.digest, images.MAX_CONFIG_BYTES)

    return load(root, read, platform, name, partial=platform is None)


class _Loader:
    def __init__(
        self, tree: Tree, read: Read, platform: Platform | None, name: str, partial: bool
    ) -> None:
        self._tree = tree
        self._read = read
        self._platform = platform
        self._name = name
        self._partial = partial

    def descend(self, descriptor: Descriptor, depth: int) -> None:
        if depth > _MAX_DEPTH:
            raise InvalidArgument(f"{self._name}: indexes are nested more than {_MAX_DEPTH} deep")
        try:
            data = self._read(descriptor)
        except NotFound:
            if self._partial and depth:
                return
            raise
        media_type = images.media_type_of(images.parse_document(data), descriptor.media_type)
        if images.is_manifest(media_type):
            self._manifest(descriptor, images.parse_manifest(data, media_type))
            return
        index = images.parse_index(data, media_type)
        self._tree.indexes.append((descriptor, index))
        if self._platform is None:
            chosen = index.manifests
        else:
            chosen = (_choose(index, self._read, self._platform, self._name),)
        for child in chosen:
            if images.is_index(child.media_type) or images.is_manifest(child.media_type):
                self.descend(child, depth + 1)

    def _manifest(self, descriptor: Descriptor, manifest: Manifest) -> None:
        if not _is_container(manifest):
            if self._platform is None:
                return  # an attestation or another artifact beside the images
            kind = manifest.config.media_type
            raise InvalidArgument(f"{self._name} is not a container image: {kind}")
        config = images.parse_config(self._read(manifest.config))
        if self._platform is not None and self._platform.match(config.platform) is None:
            raise _missing(self._name, self._platform, [config.platform])
        self._tree.manifests.append((descriptor, manifest))
        self._tree.configs.append(config)


def _is_container(manifest: Manifest) -> bool:
    return images.is_config(manifest.config.media_type) and all(
        images.is_layer(layer.media_type) for layer in manifest.layers
    )


def _choose(index: Index, read: Read, platform: Platform, name: str) -> Descriptor:
    """The best manifest of an index; those without a platform are looked into."""
    usable = [
        item
        for item in index.manifests
        if images.is_index(item.media_type) or images.is_manifest(item.media_type)
    ]
    known = [item.platform or _platform_inside(item, read) for item in usable]
    best = platforms.best(platform, known)
    if best is None:
        raise _missing(name, platform, known)
    return usable[best]


def _platform_inside(item: Descriptor, read: Read) -> Platform:
    if not images.is_manifest(item.media_type):
        return platforms.Platform("unknown", "unknown")
    manifest = images.parse_manifest(read(item), item.media_type)
    if not _is_container(manifest):
        return platforms.Platform("unknown", "unknown")
    return images.parse_config(read(manifest.config)).platform


def _missing(name: str, wanted: Platform, existing: list[Platform]) -> NotFound:
    names = sorted({str(item) for item in existing if item.os != "unknown"})
    return NotFound(
        f"{name} has no image for {wanted}", hint=f"it exists for {', '.join(names) or 'nothing'}"
    )
