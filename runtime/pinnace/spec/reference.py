"""Image references: where an image is and what it is called there.

Two readings exist in the field, and both are needed:

* containerd's (``Reference.parse``): ``host/path[:tag][@digest]`` taken as it is, nothing assumed;
* Docker's (``normalize``): ``nginx`` means ``docker.io/library/nginx:latest``.

The grammar is that of the distribution project's reference package and, for names on the wire,
of the OCI distribution spec ("Pulling manifests").
"""

from __future__ import annotations

import re
from typing import NamedTuple

from pinnace.errors import InvalidArgument
from pinnace.spec.digest import Digest

_DEFAULT_HOST = "docker.io"
_OFFICIAL = "library/"
_COMPONENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_REPOSITORY = re.compile(rf"{_COMPONENT}(?:/{_COMPONENT})*\Z")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}\Z")
_LABEL = r"(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])"
_HOST = re.compile(rf"(?:{_LABEL}(?:\.{_LABEL})*|\[[a-fA-F0-9:]+\])(?::[0-9]{{1,5}})?\Z")
_IDENTIFIER = re.compile(r"[a-f0-9]{64}\Z")
_MAX_NAME = 255


class Reference(NamedTuple):
    """A reference in containerd's reading: ``locator`` is host and path, ``object`` the rest.

    ``object`` is ``tag``, ``tag@digest`` or ``@digest``; it may be empty.
    """

    locator: str
    object: str = ""

    @classmethod
    def parse(cls, text: str) -> Reference:
        """Split *text*; raises InvalidArgument when there is no host or the host is malformed."""
        if not text or "://" in text or any(c.isspace() or ord(c) < 0x20 for c in text):
            raise InvalidArgument(f"invalid reference {text[:200]!r}", hint=_FORM_HINT)
        host, slash, path = text.partition("/")
        if not slash or not path or not _HOST.match(host):
            raise InvalidArgument(
                f"invalid reference {text[:200]!r}: hostname required", hint=_FORM_HINT
            )
        cut = min((path.find(mark) for mark in ":@" if mark in path), default=len(path))
        rest = path[cut:]
        name = _clean(path[:cut])
        if not name:
            raise InvalidArgument(f"invalid reference {text[:200]!r}", hint=_FORM_HINT)
        return cls(f"{host}/{name}", rest[1:] if rest.startswith(":") else rest)

    @property
    def hostname(self) -> str:
        """Registry host, with its port if one was written."""
        return self.locator.partition("/")[0]

    @property
    def repository(self) -> str:
        """The path of the repository on its host."""
        return self.locator.partition("/")[2]

    @property
    def tag(self) -> str:
        """The tag, or nothing."""
        return self.object.partition("@")[0]

    @property
    def digest(self) -> Digest | None:
        """The digest, if one was written; raises InvalidArgument when it is malformed."""
        text = self.object.partition("@")[2]
        return Digest.parse(text) if text else None

    def __str__(self) -> str:
        if not self.object:
            return self.locator
        separator = "" if self.object.startswith("@") else ":"
        return f"{self.locator}{separator}{self.object}"

    def checked(self) -> Reference:
        """This reference, after the checks that a request to a registry needs."""
        if not _REPOSITORY.match(self.repository) or len(self.locator) > _MAX_NAME:
            raise InvalidArgument(
                f"invalid repository name {self.repository[:200]!r}",
                hint="lower-case letters, digits and single . _ - or / between them",
            )
        if self.tag and not _TAG.match(self.tag):
            raise InvalidArgument(f"invalid tag {self.tag[:200]!r}")
        _ = self.digest
        return self


_FORM_HINT = "write host/name:tag, as in docker.io/library/nginx:latest"


def _clean(path: str) -> str:
    """Join as a path does: no empty parts, no ``.``; ``..`` is refused as it names nothing."""
    parts = [part for part in path.split("/") if part not in ("", ".")]
    if ".." in parts:
        raise InvalidArgument(f"invalid reference path {path[:200]!r}", hint=_FORM_HINT)
    return "/".join(parts)


def normalize(text: str) -> Reference:
    """Docker's reading of *text*: the default host, ``library/`` and ``:latest`` filled in.

    A reference with a digest gets no tag. Raises InvalidArgument with the reason.
    """
    if _IDENTIFIER.match(text):
        raise InvalidArgument(f"{text!r} is an image id, not a name")
    name, at, digest = text.partition("@")
    host, path = _split_host(name)
    path, colon, tag = path.partition(":")
    if path.lower() != path:
        raise InvalidArgument(
            f"invalid reference {text[:200]!r}", hint="the repository name must be in lower case"
        )
    if host == _DEFAULT_HOST and "/" not in path:
        path = _OFFICIAL + path
    if (colon and not tag) or (at and not digest):
        raise InvalidArgument(f"invalid reference {text[:200]!r}", hint=_FORM_HINT)
    wanted = tag if tag or digest else "latest"
    if not _HOST.match(host):
        raise InvalidArgument(f"invalid registry host {host[:200]!r}")
    return Reference(f"{host}/{path}", wanted + at + digest).checked()


def _split_host(name: str) -> tuple[str, str]:
    """Host and path: the first part is a host when it looks like one."""
    first, slash, rest = name.partition("/")
    is_host = "." in first or ":" in first or first == "localhost" or first.lower() != first
    if not slash or not is_host:
        return _DEFAULT_HOST, name
    return (_DEFAULT_HOST if first == "index.docker.io" else first), rest


def familiar(reference: Reference) -> str:
    """The short form that Docker shows: ``nginx:latest`` for its full name."""
    text = str(reference)
    for prefix in (f"{_DEFAULT_HOST}/{_OFFICIAL}", f"{_DEFAULT_HOST}/"):
        if text.startswith(prefix) and "/" not in text[len(prefix) :].partition(":")[0]:
            return text[len(prefix) :]
    return text[len(_DEFAULT_HOST) + 1 :] if text.startswith(f"{_DEFAULT_HOST}/") else text
