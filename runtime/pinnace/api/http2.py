"""HTTP/2 over a socket, both sides: frames, flow control and the life of streams (RFC 9113).

One thread per connection reads and never waits for a writer; any number of threads write and read
messages of their streams. A server has a thread for that (``Connection.run``). A client has none: of
the threads that wait for something one reads for all (``Connection.wait_for``), so that a command with
one thread never changes to another. What a peer can make us hold is bounded: frame size, header
blocks, unread bytes per stream (its window), streams, answers to control frames.

Lock order: ``lock`` guards state and is never held while writing; ``_write_lock`` keeps frames
whole. The reader only tries the write lock: what it could not send, the present writer sends
before it lets go, or the reader itself when the socket takes more. So two peers that both write
much can't stop each other from reading.
"""

from __future__ import annotations

import contextlib
import select
import struct
import threading
import time
from collections import deque
from typing import TYPE_CHECKING

from pinnace.api import hpack
from pinnace.api.frames import (
    ACK,
    CANCEL,
    COMPRESSION_ERROR,
    CONNECTION_WINDOW,
    CONTINUATION,
    DATA,
    DEFAULT_WINDOW,
    END_HEADERS,
    END_STREAM,
    ENHANCE_YOUR_CALM,
    FLOW_CONTROL_ERROR,
    FRAME_SIZE_ERROR,
    GOAWAY,
    HAS_PRIORITY,
    HEADERS,
    MAX_BLOCK,
    MAX_FRAME,
    MAX_HELD,
    MAX_PENDING,
    MAX_STREAMS,
    MAX_WINDOW,
    NO_ERROR,
    PADDED,
    PING,
    PREFACE,
    PROTOCOL_ERROR,
    PUSH_PROMISE,
    REFUSED_STREAM,
    RST_STREAM,
    SETTINGS,
    SETTINGS_ENABLE_PUSH,
    SETTINGS_FRAME,
    SETTINGS_HEADERS,
    SETTINGS_MAX_STREAMS,
    SETTINGS_WINDOW,
    STREAM_CLOSED,
    STREAM_WINDOW,
    WINDOW_UPDATE,
    Header,
    ProtocolError,
    StreamClosed,
    frame,
    unpad,
)
from pinnace.api.stream import Stream

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable


class Connection:
    """One HTTP/2 connection. ``on_stream`` makes it the server side."""

    def __init__(
        self, sock: socket.socket, on_stream: Callable[[Stream], None] | None = None
    ) -> None:
        self._socket = sock
        self._on_stream = on_stream
        self.lock = threading.Lock()
        self._write_lock = threading.Lock()
        self._pending: deque[bytes] = deque()
        self._pending_size = 0
        self._rest = b""  # what the reader could not send; it goes out before anything else
        self._reader = 0
        self._buffer = bytearray()
        self._decoder = hpack.Decoder()
        self._block: tuple[int, int, bytearray] | None = None  # headers awaiting continuation
        self._last_peer = 0
        self._next = 1
        self._unacknowledged = 0
        self.streams: dict[int, Stream] = {}
        self.active = 0
        """Streams that the peer opened and whose handler has not finished."""
        self.held = 0
        """Bytes that have arrived and wait to be read."""
        self.send_window = DEFAULT_WINDOW
        self.peer_frame = 16384
        self._peer_window = DEFAULT_WINDOW
        self.closed: StreamClosed | None = None
        self.draining = False

    # --- the life of the connection ----------------------------------------------------------

    def start(self) -> None:
        """Send what opens our side: the preface of a client, settings, the larger window."""
        settings = [
            (SETTINGS_WINDOW, STREAM_WINDOW),
            (SETTINGS_FRAME, MAX_FRAME),
            (SETTINGS_HEADERS, hpack.MAX_LIST_SIZE),
        ]
        if self._on_stream is None:
            settings.append((SETTINGS_ENABLE_PUSH, 0))
        else:
            settings.append((SETTINGS_MAX_STREAMS, MAX_STREAMS))
        payload = b"".join(struct.pack("!HI", *item) for item in settings)
        update = struct.pack("!I", CONNECTION_WINDOW - DEFAULT_WINDOW)
        opening = frame(SETTINGS, 0, 0, payload) + frame(WINDOW_UPDATE, 0, 0, update)
        self._transmit((b"" if self._on_stream else PREFACE) + opening)

    def run(self) -> None:
        """Server: read until the connection ends, whoever ends it; then every stream has an error."""
        self._reader = threading.get_ident()
        if self._step(self._read_preface):
            while self._step(self._read_frames):
                pass

    def wait_for(
        self, stream: Stream, ready: Callable[[], object], deadline: float | None = None
    ) -> None:
        """Wait until ``ready()``; ``lock`` is held by the caller, and let go meanwhile.

        Raises ``StreamClosed`` when the connection has ended, ``TimeoutError``.
        """
        while not ready():
            if self.closed:
                raise self.closed
            if self._on_stream is not None or self._reader:
                stream.wait(deadline)
                continue
            self._reader = threading.get_ident()
            self.lock.release()
            try:
                self._read_until(ready, deadline)
            finally:
                self.lock.acquire()
                self._let_others_read()

    def fileno(self) -> int:
        """The socket, for poll(2)."""
        return self._socket.fileno()

    def catch_up(self) -> None:
        """Client: read what has arrived while nobody waited, such as the end of the connection."""
        with self.lock:
            if self._reader or self.closed:
                return
            self._reader = threading.get_ident()
        try:
            while self._is_readable(0) and self._step(self._read_frames):
                pass
        finally:
            with self.lock:
                self._let_others_read()

    def _read_until(self, ready: Callable[[], object], deadline: float | None) -> None:
        while True:
            if deadline is not None:
                self._await_bytes(deadline)
            if not self._step(self._read_frames):
                return
            with self.lock:
                if ready():
                    return

    def _await_bytes(self, deadline: float) -> None:
        while (left := deadline - time.monotonic()) > 0:
            if self._is_readable(min(left, _LONGEST_POLL)):
                return
        raise TimeoutError

    def _is_readable(self, seconds: float) -> bool:
        """Whether the next read does not wait; also when the connection has ended."""
        poll = select.poll()
        try:
            poll.register(self._socket, select.POLLIN)
        except ValueError:  # closed meanwhile
            return True
        return bool(poll.poll(seconds * 1000))

    def _let_others_read(self) -> None:
        self._reader = 0
        for stream in self.streams.values():
            stream.changed.notify_all()

    def _step(self, read: Callable[[], bool]) -> bool:
        """Read something; False after the end of the connection, which is closed then."""
        reason = "the connection was closed"
        try:
            if read():
                return True
        except ProtocolError as problem:
            reason = str(problem)
            self._control(frame(GOAWAY, 0, 0, struct.pack("!II", self._last_peer, problem.code)))
        except hpack.HeaderError as problem:
            reason = str(problem)
            payload = struct.pack("!II", self._last_peer, COMPRESSION_ERROR)
            self._control(frame(GOAWAY, 0, 0, payload))
        except OSError as problem:
            reason = problem.strerror or str(problem)
        self.close(reason)
        return False

    def close(self, reason: str = "the connection was closed") -> None:
        """End the connection and every stream on it."""
        with self.lock:
            if self.closed:
                return
            self.closed = StreamClosed(CANCEL, reason)
            streams = list(self.streams.values())
            self.streams.clear()
        for stream in streams:
            self._fail(stream, self.closed)
        with contextlib.suppress(OSError):  # the peer may have been faster
            self._socket.shutdown(2)
        self._socket.close()

    def drain(self) -> None:
        """Tell the peer to open no more streams here; those that are open go on."""
        self.draining = True
        self._control(frame(GOAWAY, 0, 0, struct.pack("!II", self._last_peer, NO_ERROR)))

    # --- writing -----------------------------------------------------------------------------

    def open_stream(self, headers: bytes, data: bytes = b"") -> Stream:
        """Client: start a call, with ``data`` as all that is sent in it, if it is ``finished`` then: it may be too large.

        Raises ``StreamClosed`` when the connection is gone.
        """
        with self._write_lock:
            with self.lock:
                if self.closed:
                    raise self.closed
                stream = Stream(self, self._next, self._peer_window)
                self._next += 2
                self.streams[stream.identifier] = stream
                at_once = (
                    0 < len(data) <= min(stream.send_window, self.send_window, self.peer_frame)
                )
                if at_once:
                    stream.send_window -= len(data)
                    self.send_window -= len(data)
                    stream.finished = True
            out = self._header_frames(stream.identifier, headers, end=False)
            if at_once:
                out += frame(DATA, END_STREAM, stream.identifier, data)
            # Under the write lock: streams must appear on the wire in the order of their numbers.
            self._write_now(out)
        self._flush()
        return stream

    def send_headers(self, stream: Stream, headers: bytes, *, end: bool) -> None:
        self._transmit(self._header_frames(stream.identifier, headers, end=end))
        if end:
            self._finish(stream)

    def _header_frames(self, identifier: int, block: bytes, *, end: bool) -> bytes:
        flags = END_STREAM if end else 0
        size = self.peer_frame
        if len(block) <= size:
            return frame(HEADERS, flags | END_HEADERS, identifier, block)
        parts = [block[start : start + size] for start in range(0, len(block), size)]
        frames = [frame(HEADERS, flags, identifier, parts[0])]
        frames += [frame(CONTINUATION, 0, identifier, part) for part in parts[1:-1]]
        return b"".join(frames) + frame(CONTINUATION, END_HEADERS, identifier, parts[-1])

    def send_data(self, stream: Stream, data: memoryview, *, end: bool) -> None:
        self._transmit(frame(DATA, END_STREAM if end else 0, stream.identifier, bytes(data)))
        if end:
            self._finish(stream)

    def send_answer(self, stream: Stream, opening: bytes, data: bytes, trailers: bytes) -> None:
        """Headers, data and trailers in one write; the data fits the windows and a frame."""
        out = self._header_frames(stream.identifier, opening, end=False) if opening else b""
        out += frame(DATA, 0, stream.identifier, data)
        if trailers:
            out += self._header_frames(stream.identifier, trailers, end=True)
        self._transmit(out)
        if trailers:
            self._finish(stream)

    def reset_stream(self, stream: Stream, code: int) -> None:
        with self.lock:
            if self.streams.pop(stream.identifier, None) is None:
                return
        self._control(frame(RST_STREAM, 0, stream.identifier, struct.pack("!I", code)))
        self._fail(stream, StreamClosed(code, "the call was cancelled"))

    def window_update(self, identifier: int, size: int) -> None:
        self._control(frame(WINDOW_UPDATE, 0, identifier, struct.pack("!I", size)))

    def _finish(self, stream: Stream) -> None:
        with self.lock:
            stream.finished = True
            if stream.ended:
                self.streams.pop(stream.identifier, None)

    def _transmit(self, data: bytes) -> None:
        """Write frames, waiting as long as the peer does not read."""
        with self._write_lock:
            self._write_now(data)
        self._flush()

    def _write_now(self, data: bytes) -> None:
        try:
            self._socket.sendall(self._take_pending() + data)
        except OSError as problem:
            raise self.closed or StreamClosed(CANCEL, problem.strerror or str(problem)) from None

    def _control(self, data: bytes) -> None:
        """Queue a small frame and send it as soon as that is possible without waiting."""
        with self.lock:
            self._pending.append(data)
            self._pending_size += len(data)
            flooded = self._pending_size > MAX_PENDING
        if flooded:
            self.close("the peer does not read its answers")
            return
        self._flush()

    def _flush(self) -> None:
        # Whoever holds the write lock looks again after letting go, so nothing stays behind.
        while (self._pending or self._rest) and self._write_lock.acquire(blocking=False):
            try:
                self._send_pending()
            except OSError:
                return  # the reading side reports it
            finally:
                self._write_lock.release()
            if self._rest:
                return  # this is the reader, which tries again when the socket takes more

    def _send_pending(self) -> None:
        data = self._take_pending()
        if threading.get_ident() != self._reader:
            self._socket.sendall(data)
            return
        try:
            sent = self._socket.send(data, _DONTWAIT)
        except BlockingIOError:
            sent = 0
        self._rest = data[sent:]

    def _take_pending(self) -> bytes:
        with self.lock:
            data = self._rest + b"".join(self._pending)
            self._rest = b""
            self._pending.clear()
            self._pending_size = 0
        return data

    # --- reading -----------------------------------------------------------------------------

    def _fill(self) -> bool:
        """Wait for bytes; False at their end. Sends what is left over while it waits."""
        while self._rest:
            poll = select.poll()
            poll.register(self._socket, select.POLLIN | select.POLLOUT)
            events = poll.poll()[0][1]
            if events & select.POLLOUT:
                self._flush()
            if events & ~select.POLLOUT:
                break
        data = self._socket.recv(MAX_FRAME)
        self._buffer += data
        return bool(data)

    def _read_frames(self) -> bool:
        if not self._fill():
            return False
        self._parse()
        return True

    def _read_preface(self) -> bool:
        while len(self._buffer) < len(PREFACE):
            if not PREFACE.startswith(self._buffer) or not self._fill():
                raise ProtocolError(PROTOCOL_ERROR, "the peer does not speak HTTP/2")
        if not self._buffer.startswith(PREFACE):
            raise ProtocolError(PROTOCOL_ERROR, "the peer does not speak HTTP/2")
        del self._buffer[: len(PREFACE)]
        self._parse()
        return True

    def _parse(self) -> None:
        buffer, position = self._buffer, 0
        while len(buffer) - position >= 9:
            high, low, kind, flags, identifier = struct.unpack_from("!BHBBI", buffer, position)
            size = high << 16 | low
            if size > MAX_FRAME:
                raise ProtocolError(FRAME_SIZE_ERROR, f"a frame of {size} bytes")
            end = position + 9 + size
            if end > len(buffer):
                break
            self._dispatch(kind, flags, identifier & MAX_WINDOW, bytes(buffer[position + 9 : end]))
            position = end
        del buffer[:position]

    def _dispatch(self, kind: int, flags: int, identifier: int, payload: bytes) -> None:
        if self._block is not None and (kind != CONTINUATION or identifier != self._block[0]):
            raise ProtocolError(PROTOCOL_ERROR, "a header block is interrupted")
        handler = _HANDLERS.get(kind)
        if handler is not None:
            handler(self, flags, identifier, payload)

    def _on_data(self, flags: int, identifier: int, payload: bytes) -> None:
        size = len(payload)
        if flags & PADDED:
            payload = unpad(payload)
        self._unacknowledged += size
        if self._unacknowledged > CONNECTION_WINDOW:
            raise ProtocolError(FLOW_CONTROL_ERROR, "more data than the window allows")
        if self._unacknowledged * 2 >= CONNECTION_WINDOW:
            # Streams hold back on their own, so one that is slow does not stop the others.
            self.window_update(0, self._unacknowledged)
            self._unacknowledged = 0
        stream = self.streams.get(identifier)
        if stream is None:
            self._check_known(identifier)
            return
        with stream.changed:
            stream.receive_window -= size
            overrun = stream.receive_window < 0 or stream.ended
            if not overrun:
                # Padding is consumed here and now; the reader gives back the rest.
                stream._consumed += size - len(payload)
                if payload:
                    stream.chunks.append(payload)
                    self.held += len(payload)
                stream.changed.notify_all()
        if self.held > MAX_HELD and self._on_stream is not None:
            raise ProtocolError(ENHANCE_YOUR_CALM, "more data than a server keeps unread")
        if overrun:
            stream.reset(FLOW_CONTROL_ERROR if not stream.ended else STREAM_CLOSED)
        elif flags & END_STREAM:
            self._end(stream)

    def _on_headers(self, flags: int, identifier: int, payload: bytes) -> None:
        if not identifier:
            raise ProtocolError(PROTOCOL_ERROR, "headers without a stream")
        if flags & PADDED:
            payload = unpad(payload)
        if flags & HAS_PRIORITY:
            if len(payload) < 5:
                raise ProtocolError(FRAME_SIZE_ERROR, "a priority is cut off")
            payload = payload[5:]
        self._block = (identifier, flags, bytearray(payload))
        if flags & END_HEADERS:
            self._complete_block()

    def _on_continuation(self, flags: int, identifier: int, payload: bytes) -> None:
        if self._block is None:
            raise ProtocolError(PROTOCOL_ERROR, "a continuation of nothing")
        block = self._block[2]
        block += payload
        if len(block) > MAX_BLOCK:
            raise ProtocolError(ENHANCE_YOUR_CALM, "a header block without an end")
        if flags & END_HEADERS:
            self._complete_block()

    def _complete_block(self) -> None:
        assert self._block is not None
        identifier, flags, block = self._block
        self._block = None
        headers = self._decoder.decode(bytes(block))
        stream = self.streams.get(identifier)
        if stream is None:
            stream = self._accept(identifier, headers, ended=bool(flags & END_STREAM))
            if stream is not None and self._on_stream is not None:
                self._on_stream(stream)
            return
        with stream.changed:
            if stream.headers is None:
                stream.headers = headers
            else:
                stream.trailers = headers
            stream.changed.notify_all()
        if flags & END_STREAM:
            self._end(stream)

    def _accept(self, identifier: int, headers: list[Header], *, ended: bool) -> Stream | None:
        """Server: a new stream, or ``None`` when there may be no more now."""
        if self._on_stream is None or identifier <= self._last_peer:
            self._check_known(identifier)
            return None
        if not identifier & 1:
            raise ProtocolError(PROTOCOL_ERROR, f"a client may not use stream {identifier}")
        self._last_peer = identifier
        if self.active >= MAX_STREAMS or self.draining:
            self._control(frame(RST_STREAM, 0, identifier, struct.pack("!I", REFUSED_STREAM)))
            return None
        stream = Stream(self, identifier, self._peer_window)
        stream.headers = headers
        stream.ended = ended
        with self.lock:
            self.streams[identifier] = stream
            self.active += 1
        return stream

    def released(self, stream: Stream) -> None:
        """Server: the handler of a stream has finished, whether or not the stream had."""
        with self.lock:
            self.active -= 1
            self.held -= sum(map(len, stream.chunks))
            stream.chunks.clear()

    def _check_known(self, identifier: int) -> None:
        last = self._last_peer if self._on_stream else self._next - 1
        if identifier > last or not identifier & 1:
            raise ProtocolError(PROTOCOL_ERROR, f"stream {identifier} was never opened")

    def _end(self, stream: Stream) -> None:
        with stream.changed:
            stream.ended = True
            if stream.finished:
                self.streams.pop(stream.identifier, None)
            stream.changed.notify_all()

    def _fail(self, stream: Stream, error: StreamClosed) -> None:
        with stream.changed:
            stream.error = error
            stream.changed.notify_all()
            callback = stream.on_close
        if callback is not None:
            callback()

    def _on_reset(self, flags: int, identifier: int, payload: bytes) -> None:
        if len(payload) != 4:
            raise ProtocolError(FRAME_SIZE_ERROR, "a reset of a wrong size")
        with self.lock:
            stream = self.streams.pop(identifier, None)
        if stream is None:
            self._check_known(identifier)
            return
        code = int.from_bytes(payload, "big")
        # What has arrived can still be read: a server may answer in full and stop the rest of
        # the request with NO_ERROR (section 8.1).
        self._fail(stream, StreamClosed(code, "the peer cancelled the call"))

    def _on_settings(self, flags: int, identifier: int, payload: bytes) -> None:
        if flags & ACK:
            return
        if len(payload) % 6:
            raise ProtocolError(FRAME_SIZE_ERROR, "settings of a wrong size")
        for key, value in struct.iter_unpack("!HI", payload):
            if key == SETTINGS_WINDOW:
                self._change_windows(value)
            elif key == SETTINGS_FRAME:
                if not 16384 <= value < 1 << 24:
                    raise ProtocolError(PROTOCOL_ERROR, f"a frame size of {value}")
                self.peer_frame = min(value, MAX_FRAME)
        self._control(frame(SETTINGS, ACK, 0))

    def _change_windows(self, value: int) -> None:
        if value > MAX_WINDOW:
            raise ProtocolError(FLOW_CONTROL_ERROR, f"a window of {value}")
        with self.lock:
            difference = value - self._peer_window
            self._peer_window = value
            for stream in self.streams.values():
                stream.send_window += difference
                stream.changed.notify_all()

    def _on_ping(self, flags: int, identifier: int, payload: bytes) -> None:
        if len(payload) != 8:
            raise ProtocolError(FRAME_SIZE_ERROR, "a ping of a wrong size")
        if not flags & ACK:
            self._control(frame(PING, ACK, 0, payload))

    def _on_goaway(self, flags: int, identifier: int, payload: bytes) -> None:
        if len(payload) < 8:
            raise ProtocolError(FRAME_SIZE_ERROR, "a goaway of a wrong size")
        self.draining = True
        last = int.from_bytes(payload[:4], "big")
        if self._on_stream is None:
            with self.lock:
                lost = [s for number, s in self.streams.items() if number > last]
                for stream in lost:
                    del self.streams[stream.identifier]
            for stream in lost:
                self._fail(stream, StreamClosed(REFUSED_STREAM, "the daemon is stopping"))

    def _on_window_update(self, flags: int, identifier: int, payload: bytes) -> None:
        if len(payload) != 4:
            raise ProtocolError(FRAME_SIZE_ERROR, "a window update of a wrong size")
        size = int.from_bytes(payload, "big") & MAX_WINDOW
        with self.lock:
            if not identifier:
                self.send_window += size
                overrun = self.send_window > MAX_WINDOW or not size
                for stream in self.streams.values():
                    stream.changed.notify_all()
            elif (found := self.streams.get(identifier)) is not None:
                found.send_window += size
                overrun = found.send_window > MAX_WINDOW or not size
                found.changed.notify_all()
            else:
                return
        if overrun:
            raise ProtocolError(FLOW_CONTROL_ERROR, "a window update that makes no sense")

    def _on_push(self, flags: int, identifier: int, payload: bytes) -> None:
        raise ProtocolError(PROTOCOL_ERROR, "a push was not allowed")


_LONGEST_POLL = 3600.0
"""Seconds; poll(2) takes at most 24 days."""
_DONTWAIT = 0x40  # MSG_DONTWAIT, without importing socket here


_HANDLERS: dict[int, Callable[[Connection, int, int, bytes], None]] = {
    DATA: Connection._on_data,
    HEADERS: Connection._on_headers,
    RST_STREAM: Connection._on_reset,
    SETTINGS: Connection._on_settings,
    PUSH_PROMISE: Connection._on_push,
    PING: Connection._on_ping,
    GOAWAY: Connection._on_goaway,
    WINDOW_UPDATE: Connection._on_window_update,
    CONTINUATION: Connection._on_continuation,
}
