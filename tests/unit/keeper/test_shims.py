"""Shims that the keeper forks, and those that it has again: same process, next container, nothing of the last one."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pinnace.keeper import protocol
from tests.unit.keeper.test_keeper import ENVIRONMENT, answer, ask


@pytest.fixture
def keeper(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    words = ["--address", str(tmp_path / "keeper.sock"), "--cli", "tests.unit.keeper.commands:main"]
    with subprocess.Popen([sys.executable, "-m", "pinnace.keeper", *words], env=ENVIRONMENT) as it:
        _until(lambda: (tmp_path / "keeper.sock").exists())
        yield it
        it.terminate()


class Shim:
    """A shim of a container that is never made."""

    def __init__(self, place: Path, name: str) -> None:
        self.keeper = place / "keeper.sock"
        self.state = place / name
        request = {"namespace": "n", "id": name, "bundle": str(place), "state": str(self.state)}
        with ask(self.keeper, {"op": "shim", **request}) as connection:
            self.said = answer(connection)
        self.pid = int(self.said.get("pid", 0))

    def call(self, method: str) -> dict[str, object]:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(str(self.state / "shim.sock"))
            connection.sendall(protocol.pack({"id": 1, "method": method}))
            return answer(connection)

    def end(self) -> None:
        assert self.call("shutdown") == {"id": 1, "result": {}}
        _until(lambda: _name(self.pid) != "pinnace-shim")
        with ask(
            self.keeper, {"op": "nothing"}
        ) as connection:  # by its answer, it has heard of that
            assert "error" in answer(connection)


def _until(condition: object) -> None:
    assert callable(condition)
    for _ in range(1000):
        if condition():
            return
        time.sleep(0.005)
    raise AssertionError("it does not happen")


def _name(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""


def test_a_free_one_is_the_next(keeper: subprocess.Popen[bytes], tmp_path: Path) -> None:
    first = Shim(tmp_path, "first")
    first.end()
    assert _name(first.pid) == "pinnace-keeper"
    errors = os.readlink(f"/proc/{first.pid}/fd/2")
    assert errors == os.readlink(f"/proc/{keeper.pid}/fd/2")
    second = Shim(tmp_path, "second")
    assert second.pid == first.pid
    assert second.call("state") == {"id": 1, "result": {"processes": []}}
    assert os.readlink(f"/proc/{second.pid}/fd/2") == str(second.state / "shim.log")
    assert Shim(tmp_path, "third").pid != first.pid  # that one is busy


def test_one_that_died_while_it_was_free(keeper: subprocess.Popen[bytes], tmp_path: Path) -> None:
    first = Shim(tmp_path, "first")
    first.end()
    os.kill(first.pid, signal.SIGSTOP)  # so that the keeper asks it before it hears of its end
    os.kill(first.pid, signal.SIGKILL)
    second = Shim(tmp_path, "second")
    assert second.pid not in (0, first.pid)
    assert second.call("state") == {"id": 1, "result": {"processes": []}}


def test_free_ones_go_with_the_keeper(keeper: subprocess.Popen[bytes], tmp_path: Path) -> None:
    first, busy = Shim(tmp_path, "first"), Shim(tmp_path, "busy")
    first.end()
    keeper.terminate()
    _until(lambda: not os.path.exists(f"/proc/{first.pid}"))
    assert busy.call("state") == {"id": 1, "result": {"processes": []}}
    busy.call("shutdown")
    _until(lambda: not os.path.exists(f"/proc/{busy.pid}"))


def test_a_start_that_fails_is_told(keeper: subprocess.Popen[bytes], tmp_path: Path) -> None:
    Shim(tmp_path, "taken")
    said = Shim(tmp_path, "taken").said
    assert "another process already serves" in str(said["error"])


@pytest.mark.parametrize(
    ("leaves", "is_back"),
    [
        ("pass", True),
        ("os.open('/', os.O_PATH)", False),
        ("subprocess.Popen(['sleep', '3'])", False),
        ("subprocess.Popen(['true'])", True),
        ("KERNEL.unshare(CLONE_NEWUTS)", False),
    ],
)
def test_who_has_something_left_is_not_free(leaves: str, is_back: bool) -> None:
    script = (
        "import os, subprocess, sys, time\n"
        "from pinnace.keeper.shims import _Beginning\n"
        "from pinnace.linux.kernel import KERNEL\n"
        "CLONE_NEWUTS = 0x4000000\n"
        "beginning = _Beginning()\n"
        f"left = {leaves if leaves != 'pass' else None}\n"
        "time.sleep(0.1)\n"
        "os._exit(0 if beginning.is_back() else 7)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], env=ENVIRONMENT, check=False)
    assert done.returncode == (0 if is_back else 7)
