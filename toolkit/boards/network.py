"""The network that boards and the lab registry share: one bridge, one small IPv4 subnet.

The bridge is on the machine's side, so that its SSH client reaches each board by address; every board
has one end of a cable (a veth pair) in its own network namespace. There is no way out: no routing,
no address translation, no firewall rule is made. The gateway is this machine, where the lab registry
listens under the name ``registry.lab``.

``PINNACE_BOARD_SUBNET`` (``10.87.137.0/24``) moves it, where the machine has that subnet in use.
"""

from __future__ import annotations

import ipaddress
import json
import os
import subprocess
from collections.abc import Iterable
from pathlib import Path

from toolkit.errors import MissingPrerequisite, PinnaceError, UsageError
from toolkit.paths import cache_dir
from toolkit.process import run

BRIDGE = "pinnace0"
REGISTRY = "registry.lab"

_FIRST = 10
"""Boards have addresses from the tenth on; below are gateway and lab servers."""


def subnet() -> ipaddress.IPv4Network:
    """The boards' subnet; raises :class:`UsageError` for a value that is none."""
    text = os.environ.get("PINNACE_BOARD_SUBNET", "10.87.137.0/24")
    try:
        found = ipaddress.IPv4Network(text)
    except ValueError as problem:
        raise UsageError(f"PINNACE_BOARD_SUBNET is not an IPv4 subnet: {problem}") from None
    if found.prefixlen > 26 or not found.is_private:
        raise UsageError(f"PINNACE_BOARD_SUBNET must be private and hold 64 addresses, not {found}")
    return found


def gateway() -> str:
    """This machine's address in the boards' network, where the lab registry listens."""
    return str(subnet()[1])


def registry_record() -> Path:
    """The file in which the lab registry says where it listens while it runs."""
    return cache_dir("lab", "registry") / "running.json"


def free_address(preferred: str, taken: Iterable[str]) -> str:
    """``preferred`` when no running board has it, else the first free address."""
    net, used = subnet(), set(taken)
    candidates = [str(net[index]) for index in range(_FIRST, net.num_addresses - 1)]
    if preferred in candidates and preferred not in used:
        return preferred
    for address in candidates:
        if address not in used:
            return address
    raise PinnaceError(f"all {len(candidates)} addresses of {net} are in use by boards")


def up() -> None:
    """Make the bridge unless it is there. Needs root."""
    if os.path.exists(f"/sys/class/net/{BRIDGE}"):
        return
    done = subprocess.run(["ip", "-j", "-4", "route", "show"], capture_output=True, text=True, check=False)  # fmt: skip
    if clash := clashing_route(done.stdout):
        raise MissingPrerequisite(
            f"this machine already has a route for the boards' subnet {subnet()}: {clash}",
            hint="choose another one with PINNACE_BOARD_SUBNET",
        )
    try:
        _ip("link", "add", BRIDGE, "type", "bridge")
        _ip("address", "add", f"{gateway()}/{subnet().prefixlen}", "dev", BRIDGE)
        _ip("link", "set", BRIDGE, "up")
    except PinnaceError:
        down()
        raise


def clashing_route(routes: str) -> str:
    """The first route in the output of ``ip -j route`` that overlaps the subnet, or nothing."""
    for route in json.loads(routes or "[]"):
        destination = route.get("dst", "default")
        if destination != "default" and ipaddress.IPv4Network(destination).overlaps(subnet()):
            return f"{destination} dev {route.get('dev', '?')}"
    return ""


def down() -> None:
    """Take the bridge away, when it is there."""
    unplug(BRIDGE)


def hardware_address(address: str) -> str:
    """The MAC address of the board at ``address``: always the same.

    This machine and other boards remember which one belongs to the address; after a reboot with
    another one they would talk to nobody for half a minute. Locally administered (IEEE 802).
    """
    return "02:70:" + ":".join(f"{byte:02x}" for byte in ipaddress.IPv4Address(address).packed)


def plug(link: str, pid: int, address: str) -> None:
    """Connect the network namespace of ``pid`` with the bridge: ``eth0`` there, ``link`` here."""
    unplug(link)
    peer = ["peer", "name", "eth0", "address", hardware_address(address), "netns", str(pid)]
    _ip("link", "add", link, "type", "veth", *peer)
    _ip("link", "set", link, "master", BRIDGE, "up")


def unplug(link: str) -> None:
    """Remove the link, when it is there; its other end goes with it."""
    if os.path.exists(f"/sys/class/net/{link}"):
        subprocess.run(["ip", "link", "delete", link], capture_output=True, check=False)


def configure_inside(address: str) -> None:
    """Configure the board's end; called in the board's network namespace."""
    _ip("link", "set", "lo", "up")
    _ip("address", "add", f"{address}/{subnet().prefixlen}", "dev", "eth0")
    _ip("link", "set", "eth0", "up")
    _ip("route", "add", "default", "via", gateway())


def _ip(*words: str) -> None:
    run(["ip", *words], f"ip {' '.join(words)}")
