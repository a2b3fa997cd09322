"""The lab registry: one registry with TLS that boards and tests pull from, filled with real images.

It is started once and stays until it is stopped. Its certificate authority is kept in the state
directory; its data is a cache and can be deleted while it is stopped.
"""

from __future__ import annotations

import hashlib
import json
import os
import signal
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from toolkit import console
from toolkit import host as machine_host
from toolkit.arch import Arch
from toolkit.boards import machine, network
from toolkit.debian import locked
from toolkit.errors import PinnaceError
from toolkit.lab import images
from toolkit.lab.authority import Authority, ServerCertificate
from toolkit.lab.client import RegistryClient
from toolkit.lab.server import RegistryServer, answers
from toolkit.paths import cache_dir, state_dir
from toolkit.process import start_time

NAME = network.REGISTRY
"""The name that boards know it by; its port is the default one of HTTPS."""

_LOOPBACK = "127.0.0.1"
_STOP_LIMIT = 5.0


@dataclass(frozen=True, slots=True)
class Running:
    """The registry that runs: who it is, where it listens, and by which certificate."""

    pid: int
    started: int
    address: str
    port: int
    certificate: str

    @property
    def url(self) -> str:
        return f"https://{self.address}:{self.port}"

    def alive(self) -> bool:
        """Whether the process is still this one: a pid alone may have been given to another."""
        return start_time(self.pid) == self.started


def ca_certificate() -> Path:
    """The PEM file of the CA that signs the registry's certificate; made when there is none."""
    return _authority().ca_certificate()


def host() -> str:
    """What stands before the first slash of an image reference on a board."""
    return NAME


def running() -> Running | None:
    """The registry that runs now, or ``None``."""
    try:
        found = Running(**json.loads(_record().read_text()))
    except (OSError, ValueError, TypeError):
        return None
    return found if found.alive() else None


def start(address: str = "", port: int = 0, *, yes: bool = False) -> Running:
    """Start the registry unless it runs there already; returns when it answers.

    ``address`` is by default the gateway of the boards' network, which is made and kept up; a user
    without root, who cannot have that network, gets 127.0.0.1. ``port`` 0 is 443, or 5443 without
    root. One that listens elsewhere or whose certificate was renewed is started anew. ``yes``: install
    what the boards' network needs without asking.
    """
    root = os.geteuid() == 0
    address = address or (network.gateway() if root else _LOOPBACK)
    port = port or (443 if root else 5443)
    if address == network.gateway():
        machine_host.need_programs({"ip": "iproute2"}, yes=yes, why="the boards' network")
    with locked(_home() / "lock"):
        names = tuple(dict.fromkeys((NAME, "localhost", _LOOPBACK, address)))
        certificate = _authority().server(names)
        mark = hashlib.sha256(certificate.certificate.read_bytes()).hexdigest()
        now = running()
        same = now is not None and (now.address, now.port, now.certificate) == (address, port, mark)
        if now is not None and same and answers(address, port, tls=True):
            return now
        _stop(now)
        with console.step("lab registry") as step:
            begun = _start(address, port, certificate, mark)
            step.detail = begun.url
        _record().write_text(json.dumps(asdict(begun)))
    return begun


def _start(address: str, port: int, certificate: ServerCertificate, mark: str) -> Running:
    shared = address == network.gateway()
    if shared:
        machine.hold_network(_holder(), os.getpid())
    server = RegistryServer(_home(), address=address, port=port, certificate=certificate)
    try:
        server.start(detached=True)
    except BaseException:
        if shared:
            machine.drop_network(_holder())
        raise
    if shared:
        machine.hold_network(_holder(), server.pid)
    return Running(server.pid, start_time(server.pid), address, port, mark)


def stop() -> bool:
    """Stop it; whether there was one to stop."""
    with locked(_home() / "lock"):
        now = running()
        _stop(now)
        return now is not None


def fill(architectures: Iterable[Arch] = Arch, *, update: bool = False) -> int:
    """Start the registry when it does not run, and push what it lacks; returns how many images."""
    now = running() or start()
    with RegistryClient(now.url, trust=ca_certificate()) as client:
        return images.fill(client, list(architectures), update=update)


def contents() -> list[tuple[str, list[str]]]:
    """Each image (``library/nginx:latest``) with its platforms; raises when it does not run."""
    now = running()
    if now is None:
        raise PinnaceError("the lab registry does not run", hint="Start it: ./inv registry start")
    with RegistryClient(now.url, trust=ca_certificate()) as client:
        return [
            (f"{repository}:{tag}", _platforms(client, repository, tag))
            for repository in client.catalog()
            for tag in client.tags(repository)
        ]


def _platforms(client: RegistryClient, repository: str, tag: str) -> list[str]:
    document = client.manifest(repository, tag) or {}
    found = [entry.get("platform", {}) for entry in document.get("manifests", [])]
    keys = ("os", "architecture", "variant")
    return ["/".join(each[key] for key in keys if key in each) for each in found]


def _stop(now: Running | None) -> None:
    if now is not None:
        os.kill(now.pid, signal.SIGTERM)
        deadline = time.monotonic() + _STOP_LIMIT
        while now.alive() and time.monotonic() < deadline:
            time.sleep(0.02)
        if now.alive():
            os.kill(now.pid, signal.SIGKILL)
        if now.address == network.gateway():
            machine.drop_network(_holder())
    _record().unlink(missing_ok=True)


def _authority() -> Authority:
    return Authority(state_dir("lab", "ca"))


def _home() -> Path:
    return cache_dir("lab", "registry")


def _holder() -> str:
    """Its name among those that need the boards' network, where other people's registries are too."""
    return f"registry-{hashlib.sha256(str(_home().resolve()).encode()).hexdigest()[:8]}"


def _record() -> Path:
    return network.registry_record()
