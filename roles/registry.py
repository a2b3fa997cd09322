"""Where images come from: a hosts.toml for each registry that has mirrors or its own authority.

Nothing restarts: hosts.toml is read at every pull.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

from roles.context import Board
from toolkit.resources import Directory, File, Resource, template


def recipe(board: Board) -> Iterator[Resource]:
    settings = board.settings
    authorities = {name: Path(path).read_bytes() for name, path in settings.registry_ca.items()}
    mirrors = dict(settings.registry_mirrors)
    if board.lab is not None:
        authorities.setdefault(board.lab.host, board.lab.ca)
        # Emulated boards have no way out: the lab stands in for Docker Hub, unless told otherwise.
        lab = {"url": f"https://{board.lab.host}", "capabilities": ("pull", "resolve")}
        mirrors.setdefault("docker.io", ({**lab, "skip_verify": False, "override_path": False},))

    def authority(name: str) -> str:
        return f"{settings.registry_config_path}/{name}/ca.crt" if name in authorities else ""

    yield Directory(path=settings.registry_config_path)
    for name in sorted({*authorities, *mirrors}):
        yield Directory(path=f"{settings.registry_config_path}/{name}")
        if name in authorities:
            yield File(path=authority(name), source=authorities[name])
        hosts = [
            {**item, "ca": authority(urlsplit(item["url"]).netloc)}
            for item in mirrors.get(name, ())
        ]
        yield template(
            f"{settings.registry_config_path}/{name}/hosts.toml",
            "hosts.toml.j2",
            registry=name,
            mirrors=hosts,
            ca=authority(name),
        )
