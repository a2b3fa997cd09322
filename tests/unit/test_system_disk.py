"""The disk with a volatile write cache, as QEMU's client speaks to it, and what a power cut takes."""

import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from toolkit.boards.system import disk

SIZE = 1 << 20


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "disk"
    path.write_bytes(bytes(SIZE))
    return path


# -- the cache -------------------------------------------------------------------------------------


def test_what_was_written_is_read_before_it_is_flushed(file: Path) -> None:
    cache = disk.WriteCache(file)
    cache.write(1000, b"a" * 9000)
    cache.write(4090, b"B" * 12)
    assert cache.read(996, 8) == b"\0\0\0\0aaaa"
    assert cache.read(4088, 16) == b"aa" + b"B" * 12 + b"aa"
    assert file.read_bytes() == bytes(SIZE)
    cache.flush()
    assert file.read_bytes()[1000:10000] == b"a" * 3090 + b"B" * 12 + b"a" * 5898


def test_a_power_cut_loses_what_was_not_flushed_and_nothing_else(file: Path) -> None:
    cache = disk.WriteCache(file)
    cache.write(0, b"flushed")
    cache.flush()
    cache.write(0, b"changed")
    cache.write(40960, b"new")
    assert cache.lose() == 2
    assert cache.read(0, 7) == b"flushed"
    assert file.read_bytes()[40960:40963] == bytes(3)


def test_some_blocks_may_be_spared_and_always_the_same_for_a_seed(file: Path) -> None:
    def survivors(seed: int) -> list[int]:
        file.write_bytes(bytes(SIZE))
        cache = disk.WriteCache(file)
        for index in range(64):
            cache.write(index * disk.BLOCK, b"x")
        cache.lose(kept=0.5, seed=seed)
        content = file.read_bytes()
        return [index for index in range(64) if content[index * disk.BLOCK] == ord("x")]

    assert survivors(1) == survivors(1) != survivors(2)
    assert 10 < len(survivors(1)) < 54


def test_a_full_cache_writes_itself(file: Path) -> None:
    cache = disk.WriteCache(file, blocks=4)
    for index in range(5):
        cache.write(index * disk.BLOCK, b"x")
    assert cache.lose() == 0
    assert file.read_bytes()[4 * disk.BLOCK] == ord("x")


# -- the protocol ----------------------------------------------------------------------------------


class Client:
    """A client that says the least: the old way in, then requests."""

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection
        assert self._receive(8) == b"NBDMAGIC"
        self._receive(10)
        connection.sendall(struct.pack(">I", 3))
        connection.sendall(struct.pack(">8sII", b"IHAVEOPT", 99, 3) + b"???")
        assert struct.unpack(">QIII", self._receive(20))[2] == 0x80000001
        connection.sendall(struct.pack(">8sII", b"IHAVEOPT", 1, 0))
        self.size, self.flags = struct.unpack(">QH", self._receive(10))

    def ask(self, kind: int, offset: int, length: int, data: bytes = b"", flags: int = 0) -> int:
        """Send one request; the error in its answer."""
        header = struct.pack(">IHHQQI", 0x25609513, flags, kind, 7, offset, length)
        self._socket.sendall(header + data)
        magic, error, handle = struct.unpack(">IIQ", self._receive(16))
        assert (magic, handle) == (0x67446698, 7)
        return int(error)

    def read(self, offset: int, length: int) -> bytes:
        assert self.ask(0, offset, length) == 0
        return self._receive(length)

    def _receive(self, length: int) -> bytes:
        return self._socket.recv(length, socket.MSG_WAITALL)


@contextmanager
def served(file: Path) -> Iterator[tuple[socket.socket, list[bool]]]:
    """The client's end of a connection to a server for ``file``, and whether it ended in peace."""
    ours, theirs = socket.socketpair()
    ours.settimeout(10)
    ended: list[bool] = []
    cache = disk.WriteCache(file)

    def run() -> None:
        with theirs:
            ended.append(disk.serve(theirs, cache))
        if not ended[0]:
            cache.lose()

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield ours, ended
    finally:
        ours.close()
        thread.join()
        cache.close()


def test_a_flush_or_a_forced_write_stays_when_the_client_is_killed(file: Path) -> None:
    with served(file) as (connection, ended):
        client = Client(connection)
        assert client.size == SIZE
        assert client.ask(1, 0, 4, b"kept") == 0
        assert client.ask(3, 0, 0) == 0
        assert client.ask(1, 8192, 6, b"forced", flags=1) == 0
        assert client.ask(1, 4096, 4, b"lost") == 0
        assert client.read(4096, 4) == b"lost"
    assert ended == [False]
    content = file.read_bytes()
    assert (content[:4], content[8192:8198]) == (b"kept", b"forced")
    assert content[4096:4100] == bytes(4)


def test_a_goodbye_keeps_everything(file: Path) -> None:
    with served(file) as (connection, ended):
        client = Client(connection)
        assert client.ask(1, 4096, 4, b"kept") == 0
        connection.sendall(struct.pack(">IHHQQI", 0x25609513, 0, 2, 1, 0, 0))
        assert connection.recv(1) == b""
    assert ended == [True]
    assert file.read_bytes()[4096:4100] == b"kept"


@pytest.mark.parametrize("request_", [(0, SIZE - 1, 2), (1, SIZE, 1), (9, 0, 0)])
def test_what_is_outside_or_unknown_is_refused(file: Path, request_: tuple[int, int, int]) -> None:
    kind, offset, length = request_
    with served(file) as (connection, _):
        client = Client(connection)
        assert client.ask(kind, offset, length, b"x" * length if kind == 1 else b"") == 22
        assert client.read(0, 1) == b"\0"


def test_a_client_that_talks_rubbish_is_dropped(file: Path) -> None:
    with served(file) as (connection, ended):
        Client(connection)
        connection.sendall(b"x" * 28)
        assert connection.recv(1) in (b"",)
    assert ended == [False]
