"""Content into the daemon's store, as containerd's client writes it: a stream of writes, then a commit."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pinnace.api.schema.content import (
    WRITE_ACTION_COMMIT,
    WRITE_ACTION_STAT,
    WRITE_ACTION_WRITE,
    Content,
    WriteContentRequest,
)
from pinnace.errors import AlreadyExists, DataLoss

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from pinnace.api.client import Call
    from pinnace.api.schema.content import WriteContentResponse
    from pinnace.cli.client import Client

CHUNK = 1 << 18


def write(
    client: Client,
    ref: str,
    chunks: Iterable[bytes],
    *,
    size: int = 0,
    digest: str = "",
    labels: Mapping[str, str] | None = None,
    on_progress: Callable[[int], None] | None = None,
) -> str:
    """Store ``chunks`` under the name ``ref`` while they come; returns the digest they have.

    Content that is there already is no error, and nothing of ``chunks`` is taken then.

    Args:
        size: bytes expected, 0 for any number.
        digest: what is expected, ``""`` for anything.
        labels: for the blob.
        on_progress: called with the bytes written so far.
    """
    with client.open(Content.write) as stream:
        try:
            opening = WriteContentRequest(
                action=WRITE_ACTION_STAT, ref=ref, total=size, expected=digest
            )
            offset = _ask(stream, opening).offset
            if offset:
                # What an earlier attempt left: this one begins at the start again.
                _ask(stream, WriteContentRequest(action=WRITE_ACTION_WRITE, ref=ref, offset=0))
            offset = 0
            for chunk in chunks:
                part = WriteContentRequest(
                    action=WRITE_ACTION_WRITE, ref=ref, offset=offset, data=chunk
                )
                offset = _ask(stream, part).offset
                if on_progress is not None:
                    on_progress(offset)
            last = WriteContentRequest(
                action=WRITE_ACTION_COMMIT, ref=ref, offset=offset, total=size, expected=digest,
                labels=dict(labels or {}),
            )  # fmt: skip
            return _ask(stream, last).digest or digest
        except AlreadyExists:
            return digest


def _ask(
    stream: Call[WriteContentRequest, WriteContentResponse], request: WriteContentRequest
) -> WriteContentResponse:
    stream.send(request)
    answer = stream.receive()
    if answer is None:
        raise DataLoss("the daemon ended the upload early")
    return answer
