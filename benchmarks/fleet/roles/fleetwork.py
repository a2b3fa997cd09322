"""The work of the fleet benchmark, for ours: 30 resources."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from roles.context import Board
from toolkit.resources import Directory, File, Group, Line, Link, Resource, Unit, User


def recipe(_: Board) -> Iterator[Resource]:
    files = Path(os.environ["FLEET_FILES"])
    yield Group(group="fleet")
    yield User(user="fleet", group="fleet", home="/srv/fleet", shell="/bin/sh", create_home=False)
    for name in ("", "/etc", "/data", "/www", "/log", "/run"):
        yield Directory(path=f"/srv/fleet{name}")
    for number in range(12):
        yield File(path=f"/srv/fleet/etc/{number:02}.conf", source=files / f"{number:02}.conf")
    yield File(path="/etc/systemd/system/fleet-a.service", source=files / "fleet.service")
    yield File(path="/etc/systemd/system/fleet-b.service", source=files / "fleet.service")
    for name in ("one", "two", "three"):
        yield Link(path=f"/srv/fleet/www/{name}", target=f"../data/{name}")
        yield Line(path="/etc/environment", match=f"^FLEET_{name}=", line=f"FLEET_{name}=yes")
    yield Unit(unit="fleet-a.service")
    yield Unit(unit="fleet-b.service")
