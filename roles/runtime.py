"""The container runtime: a release, its configuration, its two units and its commands."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

from roles.context import CURRENT, Board
from toolkit.resources import (
    Bundle,
    Directory,
    File,
    Handler,
    Link,
    Resource,
    Unit,
    render,
    template,
)

CONFIG = "/etc/pinnace/config.toml"
LOGINS = "/etc/pinnace/conf.d/50-registry-auth.toml"
COMMANDS = ("ctr", "pinnaced", "runc", "skopeo", "containerd-shim-pinnace-v2")
KEEPER = Handler.restart("pinnace-keeper.service")
DAEMON = Handler.restart("pinnaced.service")


def recipe(board: Board) -> Iterator[Resource]:
    settings = board.settings
    release = board.release()
    yield Bundle(
        release=release.id,
        archive=release.archive,
        unpacked=release.unpacked,
        notify=(KEEPER, DAEMON),
    )
    for command in COMMANDS:
        yield Link(path=f"/usr/local/bin/{command}", target=f"{CURRENT}/bin/{command}")

    yield Directory(path="/etc/pinnace")
    yield Directory(path=settings.root, mode="0711")
    values = {item.name: getattr(settings, item.name) for item in dataclasses.fields(settings)}
    yield template(CONFIG, "config.toml.j2", notify=(DAEMON,), **values)
    yield logins(board)
    socket = f"{settings.state}/pinnace.sock"
    yield template("/etc/crictl.yaml", "crictl.yaml.j2", socket=socket)
    if not board.facts["containerd"]:
        # Unmodified clients look there; the link has to come back at every boot.
        apply = Handler.command("systemd-tmpfiles", "--create", "/etc/tmpfiles.d/pinnace.conf")
        lines = f"d /run/containerd 0711 root root -\nL+ /run/containerd/containerd.sock - - - - {socket}\n"
        yield File(path="/etc/tmpfiles.d/pinnace.conf", source=lines.encode(), notify=(apply,))

    paths = {"current": CURRENT, "config": CONFIG, "state": settings.state}
    runtime_directory = settings.state.removeprefix("/run/")
    for unit in ("pinnace-keeper.service", "pinnaced.service"):
        source = render(f"{unit}.j2", runtime_directory=runtime_directory, **paths)
        yield Unit(unit=unit, source=source)


def logins(board: Board) -> File:
    """The logins of registries. Always there: one that the inventory has no longer is not to stay on the board."""
    settings = board.settings
    return template(
        LOGINS,
        "registry-auth.toml.j2",
        mode="0600",
        notify=(DAEMON,),
        config_version=settings.config_version,
        registry_auth=settings.registry_auth,
    )
