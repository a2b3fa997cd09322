"""Where boards look: repositories and tags of the inventory, and this machine's way to their registry."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from toolkit.agent.registry import Registry
from toolkit.errors import UsageError
from toolkit.paths import RUNTIME
from toolkit.provision.selection import Selected


def tag_of(host: Selected) -> str:
    """The tag that a host follows."""
    return host.settings.follow_tag or host.target.name


def repository_of(hosts: Iterable[Selected], named: str = "") -> str:
    """The one repository that hosts follow, or the one that is named; raises :class:`UsageError`."""
    found = {host.settings.follow for host in hosts}
    if "" in found:
        name = next(host.target.name for host in hosts if not host.settings.follow)
        raise UsageError(f"{name} follows no registry", hint="follow=registry.example/fleet in the inventory, and the role agent")  # fmt: skip
    if len(found) > 1:
        raise UsageError(f"the hosts follow several repositories: {', '.join(sorted(found))}", hint="one --limit for each")  # fmt: skip
    [repository] = found
    if named and named != repository:
        raise UsageError(f"--to {named}: the hosts follow {repository}")
    return repository


@contextmanager
def client(hosts: Iterable[Selected]) -> Iterator[Registry]:
    """A client of the registry that these hosts follow, with the certificates that they know it by."""
    with tempfile.TemporaryDirectory(prefix="pinnace-certs-") as scratch:
        for host in hosts:
            _certificates(Path(scratch), host)
        with Registry(str(RUNTIME), [scratch]) as registry:
            yield registry


def _certificates(place: Path, host: Selected) -> None:
    name = host.settings.follow.partition("/")[0]
    if (place / name).exists():
        return
    server, ca = _lab(name)
    ca = host.settings.registry_ca.get(name, ca)
    if not ca:
        return  # a certificate that everybody knows, or a registry of this machine
    (place / name).mkdir()
    url = server or f"https://{name}"
    text = f"server = {json.dumps(url)}\nca = {json.dumps(str(Path(ca).resolve()))}\n"
    (place / name / "hosts.toml").write_text(text)


def _lab(name: str) -> tuple[str, str]:
    """The lab registry, which only boards can look up by its name."""
    from toolkit.lab import registry

    now = registry.running() if name == registry.host() else None
    return (now.url, str(registry.ca_certificate())) if now else ("", "")
