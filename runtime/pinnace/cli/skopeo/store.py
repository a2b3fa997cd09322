"""``containerd:NAME``: images in the daemon's store, through its Transfer service.

The daemon writes and reads an OCI archive, which lies in the temporary directory meanwhile; the store itself
is never touched. ``$CONTAINERD_ADDRESS`` and ``$CONTAINERD_NAMESPACE`` say which daemon and namespace.
"""

from __future__ import annotations

import os
import tempfile
from typing import TYPE_CHECKING

from pinnace.api.schema import transfertypes as types
from pinnace.cli import images, transfer
from pinnace.cli.client import Client, default_address
from pinnace.errors import ImageNotFound, NotFound
from pinnace.images.transports import base
from pinnace.images.transports.archives import OciArchiveSource, OciArchiveTarget
from pinnace.spec import platform as platforms
from pinnace.spec import reference as references

if TYPE_CHECKING:
    from pinnace.spec.reference import Reference


def _client() -> Client:
    return Client(
        os.environ.get("CONTAINERD_ADDRESS") or default_address(),
        os.environ.get("CONTAINERD_NAMESPACE") or "default",
    )


class StoreSource(OciArchiveSource):
    """Reads an image of the daemon, with all platforms that it has."""

    def __init__(self, name: str, temporary: str) -> None:
        """Raises NotFound, Unavailable without a daemon."""
        self._folder = tempfile.TemporaryDirectory(prefix="skopeo-", dir=temporary or None)
        try:
            path = os.path.join(self._folder.name, "image.tar")
            _export(name, path)
            super().__init__(path, "", temporary)
        except BaseException:
            self._folder.cleanup()
            raise
        self.name = f"containerd:{name}"
        self.reference: Reference | None = references.normalize(name)

    def close(self) -> None:
        """Remove the archive."""
        super().close()
        self._folder.cleanup()


def _export(name: str, path: str) -> None:
    with (
        open(path, "wb") as file,
        _client() as client,
        transfer.Exchange(client) as exchange,
    ):
        try:
            images.get(client, name)
        except NotFound as problem:
            raise ImageNotFound(problem.message, hint=problem.hint) from problem
        exchange.run(
            types.ImageStore(extra_references=[types.ImageReference(name=name)]),
            types.ImageExportStream(
                stream=exchange.receive_file(file.fileno()),
                all_platforms=True,
                skip_compatibility_manifest=True,
            ),
        )


class StoreTarget(OciArchiveTarget):
    """Gives an image to the daemon, under its full name, unpacked when it runs on this machine."""

    def __init__(self, name: str, temporary: str) -> None:
        """Raises InvalidArgument for what is no name."""
        reference = references.normalize(name)
        self._folder = tempfile.TemporaryDirectory(prefix="skopeo-", dir=temporary or None)
        self._path = os.path.join(self._folder.name, "image.tar")
        super().__init__(self._path, str(reference), temporary=temporary)
        self.name = f"containerd:{reference}"
        self.reference: Reference | None = reference
        self.layers = base.PRESERVE

    def commit(self) -> None:
        """Let the daemon import what was gathered."""
        super().commit()
        own = transfer.platform_message(platforms.default())
        fd = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            with _client() as client, transfer.Exchange(client) as exchange:
                exchange.run(
                    types.ImageImportStream(stream=exchange.send_file(fd)),
                    types.ImageStore(unpacks=[types.UnpackConfiguration(platform=own)]),
                )
        finally:
            os.close(fd)

    def close(self) -> None:
        """Remove the archive."""
        super().close()
        self._folder.cleanup()
