"""Files to and from a board, and what a hostile board may send."""

from __future__ import annotations

import io
import subprocess
import tarfile
from pathlib import Path

import pytest

from toolkit.errors import HostFailed, UsageError
from toolkit.pytest_boards import files


def take(data: bytes, command: str) -> None:
    """What the board does with what is put."""
    subprocess.run(["sh", "-c", command], input=data, check=True)


def give(command: str) -> bytes:
    return subprocess.run(["sh", "-c", command], capture_output=True, check=True).stdout


def test_bytes_become_a_file_with_its_mode(tmp_path: Path) -> None:
    target = tmp_path / "a b" / "new" / "file"
    take(*files.packed(b"hello", str(target), 0o600))
    assert target.read_bytes() == b"hello"
    assert target.stat().st_mode & 0o777 == 0o600


def test_a_directory_goes_there_and_back(tmp_path: Path) -> None:
    source = tmp_path / "source"
    (source / "sub").mkdir(parents=True)
    (source / "sub" / "run").write_text("#!/bin/sh\n")
    (source / "sub" / "run").chmod(0o755)
    target = tmp_path / "board" / "there"
    take(*files.packed(source, str(target), None))
    back = tmp_path / "back"
    back.mkdir()
    (back / "old").touch()
    files.unpack(give(files.packing(str(target))), str(target), back)
    assert [path.name for path in back.iterdir()] == ["sub"]
    assert (back / "sub" / "run").stat().st_mode & 0o777 == 0o755


@pytest.mark.parametrize("path", ["relative", "./x", "/"])
def test_a_path_on_a_board_is_absolute(path: str) -> None:
    with pytest.raises(UsageError, match="absolute"):
        files.packed(b"", path, None)


@pytest.mark.parametrize("name", ["../escaped", "/tmp/escaped", "wanted/../../escaped"])
def test_a_board_cannot_write_outside_of_the_target(tmp_path: Path, name: str) -> None:
    place = tmp_path / "place"
    place.mkdir()
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        archive.addfile(tarfile.TarInfo(name))
    with pytest.raises(HostFailed):
        files.unpack(out.getvalue(), "/etc/wanted", place / "wanted")
    assert not (tmp_path / "escaped").exists()
    assert not (place / "wanted").exists()
    assert list(place.iterdir()) == []


def test_half_an_archive_is_told(tmp_path: Path) -> None:
    data, _ = files.packed(b"x" * 4000, "/etc/wanted", None)
    with pytest.raises(HostFailed, match="whole"):
        files.unpack(data[:1500], "/etc/wanted", tmp_path / "wanted")
