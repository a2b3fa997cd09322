"""A shim that nobody comes to goes, and takes nothing of another with it."""

from __future__ import annotations

import os
import shutil
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from pinnace.keeper import shim, sockets

_SOON = 0.3
_LATE = 600.0


@pytest.fixture
def start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[float], int]]:
    """Starts a shim for the directory ``state``, which waits so long for somebody; its process id once it listens."""
    children: list[int] = []

    def run(seconds: float) -> int:
        monkeypatch.setattr(shim, "_LONELY_SECONDS", seconds)
        told, tell = os.pipe()
        pid = os.fork()
        if pid == 0:
            _be_a_shim(tmp_path, tell)
        os.close(tell)
        children.append(pid)
        assert os.read(told, 1) == b"+"
        os.close(told)
        return pid

    yield run
    for pid in children:
        with suppress(ProcessLookupError, ChildProcessError):
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)


def _be_a_shim(place: Path, tell: int) -> None:
    status = 1
    try:
        names = {"namespace": "ns", "id": "c1", "bundle": str(place), "state": str(place / "state")}
        (place / "state").mkdir(exist_ok=True)
        shim.serve_frame(names, lambda _: void(os.write(tell, b"+")))
        status = 0
    finally:
        os._exit(status)


def void(_: object) -> None:
    """What a callback of no interest gives."""


def test_it_leaves_nothing(start: Callable[[float], int], tmp_path: Path) -> None:
    assert os.waitpid(start(_SOON), 0)[1] == 0
    assert not (tmp_path / "state").exists()


def test_the_next_one_in_its_place_keeps_its_own(
    start: Callable[[float], int], tmp_path: Path
) -> None:
    first = start(_SOON)
    shutil.rmtree(tmp_path / "state")  # as the next daemon does with a task that never ran
    start(_LATE)
    assert os.waitpid(first, 0)[1] == 0
    assert {path.name for path in (tmp_path / "state").iterdir()} == {"shim.log", "shim.sock"}
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(tmp_path / "state" / "shim.sock"))


def test_a_socket_is_ours_only_if_we_listen_on_it(tmp_path: Path) -> None:
    path = str(tmp_path / "s")
    assert not sockets.is_ours(path)
    with sockets.listen(path):
        assert sockets.is_ours(path)
        pid = os.fork()
        if pid == 0:
            os._exit(sockets.is_ours(path))
        assert os.waitpid(pid, 0)[1] == 0
    assert not sockets.is_ours(path)
