"""The agent as a process, from its source over a pipe to the files of a board made of a directory."""

from __future__ import annotations

import fcntl
import json
import os
import tarfile
from pathlib import Path

import pytest

from tests.unit.agent.board import OWNER, converge, counts, file, snapshot
from toolkit.errors import HostFailed
from toolkit.resources import Bundle, Content, Directory, Handler, Line, Link, Resource


@pytest.fixture
def root(tmp_path: Path) -> Path:
    path = tmp_path / "board"
    (path / "etc").mkdir(parents=True)
    (path / "etc/hosts").write_text("127.0.0.1 localhost\n10.0.0.1 old.lab\n")
    return path


def resources() -> list[Resource]:
    return [
        Directory(path="/etc/pinnace", mode="0750", **OWNER),
        file("/etc/pinnace/config.toml", "version = 3\n", mode="0640"),
        Link(path="/usr/local/bin/ctr", target="/opt/pinnace/current/bin/ctr"),
        Line(path="/etc/hosts", line="10.0.0.2 old.lab", match=r"\sold\.lab$"),
    ]


def test_the_first_run_changes_and_the_second_does_not(root: Path) -> None:
    assert counts(converge(root, resources())) == {"ok": 0, "changed": 4, "failed": 0}
    assert (root / "etc/pinnace/config.toml").read_text() == "version = 3\n"
    assert (root / "etc/pinnace/config.toml").stat().st_mode & 0o777 == 0o640
    assert os.readlink(root / "usr/local/bin/ctr") == "/opt/pinnace/current/bin/ctr"
    assert (root / "etc/hosts").read_text() == "127.0.0.1 localhost\n10.0.0.2 old.lab\n"
    before = snapshot(root)
    assert counts(converge(root, resources())) == {"ok": 4, "changed": 0, "failed": 0}
    assert snapshot(root) == before


def test_check_says_the_same_and_touches_nothing(root: Path) -> None:
    (root / "etc/pinnace").mkdir(0o750)
    (root / "etc/pinnace/config.toml").write_text("version = 2\n")
    before = snapshot(root)
    events = converge(root, resources(), mode="check", contents={})
    assert snapshot(root) == before
    results = {event["id"]: event for event in events if event["event"] == "result"}
    assert results["directory /etc/pinnace"]["status"] == "ok"
    changed = results["file /etc/pinnace/config.toml"]
    assert changed["status"] == "changed"
    assert changed["texts"] == [["/etc/pinnace/config.toml", "version = 2\n", None]]


def test_mode_alone_is_changed_without_the_contents(root: Path) -> None:
    wanted = file("/etc/motd", "hello\n", mode="0600")
    (root / "etc/motd").write_text("hello\n")
    (root / "etc/motd").chmod(0o644)
    inode = (root / "etc/motd").stat().st_ino
    events = converge(root, [wanted], contents={})
    assert events[-2]["changes"] == [["mode", "0644", "0600"]]
    assert (root / "etc/motd").stat().st_ino == inode


def test_a_link_in_place_of_a_file_is_replaced_not_followed(root: Path) -> None:
    (root / "etc/victim").write_text("keep")
    (root / "etc/motd").symlink_to(root / "etc/victim")
    converge(root, [file("/etc/motd", "hello\n")])
    assert not (root / "etc/motd").is_symlink()
    assert (root / "etc/victim").read_text() == "keep"


def test_what_an_interrupted_run_left_is_cleared(root: Path) -> None:
    (root / "etc/.motd.pinnace-123").write_text("half")
    converge(root, [file("/etc/motd", "hello\n")])
    assert not (root / "etc/.motd.pinnace-123").exists()


def test_a_directory_in_the_way_stops_before_anything_changed(root: Path) -> None:
    (root / "etc/motd").mkdir()
    before = snapshot(root)
    with pytest.raises(HostFailed, match="/etc/motd is a directory, not a file"):
        converge(root, [file("/etc/first", "x"), file("/etc/motd", "hello\n")])
    assert snapshot(root) == before


def test_a_full_disk_stops_before_anything_changed(root: Path, tmp_path: Path) -> None:
    archive = tmp_path / "b.tar.gz"
    with tarfile.open(archive, "w:gz"):
        pass
    before = snapshot(root)
    huge = Bundle(release="r1", archive=archive, unpacked=1 << 60)
    with pytest.raises(HostFailed, match=r"is full: .* MiB are needed .*; nothing was changed"):
        converge(root, [file("/etc/motd", "hello\n"), huge])
    assert snapshot(root) == before


@pytest.mark.parametrize("sent", [b"twice", b"longer than announced", b"x"])
def test_contents_that_differ_from_their_digest_are_refused(root: Path, sent: bytes) -> None:
    wanted = file("/etc/motd", "right")
    with pytest.raises(HostFailed, match=r"arrived damaged|longer than announced"):
        converge(root, [wanted], contents={wanted.contents[0].digest: Content(sent)})
    assert not (root / "etc/motd").exists()
    assert not (root / "var/lib/pinnace-agent/contents").exists()


def test_the_journal_says_who_changed_what(root: Path) -> None:
    converge(root, [file("/etc/motd", "hello\n")])
    path = root / "var/lib/pinnace-agent/journal.jsonl"
    entries = [json.loads(line) for line in path.read_text().splitlines()]
    assert [entry["event"] for entry in entries] == ["begin", "changed", "end"]
    assert entries[0]["by"] == "somebody@laptop"
    assert path.stat().st_mode & 0o077 == 0
    assert not (root / "var/lib/pinnace-agent/contents").exists()


def test_two_converges_at_once_are_refused(root: Path) -> None:
    (root / "run").mkdir()
    with open(root / "run/pinnace-agent.lock", "w") as held:
        held.write("ann@her-laptop")
        held.flush()
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(HostFailed, match="ann@her-laptop is provisioning this board right now"):
            converge(root, [file("/etc/motd", "hello\n")])
    assert not (root / "etc/motd").exists()


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    tree = tmp_path / "tree"
    (tree / "bin").mkdir(parents=True)
    (tree / "bin/pinnaced").write_text("#!/usr/bin/python3\n")
    (tree / "bin/pinnaced").chmod(0o755)
    (tree / "bin/ctr").symlink_to("pinnaced")
    archive = tmp_path / "bundle.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        for path in sorted(tree.rglob("*")):
            tar.add(path, str(path.relative_to(tree)), recursive=False)
    return Bundle(release="r1", archive=archive, unpacked=1000)


def test_a_release_is_unpacked_read_only_and_current(root: Path, bundle: Bundle) -> None:
    assert counts(converge(root, [bundle]))["changed"] == 1
    assert os.readlink(root / "opt/pinnace/current") == "releases/r1"
    program = root / "opt/pinnace/current/bin/pinnaced"
    assert program.stat().st_mode & 0o777 == 0o555
    assert os.readlink(root / "opt/pinnace/current/bin/ctr") == "pinnaced"
    assert counts(converge(root, [bundle]))["changed"] == 0


@pytest.mark.parametrize("attack", ["../outside", "/outside", "bin/../../outside"])
def test_a_bundle_cannot_write_outside_of_itself(root: Path, tmp_path: Path, attack: str) -> None:
    archive = tmp_path / "evil.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        tar.addfile(tarfile.TarInfo(attack))
    with pytest.raises(HostFailed, match="outside of itself"):
        converge(root, [Bundle(release="r1", archive=archive, unpacked=0)])
    assert os.listdir(root / "opt/pinnace/releases") == []


def test_a_bundle_cannot_write_through_its_own_links(root: Path, tmp_path: Path) -> None:
    archive = tmp_path / "evil.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        link = tarfile.TarInfo("out")
        link.type, link.linkname = tarfile.SYMTYPE, "../../../../etc"
        tar.addfile(link)
        tar.addfile(tarfile.TarInfo("out/passwd"))
    with pytest.raises(HostFailed, match="links out of itself"):
        converge(root, [Bundle(release="r1", archive=archive, unpacked=0)])


def test_handlers_run_once_and_in_the_order_of_the_plan(root: Path, tmp_path: Path) -> None:
    log = tmp_path / "log"
    first = Handler.command("sh", "-c", f"echo first >> {log}")
    second = Handler.command("sh", "-c", f"echo second >> {log}")
    wanted = [
        file("/etc/a", "1", notify=(first, second)),
        file("/etc/b", "2", notify=(second, first)),
    ]
    converge(root, wanted)
    assert log.read_text() == "first\nsecond\n"
    converge(root, wanted)
    assert log.read_text() == "first\nsecond\n"


def test_a_handler_that_failed_is_owed_and_check_says_so(root: Path, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    wanted = [file("/etc/a", "1", notify=(Handler.command("test", "-e", str(gate)),))]
    with pytest.raises(HostFailed, match="test -e"):
        converge(root, wanted)
    looked = converge(root, wanted, mode="check")
    assert (counts(looked)["changed"], looked[-1]["handlers"]) == (0, 1)
    gate.touch()
    assert converge(root, wanted)[-1]["handlers"] == 1
    assert converge(root, wanted)[-1]["handlers"] == 0
