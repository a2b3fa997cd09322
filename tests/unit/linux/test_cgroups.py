"""Control groups in pretended hierarchies: which files are written, with what."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Any

import pytest

from pinnace.errors import InvalidArgument
from pinnace.linux import cgroups
from pinnace.linux.cgroups import device_filter, v1, v2, v2_settings
from pinnace.linux.cgroups import setting as setting_module
from pinnace.linux.cgroups.setting import Setting, Unsupported, put_all
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


def lines(resources: dict[str, Any], **current: str) -> list[tuple[str, str]]:
    """What version 2 writes: (file, value); ``current`` has "__" for the dot of a file's name."""
    files = {name.replace("__", "."): text for name, text in current.items()}
    found = v2_settings.settings(resources, lambda name: files.get(name, ""))
    return [(setting.file, setting.value) for setting in found]


def test_version_2_settings() -> None:
    assert lines(LIMITS) == [
        ("memory.swap.max", str(32 << 20)),
        ("memory.max", str(64 << 20)),
        ("memory.low", str(32 << 20)),
        ("cpu.weight", "59"),
        ("cpu.max", "50000 100000"),
        ("cpuset.cpus", "0"),
        ("pids.max", "20"),
    ]


@pytest.mark.parametrize(
    ("resources", "written"),
    [
        ({"pids": {"limit": -1}}, [("pids.max", "max")]),
        ({"pids": {"limit": 0}}, []),
        ({"memory": {"limit": -1}}, [("memory.swap.max", "max"), ("memory.max", "max")]),
        ({"memory": {"limit": 5, "swap": 5}}, [("memory.swap.max", "0"), ("memory.max", "5")]),
        ({"cpu": {"quota": -1}}, [("cpu.max", "max")]),
        ({"cpu": {"quota": 5000}}, [("cpu.max", "5000")]),
        ({"cpu": {"idle": 1, "shares": 1024}}, [("cpu.idle", "1")]),
        ({"cpu": {"burst": 0}}, [("cpu.max.burst", "0")]),
        ({"blockIO": {"weight": 500}}, [("io.bfq.weight", "500")]),
        (
            {"blockIO": {"throttleReadBpsDevice": [{"major": 8, "minor": 0, "rate": 0}]}},
            [("io.max", "8:0 rbps=max")],
        ),
        (
            {"hugepageLimits": [{"pageSize": "2MB", "limit": 9}]},
            [("hugetlb.2MB.max", "9"), ("hugetlb.2MB.rsvd.max", "9")],
        ),
        (
            {"rdma": {"mlx5_1": {"hcaHandles": 3, "hcaObjects": 10}}},
            [("rdma.max", "mlx5_1 hca_handle=3 hca_object=10")],
        ),
        ({"unified": {"memory.high": "9"}}, [("memory.high", "9")]),
    ],
)
def test_each_kind_in_version_2(resources: dict[str, Any], written: list[tuple[str, str]]) -> None:
    assert lines(resources) == written


def test_half_a_limit_keeps_the_other_half() -> None:
    assert lines({"cpu": {"period": 50000}}, cpu__max="20000 100000") == [
        ("cpu.max", "20000 50000")
    ]
    assert lines({"memory": {"swap": 30}}, memory__max="10\n") == [("memory.swap.max", "20")]


@pytest.mark.parametrize(
    "resources",
    [
        {"unified": {"../memory.max": "1"}},
        {"unified": {"memory.max": 1}},
        {"memory": {"swap": 10}},
        {"memory": {"swap": 10, "limit": 20}},
    ],
)
def test_wrong_resources_of_version_2(resources: dict[str, Any]) -> None:
    with pytest.raises(InvalidArgument):
        v2_settings.settings(resources)


@pytest.mark.parametrize(
    "resources",
    [
        {"memory": {"swappiness": 60}},
        {"memory": {"kernel": 1 << 20}},
        {"memory": {"disableOOMKiller": True}},
        {"cpu": {"realtimeRuntime": 950000}},
        {"network": {"classID": 1}},
        {"network": {"priorities": [{"name": "eth0", "priority": 1}]}},
        {"blockIO": {"leafWeight": 100}},
    ],
)
def test_what_version_2_cannot_do_is_refused_by_name(
    tmp_path: Path, resources: dict[str, Any]
) -> None:
    group = v2.UnifiedCgroup("/x", str(tmp_path))
    with pytest.raises(Unsupported, match="cgroup version 2 has no such limit"):
        group.apply(resources)
    (left_out,) = group.apply(resources, best_effort=True)
    assert "cannot be set" in left_out


def test_best_effort_sets_what_can_be_set(tmp_path: Path) -> None:
    group = hierarchy(tmp_path, "pids")
    Path(group.directory("pids"), "pids.max").touch()
    resources = {"memory": {"limit": 1 << 20}, "pids": {"limit": 7}}
    (left_out,) = group.apply(resources, best_effort=True)
    assert "memory.limit_in_bytes" in left_out
    assert Path(group.directory("pids"), "pids.max").read_text() == "7"


def test_a_file_with_another_name_is_written_instead(tmp_path: Path) -> None:
    (tmp_path / "io.weight").touch()
    (setting,) = v2_settings.settings({"blockIO": {"weight": 1000}})
    put_all([(str(tmp_path), setting)])
    assert (tmp_path / "io.weight").read_text() == "default 10000"


def test_a_missing_file_of_a_controller_is_named_with_its_remedy(tmp_path: Path) -> None:
    setting = Setting("memory", "memory.memsw.limit_in_bytes", "5")
    with pytest.raises(Unsupported, match="swapaccount=1"):
        put_all([(str(tmp_path), setting)])


def test_values_are_written_in_the_order_the_kernel_takes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Growing: memory may not exceed memory and swap together, whose old limit is smaller."""
    held = {"memory": 10, "both": 10}

    def write(_: str, name: str, value: str) -> None:
        wanted = {**held, name: int(value)}
        if wanted["memory"] > wanted["both"]:
            raise OSError(errno.EINVAL, "Invalid argument")
        held.update(wanted)

    monkeypatch.setattr(setting_module, "write", write)
    for memory, both in ((20, 30), (5, 6), (40, 40)):
        values = [Setting("memory", "memory", str(memory)), Setting("memory", "both", str(both))]
        put_all([("/x", value) for value in values])
        assert held == {"memory": memory, "both": both}
    with pytest.raises(InvalidArgument, match="memory cannot be set to 50"):
        put_all([("/x", Setting("memory", "memory", "50"))])


def test_kernel_memory_that_is_taken_and_not_held_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Kernels from 5.16 on take the value and change nothing."""
    group = hierarchy(tmp_path, "memory")
    Path(group.directory("memory"), "memory.kmem.limit_in_bytes").write_text(
        "9223372036854771712\n"
    )
    monkeypatch.setattr(setting_module, "write", lambda *_: None)
    with pytest.raises(Unsupported, match=r"set memory\.limit"):
        group.apply({"memory": {"kernel": 1 << 20}})


def test_a_hybrid_uses_the_hierarchy_that_has_the_controller(tmp_path: Path) -> None:
    for name in ("pids", "unified"):
        (tmp_path / name / "box").mkdir(parents=True)
    for place in ("", "/box"):
        (tmp_path / f"unified{place}/cgroup.controllers").write_text("hugetlb\n")
    (tmp_path / "unified/cgroup.subtree_control").touch()
    (tmp_path / "unified/box/hugetlb.2MB.max").touch()
    (tmp_path / "pids/box/pids.max").touch()
    mounts = [point(tmp_path / "pids", "cgroup", "pids"), point(tmp_path / "unified", "cgroup2")]
    group = cgroups.find("/box", mounts)
    group.apply({"pids": {"limit": 3}, "hugepageLimits": [{"pageSize": "2MB", "limit": 4}]})
    assert (tmp_path / "unified/box/hugetlb.2MB.max").read_text() == "4"
    assert (tmp_path / "unified/cgroup.subtree_control").read_text() == "+hugetlb"
    assert (tmp_path / "pids/box/pids.max").read_text() == "3"
    with pytest.raises(Unsupported, match="not in a version 2 hierarchy"):
        group.apply({"unified": {"memory.high": "9"}})


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


def test_which_limits_are_those_of_the_hierarchy_beside(tmp_path: Path) -> None:
    (tmp_path / "cgroup.controllers").write_text("hugetlb io\n")
    group = v1.LegacyCgroup("/x", {"memory": "/sys/fs/cgroup/memory"}, str(tmp_path))
    assert group.limits_elsewhere({"hugepageLimits": [{"pageSize": "2MB", "limit": 1}]})
    assert group.limits_elsewhere({"unified": {"memory.high": "1"}})
    assert not group.limits_elsewhere(
        {"memory": {"limit": 1 << 20}, "devices": [{}], "blockIO": {}}
    )
    alone = v1.LegacyCgroup("/x", {"memory": "/sys/fs/cgroup/memory"})
    assert not alone.limits_elsewhere({"blockIO": {"weight": 10}})
