"""An image fetched by this command itself instead of by the daemon, into the daemon's content store.

It is how containerd's client works where a daemon has no Transfer service (before 1.7), and for ``--local``. The
content is labelled as containerd labels it, so that the collector keeps what belongs together.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from pinnace.api.schema.content import Content, Info, InfoRequest, ReadContentRequest, UpdateRequest
from pinnace.api.schema.images import CreateImageRequest, Image, Images, UpdateImageRequest
from pinnace.api.schema.types import Descriptor as DescriptorMessage
from pinnace.api.schema.wellknown import FieldMask
from pinnace.cli import images, upload
from pinnace.errors import AlreadyExists, NotFound
from pinnace.images import labels as content_labels
from pinnace.spec import image as documents
from pinnace.spec import platform as platforms
from pinnace.spec.reference import Reference

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from pinnace.cli.client import Client
    from pinnace.registry.resolver import Resolver
    from pinnace.spec.image import Descriptor
    from pinnace.spec.platform import Platform

    Report = Callable[[str, Descriptor, int], None]

_REFERENCE = "containerd.io/gc.ref.content"


class Fetch:
    """Fetches one reference.

    Args:
        wanted: platforms whose layers are fetched; all when empty.
        all_metadata: manifests and configs of every platform, too.
        metadata_only: no layers at all.
        report: told an event's name, the content, and the bytes that are here.
    """

    def __init__(
        self, client: Client, resolver: Resolver, reference: str, *, wanted: Sequence[Platform],
        all_metadata: bool, metadata_only: bool, report: Report,
    ) -> None:  # fmt: skip
        self._client = client
        self._resolver = resolver
        self._reference = reference
        self._wanted = wanted
        self._all_metadata = all_metadata
        self._metadata_only = metadata_only
        self._report = report

    def run(self) -> Descriptor:
        """Fetch all of it; what the reference means. Call it under a lease."""
        name, root = self._resolver.resolve(self._reference)
        self._report("resolved", root, root.size)
        self._document(root, name, layers=True)
        return root

    def _document(self, descriptor: Descriptor, name: str, *, layers: bool) -> None:
        self.blob(descriptor)
        data = images.read_document(self._client, descriptor)
        kind = documents.media_type_of(documents.parse_document(data), descriptor.media_type)
        if documents.is_index(kind):
            children = documents.parse_index(data, kind).manifests
            chosen = self._chosen(children, name)
            for number, child in enumerate(children):
                if number in chosen or self._all_metadata:
                    self._document(child, name, layers=number in chosen)
            labels = {f"{_REFERENCE}.m.{n}": str(each.digest) for n, each in enumerate(children)}
        else:
            manifest = documents.parse_manifest(data, kind)
            self.blob(manifest.config)
            if layers and not self._metadata_only:
                for layer in manifest.layers:
                    self.blob(layer)
            labels = {f"{_REFERENCE}.config": str(manifest.config.digest)}
            for number, layer in enumerate(manifest.layers):
                labels[f"{_REFERENCE}.l.{number}"] = str(layer.digest)
        self._label(descriptor, labels)

    def _chosen(self, children: Sequence[Descriptor], name: str) -> set[int]:
        if not self._wanted:
            return set(range(len(children)))
        known = [each.platform for each in children]
        offered = [each for each in known if each is not None]
        found = [platforms.best(wish, offered) for wish in self._wanted]
        chosen = {known.index(offered[number]) for number in found if number is not None}
        if not chosen:
            has = ", ".join(str(each) for each in offered) or "none"
            raise NotFound(f"{name} has nothing for {self._wanted[0]}", hint=f"it has: {has}")
        return chosen

    def blob(self, descriptor: Descriptor) -> None:
        """One piece of content, unless it is here; the daemon checks its digest."""
        digest = str(descriptor.digest)
        try:
            known = self._client.call(Content.info, InfoRequest(digest=digest)).info
            self._report("already exists", descriptor, descriptor.size)
            self._label(descriptor, self._source(known.labels if known else {}))
            return
        except NotFound:
            pass
        upload.write(
            self._client, f"ctr-fetch-{os.urandom(6).hex()}-{digest}", self._bytes(descriptor),
            size=descriptor.size, digest=digest,
            on_progress=lambda count: self._report("downloading", descriptor, count),
        )  # fmt: skip
        self._label(descriptor, self._source({}))
        self._report("complete", descriptor, descriptor.size)

    def _source(self, known: Mapping[str, str]) -> dict[str, str]:
        """Where it comes from: a later push may have the registry take it from there."""
        return content_labels.of_source(Reference.parse(self._reference), known)

    def _bytes(self, descriptor: Descriptor) -> Iterator[bytes]:
        stream = self._resolver.fetch(self._reference, descriptor)
        try:
            while chunk := stream.read(upload.CHUNK):
                yield chunk
        finally:
            stream.close()

    def _label(self, descriptor: Descriptor, labels: dict[str, str]) -> None:
        mask = FieldMask(paths=[f"labels.{key}" for key in labels])
        info = Info(digest=str(descriptor.digest), labels=labels)
        self._client.call(Content.update, UpdateRequest(info=info, update_mask=mask))


class Push:
    """Sends an image of the daemon's store to a registry.

    Args:
        wanted: platforms that are sent, each as a manifest without an index; all when empty.
        foreign: send layers, too, that may not be passed on.
    """

    def __init__(
        self, client: Client, resolver: Resolver, reference: str, *, wanted: Sequence[Platform],
        foreign: bool, report: Report,
    ) -> None:  # fmt: skip
        self._client = client
        self._resolver = resolver
        self._reference = reference
        self._wanted = wanted
        self._foreign = foreign
        self._report = report

    def run(self, root: Descriptor) -> None:
        """Send all of it, the tag last."""
        if self._wanted:
            root = self._one(root)
        self._send_below(root)
        self._send(root, self._reference)

    def _one(self, root: Descriptor) -> Descriptor:
        from pinnace.images import select

        def read(descriptor: Descriptor) -> bytes:
            return images.read_document(self._client, descriptor)

        tree = select.load(root, read, self._wanted[0], self._reference)
        return tree.manifests[0][0]

    def _send_below(self, descriptor: Descriptor) -> None:
        """What a document refers to, before the registry sees the document."""
        data = images.read_document(self._client, descriptor)
        kind = documents.media_type_of(documents.parse_document(data), descriptor.media_type)
        repository = self._reference.partition("@")[0]
        if documents.is_index(kind):
            for child in documents.parse_index(data, kind).manifests:
                self._send_below(child)
                self._send(child, f"{_untagged(repository)}@{child.digest}")
            return
        manifest = documents.parse_manifest(data, kind)
        for each in (*manifest.layers, manifest.config):
            if self._foreign or not documents.is_foreign(each.media_type):
                self._send(each, self._reference)

    def _send(self, descriptor: Descriptor, reference: str) -> None:
        self._report("uploading", descriptor, 0)
        self._resolver.push(
            reference, descriptor, lambda: Blob(self._client, str(descriptor.digest))
        )
        self._report("complete", descriptor, descriptor.size)


def _untagged(name: str) -> str:
    head, colon, tail = name.rpartition(":")
    return head if colon and "/" not in tail else name


def name_it(client: Client, name: str, root: Descriptor, labels: dict[str, str]) -> Image:
    """Make the image ``name`` mean ``root``, whatever it meant before."""
    target = DescriptorMessage(media_type=root.media_type, digest=str(root.digest), size=root.size)
    image = Image(name=name, labels=labels, target=target)
    try:
        client.call(Images.create, CreateImageRequest(image=image))
    except AlreadyExists:
        client.call(Images.update, UpdateImageRequest(image=image))
    return image


class Blob:
    """A blob of the daemon's store as a file to read."""

    def __init__(self, client: Client, digest: str) -> None:
        self._answers = client.read(Content.read, ReadContentRequest(digest=digest))
        self._rest = b""

    def read(self, size: int = -1, /) -> bytes:
        while not self._rest:
            answer = next(self._answers, None)
            if answer is None:
                return b""
            self._rest = answer.data
        taken, self._rest = (
            (self._rest, b"") if size < 0 else (self._rest[:size], self._rest[size:])
        )
        return taken

    def close(self) -> None:
        """Stop, without reading the rest."""
        self._answers.close()
