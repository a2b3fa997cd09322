"""Files, directories, links and lines; ``toolkit/agent/kinds`` has the other half of each resource."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from toolkit.errors import UsageError
from toolkit.resources.base import Content, Resource


@dataclass(frozen=True, kw_only=True)
class File(Resource):
    """A file with these contents, mode and owner; the text of a ``secret`` one is not shown in diffs."""

    kind = "file"
    path: str
    source: bytes | Path
    mode: str = "0644"
    owner: str = "root"
    group: str = "root"
    secret: bool = False

    @property
    def name(self) -> str:
        return self.path

    @property
    def contents(self) -> tuple[Content, ...]:
        return (Content(self.source),)

    def wanted(self) -> dict[str, Any]:
        [content] = self.contents
        return {
            "path": self.path,
            "mode": self.mode,
            "owner": self.owner,
            "group": self.group,
            "digest": content.digest,
            "size": content.size,
            "secret": self.secret,
        }


@dataclass(frozen=True, kw_only=True)
class Directory(Resource):
    """A directory with this mode and owner; directories above it are made where missing."""

    kind = "directory"
    path: str
    mode: str = "0755"
    owner: str = "root"
    group: str = "root"

    @property
    def name(self) -> str:
        return self.path

    def wanted(self) -> dict[str, Any]:
        return {"path": self.path, "mode": self.mode, "owner": self.owner, "group": self.group}


@dataclass(frozen=True, kw_only=True)
class Link(Resource):
    """A symbolic link."""

    kind = "link"
    path: str
    target: str

    @property
    def name(self) -> str:
        return self.path

    def wanted(self) -> dict[str, Any]:
        return {"path": self.path, "target": self.target}


@dataclass(frozen=True, kw_only=True)
class Line(Resource):
    """One line in a file that is somebody else's, in place of the lines that ``match`` finds.

    Not ``present``: none of these lines is there.
    """

    kind = "line"
    path: str
    match: str
    line: str = ""
    present: bool = True

    def __post_init__(self) -> None:
        if "\n" in self.line or (self.present and not self.line):
            raise UsageError(f"Line in {self.path}: {self.line!r} is not one line")
        try:
            re.compile(self.match)
        except re.error as problem:
            raise UsageError(f"Line in {self.path}: match={self.match!r}: {problem}") from None

    @property
    def name(self) -> str:
        return f"{self.path} ({self.line or self.match})"

    def wanted(self) -> dict[str, Any]:
        return {"path": self.path, "line": self.line, "match": self.match, "present": self.present}
