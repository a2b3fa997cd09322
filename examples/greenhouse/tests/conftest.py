"""The program for the board's processor, and the service installed on the board."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from pinnace_boards import RunningBoard

HERE = Path(__file__).parent.parent
ZIG = [os.environ["ZIG"]] if "ZIG" in os.environ else [sys.executable, "-m", "ziglang"]
CPUS = {
    "armv6l": ("arm-linux-musleabihf", "arm1176jzf_s"),
    "armv7l": ("arm-linux-musleabihf", "cortex_a7"),
    "arm64": ("aarch64-linux-musl", "cortex_a53"),
    "amd64": ("x86_64-linux-musl", "x86_64"),
}


def compiled(arch: str, folder: Path) -> Path:
    """``reading`` as a static program for a processor."""
    target, cpu = CPUS[arch]
    program = folder / f"reading-{arch}"
    words = ["cc", "-target", target, f"-mcpu={cpu}", "-Os", "-static", "-s", "-o", str(program)]
    subprocess.run([*ZIG, *words, str(HERE / "sensor" / "reading.c")], check=True)
    return program


@pytest.fixture(scope="module")
def reading(board: RunningBoard, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The program on the board; its path there."""
    path = "/usr/local/bin/reading"
    program = compiled(board.arch, tmp_path_factory.mktemp("build"))
    board.put(program, path, mode=0o755, sudo=True)
    return path


@pytest.fixture(scope="module")
def service(board: RunningBoard, reading: str) -> str:
    """The running service; its unit."""
    board.run("useradd --system greenhouse", sudo=True)
    board.put(HERE / "service" / "greenhouse.py", "/opt/greenhouse/greenhouse.py", sudo=True)
    board.put(b"SENSOR=/run/sensor\n", "/etc/default/greenhouse", sudo=True)
    unit = "greenhouse.service"
    board.put(HERE / "service" / unit, f"/etc/systemd/system/{unit}", sudo=True)
    board.run(f"systemctl enable -q --now {unit}", sudo=True)
    return unit
