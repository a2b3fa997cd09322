"""Plans of several hosts, packed and signed together."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from roles.context import Board
from toolkit import console, oci
from toolkit.agent.signed import FORMAT
from toolkit.airgap import facts as known_facts
from toolkit.airgap.later import without_values
from toolkit.airgap.plans import Noted, Packed, Packer
from toolkit.connection.hostkeys import KnownHosts
from toolkit.connection.sudo import SudoPassword
from toolkit.debian import locked
from toolkit.errors import UsageError
from toolkit.paths import give_to_user, state_dir
from toolkit.plan.compile import compile_plan
from toolkit.provision.converge import lab, release_for
from toolkit.provision.selection import Selected
from toolkit.resources import Content
from toolkit.signing.keys import Signer, sign

_NAMED = 3
"""Hosts that are named where many have the same plan."""


@dataclass(frozen=True, slots=True)
class Chosen:
    """Which part of the plans, and with what in them."""

    roles: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    skip_tags: tuple[str, ...] = ()
    packages: bool = True


@dataclass(frozen=True, slots=True)
class Made:
    """A signed index, and every content that it names."""

    index: bytes
    signature: str
    contents: Mapping[str, Content]
    names: Mapping[str, tuple[str, str]]
    release: int

    @property
    def digest(self) -> str:
        return hashlib.sha256(self.index).hexdigest()


def plan_of(host: Selected, known: KnownHosts, password: SudoPassword, chosen: Chosen) -> Packed:
    """A host's plan as it travels; raises :class:`toolkit.errors.PinnaceError`."""
    found = Noted(known_facts.of(host, known, password))
    board = Board(
        name=host.target.name,
        settings=without_values(host.settings),
        facts=found,
        release=lambda: release_for(host.target.name, found),
        lab=lab() if host.target.board else None,
    )
    plan = compile_plan(chosen.roles or host.settings.roles, board)
    plan = plan.only(chosen.tags, chosen.skip_tags)
    place = _lab_url() if board.lab else None
    return Packer(board, plan, found, packages=chosen.packages, lab=place).pack()


def _lab_url() -> tuple[str, str] | None:
    """The lab registry's name, and where this machine reaches it."""
    from toolkit.lab import registry

    now = registry.running()
    return (registry.host(), now.url) if now else None


def make(plans: Mapping[str, Packed], signer: Signer, *, release: int = 0, expires: float = 0) -> Made:  # fmt: skip
    """Put plans together and sign them.

    ``release`` orders what is made: boards take on nothing older than what they had. 0: the time now in
    seconds, or that of the last one made here when that is the same. ``expires``: seconds since 1970, or 0.
    """
    contents: dict[str, Content] = {}
    names: dict[str, tuple[str, str]] = {}
    hosts: dict[str, Any] = {}
    for name, packed in sorted(plans.items()):
        content = Content(packed.text)
        contents |= {content.digest: content, **packed.contents}
        names |= packed.names
        hosts[name] = {"plan": content.digest, "facts": packed.facts}
    whose: dict[str, list[str]] = {}
    for name, host in hosts.items():
        whose.setdefault(host["plan"], []).append(name)
    names |= {digest: ("plan", _some(same)) for digest, same in whose.items()}
    blobs = {digest: content.size for digest, content in contents.items()}
    body = {"format": FORMAT, "hosts": hosts, "blobs": blobs, "expires": int(expires)}
    count = number(hashlib.sha256(oci.to_json(body)).hexdigest(), release)
    index = oci.to_json({**body, "release": count})
    with console.step("sign") as step:
        signature = sign(index, signer)
        step.detail = f"release {count} by {signer.name} ({signer.fingerprint})"
    return Made(index, signature, contents, names, count)


def _some(hosts: list[str]) -> str:
    """Hosts that have one plan, in a cell of a table."""
    more = len(hosts) - _NAMED
    return ", ".join(hosts[:_NAMED]) + (f" and {more} more" if more > 0 else "")


def number(digest: str, chosen: int = 0) -> int:
    """A number above all that were given here before, unless the latest was for the same.

    One that was ``chosen`` is taken as it is; when it is the highest, others count on from it.
    """
    fixed = os.environ.get("SOURCE_DATE_EPOCH", "")
    if fixed and not chosen:
        if not fixed.isdecimal():
            raise UsageError(f"SOURCE_DATE_EPOCH={fixed!r} is not a number of seconds")
        return int(fixed)
    path = state_dir("signing") / "latest.json"
    with locked(path.with_suffix(".lock")):
        try:
            found = json.loads(path.read_text())
            last, what = int(found["release"]), str(found["content"])
        except (OSError, ValueError, KeyError, TypeError):
            last, what = 0, ""
        if chosen and chosen < last:
            return chosen
        if digest and what == digest and chosen in (0, last):
            return last
        number = chosen or max(int(time.time()), last + 1)
        path.write_text(json.dumps({"release": number, "content": digest}))
        give_to_user(path)
    return number
