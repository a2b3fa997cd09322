"""What the searches for secrets need: Debian's strace and age, and a state directory of their own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conformance.secrets.canaries import Strace
from toolkit.debian import Archive
from toolkit.lab import registry
from toolkit.paths import state_dir


@pytest.fixture(scope="module")
def strace() -> Strace:
    """Debian's strace, told to write down each program that is executed, with all its arguments and variables."""
    root = Archive("bookworm", "amd64").unpack(["strace"], dependencies=True)
    libraries = ":".join(map(str, [*root.glob("usr/lib/*-linux-gnu"), *root.glob("lib/*-linux-gnu")]))  # fmt: skip
    # The programs that it runs are to have their own libraries.
    words = [
        "/bin/sh",
        "-c",
        f'LD_LIBRARY_PATH={libraries} exec "$@"',
        "sh",
        str(root / "usr/bin/strace"),
    ]
    return [*words, "-E", "LD_LIBRARY_PATH", "-f", "-qq", "-v", "-s", "100000", "-e", "trace=execve,execveat"]  # fmt: skip


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    lab, state = state_dir("lab"), tmp_path_factory.mktemp("state")
    (state / "pinnace").mkdir()
    (state / "pinnace" / "lab").symlink_to(lab)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(state))
        # What is started under strace would be waited for.
        registry.start(yes=True)
        yield state


@pytest.fixture(scope="module")
def age(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Debian's age: the directory of its programs."""
    return Archive("bookworm", "amd64").unpack(["age"], dependencies=True) / "usr/bin"
