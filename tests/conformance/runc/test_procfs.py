"""CVE-2025-52881: what is written to /proc arrives there or nowhere, whatever is mounted over it.

Each attack runs in a mount namespace of its own, as the runtime does when a container that shares a
volume with it mounts while it is being made.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from pinnace.errors import Error
from pinnace.linux import libc, procfs
from pinnace.linux import mount as mnt
from pinnace.linux.fake import FakeKernel
from pinnace.linux.kernel import CLONE_NEWNS, KERNEL, Kernel
from pinnace.runc import sysctl

pytestmark = pytest.mark.root

_HOSTNAME = "sys/kernel/hostname"


@pytest.fixture(params=[KERNEL, FakeKernel()], ids=["openat2", "walk"])
def kernel(request: pytest.FixtureRequest) -> Kernel:
    found: Kernel = request.param
    return found


def _apart(work: Callable[[], str]) -> str:
    """What ``work`` returns, or the text of its error, from a child with a mount namespace of its own."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        text = "?"
        try:
            libc.call("unshare", CLONE_NEWNS)
            mnt.mount("", "/", "", mnt.MS_REC | mnt.MS_PRIVATE)
            text = work()
        except (Error, OSError) as problem:
            text = f"refused: {problem.strerror if isinstance(problem, OSError) else problem}"
        finally:
            os.write(writer, text.encode())
            os._exit(0)
    os.close(writer)
    with open(reader, encoding="utf-8") as file:
        text = file.read()
    os.waitpid(pid, 0)
    return text


@pytest.fixture
def decoy(tmp_path: Path) -> Path:
    path = tmp_path / "decoy"
    path.write_text("untouched")
    return path


def _plainly(path: str, text: str) -> None:
    """As it was done before: by path."""
    with open(f"/proc/{path}", "w", encoding="ascii") as file:
        file.write(text)


def _same(kernel: Kernel, path: str) -> Callable[[], str]:
    """Write back what is there: nothing changes when it works."""

    def work() -> str:
        text = Path(f"/proc/{path}").read_text().strip()
        procfs.write(path, text, kernel=kernel)
        return "written"

    return work


def test_a_setting_is_written(kernel: Kernel) -> None:
    assert _apart(_same(kernel, _HOSTNAME)) == "written"
    assert _apart(_same(kernel, "self/oom_score_adj")) == "written"


def test_a_file_mounted_over_a_setting_gets_nothing(kernel: Kernel, decoy: Path) -> None:
    def by(write: Callable[[str, str], None]) -> Callable[[], str]:
        def work() -> str:
            mnt.mount(str(decoy), f"/proc/{_HOSTNAME}", "", mnt.MS_BIND)
            write(_HOSTNAME, "owned")
            return "written"

        return work

    assert "mounted over" in _apart(by(lambda path, text: procfs.write(path, text, kernel=kernel)))
    assert decoy.read_text() == "untouched"
    assert _apart(by(_plainly)) == "written"  # so this is an attack
    assert decoy.read_text() == "owned"


def test_another_file_of_procfs_mounted_over_it_gets_nothing(kernel: Kernel) -> None:
    """The harmful kind: a label meant for attr/exec is written where the kernel acts on it."""

    def work() -> str:
        mnt.mount("/proc/sys/kernel/domainname", f"/proc/{_HOSTNAME}", "", mnt.MS_BIND)
        procfs.write(_HOSTNAME, "owned", kernel=kernel)
        return "written"

    assert "mounted over" in _apart(work)


def test_a_file_system_instead_of_proc_gets_nothing(kernel: Kernel, tmp_path: Path) -> None:
    """A tmpfs that looks like /proc: a container without its label seems to have got it."""
    fake = tmp_path / "fake"

    def by(write: Callable[[str, str], None]) -> Callable[[], str]:
        def work() -> str:
            fake.mkdir(exist_ok=True)
            (fake / "sys/kernel").mkdir(parents=True, exist_ok=True)
            (fake / _HOSTNAME).write_text("")
            (fake / "self").unlink(missing_ok=True)
            (fake / "self").symlink_to("sys")
            mnt.mount(str(fake), "/proc", "", mnt.MS_BIND)
            write(_HOSTNAME, "owned")
            return "written"

        return work

    refused = _apart(by(lambda path, text: procfs.write(path, text, kernel=kernel)))
    assert refused == "refused: not on procfs"
    assert (fake / _HOSTNAME).read_text() == ""
    assert _apart(by(_plainly)) == "written"
    assert (fake / _HOSTNAME).read_text() == "owned"


def test_a_part_of_procfs_instead_of_proc_gets_nothing(kernel: Kernel) -> None:
    def work() -> str:
        mnt.mount("/proc/self", "/proc", "", mnt.MS_BIND)
        procfs.write("oom_score_adj", "0", kernel=kernel)
        return "written"

    assert _apart(work) == "refused: not the root of procfs"


@pytest.mark.parametrize("path", ["self/../version", "self/root/etc/x", "mounts", "self/cwd/x"])
def test_only_plain_paths(kernel: Kernel, path: str) -> None:
    with pytest.raises(OSError):  # noqa: PT011 (which error says how far it came, not whether)
        procfs.open_file(path, os.O_RDONLY, kernel=kernel)


def test_sysctl_takes_this_way(decoy: Path) -> None:
    def work() -> str:
        mnt.mount(str(decoy), "/proc/sys/kernel/domainname", "", mnt.MS_BIND)
        sysctl.apply({"kernel.domainname": "owned"}, {"uts"})
        return "written"

    assert "mounted over" in _apart(work)
    assert decoy.read_text() == "untouched"
