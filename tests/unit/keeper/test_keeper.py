"""The keeper as a process of its own, asked by the launcher and by hostile peers."""

from __future__ import annotations

import json
import os
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pinnace.keeper import protocol
from toolkit.paths import PROJECT, RUNTIME

ENVIRONMENT = {"PYTHONPATH": f"{PROJECT}:{RUNTIME}", "PATH": os.environ["PATH"]}


@pytest.fixture(scope="module")
def keeper(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A keeper that runs the commands of this directory; the path of its socket."""
    address = tmp_path_factory.mktemp("keeper") / "keeper.sock"
    words = ["--address", str(address), "--cli", "tests.unit.keeper.commands:main", "--preload", "json"]  # fmt: skip
    with subprocess.Popen([sys.executable, "-m", "pinnace.keeper", *words], env=ENVIRONMENT) as process:  # fmt: skip
        for _ in range(500):
            if address.exists():
                break
            time.sleep(0.01)
        yield address
        process.terminate()
        assert process.wait(10) == 0
    assert not address.exists()


def ask(address: Path, document: dict[str, Any], fds: list[int] | None = None) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(10)
    connection.connect(str(address))
    socket.send_fds(connection, [protocol.pack(document)], fds or [])
    return connection


def answer(connection: socket.socket) -> dict[str, Any]:
    """The next frame; what comes after it stays on the socket."""
    (size,) = struct.unpack("<I", connection.recv(4, socket.MSG_WAITALL))
    found: dict[str, Any] = json.loads(connection.recv(size, socket.MSG_WAITALL))
    return found


class Command:
    """A command run through the keeper, its output in files."""

    def __init__(
        self, keeper: Path, place: Path, *words: str, typed: bytes = b"", line: int = -1
    ) -> None:
        (place / "in").write_bytes(typed)
        self.place = place
        opened = [os.open(place / "in", os.O_RDONLY)]
        opened += [os.open(place / name, os.O_WRONLY | os.O_CREAT) for name in ("out", "err")]
        opened.append(os.open(place, os.O_PATH))
        opened += [line] if line >= 0 else []
        request = {
            "op": "cli", "argv": ["ctr", *words], "cwd_fd": True, "env": [["COLOUR", "blue"]], "umask": 0o27,
        }  # fmt: skip
        self.connection = ask(keeper, request, opened)
        for fd in opened:
            os.close(fd)
        self.pid = int(answer(self.connection)["pid"])

    def end(self) -> dict[str, Any]:
        return answer(self.connection)

    @property
    def out(self) -> str:
        return (self.place / "out").read_text()

    @property
    def err(self) -> str:
        return (self.place / "err").read_text()


def test_a_command_has_its_own_directory_environment_and_streams(
    keeper: Path, tmp_path: Path
) -> None:
    command = Command(keeper, tmp_path, "tell", "more", "words")
    assert command.end() == {"exit": 7}
    assert command.out == f"{tmp_path} blue 0o27 more words\n"
    assert command.err == "error\n"


@pytest.mark.parametrize("by", ["a fork", "the spare"])
def test_a_command_tells_its_end_itself(keeper: Path, tmp_path: Path, by: str) -> None:
    if by == "the spare":
        assert Command(keeper, tmp_path, "cat").end() == {"exit": 0}
        time.sleep(0.3)
    ours, theirs = socket.socketpair()
    with ours:
        ours.settimeout(10)
        command = Command(keeper, tmp_path, "tell", line=theirs.detach())
        assert answer(ours) == {"exit": 7}
        assert command.end() == {"exit": 7}  # the keeper says it, too
        assert ours.recv(1) == b""


def test_a_command_that_dies_tells_nothing(keeper: Path, tmp_path: Path) -> None:
    ours, theirs = socket.socketpair()
    with ours:
        ours.settimeout(10)
        command = Command(keeper, tmp_path, "die", line=theirs.detach())
        assert ours.recv(1) == b""
        assert command.end() == {"signal": int(signal.SIGKILL)}


def test_standard_input(keeper: Path, tmp_path: Path) -> None:
    command = Command(keeper, tmp_path, "cat", typed=b"typed\n")
    assert command.end() == {"exit": 0}
    assert command.out == "typed\n"


def test_no_descriptor_of_the_keeper_or_of_others_leaks(keeper: Path, tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    other = Command(keeper, tmp_path / "a", "wait")
    command = Command(keeper, tmp_path / "b", "fds")
    assert command.end() == {"exit": 0}
    assert command.out == "0\n"
    other.connection.close()


def test_signals_are_passed_on(keeper: Path, tmp_path: Path) -> None:
    command = Command(keeper, tmp_path, "wait")
    while "waiting" not in command.out:
        time.sleep(0.005)
    command.connection.sendall(protocol.pack({"op": "signal", "signal": int(signal.SIGTERM)}))
    assert command.end() == {"signal": int(signal.SIGTERM)}


def test_a_command_goes_with_the_one_who_started_it(keeper: Path, tmp_path: Path) -> None:
    command = Command(keeper, tmp_path, "wait")
    assert os.path.exists(f"/proc/{command.pid}")
    command.connection.close()
    for _ in range(1000):
        if not os.path.exists(f"/proc/{command.pid}"):
            return
        time.sleep(0.005)
    raise AssertionError("it still runs")


@pytest.mark.parametrize(
    ("doing", "end"), [("die", {"signal": int(signal.SIGKILL)}), ("break", {"exit": 1})]
)
def test_bad_ends_are_reported(
    keeper: Path, tmp_path: Path, doing: str, end: dict[str, int]
) -> None:
    command = Command(keeper, tmp_path, doing)
    assert command.end() == end
    assert "Traceback" not in command.err


@pytest.mark.parametrize(
    "request_",
    [
        {"op": "cli", "argv": [], "env": [], "umask": 0},
        {"op": "cli", "argv": ["a\0b"], "env": [], "umask": 0},
        {"op": "cli", "argv": ["a"], "env": [["A"]], "umask": 0},
        {"op": "cli", "argv": ["a"], "env": [], "umask": -1},
        {"op": "cli", "argv": ["a"], "env": [], "umask": 0},  # no descriptors
        {"op": "cli", "argv": ["a"], "env": [], "umask": 0, "rlimits": [[1]]},
        {"op": "cli", "argv": ["a"], "env": [], "umask": 0, "rlimits": [[1, "x"]]},
        {"op": "cli", "argv": ["a"], "env": [], "umask": 0, "rlimits": [[1, 2]] * 17},
        {"op": "signal", "signal": 9},  # of nothing
        {"op": "shim", "id": "x"},
        {"op": "frobnicate"},
    ],
)
def test_nonsense_is_refused_and_the_keeper_lives(keeper: Path, request_: dict[str, Any]) -> None:
    with ask(keeper, request_) as connection:
        assert answer(connection)["error"]["status"] == 3


@pytest.mark.parametrize(
    "data", [b"\xff\xff\xff\xff", struct.pack("<I", 3) + b"{{{", struct.pack("<I", 2) + b"[]"]
)
def test_garbage_is_refused(keeper: Path, data: bytes) -> None:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(keeper))
        connection.sendall(data)
        assert "error" in answer(connection)


def test_another_release_starts_cold(keeper: Path, tmp_path: Path) -> None:
    request = {"op": "cli", "argv": ["a"], "env": [], "umask": 0, "release": "/opt/other"}
    fds = [os.open(os.devnull, os.O_RDWR) for _ in range(4)]
    with ask(keeper, request, fds) as connection:
        assert "release" in answer(connection)["error"]["message"]
    for fd in fds:
        os.close(fd)


def test_two_keepers_do_not_share_a_socket(keeper: Path) -> None:
    words = [sys.executable, "-m", "pinnace.keeper", "--address", str(keeper), "--preload", "json"]
    done = subprocess.run(words, env=ENVIRONMENT, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "already" in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_socket_left_by_a_keeper_that_died_is_replaced(tmp_path: Path) -> None:
    from pinnace.keeper.sockets import listen

    path = str(tmp_path / "keeper.sock")
    listen(path).close()
    with listen(path), socket.socket(socket.AF_UNIX) as client:
        assert os.stat(path).st_mode & 0o777 == 0o600
        client.connect(path)
