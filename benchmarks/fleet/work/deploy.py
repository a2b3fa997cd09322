"""The work of the fleet benchmark, for pyinfra: 30 resources."""

import os

from pyinfra.operations import files, server, systemd

FILES = os.environ["FLEET_FILES"]
OWNED = {"user": "root", "group": "root", "_sudo": True}

server.group(group="fleet", _sudo=True)
server.user(user="fleet", group="fleet", home="/srv/fleet", shell="/bin/sh", create_home=False, ensure_home=False, _sudo=True)  # fmt: skip
for name in ("", "/etc", "/data", "/www", "/log", "/run"):
    files.directory(path=f"/srv/fleet{name}", mode="755", **OWNED)
for number in range(12):
    files.put(src=f"{FILES}/{number:02}.conf", dest=f"/srv/fleet/etc/{number:02}.conf", mode="644", **OWNED)  # fmt: skip
for unit in ("a", "b"):
    files.put(src=f"{FILES}/fleet.service", dest=f"/etc/systemd/system/fleet-{unit}.service", mode="644", **OWNED)  # fmt: skip
for name in ("one", "two", "three"):
    files.link(path=f"/srv/fleet/www/{name}", target=f"../data/{name}", _sudo=True)
    files.line(path="/etc/environment", line=f"FLEET_{name}=.*", replace=f"FLEET_{name}=yes", _sudo=True)  # fmt: skip
for unit in ("a", "b"):
    systemd.service(service=f"fleet-{unit}.service", running=True, enabled=True, _sudo=True)
