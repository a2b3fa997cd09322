"""Import of archives: one pass over the tar, contents straight into the store, then names.

``blobs/...`` members are content under their digest. Others (``docker save`` has layers under
any name) become content, too, and are looked up by their path when ``manifest.json`` names them.
"""

from __future__ import annotations

import json
import os
import posixpath
import time
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING, NamedTuple

from pinnace.errors import AlreadyExists, DataLoss, InvalidArgument, NotFound
from pinnace.images import labels, progress, select, tar
from pinnace.images.compression import LayerReader, Readable
from pinnace.images.layers import Unpacker
from pinnace.images.progress import Progress
from pinnace.spec import image as images
from pinnace.spec import platform as platforms
from pinnace.spec import reference as references
from pinnace.spec.digest import Digest, sha256
from pinnace.spec.image import Descriptor
from pinnace.store.images import Image

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pinnace.images.progress import Report
    from pinnace.images.select import Tree
    from pinnace.images.tar import Member
    from pinnace.spec.platform import Platform
    from pinnace.store.store import Store

_CHUNK_BYTES = 1 << 20
_MAX_ARCHIVE = 1 << 40
_MAX_MEMBERS = 200_000
_LINKS = 8


class _File(NamedTuple):
    digest: Digest
    size: int


def import_(
    store: Store,
    namespace: str,
    stream: Readable,
    *,
    platform: Platform | None = None,
    all_platforms: bool = False,
    base_name: str = "",
    index_name: str = "",
    digests: bool = False,
    snapshotter: str = "",
    unpack: bool = True,
    image_labels: Mapping[str, str] | None = None,
    report: Report = progress.silent,
) -> list[Image]:
    """Import every image of the archive in *stream* (tar, perhaps gzip or zstd); their records.

    A tag without a repository is put behind *base_name* (``import-<date>`` by default); with
    *digests* each image also gets the name ``base@digest``. With *index_name* the archive's own index becomes an image of
    that name, the first of the records. Raises InvalidArgument for what is no
    archive of images, DataLoss for damaged content, NotFound for a missing platform.
    """
    base = base_name or time.strftime("import-%Y-%m-%d", time.gmtime())
    own = platform or platforms.default()
    with ExitStack() as stack:
        lease = stack.enter_context(store.leases.temporary(namespace, "import"))
        importer = _Importer(store, namespace, lease, report)
        found = importer.read(stream)
        work: list[tuple[str, Descriptor, Tree, Unpacker | None]] = []
        if index_name:
            root = importer.index(found)
            whole = select.stored(store, namespace, root, None, index_name)
            work.append((index_name, root, whole, None))
        for name, root in _named(found, base, digests):
            tree = select.stored(store, namespace, root, None if all_platforms else own, name)
            _check_sizes(store, namespace, tree)
            unpacker = _unpacker(store, namespace, tree, own, snapshotter, lease, report, stack)
            work.append((name, root, tree, unpacker if unpack else None))
        done: set[str] = set()
        for _, _, _, unpacker in work:
            if unpacker and unpacker.chain and unpacker.chain[-1] not in done:
                _unpack(unpacker, stack)
                done.add(unpacker.chain[-1])
        with store.db.transaction():
            made = []
            for name, root, tree, unpacker in work:
                labels.link(store, namespace, tree)
                if unpacker:
                    unpacker.record()
                plain = root._replace(annotations={})
                made.append(store.images.put(namespace, Image(name, plain, image_labels or {})))
    for image in made:
        size = image.target.size
        report(Progress(progress.SAVED, image.name, size, size, image.target))
    return made


def _check_sizes(store: Store, namespace: str, tree: Tree) -> None:
    """Content that is there must have the size that a manifest says, or pushing it would fail."""
    for _, manifest in tree.manifests:
        for item in (manifest.config, *manifest.layers):
            with suppress(NotFound):
                size = store.content.info(namespace, item.digest).size
                if size != item.size:
                    raise DataLoss(
                        f"{item.digest} has {size} bytes, its descriptor says {item.size}"
                    )


def _unpacker(
    store: Store,
    namespace: str,
    tree: Tree,
    platform: Platform,
    snapshotter: str,
    lease: str,
    report: Report,
    stack: ExitStack,
) -> Unpacker | None:
    number = platforms.best(platform, [config.platform for config in tree.configs])
    if number is None:
        return None
    backend = store.snapshotter(snapshotter)
    manifest, config = tree.manifests[number][1], tree.configs[number]
    made = Unpacker(store, namespace, backend, manifest, config, lease, report)
    stack.callback(made.discard)
    return made


def _unpack(unpacker: Unpacker, stack: ExitStack) -> None:
    for number in range(unpacker.first, len(unpacker.layers)):
        stack.enter_context(unpacker.alone(number))
        if not unpacker.taken(number):
            unpacker.add(number, None)
    unpacker.flush()


def _named(found: Sequence[Descriptor], base: str, digests: bool) -> list[tuple[str, Descriptor]]:
    """Names for the images of an archive; each image gets one at least."""
    named = []
    for root in found:
        name = root.annotations.get(labels.NAME, "")
        tag = root.annotations.get(labels.REF_NAME, "")
        if not name and tag:
            name = tag if "/" in tag else f"{base}:{tag}"
        if name:
            named.append((name, root))
        if digests or not name:
            named.append((f"{base}@{root.digest}", root))
    if not named:
        raise InvalidArgument("the archive holds no images")
    return named


class _Importer:
    """Reads the members of an archive into the store."""

    def __init__(self, store: Store, namespace: str, lease: str, report: Report) -> None:
        self._content = store.content
        self._namespace = namespace
        self._lease = lease
        self._report = report
        self._documents: dict[str, bytes] = {}
        self._files: dict[str, _File] = {}
        self._links: dict[str, str] = {}

    def read(self, stream: Readable) -> list[Descriptor]:
        """Everything in the archive; the images it names, with their names as annotations."""
        reader = LayerReader(stream, _MAX_ARCHIVE, ahead=False)
        try:
            for member in tar.members(reader, _MAX_MEMBERS):
                self._member(member, reader)
                reader.skip(tar.padding(member.size))
        finally:
            reader.close()
        if "oci-layout" in self._documents and "index.json" in self._documents:
            return list(images.parse_index(self._documents["index.json"]).manifests)
        if "manifest.json" in self._documents:
            return self._docker(self._documents["manifest.json"])
        raise InvalidArgument(
            "the archive is neither an OCI layout nor made by docker save",
            hint="it needs index.json with oci-layout, or manifest.json",
        )

    def index(self, found: Sequence[Descriptor]) -> Descriptor:
        """The archive's index, as content; where it has none, one is made of what was *found* in it."""
        if "oci-layout" in self._documents and "index.json" in self._documents:
            data = self._documents["index.json"]
        else:
            listed = [descriptor.to_json() for descriptor in found]
            data = images.dump(
                {"schemaVersion": 2, "mediaType": images.OCI_INDEX, "manifests": listed}
            )
        return Descriptor(images.OCI_INDEX, self._write(data), len(data))

    def _member(self, member: Member, reader: LayerReader) -> None:
        name = posixpath.normpath(member.name.decode(errors="replace")).lstrip("/")
        if member.kind in (tar.SYMLINK, tar.HARD_LINK):
            target = member.linkname.decode(errors="replace")
            if member.kind == tar.SYMLINK:
                target = posixpath.join(posixpath.dirname(name), target)
            self._links[name] = posixpath.normpath(target).lstrip("/")
        if member.kind != tar.REGULAR or member.segments is not None:
            reader.skip(member.size)
            return
        expected = _digest_of(name)
        if expected:
            self._blob(name, member, reader, expected)
        elif member.size <= images.MAX_CONFIG_BYTES and (
            name.endswith(".json") or name == "oci-layout"
        ):
            self._documents[name] = reader.read(member.size)
        else:
            self._blob(name, member, reader, "")

    def _blob(self, name: str, member: Member, reader: LayerReader, expected: str) -> None:
        try:
            writer = self._content.writer(
                self._namespace,
                f"import-{expected or os.urandom(16).hex()}",
                total=member.size,
                expected=expected,
                lease=self._lease,
            )
        except AlreadyExists:
            reader.skip(member.size)
            self._files[name] = _File(Digest.parse(expected), member.size)
            return
        with writer:
            writer.truncate()
            left = member.size
            while left:
                data = reader.read(min(left, _CHUNK_BYTES))
                if not data:
                    writer.discard()
                    raise DataLoss(f"the archive ends in the middle of {name}")
                writer.write(data)
                left -= len(data)
                self._report(Progress(progress.DOWNLOADING, name, writer.offset, member.size))
            digest = writer.digest
            if expected and digest != expected:
                writer.discard()
                raise DataLoss(f"{name} in the archive is damaged: it is {digest}")
            with suppress(AlreadyExists):
                writer.commit(member.size, expected, durable=False)
        self._files[name] = _File(digest, member.size)

    def _docker(self, data: bytes) -> list[Descriptor]:
        try:
            entries = json.loads(data)
        except (ValueError, RecursionError) as error:
            raise InvalidArgument(f"manifest.json of the archive is not valid: {error}") from None
        if not isinstance(entries, list) or not all(isinstance(e, dict) for e in entries):
            raise InvalidArgument("manifest.json of the archive is not a list of images")
        found = []
        for entry in entries:
            root = self._docker_manifest(entry)
            tags = entry.get("RepoTags") or []
            if not isinstance(tags, list):
                raise InvalidArgument("RepoTags in manifest.json is not a list")
            for tag in tags:
                full = str(references.normalize(str(tag)))
                found.append(root._replace(annotations={labels.NAME: full}))
            if not tags:
                found.append(root)
        return found

    def _docker_manifest(self, entry: Mapping[str, object]) -> Descriptor:
        """Write the manifest that the archive does not have."""
        layers, config = entry.get("Layers") or [], entry.get("Config")
        if not isinstance(layers, list) or not isinstance(config, str):
            raise InvalidArgument("manifest.json of the archive lacks Config or Layers")
        manifest = {
            "schemaVersion": 2,
            "mediaType": images.DOCKER_MANIFEST,
            "config": self._file(config, images.DOCKER_CONFIG).to_json(),
            "layers": [self._layer(str(path)).to_json() for path in layers],
        }
        data = images.dump(manifest)
        images.parse_manifest(data)
        return Descriptor(images.DOCKER_MANIFEST, self._write(data), len(data))

    def _layer(self, path: str) -> Descriptor:
        found = self._file(path, images.DOCKER_LAYER)
        start = self._content.read_at(self._namespace, found.digest, 0, 4)
        if start[:2] == b"\x1f\x8b":
            return found._replace(media_type=images.DOCKER_LAYER_GZIP)
        if start == b"\x28\xb5\x2f\xfd":
            return found._replace(media_type=images.DOCKER_LAYER_ZSTD)
        return found

    def _file(self, path: str, media_type: str) -> Descriptor:
        """Content for a path in the archive, links followed."""
        name = posixpath.normpath(path).lstrip("/")
        for _ in range(_LINKS):
            if name in self._documents and name not in self._files:
                data = self._documents[name]
                self._files[name] = _File(self._write(data), len(data))
            if name in self._files:
                return Descriptor(media_type, *self._files[name])
            if name not in self._links:
                break
            name = self._links[name]
        raise NotFound(f"the archive names {path[:200]!r}, but does not hold it")

    def _write(self, data: bytes) -> Digest:
        digest = sha256(data)
        try:
            with self._content.writer(
                self._namespace,
                f"import-{digest}",
                total=len(data),
                expected=digest,
                lease=self._lease,
            ) as writer:
                writer.truncate()
                writer.write(data)
                writer.commit(len(data), digest, durable=False)
        except AlreadyExists:
            pass
        return digest


def _digest_of(name: str) -> str:
    """The digest that a member's path claims, if it is one of a layout's blobs."""
    parts = name.split("/")
    if len(parts) != 3 or parts[0] != "blobs":
        return ""
    return Digest.parse(f"{parts[1]}:{parts[2]}")
