"""A command's streams over a channel that is not one: what a real server cannot be made to do on time."""

from __future__ import annotations

import re
import threading
from typing import Any

import pytest

from toolkit.connection.channel import Process
from toolkit.connection.sudo import SudoPassword
from toolkit.errors import HostFailed


class AskingChannel:
    """sudo asks on it; the connection under it ends while it is closed."""

    def __init__(self) -> None:
        self._prompt = b""
        self._closed = threading.Event()

    def settimeout(self, seconds: float) -> None: ...

    def exec_command(self, command: str) -> None:
        found = re.search(r"\[pinnace \w+\]", command)
        assert found
        self._prompt = found.group().encode()

    def sendall(self, data: bytes) -> None: ...

    def recv_stderr(self, size: int) -> bytes:
        asked, self._prompt = self._prompt, b""
        return asked

    def recv(self, size: int) -> bytes:
        assert self._closed.wait(10)
        return b""

    def close(self) -> None:
        self._closed.set()
        raise EOFError


def test_nobody_to_ask_is_the_reason_though_the_connection_ends_under_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fell: list[Any] = []
    monkeypatch.setattr(threading, "excepthook", fell.append)
    monkeypatch.setattr("sys.stdin.isatty", lambda: False, raising=False)
    with pytest.raises(HostFailed, match="nobody to ask"):
        Process(AskingChannel(), "pi", "true", SudoPassword(), 5)
    for thread in threading.enumerate():
        if thread.daemon and thread is not threading.current_thread():
            thread.join(5)
    assert fell == []
