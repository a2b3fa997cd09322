"""What a board says of itself, signed with its SSH host key, under its own tag."""

from __future__ import annotations

import json
import os
import time

from toolkit.agent import health, status
from toolkit.agent.errors import AgentError
from toolkit.agent.follow import artifact

TYPE_CHECKING = False
if TYPE_CHECKING:
    from toolkit.agent.follow.memory import Memory
    from toolkit.agent.registry import Registry
    from toolkit.agent.system import System

NAMESPACE = "pinnace-status"
UNITS = ["pinnaced.service", "pinnace-keeper.service"]
KEYS = ("/etc/ssh/ssh_host_ed25519_key", "/etc/ssh/ssh_host_ecdsa_key", "/etc/ssh/ssh_host_rsa_key")  # fmt: skip


def look(system: System) -> health.Health:
    """What works here; raises :class:`AgentError` when systemd does not tell."""
    return health.read(system.check(["sh", "-c", health.COMMAND], 90))


def push(
    system: System,
    registry: Registry,
    reference: str,
    host: str,
    memory: Memory,
    found: health.Health,
) -> None:
    """Tell how it is; raises :class:`RegistryError` or :class:`AgentError`."""
    told = {name: memory.get(name, None) for name in ("manifest", "release", "result", "message", "counts", "run", "seen", "refused")}  # fmt: skip
    document = json.dumps({
        **told,
        "format": 1,
        "host": host,
        "at": int(time.time()),
        "working": sorted(found.working),
        "broken": sorted(found.broken),
        "status": status.gather(system, UNITS),
    }, sort_keys=True).encode()  # fmt: skip
    digest = registry.push(reference, document)
    empty = registry.push(reference, b"{}")
    manifest = artifact.status(document, digest, empty, sign(system, document))
    registry.push(f"{reference}:status-{host}", manifest, artifact.MANIFEST)


def sign(system: System, data: bytes) -> str:
    """The signature of ``data`` by the board's host key."""
    key = next((path for path in KEYS if system.lstat(path) is not None), None)
    if key is None:
        raise AgentError("the board has no SSH host key to sign its status with")
    place = f"/run/pinnace-status-{os.getpid()}"
    try:
        system.write(place, iter((data,)), 0o600, os.getuid(), os.getgid())
        system.check(["ssh-keygen", "-Y", "sign", "-q", "-f", system.path(key), "-n", NAMESPACE, system.path(place)])  # fmt: skip
        return system.read_text(f"{place}.sig")
    finally:
        for path in (place, f"{place}.sig"):
            if system.lstat(path) is not None:
                os.unlink(system.path(path))
