"""The copy that the keeper forks before it is needed: used once, replaced, never in the way."""

from __future__ import annotations

import itertools
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from pinnace.cli import rehearsal, rehearsal_ctr
from pinnace.keeper import practice, protocol
from pinnace.runc import native
from pinnace.runc.launch import Launch
from tests.unit.keeper.test_keeper import ENVIRONMENT, Command, answer, ask
from tests.unit.keeper.test_keeper import keeper as keeper


def _children(pid: int) -> list[int]:
    return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def _spare(keeper: Path) -> int:
    """The keeper's only child, once it has one; it has none before the first command."""
    pid = _keeper_of(keeper)
    if not _children(pid):
        with tempfile.TemporaryDirectory() as place:
            assert Command(keeper, Path(place), "echo", "first").end() == {"exit": 0}
    for _ in range(1000):
        if found := _children(pid):
            assert len(found) == 1
            return found[0]
        time.sleep(0.01)
    raise AssertionError("there is no spare")


def _keeper_of(address: Path) -> int:
    for pid in _children(os.getpid()):
        if str(address).encode() in Path(f"/proc/{pid}/cmdline").read_bytes():
            return pid
    raise AssertionError("there is no keeper")


def test_a_command_is_what_waited_for_it(keeper: Path, tmp_path: Path) -> None:
    spare = _spare(keeper)
    command = Command(keeper, tmp_path, "echo", "hello")
    assert command.pid == spare
    assert command.end() == {"exit": 0}
    assert _spare(keeper) != spare


def test_one_that_died_is_replaced(keeper: Path, tmp_path: Path) -> None:
    spare = _spare(keeper)
    os.kill(spare, signal.SIGKILL)
    command = Command(keeper, tmp_path, "echo", "hello")
    assert command.end() in ({"exit": 0}, {"signal": signal.SIGKILL})
    assert _spare(keeper) != spare
    (tmp_path / "again").mkdir()
    assert Command(keeper, tmp_path / "again", "echo", "hello").end() == {"exit": 0}


def test_a_request_that_may_not_fit_is_forked_for(keeper: Path, tmp_path: Path) -> None:
    spare = _spare(keeper)
    command = Command(keeper, tmp_path, "echo", "x" * 100_000)
    assert command.pid != spare
    assert command.end() == {"exit": 0}


def test_a_keeper_learns_what_a_command_wanted(keeper: Path, tmp_path: Path) -> None:
    """Not beforehand, and not by a command that wants nothing: what the next one finds is imported after the first."""

    def knows(what: str, place: str) -> bool:
        (tmp_path / place).mkdir()
        command = Command(keeper, tmp_path / place, what)
        assert command.end() == {"exit": 0}
        return "wave" in command.out.split()

    assert not knows("modules", "one")
    _spare(keeper)
    assert not knows("modules", "two")
    assert not knows("lesson", "three")
    # The one after it may still be the spare from before; and one command after the other is no reason not to learn.
    numbers = itertools.count()
    _soon(lambda: knows("modules", f"again{next(numbers)}"))


def test_nothing_is_held_for_nobody(tmp_path: Path) -> None:
    """Neither before the first command nor, a while, after the last."""
    address = tmp_path / "keeper.sock"
    words = ["--address", str(address), "--cli", "tests.unit.keeper.commands:main"]
    script = "import sys; from pinnace.keeper import server, __main__; server._SPARE_SECONDS = 0.5; __main__.main(sys.argv[1:])"
    with subprocess.Popen([sys.executable, "-c", script, *words], env=ENVIRONMENT) as process:
        _soon(address.exists)
        assert _children(process.pid) == []
        (tmp_path / "place").mkdir()
        assert Command(address, tmp_path / "place", "echo", "hello").end() == {"exit": 0}
        _soon(lambda: _children(process.pid) != [])
        _soon(lambda: _children(process.pid) == [])
        process.terminate()
        assert process.wait(10) == 0


def _soon(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_two_at_once(keeper: Path, tmp_path: Path) -> None:
    _spare(keeper)
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    both = [Command(keeper, tmp_path / name, "echo", name) for name in ("one", "two")]
    assert [each.end() for each in both] == [{"exit": 0}] * 2
    assert both[0].pid != both[1].pid


def test_the_rehearsal_is_of_the_real_steps(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """It gets to its end, describes a container, and leaves no descriptor behind."""
    program = tmp_path / "init"
    program.touch(0o755)
    described = []
    real = native.creation

    def creation(launch: Launch) -> bytes | None:
        described.append(real(launch))
        return described[-1]

    monkeypatch.setattr(native, "PROGRAM", str(program))
    monkeypatch.setattr(native, "creation", creation)
    before = os.listdir("/proc/self/fd")
    rehearsal.run_of_runc()
    rehearsal_ctr.run()
    assert os.listdir("/proc/self/fd") == before
    assert len(described) == 1
    if os.geteuid() == 0:
        assert described[0]


def test_a_rehearsal_ends_when_a_command_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    """And what fails in it is of no consequence."""
    begun: list[str] = []

    def broken() -> None:
        begun.append("prepare")
        raise RuntimeError

    monkeypatch.setattr(native, "prepare", broken)
    monkeypatch.setattr(rehearsal, "run_of_runc", lambda: begun.append("runc"))
    monkeypatch.setattr(rehearsal_ctr, "run", lambda: begun.append("ctr"))
    rehearsal.run(lambda: "runc" in begun)
    assert begun == ["prepare", "runc"]


def test_practice_starts_nothing(keeper: Path) -> None:
    """Whoever asks for it gets no process, and the keeper goes on."""
    before = _spare(keeper)
    for _ in range(3):
        with open(os.devnull, "rb", buffering=0) as stream:
            connection = ask(keeper, practice.frame(), [stream.fileno()] * 5)
        with connection:
            assert answer(connection) == {"pid": 0}
            assert connection.recv(1) == b""
    assert _spare(keeper) == before


def test_a_command_and_a_signal_in_one_go(keeper: Path) -> None:
    """The spare gets the command's own frame, not what came behind it."""
    spare = _spare(keeper)
    frame = practice.frame() | {"op": "cli", "argv": ["ctr", "wait"], "env": [], "rlimits": []}
    with (
        open(os.devnull, "r+b", buffering=0) as stream,
        socket.socket(socket.AF_UNIX) as connection,
    ):
        connection.settimeout(10)
        connection.connect(str(keeper))
        place = os.open("/", os.O_PATH)
        both = [protocol.pack(each) for each in (frame, {"op": "signal", "signal": signal.SIGTERM})]
        socket.send_fds(connection, [b"".join(both)], [stream.fileno()] * 3 + [place])
        os.close(place)
        assert answer(connection) == {"pid": spare}
        assert answer(connection) == {"signal": signal.SIGTERM}
