"""The protocol with keeper and shims, against a peer made of sockets."""

from __future__ import annotations

import json
import os
import socket
import struct
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from itertools import accumulate
from pathlib import Path
from typing import Any

import pytest

from pinnace.daemon.shims import Connection, KeeperShims
from pinnace.errors import FailedPrecondition, Unavailable


def frame(message: Mapping[str, Any]) -> bytes:
    body = json.dumps(message).encode()
    return struct.pack("<I", len(body)) + body


def serve(path: Path, answer: Callable[[dict[str, Any]], bytes]) -> None:
    """Answer every request on one connection with the bytes that ``answer`` makes."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen()

    def run() -> None:
        sock, _ = listener.accept()
        with listener, sock:
            while head := sock.recv(4, socket.MSG_WAITALL):
                (size,) = struct.unpack("<I", head)
                reply = answer(json.loads(sock.recv(size, socket.MSG_WAITALL)))
                if not reply:
                    return
                sock.sendall(reply)

    threading.Thread(target=run, daemon=True).start()


class Heard:
    def __init__(self) -> None:
        self.events: list[Mapping[str, Any]] = []
        self.closed = threading.Event()

    def connect(self, path: Path) -> Connection:
        return Connection(str(path), self.events.append, self.closed.set)


def test_calls_events_and_errors(tmp_path: Path) -> None:
    def answer(request: dict[str, Any]) -> bytes:
        number = request["id"]
        if request["method"] == "fail":
            error = {"status": 9, "message": "not now"}
            return frame({"id": number, "error": error})
        event = frame({"event": "exit", "status": 3})
        return event + frame({"id": number, "result": {"got": request["value"]}})

    serve(tmp_path / "s", answer)
    heard = Heard()
    shim = heard.connect(tmp_path / "s")
    assert shim.call("echo", value=5) == {"got": 5}
    assert heard.events == [{"event": "exit", "status": 3}]
    with pytest.raises(FailedPrecondition, match="not now"):
        shim.call("fail")
    shim.close()
    with pytest.raises(Unavailable):
        shim.call("echo", value=1)
    assert not heard.closed.is_set()


@pytest.mark.parametrize("reply", [b"", struct.pack("<I", 1 << 30), frame({})[:3], b"\2\0\0\0[]"])
def test_a_shim_that_goes_or_talks_nonsense_is_gone(tmp_path: Path, reply: bytes) -> None:
    serve(tmp_path / "s", lambda request: reply and reply + b"")
    heard = Heard()
    shim = heard.connect(tmp_path / "s")
    if len(reply) == 3:
        # Cut off in the middle: nothing to hear until the other side closes.
        shim.close()
    with pytest.raises(Unavailable):
        shim.call("any")


def test_no_shim_is_unavailable(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="cannot connect to"):
        Heard().connect(tmp_path / "none")


def test_the_keeper_starts_shims(tmp_path: Path) -> None:
    seen: list[dict[str, Any]] = []

    def answer(request: dict[str, Any]) -> bytes:
        seen.append(request)
        return frame({"pid": 5, "address": f"{request['state']}/shim.sock"})

    serve(tmp_path / "k", answer)
    address = KeeperShims(str(tmp_path / "k")).start("ns", "c1", "/bundle", "/state")
    assert address == "/state/shim.sock"
    assert seen == [
        {"op": "shim", "namespace": "ns", "id": "c1", "bundle": "/bundle", "state": "/state"}
    ]


def test_a_keeper_that_was_killed_is_awaited(tmp_path: Path) -> None:
    path = tmp_path / "k"
    _leave_behind(path)

    def come_back() -> None:
        serve(tmp_path / "k~", lambda _: frame({"address": "warm"}))
        (tmp_path / "k~").rename(path)

    threading.Timer(0.3, come_back).start()
    assert KeeperShims(str(path)).start("ns", "c1", "/bundle", "/state") == "warm"


def test_a_keeper_that_does_not_come_back_is_awaited_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _leave_behind(tmp_path / "k")
    monkeypatch.setattr("pinnace.daemon.shims._AWAY_SECONDS", 2.0)
    shims = _ColdShims(tmp_path, monkeypatch, "print('cold')")
    began = time.monotonic()
    assert shims.start("ns", "c1", "/bundle", "/state") == "cold"
    assert time.monotonic() - began >= 2
    began = time.monotonic()
    assert shims.start("ns", "c2", "/bundle", "/state") == "cold"
    assert time.monotonic() - began < 2


def test_cold_starts_take_turns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = tmp_path / "log"
    shims = _ColdShims(
        tmp_path,
        monkeypatch,
        f"""
import time
log = open({str(log)!r}, "a", buffering=1)
log.write("+")
time.sleep(0.2)
log.write("-")
""",
    )
    many = (os.cpu_count() or 1) + 4
    with ThreadPoolExecutor(many) as pool:
        list(pool.map(lambda n: shims.start("ns", f"c{n}", "/bundle", "/state"), range(many)))
    at_once = list(accumulate(1 if sign == "+" else -1 for sign in log.read_text()))
    assert len(at_once) == 2 * many
    assert max(at_once) <= (os.cpu_count() or 1)


def _leave_behind(path: Path) -> None:
    """A socket of which the process was killed."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))


class _ColdShims(KeeperShims):
    """Starts a program of the test's own in the place of a shim."""

    module = "shim_of_this_test"

    def __init__(self, place: Path, monkeypatch: pytest.MonkeyPatch, program: str) -> None:
        super().__init__(str(place / "k"))
        (place / f"{self.module}.py").write_text(program)
        monkeypatch.syspath_prepend(str(place))
