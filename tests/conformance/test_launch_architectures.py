"""The launcher as boards get it, compiled for each architecture, through the same tests as the native one."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fresh import fresh
from tests.unit.cli import test_launch as native_tests
from tests.unit.cli.test_launch import keeper as keeper
from toolkit import boards
from toolkit.arch import Arch
from toolkit.build import native

pytestmark = [pytest.mark.emulated, pytest.mark.timeout(900)]


NATIVE = Arch.from_machine(os.uname().machine)


@pytest.fixture(
    scope="module", params=["native", *(f"emu-{arch.label}" for arch in Arch if arch is not NATIVE)]
)
def arch(request: pytest.FixtureRequest) -> Iterator[Arch]:
    """An architecture whose programs this machine runs: a board of that kind runs meanwhile.

    The emulators are the machine's, so that they run what is outside of the board, too.
    """
    if request.param == "native":
        yield NATIVE
        return
    if os.geteuid() != 0:
        pytest.skip("needs root: a board registers the emulator")
    board = boards.get(f"{request.param}-launch{os.getpid()}")
    with fresh(board):
        yield board.arch


@pytest.fixture(scope="module")
def release(arch: Arch, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A release of one architecture."""
    root = tmp_path_factory.mktemp("release")
    for folder in ("bin", "libexec"):
        (root / folder).mkdir()
    program = root / "bin/ctr"
    program.write_bytes(native.build("launch", arch, "test").read_bytes())
    program.chmod(0o755)
    (root / "libexec/command.py").write_text("import sys\nprint('cold', sys.argv[1:])\n")
    return root


for _name, _test in vars(native_tests).items():
    if _name.startswith("test_"):
        globals()[_name] = _test
