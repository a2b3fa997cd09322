"""The variables that roles and connections read: their names, types, defaults and checks.

An inventory may set any variable; :func:`resolve` decides what they mean for one host and refuses wrong
values, names that look like a slip, and variables of Ansible's that ask for what is not done here, naming
the line that set them, before anything is sent.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from toolkit.errors import UsageError
from toolkit.inventory import checks
from toolkit.inventory.model import PRIORITY, Inventory, Variable
from toolkit.secrets import references
from toolkit.secrets.secret import Secret

ROLES = ("base", "kernel", "registry", "runtime")
SANDBOX_IMAGE = "registry.k8s.io/pause:3.10.2"


def _nothing() -> Mapping[str, Any]:
    return MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Target:
    """How to reach a board.

    Attributes:
        name: its name in the inventory.
        address: host name or IP; empty means ``name``, looked up in ``~/.ssh/config`` too.
        port, user, key_file: ``None`` where ``~/.ssh/config`` and the defaults decide.
        jump: hosts to go through, nearest first, each ``[user@]host[:port]``.
        python: interpreter that runs the agent there.
        board: the emulated board to create and start first, empty for a real one.
        password, become_password: to log in with, where it takes one and no key, and for sudo; ``None`` where
            they are asked for.
    """

    name: str
    address: str = ""
    port: int | None = None
    user: str | None = None
    key_file: str | None = None
    jump: tuple[str, ...] = ()
    python: str = "python3"
    board: str = ""
    password: Secret | None = None
    become_password: Secret | None = None


@dataclass(frozen=True, slots=True)
class Settings:
    """What group and host variables choose for a board; field names are the variables' names."""

    roles: tuple[str, ...] = ROLES
    hostname: str = ""
    packages: tuple[str, ...] = ()
    sysctls: Mapping[str, Any] = field(default_factory=_nothing)
    clock_tolerance: int = 60
    memory_cgroup: bool = True
    config_version: int = 3
    sandbox_image: str = SANDBOX_IMAGE
    snapshotter: str = "overlayfs"
    cgroup_driver: str = "cgroupfs"
    max_concurrent_downloads: int = 3
    log_level: str = "info"
    root: str = "/var/lib/pinnace"
    state: str = "/run/pinnace"
    stream_server_address: str = "127.0.0.1"
    stream_server_port: int = 0
    registry_config_path: str = "/etc/pinnace/certs.d"
    registry_mirrors: Mapping[str, tuple[Mapping[str, Any], ...]] = field(default_factory=_nothing)
    registry_ca: Mapping[str, str] = field(default_factory=_nothing)
    registry_auth: Mapping[str, Mapping[str, Any]] = field(default_factory=_nothing)
    secrets: Mapping[str, Secret] = field(default_factory=_nothing)
    allowed_signers: str = ""
    revoked_keys: str = ""
    follow: str = ""
    follow_tag: str = ""
    follow_interval: int = 300
    follow_confirm: int = 60
    follow_authfile: str = ""


_TARGET: dict[str, tuple[str, checks.Check]] = {
    "ansible_host": ("address", checks.host),
    "ansible_port": ("port", checks.integer(1, 65535)),
    "ansible_user": ("user", checks.user),
    "ansible_ssh_private_key_file": ("key_file", checks.local_path),
    "ansible_python_interpreter": ("python", checks.text),
    "ansible_ssh_common_args": ("jump", checks.proxy_jump),
    "jump_host": ("jump", checks.list_of(checks.text)),
    "board": ("board", checks.text),
    "ansible_password": ("password", checks.secret),
    "ansible_become_password": ("become_password", checks.secret),
}
# Ansible's older names for the same thing.
_ALIASES = {
    "ansible_ssh_host": "ansible_host",
    "ansible_ssh_port": "ansible_port",
    "ansible_ssh_user": "ansible_user",
    "ansible_private_key_file": "ansible_ssh_private_key_file",
    "ansible_ssh_pass": "ansible_password",
    "ansible_ssh_password": "ansible_password",
    "ansible_become_pass": "ansible_become_password",
}
# What is so anyway, for inventories that say it.
_AGREED: dict[str, checks.Check] = {
    "ansible_connection": checks.one_of("ssh", "paramiko", "paramiko_ssh", "smart"),
    "ansible_become": checks.boolean,
    "ansible_become_method": checks.one_of("sudo"),
    "ansible_become_user": checks.one_of("root"),
}
_SETTINGS: dict[str, checks.Check] = {
    "roles": checks.list_of(checks.text),
    "hostname": checks.host,
    "packages": checks.list_of(checks.text),
    "sysctls": checks.mapping(checks.sysctl, checks.text),
    "clock_tolerance": checks.integer(1, 86400),
    "memory_cgroup": checks.boolean,
    "config_version": checks.one_of(2, 3),
    "sandbox_image": checks.image,
    "snapshotter": checks.one_of("overlayfs", "native"),
    "cgroup_driver": checks.one_of("cgroupfs", "systemd"),
    "max_concurrent_downloads": checks.integer(1, 64),
    "log_level": checks.one_of("trace", "debug", "info", "warn", "error", "fatal", "panic"),
    "root": checks.absolute,
    "state": checks.absolute,
    "stream_server_address": checks.host,
    "stream_server_port": checks.integer(0, 65535),
    "registry_config_path": checks.absolute,
    "registry_mirrors": checks.mapping(checks.registry, checks.list_of(checks.mirror)),
    "registry_ca": checks.mapping(checks.registry, checks.local_file),
    "registry_auth": checks.mapping(checks.registry, checks.login),
    "secrets": checks.mapping(checks.text, checks.secret),
    "allowed_signers": checks.local_file,
    "revoked_keys": checks.local_file,
    "follow": checks.repository,
    "follow_tag": checks.tag,
    "follow_interval": checks.integer(5, 86400),
    "follow_confirm": checks.integer(5, 3600),
    "follow_authfile": checks.absolute,
}
_NOT_SHOWN = frozenset({"registry_auth", "secrets", "ansible_password", "ansible_become_password"})
"""Variables in which somebody may have written a password."""


def known_variables() -> list[str]:
    """The names that an inventory may set, sorted."""
    return sorted([*_TARGET, *_ALIASES, *_AGREED, *_SETTINGS])


def resolve(inventory: Inventory, host: str) -> tuple[Target, Settings]:
    """What the inventory says about ``host``; raises :class:`UsageError` with file and line."""
    target: dict[str, Any] = {"name": host}
    settings: dict[str, Any] = {}
    agreed: dict[str, Any] = {}
    for name, variable in inventory.variables(host).items():
        key = _ALIASES.get(name, name)
        if key in _TARGET:
            (field_name, check), into = _TARGET[key], target
        elif key in _SETTINGS:
            (field_name, check), into = (key, _SETTINGS[key]), settings
        elif key in _AGREED:
            (field_name, check), into = (key, _AGREED[key]), agreed
        else:
            _check_foreign(name, variable)
            continue
        try:
            into[field_name] = check(_named(variable, inventory))
        except ValueError as problem:
            shown = name if key in _NOT_SHOWN else f"{name} = {variable.value!r}"
            raise UsageError(f"{variable.origin}: {shown}: {problem}") from problem
    return Target(**target), Settings(**settings)


def _named(variable: Variable, inventory: Inventory) -> Any:
    """The value, with secrets that are named as text (the INI form has no tags) in it."""
    base = Path(inventory.path).parent
    return references.found_in(variable.value, base=base, origin=str(variable.origin))


def _check_foreign(name: str, variable: Variable) -> None:
    """A variable for somebody else's use is none of ours; a slip in one of ours is an error."""
    near = difflib.get_close_matches(name, known_variables(), n=1, cutoff=0.8)
    if near:
        raise UsageError(f"{variable.origin}: unknown variable {name!r}", hint=f"did you mean {near[0]!r}?")  # fmt: skip
    if name.startswith("ansible_") and name != PRIORITY:
        raise UsageError(
            f"{variable.origin}: {name!r} is a variable of Ansible's that has no meaning here",
            hint="docs/provisioning.md lists those that have",
        )
