"""``linux.netDevices``: devices of the host's network become the container's. The host is a network namespace of the test's."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.conformance.runc.conftest import Box

pytestmark = pytest.mark.root

_DEVICE = (
    "ip link add boat0 type veth peer name other0 && ip link set boat0 address 02:00:00:00:00:07 mtu 1400 up &&"
    " ip addr add 10.7.0.2/24 brd 10.7.0.255 dev boat0 && ip addr add 10.7.0.3/24 dev boat0 valid_lft 99 preferred_lft 99 &&"
    " ip -6 addr add fd07::2/64 dev boat0 nodad"
)


@pytest.fixture
def host(box: Box, release: Path) -> Any:
    """Run runc on a host of its own, which has ``boat0``; then what is asked of that host."""

    def run(devices: dict[str, Any], *args: str, then: str = "true", before: str = _DEVICE) -> Any:
        box.linux["netDevices"] = devices
        box.set_args(*args)
        (box.bundle / "config.json").write_text(json.dumps(box.spec))
        command = f"{release}/bin/runc --root {box.state_root} run {box.id}"
        words = [
            "unshare",
            "--net",
            "sh",
            "-c",
            f"{before} && {{ {command}; code=$?; {then}; exit $code; }}",
        ]
        return subprocess.run(
            words, cwd=box.bundle, env={**os.environ, "PINNACE_KEEPER": ""}, timeout=60,
            stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
        )  # fmt: skip

    probed = subprocess.run(
        ["unshare", "--net", "sh", "-c", _DEVICE], capture_output=True, check=False
    )
    if probed.returncode:
        pytest.skip("this kernel has no virtual Ethernet devices")
    return run


_LOOK = (
    "cd /sys/class/net/$0 && cat address mtu flags && cat /proc/net/fib_trie | grep -c 10.7.0.2$;"
    " grep $0 /proc/net/if_inet6 | grep -c ^fd07; grep -c 10.7.0.3$ /proc/net/fib_trie"
)


def test_a_device_keeps_what_is_its_own(host: Any) -> None:
    ended = host({"boat0": {"name": "eth7"}}, "sh", "-c", _LOOK, "eth7", then="ip -br link >&2")
    address, mtu, flags, *counts = ended.stdout.split()
    assert (address, mtu) == ("02:00:00:00:00:07", "1400")
    assert int(flags, 16) & 1  # up
    assert counts == ["2", "1", "0"]  # not the address that would have ended by itself
    assert "boat0" not in ended.stderr


def test_it_keeps_its_name_when_no_other_is_given(host: Any) -> None:
    assert host({"boat0": {}}, "cat", "/sys/class/net/boat0/mtu").stdout == "1400\n"


def test_the_kernel_numbers_a_name(host: Any) -> None:
    assert host({"boat0": {"name": "net%d"}}, "ls", "/sys/class/net").stdout.split() == [
        "lo",
        "net0",
    ]


@pytest.mark.parametrize(
    ("devices", "said"),
    [
        ({"nosuch": {}}, "cannot make nosuch of the container of nosuch: No such device"),
        ({"boat0": {"name": "lo"}}, "cannot make lo of the container of boat0: File exists"),
        ({"boat0": {"name": "a/b"}}, "is no name for a network device"),
        ({"boat0": {"name": "x" * 16}}, "is no name for a network device"),
        ({"boat0": {"name": "x"}, "lo": {"name": "x"}}, "two devices would get one name"),
        ({"boat0": {"name": 7}}, "netDevices"),
    ],
)
def test_what_can_not_be_moved_is_an_error(host: Any, devices: Any, said: str) -> None:
    ended = host(devices, "true", then="ip -br link show boat0")
    assert (ended.returncode, ended.stderr.count("\n")) == (1, 1)
    assert said in ended.stderr
    assert ended.stdout.startswith("boat0")


def test_all_are_moved_or_none(host: Any) -> None:
    ended = host({"boat0": {"name": "eth7"}, "nosuch": {}}, "true", then="ip -br link show boat0")
    assert "nosuch: No such device" in ended.stderr
    assert ended.stdout.startswith("boat0")


def test_a_container_on_the_hosts_network_takes_none(box: Box, host: Any) -> None:
    kinds = [each for each in box.linux["namespaces"] if each["type"] != "network"]
    box.linux["namespaces"] = kinds
    box.spec["mounts"] = [each for each in box.spec["mounts"] if each["type"] != "sysfs"]
    assert "on the host's network takes none" in host({"boat0": {}}, "true").stderr
