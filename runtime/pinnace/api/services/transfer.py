"""The Transfer service: the daemon pulls, pushes, imports, exports and tags by itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pinnace.api.schema import transfer as wire
from pinnace.api.schema import transfertypes as types
from pinnace.api.schema.wellknown import Any, Empty
from pinnace.api.services import convert
from pinnace.api.streams import ByteReader, ByteWriter, NamedStream, drain
from pinnace.daemon.transfer import Registry, Transfer
from pinnace.errors import InvalidArgument, PermissionDenied, Unimplemented
from pinnace.spec.platform import Platform, normalize

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from pinnace.api.codec import Message
    from pinnace.api.schema import types as shared
    from pinnace.api.server import Context
    from pinnace.daemon.daemon import Daemon
    from pinnace.images.progress import Progress

SCHEMA = wire.Transfer


class Service:
    def __init__(self, daemon: Daemon) -> None:
        self._daemon = daemon
        self._ways: dict[tuple[type[Message], type[Message]], Callable[..., None]] = {
            (types.OCIRegistry, types.ImageStore): self._pull,
            (types.ImageStore, types.OCIRegistry): self._push,
            (types.ImageImportStream, types.ImageStore): self._import,
            (types.ImageStore, types.ImageExportStream): self._export,
            (types.ImageStore, types.ImageStore): self._tag,
        }

    def transfer(self, request: wire.TransferRequest, context: Context) -> Empty:
        """Do what source and destination say; raises Unimplemented for other pairs."""
        source, destination = request.source or Any(), request.destination or Any()
        for (first, second), way in self._ways.items():
            if source.holds(first) and destination.holds(second):
                report = _Report(self._progress_stream(request, context.namespace))
                work = Transfer(self._daemon, context.namespace, report)
                try:
                    way(work, source.unpack(first), destination.unpack(second))
                finally:
                    report.close()
                return Empty()
        raise Unimplemented(
            f"transfer from {source.type_url or 'nothing'} to {destination.type_url or 'nothing'}"
        )

    def _progress_stream(self, request: wire.TransferRequest, namespace: str) -> NamedStream | None:
        name = request.options.progress_stream if request.options else ""
        return self._daemon.streams.get(namespace, name) if name else None

    def _pull(self, work: Transfer, source: types.OCIRegistry, target: types.ImageStore) -> None:
        unpack = target.unpacks[0] if target.unpacks else None
        work.pull(
            source.reference,
            self._registry(work, source),
            name=target.name,
            labels=target.labels,
            platforms=_platforms(target.platforms),
            unpack=unpack is not None,
            snapshotter=unpack.snapshotter if unpack else "",
        )

    def _push(self, work: Transfer, source: types.ImageStore, target: types.OCIRegistry) -> None:
        registry = self._registry(work, target)
        work.push(source.name, target.reference, registry, _platforms(source.platforms))

    def _import(
        self, work: Transfer, source: types.ImageImportStream, target: types.ImageStore
    ) -> None:
        if source.force_compress:
            raise Unimplemented("layers of an archive are stored as they are, not compressed")
        stream = self._daemon.streams.get(work.namespace, source.stream)
        unpack = target.unpacks[0] if target.unpacks else None
        prefixes = [item for item in target.extra_references if item.is_prefix]
        reader = ByteReader(stream)
        try:
            work.import_(
                reader,
                base_name=prefixes[0].name if prefixes else target.name,
                index_name=target.name,
                digests=any(item.add_digest for item in target.extra_references),
                labels=target.labels,
                platforms=_platforms(target.platforms),
                unpack=unpack is not None,
                snapshotter=unpack.snapshotter if unpack else "",
            )
        finally:
            # The client must not wait for room for what stands behind the archive's end.
            drain(reader)
            stream.close()

    def _export(
        self, work: Transfer, source: types.ImageStore, target: types.ImageExportStream
    ) -> None:
        stream = self._daemon.streams.get(work.namespace, target.stream)
        names = [source.name] if source.name else []
        names += [item.name for item in source.extra_references if item.name not in names]
        writer = ByteWriter(stream)
        try:
            work.export(
                names,
                writer,
                platforms=_platforms(target.platforms),
                all_platforms=target.all_platforms,
                docker_manifest=not target.skip_compatibility_manifest,
            )
            writer.settle_archive()
        finally:
            stream.close()

    def _tag(self, work: Transfer, source: types.ImageStore, target: types.ImageStore) -> None:
        work.tag(source.name, target.name, target.labels)

    def _registry(self, work: Transfer, source: types.OCIRegistry) -> Registry:
        resolver = source.resolver or types.RegistryResolver()
        credentials = None
        if resolver.auth_stream:
            stream = self._daemon.streams.get(work.namespace, resolver.auth_stream)
            credentials = _Credentials(stream, source.reference)
        return Registry(
            hosts_directory=resolver.host_dir,
            plain_http=resolver.default_scheme == "http",
            headers=tuple(resolver.headers.items()),
            credentials=credentials,
        )


class _Credentials:
    """Asks the client for credentials over its stream, each host once."""

    def __init__(self, stream: NamedStream, reference: str) -> None:
        self._stream = stream
        self._reference = reference
        self._known: dict[str, tuple[str, str]] = {}

    def __call__(self, host: str) -> tuple[str, str]:
        if host not in self._known:
            self._known[host] = self._ask(host)
        return self._known[host]

    def _ask(self, host: str) -> tuple[str, str]:
        self._stream.send(types.AuthRequest(host=host, reference=self._reference))
        answer = self._stream.receive()
        if answer is None:
            raise PermissionDenied(f"the client gives no credentials for {host}")
        found = answer.unpack(types.AuthResponse)
        if found.auth_type == types.AUTH_TYPE_NONE:
            return "", ""
        if found.auth_type == types.AUTH_TYPE_HEADER:
            raise Unimplemented("credentials as a header are not supported")
        # A refresh token goes without a user name.
        username = found.username if found.auth_type == types.AUTH_TYPE_CREDENTIALS else ""
        return username, found.secret


class _Report:
    """Progress of the work, sent to the client's stream if it has one."""

    def __init__(self, stream: NamedStream | None) -> None:
        self._stream = stream

    def __call__(self, progress: Progress) -> None:
        if self._stream is None:
            return
        described = progress.descriptor
        self._stream.offer(
            types.Progress(
                event=progress.event,
                name=progress.name,
                progress=progress.offset,
                total=progress.total,
                desc=convert.descriptor(described) if described else None,
            )
        )

    def close(self) -> None:
        if self._stream is not None:
            self._stream.close()


def _platforms(messages: Iterable[shared.Platform]) -> list[Platform]:
    found = []
    for message in messages:
        if not message.os or not message.architecture:
            raise InvalidArgument("a platform needs os and architecture")
        found.append(normalize(Platform(message.os, message.architecture, message.variant)))
    return found
