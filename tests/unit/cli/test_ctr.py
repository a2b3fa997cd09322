"""The table of ctr: every command can be loaded, explains itself, and is cheap to import."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import pytest

from pinnace.cli import main
from pinnace.cli.ctr import APP
from pinnace.cli.ctr import main as ctr
from pinnace.cli.options import Command
from toolkit.paths import RUNTIME


def leaves(command: Command, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Command]]:  # fmt: skip
    if command.module:
        yield path, command
    for child in command.commands:
        yield from leaves(child, (*path, child.name))


LEAVES = list(leaves(APP))


@pytest.mark.parametrize(("path", "command"), LEAVES, ids=[" ".join(path) for path, _ in LEAVES])
def test_each_command_explains_itself(
    path: tuple[str, ...], command: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ctr([*path, "--help"]) == 0
    shown = capsys.readouterr().out
    assert f"ctr {' '.join(path)} - {command.about}" in shown
    names = [name for flag in command.flags() for name in flag.names]
    assert len(names) == len(set(names))
    assert all(flag.about for flag in command.flags())
    assert command.load().__doc__


def test_names_of_one_group_are_unique() -> None:
    groups = [APP, *APP.commands]
    for group in groups:
        names = [name for command in group.commands for name in command.names]
        assert len(names) == len(set(names))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("images pull", "please provide an image reference to pull"),
        ("images pull nginx", "hostname required"),
        ("run", "image ref must be provided"),
        ("run -d --rm img id", "flags --detach and --rm cannot be used together"),
        ("run -t --null-io img id", "tty and null-io cannot be used together"),
        ("tasks exec c ls", 'required flag "exec-id" not set'),
        ("tasks kill -s SIGNOPE c", "unknown signal 'SIGNOPE'"),
        ("images pull --platform linux/pdp11 registry.lab/x:1", "unknown architecture 'pdp11'"),
        ("images pull registry.lab/x:1 --all-platforms", "flags stand before the arguments"),
        ("images rm registry.lab/x:1 --sync", "unexpected argument --sync"),
        ("frobnicate", 'unknown command "frobnicate" for "ctr"'),
        ("--address /nonexistent/sock version", "/nonexistent/sock"),
    ],
)
def test_mistakes_are_one_line_and_exit_1(
    words: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main.main(["/usr/local/bin/ctr", *words.split()]) == 1
    shown = capsys.readouterr().err
    assert message in shown
    assert shown.startswith("ctr: ")
    assert shown.count("\n") == 1


def test_an_unknown_program() -> None:
    assert main.main(["/usr/bin/frobnicate"]) == 127


EXPENSIVE = ("argparse", "asyncio", "dataclasses", "logging", "urllib.request", "inspect", "email")


FEW_NEED = (
    "hashlib",
    "termios",
    "pinnace.linux.seccomp",
    "pinnace.runc.init",
    "pinnace.runc.rootfs",
)


@pytest.mark.parametrize(
    ("modules", "without"),
    [
        ("pinnace.cli.ctr, pinnace.cli.ctr.run", EXPENSIVE),
        ("pinnace.cli.runc, pinnace.cli.runc.run", (*EXPENSIVE, *FEW_NEED)),
    ],
    ids=["ctr", "runc"],
)
def test_the_cold_path_of_run_stays_small(modules: str, without: tuple[str, ...]) -> None:
    program = f"import sys; import pinnace.cli.main, {modules}; print(' '.join(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-S", "-c", program], env={"PYTHONPATH": str(RUNTIME)},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert not set(without) & set(done.stdout.split())
