"""The doctor on machines that are files in a directory."""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path

import pytest

from pinnace.cli import main
from pinnace.cli.pinnaced import doctor
from pinnace.daemon import checkup, config
from pinnace.daemon.checkup import ERROR, OK, WARNING, Machine


def machine(root: Path, settings: str = "", **files: str) -> Machine:
    """A machine with these files; ``__`` in a name stands for ``/``."""
    for name, text in files.items():
        path = root / name.replace("__", "/").replace("_DOT_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    root.mkdir(parents=True, exist_ok=True)
    path = root / "config.toml"
    path.write_text(f"version = 3\n{settings}")
    return Machine(config.load(str(path)), str(root))


def seen(findings) -> dict[str, tuple[str, str]]:  # type: ignore[no-untyped-def]
    return {each.name: (each.status, each.remedy) for each in findings}


def test_a_raspberry_pi_without_the_memory_controller(tmp_path: Path) -> None:
    pi = machine(tmp_path, sys__fs__cgroup__cgroup_DOT_controllers="cpuset cpu io pids\n")
    found = seen(checkup.cgroups(pi))
    assert found["cgroups"][0] == OK
    assert found["cgroup memory"][0] == WARNING
    assert "cgroup_enable=memory" in found["cgroup memory"][1]


def test_control_groups_of_version_1_and_none(tmp_path: Path) -> None:
    assert seen(checkup.cgroups(machine(tmp_path / "none")))["cgroups"][0] == ERROR
    names = ("cpu", "cpuset", "blkio", "memory", "pids")
    old = machine(tmp_path / "old", **{f"sys__fs__cgroup__{name}__tasks": "" for name in names})
    assert seen(checkup.cgroups(old)) == {"cgroups": (OK, "")}


@pytest.mark.parametrize(
    ("kind", "status"), [("ext4", OK), ("overlay", ERROR), ("vfat", ERROR), ("btrfs", OK)]
)
def test_what_the_storage_driver_stands_on(tmp_path: Path, kind: str, status: str) -> None:
    lines = "25 1 8:1 / / rw - ext4 /dev/a rw\n30 25 8:2 / /var/lib rw - {} /dev/b rw\n"
    found = machine(
        tmp_path, proc__filesystems="nodev\toverlay\n", proc__self__mountinfo=lines.format(kind)
    )
    assert seen(checkup.storage(found))["storage driver"][0] == status


def test_a_kernel_without_overlayfs(tmp_path: Path) -> None:
    found = seen(checkup.storage(machine(tmp_path, proc__filesystems="\text4\n")))
    assert found["storage driver"][0] == ERROR
    assert 'snapshotter = "native"' in found["storage driver"][1]
    setting = '[plugins."io.containerd.cri.v1.images"]\nsnapshotter = "native"\n'
    other = machine(tmp_path, setting, proc__filesystems="\text4\n")
    assert seen(checkup.storage(other))["storage driver"][0] == OK


def test_a_clock_that_starts_in_the_past(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "time", lambda: 1000.0)
    assert seen(checkup.clock(machine(tmp_path)))["clock"][0] == ERROR
    monkeypatch.undo()
    assert seen(checkup.clock(machine(tmp_path)))["clock"][0] == OK
    waiting = machine(tmp_path, run__systemd__timesync__clock="")
    assert seen(checkup.clock(waiting))["clock"][0] == WARNING


def test_network_tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    bare = seen(checkup.network(machine(tmp_path)))
    assert {name: status for name, (status, _) in bare.items()} == {
        "packet filter": WARNING, "CNI plugins": WARNING, "forwarding": WARNING,
    }  # fmt: skip
    plugins = ("bridge", "firewall", "host-local", "loopback", "portmap")
    files = {f"opt__cni__bin__{name}": "" for name in plugins}
    full = machine(tmp_path, proc__sys__net__ipv4__ip_forward="1\n", **files)
    assert seen(checkup.network(full))["CNI plugins"] == (OK, "")
    assert seen(checkup.network(full))["forwarding"] == (OK, "")


def test_every_finding_that_is_not_well_says_what_to_do(tmp_path: Path) -> None:
    found = checkup.examine(machine(tmp_path).config, str(tmp_path))
    assert len(found) > 10
    assert all(each.remedy for each in found if each.status != OK)


def test_the_table_and_the_exit_status(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    findings = [checkup.Finding("disk", OK, "much"), checkup.Finding("clock", ERROR, "1970", "set it")]  # fmt: skip
    monkeypatch.setattr(checkup, "examine", lambda config: findings)
    path = str(machine(tmp_path).path("/config.toml"))
    assert main.main(["pinnaced", "--config", path, "doctor"]) == 1
    assert capsys.readouterr().out == (
        "ok    disk   much\nFAIL  clock  1970\n             to do: set it\n1 ok, 0 warnings, 1 errors\n"
    )
    assert main.main(["pinnaced", "--config", path, "doctor", "--format", "json"]) == 1
    assert json.loads(capsys.readouterr().out)[1]["remedy"] == "set it"
    findings.pop()
    assert main.main(["pinnaced", "--config", path, "doctor"]) == 0
    assert doctor.FLAGS
