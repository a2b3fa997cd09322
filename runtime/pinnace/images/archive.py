"""Images as one file: OCI layout and ``docker save`` archives, read and written.

Sources: OCI image spec, "image-layout.md"; Docker's image specification v1.2 ("Combined Image
JSON + Filesystem Changeset Format"). What is written is both at once, as containerd writes it.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from pinnace.errors import InvalidArgument, NotFound
from pinnace.images import labels, progress, select
from pinnace.images.load import import_
from pinnace.images.progress import Progress
from pinnace.images.tarwrite import Header, TarWriter
from pinnace.spec import image as images
from pinnace.spec import platform as platforms
from pinnace.spec import reference as references
from pinnace.spec.reference import Reference

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pinnace.images.progress import Report
    from pinnace.images.tarwrite import Writable
    from pinnace.spec.digest import Digest
    from pinnace.spec.platform import Platform
    from pinnace.store.images import Image
    from pinnace.store.store import Store

__all__ = ["export", "import_"]

LAYOUT = b'{"imageLayoutVersion":"1.0.0"}'
_CHUNK_BYTES = 1 << 20


def export(
    store: Store,
    namespace: str,
    names: Sequence[str],
    out: Writable,
    *,
    platform: Platform | None = None,
    all_platforms: bool = False,
    docker_manifest: bool = True,
    report: Report = progress.silent,
) -> None:
    """Write the images called *names* to *out* as a tar archive, always the same bytes.

    Only what the store has is written: of an index that was pulled for one platform, that one.
    Raises NotFound (image, platform, content), DataLoss when a blob is damaged.
    """
    wanted = None if all_platforms else platform or platforms.default()
    blobs: dict[Digest, int] = {}
    entries: list[dict[str, object]] = []
    docker: list[dict[str, object]] = []
    for name in names:
        found = store.images.get(namespace, name)
        tree = select.stored(store, namespace, found.target, wanted, name)
        _collect(tree, blobs)
        blobs[found.target.digest] = found.target.size
        entries.append(_entry(found))
        docker += _docker_entries(tree, name, platform or platforms.default())
    writer = TarWriter(out)
    writer.directory(b"blobs/")
    for algorithm in sorted({digest.algorithm for digest in blobs}):
        writer.directory(f"blobs/{algorithm}/".encode())
    for digest in sorted(blobs):
        _write_blob(store, namespace, digest, writer, out, report)
    index = {"schemaVersion": 2, "mediaType": images.OCI_INDEX, "manifests": entries}
    writer.add(Header(b"index.json"), images.dump(index))
    if docker_manifest and docker:
        writer.add(Header(b"manifest.json"), _dump_list(docker))
    writer.add(Header(b"oci-layout"), LAYOUT)
    writer.finish()


def _collect(tree: select.Tree, blobs: dict[Digest, int]) -> None:
    for descriptor, _ in tree.indexes:
        blobs[descriptor.digest] = descriptor.size
    for descriptor, manifest in tree.manifests:
        for item in (descriptor, manifest.config, *manifest.layers):
            blobs[item.digest] = item.size


def _entry(found: Image) -> dict[str, object]:
    """What index.json says of an image; the reference name is its tag, as skopeo wants it."""
    reference = _reference(found.name)
    tag = reference.tag if reference else ""
    annotations = {
        **found.target.annotations,
        labels.NAME: found.name,
        labels.REF_NAME: tag or found.name,
    }
    return found.target._replace(annotations=annotations).to_json()


def _docker_entries(tree: select.Tree, name: str, platform: Platform) -> list[dict[str, object]]:
    best = platforms.best(platform, [config.platform for config in tree.configs])
    if best is None:
        return []
    manifest = tree.manifests[best][1]
    reference = _reference(name)
    tags = [references.familiar(reference)] if reference and reference.tag else []
    return [
        {
            "Config": _path(manifest.config.digest),
            "RepoTags": tags,
            "Layers": [_path(layer.digest) for layer in manifest.layers],
        }
    ]


def _reference(name: str) -> Reference | None:
    """The reference in an image's name, if it is one; other names are exported all the same."""
    try:
        return Reference.parse(name)
    except InvalidArgument:
        return None


def _path(digest: Digest) -> str:
    return f"blobs/{digest.algorithm}/{digest.hex}"


def _dump_list(items: list[dict[str, object]]) -> bytes:
    return json.dumps(items, separators=(",", ":")).encode()


def _write_blob(
    store: Store,
    namespace: str,
    digest: Digest,
    writer: TarWriter,
    out: Writable,
    report: Report,
) -> None:
    try:
        size = store.content.info(namespace, digest).size
    except NotFound as error:
        raise NotFound(
            error.message, hint="it was pulled for another platform, or not completely"
        ) from None
    writer.start(Header(_path(digest).encode(), size=size, mode=0o444))
    hasher = digest.hasher()
    with store.content.open(namespace, digest) as file:
        done = 0
        while data := file.read(_CHUNK_BYTES):
            hasher.update(data)
            out.write(data)
            done += len(data)
            report(Progress(progress.SAVING, str(digest), done, size))
    if hasher.hexdigest() != digest.hex:
        raise store.content.damaged(digest)
    writer.pad(size)
