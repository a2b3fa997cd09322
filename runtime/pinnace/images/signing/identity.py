"""Whether a signature's name for an image is the one that was asked for.

Source: containers-policy.json(5), "signedIdentity".
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from pinnace.errors import InvalidArgument
from pinnace.spec import reference as references

if TYPE_CHECKING:
    from pinnace.spec.reference import Reference

_KEYS = {
    "matchExact": (),
    "matchRepoDigestOrExact": (),
    "matchRepository": (),
    "exactReference": ("dockerReference",),
    "exactRepository": ("dockerRepository",),
    "remapIdentity": ("prefix", "signedPrefix"),
}


class Match(NamedTuple):
    """A way of comparing; ``first`` and ``second`` are its parameters."""

    type: str
    first: str = ""
    second: str = ""

    def accepts(self, wanted: Reference | None, signed: str) -> bool:
        """Whether *signed*, the name in a signature, may stand for *wanted*."""
        try:
            found = references.normalize(signed)
            bare = found.locator if _is_bare(signed) else ""
            return self._accepts(wanted, found, bare)
        except InvalidArgument:
            return False

    def _accepts(self, wanted: Reference | None, found: Reference, bare: str) -> bool:
        if self.type == "exactReference":
            return not bare and found == references.normalize(self.first)
        if self.type == "exactRepository":
            return found.locator == references.normalize(self.first).locator
        if wanted is None:
            return False
        if self.type == "matchRepository":
            return found.locator == wanted.locator
        if bare:
            return False
        if self.type == "remapIdentity":
            wanted = _remapped(wanted, self.first, self.second)
        if self.type != "matchExact" and wanted.digest:
            return found.locator == wanted.locator
        return found == wanted


DEFAULT = Match("matchRepoDigestOrExact")


def parse(item: dict[str, Any], where: str) -> Match:
    """A ``signedIdentity``; raises InvalidArgument for an unknown one, or other keys than its own."""
    kind = item.get("type")
    if not isinstance(kind, str) or kind not in _KEYS:
        raise InvalidArgument(f"{where}: signedIdentity of unknown type {str(kind)[:60]!r}")
    keys = _KEYS[kind]
    if item.keys() != {"type", *keys} or not all(isinstance(item[key], str) for key in keys):
        raise InvalidArgument(f"{where}: {kind} needs {', '.join(keys) or 'nothing else'}")
    return Match(kind, *(item[key] for key in keys))


def _is_bare(name: str) -> bool:
    """Whether a name has neither a tag nor a digest."""
    return "@" not in name and ":" not in name.rpartition("/")[2]


def _remapped(wanted: Reference, prefix: str, signed: str) -> Reference:
    """*wanted* with *signed* in the place of *prefix*, where that is a whole part of the name."""
    if wanted.locator != prefix and not wanted.locator.startswith(f"{prefix}/"):
        return wanted
    return references.normalize(signed + str(wanted)[len(prefix) :])
