"""The bash completion script, run by bash."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from toolkit.paths import RUNTIME

SCRIPT = RUNTIME / "share" / "bash-completion" / "completions" / "ctr"


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
@pytest.mark.parametrize(
    ("typed", "offered"),
    [(["ctr", "ima"], ["images", "image"]), (["ctr", "t", "kill", "--sig"], ["--signal"])],
)
def test_bash_completes(typed: list[str], offered: list[str], tmp_path: Path) -> None:
    command = tmp_path / "ctr"
    command.write_text(
        f'#!/bin/sh\nPYTHONPATH={RUNTIME} exec {sys.executable} -m pinnace.cli.main ctr "$@"\n'
    )
    command.chmod(0o755)
    words = " ".join(typed)
    program = (
        f"source {SCRIPT}; COMP_WORDS=({words}); COMP_CWORD={len(typed) - 1}; _pinnace_ctr;"
        'printf "%s\\n" "${COMPREPLY[@]}"'
    )
    env = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    done = subprocess.run(["bash", "-c", program], env=env, capture_output=True, text=True, check=True)  # fmt: skip
    assert done.stdout.split() == offered
