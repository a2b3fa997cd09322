"""Files of a root that is not mounted yet: layers as the kernel's overlay reads them, hostile ones too."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pinnace.linux.mount import Mount
from pinnace.linux.rootfs import read_files, read_files_below

PASSWD = "/etc/passwd"


def layer(place: Path, **files: str) -> Path:
    (place / "etc").mkdir(parents=True)
    for name, text in files.items():
        (place / "etc" / name).write_text(text)
    return place


def overlay(*lower: Path, upper: Path | None = None) -> list[Mount]:
    options = [f"lowerdir={':'.join(map(str, lower))}"]
    if upper is not None:
        options += [f"upperdir={upper}", "workdir=/nowhere"]
    return [Mount("overlay", "overlay", "", tuple(options))]


def test_the_uppermost_layer_wins(tmp_path: Path) -> None:
    top = layer(tmp_path / "top", passwd="top")
    low = layer(tmp_path / "low", passwd="low", group="low group")
    upper = layer(tmp_path / "upper")
    assert read_files(overlay(top, low, upper=upper), [PASSWD, "/etc/group", "/etc/none"]) == [
        "top",
        "low group",
        "",
    ]


def test_a_file_in_place_of_a_directory_hides_it(tmp_path: Path) -> None:
    (tmp_path / "top").mkdir()
    (tmp_path / "top" / "etc").write_text("a file")
    low = layer(tmp_path / "low", passwd="low")
    assert read_files(overlay(tmp_path / "top", low), [PASSWD]) == [""]


@pytest.mark.root
def test_whiteouts_and_opaque_directories(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("making a whiteout needs root")
    top, low = layer(tmp_path / "top"), layer(tmp_path / "low", passwd="low", group="low")
    os.mknod(top / "etc" / "passwd", 0o020000, os.makedev(0, 0))
    assert read_files(overlay(top, low), [PASSWD, "/etc/group"]) == ["", "low"]
    os.setxattr(top / "etc", "trusted.overlay.opaque", b"y")
    assert read_files(overlay(top, low), ["/etc/group"]) == [""]


def test_links_do_not_lead_out_of_a_directory(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("of the host")
    root = layer(tmp_path / "root")
    (root / "etc" / "passwd").symlink_to(secret)
    (root / "etc" / "group").symlink_to("../../secret")
    assert read_files_below(str(root), [PASSWD, "/etc/group"]) == ["", ""]
    (root / "etc" / "group").unlink()
    (root / "real").write_text("inside")
    (root / "etc" / "group").symlink_to("/real")
    assert read_files_below(str(root), ["/etc/group"]) == ["inside"]


def test_only_regular_files_are_read(tmp_path: Path) -> None:
    root = layer(tmp_path / "root")
    os.mkfifo(root / "etc" / "passwd")  # opening it for reading would hang
    (root / "etc" / "group").mkdir()
    assert read_files_below(str(root), [PASSWD, "/etc/group"]) == ["", ""]
    assert read_files(overlay(root), [PASSWD, "/etc/group"]) == ["", ""]


def test_a_huge_file_is_cut(tmp_path: Path) -> None:
    root = layer(tmp_path / "root", passwd="x" * (2 << 20))
    assert len(read_files_below(str(root), [PASSWD])[0]) == 1 << 20
