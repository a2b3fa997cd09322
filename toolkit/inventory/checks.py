"""Checks of single variable values: each returns the value in its own type or raises ``ValueError``.

They run on the laptop before anything is sent, so a message says what would have been right.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from toolkit.secrets.secret import Secret

Check = Callable[[Any], Any]

_HOSTNAME = re.compile(r"(?=.{1,253}\Z)[A-Za-z0-9](?:[A-Za-z0-9_-]{0,62})(?:\.[A-Za-z0-9_-]{1,63})*\Z")  # fmt: skip
# Domain, repository path, tag and digest as the distribution specification spells them.
_IMAGE = re.compile(
    r"(?:(?P<domain>[A-Za-z0-9.-]+(?::\d+)?|\[[0-9A-Fa-f:]+\](?::\d+)?)/)"
    r"[a-z0-9]+(?:(?:\.|_{1,2}|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:\.|_{1,2}|-+)[a-z0-9]+)*)*"
    r"(?::[A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?(?:@sha256:[0-9a-f]{64}|@sha512:[0-9a-f]{128})?\Z"
)
_BOOLEANS = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}
_CAPABILITIES = ("pull", "resolve", "push")


def text(value: Any) -> str:
    """One line of text."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise ValueError("it should be text")
    if any(ord(letter) < 32 for letter in str(value)) or not str(value):
        raise ValueError("it should be one line of text")
    return str(value)


def secret(value: Any) -> Secret:
    """What names a secret; the secret itself has no place in an inventory."""
    if not isinstance(value, Secret):
        raise ValueError("it should name a secret, not be one: !secret env:NAME, age:FILE#KEY, sops:FILE#KEY or command:WORDS")  # fmt: skip
    return value


def login(value: Any) -> dict[str, Any]:
    """A registry's login: ``{'username': ..., 'password': !secret ...}`` or ``{'identitytoken': !secret ...}``."""
    known: dict[str, Check] = {"username": text, "password": secret, "identitytoken": secret}
    if not isinstance(value, dict) or set(value) not in ({"username", "password"}, {"identitytoken"}):  # fmt: skip
        raise ValueError("a login is username and password, or an identitytoken")
    return {name: known[name](item) for name, item in value.items()}


def boolean(value: Any) -> bool:
    """``True``, or a word for it: Ansible's INI leaves ``true`` and ``yes`` as text."""
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.lower() in _BOOLEANS:
        return _BOOLEANS[value.lower()]
    raise ValueError("it should be true or false")


def integer(lowest: int, highest: int) -> Check:
    def check(value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int):
            raise ValueError(f"it should be a whole number from {lowest} to {highest}")
        if not lowest <= value <= highest:
            raise ValueError(f"it should be from {lowest} to {highest}")
        return value

    return check


def one_of(*allowed: str | int) -> Check:
    def check(value: Any) -> Any:
        if isinstance(value, bool) or value not in allowed:
            raise ValueError(f"it should be one of {', '.join(map(str, allowed))}")
        return value

    return check


def host(value: Any) -> str:
    """A host name or an IP address."""
    name = text(value)
    try:
        ipaddress.ip_address(name)
    except ValueError:
        # A word of digits and dots that is no address is a slip, not a host name.
        if not _HOSTNAME.match(name) or re.fullmatch(r"[\d.]+", name):
            raise ValueError("it should be a host name or an IP address") from None
    return name


def user(value: Any) -> str:
    name = text(value)
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_.-]{0,31}\$?", name):
        raise ValueError("it should be a user name")
    return name


def absolute(value: Any) -> str:
    """An absolute path on the board, without ``..``."""
    path = text(value)
    if not path.startswith("/") or ".." in path.split("/"):
        raise ValueError("it should be an absolute path without '..'")
    return path.rstrip("/") or "/"


def local_file(value: Any) -> str:
    """A readable file on the laptop, ``~`` expanded."""
    path = Path(text(value)).expanduser()
    if not path.is_file():
        raise ValueError(f"the file {path} does not exist on this machine")
    return str(path)


def local_path(value: Any) -> str:
    return str(Path(text(value)).expanduser())


def url(value: Any) -> str:
    """An http or https URL with a host and no query."""
    address = text(value)
    parts = urlsplit(address)
    try:
        valid = parts.scheme in ("http", "https") and bool(host(parts.hostname or ""))
        valid = valid and (parts.port or 1) > 0
    except ValueError:
        valid = False
    if not valid or parts.query or parts.fragment or parts.username or " " in address:
        raise ValueError(f"{address!r} is not a URL like https://mirror.example:5000")
    return address.rstrip("/")


def image(value: Any) -> str:
    """A fully named image: registry host, repository, tag or digest."""
    name = text(value)
    match = _IMAGE.match(name)
    if match is None or not re.search(r"[.:]|^localhost$|^\[", match["domain"]):
        raise ValueError("it should be a full image name like registry.example/pause:3.10")
    return name


def repository(value: Any) -> str:
    """A repository with its registry host, and neither tag nor digest."""
    name = image(value)
    if "@" in name or ":" in name.rpartition("/")[2]:
        raise ValueError("it should be a repository like registry.example/fleet, without a tag")
    return name


def tag(value: Any) -> str:
    """A tag of a registry (OCI distribution specification, "Pulling manifests")."""
    name = text(value)
    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}", name):
        raise ValueError("it should be a tag: letters, digits, '.', '_' and '-'")
    return name


def registry(value: Any) -> str:
    """A registry's host and port as image names carry it, or ``_default``."""
    name = text(value)
    if name == "_default":
        return name
    address, colon, port = name.rpartition(":")
    if colon and port.isdigit():
        integer(1, 65535)(int(port))
    else:
        address = name
    host(address)
    return name


def proxy_jump(value: Any) -> tuple[str, ...]:
    """The hosts to go through, from options for ssh that name nothing else: ``-J a,b``, ``-o ProxyJump=a``."""
    match = re.fullmatch(r"\s*(?:-J\s*|-o\s*ProxyJump[= ])(\S+)\s*", text(value), re.IGNORECASE)
    if match is None:
        raise ValueError("of ssh's options only -J and -o ProxyJump=... are understood here; ~/.ssh/config has room for others")  # fmt: skip
    return tuple(hop for hop in match[1].split(",") if hop)


def list_of(check: Check) -> Check:
    """A list, also written as words with commas between."""

    def check_list(value: Any) -> tuple[Any, ...]:
        if isinstance(value, str):
            value = [word.strip() for word in value.split(",") if word.strip()]
        if not isinstance(value, Sequence) or not value:
            raise ValueError("it should be a list")
        return tuple(check(item) for item in value)

    return check_list


def mapping(key: Check, item: Check) -> Check:
    def check_mapping(value: Any) -> dict[Any, Any]:
        if not isinstance(value, dict):
            raise ValueError("it should be a mapping like {'name': value}")
        checked = {}
        for name, content in value.items():
            try:
                checked[key(name)] = item(content)
            except ValueError as problem:
                raise ValueError(f"{name!r}: {problem}") from problem
        return checked

    return check_mapping


def mirror(value: Any) -> dict[str, Any]:
    """A mirror: its URL, or ``{'url': ..., 'capabilities': [...], 'skip_verify': ..., 'override_path': ...}``."""
    if isinstance(value, str):
        value = {"url": value}
    if not isinstance(value, dict) or "url" not in value:
        raise ValueError("a mirror is a URL, or a mapping with 'url'")
    known: dict[str, Check] = {
        "url": url,
        "capabilities": list_of(one_of(*_CAPABILITIES)),
        "skip_verify": boolean,
        "override_path": boolean,
    }
    for name in value:
        if name not in known:
            raise ValueError(f"{name!r} is not a key of a mirror: {', '.join(known)}")
    default = {"capabilities": ("pull", "resolve"), "skip_verify": False, "override_path": False}
    return {**default, **{name: known[name](value[name]) for name in value}}


def sysctl(value: Any) -> str:
    """A kernel parameter's dotted name."""
    name = text(value)
    if not re.fullmatch(r"[a-z0-9_]+(?:[./][A-Za-z0-9_:*-]+)+", name) or ".." in name:
        raise ValueError("it should be a kernel parameter like net.ipv4.ip_forward")
    return name
