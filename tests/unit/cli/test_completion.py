"""The completion scripts, run by the shells themselves: bash of this machine, zsh and fish from Debian."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from pinnace.cli import completion
from toolkit.paths import RUNTIME

SHARE = RUNTIME / "share"
CASES = [
    (["ctr", "ima"], {"images", "image"}),
    (["ctr", "t", "kill", "--sig"], {"--signal"}),
    (["ctr", "snapshots", "--snapshotter", "native", "comm"], {"commit"}),
    (["runc", "sta"], {"start", "state"}),
    (["skopeo", "list-"], {"list-tags"}),
    (["pinnaced", "config", "mig"], {"migrate"}),
]


@pytest.fixture
def programs(tmp_path: Path) -> dict[str, str]:
    """An environment with the programs on its PATH."""
    for name in completion.PROGRAMS:
        command = tmp_path / name
        command.write_text(
            f'#!/bin/sh\nPYTHONPATH={RUNTIME} exec {sys.executable} -m pinnace.cli.main {name} "$@"\n'
        )
        command.chmod(0o755)
    return {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}", "HOME": str(tmp_path)}


@pytest.mark.parametrize("program", completion.PROGRAMS)
@pytest.mark.parametrize("shell", completion.PLACES)
def test_the_scripts_of_the_bundle_are_the_generators(shell: str, program: str) -> None:
    place = SHARE / completion.PLACES[shell].format(program)
    assert place.read_text() == completion.script(shell, program)


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
@pytest.mark.parametrize(("typed", "offered"), CASES)
def test_bash(typed: list[str], offered: set[str], programs: dict[str, str]) -> None:
    script = SHARE / completion.PLACES["bash"].format(typed[0])
    program = (
        f"source {script}; COMP_WORDS=({' '.join(typed)}); COMP_CWORD={len(typed) - 1};"
        f'_pinnace_{typed[0]}; printf "%s\\n" "${{COMPREPLY[@]}}"'
    )
    done = subprocess.run(["bash", "-c", program], env=programs, capture_output=True, text=True, check=True)  # fmt: skip
    assert set(done.stdout.split()) == offered
