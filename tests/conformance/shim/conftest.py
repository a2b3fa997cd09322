"""A real keeper, and busybox for the containers of its shims."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pinnace.daemon.shims import KeeperShims
from tests import staged
from tests.conformance.shim.container import Container
from toolkit.debian import Archive
from toolkit.paths import PROJECT, RUNTIME

_COMMANDS = ("sh", "true", "sleep", "cat", "id", "tty", "tr", "kill", "echo", "seq")


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root file system of busybox alone."""
    unpacked = Archive("bookworm", "amd64").unpack(["busybox-static"])
    programs = tmp_path_factory.mktemp("image") / "bin"
    programs.mkdir()
    shutil.copy(unpacked / "bin/busybox", programs / "busybox")
    for name in _COMMANDS:
        (programs / name).symlink_to("busybox")
    return programs.parent


@pytest.fixture(scope="module", params=["awake", "dozing"])
def shims(
    tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[KeeperShims]:
    """A keeper's; once with shims that doze at every opportunity."""
    place = tmp_path_factory.mktemp("keeper")
    address = place / "k.sock"
    lib = RUNTIME if request.param == "awake" else staged.release(place / "release")
    environment = {**os.environ, "PYTHONPATH": f"{PROJECT}:{lib}", "PINNACE_DOZE_SECONDS": "0.02"}
    words = [sys.executable, "-m", "pinnace.keeper", "--address", str(address)]
    with subprocess.Popen([*words, "--preload", "pinnace.keeper.shim"], env=environment) as keeper:
        for _ in range(1000):
            if address.exists():
                break
            time.sleep(0.01)
        yield KeeperShims(str(address))
        keeper.terminate()


@pytest.fixture(autouse=True)
def _nothing_stays() -> Iterator[None]:
    """Whatever a test came to, its shims end and its containers are removed."""
    yield
    Container.remove_all()
