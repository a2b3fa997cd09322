"""The runtime's third-party packages, from ``locks/runtime.lock``, as files for a bundle."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from toolkit import console
from toolkit.debian import content_key, kept_tree
from toolkit.errors import PinnaceError
from toolkit.paths import LOCKS, cache_dir
from toolkit.tree import Tree

LOCK = LOCKS / "runtime.lock"
_CARRIED = re.compile(r"\.py$|/py\.typed$|\.dist-info/(METADATA|licenses/.*|LICENSE.*)$")


def add_to(tree: Tree, folder: str) -> None:
    """Put the locked packages below ``folder``, with their licences.

    Raises :class:`PinnaceError` when one cannot be fetched, has the wrong hash, or holds compiled
    code, which no board could run.
    """
    if not versions():
        return  # pip takes an empty list for a mistake
    key = content_key(LOCK.read_text())
    made = kept_tree(cache_dir("dependencies") / key, _install)
    for path in sorted(made.rglob("*")):
        name = path.relative_to(made).as_posix()
        if path.suffix in (".so", ".pyd"):
            raise PinnaceError(
                f"{name} is compiled: the runtime's dependencies must be pure Python"
            )
        if path.is_file() and _CARRIED.search(name):
            tree.file(f"{folder}/{name}", path.read_bytes())


def versions() -> dict[str, str]:
    """The locked version of each package."""
    return dict(re.findall(r"^([a-z0-9-]+)==([^ ;]+)", LOCK.read_text(), re.MULTILINE))


def _install(folder: Path) -> None:
    command = [
        sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check",
        "--root-user-action=ignore", "--no-compile", "--no-deps", "--only-binary=:all:",
        "--platform=any", "--implementation=py", "--abi=none",
        "--require-hashes", "--requirement", str(LOCK), "--target", str(folder),
    ]  # fmt: skip
    with console.step("the runtime's dependencies") as step:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            reason = (done.stderr.strip().splitlines() or ["pip failed"])[-1]
            raise PinnaceError(f"could not fetch the runtime's dependencies: {reason}")
        step.detail = ", ".join(f"{name} {version}" for name, version in versions().items())
