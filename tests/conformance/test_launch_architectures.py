"""The launcher as boards get it, compiled for each architecture, through the same tests as the native one."""

from __future__ import annotations

import signal
import subprocess
from pathlib import Path

import pytest

from tests.unit.cli import test_launch as native_tests
from tests.unit.cli.test_launch import keeper as keeper
from toolkit.arch import Arch
from toolkit.build import native

pytestmark = [pytest.mark.emulated]


@pytest.fixture(scope="module", params=list(Arch), ids=[arch.label for arch in Arch])
def release(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A release of one architecture; the launcher runs under the emulation that boards registered."""
    root = tmp_path_factory.mktemp("release")
    for folder in ("bin", "libexec"):
        (root / folder).mkdir()
    program = root / "bin/ctr"
    program.write_bytes(native.build("launch", request.param, "test").read_bytes())
    program.chmod(0o755)
    (root / "libexec/command.py").write_text("import sys\nprint('cold', sys.argv[1:])\n")
    try:
        tried = subprocess.run(
            [program], env={"PINNACE_KEEPER": ""}, capture_output=True, check=False
        )
    except OSError:
        pytest.skip(
            f"this machine does not run {request.param.label} programs: no board is started"
        )
    if tried.returncode == -signal.SIGILL:
        # The emulators are the machine's: a board with an older processor may have registered its own.
        pytest.skip(f"{request.param.label} programs are run by a running board's older processor")
    return root


for _name, _test in vars(native_tests).items():
    if _name.startswith("test_"):
        globals()[_name] = _test
