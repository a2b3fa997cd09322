"""Prerequisites of this machine: each absence is one sentence with a way out."""

import os
import shutil
import sys
from pathlib import Path

import pytest

from toolkit import host
from toolkit.errors import MissingPrerequisite


def test_sudo_keeps_where_caches_are_and_drops_the_rest() -> None:
    environ = {
        "HOME": "/home/me",
        "XDG_CACHE_HOME": "/var/cache/me",
        "PINNACE_DEBIAN_MIRROR": "http://mirror/debian",
        "https_proxy": "http://proxy:3128",
        "LD_PRELOAD": "/tmp/evil.so",
        "PYTHONPATH": "/tmp",
    }
    assert host.sudo_command(["sudo", "-n"], environ, ["python", "-m", "invoke", "board"]) == [
        "sudo", "-n", "--", "env",
        "HOME=/home/me",
        "PINNACE_DEBIAN_MIRROR=http://mirror/debian",
        "XDG_CACHE_HOME=/var/cache/me",
        "https_proxy=http://proxy:3128",
        "python", "-m", "invoke", "board",
    ]  # fmt: skip


def test_without_root_and_sudo(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(shutil, "which", lambda *_: None)
    with pytest.raises(MissingPrerequisite, match="starting a board needs root") as caught:
        host.need_root("starting a board")
    assert caught.value.hint == "run it again as root"


def test_on_macos(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    with pytest.raises(
        MissingPrerequisite, match="emulated boards needs a Linux machine"
    ) as caught:
        host.need_linux("emulated boards")
    assert "real board works from here" in caught.value.hint


def test_packages_without_apt(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda *_: None)
    with pytest.raises(MissingPrerequisite, match=r"needs the Debian package mmdebstrap.*no apt"):
        host.need_packages(["mmdebstrap"])


def test_nobody_to_ask_names_the_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CI", raising=False)
    monkeypatch.setattr(shutil, "which", lambda *_, **__: "/usr/bin/x")
    monkeypatch.setattr(host, "missing_packages", lambda wanted: list(wanted))
    monkeypatch.setattr(sys.stdin, "isatty", lambda: False)
    monkeypatch.setattr(host, "_install", lambda packages: pytest.fail(f"installed {packages}"))
    with pytest.raises(MissingPrerequisite, match="mmdebstrap, zstd not installed") as caught:
        host.need_packages(["zstd", "mmdebstrap"])
    assert "apt-get install mmdebstrap zstd" in caught.value.hint


def test_ci_does_not_ask(monkeypatch: pytest.MonkeyPatch) -> None:
    installed: list[str] = []
    monkeypatch.setenv("CI", "true")
    monkeypatch.setattr(shutil, "which", lambda *_, **__: "/usr/bin/x")
    monkeypatch.setattr(host, "missing_packages", lambda wanted: list(wanted))
    monkeypatch.setattr(host, "_install", installed.extend)
    host.need_packages(["zstd"])
    assert installed == ["zstd"]


def test_filesystem_of_a_path() -> None:
    if not Path("/proc/self/mountinfo").exists():
        pytest.skip("needs Linux's /proc")
    assert host.filesystem_type(Path("/proc/self")) == "proc"


def test_with_sudo_the_same_command_runs_again(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    sudo = tmp_path / "sudo"
    sudo.write_text("#!/bin/sh\nexit 0\n")
    sudo.chmod(0o755)
    began: list[list[str]] = []
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(sys.stdin, "isatty", lambda: False)
    monkeypatch.setattr(sys, "orig_argv", ["python", "-m", "invoke", "board", "start", "emu-amd64"])
    monkeypatch.setattr(host, "_become", began.append)
    host.need_root("starting a board")
    assert began[0][:4] == [str(sudo), "-n", "--", "env"]
    assert began[0][-6:] == [sys.executable, "-m", "invoke", "board", "start", "emu-amd64"]


def test_sudo_that_would_ask_with_nobody_there(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    sudo = tmp_path / "sudo"
    sudo.write_text("#!/bin/sh\nexit 1\n")
    sudo.chmod(0o755)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(sys.stdin, "isatty", lambda: False)
    monkeypatch.setattr(host, "_become", lambda command: pytest.fail(f"ran {command}"))
    with pytest.raises(MissingPrerequisite, match="asks for a password"):
        host.need_root("starting a board")
