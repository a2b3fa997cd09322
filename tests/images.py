"""Small images for tests: content by digest, and ways to put it somewhere."""

from __future__ import annotations

import gzip
import io
import json
import os
from collections.abc import Callable, Sequence

from pinnace.registry.resolver import Resolver
from pinnace.spec import image as images
from pinnace.spec import platform as platforms
from pinnace.spec.digest import Digest, sha256
from pinnace.spec.image import Descriptor
from pinnace.store.store import Store
from tests.layers import LayerBuilder


class TestImage:
    """An index with one manifest per platform; every platform's layers hold a file of its name."""

    __test__ = False  # not a test, whatever its name

    def __init__(
        self,
        names: Sequence[str] = ("linux/amd64", "linux/arm/v6"),
        layers: Sequence[bytes] = (),
        *,
        indexed: bool = True,
        digest: Callable[[bytes], Digest] = sha256,
    ) -> None:
        self._digest = digest
        self.blobs: list[tuple[Descriptor, bytes]] = []
        self.manifests: list[Descriptor] = []
        for name in names:
            own = LayerBuilder().add("platform", name.encode()).bytes()
            self.manifests.append(self._manifest(name, [*layers, own]))
        self.root = self.manifests[0]
        if indexed:
            self.root = self._add(
                images.OCI_INDEX,
                images.dump(
                    {
                        "schemaVersion": 2,
                        "mediaType": images.OCI_INDEX,
                        "manifests": [item.to_json() for item in self.manifests],
                    }
                ),
            )

    def _add(self, media_type: str, data: bytes) -> Descriptor:
        descriptor = Descriptor(media_type, self._digest(data), len(data))
        self.blobs.append((descriptor, data))
        return descriptor

    def _manifest(self, name: str, layers: Sequence[bytes]) -> Descriptor:
        platform = platforms.parse(name)
        config = {
            **images.platform_json(platform),
            "config": {"Cmd": ["/bin/sh"]},
            "rootfs": {"type": "layers", "diff_ids": [str(sha256(data)) for data in layers]},
        }
        packed = [self._add(images.OCI_LAYER_GZIP, gzip.compress(data, mtime=0)) for data in layers]
        manifest = {
            "schemaVersion": 2,
            "mediaType": images.OCI_MANIFEST,
            "config": self._add(images.OCI_CONFIG, json.dumps(config).encode()).to_json(),
            "layers": [layer.to_json() for layer in packed],
        }
        made = self._add(images.OCI_MANIFEST, images.dump(manifest))
        return made._replace(platform=platform)

    def push(self, resolver: Resolver, reference: str) -> None:
        """Upload everything; the tag last."""
        repository = reference.rpartition(":")[0]
        for descriptor, data in self.blobs:
            last = descriptor.digest == self.root.digest
            document = images.is_manifest(descriptor.media_type) and not last
            name = f"{repository}@{descriptor.digest}" if document else reference
            resolver.push(name, descriptor, lambda data=data: io.BytesIO(data))  # type: ignore[misc]

    def files(self) -> dict[str, bytes]:
        """What an OCI layout has as files, without its index."""
        return {
            f"blobs/{item.digest.algorithm}/{item.digest.hex}": data for item, data in self.blobs
        }

    def layout(self, tag: str = "") -> bytes:
        """An OCI layout as a tar archive."""
        annotations = {"org.opencontainers.image.ref.name": tag} if tag else {}
        index = {
            "schemaVersion": 2,
            "manifests": [{**self.root.to_json(), "annotations": annotations}],
        }
        builder = LayerBuilder()
        for name, data in self.files().items():
            builder.add(name, data)
        builder.add("index.json", json.dumps(index).encode())
        return builder.add("oci-layout", b'{"imageLayoutVersion":"1.0.0"}').bytes()


def rootfs(store: Store, namespace: str = "default") -> dict[str, bytes]:
    """The files that the top snapshot of the only chain shows (later layers win)."""
    snapshotter = store.snapshotter()
    infos = list(snapshotter.walk(namespace))
    parents = {info.parent for info in infos}
    (top,) = [info.name for info in infos if info.name not in parents]
    found: dict[str, bytes] = {}
    for folder in reversed(snapshotter.paths(namespace, top)):
        for directory, _, names in os.walk(folder):
            for name in names:
                path = os.path.join(directory, name)
                with open(path, "rb") as file:
                    found[os.path.relpath(path, folder)] = file.read()
    return found
