"""``./inv test``: linters, types, layer contracts and pytest, as steps with times.

The full run needs root and a few Debian packages, which are named before they are installed; what else
it uses (emulators, peers, board roots) comes unpacked from Debian into the cache. ``--fast`` needs nothing.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from toolkit import console, host
from toolkit.cli import assume_yes
from toolkit.errors import PinnaceError
from toolkit.paths import LOCKS, PROJECT, RUNTIME

BOARDS = ("emu-armv6l", "sys-arm64")
"""The boards of every full run: one of each tier, the weakest processor and the truest machine among them."""

_FAST = ["tests/unit", "tests/property"]
_AGAIN = ["--reruns", "1", "-rR"]
"""What fails beside real peers is run once more, and told; what is fast is also certain, and gets one chance."""
_PACKAGES = [
    "debian-archive-keyring",
    "e2fsprogs",
    "gcc",
    "iproute2",
    "libc6-dev",
    "mmdebstrap",
    "openssh-client",
    "procps",
]
_CHECKS: dict[str, list[str]] = {
    "ruff check": ["ruff", "check", "."],
    "ruff format": ["ruff", "format", "--check", "."],
    "mypy --strict": ["mypy"],
    "import contracts": ["importlinter.cli", "lint_imports_command"],
}


def run(*, fast: bool, only: str, all_boards: bool, yes: bool) -> int:
    """Run the linters, then pytest; returns the exit status, 0 when everything passed.

    With ``all_boards`` what is tested on boards is tested on every board there is, instead of ``BOARDS``.
    """
    if not fast:
        _prepare(yes=yes)
    started = time.monotonic()
    failed = [name for name, command in _CHECKS.items() if not _check(name, command)]
    counts = {"ok": len(_CHECKS) - len(failed), "failed": len(failed)}
    console.recap("checks", counts, time.monotonic() - started)
    # Last, so that the output ends with pytest's own summary.
    status = _pytest(fast=fast, only=only, all_boards=all_boards)
    return 1 if failed or status else 0


def _prepare(*, yes: bool) -> None:
    """What the tests that use real namespaces and boards need of this machine; asked for once, first."""
    host.need_linux("the full test run (./inv test --fast runs anywhere)")
    host.need_root("the full test run")
    host.need_packages(_PACKAGES, yes=assume_yes(yes), why="the full test run")


def lock() -> None:
    """Regenerate every lock file from its ``.in`` file with uv, for all platforms, with hashes."""
    with tempfile.TemporaryDirectory() as scratch:
        subprocess.run([sys.executable, "-m", "venv", scratch], check=True)
        subprocess.run([f"{scratch}/bin/pip", "install", "-q", "uv"], check=True)
        for source in sorted(LOCKS.glob("*.in")):
            with console.step(f"lock {source.stem}"):
                _compile(Path(scratch, "bin", "uv"), source)


def _compile(uv: Path, source: Path) -> None:
    options = ["--universal", "--python-version", "3.11", "--generate-hashes", "--no-annotate", "--no-header", "-q"]  # fmt: skip
    target = source.with_suffix(".lock")
    done = subprocess.run([uv, "pip", "compile", *options, source, "-o", target], check=False)
    if done.returncode:
        raise PinnaceError(f"uv could not resolve {source.name}")


def _check(name: str, command: list[str]) -> bool:
    with console.step(name) as step:
        done = subprocess.run(
            _python(command),
            cwd=PROJECT,
            env={**os.environ, "PYTHONPATH": f"{PROJECT}:{RUNTIME}"},
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            step.status = "failed"
    if done.returncode:
        console.err.print(done.stdout + done.stderr, markup=False)
    return done.returncode == 0


def _python(command: list[str]) -> list[str]:
    if command[0] == "importlinter.cli":
        return [sys.executable, "-c", "from importlinter.cli import lint_imports_command as c; c()"]
    return [sys.executable, "-m", *command]


def _pytest(*, fast: bool, only: str, all_boards: bool) -> int:
    # The same interpreter, unbuffered and last: its own summary closes the output.
    command = [
        sys.executable,
        "-m",
        "pytest",
        *(_FAST if fast else [*_AGAIN, "--boards", "all" if all_boards else ",".join(BOARDS)]),
        *(["-k", only] if only else []),
    ]
    environment = dict(os.environ)
    if not fast:
        environment["PINNACE_CHECK_FOOTPRINT"] = "1"
    return subprocess.run(command, cwd=PROJECT, env=environment, check=False).returncode
