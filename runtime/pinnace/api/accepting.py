"""Accepting connections in a thread that waits for them, also while descriptors or memory are short."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from pinnace import errors

if TYPE_CHECKING:
    import socket
    import threading
    from collections.abc import Callable

_PASSING = errors.SHORTAGES | {errno.ECONNABORTED}
_PAUSE_SECONDS = 0.5


def accept(
    listener: socket.socket, stopping: threading.Event, log: Callable[[str], None]
) -> socket.socket | None:
    """The next connection, ``None`` when the server stops: then ``stopping`` is set, and the listener shut down.

    Short of descriptors or memory it waits. Raises OSError for what does not pass.
    """
    while True:
        try:
            return listener.accept()[0]
        except OSError as problem:
            if stopping.is_set():
                return None
            if problem.errno not in _PASSING:
                raise
            log(f"cannot accept connections: {problem.strerror}")
            stopping.wait(_PAUSE_SECONDS)
