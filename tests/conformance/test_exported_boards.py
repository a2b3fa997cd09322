"""A board that a project prepared once, exported, and starts its tests from: through the plugin, as somebody has it.

It boots three times, so that it runs where it is asked for: ``PINNACE_EXPORTED_BOARD=sys-arm64``.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from toolkit import boards
from toolkit.boards.system import exported
from toolkit.paths import PROJECT, cache_dir

KIND = os.environ.get("PINNACE_EXPORTED_BOARD", "")

pytestmark = [
    pytest.mark.emulated,
    pytest.mark.timeout(3600),
    pytest.mark.skipif(not KIND, reason="PINNACE_EXPORTED_BOARD names no board"),
]

_MAKES = """\
def test_it_is_prepared(board):
    board.run("echo prepared >/etc/mine && mkdir -p /srv/data && chown 7:8 /srv/data", sudo=True)
    board.export("images/ready")
    assert board.run("cat /etc/mine").text == "prepared"
"""

_USES = """\
import pytest

@pytest.mark.board(image="images/ready")
def test_it_starts_prepared_with_a_name_of_its_own(board):
    assert board.run("cat /etc/mine; stat -c %u:%g /srv/data").text == "prepared\\n7:8"
    assert board.run("hostname").text == board.name
    assert board.run("systemctl is-system-running --wait").text == "running"

def test_the_next_module_is_not_told_of_the_image():
    pass
"""


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Path]:
    """A project, whose exported board leaves nothing in the cache."""
    yield tmp_path
    folder = tmp_path / "images" / "ready"
    if folder.exists():
        for entry in cache_dir("system").glob(f"{exported.name(folder)}-booted-*"):
            shutil.rmtree(entry) if entry.is_dir() else entry.unlink()


def _pytest(project: Path, name: str, text: str) -> None:
    (project / name).write_text(text)
    words = ["-m", "pytest", "-p", "toolkit.pytest_boards.plugin", "--boards", KIND, name]
    done = subprocess.run(
        [sys.executable, *words], cwd=project, env={**os.environ, "PYTHONPATH": str(PROJECT)},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_prepared_board_is_where_tests_start(project: Path) -> None:
    assert boards.get(KIND).tier == "system"
    _pytest(project, "test_makes.py", _MAKES)
    _pytest(project, "test_uses.py", _USES)
