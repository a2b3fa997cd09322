"""Paths in a hostile root never lead out of it, with openat2 and with the walk by descriptors."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from pinnace.linux import resolve
from pinnace.linux.fake import FakeKernel
from pinnace.linux.kernel import KERNEL, Kernel


@pytest.fixture(params=[KERNEL, FakeKernel()], ids=["openat2", "walk"])
def kernel(request: pytest.FixtureRequest) -> Kernel:
    found: Kernel = request.param
    return found


@pytest.fixture
def root(tmp_path: Path) -> Iterator[int]:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/secret").write_text("host")
    inside = tmp_path / "root"
    (inside / "etc").mkdir(parents=True)
    (inside / "etc/passwd").write_text("container")
    (inside / "up").symlink_to("../../../../../../../../..")
    (inside / "absolute").symlink_to("/etc")
    (inside / "host").symlink_to(f"{tmp_path}/outside")
    (inside / "loop").symlink_to("loop")
    (inside / "later").symlink_to("/run/later")
    (inside / "magic").symlink_to("/proc/self/cwd")
    fd = os.open(inside, os.O_PATH)
    yield fd
    os.close(fd)


def read(root: int, path: str, kernel: Kernel) -> str:
    with open(resolve.open_in_root(root, path, os.O_RDONLY, kernel=kernel)) as file:
        return file.read()


@pytest.mark.parametrize(
    "path",
    ["/etc/passwd", "etc/passwd", "/absolute/passwd", "/up/etc/passwd", "/../../etc/passwd", "/etc/../etc/./passwd"],
)  # fmt: skip
def test_every_way_stays_inside(root: int, path: str, kernel: Kernel) -> None:
    assert read(root, path, kernel) == "container"


@pytest.mark.parametrize("path", ["/host/secret", "/up/outside/secret", "/magic/x", "/nothing"])
def test_what_is_outside_is_not_there(root: int, path: str, kernel: Kernel) -> None:
    with pytest.raises(FileNotFoundError):
        resolve.open_in_root(root, path, kernel=kernel)


def test_a_loop_of_links_ends(root: int, kernel: Kernel) -> None:
    with pytest.raises(OSError, match="Too many levels"):
        resolve.open_in_root(root, "/loop", kernel=kernel)


def test_a_file_is_no_directory(root: int, kernel: Kernel) -> None:
    with pytest.raises(NotADirectoryError):
        resolve.open_in_root(root, "/etc/passwd", os.O_PATH | os.O_DIRECTORY, kernel=kernel)
    with pytest.raises(NotADirectoryError):
        resolve.open_in_root(root, "/etc/passwd/x", kernel=kernel)


def test_missing_directories_are_made_inside(root: int, kernel: Kernel, tmp_path: Path) -> None:
    os.close(resolve.make_directory(root, "/up/a/b", kernel=kernel))
    assert (tmp_path / "root/a/b").is_dir()


def test_a_link_to_a_missing_directory_gets_it(root: int, kernel: Kernel, tmp_path: Path) -> None:
    os.close(resolve.make_directory(root, "/later/x", kernel=kernel))
    assert (tmp_path / "root/run/later/x").is_dir()
    os.close(resolve.make_directory(root, "/host/made", kernel=kernel))
    assert not (tmp_path / "outside/made").exists()


def test_a_missing_file_is_made_but_not_through_a_link(
    root: int, kernel: Kernel, tmp_path: Path
) -> None:
    os.close(resolve.make_file(root, "/new/dir/file", kernel=kernel))
    assert (tmp_path / "root/new/dir/file").read_bytes() == b""
    os.close(resolve.make_file(root, "/etc/passwd", kernel=kernel))
    with pytest.raises(FileNotFoundError, match="dangling"):
        resolve.make_file(root, "/later", kernel=kernel)


def test_no_descriptor_leaks(root: int, kernel: Kernel) -> None:
    before = len(os.listdir("/proc/self/fd"))
    for path in ("/etc", "/loop", "/nothing", "/up/etc/passwd/x"):
        try:
            os.close(resolve.open_in_root(root, path, kernel=kernel))
        except OSError:
            continue
    assert len(os.listdir("/proc/self/fd")) == before
