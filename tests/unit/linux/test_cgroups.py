"""Control groups in pretended hierarchies: which files are written, with what."""

from __future__ import annotations

from pathlib import Path

import pytest

from pinnace.linux import cgroups
from pinnace.linux.cgroups import device_filter, v1, v2
from pinnace.linux.cgroups.base import Unsupported
from pinnace.linux.mountinfo import MountPoint, parse

LIMITS = {
    "memory": {"limit": 64 << 20, "swap": 96 << 20, "reservation": 32 << 20},
    "cpu": {"shares": 512, "quota": 50000, "period": 100000, "cpus": "0"},
    "pids": {"limit": 20},
}


def point(target: Path, kind: str, *options: str) -> MountPoint:
    return MountPoint(1, 0, "/", str(target), ("rw",), (), kind, kind, ("rw", *options))


def hierarchy(tmp_path: Path, *controllers: str) -> v1.LegacyCgroup:
    for controller in controllers:
        (tmp_path / controller).mkdir()
    mounts = [point(tmp_path / name, "cgroup", name) for name in controllers]
    found = cgroups.find("/box/one", mounts)
    assert isinstance(found, v1.LegacyCgroup)
    for directory in found.directories():
        Path(directory).mkdir(parents=True)
    return found


@pytest.mark.parametrize(
    ("given", "path"),
    [
        ("/default/web", "/default/web"),
        ("a/../../../b", "/b"),
        ("system.slice:cri:abc", "/system.slice/cri-abc.scope"),
        ("kube-pod-x.slice:cri:abc", "/kube.slice/kube-pod.slice/kube-pod-x.slice/cri-abc.scope"),
        ("-.slice:p:n", "/p-n.scope"),
    ],
)
def test_paths_never_leave_the_hierarchy(given: str, path: str) -> None:
    assert cgroups.normalize(given) == path


def test_what_is_mounted_decides_the_version(tmp_path: Path) -> None:
    unified = [point(tmp_path, "cgroup2")]
    assert cgroups.find("/x", unified).version == 2
    hybrid = [*unified, point(tmp_path / "pids", "cgroup", "pids")]
    assert cgroups.find("/x", hybrid).version == 1


def test_version_1_limits(tmp_path: Path) -> None:
    group = hierarchy(tmp_path, "memory", "cpu", "cpuset", "pids")
    for controller in ("memory", "cpu", "cpuset", "pids"):
        for name in _FILES[controller]:
            Path(group.directory(controller), name).touch()
    group.apply(LIMITS)
    written = {
        name: Path(group.directory(controller), name).read_text()
        for controller, names in _FILES.items()
        for name in names
    }
    assert written == {
        "memory.limit_in_bytes": str(64 << 20),
        "memory.memsw.limit_in_bytes": str(96 << 20),
        "memory.soft_limit_in_bytes": str(32 << 20),
        "cpu.shares": "512",
        "cpu.cfs_quota_us": "50000",
        "cpu.cfs_period_us": "100000",
        "cpuset.cpus": "0",
        "pids.max": "20",
    }


_FILES = {
    "memory": ["memory.limit_in_bytes", "memory.memsw.limit_in_bytes", "memory.soft_limit_in_bytes"],
    "cpu": ["cpu.shares", "cpu.cfs_quota_us", "cpu.cfs_period_us"],
    "cpuset": ["cpuset.cpus"],
    "pids": ["pids.max"],
}  # fmt: skip


def test_a_limit_without_its_controller_is_refused(tmp_path: Path) -> None:
    group = hierarchy(tmp_path, "pids")
    with pytest.raises(Unsupported, match="without the memory cgroup controller"):
        group.apply({"memory": {"limit": 1 << 20}})
    with pytest.raises(Unsupported, match="cgroup_enable=memory"):
        group.apply({"memory": {"limit": 1 << 20}})


def test_what_is_unlimited_needs_no_controller(tmp_path: Path) -> None:
    group = hierarchy(tmp_path, "cpu")
    group.apply({"memory": {"limit": -1, "swap": -1}, "pids": {"limit": -1}})


@pytest.mark.parametrize("available", [True, False])
def test_a_group_says_whether_it_holds_device_rules(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, available: bool
) -> None:
    monkeypatch.setattr(device_filter, "is_available", lambda: available)
    assert not hierarchy(tmp_path, "pids").limits_devices()
    assert v2.UnifiedCgroup("/x", str(tmp_path)).limits_devices() is available


def test_version_2_settings() -> None:
    assert v2.settings(LIMITS) == [
        ("memory", "memory.swap.max", str(32 << 20)),
        ("memory", "memory.max", str(64 << 20)),
        ("memory", "memory.low", str(32 << 20)),
        ("cpu", "cpu.weight", str(v2.weight_of_shares(512))),
        ("cpu", "cpu.max", "50000 100000"),
        ("cpuset", "cpuset.cpus", "0"),
        ("pids", "pids.max", "20"),
    ]
    assert v2.settings({"pids": {"limit": -1}}) == [("pids", "pids.max", "max")]
    with pytest.raises(Unsupported):
        v2.settings({"unified": {"../memory.max": "1"}})


def test_shares_span_the_scale_of_weights() -> None:
    assert [v2.weight_of_shares(shares) for shares in (0, 2, 1024, 262144, 1 << 30)] == [1, 1, 39, 10000, 10000]  # fmt: skip


def test_device_rules() -> None:
    assert v1.device_rule({"allow": False, "access": "rwm"}) == "a *:* rwm"
    assert v1.device_rule({"type": "c", "major": 136, "minor": -1, "access": "rw"}) == "c 136:* rw"


def test_pids_are_those_of_the_groups_below_too(tmp_path: Path) -> None:
    group = hierarchy(tmp_path, "pids")
    below = Path(group.directory("pids"), "inner")
    below.mkdir()
    Path(group.directory("pids"), "cgroup.procs").write_text("5\n3\n")
    (below / "cgroup.procs").write_text("4\n")
    assert group.pids() == [3, 4, 5]


def test_mountinfo_escapes_and_propagation() -> None:
    line = r"36 35 98:0 /mnt1 /mnt\0402 rw,noatime shared:1 master:2 - ext3 /dev/root rw,errors=continue"  # fmt: skip
    (found,) = parse(line + "\n")
    assert found.target == "/mnt 2"
    assert found.propagation == ("shared:1", "master:2")
    assert found.super_options == ("rw", "errors=continue")
