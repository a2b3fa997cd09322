"""Byte streams with a window: the end of an archive that the client has to store in time."""

from __future__ import annotations

import io
import queue
import tarfile
import threading
import time
from collections.abc import Iterator

import pytest

from pinnace.api import streams
from pinnace.api.schema.transfertypes import Data, WindowUpdate
from pinnace.api.schema.wellknown import Any


class Client:
    """Grants as containerd's receiver does, and is slow to store what it took."""

    def __init__(self, *, grants: bool = True) -> None:
        self.requests: queue.Queue[Any | None] = queue.Queue()
        self.stream = streams.NamedStream(self._messages())
        self.stored = b""
        self._grants = grants
        self._thread = threading.Thread(target=self._receive)
        self._thread.start()

    def end(self) -> None:
        self.stream.close()
        self.requests.put(None)
        self._thread.join()

    def _messages(self) -> Iterator[Any]:
        while (message := self.requests.get()) is not None:
            yield message

    def _grant(self, size: int) -> None:
        self.requests.put(Any.pack(WindowUpdate(update=size)))

    def _receive(self) -> None:
        window, taken = 0, b""
        if not self._grants:
            self._grant(1 << 20)
        for message in self._outgoing():
            time.sleep(0.005)
            self.stored += taken  # the last message is only in memory when the next is asked for
            taken = message.unpack(Data).data if message is not None else b""
            window -= len(taken)
            if self._grants and window < streams.WINDOW:
                self._grant(streams.WINDOW)
                window += streams.WINDOW

    def _outgoing(self) -> Iterator[Any | None]:
        yield None
        yield from self.stream.outgoing()


def archive(size: int) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        member = tarfile.TarInfo("blob")
        member.size = size
        tar.addfile(member, io.BytesIO(b"x" * size))
    return out.getvalue()


@pytest.mark.parametrize("size", [0, 1000, 54 * 1024, streams.WINDOW, 300_000])
def test_an_archive_is_stored_before_the_transfer_is_answered(size: int) -> None:
    client, sent = Client(), archive(size)
    try:
        writer = streams.ByteWriter(client.stream)
        writer.write(sent)
        writer.settle_archive()
        stored = client.stored
        assert stored.startswith(sent)
        with tarfile.open(fileobj=io.BytesIO(stored)) as tar:
            assert tar.getmember("blob").size == size
    finally:
        client.end()


def test_a_client_that_grants_otherwise_is_not_waited_for_forever(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(streams, "SETTLE_SECONDS", 0.05)
    client = Client(grants=False)
    ended = threading.Timer(0.2, client.requests.put, [None])  # what the server does on close
    ended.start()
    try:
        writer = streams.ByteWriter(client.stream)
        writer.write(archive(streams.WINDOW * 15))
        writer.settle_archive()
    finally:
        ended.join()
        client.end()
