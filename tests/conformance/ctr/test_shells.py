"""Completion as zsh and fish do it, and names of images and containers from a daemon."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from pinnace.cli import completion
from tests.conformance.ctr.daemons import IMAGE, Daemon, environment
from toolkit.arch import Arch
from toolkit.debian import Archive
from toolkit.paths import RUNTIME

pytestmark = [pytest.mark.root, pytest.mark.peer]
SHARE = RUNTIME / "share"
CASES = [
    ("ctr ima", {"images", "image"}),
    ("ctr t kill --sig", {"--signal"}),
    ("runc sta", {"start", "state"}),
    ("skopeo list-", {"list-tags"}),
    ("pinnaced config mig", {"migrate"}),
]
# zsh completes on a terminal only: zpty types into one (zshmodules(1), zsh/zpty). What was not typed is completed.
_ZSH = """\
module_path=({modules})
zmodload zsh/zpty
zpty shell '{zsh} -f -i'
zpty -w shell "module_path=({modules}); fpath=({ours} {theirs}/**/*(/))"
zpty -w shell "PS1=; autoload -Uz compinit; compinit -u -D; echo SET''UP"
zpty -r -m shell out '*SETUP*'
zpty -w -n shell $'{typed}\\t'
zpty -r -m shell out '*{completed}*' && echo COMPLETED
"""


@pytest.fixture(scope="module")
def shells() -> Path:
    arch = Arch.from_machine(os.uname().machine)
    return Archive("bookworm", arch.facts.debian).unpack(
        ["zsh", "zsh-common", "fish", "fish-common", "libpcre2-32-0"]
    )


@pytest.fixture
def programs(tmp_path: Path, shells: Path) -> dict[str, str]:
    for name in completion.PROGRAMS:
        command = tmp_path / name
        command.write_text(
            f'#!/bin/sh\nPYTHONPATH={RUNTIME} exec {sys.executable} -m pinnace.cli.main {name} "$@"\n'
        )
        command.chmod(0o755)
    (libraries,) = shells.glob("usr/lib/*-linux-gnu*")
    return {
        **os.environ,
        "PATH": f"{tmp_path}:{shells}/usr/bin:{os.environ['PATH']}",
        "LD_LIBRARY_PATH": str(libraries),
        "HOME": str(tmp_path),
        "TERM": "dumb",
    }


@pytest.mark.parametrize(("typed", "offered"), CASES)
def test_fish(typed: str, offered: set[str], programs: dict[str, str]) -> None:
    script = SHARE / completion.PLACES["fish"].format(typed.split()[0])
    words = ["fish", "--no-config", "-c", f"source {script}; complete -C '{typed}'"]
    done = subprocess.run(words, env=programs, capture_output=True, text=True, check=True)
    assert {line.split("\t")[0] for line in done.stdout.splitlines()} == offered


@pytest.mark.parametrize(
    ("typed", "completed"),
    [
        ("ctr t kill --sig", "--signal"),
        ("runc feat", "features"),
        ("skopeo list-", "list-tags"),
        ("pinnaced config mig", "migrate"),
    ],
)
def test_zsh(typed: str, completed: str, programs: dict[str, str], shells: Path) -> None:
    (modules,) = shells.glob("usr/lib/*-linux-gnu*/zsh/*")
    zsh = shells / "bin/zsh"
    script = _ZSH.format(
        zsh=zsh, modules=modules, ours=SHARE / "zsh/site-functions",
        theirs=shells / "usr/share/zsh/functions", typed=typed, completed=completed,
    )  # fmt: skip
    words = [zsh, "-f", "-c", script]
    done = subprocess.run(words, env=programs, capture_output=True, text=True, timeout=60, check=False)  # fmt: skip
    assert done.stdout.endswith("COMPLETED\n"), done.stderr


def test_names_come_from_the_daemon(pinnaced: Daemon) -> None:
    def offered(*words: str) -> list[str]:
        return pinnaced.ctr(*words, "--generate-bash-completion").stdout.split()

    assert offered("run") == [IMAGE]
    assert offered("run", "--rm", "") == [IMAGE]
    assert offered("image", "rm", IMAGE) == []
    assert offered("image", "pull") == []
    assert pinnaced.ctr("container", "create", IMAGE, "named").returncode == 0
    try:
        assert offered("container", "rm") == ["named"]
        assert offered("task", "start", "-d", "") == ["named"]
        assert offered("run", IMAGE) == []
    finally:
        pinnaced.ctr("container", "rm", "named")
    assert pinnaced.arena.name in offered("namespace", "rm")
    words = [sys.executable, "-m", "pinnace.cli.main", "ctr", "--address", "/no/such.sock", "run"]
    done = subprocess.run([*words, completion.COMPLETE], env=environment(), capture_output=True, text=True, check=True)  # fmt: skip
    assert (done.stdout, done.stderr) == ("", "")
