"""The plugin in somebody's project: fixtures, marks, the report; the boards are pretended."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.unit.pytest_boards import pretended
from toolkit.pytest_boards import plugin

pytest_plugins = ["pytester"]

PLUGINS = [
    word
    for name in (pretended.__name__, plugin.__name__, "testinfra.plugin", "no:cacheprovider")
    for word in ("-p", name)
]
_TESTS = """
import pytest

def test_any(board):
    assert board.run("echo hello").text == "hello"

@pytest.mark.board(arch="arm64")
def test_of_an_architecture(board):
    assert board.arch == "arm64"

@pytest.mark.requires("seccomp")
@pytest.mark.parametrize("number", [1, 2])
def test_that_needs(board, number):
    assert "seccomp" in board.shows

@pytest.mark.requires("bpf")
def test_that_nobody_can_show(board):
    raise AssertionError("must not run")

def test_of_no_board():
    pass
"""


def run(project: pytest.Pytester, *words: str) -> pytest.RunResult:
    return project.runpytest_inprocess(*PLUGINS, *words)


def log(project: pytest.Pytester) -> list[str]:
    return (project.path / "boards.log").read_text().splitlines()


def test_each_test_runs_on_one_board_that_fits(project: pytest.Pytester) -> None:
    project.makepyfile(test_it=_TESTS)
    done = run(project, "-v")
    done.assert_outcomes(passed=5, skipped=1)
    done.stdout.fnmatch_lines(
        [
            "test_it.py::test_any?sys-armv6l? PASSED*",
            "test_it.py::test_of_an_architecture?sys-arm64? PASSED*",
            "*sys-arm64*sys-armv6l*",
            "test_it.py*3 passed, * s*1 passed, * s",
            "ran on no board:",
            "*test_that_nobody_can_show: sys-armv6l cannot show bpf; sys-arm64 cannot show bpf",
        ]
    )
    # One board of each kind for the module, and none left.
    assert sorted(log(project)) == [
        "destroy sys-arm64", "destroy sys-armv6l", "start sys-arm64", "start sys-armv6l",
    ]  # fmt: skip
    assert list((project.path / "state/pinnace/pytest-boards").iterdir()) == []


def test_chosen_boards_run_everything_they_can(project: pytest.Pytester, tmp_path: Path) -> None:
    project.makepyfile(test_it=_TESTS)
    path = tmp_path / "boards.json"
    done = run(project, "--boards=all", f"--boards-report={path}", "-rs")
    done.assert_outcomes(passed=6, skipped=5)
    done.stdout.fnmatch_lines(["*sys-armv6l is armv6l, not arm64"])
    told = json.loads(path.read_text())
    where = {(row["test"], row["board"]): row["outcome"] for row in told["tests"]}
    assert where["test_it.py::test_that_needs[2]", "sys-arm64"] == "passed"
    assert where["test_it.py::test_that_needs[2]", "sys-armv6l"] == "skipped"
    assert list(told["ran_nowhere"]) == ["test_it.py::test_that_nobody_can_show"]


def test_a_module_gets_a_board_of_its_own(project: pytest.Pytester) -> None:
    project.makepyfile(test_a="def test(board): pass", test_b="def test(board): pass")
    run(project, "--boards=sys-arm64").assert_outcomes(passed=2)
    assert log(project) == ["start sys-arm64", "destroy sys-arm64"] * 2


def test_workers_have_boards_of_their_own_and_one_report(project: pytest.Pytester) -> None:
    project.makepyfile(
        test_a="def test(board): assert '-gw' in board.name",
        test_b="def test(board): assert '-gw' in board.name",
    )
    done = project.runpytest_subprocess(
        *PLUGINS, "-p", "xdist.plugin", "-n2", "--dist=loadfile", "--boards=sys-arm64"
    )
    done.assert_outcomes(passed=2)
    done.stdout.fnmatch_lines(["test_a.py*1 passed, *", "test_b.py*1 passed, *"])


def test_testinfra_sees_the_board(project: pytest.Pytester) -> None:
    project.makepyfile("def test(host): assert host.check_output('echo %s', 'a b') == 'a b'")
    sudo = project.path / "bin" / "sudo"
    sudo.write_text('#!/bin/sh\nshift\nexec "$@"\n')
    sudo.chmod(0o755)
    run(project, "--boards=sys-arm64").assert_outcomes(passed=1)


def test_files_power_and_a_failed_command(project: pytest.Pytester, tmp_path: Path) -> None:
    project.makepyfile(f"""
        import pytest
        from toolkit.errors import HostFailed

        def test(board):
            board.put(b"x", "{tmp_path}/made/file", mode=0o640)
            assert board.get("{tmp_path}/made/file", "{tmp_path}/back").read_bytes() == b"x"
            with pytest.raises(HostFailed, match="ended with 3: no such luck"):
                board.run("echo no such luck >&2; exit 3")
            with pytest.raises(HostFailed, match="no end after"):
                board.run("sleep 10", timeout=0.2)
            board.power_cut()
            board.start()
            assert board.serial == "the kernel says hello\\n"
    """)
    run(project, "--boards=sys-arm64").assert_outcomes(passed=1)
    assert log(project)[1:3] == ["cut sys-arm64", "start sys-arm64"]


def test_what_a_board_cannot_show_is_an_error_with_the_mark(project: pytest.Pytester) -> None:
    project.makepyfile("def test(board): board.power_cut()")
    done = run(project, "--boards=sys-armv6l")
    done.assert_outcomes(failed=1)
    done.stdout.fnmatch_lines(['*cannot show power-cut*pytest.mark.requires("power-cut")*'])


def test_a_failure_comes_with_the_console(project: pytest.Pytester) -> None:
    project.makepyfile("def test(board): assert not board")
    done = run(project, "--boards=sys-arm64")
    done.stdout.fnmatch_lines(["*console of sys-arm64*", "the kernel says hello"])


@pytest.mark.parametrize(
    ("mark", "said"),
    [
        ("requires('telepathy')", "*no board shows 'telepathy'*"),
        ("board(arch='z80')", "*unknown architecture*z80*"),
    ],
)
def test_a_wrong_mark_is_told_before_any_board_starts(
    project: pytest.Pytester, mark: str, said: str
) -> None:
    project.makepyfile(f"import pytest\n@pytest.mark.{mark}\ndef test(board): pass")
    done = run(project)
    assert done.ret != 0
    done.stdout.fnmatch_lines([said])
    assert not (project.path / "boards.log").exists()


def test_what_a_killed_run_left_is_destroyed(project: pytest.Pytester) -> None:
    notes = project.path / "state/pinnace/pytest-boards"
    notes.mkdir(parents=True)
    (notes / "sys-arm64-p1").write_text('{"pid": 999999999, "started": 5}')
    project.makepyfile("def test_nothing(): pass")
    run(project).assert_outcomes(passed=1)
    assert log(project) == ["destroy sys-arm64"]
    assert list(notes.iterdir()) == []
