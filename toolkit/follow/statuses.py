"""Statuses that boards push: believed when a board's own SSH host key signed them, which this machine knows."""

from __future__ import annotations

import json
import subprocess
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from toolkit import boards, console
from toolkit.agent.follow import artifact
from toolkit.agent.follow.report import NAMESPACE
from toolkit.agent.registry import Registry, RegistryError
from toolkit.connection.hostkeys import KnownHosts
from toolkit.errors import HostFailed, HostUnreachable, PinnaceError
from toolkit.follow.places import tag_of
from toolkit.follow.releases import failed
from toolkit.provision.health import Health
from toolkit.provision.selection import Selected

_COLUMNS = ("HOST", "TAG", "RELEASE", "RESULT", "HEALTH", "SEEN", "WHY")


@dataclass(frozen=True, slots=True)
class Status:
    """What a board said of itself; ``document`` as ``toolkit/agent/follow/report.py`` writes it."""

    document: Mapping[str, Any]

    @property
    def health(self) -> Health:
        return Health(frozenset(self.document["working"]), frozenset(self.document["broken"]))

    @property
    def age(self) -> float:
        """Seconds; the board's clock counts."""
        return time.time() - float(self.document["at"])


def read(registry: Registry, host: Selected, known: KnownHosts) -> Status | None:
    """A host's status, ``None`` when it never pushed one; raises :class:`HostFailed` for one that is not its own."""
    name, repository = host.target.name, host.settings.follow
    try:
        _, _, data = registry.manifest(f"{repository}:status-{name}")
    except RegistryError as problem:
        if problem.kind == "NotFound":
            return None
        raise failed(f"{repository}:status-{name}", problem) from None
    try:
        text, signature = artifact.read_status(data)
        _verify(host, known, text, signature)
        document = json.loads(text)
        if document["format"] != 1 or document["host"] != name:
            raise ValueError(f"it is that of {document['host']}")
        float(document["at"])
        return Status(document)
    except (ValueError, KeyError, TypeError) as problem:
        raise HostFailed(f"{name}: the status in the registry is not its own: {problem}") from None


def _verify(host: Selected, known: KnownHosts, text: bytes, signature: str) -> None:
    name = host.target.name
    keys = _host_keys(host, known)
    if not keys:
        raise HostUnreachable(f"{name}: its host key is not known here, so nobody can tell whose status it is", hint="connect once: ./inv provision does")  # fmt: skip
    with tempfile.TemporaryDirectory(prefix="pinnace-status-") as scratch:
        signers, file = Path(scratch, "signers"), Path(scratch, "sig")
        signers.write_text("".join(f"board {key}\n" for key in keys))
        file.write_text(signature)
        done = subprocess.run(
            ["ssh-keygen", "-Y", "verify", "-f", str(signers), "-I", "board", "-n", NAMESPACE, "-s", str(file)],
            input=text, capture_output=True, check=False,
        )  # fmt: skip
    if done.returncode:
        raise ValueError("its signature is not by the host key that is known here")


def _host_keys(host: Selected, known: KnownHosts) -> list[str]:
    target = host.target
    if target.board:
        board = boards.get(target.board)
        return [board.host_key] if board.is_created else []
    address = target.address or target.name
    return known.keys_of(f"[{address}]:{target.port}" if target.port not in (None, 22) else address)


def show(found: Mapping[str, tuple[Selected, Status | PinnaceError | None]], *, as_json: bool) -> None:  # fmt: skip
    """A row for each host, or all as JSON."""
    if as_json:
        plain = {name: {"error": status.message} if isinstance(status, PinnaceError) else dict(status.document) if status else None for name, (_, status) in found.items()}  # fmt: skip
        console.out.print_json(json.dumps(plain))
        return
    console.table(_COLUMNS, [[name, tag_of(host), *_row(status)] for name, (host, status) in found.items()])  # fmt: skip


def _row(status: Status | PinnaceError | None) -> list[str]:
    if status is None:
        return ["-", "never reported", "-", "-", ""]
    if isinstance(status, PinnaceError):
        return ["-", "unknown", "-", "-", status.message]
    told = status.document
    refused = told.get("refused") or ""
    health = f"broken: {', '.join(told['broken'])}" if told["broken"] else "ok"
    ago = console.elapsed(max(0.0, status.age))
    return [str(told["release"] or "-"), "refused" if refused else str(told["result"] or "-"), health, f"{ago} ago", refused or told["message"] or ""]  # fmt: skip
