"""Getting content from a registry into the store: resumed, retried, verified, several at a time."""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from pinnace.errors import (
    Aborted,
    AlreadyExists,
    DataLoss,
    Error,
    NotFound,
    Unavailable,
)
from pinnace.images import labels, progress
from pinnace.images.progress import Progress
from pinnace.registry.transport import PROGRESS
from pinnace.spec import image as images
from pinnace.spec.reference import Reference

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pinnace.images.progress import Report
    from pinnace.registry.resolver import Resolver
    from pinnace.spec.image import Descriptor
    from pinnace.store.content import Writer
    from pinnace.store.store import Store

_CHUNK_BYTES = 1 << 18
_ATTEMPTS = 5
PAUSE_SECONDS = 1.0
_BUSY_SECONDS = 600.0


class Fetcher:
    """Fetches the content of one reference into one namespace, under a lease."""

    def __init__(
        self,
        store: Store,
        namespace: str,
        reference: str,
        resolver: Resolver,
        lease: str,
        report: Report,
        stops: Sequence[threading.Event],
    ) -> None:
        """Any event of *stops* ends the work."""
        self._content = store.content
        self._namespace = namespace
        self._reference = reference
        self._source = Reference.parse(reference)
        self._resolver = resolver
        self._lease = lease
        self._report = report
        self._stops = stops

    def document(self, descriptor: Descriptor) -> bytes:
        """A manifest, index or config: from the store if it is there and whole, else fetched."""
        limit = images.MAX_CONFIG_BYTES
        if descriptor.size > limit:
            raise DataLoss(f"{descriptor.digest} is {descriptor.size} bytes: too large")
        # Held before it is read: a collection may run at any time.
        self._content.hold(self._namespace, descriptor.digest, self._lease)
        try:
            data = self._content.read(self._namespace, descriptor.digest, limit)
        except (NotFound, DataLoss):
            self.blob(descriptor)
            return self._content.read(self._namespace, descriptor.digest, limit)
        self._note_source(descriptor)
        self._tell(progress.EXISTS, descriptor, descriptor.size)
        return data

    def blob(self, descriptor: Descriptor) -> bool:
        """Make sure the content is in the store; False when it was there.

        Raises DataLoss when the registry sends something else, and what fetching raises. Nothing
        but whole, verified content is ever committed.
        """
        writer = self._writer(_name(descriptor), descriptor)
        if writer is None:
            self._note_source(descriptor)
            self._tell(progress.EXISTS, descriptor, descriptor.size)
            return False
        with writer:
            self._fill(writer, descriptor)
        self._tell(progress.COMPLETE, descriptor, descriptor.size)
        return True

    def give_back(self, descriptor: Descriptor, fetched: bool) -> None:
        """Give back the space of a download on a full disk, unfinished or *fetched* just now.

        Files go first, as the database needs space itself to forget them.
        """
        with suppress(Error):
            if fetched:
                self._content.give_back(self._namespace, descriptor.digest, self._lease)
            else:
                self._content.abort(self._namespace, _name(descriptor))

    def _writer(self, ref: str, descriptor: Descriptor) -> Writer | None:
        """A writer, or None when the content is there; waits for another pull of the same."""
        deadline = time.monotonic() + _BUSY_SECONDS
        while True:
            try:
                return self._content.writer(
                    self._namespace,
                    ref,
                    total=descriptor.size,
                    expected=descriptor.digest,
                    lease=self._lease,
                )
            except AlreadyExists:
                return None
            except Unavailable:
                if time.monotonic() > deadline:
                    raise
                self._tell(progress.WAITING, descriptor, 0)
                self._sleep(0.1)

    def _fill(self, writer: Writer, descriptor: Descriptor) -> None:
        resumed = writer.offset > 0
        if writer.offset > descriptor.size:
            writer.truncate()
        while True:
            self._download(writer, descriptor)
            if writer.digest == descriptor.digest:
                break
            writer.truncate()
            if not resumed:
                raise DataLoss(
                    f"{self._source.hostname} sent a corrupt {_kind(descriptor.media_type)} "
                    f"{descriptor.digest}: its bytes have another digest",
                    hint="nothing was kept; try again, or push the image anew",
                )
            resumed = False  # what an earlier attempt left was bad: once more, from nothing
        source = labels.of_source(self._source, {})
        with suppress(AlreadyExists):
            writer.commit(descriptor.size, descriptor.digest, source, durable=False)

    def _download(self, writer: Writer, descriptor: Descriptor) -> None:
        failures = 0
        while writer.offset < descriptor.size:
            before = writer.offset
            try:
                self._transfer(writer, descriptor)
            except Unavailable:
                # A few bytes are no progress: a server that drips would keep us for ever.
                failures = 1 if writer.offset - before >= PROGRESS else failures + 1
                if failures >= _ATTEMPTS:
                    raise
                self._sleep(PAUSE_SECONDS * failures)

    def _transfer(self, writer: Writer, descriptor: Descriptor) -> None:
        stream = self._resolver.fetch(self._reference, descriptor, writer.offset)
        try:
            if stream.offset != writer.offset:
                writer.truncate()  # the server knows no ranges
            while data := stream.read(_CHUNK_BYTES):
                if writer.offset + len(data) > descriptor.size:
                    writer.truncate()
                    raise DataLoss(f"{self._source.hostname} sent too much for {descriptor.digest}")
                writer.write(data)
                self._tell(progress.DOWNLOADING, descriptor, writer.offset)
                self.check()
        finally:
            stream.close()

    def _note_source(self, descriptor: Descriptor) -> None:
        """Of what was there already: that this repository has it, too."""
        info = self._content.info(self._namespace, descriptor.digest)
        source = labels.of_source(self._source, info.labels)
        if info.labels.items() >= source.items():
            return
        paths = [f"labels.{key}" for key in source]
        self._content.update(self._namespace, descriptor.digest, source, paths, durable=False)

    def _tell(self, event: str, descriptor: Descriptor, offset: int) -> None:
        self._report(Progress(event, _name(descriptor), offset, descriptor.size, descriptor))

    def _sleep(self, seconds: float) -> None:
        self._stops[0].wait(seconds)
        self.check()

    def check(self) -> None:
        """Raise Aborted once somebody stopped the work."""
        if any(stop.is_set() for stop in self._stops):
            raise Aborted(f"{self._reference}: stopped")


def _name(descriptor: Descriptor) -> str:
    """The name of an ingest, as containerd forms it."""
    return f"{_kind(descriptor.media_type)}-{descriptor.digest}"


def _kind(media_type: str) -> str:
    """The word that containerd's names of ingests begin with."""
    if images.is_index(media_type):
        return "index"
    if images.is_manifest(media_type):
        return "manifest"
    if images.is_config(media_type):
        return "config"
    return "layer" if images.is_layer(media_type) else "unknown"
