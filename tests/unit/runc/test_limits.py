"""Which group a container gets, and what happens to a user who may not make one."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from pinnace.errors import FailedPrecondition, InvalidArgument, PermissionDenied
from pinnace.linux import cgroups
from pinnace.linux.cgroups.v2 import UnifiedCgroup
from pinnace.runc import limits
from pinnace.runc.state import ContainerState


@pytest.fixture
def state(tmp_path: Path) -> ContainerState:
    (tmp_path / "state").mkdir()
    return ContainerState("box", str(tmp_path / "state"), "/nowhere")


@pytest.fixture
def forbidden(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A user without rights, on cgroup version 2."""

    class Forbidden(UnifiedCgroup):
        def create(self) -> None:
            raise PermissionError(13, "Permission denied", self.directory)

    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(cgroups, "find", lambda path: Forbidden(path, str(tmp_path / "cgroup")))


@pytest.mark.usefixtures("forbidden")
def test_a_user_who_asks_for_no_limit_gets_a_container_without_a_group(
    state: ContainerState,
) -> None:
    rules = {"devices": [{"allow": False, "access": "rwm"}]}
    assert limits.make({"linux": {"resources": rules}}, state) is None
    assert state.cgroup_path == ""


@pytest.mark.usefixtures("forbidden")
@pytest.mark.parametrize(
    "linux", [{"resources": {"memory": {"limit": 1 << 20}}}, {"cgroupsPath": "/wanted"}]
)
def test_a_user_who_asks_is_told_why_not(state: ContainerState, linux: dict[str, Any]) -> None:
    with pytest.raises(PermissionDenied, match="delegation"):
        limits.make({"linux": linux}, state)


def test_with_groups_disabled_limits_are_refused(state: ContainerState) -> None:
    state.cgroup_manager = "disabled"
    assert limits.make({}, state) is None
    with pytest.raises(PermissionDenied, match="disabled"):
        limits.make({"linux": {"resources": {"pids": {"limit": 5}}}}, state)


def test_systemd_wants_its_own_form_of_paths(state: ContainerState) -> None:
    state.cgroup_manager = "systemd"
    with pytest.raises(InvalidArgument, match="slice:prefix:name"):
        limits.make({"linux": {"cgroupsPath": "/plain"}}, state)


def test_a_used_group_is_refused_before_anything_is_saved(
    state: ContainerState, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "used"
    place.mkdir()
    (place / "cgroup.procs").write_text("1\n2\n")
    monkeypatch.setattr(cgroups, "find", lambda path: UnifiedCgroup(path, str(tmp_path)))
    with pytest.raises(FailedPrecondition, match=r"not empty: 2 process"):
        limits.make({"linux": {"cgroupsPath": "/used"}}, state)
    assert state.cgroup_path == ""
    assert place.exists()


@pytest.mark.parametrize("below", ["../other", "a/../../b"])
def test_a_group_below_is_below(state: ContainerState, below: str) -> None:
    state.cgroup_path = "/box"
    with pytest.raises(InvalidArgument):
        limits.of(state, below)
