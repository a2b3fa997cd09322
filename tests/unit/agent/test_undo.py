"""What a run found is put back: paths of every type, once each, whatever happened in between."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import pytest

from toolkit.agent import undo
from toolkit.agent.confirm import risky
from toolkit.agent.system import System
from toolkit.agent.undo import Undo


@pytest.fixture
def system(tmp_path: Path) -> System:
    (tmp_path / "etc").mkdir()
    return System(str(tmp_path), runner=_nothing)


def _nothing(argv: Sequence[str], timeout: float) -> tuple[int, str]:
    return 0, ""


def _noting(system: System, run: str = "r1") -> Undo:
    notes = Undo(system, run)
    notes.begin()
    system.notes = notes.path
    return notes


def _tree(root: Path) -> dict[str, tuple[int, object]]:
    found: dict[str, tuple[int, object]] = {}
    for path in sorted((root / "etc").rglob("*")):
        content: object = None
        if path.is_symlink():
            content = os.readlink(path)
        elif path.is_file():
            content = path.read_bytes()
        found[str(path.relative_to(root))] = (path.lstat().st_mode, content)
    return found


def test_every_type_of_path_is_put_back(system: System, tmp_path: Path) -> None:
    (tmp_path / "etc/file").write_bytes(b"old \x00\xff")
    (tmp_path / "etc/file").chmod(0o640)
    (tmp_path / "etc/gone").write_text("was here")
    (tmp_path / "etc/link").symlink_to("file")
    before = _tree(tmp_path)
    _noting(system)
    system.rewrite("/etc/file", b"new")
    system.rewrite("/etc/file", b"newer")
    system.remove("/etc/gone")
    system.symlink("/etc/link", "elsewhere")
    system.rewrite("/etc/deep/er/file", b"x")
    system.notes = None
    assert _tree(tmp_path) != before
    assert undo.revert(system, undo.runs(system)[-1]) == 6
    assert _tree(tmp_path) == before
    assert undo.runs(system) == []


def test_a_directory_that_others_use_by_now_stays(system: System, tmp_path: Path) -> None:
    _noting(system)
    system.rewrite("/etc/new/ours", b"x")
    system.notes = None
    (tmp_path / "etc/new/theirs").write_text("x")
    undo.revert(system, undo.runs(system)[-1])
    assert [path.name for path in (tmp_path / "etc/new").iterdir()] == ["theirs"]


def test_putting_back_may_be_cut_off_and_done_again(system: System, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip
    (tmp_path / "etc/a").write_text("a")
    (tmp_path / "etc/b").write_text("b")
    before = _tree(tmp_path)
    _noting(system)
    system.rewrite("/etc/a", b"1")
    system.rewrite("/etc/b", b"2")
    system.notes = None

    def cut(system: System, name: str) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(undo, "forget", cut)
        with pytest.raises(KeyboardInterrupt):
            undo.revert(system, undo.runs(system)[-1])
    undo.revert(system, undo.runs(system)[-1])
    assert _tree(tmp_path) == before


def test_a_note_that_a_power_cut_left_half_written_was_no_change(system: System, tmp_path: Path) -> None:  # fmt: skip
    (tmp_path / "etc/a").write_text("a")
    notes = _noting(system)
    system.rewrite("/etc/a", b"1")
    with open(f"{notes.directory}/log.jsonl", "a", encoding="utf-8") as file:
        file.write('{"path": "/etc/b", "was": "abs')
    system.notes = None
    undo.revert(system, undo.runs(system)[-1])
    assert (tmp_path / "etc/a").read_text() == "a"


def test_the_first_notes_count_when_a_run_comes_twice(system: System, tmp_path: Path) -> None:
    (tmp_path / "etc/a").write_text("first")
    _noting(system)
    system.rewrite("/etc/a", b"second")
    _noting(system)
    system.rewrite("/etc/a", b"third")
    system.notes = None
    assert len(undo.runs(system)) == 1
    undo.revert(system, undo.runs(system)[-1])
    assert (tmp_path / "etc/a").read_text() == "first"


def test_only_the_latest_runs_are_kept(system: System) -> None:
    for number in range(6):
        _noting(system, f"r{number}")
        system.rewrite("/etc/a", b"%d" % number)
    assert [undo.run_of(name) for name in undo.runs(system)] == ["r3", "r4", "r5"]


def test_a_large_file_is_no_configuration(system: System, tmp_path: Path) -> None:
    (tmp_path / "etc/swap").write_bytes(b"x" * ((1 << 20) + 1))
    notes = _noting(system)
    system.rewrite("/etc/swap", b"new")
    system.notes = None
    assert os.path.getsize(f"{notes.directory}/log.jsonl") < 1000
    undo.revert(system, undo.runs(system)[-1])
    assert (tmp_path / "etc/swap").read_bytes() == b"new"


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="acts as another user")
def test_a_link_that_a_user_lays_leads_nowhere_the_user_cannot_go(system: System, tmp_path: Path) -> None:  # fmt: skip
    for path in (tmp_path, *tmp_path.parents):
        if path.stat().st_mode & 0o005 != 0o005 and path.is_relative_to(tmp_path.parent.parent):
            path.chmod(path.stat().st_mode | 0o055)
    (tmp_path / "etc/cron.d").mkdir()
    home = tmp_path / "home"
    (home / ".ssh").mkdir(parents=True)
    keys = home / ".ssh/authorized_keys"
    keys.write_text("* * * * * root evil\n")
    for path in (home, home / ".ssh", keys):
        os.chown(path, 1000, 1000)
    _noting(system)
    with system.acting_as(1000, 1000):
        system.rewrite("/home/.ssh/authorized_keys", b"ours\n")
    system.notes = None
    keys.unlink()
    (home / ".ssh").rmdir()
    (home / ".ssh").symlink_to(tmp_path / "etc/cron.d")
    with pytest.raises(undo.AgentError, match="denied"):
        undo.revert(system, undo.runs(system)[-1])
    assert list((tmp_path / "etc/cron.d").iterdir()) == []


@pytest.mark.parametrize(
    ("resource", "expected"),
    [
        ({"kind": "file", "path": "/etc/ssh/sshd_config.d/x.conf"}, True),
        ({"kind": "file", "path": "/etc/motd"}, False),
        ({"kind": "file", "path": "/etc/pinnace/certs.d/x/hosts.toml"}, False),
        ({"kind": "line", "path": "/boot/firmware/config.txt"}, True),
        ({"kind": "unit", "unit": "x.service"}, True),
        ({"kind": "bundle"}, True),
        ({"kind": "sysctl", "key": "net.ipv4.ip_forward", "path": ""}, True),
        ({"kind": "sysctl", "key": "vm.swappiness", "path": ""}, False),
        ({"kind": "package", "names": []}, False),
    ],
)
def test_what_could_lock_the_laptop_out_is_risky(resource: dict[str, object], expected: bool) -> None:  # fmt: skip
    assert risky(resource) is expected
