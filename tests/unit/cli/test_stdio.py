"""Bytes over FIFOs: the pump against a pretended shim."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import pytest

from pinnace.api.schema.tasks import WaitResponse
from pinnace.cli.stdio import Pump, Streams, remove_fifos
from pinnace.errors import Error, NotFound, Unavailable


@contextmanager
def own_descriptors(place: Path) -> Iterator[None]:
    """This process's descriptors 0 to 2 as files in ``place``, given back at the end; signals too.

    Not a fixture: pytest lays its own capture over the descriptors between set-up and test.
    """
    saved = [os.dup(fd) for fd in range(3)]
    handlers = {number: signal.getsignal(number) for number in (2, 15, 1, 3, 10, 12)}
    for fd, name in enumerate(("in", "out", "err")):
        (place / name).touch()
        opened = os.open(place / name, os.O_RDWR)
        os.dup2(opened, fd)
        os.close(opened)
    try:
        yield
    finally:
        for fd, copy in enumerate(saved):
            os.dup2(copy, fd)
            os.close(copy)
        signal.set_wakeup_fd(-1)
        for number, handler in handlers.items():
            signal.signal(number, handler)


class Gone:
    """The answer of a daemon that has gone away meanwhile: the pump has to wait by other means."""

    def __init__(self) -> None:
        self._read, self._write = os.pipe()

    def fileno(self) -> int:
        return self._read

    def arrived(self) -> bool:
        return True

    def result(self) -> WaitResponse:
        raise Unavailable("the daemon is stopping")


class Told(Gone):
    """An answer that comes when the container has ended."""

    def __init__(self, container: Callable[[], int]) -> None:
        super().__init__()
        self._result: list[int | Error] = []

        def run() -> None:
            try:
                self._result.append(container())
            except Error as problem:
                self._result.append(problem)
            os.write(self._write, b".")

        threading.Thread(target=run).start()

    def arrived(self) -> bool:
        return bool(self._result)

    def result(self) -> WaitResponse:
        found = self._result[0]
        if isinstance(found, Error):
            raise found
        return WaitResponse(exit_status=found)


class Moved:
    """What a pump saw of a container that is a function."""

    def __init__(
        self, place: Path, container: Callable[[Streams], int], *, ended: Callable[[], None] = list,
        goes: bool = False,
    ) -> None:  # fmt: skip
        self.heard: list[object] = []
        streams = Streams("c1", terminal=False, directory=str(place / "fifo"))
        with own_descriptors(place):
            pump = Pump(
                streams,
                on_signal=self.heard.append,
                on_stdin_end=lambda: self.heard.append("end"),
            )
            try:
                end = Gone() if goes else Told(lambda: container(streams))
                pump.watch(cast(Any, end), lambda: container(streams))
                self.status = pump.run()
                ended()
                pump.drain()
            finally:
                streams.close()
        self.out = (place / "out").read_bytes()
        self.err = (place / "err").read_bytes()


@pytest.mark.parametrize("goes", [False, True], ids=["told by the daemon", "the daemon goes away"])
def test_moves_both_ways_and_more_than_a_fifo_holds(tmp_path: Path, goes: bool) -> None:
    sent = os.urandom(300_000)
    (tmp_path / "in").write_bytes(sent)

    def cat(streams: Streams) -> int:
        with open(streams.stdin, "rb") as stdin, open(streams.stdout, "wb") as stdout:
            while chunk := stdin.read(65536):
                stdout.write(chunk)
        return 3

    moved = Moved(tmp_path, cat, goes=goes)
    assert (moved.status, moved.out, moved.heard) == (3, sent, ["end"])
    assert list((tmp_path / "fifo").iterdir()) == []


def test_what_is_written_last_is_not_lost(tmp_path: Path) -> None:
    end = threading.Event()

    def container(streams: Streams) -> int:
        ready = threading.Event()

        def shim() -> None:
            with open(streams.stdout, "wb") as stdout, open(streams.stderr, "wb") as stderr:
                ready.set()
                end.wait(5)
                stdout.write(b"last words")
                stderr.write(b"problem")

        threading.Thread(target=shim).start()
        ready.wait(5)
        return 0

    moved = Moved(tmp_path, container, ended=end.set)
    assert (moved.out, moved.err) == (b"last words", b"problem")


def test_signals_are_reported(tmp_path: Path) -> None:
    waiting = threading.Event()

    def container(_: Streams) -> int:
        os.kill(os.getpid(), signal.SIGUSR1)
        waiting.wait(0.2)
        return 0

    assert signal.SIGUSR1 in Moved(tmp_path, container).heard


@pytest.mark.parametrize("goes", [False, True], ids=["told by the daemon", "the daemon goes away"])
def test_an_error_while_waiting_is_the_result(tmp_path: Path, goes: bool) -> None:
    def container(_: Streams) -> int:
        raise NotFound("no such task")

    with pytest.raises(NotFound):
        Moved(tmp_path, container, goes=goes)


def test_an_id_is_only_a_name(tmp_path: Path) -> None:
    streams = Streams("../../../escape", terminal=False, directory=str(tmp_path / "fifo"))
    assert Path(streams.stdin).parent.parent == tmp_path / "fifo"
    streams.close()


def test_only_fifos_are_removed(tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.write_text("x")
    link = tmp_path / "link"
    link.symlink_to(precious)
    os.mkfifo(tmp_path / "fifo")
    remove_fifos(str(precious), str(link), "", "file:///var/log/x", str(tmp_path / "fifo"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link", "precious"]
