"""Secrets do not travel: what holds one is left open in a plan, and filled in by who provisions it."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any

from roles.context import Board
from toolkit.errors import HostFailed
from toolkit.inventory.settings import Settings
from toolkit.plan.compile import resources
from toolkit.plan.model import Plan, Planned
from toolkit.resources import Resource
from toolkit.secrets.secret import Secret

FIELDS = ("digest", "size", "key", "password")
"""What of a resource tells of its secret."""
_NOTHING = b"$6$placeholder$" + 86 * b"."
"""Long enough for a secret, and of the form of a password's hash."""


def without_values(settings: Settings) -> Settings:
    """The settings with secrets that say nothing: who makes a bundle need not have them."""
    changed = {name: _emptied(getattr(settings, name)) for name in ("secrets", "registry_auth")}
    return dataclasses.replace(settings, **changed)


def _emptied(value: Any) -> Any:
    if isinstance(value, Secret):
        return Secret(value.name, lambda: _NOTHING, origin=value.origin)
    if isinstance(value, Mapping):
        return {key: _emptied(item) for key, item in value.items()}
    return value


def opened(resource: Resource, wire: dict[str, Any]) -> dict[str, Any]:
    """``wire`` without what tells of a secret, where ``resource`` holds one; ``late`` says what is missing."""
    if not any(content.key for content in resource.contents):
        return wire
    kept = {name: value for name, value in wire.items() if name not in FIELDS}
    return {**kept, "late": [name for name in FIELDS if name in wire]}


def filled(plan: Plan, board: Board) -> tuple[dict[str, Any], Plan]:
    """The missing fields by resource, and those resources alone as a plan, from the roles and secrets here.

    Raises :class:`HostFailed` when the roles here do not know one.
    """
    wanted = {e.resource.id: e.role for e in plan.entries if "late" in e.resource.wire()}
    found = _found(wanted, dict.fromkeys(wanted.values()), board)
    missing = sorted(wanted.keys() - found.keys())
    if missing:
        raise HostFailed(f"{board.name}: {missing[0]} needs a secret, and neither roles nor inventory here know of it", hint="use those that the bundle was made with")  # fmt: skip
    wires = {name: resource.wire() for name, resource in found.items()}
    late = {name: {key: wire[key] for key in FIELDS if key in wire} for name, wire in wires.items()}
    contents = {content.digest: content for resource in found.values() for content in resource.contents}  # fmt: skip
    entries = tuple(Planned(wanted[name], resource) for name, resource in found.items())
    return late, Plan(entries, (), contents)


def _found(wanted: Mapping[str, str], roles: Iterable[str], board: Board) -> dict[str, Resource]:
    if not wanted:
        return {}
    return {each.id: each for each in resources(roles, board) if each.id in wanted}
