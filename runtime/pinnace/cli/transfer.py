"""The Transfer service as commands use it: a source, a destination, and streams beside the call.

The daemon moves the bytes; this side names both ends, answers for credentials, feeds or takes an archive, and
hears of the progress. A stream is made under a name before the call that mentions it (containerd's
docs/transfer.md; messages in ``api.schema.transfertypes``).
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from pinnace.api.schema import transfertypes as types
from pinnace.api.schema.streaming import Streaming, StreamInit
from pinnace.api.schema.transfer import Transfer, TransferOptions, TransferRequest
from pinnace.api.schema.types import Platform as PlatformMessage
from pinnace.api.schema.wellknown import Any as AnyMessage
from pinnace.cli.stdio import write_all
from pinnace.errors import DataLoss, Error, Unavailable

if TYPE_CHECKING:
    from pinnace.api.client import Call
    from pinnace.api.codec import Message
    from pinnace.cli.client import Client
    from pinnace.spec.platform import Platform

    Stream = Call[AnyMessage, AnyMessage]

_CHUNK = 32 * 1024  # what containerd's sender puts into one message
_WINDOW = 2 * _CHUNK  # what its receiver lets be under way


def platform_message(platform: Platform) -> PlatformMessage:
    return PlatformMessage(
        os=platform.os, architecture=platform.architecture, variant=platform.variant
    )


class Exchange:
    """One transfer with its streams; use as a context.

    Args:
        on_progress: called with each :class:`types.Progress`, from another thread.
    """

    def __init__(
        self, client: Client, on_progress: Callable[[types.Progress], None] | None = None
    ) -> None:
        self._client = client
        self._on_progress = on_progress
        self._streams: list[Stream] = []
        self._threads: list[threading.Thread] = []
        self._failures: list[Exception] = []

    def __enter__(self) -> Exchange:
        return self

    def __exit__(self, *_: object) -> None:
        for stream in self._streams:
            stream.cancel()

    def run(self, source: Message, destination: Message) -> None:
        """Do it; returns when it is done and its streams have been read to their ends."""
        options = TransferOptions()
        if self._on_progress is not None:
            options.progress_stream = self._stream(self._hear_progress)
        self._client.call(
            Transfer.transfer,
            TransferRequest(
                source=AnyMessage.pack(source),
                destination=AnyMessage.pack(destination),
                options=options,
            ),
        )
        for thread in self._threads:
            thread.join()
        if self._failures:
            raise self._failures[0]

    def send_file(self, fd: int) -> str:
        """A stream that the daemon reads ``fd`` through; its name."""
        return self._stream(lambda stream: _send(stream, fd))

    def receive_file(self, fd: int) -> str:
        """A stream that the daemon writes into ``fd`` through; its name."""
        return self._stream(lambda stream: _receive(stream, fd))

    def credentials(self, username: str, secret: str) -> str:
        """A stream that answers the daemon's questions for credentials; its name."""
        answer = types.AuthResponse(
            auth_type=types.AUTH_TYPE_CREDENTIALS, username=username, secret=secret
        )

        def reply(stream: Stream) -> None:
            with contextlib.suppress(Error):  # it ends with the transfer, however that ends
                for message in stream:
                    if message.holds(types.AuthRequest):
                        stream.send(AnyMessage.pack(answer))

        return self._stream(reply, wait=False)

    def _stream(self, use: Callable[[Stream], None], *, wait: bool = True) -> str:
        name = f"ctr-{os.urandom(8).hex()}"
        stream = self._client.open(Streaming.stream)
        self._streams.append(stream)
        stream.send(AnyMessage.pack(StreamInit(id=name)))
        if stream.receive() is None:  # its answer says that the name is known now
            raise Unavailable("the daemon closed a stream before it was used")

        def using() -> None:
            try:
                use(stream)
            except Error as problem:
                # The call that mentions the stream tells more when it fails, too.
                self._failures.append(problem)
            except OSError as problem:
                self._failures.append(DataLoss(f"the archive: {problem.strerror}"))
                stream.cancel()

        thread = threading.Thread(target=using, daemon=True)
        thread.start()
        if wait:
            self._threads.append(thread)
        return name

    def _hear_progress(self, stream: Stream) -> None:
        with contextlib.suppress(Error):  # what is not heard is only not shown
            for message in stream:
                if self._on_progress is not None and message.holds(types.Progress):
                    self._on_progress(message.unpack(types.Progress))


def _send(stream: Stream, fd: int) -> None:
    """Send what ``fd`` has, never more than the receiver has room for."""
    room = 0
    while chunk := os.read(fd, _CHUNK):
        while chunk:
            while room <= 0:
                message = stream.receive()
                if message is None:
                    return  # the receiver has had enough
                if message.holds(types.WindowUpdate):
                    room += message.unpack(types.WindowUpdate).update
            try:
                stream.send(AnyMessage.pack(types.Data(data=chunk[:room])))
            except Error:
                # It closed while this was under way; how it ended says whether it had enough.
                while stream.receive() is not None:
                    pass
                return
            chunk, room = chunk[room:], room - min(room, len(chunk))
    stream.finish()


def _receive(stream: Stream, fd: int) -> None:
    """Write what comes into ``fd``, granting room as it is used up."""
    room = 0
    while True:
        if room < _WINDOW:
            # The sender may have sent all and left, while we still read what is under way.
            with contextlib.suppress(Error):
                stream.send(AnyMessage.pack(types.WindowUpdate(update=_WINDOW)))
            room += _WINDOW
        message = stream.receive()
        if message is None:
            return
        if message.holds(types.Data):
            data = message.unpack(types.Data).data
            write_all(fd, data)
            room -= len(data)
