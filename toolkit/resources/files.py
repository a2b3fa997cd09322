"""Files, directories, links and lines; ``toolkit/agent/kinds`` has the other half of each resource."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from toolkit.errors import UsageError
from toolkit.resources.base import Content, Resource
from toolkit.secrets.key import digest_key
from toolkit.secrets.secret import Secret, shown_in


@dataclass(frozen=True, kw_only=True)
class File(Resource):
    """A file with these contents, mode and owner.

    One whose ``source`` is a :class:`Secret`, or that is declared ``secret``, is its owner's alone unless
    ``mode`` says otherwise, and its text and plain digest are shown nowhere. ``exposed``: a secret may be
    read by everybody on the board.
    """

    kind = "file"
    path: str
    source: bytes | Path | Secret = field(repr=False)
    mode: str = ""
    owner: str = "root"
    group: str = "root"
    secret: bool = False
    exposed: bool = False

    def __post_init__(self) -> None:
        if isinstance(self.source, Secret):
            object.__setattr__(self, "secret", True)
        if not self.mode:
            object.__setattr__(self, "mode", "0600" if self.secret else "0644")
        if self.secret and int(self.mode, 8) & 0o007 and not self.exposed:
            raise UsageError(f"File {self.path}: mode {self.mode} lets everybody read a secret", hint="0600, or 0640 with a group; exposed=True if it is meant")  # fmt: skip
        if self.secret and int(self.mode, 8) & 0o070 and self.group == "root" and not self.exposed:
            raise UsageError(f"File {self.path}: mode {self.mode} lets a group read a secret, and none is named", hint="group=..., or mode 0600")  # fmt: skip
        named = shown_in(self.source.decode("utf-8", "replace")) if isinstance(self.source, bytes) else ""  # fmt: skip
        if named:
            raise UsageError(f"File {self.path}: {named} was put into its text as if it were text", hint="template(), or secret_text()")  # fmt: skip

    @property
    def name(self) -> str:
        return self.path

    @property
    def contents(self) -> tuple[Content, ...]:
        return (Content(self.source, digest_key(self.path) if self.secret else ""),)

    def wanted(self) -> dict[str, Any]:
        [content] = self.contents
        return {
            "path": self.path,
            "mode": self.mode,
            "owner": self.owner,
            "group": self.group,
            **content.wire(),
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
