"""The Python service under the board's own systemd."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from pinnace_boards import RunningBoard

pytestmark = pytest.mark.usefixtures("service")


def ask(board: RunningBoard, path: str = "/") -> Any:
    """What the service answers; it may still be starting."""
    script = f"import urllib.request as u; print(u.urlopen('http://127.0.0.1:8080{path}').read().decode())"
    deadline = time.monotonic() + 60
    while True:
        done = board.run(["python3", "-c", script], check=False)
        if done.status == 0 or time.monotonic() > deadline:
            assert done.status == 0, done.stderr.decode()
            return json.loads(done.stdout)
        time.sleep(0.5)


def measure(board: RunningBoard, raw: int) -> float:
    board.put(f"{raw}\n".encode(), "/run/sensor", sudo=True)
    return float(ask(board)["celsius"])


def test_it_measures_and_remembers(board: RunningBoard) -> None:
    assert measure(board, 930) == 24.9
    assert ask(board, "/history")[-1] == 24.9


def test_it_is_listening_for_this_board_only(host: Any) -> None:
    assert host.socket("tcp://127.0.0.1:8080").is_listening
    assert not host.socket("tcp://0.0.0.0:8080").is_listening


@pytest.mark.requires("seccomp")
def test_its_system_calls_are_filtered(board: RunningBoard, service: str) -> None:
    pid = board.run(f"systemctl show -p MainPID --value {service}").text
    assert "Seccomp:\t2" in board.run(f"cat /proc/{pid}/status").stdout.decode()


def test_it_comes_back_after_a_reboot(board: RunningBoard) -> None:
    measure(board, 930)
    board.reboot()
    assert ask(board, "/history")[-1] == 24.9


@pytest.mark.requires("power-cut")
def test_a_reading_that_was_answered_survives_a_power_cut(board: RunningBoard) -> None:
    assert measure(board, 4095) == 280.0
    board.power_cut()
    board.start()
    assert ask(board, "/history")[-1] == 280.0
