"""zstd decompression and compression through the system's libzstd (part of every systemd machine).

Streaming, with bounded memory: a frame that asks for a window of more than 32 MiB is refused, which none
does that was made with a level up to 20. Source: zstd.h, the streaming part of the stable interface.
"""

from __future__ import annotations

import ctypes
from typing import TYPE_CHECKING, Any

from pinnace.errors import DataLoss, Unimplemented

if TYPE_CHECKING:
    from collections.abc import Iterator

_OUT_BYTES = 1 << 18
_CONTINUE = 0  # ZSTD_e_continue
_END = 2  # ZSTD_e_end
_COMPRESSION_LEVEL = 100  # ZSTD_c_compressionLevel
_WINDOW_LOG_MAX = 100  # ZSTD_d_windowLogMax
_WINDOW_LOG = 25


class _Buffer(ctypes.Structure):
    """ZSTD_inBuffer and ZSTD_outBuffer have the same shape."""

    _fields_ = [
        ("data", ctypes.c_void_p),
        ("size", ctypes.c_size_t),
        ("pos", ctypes.c_size_t),
    ]


_library: Any = None


def _load() -> Any:
    """The library, with its functions declared; raises Unimplemented when it is missing."""
    global _library
    if _library is None:
        try:
            library = ctypes.CDLL("libzstd.so.1")
        except OSError:
            raise Unimplemented(
                "zstd layers need libzstd, which this system lacks",
                hint="install the package libzstd1",
            ) from None
        pointer = ctypes.POINTER(_Buffer)
        for name, result, arguments in (
            ("ZSTD_createDStream", ctypes.c_void_p, []),
            ("ZSTD_freeDStream", ctypes.c_size_t, [ctypes.c_void_p]),
            (
                "ZSTD_DCtx_setParameter",
                ctypes.c_size_t,
                [ctypes.c_void_p, ctypes.c_int, ctypes.c_int],
            ),
            ("ZSTD_decompressStream", ctypes.c_size_t, [ctypes.c_void_p, pointer, pointer]),
            ("ZSTD_createCCtx", ctypes.c_void_p, []),
            ("ZSTD_freeCCtx", ctypes.c_size_t, [ctypes.c_void_p]),
            (
                "ZSTD_CCtx_setParameter",
                ctypes.c_size_t,
                [ctypes.c_void_p, ctypes.c_int, ctypes.c_int],
            ),
            (
                "ZSTD_compressStream2",
                ctypes.c_size_t,
                [ctypes.c_void_p, pointer, pointer, ctypes.c_int],
            ),
            ("ZSTD_isError", ctypes.c_uint, [ctypes.c_size_t]),
            ("ZSTD_getErrorName", ctypes.c_char_p, [ctypes.c_size_t]),
        ):
            function = getattr(library, name)
            function.restype, function.argtypes = result, arguments
        _library = library
    return _library


def _checked(library: Any, code: int) -> int:
    if library.ZSTD_isError(code):
        raise DataLoss(f"zstd: {library.ZSTD_getErrorName(code).decode()}")
    return code


class Decompressor:
    """Turns compressed chunks into chunks; :attr:`finished` after a whole frame.

    ctypes releases the interpreter lock during each call, so other threads go on.
    """

    def __init__(self) -> None:
        self._library = _load()
        self._stream = self._library.ZSTD_createDStream()
        _checked(
            self._library,
            self._library.ZSTD_DCtx_setParameter(self._stream, _WINDOW_LOG_MAX, _WINDOW_LOG),
        )
        self._out = ctypes.create_string_buffer(_OUT_BYTES)
        self.finished = True

    def feed(self, data: bytes) -> Iterator[bytes]:
        """The output for *data*, in pieces of at most 256 KiB; raises DataLoss."""
        source = ctypes.create_string_buffer(data, len(data))
        given = _Buffer(ctypes.cast(source, ctypes.c_void_p), len(data), 0)
        while True:
            taken = _Buffer(ctypes.cast(self._out, ctypes.c_void_p), _OUT_BYTES, 0)
            code = self._library.ZSTD_decompressStream(
                self._stream, ctypes.byref(taken), ctypes.byref(given)
            )
            self.finished = _checked(self._library, code) == 0
            if taken.pos:
                yield ctypes.string_at(self._out, taken.pos)
            # A full output buffer may hide more; an empty input and a gap in the output do not.
            if given.pos == given.size and taken.pos < _OUT_BYTES:
                return

    def close(self) -> None:
        """Free the library's memory."""
        if self._stream:
            self._library.ZSTD_freeDStream(self._stream)
            self._stream = None

    def __del__(self) -> None:
        if getattr(self, "_stream", None):
            self.close()


class Compressor:
    """Turns chunks into the chunks of one zstd frame."""

    def __init__(self, level: int = 3) -> None:
        self._library = _load()
        self._context = self._library.ZSTD_createCCtx()
        self._out = ctypes.create_string_buffer(_OUT_BYTES)
        _checked(
            self._library,
            self._library.ZSTD_CCtx_setParameter(self._context, _COMPRESSION_LEVEL, level),
        )

    def feed(self, data: bytes) -> Iterator[bytes]:
        """The output for *data*, as far as there is some."""
        return self._run(data, _CONTINUE)

    def finish(self) -> Iterator[bytes]:
        """The end of the frame."""
        return self._run(b"", _END)

    def _run(self, data: bytes, directive: int) -> Iterator[bytes]:
        source = ctypes.create_string_buffer(data, len(data))
        given = _Buffer(ctypes.cast(source, ctypes.c_void_p), len(data), 0)
        while True:
            taken = _Buffer(ctypes.cast(self._out, ctypes.c_void_p), _OUT_BYTES, 0)
            left = _checked(
                self._library,
                self._library.ZSTD_compressStream2(
                    self._context, ctypes.byref(taken), ctypes.byref(given), directive
                ),
            )
            if taken.pos:
                yield ctypes.string_at(self._out, taken.pos)
            if left == 0 if directive == _END else given.pos == given.size:
                return

    def close(self) -> None:
        """Free the library's memory."""
        if self._context:
            self._library.ZSTD_freeCCtx(self._context)
            self._context = None

    def __del__(self) -> None:
        if getattr(self, "_context", None):
            self.close()


def compress(data: bytes, level: int = 3) -> bytes:
    """*data* as one zstd frame."""
    compressor = Compressor(level)
    try:
        return b"".join([*compressor.feed(data), *compressor.finish()])
    finally:
        compressor.close()
