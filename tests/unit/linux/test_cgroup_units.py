"""OCI paths and resources in systemd's words."""

from __future__ import annotations

from typing import Any

import pytest

from pinnace.errors import InvalidArgument
from pinnace.linux.cgroups import units
from pinnace.linux.dbus.wire import Variant


@pytest.mark.parametrize(
    ("given", "name", "path"),
    [
        ("", "pinnace-box.scope", "/system.slice/pinnace-box.scope"),
        (":cri:abc", "cri-abc.scope", "/system.slice/cri-abc.scope"),
        ("kube-pod.slice:cri:abc", "cri-abc.scope", "/kube.slice/kube-pod.slice/cri-abc.scope"),
        ("-:cri:abc", "cri-abc.scope", "/cri-abc.scope"),
        ("machine.slice::abc", "abc.scope", "/machine.slice/abc.scope"),
        (":ignored:a-b.slice", "a-b.slice", "/a.slice/a-b.slice"),
    ],
)
def test_units(given: str, name: str, path: str) -> None:
    found = units.unit(given, "box")
    assert (found.name, found.path) == (name, path)


def test_a_users_units_are_in_the_users_slice() -> None:
    assert units.unit(":p:n", "box", rootless=True).slice == "user.slice"


@pytest.mark.parametrize(
    "path",
    ["/plain/path", "a:b", "a.slice:b:c:d", "a:b:c", "a/b.slice:p:n", "a--b.slice:p:n", "-a.slice:p:n", ":p:", ":p:../x", ":p/q:n", ":p:-.slice/x"],
)  # fmt: skip
def test_what_names_no_unit(path: str) -> None:
    with pytest.raises(InvalidArgument):
        units.unit(path, "box")


def values(resources: dict[str, Any], version: int = 2) -> dict[str, object]:
    return {name: variant.value for name, variant in units.properties(resources, version)}


@pytest.mark.parametrize(
    ("resources", "expected"),
    [
        ({"memory": {"limit": 10, "swap": 30, "reservation": 5}}, {"MemoryMax": 10, "MemorySwapMax": 20, "MemoryLow": 5}),
        ({"memory": {"limit": -1, "swap": -1}}, {"MemoryMax": units.INFINITY, "MemorySwapMax": units.INFINITY}),
        ({"cpu": {"shares": 1024}}, {"CPUWeight": 100}),
        ({"cpu": {"quota": 15000, "period": 10000}}, {"CPUQuotaPerSecUSec": 1_500_000, "CPUQuotaPeriodUSec": 10000}),
        ({"cpu": {"quota": -1}}, {"CPUQuotaPerSecUSec": units.INFINITY}),
        ({"cpu": {"cpus": "0-2,8", "mems": "0"}}, {"AllowedCPUs": b"\x07\x01", "AllowedMemoryNodes": b"\x01"}),
        ({"pids": {"limit": 7}}, {"TasksMax": 7}),
        ({"pids": {"limit": -1}}, {"TasksMax": units.INFINITY}),
        ({"blockIO": {"weight": 10}}, {"IOWeight": 1}),
        ({"unified": {"memory.high": "9", "cpu.max": "max 5000", "cpuset.cpus": "1"}}, {"MemoryHigh": 9, "CPUQuotaPerSecUSec": units.INFINITY, "CPUQuotaPeriodUSec": 5000, "AllowedCPUs": b"\x02"}),
        ({"unified": {"memory.oom.group": "1"}}, {}),
    ],
)  # fmt: skip
def test_properties_of_version_2(resources: dict[str, Any], expected: dict[str, object]) -> None:
    assert values(resources) == expected


def test_properties_of_version_1() -> None:
    resources = {
        "memory": {"limit": 10, "swap": 30}, "cpu": {"shares": 1024, "cpus": "0"},
        "pids": {"limit": 7}, "blockIO": {"weight": 100}, "unified": {"memory.high": "9"},
    }  # fmt: skip
    expected = {"MemoryLimit": 10, "CPUShares": 1024, "TasksMax": 7, "BlockIOWeight": 100}
    assert values(resources, 1) == expected


def test_a_list_that_is_none_is_refused() -> None:
    for text in ("", "a", "1-", "-1", "0-99999999"):
        with pytest.raises(InvalidArgument):
            units.mask(text)


def test_device_rules() -> None:
    rules = [
        {"allow": True, "type": "c", "major": 9, "minor": 9},
        {"allow": False, "access": "rwm"},
        {"allow": True, "type": "c", "major": 1, "minor": 3, "access": "rw"},
        {"allow": True, "type": "c", "major": 136, "access": "rwm"},
        {"allow": True, "type": "b", "major": 8},
        {"allow": True, "type": "c", "access": "m"},
    ]
    found = dict(units.device_properties(rules, {("char", 136): "pts"}))
    assert found["DevicePolicy"] == Variant("s", "strict")
    assert found["DeviceAllow"].value == [
        ["/dev/char/1:3", "rw"], ["char-pts", "rwm"], ["block-8", "rwm"], ["char-*", "m"],
    ]  # fmt: skip
    allowed = dict(units.device_properties([*rules, {"allow": True, "access": "rwm"}], {}))
    assert allowed["DevicePolicy"] == Variant("s", "auto")
    assert allowed["DeviceAllow"].value == []


def test_a_new_scope_is_delegated_and_has_a_process() -> None:
    found = dict(units.start_properties(units.unit(":p:n", "box"), 42, 2))
    assert found["PIDs"] == Variant("au", [42])
    assert found["Delegate"] == Variant("b", True)
    assert found["Slice"] == Variant("s", "system.slice")
    assert "IOAccounting" in found
    a_slice = dict(units.start_properties(units.unit(":p:a-b.slice", "box"), 42, 1))
    assert a_slice["Wants"] == Variant("as", ["system.slice"])
    assert "PIDs" not in a_slice
    assert "BlockIOAccounting" in a_slice
