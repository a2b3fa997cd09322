"""A foreign root takes over what maintainer scripts did, and nothing of the other processor."""

import os
from pathlib import Path

import pytest

from toolkit.boards import recipe, twin


def write(root: Path, name: str, text: str = "", mode: int = 0o644) -> Path:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(mode)
    return path


@pytest.fixture
def native(tmp_path: Path) -> Path:
    root = tmp_path / "native"
    write(root, "var/lib/dpkg/info/tool.list", "/.\n/bin/tool\n/usr\n/usr/bin\n/etc/tool.conf\n")
    write(root, "var/lib/dpkg/status", "native")
    write(root, "usr/bin/tool", "x86 code", 0o4755)
    write(root, "etc/tool.conf", "changed")
    write(root, "etc/passwd", "pi")
    write(root, "etc/ld.so.cache", "x86")
    (root / "etc/alternatives").mkdir()
    (root / "etc/alternatives/awk").symlink_to("/usr/bin/mawk")
    return root


@pytest.fixture
def foreign(tmp_path: Path) -> Path:
    root = tmp_path / "foreign"
    write(root, "usr/bin/tool", "arm code", 0o755)
    write(root, "etc/tool.conf", "as packaged")
    write(root, "var/lib/dpkg/status", "foreign")
    (root / "etc").chmod(0o755)
    return root


def test_what_no_package_holds_is_copied(native: Path, foreign: Path) -> None:
    twin.take_over(native, foreign)
    assert (foreign / "etc/passwd").read_text() == "pi"
    assert os.readlink(foreign / "etc/alternatives/awk") == "/usr/bin/mawk"


def test_what_packages_hold_stays_but_for_its_mode(native: Path, foreign: Path) -> None:
    twin.take_over(native, foreign)
    tool = foreign / "usr/bin/tool"
    assert tool.read_text() == "arm code"
    assert tool.stat().st_mode & 0o7777 == 0o4755


def test_records_and_caches_of_the_other_processor_stay_behind(native: Path, foreign: Path) -> None:
    twin.take_over(native, foreign)
    assert (foreign / "var/lib/dpkg/status").read_text() == "foreign"
    assert not (foreign / "etc/ld.so.cache").exists()
    assert not (foreign / "var/lib/dpkg/info").exists()


def test_byte_code_comes_along_only_where_it_fits(native: Path, foreign: Path) -> None:
    for name, time in (("same", 1_000_000_000), ("other", 1_000_000_001)):
        source = write(foreign, f"usr/lib/{name}.py", "pass\n")
        os.utime(source, (time, time))
        header = (
            b"\xa7\r\r\n"
            + bytes(4)
            + (1_000_000_000).to_bytes(4, "little")
            + (5).to_bytes(4, "little")
        )
        compiled = write(native, f"usr/lib/__pycache__/{name}.cpython-311.pyc")
        compiled.write_bytes(header)
    (foreign / "usr/lib/__pycache__").mkdir()
    twin.take_over(native, foreign)
    assert os.listdir(foreign / "usr/lib/__pycache__") == ["same.cpython-311.pyc"]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("bin/sh", "usr/bin/sh"),
        ("lib/x/y.so", "usr/lib/x/y.so"),
        ("bin", "bin"),
        ("etc/lib/x", "etc/lib/x"),
    ],
)
def test_merged_usr(name: str, expected: str) -> None:
    assert twin.merged(name) == expected


def test_dpkgs_database(tmp_path: Path) -> None:
    root = tmp_path / "root"
    write(root, "etc/tool.conf", "content\n")
    control = tmp_path / "control"
    write(
        control, "control", "Package: tool\nVersion: 1\nMulti-Arch: same\nDescription: x\n more\n"
    )
    write(control, "conffiles", "/etc/tool.conf\n")
    write(control, "postinst", "#!/bin/sh\n", 0o755)
    database = twin.Database(root, "armel")
    database.add(control, "./\n./etc/\n./etc/tool.conf\n")
    database.write()
    status = (root / "var/lib/dpkg/status").read_text()
    assert status.splitlines()[:3] == [
        "Package: tool",
        "Status: install ok installed",
        "Version: 1",
    ]
    assert "Conffiles:\n /etc/tool.conf f75b8179e4bbe7e2b4a074dcef62de95\n" in status
    info = root / "var/lib/dpkg/info"
    assert sorted(path.name for path in info.iterdir()) == [
        "format", "tool:armel.conffiles", "tool:armel.list", "tool:armel.postinst",
    ]  # fmt: skip
    assert (info / "tool:armel.list").read_text() == "/.\n/etc\n/etc/tool.conf\n"


def test_services_go_without_the_sandboxing_that_emulation_lacks(tmp_path: Path) -> None:
    for release, known in (("bookworm", False), ("trixie", True)):
        recipe.emulate(tmp_path, release)
        drop_in = (tmp_path / "etc/systemd/system/service.d/emulation.conf").read_text()
        assert "PrivateTmp=no" in drop_in
        assert ("ImportCredential=" in drop_in) is known
