"""sops itself: the one on the path, else built from the Go module proxy when ``PINNACE_SOPS=build`` says so; kept in the cache."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

from toolkit.paths import cache_dir

VERSION = "v3.13.3"
_MODULE = "github.com/getsops/sops/v3"
_SECONDS = 3000
"""It has the clients of four clouds in it: minutes, and more on a busy machine."""


def program() -> Path:
    """The directory of the program; skips the test where it is not, and can't be built."""
    found = shutil.which("sops")
    if found:
        return Path(found).parent
    folder = cache_dir("sops", VERSION)
    if not _is_it(folder / "sops"):
        if os.environ.get("PINNACE_SOPS") != "build":
            pytest.skip("there is no sops; PINNACE_SOPS=build builds it, which takes ten minutes")
        go = shutil.which("go")
        if go is None:
            pytest.skip("there is no Go here to build sops with")
        _build(go, folder)
        assert _is_it(folder / "sops")
    return folder


def _build(go: str, folder: Path) -> None:
    # What it is made of is 1.6 GB, and the program 60 MB.
    with tempfile.TemporaryDirectory(prefix="sops-", dir=folder) as scratch:
        places = {"GOPATH": f"{scratch}/path", "GOCACHE": f"{scratch}/cache", "GOBIN": f"{scratch}/bin"}  # fmt: skip
        environment = {**os.environ, **places, "GOFLAGS": "-modcacherw", "CGO_ENABLED": "0"}

        def run(*words: str) -> subprocess.CompletedProcess[str]:
            return subprocess.run([go, *words], env=environment, cwd=scratch, capture_output=True, text=True, timeout=_SECONDS, check=False)  # fmt: skip

        found = run("list", "-m", f"{_MODULE}@{VERSION}")
        if found.returncode:
            pytest.skip(f"sops cannot be fetched: {found.stderr.strip().splitlines()[-1]}")
        done = run("install", f"{_MODULE}/cmd/sops@{VERSION}")
        assert done.returncode == 0, done.stderr[-4000:]
        os.replace(f"{scratch}/bin/sops", folder / "sops")


def _is_it(path: Path) -> bool:
    if not path.exists():
        return False
    said = subprocess.run([path, "--disable-version-check", "--version"], capture_output=True, text=True, check=False)  # fmt: skip
    return said.stdout.startswith(f"sops {VERSION.removeprefix('v')}")
