"""The C program on real instructions of each processor."""

from __future__ import annotations

from pathlib import Path

import pytest
from conftest import compiled
from pinnace_boards import RunningBoard


@pytest.mark.parametrize(("raw", "said"), [("620", "-0.1"), ("930", "24.9"), ("4095", "280.0")])
def test_the_temperature(board: RunningBoard, reading: str, raw: str, said: str) -> None:
    board.put(raw.encode(), "/tmp/raw")
    assert board.run([reading, "/tmp/raw"]).text == said


def test_a_broken_sensor_is_told(board: RunningBoard, reading: str) -> None:
    board.put(b"nothing\n", "/tmp/raw")
    done = board.run([reading, "/tmp/raw"], check=False)
    assert (done.status, done.stderr) == (1, b"/tmp/raw: no value from 0 to 4095\n")


@pytest.mark.board(arch="armv6l")
def test_a_program_for_a_newer_processor_dies(board: RunningBoard, tmp_path: Path) -> None:
    """So that a release with the wrong -mcpu does not get as far as somebody's Pi Zero."""
    board.put(compiled("armv7l", tmp_path), "/tmp/newer", mode=0o755)
    assert board.run("sh -c '/tmp/newer /dev/null; exit $?'", check=False).status == 128 + 4
