"""``linux.netDevices`` of runtime-spec 1.3: devices of the host that become the container's.

Each keeps its hardware address, its MTU and its permanent global addresses, takes the name that the configuration gives
it, and is brought up. When the container's network namespace ends, the kernel hands real devices back to the host and
removes virtual ones; nothing is done about it here (config-linux.md, "Network Devices").
"""

from __future__ import annotations

import contextlib
import os
from typing import Any, NamedTuple

from pinnace.errors import Error, InvalidArgument, from_os
from pinnace.linux.kernel import Kernel
from pinnace.linux.netlink import Netlink

_LONGEST_NAME = 15  # IFNAMSIZ without the final NUL


class Device(NamedTuple):
    """A device by its name on the host, and the one it gets."""

    name: str
    inside: str


class _Moved(NamedTuple):
    device: Device
    number: int


def wanted(spec: dict[str, Any]) -> list[Device]:
    """The devices that a configuration asks for. Raises InvalidArgument for what can't be."""
    linux = spec.get("linux") or {}
    given: dict[str, Any] = linux.get("netDevices") or {}
    if not given:
        return []
    if not any(item["type"] == "network" for item in linux.get("namespaces") or ()):
        raise InvalidArgument("linux.netDevices: a container on the host's network takes none")
    found = [Device(name, (item or {}).get("name") or name) for name, item in given.items()]
    for name in (each for device in found for each in device):
        _check(name)
    inside = [each.inside for each in found if "%" not in each.inside]
    if len(set(inside)) != len(inside):
        raise InvalidArgument("linux.netDevices: two devices would get one name")
    return found


def _check(name: str) -> None:
    """As the kernel has it (dev_valid_name); ``%d`` stands for the first number that is free."""
    plain = name.replace("%d", "", 1)
    wrong = any(letter in "/:%" or letter.isspace() for letter in plain)
    if wrong or name in ("", ".", "..") or len(name.encode()) > _LONGEST_NAME:
        raise InvalidArgument(f"linux.netDevices: {name!r} is no name for a network device")


def give(kernel: Kernel, devices: list[Device], pid: int) -> None:
    """Move ``devices`` to the network namespace of ``pid``; all or none.

    Raises Error naming the device that can't be moved, and why.
    """
    if not devices:
        return
    namespace = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    moved: list[_Moved] = []
    try:
        if os.path.samestat(os.fstat(namespace), os.stat("/proc/self/ns/net")):
            raise InvalidArgument("linux.netDevices: a container on the host's network takes none")
        with Netlink() as outside, Netlink.of(kernel, namespace) as inside:
            try:
                for device in devices:
                    _move(outside, inside, device, namespace, moved)
            except BaseException:
                _give_back(inside, moved)
                raise
    finally:
        os.close(namespace)


def _move(
    outside: Netlink, inside: Netlink, device: Device, namespace: int, moved: list[_Moved]
) -> None:
    try:
        index = outside.index(device.name)
        addresses = outside.addresses(index, device.name)
        before = inside.indexes()
        try:
            outside.move(index, device.name, namespace, device.inside)
        finally:  # a name that is taken is noticed by the kernel once the device is there
            moved += [_Moved(device, each) for each in inside.indexes() - before]
        index = moved[-1].number
        for address in addresses:
            inside.add_address(index, device.name, address)
        inside.set_up(index, device.name)
    except OSError as problem:
        raise _refusal(device, problem) from problem


def _refusal(device: Device, problem: OSError) -> Error:
    doing = f"linux.netDevices: cannot make {device.inside} of the container of {device.name}"
    return from_os(OSError(problem.errno, problem.strerror), doing)


def _give_back(inside: Netlink, moved: list[_Moved]) -> None:
    own = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        for device, index in moved:
            with contextlib.suppress(OSError):
                inside.move(index, device.name, own, device.name)
    finally:
        os.close(own)
