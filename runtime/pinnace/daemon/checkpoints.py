"""Checkpoints of tasks as content: the files that criu writes, in one tar, and back.

The files are kept outside of the bundles, which are in memory on most machines: they are as large as a container's.
"""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, Any, NamedTuple

from pinnace.errors import AlreadyExists, InvalidArgument, NotFound
from pinnace.spec.digest import sha256
from pinnace.spec.image import Descriptor
from pinnace.store import disk

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pinnace.daemon.task import Task
    from pinnace.daemon.tasks import Tasks
    from pinnace.store.content import ContentStore, Writer

MEMORY = "application/vnd.containerd.container.criu.checkpoint.criu.tar"
SPEC = "application/vnd.containerd.container.checkpoint.config.v1+proto"
"""containerd's media types."""
_MOST_FILES = 100_000


class Place(NamedTuple):
    """Where content is written: a namespace, and the lease that keeps it (or none)."""

    namespace: str
    lease: str


class Checkpoints:
    """Writes and reads them below ``directory``."""

    def __init__(self, directory: str, content: ContentStore, tasks: Tasks) -> None:
        self._directory = directory
        self._content = content
        self._tasks = tasks

    def save(
        self, place: Place, identifier: str, spec: bytes, options: Mapping[str, Any]
    ) -> list[Descriptor]:
        """Checkpoint a task into content: its memory, and ``spec``, its packed specification.

        Raises what the shim says, FailedPrecondition without criu among it.
        """
        os.makedirs(self._directory, mode=0o700, exist_ok=True)
        import tempfile  # half a megabyte that few daemons need

        with tempfile.TemporaryDirectory(dir=self._directory, prefix="save-") as images:
            self._tasks.checkpoint(place.namespace, identifier, images, options)
            memory = self._store_tar(place, images)
        return [memory, self._store(place, SPEC, spec)]

    def unpack(self, namespace: str, identifier: str, memory: Descriptor) -> str:
        """Write the files of a checkpoint for a task to be; their directory. Raises NotFound, InvalidArgument."""
        if memory.media_type != MEMORY:
            raise InvalidArgument(f"{memory.media_type!r} is not the media type of a checkpoint")
        path = self._path(namespace, identifier)
        disk.remove_tree(path)
        with disk.errors(f"create {path}"):
            os.makedirs(path, mode=0o700)
        try:
            with self._content.open(namespace, str(memory.digest)) as blob:
                _extract(blob, path)
        except BaseException:
            disk.remove_tree(path)
            raise
        return path

    def forget(self, namespace: str, identifier: str) -> None:
        """Remove what :meth:`unpack` wrote, if it did."""
        path = self._path(namespace, identifier)
        if os.path.isdir(path):
            disk.remove_tree(path)

    def clear(self, namespaces: list[str]) -> None:
        """Remove what an earlier daemon left, but for tasks that are not started yet."""
        if not os.path.isdir(self._directory):
            return
        waiting = {
            self._path(namespace, task.id)
            for namespace in namespaces
            for task in self._tasks.list(namespace)
            if _waits(task)
        }
        for name in os.listdir(self._directory):
            path = os.path.join(self._directory, name)
            if path not in waiting:
                disk.remove_tree(path)

    def _path(self, namespace: str, identifier: str) -> str:
        name = sha256(f"{namespace}/{identifier}".encode()).hex
        return os.path.join(self._directory, name)

    def _store_tar(self, place: Place, directory: str) -> Descriptor:
        import tarfile

        with self._writer(place) as writer:
            output = _Output(writer)
            with tarfile.open(mode="w|", fileobj=output, format=tarfile.PAX_FORMAT) as archive:  # type: ignore[call-overload]
                for name in sorted(os.listdir(directory)):
                    if os.path.isfile(os.path.join(directory, name)):
                        archive.add(os.path.join(directory, name), name, recursive=False)
            return self._committed(writer, MEMORY)

    def _store(self, place: Place, media_type: str, data: bytes) -> Descriptor:
        try:
            with self._writer(place, str(sha256(data))) as writer:
                writer.write(data)
                return self._committed(writer, media_type)
        except AlreadyExists:
            return Descriptor(media_type, sha256(data), len(data))

    def _writer(self, place: Place, expected: str = "") -> Writer:
        ref = f"checkpoint-{os.urandom(6).hex()}"
        return self._content.writer(place.namespace, ref, expected=expected, lease=place.lease)

    def _committed(self, writer: Writer, media_type: str) -> Descriptor:
        digest, size = writer.digest, writer.offset
        with contextlib.suppress(AlreadyExists):  # the same bytes: as good
            writer.commit()
        return Descriptor(media_type, digest, size)


class _Output:
    """A content writer as a file."""

    def __init__(self, writer: Writer) -> None:
        self._writer = writer

    def write(self, data: bytes) -> int:
        return self._writer.write(data)


def _waits(task: Task) -> bool:
    try:
        return task.process().status == "created"
    except NotFound:
        return False


def _extract(blob: Any, directory: str) -> None:
    """The files of a tar, which have no directories: criu's have none. Raises InvalidArgument for others."""
    import tarfile

    try:
        with tarfile.open(mode="r|", fileobj=blob) as archive:
            for count, member in enumerate(archive):
                name = os.path.normpath(member.name)
                if member.isdir() and name == ".":
                    continue
                if not member.isfile() or "/" in name or name in (".", "..") or count > _MOST_FILES:
                    raise InvalidArgument(f"a checkpoint has plain files only, not {member.name!r}")
                source = archive.extractfile(member)
                assert source is not None
                _write(os.path.join(directory, name), source)
    except (tarfile.TarError, EOFError) as problem:
        raise InvalidArgument(f"the checkpoint is damaged: {problem}") from None


def _write(path: str, source: Any) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    with disk.errors(f"write {path}"), open(os.open(path, flags, 0o600), "wb") as file:
        while data := source.read(1 << 20):
            file.write(data)
