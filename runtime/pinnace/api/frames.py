"""HTTP/2's frames: names, numbers, limits and the two ways a peer can fail (RFC 9113)."""

from __future__ import annotations

import struct

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)  # fmt: skip
END_STREAM, ACK, END_HEADERS, PADDED, HAS_PRIORITY = 0x1, 0x1, 0x4, 0x8, 0x20

NO_ERROR, PROTOCOL_ERROR, INTERNAL_ERROR, FLOW_CONTROL_ERROR = 0, 1, 2, 3
STREAM_CLOSED, FRAME_SIZE_ERROR, REFUSED_STREAM, CANCEL = 5, 6, 7, 8
COMPRESSION_ERROR, ENHANCE_YOUR_CALM = 9, 11

SETTINGS_ENABLE_PUSH, SETTINGS_MAX_STREAMS, SETTINGS_WINDOW = 2, 3, 4
SETTINGS_FRAME, SETTINGS_HEADERS = 5, 6

DEFAULT_WINDOW = 65535
STREAM_WINDOW = 256 * 1024
"""Unread bytes per stream before the peer has to wait."""
CONNECTION_WINDOW = 1024 * 1024
MAX_FRAME = 64 * 1024
"""Bytes in a frame that we accept; the peer's own limit is 16 KiB unless it says more."""
MAX_STREAMS = 1000
MAX_HELD = 16 * 1024 * 1024
"""Bytes that all streams of one connection may have brought a server and nobody has read yet."""
MAX_BLOCK = 64 * 1024
"""Compressed bytes of one header block with its continuations."""
MAX_PENDING = 256 * 1024
"""Bytes of unsent answers to control frames, after which the peer is cut off."""
MAX_WINDOW = (1 << 31) - 1

Header = tuple[str, str]


class ProtocolError(Exception):
    """The peer broke the protocol: the connection ends with GOAWAY and this code."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code


class StreamClosed(Exception):
    """The stream was reset or its connection ended: ``code`` is the HTTP/2 error code."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """One frame as bytes (section 4.1)."""
    size = len(payload)
    return struct.pack("!BHBBI", size >> 16, size & 0xFFFF, kind, flags, stream) + payload


def unpad(payload: bytes) -> bytes:
    """The payload of a padded frame without its padding (section 6.1)."""
    if not payload or payload[0] >= len(payload):
        raise ProtocolError(PROTOCOL_ERROR, "padding longer than its frame")
    return payload[1 : len(payload) - payload[0]]
