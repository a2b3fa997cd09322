"""Registries as ``config.toml`` has them: the one resolver that the daemon and every command use."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from pinnace.errors import Error
from pinnace.registry import hosts
from pinnace.registry.legacy import Keys

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from pinnace.daemon.config import Config
    from pinnace.registry.auth import Credentials
    from pinnace.registry.hosts import Found, Host
    from pinnace.registry.resolver import Resolver

_WHERE = 'plugins."io.containerd.cri.v1.images".registry'


def resolver(
    config: Config,
    *,
    directory: str = "",
    credentials: Credentials | None = None,
    anonymous: bool = False,
    plain_http: bool = False,
    insecure: bool = False,
    certificates: str = "",
    headers: Sequence[tuple[str, str]] = (),
    on_warning: Callable[[str], None] | None = None,
) -> Resolver:
    """A resolver; see :class:`Resolver` for the rest. *directory* is used instead of those of *config*.

    With *anonymous* the logins of *config* are not used either.
    """
    from pinnace.registry.resolver import Resolver

    keys = _keys(config)

    def login(address: str) -> tuple[str, str]:
        given = credentials(address) if credentials else ("", "")
        return given if any(given) or anonymous else keys.login(address)

    return Resolver(
        [directory] if directory else directories(config),
        credentials=login,
        plain_http=plain_http,
        insecure=insecure,
        certificates=certificates,
        headers=headers,
        fallback=None if directory else lambda name: keys.find(name, plain_http=plain_http),
        on_warning=on_warning,
    )


def directories(config: Config) -> tuple[str, ...]:
    """The directories in the form of certs.d, whichever of the two settings names them."""
    names = ("transfer_config_path", "registry_config_path")
    given = [name for name in names if name in config.given] or [names[0]]
    return tuple(dict.fromkeys(path for name in given for path in config.paths(name)))


def _keys(config: Config) -> Keys:
    return Keys(
        config["registry_mirrors"], config["registry_configs"], config["registry_auths"], _WHERE
    )


def describe(config: Config) -> Iterator[str]:
    """For people: the hosts that are asked for each registry that something is said of, in order."""
    folders, keys = directories(config), _keys(config)
    names = sorted(_named(folders) | keys.mirrors.keys() | keys.configs.keys())
    if names:
        yield f"Registries, as all commands ask for them (certs.d: {':'.join(folders)})"
    for name in names:
        registry = "_default" if name == "*" else name
        try:
            found = hosts.find(registry, folders)
            if not found.source:
                found = keys.find(name) or found
        except Error as problem:
            yield f"  {name}: {problem}"
            continue
        yield from _described(name, found)


def _described(name: str, found: Found) -> Iterator[str]:
    yield f"  {'all others' if name in ('_default', '*') else name} ({found.source})"
    for number, host in enumerate(found.hosts, 1):
        yield f"    {number}. {_shown(host)}"
    for warning in found.warnings:
        yield f"    warning: {warning}"


def _shown(host: Host) -> str:
    address = "the registry itself" if "_default" in host.address else f"{host.url}{host.path}"
    notes = [", ".join(sorted(host.capabilities))]
    if host.skip_verify:
        notes.append("certificate not checked")
    notes += [f"ca {path}" for path in host.ca]
    return f"{address} ({'; '.join(notes)})"


def _named(folders: Sequence[str]) -> set[str]:
    """The registries that have a directory; ``host_port_`` is ``host:port``."""
    found = set()
    for folder in folders:
        try:
            names = os.listdir(folder)
        except OSError:
            continue
        for name in names:
            if os.path.isdir(os.path.join(folder, name)):
                host, mark, port = name.removesuffix("_").rpartition("_")
                found.add(f"{host}:{port}" if mark and host and port.isdecimal() and name.endswith("_") else name)  # fmt: skip
    return found
