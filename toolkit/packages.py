"""Python packages that only one job needs: installed from a lock file of their own into the cache.

They stay out of the project's environment: they are large, or they would tie down its versions.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from toolkit import console
from toolkit.errors import PinnaceError
from toolkit.paths import cache_dir


def installed(lock: Path, what: str, *, detail: str = "") -> Path:
    """The directory (for ``PYTHONPATH``) with the packages of ``lock``, installed when it is not there.

    Raises :class:`PinnaceError` when they cannot be had; then nothing half-done is left.
    """
    key = hashlib.sha256(lock.read_bytes()).hexdigest()[:16]
    home = cache_dir(lock.stem) / key
    if not home.exists():
        with console.step(f"{what}: download and unpack") as step:
            step.detail = detail
            _install(lock, what, home)
    return home


def _install(lock: Path, what: str, home: Path) -> None:
    """Install into a scratch directory and rename: a broken download never looks finished."""
    scratch = Path(tempfile.mkdtemp(prefix="new-", dir=home.parent))
    command = [
        sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check",
        "--root-user-action=ignore", "--no-compile", "--no-deps", "--only-binary=:all:",
        "--require-hashes", "--requirement", str(lock), "--target", str(scratch),
    ]  # fmt: skip
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            reason = (done.stderr.strip().splitlines() or ["pip failed"])[-1]
            raise PinnaceError(
                f"could not install {what}: {reason}",
                hint="Is the package index reachable? It is needed once.",
            )
        if not home.exists():
            scratch.rename(home)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
