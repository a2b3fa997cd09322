"""Clients that mean harm, or are broken: the daemon goes on for everybody else, and its memory stays bounded."""

from __future__ import annotations

import os
import re
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from pinnace.api import frames, hpack
from tests.conformance.daemon.world import ADDRESS, World
from toolkit.arena import Arena

pytestmark = [pytest.mark.root, pytest.mark.peer]
_MEBIBYTE = 1 << 20
_BOUND = 48 * _MEBIBYTE
"""How much the daemon may grow over all of these attacks together; a fraction of what they send."""


class Target:
    """A daemon of its own, and raw connections to it."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.path = f"/proc/{world.arena.pid}/root{ADDRESS}"
        self.pid = world.pid()

    def connect(self, *, greet: bool = True) -> socket.socket:
        sock = socket.socket(socket.AF_UNIX)
        sock.connect(self.path)
        sock.settimeout(20)
        if greet:
            sock.sendall(frames.PREFACE + frames.frame(frames.SETTINGS, 0, 0))
        return sock

    def memory(self) -> int:
        """The daemon's private memory in bytes (proc_pid_smaps_rollup)."""
        text = Path(f"/proc/{self.pid}/smaps_rollup").read_text()
        return sum(1024 * int(size) for size in re.findall(r"^Private_\w+: +(\d+)", text, re.M))

    def answers(self) -> bool:
        """Whether another client is served, and soon."""
        started = time.monotonic()
        done = self.world.ctr("version", timeout=60)
        return done.returncode == 0 and time.monotonic() - started < 30


@pytest.fixture(scope="module")
def target() -> Iterator[Target]:
    if os.geteuid() != 0:
        pytest.skip("needs root for namespaces")
    with Arena() as arena:
        world = World(arena)
        world.start()
        assert world.ctr("version").returncode == 0
        found = Target(world)
        before = found.memory()
        yield found
        grown = found.memory() - before
        assert grown < _BOUND, f"the daemon has grown by {grown / _MEBIBYTE:.0f} MiB"


def _headers(path: str, *more: tuple[str, str]) -> bytes:
    return hpack.encode(
        [(":method", "POST"), (":scheme", "http"), (":path", path), ("content-type", "application/grpc"),
         ("containerd-namespace", "hostile"), *more]
    )  # fmt: skip


def _call(stream: int, path: str, *more: tuple[str, str], flags: int = 0) -> bytes:
    return frames.frame(frames.HEADERS, frames.END_HEADERS | flags, stream, _headers(path, *more))


_VERSION = "/containerd.services.version.v1.Version/Version"
_EMPTY = frames.frame(frames.DATA, frames.END_STREAM, 1, bytes(5))

MALFORMED = {
    "not http": b"GET / HTTP/1.1\r\nHost: x\r\n\r\n" * 50,
    "binary noise": os.urandom(4096),
    "a frame of 16 MiB": frames.PREFACE + b"\xff\xff\xff" + bytes(6),
    "no settings": frames.PREFACE + _call(1, _VERSION) + _EMPTY,
    "broken headers": frames.PREFACE + frames.frame(frames.HEADERS, 4, 1, b"\xff" * 400),
    "headers without an end": frames.PREFACE
    + frames.frame(frames.HEADERS, 0, 1, _headers(_VERSION))
    + 100 * frames.frame(frames.CONTINUATION, 0, 1, bytes(16384)),
    "a header that unpacks to gigabytes": frames.PREFACE
    + frames.frame(frames.HEADERS, 4, 1, hpack.encode([("x", "y" * 4000)]) + b"\xbe" * 16000),
    "a stream that never was": frames.PREFACE + frames.frame(frames.DATA, 0, 77, b"x" * 1000),
    "the server's stream": frames.PREFACE + _call(2, _VERSION),
    "a push": frames.PREFACE + frames.frame(frames.PUSH_PROMISE, 4, 1, bytes(8)),
    "a window beyond its limit": frames.PREFACE
    + 3 * frames.frame(frames.WINDOW_UPDATE, 0, 0, struct.pack("!I", (1 << 31) - 1)),
}


@pytest.mark.parametrize("what", MALFORMED)
def test_malformed_input_ends_its_own_connection_only(target: Target, what: str) -> None:
    with target.connect(greet=False) as sock:
        with suppress(BrokenPipeError, ConnectionResetError):  # it may not wait for all of it
            sock.sendall(MALFORMED[what])
            sock.shutdown(socket.SHUT_WR)
        with suppress(ConnectionResetError):
            while sock.recv(65536):
                pass
    assert target.answers()


def test_oversized_messages_are_refused_before_they_are_kept(target: Target) -> None:
    """A thousand calls that each promise 16 MiB, and send as much as they are let."""
    before = target.memory()
    with target.connect() as sock:
        reader = threading.Thread(target=_swallow, args=(sock,))
        reader.start()
        head = struct.pack("!BI", 0, 16 * _MEBIBYTE)
        with suppress(BrokenPipeError, ConnectionResetError, TimeoutError):
            for stream in range(1, 2001, 2):
                sock.sendall(_call(stream, _VERSION) + frames.frame(frames.DATA, 0, stream, head))
            filler = frames.frame(frames.DATA, 0, 1, bytes(16384))[9:]
            for stream in range(1, 2001, 2):
                sock.sendall(frames.frame(frames.DATA, 0, stream, filler))
        assert target.memory() - before < 80 * _MEBIBYTE
        assert target.answers()
        with suppress(OSError):
            sock.shutdown(socket.SHUT_RDWR)
        reader.join()


def _swallow(sock: socket.socket) -> None:
    with suppress(OSError):
        while sock.recv(65536):
            pass


def test_a_client_that_never_reads_its_answers(target: Target) -> None:
    """Calls for answers, and pings, until the daemon takes no more or closes."""
    with target.connect() as sock:
        sock.settimeout(1)
        with suppress(OSError):
            for stream in range(1, 200_001, 2):
                data = frames.frame(frames.DATA, frames.END_STREAM, stream, bytes(5))
                ping = frames.frame(frames.PING, 0, 0, bytes(8))
                sock.sendall(_call(stream, "/containerd.services.namespaces.v1.Namespaces/List") + data + ping)  # fmt: skip
        assert target.answers()
        assert _threads(target) < 1200


def _threads(target: Target) -> int:
    return len(os.listdir(f"/proc/{target.pid}/task"))


def test_a_subscriber_that_never_reads_does_not_hold_up_the_others(target: Target) -> None:
    with target.connect() as sock:
        path = "/containerd.services.events.v1.Events/Subscribe"
        sock.sendall(_call(1, path) + _EMPTY)
        for number in range(20):
            assert target.world.ctr("namespaces", "create", f"n{number}").returncode == 0
            assert target.world.ctr("namespaces", "rm", f"n{number}").returncode == 0


def test_five_hundred_idle_connections(target: Target) -> None:
    before = target.memory()
    idle = [target.connect() for _ in range(500)]
    try:
        _wait(lambda: _threads(target) >= 500)
        assert target.answers()
        assert target.memory() - before < 40 * _MEBIBYTE
    finally:
        for sock in idle:
            sock.close()
    _wait(lambda: _threads(target) < 100)


def test_more_connections_than_there_may_be_are_turned_away(target: Target) -> None:
    idle = [target.connect(greet=False) for _ in range(1000)]
    try:
        with target.connect(greet=False) as sock, suppress(ConnectionResetError):
            assert sock.recv(1) == b""
    finally:
        for sock in idle:
            sock.close()
    _wait(lambda: target.world.ctr("version").returncode == 0)


def _wait(condition: Callable[[], bool], seconds: float = 40) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.1)


def test_a_flood_of_calls_that_are_reset_at_once(target: Target) -> None:
    """CVE-2023-44487: the client pays nothing for a call, the server must not either."""
    cancel = struct.pack("!I", frames.CANCEL)
    with target.connect() as sock:
        reader = threading.Thread(target=_swallow, args=(sock,))
        reader.start()
        with suppress(BrokenPipeError, ConnectionResetError):
            for first in range(1, 20_001, 200):
                burst = b"".join(
                    _call(stream, _VERSION) + frames.frame(frames.RST_STREAM, 0, stream, cancel)
                    for stream in range(first, first + 200, 2)
                )
                sock.sendall(burst)
        assert target.answers()
        assert _threads(target) < 1200
        with suppress(OSError):
            sock.shutdown(socket.SHUT_RDWR)
        reader.join()


def test_somebody_else_than_root_is_refused(target: Target) -> None:
    script = f"import socket; s = socket.socket(socket.AF_UNIX); s.connect({ADDRESS!r})"
    nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
    done = target.world.arena.run([*nobody, sys.executable, "-c", script])
    assert done.returncode != 0
    assert "PermissionError" in done.stderr or "Permission denied" in done.stderr


def test_the_daemon_is_the_same_process_and_says_nothing_was_wrong_with_it(target: Target) -> None:
    assert target.world.pid() == target.pid
    assert "Traceback" not in target.world.log()
    assert subprocess.run(["kill", "-0", str(target.pid)], check=False).returncode == 0
