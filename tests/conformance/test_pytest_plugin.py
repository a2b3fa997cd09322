"""The plugin as somebody else has it: installed on its own, in a project that knows nothing of ours."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from toolkit.build import zig
from toolkit.paths import PROJECT

pytestmark = [pytest.mark.root, pytest.mark.emulated, pytest.mark.timeout(1800)]


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A new environment's Python, with the plugin and what it depends on."""
    folder = tmp_path_factory.mktemp("plugin")
    # pip leaves its traces beside what it builds.
    shutil.copytree(PROJECT / "toolkit", folder / "toolkit", symlinks=True)
    subprocess.run([sys.executable, "-m", "venv", folder / "venv"], check=True)
    found = folder / "venv" / "bin" / "python"
    install = ["-m", "pip", "install", "-q", "--disable-pip-version-check"]
    subprocess.run([found, *install, folder / "toolkit" / "pytest_boards"], check=True)
    return found


def test_the_wheel_brings_what_it_needs_and_no_more(python: Path) -> None:
    """One name at the top level, although it is made from the toolkit: somebody may have a toolkit of his own."""
    program = (
        "import importlib.metadata as m, importlib.util as u, pinnace_boards;"
        "top = {file.parts[0] for file in m.files('pinnace-boards')};"
        "print(sorted(name for name in top if not name.endswith('.dist-info')));"
        "print([name for name in ('fabric', 'invoke', 'pinnace', 'roles', 'toolkit') if u.find_spec(name)])"
    )
    done = subprocess.run(
        [python, "-I", "-c", program], cwd="/", capture_output=True, text=True, check=True
    )
    assert done.stdout == "['pinnace_boards']\n[]\n"


def test_every_module_of_the_wheel_can_be_imported(python: Path) -> None:
    program = (
        "import importlib, pkgutil, pinnace_boards as p;"
        "names = [m.name for m in pkgutil.walk_packages(p.__path__, 'pinnace_boards.')];"
        "[importlib.import_module(name) for name in names];"
        "print('pinnace_boards._toolkit.boards.system.supervisor' in names)"
    )
    done = subprocess.run(
        [python, "-I", "-c", program], cwd="/", capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "True\n", "")


def _without_ours() -> dict[str, str]:
    """The environment, without the way to this checkout's modules."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}


def test_the_example_passes_on_the_chosen_boards(
    python: Path, tmp_path: Path, pytestconfig: pytest.Config
) -> None:
    project = tmp_path / "greenhouse"
    shutil.copytree(PROJECT / "examples" / "greenhouse", project)
    chosen = pytestconfig.getoption("--boards") or "emu-amd64"
    report = tmp_path / "boards.json"
    done = subprocess.run(
        [python, "-m", "pytest", "--boards", chosen, f"--boards-report={report}"],
        cwd=project, env={**_without_ours(), "ZIG": str(zig.compiler())},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    told = json.loads(report.read_text())["tests"]
    ran = {row["board"] for row in told if row["outcome"] == "passed"}
    assert chosen == "all" or ran == set(chosen.split(","))
