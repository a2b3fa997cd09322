"""Exported boards as they come from elsewhere: whole, or told why not. No board is started."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from toolkit import boards
from toolkit.boards.system import exported
from toolkit.errors import PinnaceError, UsageError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """What ``export`` writes, with something else in each file."""
    found = tmp_path / "ready"
    found.mkdir()
    keys = ("id_ed25519", "id_ed25519.pub", "ssh_host_key", "ssh_host_key.pub")
    for name in ("disk.qcow2", "kernel", "initrd", *keys):
        (found / name).write_text(f"ssh-ed25519 {name}\n")
    digest = hashlib.sha256((found / "disk.qcow2").read_bytes()).hexdigest()
    (found / "image.json").write_text(json.dumps({"machine": "arm64", "disk": digest}))
    return found


def test_a_whole_one_is_taken_and_its_key_is_the_owners_alone(folder: Path) -> None:
    assert exported.checked(folder, "arm64").folder == folder.resolve()
    assert (folder / "id_ed25519").stat().st_mode & 0o777 == 0o600
    assert exported.backing(folder) == (folder / "disk.qcow2", "qcow2")


def test_other_content_has_another_place_in_the_cache(folder: Path) -> None:
    before = exported.name(folder)
    (folder / "image.json").write_text(json.dumps({"machine": "arm64", "disk": "0" * 64}))
    assert before.startswith("arm64-image-")
    assert exported.name(folder) != before


def test_a_changed_disk_is_refused(folder: Path) -> None:
    (folder / "disk.qcow2").write_text("something else")
    with pytest.raises(PinnaceError, match="not what was exported"):
        exported.checked(folder, "arm64")


def test_a_missing_file_is_named(folder: Path) -> None:
    (folder / "initrd").unlink()
    with pytest.raises(PinnaceError, match="initrd is missing"):
        exported.checked(folder, "arm64")


def test_it_is_for_one_machine(folder: Path) -> None:
    with pytest.raises(UsageError, match="an image of sys-arm64, not of sys-armv7l"):
        exported.checked(folder, "armv7l")


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"machine": "arm64"}'])
def test_a_damaged_description_is_one_line(folder: Path, text: str) -> None:
    (folder / "image.json").write_text(text)
    with pytest.raises(PinnaceError, match=r"image\.json cannot be read"):
        exported.machine(folder)


def test_what_is_none_is_said(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is no exported image"):
        exported.machine(tmp_path)


def test_a_board_on_this_machines_kernel_takes_none(folder: Path) -> None:
    with pytest.raises(UsageError, match="own-kernel"):
        boards.get("emu-amd64-none").create(image=folder)
