"""The pinnaced command: what it prints, and how it refuses."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from pinnace.cli.main import main


def test_version_under_both_names(capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("pinnaced", "containerd"):
        assert main([name, "--version"]) == 0
        assert re.search(r"github.com/containerd/containerd/v2 v2\.\S+ ", capsys.readouterr().out)


def test_the_default_configuration_can_be_dumped_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["containerd", "config", "default"]) == 0
    text = capsys.readouterr().out
    (tmp_path / "c.toml").write_text(text)
    assert main(["pinnaced", "--config", str(tmp_path / "c.toml"), "config", "dump"]) == 0
    shown = capsys.readouterr()
    # What this machine has in certs.d follows as comments.
    assert shown.out.partition("# Registries")[0] == text
    assert shown.err == ""


def test_flags_show_in_the_dump(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["pinnaced", "--root", "/data", "-l", "debug", "config", "dump"]) == 0
    shown = capsys.readouterr().out
    assert 'root = "/data"' in shown
    assert 'level = "debug"' in shown


def test_check_says_whether_the_daemon_would_start(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "c.toml"
    path.write_text("version = 2\noom_scor = 1\n")
    assert main(["pinnaced", "--config", str(path), "config", "check"]) == 0
    shown = capsys.readouterr()
    assert shown.out == f"{path}: ok, 1 warning\n"
    assert shown.err == (
        f"pinnaced: warning: {path}:2: oom_scor: unknown setting, ignored; the nearest known is oom_score\n"
    )
    path.write_text("version = 2\noom_score = '1'\n")
    assert main(["pinnaced", "--config", str(path), "config", "check"]) == 1
    assert f"{path}:2: oom_score: must be an integer, not '1'" in capsys.readouterr().err


def test_migrate_says_what_is_lost(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "c.toml"
    path.write_text(
        'version = 2\nfoo = 1\n[plugins."io.containerd.grpc.v1.cri"]\nsandbox_image = "p:1"\n'
    )
    assert main(["pinnaced", "--config", str(path), "config", "migrate"]) == 0
    shown = capsys.readouterr()
    assert shown.err == f"pinnaced: warning: {path}:2: foo: unknown setting, ignored\n"
    assert 'sandbox = "p:1"' in shown.out
    assert "version = 3" in shown.out


@pytest.mark.parametrize(
    ("words", "text", "expected"),
    [
        ([], "version = 2\nroot = 3\n", "{path}:2: root: must be a string, not 3"),
        (["config", "dump"], "[grpc\n", "{path}:1: Expected ']'"),
        (["--state", "relative"], "", "--state: must be an absolute path"),
        (["--address", f"/{'x' * 200}"], "", "--address: is longer than the 107 bytes"),
        (["--log-level", "loud"], "", "--log-level: must be one of"),
        (["--nonsense"], "", "flag provided but not defined: --nonsense"),
        (["nonsense"], "", 'unknown command "nonsense"'),
        (["config", "nonsense"], "", 'unknown command "nonsense"'),
    ],
)
def test_mistakes_are_one_line_and_exit_1(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    text: str,
    expected: str,
) -> None:
    path = tmp_path / "c.toml"
    path.write_text(text)
    assert main(["pinnaced", "--config", str(path), *words]) == 1
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.startswith(f"pinnaced: {expected.format(path=path)}")
    assert shown.err.count("\n") == 1
