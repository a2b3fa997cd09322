"""Which hosts to ask for a registry, in order, and how: hosts.toml and Docker's certs.d.

Source: containerd's docs/hosts.md. ``<dir>/<host>_<port>_/``, ``<dir>/<host>:<port>/`` and
``<dir>/_default/`` are looked for, the first that exists wins; in it ``hosts.toml``, or Docker's
``*.crt``, ``*.cert`` and ``*.key``. Files are read anew for each image: no restart is needed.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, NamedTuple

from pinnace.errors import InvalidArgument

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

PULL, RESOLVE, PUSH = "pull", "resolve", "push"
ALL = frozenset((PULL, RESOLVE, PUSH))
_DOCKER = {"docker.io": "registry-1.docker.io"}
_KEYS = frozenset(
    ("capabilities", "ca", "client", "skip_verify", "header", "override_path", "dial_timeout")
)


class Host(NamedTuple):
    """One host to ask; ``path`` is what comes before ``/<repository>/manifests/...``."""

    scheme: str
    address: str
    path: str = "/v2"
    capabilities: frozenset[str] = ALL
    ca: tuple[str, ...] = ()
    client: tuple[tuple[str, str], ...] = ()
    skip_verify: bool = False
    headers: tuple[tuple[str, str], ...] = ()
    dial_timeout: float = 30.0
    # The registry that a mirror stands in for, sent as ns=; empty for the registry itself.
    stands_for: str = ""

    @property
    def url(self) -> str:
        """Scheme and address, for messages."""
        return f"{self.scheme}://{self.address}"


class Found(NamedTuple):
    """Hosts in order, and what in the files was not understood."""

    hosts: tuple[Host, ...]
    source: str = ""
    warnings: tuple[str, ...] = ()


def find(registry: str, directories: Sequence[str], *, plain_http: bool = False) -> Found:
    """The hosts to ask for *registry*; the registry itself comes last (or alone).

    Raises InvalidArgument with file, and line or key, for what cannot be read.
    """
    for directory in directories:
        for name in _directory_names(registry):
            path = os.path.join(directory, name)
            if not os.path.isdir(path):
                continue
            toml = os.path.join(path, "hosts.toml")
            if os.path.exists(toml):
                return _from_toml(registry, toml, plain_http)
            certificates = docker_certificates(path)
            return Found((upstream(registry, plain_http)._replace(**certificates),), path)
    return Found((upstream(registry, plain_http),))


def _directory_names(registry: str) -> Iterable[str]:
    if "/" in registry or registry in ("", ".", ".."):
        raise InvalidArgument(f"invalid registry host {registry!r}")
    host, colon, port = registry.rpartition(":")
    if colon and port.isdecimal():
        yield f"{host}_{port}_"
    yield registry
    yield "_default"


def is_local(address: str) -> bool:
    """Whether the address is this machine, where plain HTTP does no harm."""
    host = address.rpartition(":")[0] if address.rpartition(":")[2].isdecimal() else address
    return host in ("localhost", "[::1]") or host.startswith("127.")


def upstream(registry: str, plain_http: bool) -> Host:
    """The registry itself, when no file says more of it."""
    address = _DOCKER.get(registry, registry)
    plain = plain_http or (is_local(address) and not address.endswith(":443"))
    return Host("http" if plain else "https", address)


def docker_certificates(path: str) -> dict[str, Any]:
    """Docker's layout: ``*.crt`` are CAs, ``x.cert`` with ``x.key`` is a client certificate.

    Returns fields of :class:`Host`; raises InvalidArgument for a directory that cannot be read.
    """
    try:
        names = sorted(os.listdir(path))
    except OSError as error:
        raise InvalidArgument(f"{path}: {error.strerror}") from None
    ca = tuple(os.path.join(path, name) for name in names if name.endswith(".crt"))
    client = tuple(
        (os.path.join(path, name), os.path.join(path, name[:-5] + ".key"))
        for name in names
        if name.endswith(".cert") and name[:-5] + ".key" in names
    )
    found: dict[str, Any] = {"ca": ca, "client": client}
    if ca or client:
        found["scheme"] = "https"
    return found


def _from_toml(registry: str, path: str, plain_http: bool) -> Found:
    import tomllib  # 20 ms that only a pull pays

    try:
        with open(path, "rb") as file:
            document = tomllib.load(file)
    except OSError as error:
        raise InvalidArgument(f"{path}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InvalidArgument(f"{path}: {error}") from None
    reader = _Reader(path)
    hosts = []
    tables = reader.table(document, "host")
    for url in tables:
        where = f'host."{url}"'
        table = reader.table(tables, url, where)
        hosts.append(reader.host(url, table, where, registry))
    own = {key: value for key, value in document.items() if key not in ("host", "server")}
    default = upstream(registry, plain_http)
    server = reader.text(document, "server") or default.url
    hosts.append(reader.host(server, own, "", registry))
    return Found(tuple(hosts), path, tuple(reader.warnings))


def split(url: str, where: str) -> tuple[str, str, str]:
    """Scheme, address and path of a host's URL; raises InvalidArgument naming *where* it stands."""
    scheme, mark, rest = url.partition("://")
    if not mark:
        scheme, rest = "https", url
    address, slash, path = rest.partition("/")
    if scheme not in ("http", "https") or not address or "@" in address or "?" in path:
        raise InvalidArgument(f"{where}: {url!r} is not a URL such as https://mirror.example:5000")
    return scheme, address, (slash + path).rstrip("/")


class _Reader:
    """Takes checked values out of the parsed file; knows the file for its messages."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.warnings: list[str] = []

    def error(self, key: str, why: str) -> InvalidArgument:
        return InvalidArgument(f"{self.path}: {key}: {why}")

    def table(self, document: dict[str, Any], key: str, where: str = "") -> dict[str, Any]:
        value = document.get(key, {})
        if not isinstance(value, dict):
            raise self.error(where or key, "must be a table")
        return value

    def text(self, document: dict[str, Any], key: str) -> str:
        value = document.get(key, "")
        if not isinstance(value, str):
            raise self.error(key, "must be a string")
        return value

    def host(self, url: str, table: dict[str, Any], where: str, registry: str) -> Host:
        prefix = f"{where}." if where else ""
        for key in table.keys() - _KEYS:
            self.warnings.append(f"{self.path}: {prefix}{key} is not known and ignored")
        scheme, address, path = split(url, f"{self.path}: {where or 'server'}")
        override = self._flag(table, "override_path", prefix)
        if not override and not path.endswith("/v2"):
            path += "/v2"
        stands_for = registry if address not in (registry, _DOCKER.get(registry)) else ""
        return Host(
            scheme,
            address,
            path,
            self._capabilities(table, prefix),
            tuple(self._absolute(name) for name in self._strings(table, "ca", prefix)),
            tuple(self._client(table, prefix)),
            self._flag(table, "skip_verify", prefix),
            tuple(self._headers(table, prefix)),
            self._seconds(table, "dial_timeout", prefix),
            stands_for,
        )

    def _flag(self, table: dict[str, Any], key: str, prefix: str) -> bool:
        value = table.get(key, False)
        if not isinstance(value, bool):
            raise self.error(prefix + key, "must be true or false")
        return value

    def _capabilities(self, table: dict[str, Any], prefix: str) -> frozenset[str]:
        if "capabilities" not in table:
            return ALL
        names = self._strings(table, "capabilities", prefix)
        for name in names:
            if name not in ALL:
                raise self.error(
                    f"{prefix}capabilities", f"{name!r} is none of pull, resolve, push"
                )
        return frozenset(names)

    def _strings(self, table: dict[str, Any], key: str, prefix: str) -> list[str]:
        value = table.get(key, [])
        values = [value] if isinstance(value, str) else value
        if not isinstance(values, list) or not all(isinstance(item, str) for item in values):
            raise self.error(prefix + key, "must be a string or a list of strings")
        return values

    def _absolute(self, name: str) -> str:
        return os.path.join(os.path.dirname(self.path), name)

    def _client(self, table: dict[str, Any], prefix: str) -> Iterable[tuple[str, str]]:
        value = table.get("client", [])
        for item in [value] if isinstance(value, str) else value:
            pair = [item, item] if isinstance(item, str) else item
            if isinstance(pair, list) and len(pair) == 1:
                pair = pair * 2
            if (
                not isinstance(pair, list)
                or len(pair) != 2
                or not all(isinstance(name, str) for name in pair)
            ):
                raise self.error(f"{prefix}client", "must be a file, or pairs of files")
            yield self._absolute(pair[0]), self._absolute(pair[1] or pair[0])

    def _headers(self, table: dict[str, Any], prefix: str) -> Iterable[tuple[str, str]]:
        headers = self.table(table, "header", f"{prefix}header")
        for name in headers:
            for value in self._strings(headers, name, f"{prefix}header."):
                if "\n" in value or "\r" in value:
                    raise self.error(f"{prefix}header.{name}", "must be one line")
                yield name, value

    def _seconds(self, table: dict[str, Any], key: str, prefix: str) -> float:
        value = table.get(key, "30s")
        units = {"ms": 0.001, "s": 1.0, "m": 60.0}
        for unit, factor in units.items():
            if isinstance(value, str) and value.endswith(unit):
                try:
                    return min(600.0, max(0.1, float(value[: -len(unit)]) * factor))
                except ValueError:
                    continue
        raise self.error(prefix + key, 'must be a duration such as "10s"')
