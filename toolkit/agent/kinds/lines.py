"""Text files that belong to somebody else, of which a few lines or words are ours.

The edits are pure functions over text; each file is then replaced whole.
"""

from __future__ import annotations

import os
import re

from toolkit.agent.errors import AgentError
from toolkit.agent.kinds.base import Change, Kind

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from toolkit.agent.kinds.base import Contents, Resource, State, Text
    from toolkit.agent.system import System


def decode(content: bytes | None) -> str:
    """Text that :func:`encode` gives back byte for byte, whatever is in it."""
    return (content or b"").decode("utf-8", "surrogateescape")


def encode(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def shown(text: str) -> str:
    """Text that JSON and terminals take."""
    return encode(text).decode("utf-8", "replace")


def put(text: str, line: str | None, ours: Callable[[str], bool]) -> str:
    """``text`` with ``line`` once, where the first line that is ``ours`` was, else at the end.

    Further lines that are ``ours`` go; with ``None`` all of them do.
    """
    after: list[str] = []
    placed = line is None
    for found in text.splitlines():
        if not ours(found) and found != line:
            after.append(found)
        elif not placed and line is not None:
            after.append(line)
            placed = True
    if not placed and line is not None:
        after.append(line)
    return "".join(f"{one}\n" for one in after)


class Line(Kind):
    """``line`` stands once in the file ``path``, in place of lines that ``match`` (regex) finds.

    Not ``present``: no line that ``match`` finds is there.
    """

    def look(self, resource: Resource, system: System) -> State:
        return {"text": decode(system.read(resource["path"]))}

    def diff(self, resource: Resource, state: State) -> list[Change]:
        if _edited(resource, state["text"]) == state["text"]:
            return []
        found = [line for line in state["text"].splitlines() if _ours(resource)(line)]
        if found == _wanted(resource):
            return []  # only the newline at the end of the file is missing
        before = shown("; ".join(found)) or "absent"
        return [Change("line", before, resource["line"] if resource["present"] else "removed")]

    def texts(self, resource: Resource, state: State) -> list[Text]:
        return [(resource["path"], shown(state["text"]), shown(_edited(resource, state["text"])))]

    def places(self, resource: Resource, changes: Sequence[Change]) -> list[tuple[str, int]]:
        return [(resource["path"], 4096)]

    def apply(self, resource: Resource, system: System, contents: Contents) -> None:
        text = decode(system.read(resource["path"]))
        rewrite(system, resource["path"], text, _edited(resource, text))


def _wanted(resource: Resource) -> list[str]:
    return [resource["line"]] if resource["present"] else []


def _ours(resource: Resource) -> Callable[[str], bool]:
    pattern = re.compile(resource["match"])
    return lambda line: pattern.search(line) is not None or line in _wanted(resource)


def _edited(resource: Resource, text: str) -> str:
    line = resource["line"] if resource["present"] else None
    return put(text, line, _ours(resource))


def rewrite(system: System, path: str, before: str, after: str) -> None:
    """Replace a file's text if it is another; a link to the file (as in /etc) stays a link."""
    if before == after:
        return
    real = os.path.realpath(system.path(path))
    if not real.startswith(system.root + "/"):
        raise AgentError(f"{path} is a link out of the board's root", "replace the link by a file")
    system.rewrite(real[len(system.root) :], encode(after))
