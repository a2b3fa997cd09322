"""The Content service: blobs by digest, written in a conversation that can be resumed."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

from pinnace.api.schema import content as wire
from pinnace.api.schema.wellknown import Empty
from pinnace.api.services import convert
from pinnace.errors import DataLoss, FailedPrecondition, InvalidArgument, OutOfRange

if TYPE_CHECKING:
    import builtins
    from collections.abc import Callable, Iterator, Mapping

    from pinnace.api.server import Context
    from pinnace.daemon.daemon import Daemon
    from pinnace.store.blobs import Status
    from pinnace.store.content import Info, Writer

SCHEMA = wire.Content

_PAGE = 100
_CHUNK = 256 * 1024
"""Bytes per message of a read: large enough to be cheap, small beside a stream's window."""


class Service:
    def __init__(self, daemon: Daemon) -> None:
        self._catalog = daemon.catalog
        self._content = daemon.store.content

    def info(self, request: wire.InfoRequest, context: Context) -> wire.InfoResponse:
        found = self._content.info(context.namespace, request.digest)
        return wire.InfoResponse(info=_info(found))

    def update(self, request: wire.UpdateRequest, context: Context) -> wire.UpdateResponse:
        if request.info is None:
            raise InvalidArgument("content info must be set")
        found = self._content.update(
            context.namespace,
            request.info.digest,
            request.info.labels,
            convert.paths(request.update_mask),
        )
        return wire.UpdateResponse(info=_info(found))

    def list(
        self, request: wire.ListContentRequest, context: Context
    ) -> Iterator[wire.ListContentResponse]:
        page: builtins.list[wire.Info] = []
        for info in self._content.walk(context.namespace, request.filters):
            page.append(_info(info))
            if len(page) == _PAGE:
                yield wire.ListContentResponse(info=page)
                page = []
        if page:
            yield wire.ListContentResponse(info=page)

    def delete(self, request: wire.DeleteContentRequest, context: Context) -> Empty:
        self._catalog.delete_content(context.namespace, request.digest)
        return Empty()

    def read(
        self, request: wire.ReadContentRequest, context: Context
    ) -> Iterator[wire.ReadContentResponse]:
        with self._content.open(context.namespace, request.digest) as file:
            size = file.seek(0, 2)
            offset = request.offset
            end = offset + request.size if request.size else size
            if not 0 <= offset <= end <= size:
                raise OutOfRange(
                    f"read of {request.digest} from {offset} to {end}: it has {size} bytes"
                )
            file.seek(offset)
            while offset < end and (data := file.read(min(_CHUNK, end - offset))):
                yield wire.ReadContentResponse(offset=offset, data=data)
                offset += len(data)

    def status(self, request: wire.StatusRequest, context: Context) -> wire.StatusResponse:
        found = self._content.status(context.namespace, request.ref)
        return wire.StatusResponse(status=_status(found))

    def list_statuses(
        self, request: wire.ListStatusesRequest, context: Context
    ) -> wire.ListStatusesResponse:
        found = self._content.statuses(context.namespace, request.filters)
        return wire.ListStatusesResponse(statuses=[_status(item) for item in found])

    def abort(self, request: wire.AbortRequest, context: Context) -> Empty:
        self._content.abort(context.namespace, request.ref)
        return Empty()

    def write(
        self, requests: Iterator[wire.WriteContentRequest], context: Context
    ) -> Iterator[wire.WriteContentResponse]:
        """One response per request; what was written before the client left can be resumed."""
        namespace = context.namespace
        with ExitStack() as stack:
            session: _Session | None = None
            for request in requests:
                if session is None:
                    writer = self._open(request, namespace, context.lease)
                    session = _Session(self._catalog.commit_content, namespace, writer, request)
                    stack.callback(writer.close)
                yield session.handle(request)

    def _open(self, request: wire.WriteContentRequest, namespace: str, lease: str) -> Writer:
        if not request.ref:
            raise InvalidArgument("first message must have a reference")
        return self._content.writer(
            namespace, request.ref, total=request.total, expected=request.expected, lease=lease
        )


class _Session:
    """The state of one conversation of ``Write``."""

    def __init__(
        self,
        commit: Callable[[str, Writer, int, str, Mapping[str, str]], str],
        namespace: str,
        writer: Writer,
        first: wire.WriteContentRequest,
    ) -> None:
        self._commit = commit
        self._namespace = namespace
        self._writer = writer
        self._ref = first.ref
        self._total = first.total
        self._expected = first.expected

    def handle(self, request: wire.WriteContentRequest) -> wire.WriteContentResponse:
        self._check(request)
        if request.action != wire.WRITE_ACTION_STAT:
            self._write(request)
        # With every answer: a client whose content turns out to be here keeps the last one it heard.
        digest = str(self._writer.digest)
        if request.action == wire.WRITE_ACTION_COMMIT:
            digest = self._committed(request)
        return wire.WriteContentResponse(
            action=request.action,
            started_at=convert.timestamp(self._writer.started_at),
            updated_at=convert.timestamp(convert.now()),
            offset=self._writer.offset,
            total=self._total,
            digest=digest,
        )

    def _committed(self, request: wire.WriteContentRequest) -> str:
        try:
            return self._commit(
                self._namespace, self._writer, self._total, self._expected, request.labels
            )
        except DataLoss as problem:
            # What the client sent is not what it said it would send: nothing of ours is damaged.
            raise FailedPrecondition(problem.message) from None

    def _check(self, request: wire.WriteContentRequest) -> None:
        """What was announced once must not change in the middle."""
        if request.ref and request.ref != self._ref:
            raise InvalidArgument(f"reference changed from {self._ref!r} to {request.ref!r}")
        for announced, now in (
            (self._total, request.total),
            (self._expected, request.expected),
        ):
            if announced and now and announced != now:
                raise InvalidArgument(f"write to {self._ref}: expected {announced!r}, now {now!r}")
        self._total = self._total or request.total
        self._expected = self._expected or request.expected

    def _write(self, request: wire.WriteContentRequest) -> None:
        writer = self._writer
        if request.offset and request.offset != writer.offset:
            raise OutOfRange(
                f"write @{request.offset} must occur at current offset {writer.offset}"
            )
        if not request.offset and writer.offset:
            writer.truncate()
        if request.data:
            writer.write(request.data)


def _info(info: Info) -> wire.Info:
    return wire.Info(
        digest=str(info.digest),
        size=info.size,
        created_at=convert.timestamp(info.created_at),
        updated_at=convert.timestamp(info.updated_at),
        labels=dict(info.labels),
    )


def _status(status: Status) -> wire.Status:
    return wire.Status(
        started_at=convert.timestamp(status.started_at),
        updated_at=convert.timestamp(status.updated_at),
        ref=status.ref,
        offset=status.offset,
        total=status.total,
        expected=status.expected,
    )
