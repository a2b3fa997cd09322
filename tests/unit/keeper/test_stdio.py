"""A process's streams: clients that are late, gone, slow, or pass something else than a FIFO."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pinnace.errors import InvalidArgument, NotFound, Unimplemented
from pinnace.keeper.loop import Loop
from pinnace.keeper.stdio import Stdio


@pytest.fixture
def loop() -> Iterator[Loop]:
    before = signal.getsignal(signal.SIGCHLD)
    yield Loop(lambda _pid, _status: None)
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, before)


def _fifo(tmp_path: Path, name: str) -> str:
    path = tmp_path / name
    os.mkfifo(path)
    return str(path)


def _turn(loop: Loop, milliseconds: int = 200) -> None:
    """One round of the loop, bounded."""
    for fd, events in loop._poll.poll(milliseconds):
        callback = loop._callbacks.get(fd)
        if callback is not None:
            callback(events)


def test_output_survives_a_reader_that_goes_away(tmp_path: Path, loop: Loop) -> None:
    path = _fifo(tmp_path, "out")
    stdio = Stdio(loop, {"stdout": path})
    _, stdout, _ = stdio.open()
    reader = os.open(path, os.O_RDONLY)
    os.write(stdout, b"one")
    _turn(loop)
    assert os.read(reader, 10) == b"one"
    os.close(reader)
    os.write(stdout, b"two")  # no SIGPIPE, no EPIPE: the shim still reads
    _turn(loop)
    late = os.open(path, os.O_RDONLY)
    assert os.read(late, 10) == b"two"
    stdio.ended()
    assert os.read(late, 10) == b""
    stdio.close()


def test_output_of_an_ended_process_waits_for_a_late_reader(tmp_path: Path, loop: Loop) -> None:
    path = _fifo(tmp_path, "out")
    stdio = Stdio(loop, {"stdout": path})
    _, stdout, _ = stdio.open()
    os.write(stdout, b"said")
    stdio.ended()
    late = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    assert os.read(late, 10) == b"said"
    assert os.read(late, 10) == b""
    stdio.close()


@pytest.mark.parametrize("size", [65536, 4096, 5000], ids=["a FIFO's", "a page's", "no page's"])
def test_output_that_nobody_reads_never_blocks(tmp_path: Path, loop: Loop, size: int) -> None:
    """Whatever the last write before the FIFO is full leaves over: a part of it may have had room."""
    path = _fifo(tmp_path, "out")
    stdio = Stdio(loop, {"stdout": path})
    _, stdout, _ = stdio.open()
    os.set_blocking(stdout, False)
    sent = 0
    while sent < 10 << 20:
        sent += os.write(stdout, b"x" * size)
        for _ in range(3):
            _turn(loop, 0)
    late = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    assert os.read(late, 10) == b"x" * 10  # some of it is still there for one who comes
    stdio.close()
    os.close(late)


def test_a_slow_reader_gets_everything_even_after_the_end(tmp_path: Path, loop: Loop) -> None:
    path = _fifo(tmp_path, "out")
    stdio = Stdio(loop, {"stdout": path})
    _, stdout, _ = stdio.open()
    slow = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    os.set_blocking(stdout, False)
    sent = 0
    with contextlib.suppress(BlockingIOError):
        while sent < 10 << 20:
            sent += os.write(stdout, b"x" * 65536)
            _turn(loop, 0)
    assert 100_000 < sent < 10 << 20  # the reader's slowness held the writer
    stdio.ended()
    stdio.close()
    received = 0
    while data := os.read(slow, 1 << 20):
        received += len(data)
    assert received == sent
    os.close(slow)


def test_a_reader_that_goes_while_the_fifo_is_full_stops_nobody(tmp_path: Path, loop: Loop) -> None:
    path = _fifo(tmp_path, "out")
    stdio = Stdio(loop, {"stdout": path})
    _, stdout, _ = stdio.open()
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    os.set_blocking(stdout, False)
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(stdout, b"x" * 65536)
            _turn(loop, 0)
    os.close(reader)
    for _ in range(4):
        _turn(loop)
    assert os.write(stdout, b"x" * 4096) == 4096
    stdio.close()


def test_input_is_copied_until_the_client_closes_it(tmp_path: Path, loop: Loop) -> None:
    path = _fifo(tmp_path, "in")
    stdio = Stdio(loop, {"stdin": path})
    stdin, _, _ = stdio.open()
    writer = os.open(path, os.O_WRONLY)
    os.write(writer, b"hello")
    _turn(loop)
    assert os.read(stdin, 10) == b"hello"
    os.close(writer)
    _turn(loop)
    os.set_blocking(stdin, False)
    with pytest.raises(BlockingIOError):
        os.read(stdin, 10)  # a client that went away is not the end of the input
    stdio.close_input()
    _turn(loop)
    assert os.read(stdin, 10) == b""
    stdio.close()


def test_input_larger_than_a_pipe_arrives_whole(tmp_path: Path, loop: Loop) -> None:
    path = _fifo(tmp_path, "in")
    stdio = Stdio(loop, {"stdin": path})
    stdin, _, _ = stdio.open()
    writer = os.open(path, os.O_WRONLY | os.O_NONBLOCK)
    sent, received = 0, 0
    while received < 300_000:
        if sent < 300_000:
            with contextlib.suppress(BlockingIOError):
                sent += os.write(writer, b"x" * min(30_000, 300_000 - sent))
        _turn(loop)
        received += len(os.read(stdin, 20_000))
    assert received == 300_000
    os.close(writer)
    stdio.close()


def test_close_io_gives_the_process_what_is_there_and_then_the_end(
    tmp_path: Path, loop: Loop
) -> None:
    path = _fifo(tmp_path, "in")
    stdio = Stdio(loop, {"stdin": path})
    stdin, _, _ = stdio.open()
    writer = os.open(path, os.O_WRONLY)
    os.write(writer, b"rest")
    stdio.close_input()
    assert os.read(stdin, 10) == b"rest"
    assert os.read(stdin, 10) == b""
    os.close(writer)
    stdio.close()


@pytest.mark.parametrize(
    ("path", "error"),
    [
        ("/nonexistent/fifo", NotFound),
        ("/dev/null", InvalidArgument),
        ("/etc/passwd", InvalidArgument),
        ("binary:///usr/bin/logger", Unimplemented),
    ],
)
def test_what_is_no_fifo_is_refused_and_nothing_stays_open(
    loop: Loop, path: str, error: type[Exception]
) -> None:
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(error):
        Stdio(loop, {"stdout": path}).open()
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_log_file_is_appended_to_and_private(tmp_path: Path, loop: Loop) -> None:
    path = tmp_path / "logs" / "c1.log"
    for text in (b"one\n", b"two\n"):
        stdio = Stdio(loop, {"stdout": f"file://{path}"})
        _, stdout, _ = stdio.open()
        os.write(stdout, text)
        stdio.close()
    assert path.read_bytes() == b"one\ntwo\n"
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_log_file_is_not_written_through_a_symlink(tmp_path: Path, loop: Loop) -> None:
    victim = tmp_path / "victim"
    victim.write_text("")
    (tmp_path / "log").symlink_to(victim)
    with pytest.raises(InvalidArgument):
        Stdio(loop, {"stdout": f"file://{tmp_path}/log"}).open()


def test_a_terminal_needs_a_terminal_for_its_size(loop: Loop) -> None:
    with pytest.raises(InvalidArgument):
        Stdio(loop, {}).resize(80, 24)


def test_a_log_is_copied_so_that_nobody_can_cut_it_short(tmp_path: Path, loop: Loop) -> None:
    log = tmp_path / "logs" / "out.log"
    stdio = Stdio(loop, {"stdout": f"file://{log}"})
    _, stdout, _ = stdio.open()
    os.write(stdout, b"one\n")
    _turn(loop)
    with pytest.raises(OSError, match="Invalid argument"):
        os.ftruncate(stdout, 0)
    os.write(stdout, b"two\n")
    stdio.ended()
    assert log.read_bytes() == b"one\ntwo\n"
    assert log.stat().st_mode & 0o777 == 0o600
    stdio.close()


def test_a_log_does_not_wait_for_who_still_holds_it(tmp_path: Path, loop: Loop) -> None:
    log = tmp_path / "out.log"
    stdio = Stdio(loop, {"stdout": f"file://{log}"})
    _, stdout, _ = stdio.open()
    held = os.dup(stdout)  # a child of the process that stays behind
    os.write(held, b"before\n")
    stdio.ended()
    assert log.read_bytes() == b"before\n"
    os.write(held, b"after\n")  # it lives on; what it writes is nobody's
    _turn(loop)
    kept = stdio.retire()
    for _ in range(20):
        os.write(held, b"x" * 60000)
        _turn(loop)
    assert log.read_bytes() == b"before\n"
    os.close(held)
    _turn(loop)
    assert [drain.is_over for drain in kept] == [True]


def test_nothing_is_kept_when_nobody_writes(tmp_path: Path, loop: Loop) -> None:
    before = len(os.listdir("/proc/self/fd"))
    stdio = Stdio(loop, {"stdout": f"file://{tmp_path}/out.log"})
    stdio.open()
    stdio.ended()
    assert stdio.retire() == []
    assert len(os.listdir("/proc/self/fd")) == before


def test_closing_ends_what_is_kept(tmp_path: Path, loop: Loop) -> None:
    first, second = (Stdio(loop, {"stdout": f"file://{tmp_path}/{n}.log"}) for n in range(2))
    _, stdout, _ = first.open()
    held = os.dup(stdout)
    first.ended()
    second.adopt(first.retire())
    assert second.describe() is not None
    assert len(second.items()) == 1
    second.close()
    with pytest.raises(BrokenPipeError):
        os.write(held, b"after\n")
    os.close(held)


def test_a_full_disk_loses_lines_and_stops_nobody(loop: Loop) -> None:
    stdio = Stdio(loop, {"stdout": "file:///dev/full"})
    _, stdout, _ = stdio.open()
    for _ in range(3):
        os.write(stdout, b"x" * 60000)
        _turn(loop)
    stdio.ended()


def test_a_flood_leaves_the_shim_time_for_others(tmp_path: Path, loop: Loop) -> None:
    """What is read at a time is bounded: the writer here is always ready with more."""
    stdio = Stdio(loop, {"stdout": f"file://{tmp_path}/out.log"})
    _, stdout, _ = stdio.open()
    stopping = threading.Event()

    def flood() -> None:
        with contextlib.suppress(OSError):
            while not stopping.is_set():
                os.write(stdout, b"y" * 65536)

    writer = threading.Thread(target=flood)
    writer.start()
    try:
        begun = time.monotonic()
        for _ in range(3):
            _turn(loop, 0)
        assert time.monotonic() - begun < 10
    finally:
        stopping.set()
        while writer.is_alive():
            _turn(loop)
    stdio.close()
