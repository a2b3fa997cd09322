"""The older registry keys of containerd's ``config.toml``: ``mirrors``, ``configs`` and ``auths``.

Source: containerd's docs/cri/registry.md. They count for registries that have no directory in certs.d.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from pinnace.errors import InvalidArgument
from pinnace.registry import hosts
from pinnace.registry.auth import IDENTITY
from pinnace.registry.credentials import decode
from pinnace.registry.hosts import PULL, RESOLVE, Found, Host

if TYPE_CHECKING:
    from collections.abc import Mapping

_TLS = frozenset(("ca_file", "cert_file", "key_file", "insecure_skip_verify"))


class Keys(NamedTuple):
    """The three tables as the file has them; *where* is the path of the table above them."""

    mirrors: Mapping[str, Any]
    configs: Mapping[str, Any]
    auths: Mapping[str, Any]
    where: str = "registry"

    def find(self, registry: str, *, plain_http: bool = False) -> Found | None:
        """The hosts to ask for a registry, or None when nothing is said of it.

        Raises InvalidArgument with the key of a wrong value.
        """
        name = registry if registry in self.mirrors else "*"
        endpoints = self._endpoints(name) if name in self.mirrors else []
        if not endpoints and registry not in self.configs:
            return None
        upstream = hosts.upstream(registry, plain_http)
        listed = [self._mirror(url, registry, name) for url in endpoints]
        if not any(host.address == upstream.address for host in listed):
            listed.append(upstream)
        warnings: list[str] = []
        made = tuple(self._with_tls(host, registry, warnings) for host in listed)
        return Found(made, f"{self.where}.mirrors and .configs", tuple(warnings))

    def _endpoints(self, name: str) -> list[str]:
        where = f'{self.where}.mirrors."{name}"'
        table = self.mirrors[name]
        endpoints = table.get("endpoint", []) if isinstance(table, dict) else None
        if not isinstance(endpoints, (list, tuple)):
            raise InvalidArgument(f"{where}: endpoint must be a list of URLs")
        return [str(url) for url in endpoints]

    def _mirror(self, url: str, registry: str, name: str) -> Host:
        where = f'{self.where}.mirrors."{name}".endpoint'
        scheme, address, path = hosts.split(url, where)
        own = address in (registry, hosts.upstream(registry, False).address)
        if not path.endswith("/v2"):
            path += "/v2"
        return Host(
            scheme, address, path, frozenset((PULL, RESOLVE)) if not own else hosts.ALL,
            stands_for="" if own else registry,
        )  # fmt: skip

    def _with_tls(self, host: Host, registry: str, warnings: list[str]) -> Host:
        for key in (host.address, "" if host.stands_for else registry):
            table = self.configs.get(key)
            if isinstance(table, dict) and "tls" in table:
                where = f'{self.where}.configs."{key}".tls'
                return self._secured(host, table["tls"], where, warnings)
        return host

    def _secured(self, host: Host, tls: Any, where: str, warnings: list[str]) -> Host:
        if not isinstance(tls, dict):
            raise InvalidArgument(f"{where} must be a table")
        warnings += [f"{where}.{key}: not known and ignored" for key in sorted(tls.keys() - _TLS)]
        files = {key: tls.get(key, "") for key in ("ca_file", "cert_file", "key_file")}
        for key, value in files.items():
            if not isinstance(value, str):
                raise InvalidArgument(f"{where}.{key} must be a file")
        skip = tls.get("insecure_skip_verify", False)
        if not isinstance(skip, bool):
            raise InvalidArgument(f"{where}.insecure_skip_verify must be true or false")
        pair = (files["cert_file"], files["key_file"] or files["cert_file"])
        return host._replace(
            ca=(files["ca_file"],) if files["ca_file"] else (),
            client=(pair,) if pair[0] else (),
            skip_verify=skip,
        )

    def login(self, address: str) -> tuple[str, str]:
        """The login for a host: user name and password, both empty without one."""
        tables = [
            (f'{self.where}.configs."{key}".auth', (self.configs.get(key) or {}).get("auth"))
            for key in _names(address)
        ]
        tables += [
            (f'{self.where}.auths."{key}"', self.auths[key])
            for key in self.auths
            if _host_of(key) in _names(address)
        ]
        for where, table in tables:
            if isinstance(table, dict):
                return _login(table, where)
        return "", ""


def _names(address: str) -> tuple[str, ...]:
    return (address, "docker.io") if address == "registry-1.docker.io" else (address,)


def _host_of(key: str) -> str:
    return key.partition("://")[2].partition("/")[0] if "://" in key else key


def _login(table: dict[str, Any], where: str) -> tuple[str, str]:
    words = {key: table.get(key, "") for key in ("username", "password", "auth", "identitytoken")}
    for key, value in words.items():
        if not isinstance(value, str):
            raise InvalidArgument(f"{where}.{key} must be a string")
    if words["identitytoken"]:
        return IDENTITY, words["identitytoken"]
    if words["auth"]:
        return decode(words["auth"], where)
    return words["username"], words["password"]
