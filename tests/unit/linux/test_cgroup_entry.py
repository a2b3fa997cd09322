"""The way into a control group: what is written where, and what happens when the kernel says no."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from pinnace.linux.cgroups.entry import Entry
from pinnace.linux.fake import FakeKernel


class Births(FakeKernel):
    """Forks into groups, or refuses with an error number."""

    def __init__(self, answer: int, problem: int = 0) -> None:
        super().__init__()
        self.answer = answer
        self.problem = problem

    def fork_into(self, cgroup_fd: int) -> int:
        if self.problem:
            raise OSError(self.problem, os.strerror(self.problem))
        return self.answer


@pytest.fixture
def legacy(tmp_path: Path) -> list[str]:
    places = []
    for name in ("cpu", "memory"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "tasks").touch()
        places.append(str(tmp_path / name))
    return places


def test_a_process_writes_itself_into_every_version_1_group(legacy: list[str]) -> None:
    entry = Entry(legacy, "")
    assert entry.is_inside
    entry.enter()
    assert [Path(place, "tasks").read_text() for place in legacy] == ["0", "0"]
    assert entry.fds() == []


def test_nothing_stays_open_when_a_group_is_missing(legacy: list[str]) -> None:
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(FileNotFoundError):
        Entry([*legacy, legacy[0] + "/missing"], "")
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_child_is_born_in_the_unified_group(tmp_path: Path) -> None:
    entry = Entry([], str(tmp_path))
    assert entry.fork(Births(7)) == 7
    assert entry.is_inside
    entry.close()


@pytest.mark.parametrize("problem", [errno.ENOSYS, errno.EINVAL, errno.EACCES, errno.EBUSY])
def test_where_that_is_refused_it_is_forked_outside(
    tmp_path: Path, problem: int, forked: list[int]
) -> None:
    entry = Entry([], str(tmp_path))
    assert entry.fork(Births(0, problem)) == 99
    assert not entry.is_inside
    entry.close()


def test_a_full_group_is_an_error(tmp_path: Path, forked: list[int]) -> None:
    entry = Entry([], str(tmp_path))
    with pytest.raises(BlockingIOError):
        entry.fork(Births(0, errno.EAGAIN))
    assert not forked
    entry.close()


def test_without_rights_it_is_not_even_tried(tmp_path: Path, forked: list[int]) -> None:
    entry = Entry([], str(tmp_path))
    assert entry.fork(Births(7), with_rights=False) == 99
    assert not entry.is_inside
    entry.close()


@pytest.fixture
def forked(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """os.fork() that only counts; 99 is the child."""
    calls: list[int] = []

    def fork() -> int:
        calls.append(1)
        return 99

    monkeypatch.setattr(os, "fork", fork)
    return calls
