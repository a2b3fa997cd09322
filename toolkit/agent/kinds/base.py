"""What every kind of resource does: look, compare, change.

``inspect`` only reads. ``diff`` is pure: from what is wanted and what was found it says what would
change. ``apply`` makes it so, and is safe to be repeated after a crash at any point.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from typing import Any

    from toolkit.agent.system import System

    Resource = dict[str, Any]
    State = dict[str, Any]
    Contents = Callable[[str], Iterator[bytes]]
    Text = tuple[str, str | None, str | None]
    """A file's path, its text now (``None``: absent or not shown), and as it shall be (``None``: the
    laptop, which has the contents, knows)."""


class Change:
    """One difference: what, how it is now, how it shall be (as a person reads it)."""

    __slots__ = ("after", "before", "what")

    def __init__(self, what: str, before: str, after: str) -> None:
        self.what = what
        self.before = before
        self.after = after

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Change) and self.wire() == other.wire()

    def __hash__(self) -> int:
        return hash((self.what, self.before, self.after))

    def __repr__(self) -> str:
        return f"Change({self.what!r}, {self.before!r}, {self.after!r})"

    def wire(self) -> list[str]:
        return [self.what, self.before, self.after]


class Kind:
    """A kind of resource; one instance per run."""

    def inspect(self, resources: Sequence[Resource], system: System) -> list[State]:
        """What is there now, for all resources of this kind at once, in their order."""
        return [self.look(resource, system) for resource in resources]

    def look(self, resource: Resource, system: System) -> State:
        raise NotImplementedError

    def diff(self, resource: Resource, state: State) -> list[Change]:
        raise NotImplementedError

    def apply(self, resource: Resource, system: System, contents: Contents) -> None:
        raise NotImplementedError

    def wants(self, resource: Resource, changes: Sequence[Change]) -> list[tuple[str, int]]:
        """Digest and size (bytes) of the contents that the changes need from the laptop."""
        return []

    def calls(self, changes: Sequence[Change]) -> bool:
        """Whether these changes are such that the handlers the resource names have to run."""
        return bool(changes)

    def starts(self, resource: Resource, changes: Sequence[Change]) -> str:
        """The unit that these changes start; empty for none."""
        return ""

    def texts(self, resource: Resource, state: State) -> list[Text]:
        """Files that would change, to be shown as diffs."""
        return []

    def places(self, resource: Resource, changes: Sequence[Change]) -> list[tuple[str, int]]:
        """Paths that the changes write to, and how many bytes it adds there."""
        return []


def compare(wanted: State, found: State) -> list[Change]:
    """A change for each attribute that differs, in the order of ``wanted``."""
    return [
        Change(name, str(found.get(name)), str(value))
        for name, value in wanted.items()
        if found.get(name) != value
    ]
