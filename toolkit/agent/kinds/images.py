"""Container images that are in the board's store before anything runs from them."""

from __future__ import annotations

from toolkit.agent.errors import AgentError
from toolkit.agent.kinds.base import Change, Kind

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from toolkit.agent.kinds.base import Contents, Resource, State
    from toolkit.agent.system import System

_SECONDS = 1800


class Image(Kind):
    """``reference``, ``namespace``, ``target`` (digest, or empty: any), ``digest`` and ``size`` of an
    archive (empty: the board pulls it)."""

    def look(self, resource: Resource, system: System) -> State:
        return {"target": _target(resource, system) or "absent"}

    def diff(self, resource: Resource, state: State) -> list[Change]:
        found, wanted = state["target"], resource["target"]
        if found == "absent" or wanted not in ("", found):
            return [Change("image", found, wanted or "present")]
        return []

    def wants(self, resource: Resource, changes: Sequence[Change]) -> list[tuple[str, int]]:
        return [(resource["digest"], resource["size"])] if resource["digest"] else []

    def places(self, resource: Resource, changes: Sequence[Change]) -> list[tuple[str, int]]:
        # In the store as it came, and unpacked: compressed layers grow.
        return [("/var/lib/pinnace/x", resource["size"] * 4)]

    def apply(self, resource: Resource, system: System, contents: Contents) -> None:
        reference = resource["reference"]
        if resource["digest"]:
            archive = system.spooled(resource["digest"])[len(system.root) :]
            system.check(_ctr(resource, "images", "import", archive), _SECONDS)
        else:
            system.check(_ctr(resource, "images", "pull", reference), _SECONDS)
        found = _target(resource, system)
        if not found:
            raise AgentError(f"the archive has no image {reference}", f"on the board: ctr -n {resource['namespace']} images ls")  # fmt: skip
        if resource["target"] not in ("", found):
            raise AgentError(f"{reference} is {found} now, not {resource['target']}", "was it changed at the registry?")  # fmt: skip


def _ctr(resource: Resource, *words: str) -> list[str]:
    return ["ctr", "-n", resource["namespace"], *words]


def _target(resource: Resource, system: System) -> str:
    """The digest that the reference stands for; empty when it is not there, or nobody can be asked yet."""
    status, output = system.run(_ctr(resource, "images", "ls", f"name=={resource['reference']}"))
    if status:
        return ""
    rows = [line.split() for line in output.splitlines()]
    return next((row[2] for row in rows if row[:1] == [resource["reference"]]), "")
