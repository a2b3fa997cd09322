"""Power cuts under a real file system; ``PINNACE_POWER_CUTS`` is how many, 50 in every test run."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest

from toolkit.paths import PROJECT, RUNTIME

_CUTS = os.environ.get("PINNACE_POWER_CUTS", "50")


@pytest.mark.root
@pytest.mark.timeout(3600)
def test_what_was_reported_survives_power_cuts() -> None:
    done = subprocess.run(
        [
            "unshare", "--mount", "--propagation", "private", "--fork", "--kill-child",
            sys.executable, "-m", "tests.faults.power_cuts", _CUTS, "2026",
        ],
        cwd=PROJECT,
        env={**os.environ, "PYTHONPATH": f"{PROJECT}:{RUNTIME}"},
        capture_output=True,
        text=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    match = re.fullmatch(rf"{_CUTS} cuts in (\d+) writes with (\d+) flushes: (\d+) promises held\n", done.stdout)  # fmt: skip
    assert match is not None, done.stdout
    writes, flushes, promises = map(int, match.groups())
    assert writes > flushes > 50
    assert promises > int(_CUTS)
