"""A host's plan as it travels without its laptop: everything that a board would fetch itself is in it.

Packages by name get the files that they may need, images that would be pulled become archives, and the
images of containers and pods come along. Secrets do not (:mod:`toolkit.airgap.later`).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from roles.context import Board
from toolkit import oci
from toolkit.airgap import images
from toolkit.airgap.later import opened
from toolkit.airgap.packages import Pool
from toolkit.arch import Arch
from toolkit.inventory.settings import SANDBOX_IMAGE
from toolkit.plan.model import Plan, Planned
from toolkit.resources import Container, Content, File, Handler, Image, Package, Resource

_PODS = "k8s.io"


class Noted(Mapping[str, Any]):
    """A board's facts, noting down which of them a plan depends on."""

    def __init__(self, facts: Mapping[str, Any]) -> None:
        self._facts = facts
        self.read: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:
        self.read[name] = self._facts[name]
        return self._facts[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._facts)

    def __len__(self) -> int:
        return len(self._facts)


@dataclass(frozen=True, slots=True)
class Packed:
    """A plan (its text), what it needs by digest, and what each thing is, for the table."""

    text: bytes
    facts: Mapping[str, Any]
    contents: Mapping[str, Content]
    names: Mapping[str, tuple[str, str]]


@dataclass(slots=True)
class Packer:
    """Packs one host's plan."""

    board: Board
    plan: Plan
    facts: Noted
    packages: bool = True
    lab: tuple[str, str] | None = None
    contents: dict[str, Content] = field(default_factory=dict)
    names: dict[str, tuple[str, str]] = field(default_factory=dict)
    _entries: list[dict[str, Any]] = field(default_factory=list)
    _roles: dict[str, str] = field(default_factory=dict)

    def pack(self) -> Packed:
        """The plan; raises :class:`toolkit.errors.PinnaceError` for what cannot be had."""
        known = {e.resource.reference for e in self.plan.entries if isinstance(e.resource, Image)}
        for entry in self.plan.entries:
            if isinstance(entry.resource, Container) and entry.resource.image not in known:
                known.add(entry.resource.image)
                wanted = Image(reference=entry.resource.image, namespace=entry.resource.namespace)
                self._add(Planned(entry.role, wanted))
            self._add(entry)
        sandbox = self.board.settings.sandbox_image
        runtime = [entry.role for entry in self.plan.entries if entry.role == "runtime"]
        if sandbox != SANDBOX_IMAGE and sandbox not in known and runtime:
            self._add(Planned("runtime", Image(reference=sandbox, namespace=_PODS)))
        handlers = [handler.wire() for handler in self.plan.handlers]
        plan = {"resources": self._entries, "handlers": handlers, "roles": self._roles}
        text = oci.to_json(plan)
        facts = json.loads(json.dumps(self.facts.read))
        return Packed(text, facts, self.contents, self.names)

    def _add(self, entry: Planned) -> None:
        resource = entry.resource
        if isinstance(resource, Image) and resource.archive is None:
            resource = Image(
                reference=resource.reference, namespace=resource.namespace,
                archive=self._image(resource.reference), notify=resource.notify, tags=resource.tags,
            )  # fmt: skip
        wire = opened(resource, resource.wire())
        if isinstance(resource, Package) and self.packages:
            self._pool(resource, wire)
        if wire["kind"] == "clock":
            wire["now"] = 0  # the time at which it arrives
        for content in resource.contents if "late" not in wire else ():
            self.contents[content.digest] = content
            self.names[content.digest] = (resource.kind, resource.name)
        self._entries.append(wire)
        self._roles[resource.id] = entry.role

    def _pool(self, resource: Package, wire: dict[str, Any]) -> None:
        pool = Pool(self.facts)
        wire["pool"] = pool.add(resource.names, resource.debs)
        wire["debs"] = [pool.file(path) for path in resource.debs]
        self.contents |= pool.contents
        for each in (*wire["pool"], *wire["debs"]):
            self.names[each["digest"]] = ("package", f"{each['package']} {each['version']}")

    def _image(self, reference: str) -> Path:
        arch = Arch.from_machine(self.facts["machine"])
        return images.archive(reference, arch.facts.oci, self._certs(), self.lab)

    def _certs(self) -> dict[str, bytes]:
        """The files of the plan that say where registries are."""
        top = f"{self.board.settings.registry_config_path}/"
        return {
            e.resource.path.removeprefix(top): e.resource.contents[0].data
            for e in self.plan.entries
            if isinstance(e.resource, File) and e.resource.path.startswith(top)
        }


@dataclass(frozen=True, kw_only=True)
class Wired(Resource):
    """A resource of a plan that was made elsewhere: what the agent gets, and nothing more."""

    fields: Mapping[str, Any]
    held: tuple[Content, ...] = ()

    @property
    def id(self) -> str:
        return str(self.fields["id"])

    @property
    def name(self) -> str:
        return self.id.partition(" ")[2]

    @property
    def contents(self) -> tuple[Content, ...]:
        return self.held

    def wire(self) -> dict[str, Any]:
        return dict(self.fields)


def unpacked(text: str, contents: Mapping[str, Content]) -> Plan:
    """The plan that :class:`Packer` made the ``text`` of."""
    found = json.loads(text)
    entries = []
    for fields in found["resources"]:
        held = tuple(filter(None, (contents.get(fields.get("digest", "")),)))
        entries.append(Planned(found["roles"][fields["id"]], Wired(fields=fields, held=held)))
    handlers = tuple(
        Handler(each["name"], each["action"], each["unit"], tuple(each["argv"]))
        for each in found["handlers"]
    )
    return Plan(tuple(entries), handlers, contents)
