"""A plan: what one board should be, as data.

The plan names contents by digest; they travel only when the board asks for them.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from toolkit.errors import UsageError
from toolkit.resources import Content, Handler, Resource

_UNLIKELY = 8
"""Characters of a secret that do not stand in a plan by chance."""
_ORDER = {"reload-units": 0, "reboot": 2}


@dataclass(frozen=True, slots=True)
class Planned:
    """A resource and the role that declared it."""

    role: str
    resource: Resource

    @property
    def tags(self) -> frozenset[str]:
        """Words that it is chosen by: its own, and its role's name."""
        return frozenset((self.role, *self.resource.tags))


@dataclass(frozen=True, slots=True)
class Plan:
    """Resources in order, the handlers that they may call in order, contents by digest."""

    entries: tuple[Planned, ...]
    handlers: tuple[Handler, ...]
    contents: Mapping[str, Content]

    def wire(self) -> dict[str, Any]:
        """What the agent gets."""
        resources = [entry.resource.wire() for entry in self.entries]
        found = {"resources": resources, "handlers": [handler.wire() for handler in self.handlers]}
        keys = {digest: content.key for digest, content in self.contents.items() if content.key}
        return {**found, "keys": keys} if keys else found

    @property
    def hidden(self) -> list[str]:
        """Values that the agent must not write down where a program repeats them; no part of the plan."""
        leaves = {id(leaf): leaf for content in self.contents.values() for leaf in content.leaves}
        return sorted({leaf.printed() for leaf in leaves.values()})

    @property
    def id(self) -> str:
        """The same for equal plans, whenever they are made: the laptop's time does not count."""
        wire = self.wire()
        for resource in wire["resources"]:
            resource.pop("now", None)
        return hashlib.sha256(json.dumps(wire, sort_keys=True).encode()).hexdigest()

    def only(self, tags: Iterable[str], skip: Iterable[str]) -> Plan:
        """The part with one of ``tags`` (none: all of it) and none of ``skip``.

        Raises :class:`UsageError` for a word that nothing has: a slip would leave out what was meant.
        """
        wanted, unwanted = frozenset(tags), frozenset(skip)
        known = frozenset(word for entry in self.entries for word in entry.tags)
        for word in sorted((wanted | unwanted) - known):
            raise UsageError(f"nothing has the tag {word!r}", hint=f"tags: {', '.join(sorted(known))}")  # fmt: skip
        chosen = [entry for entry in self.entries if not entry.tags & unwanted and (not wanted or entry.tags & wanted)]  # fmt: skip
        return make(chosen)

    def role_of(self, resource_id: str) -> str:
        return next(e.role for e in self.entries if e.resource.id == resource_id)


def make(entries: Iterable[Planned]) -> Plan:
    """A plan of ``entries``; raises :class:`UsageError` when two roles declare the same thing.

    Units are read anew before the first restart, the reboot comes last; in between, handlers run in
    the order in which they are first named.
    """
    listed = tuple(entries)
    seen: dict[str, str] = {}
    contents: dict[str, Content] = {}
    named: dict[str, Handler] = {}
    for entry in listed:
        if entry.resource.id in seen:
            other = seen[entry.resource.id]
            raise UsageError(f"{entry.resource.id} is declared twice: in {other} and {entry.role}")
        seen[entry.resource.id] = entry.role
        contents.update({content.digest: content for content in entry.resource.contents})
        named.update({handler.name: handler for handler in entry.resource.handlers})
    _refuse_plain(listed, contents.values())
    order = sorted(named.values(), key=lambda handler: _ORDER.get(handler.action, 1))
    return Plan(listed, tuple(order), contents)


def _refuse_plain(entries: Iterable[Planned], contents: Iterable[Content]) -> None:
    """Raise :class:`UsageError` where a role put a secret's value into what is shown, kept or world-readable."""
    leaves = {id(leaf): leaf for content in contents for leaf in content.leaves}.values()
    values = {leaf.printed(): leaf.name for leaf in leaves}
    values = {value: name for value, name in values.items() if len(value) >= _UNLIKELY}
    for entry in entries if values else ():
        resource = entry.resource
        if any(isinstance(content.source, Path) for content in resource.contents):
            continue
        plain = [content.data.decode("utf-8", "replace") for content in resource.contents if not content.key]  # fmt: skip
        handlers = [handler.wire() for handler in resource.handlers]
        said = [json.dumps([resource.wire(), handlers], ensure_ascii=False, default=str), *plain]
        for value, name in values.items():
            if any(value in text or json.dumps(value)[1:-1] in text for text in said):
                raise UsageError(f"role {entry.role}: a {resource.kind} would show the value of secret {name}", hint="give File, template() or Credential the secret itself, not its text()")  # fmt: skip
