"""Security labels: where each is written, and what a machine without the module says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pinnace.errors import Error, FailedPrecondition, Unimplemented
from pinnace.linux import procfs
from pinnace.runc import labels
from pinnace.runc.labels import Labels

_LABEL = "system_u:system_r:container_t:s0:c1,c2"


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine with both modules, and a file that holds what is written to /proc."""
    (tmp_path / "apparmor").write_text("Y\n")
    (tmp_path / "selinux").write_text("1")
    monkeypatch.setattr(labels, "APPARMOR", str(tmp_path / "apparmor"))
    monkeypatch.setattr(labels, "SELINUX", str(tmp_path / "selinux"))
    written = tmp_path / "written"

    def write(path: str, text: str) -> None:
        with written.open("a") as file:
            file.write(f"{path}: {text}\n")

    monkeypatch.setattr(procfs, "write", write)
    return written


@pytest.fixture
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine with neither."""
    for name in ("APPARMOR", "SELINUX"):
        monkeypatch.setattr(labels, name, str(tmp_path / name))
    return tmp_path


def test_both_labels_are_written(machine: Path) -> None:
    given = Labels({"apparmorProfile": "boat", "selinuxLabel": _LABEL}, {})
    given.begin_keyring()
    given.apply()
    assert machine.read_text().splitlines() == [
        f"self/attr/keycreate: {_LABEL}",
        "self/attr/apparmor/exec: exec boat",
        f"self/attr/exec: {_LABEL}",
    ]


def test_nothing_is_written_for_nothing(machine: Path) -> None:
    given = Labels({}, {})
    given.begin_keyring()
    given.apply()
    assert not machine.exists()


@pytest.mark.parametrize(
    ("process", "linux", "message"),
    [
        ({"apparmorProfile": "boat"}, {}, "AppArmor is not enabled"),
        ({"selinuxLabel": _LABEL}, {}, "SELinux is not enabled"),
        ({}, {"mountLabel": _LABEL}, "SELinux is not enabled"),
    ],
)
def test_a_machine_without_the_module_says_so(
    bare: Path, process: dict[str, Any], linux: dict[str, Any], message: str
) -> None:
    with pytest.raises(FailedPrecondition, match=message):
        Labels(process, linux)


def test_a_module_that_is_turned_off_is_none(bare: Path) -> None:
    (bare / "APPARMOR").write_text("N\n")
    with pytest.raises(FailedPrecondition, match="AppArmor is not enabled"):
        Labels({"apparmorProfile": "boat"}, {})


def test_intel_rdt_is_answered() -> None:
    with pytest.raises(Unimplemented, match="intelRdt"):
        Labels({}, {"intelRdt": {"closID": "boat"}})


def test_the_older_file_serves_where_the_newer_is_missing(
    machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def write(path: str, _: str) -> None:
        asked.append(path)
        if "nosuch" in path:
            raise FileNotFoundError(2, "No such file", path)

    monkeypatch.setattr(procfs, "write", write)
    labels._write(("self/attr/nosuch/exec", "self/attr/exec"), "exec boat")
    assert asked == ["self/attr/nosuch/exec", "self/attr/exec"]


def test_a_profile_that_is_not_loaded_is_named(
    machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write(path: str, _: str) -> None:
        raise FileNotFoundError(2, "No such file or directory", path)

    monkeypatch.setattr(procfs, "write", write)
    with pytest.raises(Error, match=r"boat: No such file or directory.*is the profile loaded"):
        Labels({"apparmorProfile": "boat"}, {}).apply()


@pytest.mark.parametrize(
    ("kind", "data", "expected"),
    [
        ("tmpfs", "", f'context="{_LABEL}"'),
        ("tmpfs", "mode=755", f'mode=755,context="{_LABEL}"'),
        ("proc", "", ""),
        ("sysfs", "x", "x"),
    ],
)
def test_mounts_are_labelled(kind: str, data: str, expected: str) -> None:
    assert labels.mount_data(kind, data, {"mountLabel": _LABEL}) == expected
    assert labels.mount_data(kind, data, {}) == data
