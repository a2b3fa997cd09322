"""Commands of a bundle through its keeper, as on a board: the same results as cold, sooner."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conformance.ctr.daemons import IMAGE, Daemon
from tests.conformance.ctr.test_ctr import Terminal, wait_until
from toolkit.build import bundle

pytestmark = [pytest.mark.root, pytest.mark.peer]
KEEPER = "/run/pinnace/keeper.sock"


@pytest.fixture(scope="module")
def release(containerd: Daemon) -> Path:
    """Our bundle, unpacked in the arena's scratch directory."""
    return bundle.unpack_here(containerd.arena.scratch / "release")


@pytest.fixture
def warm(containerd: Daemon, release: Path) -> Iterator[list[str]]:
    """The words of ctr in front of its own, with a keeper running."""
    arena = containerd.arena
    process = arena.start([release / "bin/pinnace-keeper", "--address", KEEPER], log="keeper.log")
    arena.wait_for(KEEPER, log="keeper.log")
    yield [str(release / "bin/ctr"), "--address", containerd.address, "--namespace", arena.name]
    arena.run(["pkill", "--signal", "TERM", "--full", f"{release}/bin/pinnace-keeper"])
    process.wait(10)
    assert (arena.scratch / "keeper.log").read_text() == ""


def test_run_through_the_keeper(containerd: Daemon, warm: list[str]) -> None:
    script = "cat; pwd; echo problem >&2; exit 3"
    done = containerd.arena.run(
        [*warm, "run", "--rm", "--cwd", "/tmp", IMAGE, "w1", "sh", "-c", script], input="typed\n"
    )
    assert (done.returncode, done.stdout, done.stderr) == (3, "typed\n/tmp\n", "problem\n")


def test_warm_is_what_runs(containerd: Daemon, warm: list[str]) -> None:
    """The launcher stays the launcher: no Python was executed in its place."""
    with subprocess.Popen(
        containerd.arena.command([*warm, "run", "--rm", IMAGE, "w2", "sleep", "2"])
    ) as process:
        wait_until(lambda: "w2" in containerd.ctr("task", "ls", "-q").stdout)
        shown = containerd.arena.run(["ps", "-ww", "-eo", "comm,args"]).stdout
        assert re.search(r"^(ctr|launch) .*bin/ctr .* w2 sleep 2$", shown, re.M)
        assert not re.search(r"^python3? .*command.py .* w2 ", shown, re.M)
        assert process.wait(20) == 0


def test_a_terminal_through_the_keeper(containerd: Daemon, warm: list[str]) -> None:
    terminal = Terminal(containerd.arena.command([*warm, "run", "-t", "--rm", IMAGE, "w3", "sh"]))
    terminal.expect(r"/ # ")
    terminal.type("echo now; sleep 100\n")
    terminal.expect(r"\nnow\r\n")
    terminal.interrupt()
    terminal.type("exit 9\n")
    assert terminal.status() == 9


def test_ctrl_c_ends_a_command_that_waits(containerd: Daemon, warm: list[str]) -> None:
    terminal = Terminal(containerd.arena.command([*warm, "events"]))
    time.sleep(1)
    terminal.type("\x03")
    assert terminal.status() in (130, -signal.SIGINT)


def test_a_reader_that_goes_away_ends_a_command(
    containerd: Daemon, warm: list[str], release: Path
) -> None:
    """As it ends any program: quietly, by SIGPIPE or with the status that a shell has for it."""
    for words in ([*warm, "image", "ls"], [str(release / "bin/runc"), "spec", "--help"]):
        reading, writing = os.pipe()
        os.close(reading)
        with subprocess.Popen(
            containerd.arena.command(words), stdout=writing, stderr=subprocess.PIPE, text=True
        ) as process:
            os.close(writing)
            assert process.communicate(timeout=20)[1] == ""
            assert process.returncode in (128 + signal.SIGPIPE, -signal.SIGPIPE)


@pytest.mark.parametrize("name", ["runc", "skopeo", "ctr"])
def test_the_launcher_is_the_program_that_it_is_called(
    containerd: Daemon, warm: list[str], release: Path, name: str
) -> None:
    """By its own name, through a link of that name elsewhere, and found in the PATH."""
    arena = containerd.arena
    place = arena.scratch / "links"
    place.mkdir(exist_ok=True)
    link = place / name
    link.unlink(missing_ok=True)
    link.symlink_to(release / "bin" / name)
    shown = []
    for words in ([release / "bin" / name, "--version"], [link, "--version"], ["env", f"PATH={place}", name, "--version"]):  # fmt: skip
        done = arena.run(words)
        assert done.returncode == 0, done.stderr
        shown.append(done.stdout)
    assert shown[0].startswith(name)
    assert len(set(shown)) == 1
    wrong = place / "other"
    wrong.unlink(missing_ok=True)
    wrong.symlink_to(release / "bin" / name)
    done = arena.run([wrong, "--version"])
    assert done.returncode == 127
    assert "there is no program 'other'" in done.stderr


def test_without_the_keeper_the_same_cold(containerd: Daemon, release: Path) -> None:
    command = [release / "bin/ctr", "--address", containerd.address, "image", "ls", "-q"]
    done = containerd.arena.run([*command[:3], "-n", containerd.arena.name, *command[3:]])
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{IMAGE}\n", "")


def test_a_user_who_is_not_root_is_told(containerd: Daemon, release: Path, warm: list[str]) -> None:
    containerd.arena.scratch.chmod(0o755)
    words = [
        "setpriv",
        "--reuid=65534",
        "--regid=65534",
        "--clear-groups",
        str(release / "bin/ctr"),
        *warm[1:],
    ]
    done = containerd.arena.run([*words, "image", "ls"])
    assert done.returncode == 1
    assert "ermission denied" in done.stderr
    assert done.stderr.count("\n") == 1
