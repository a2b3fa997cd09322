"""Debian packages for boards without a network: what is wanted, and all that it may need."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from toolkit.debian import Archive
from toolkit.errors import HostFailed
from toolkit.lab.deb import control, control_text
from toolkit.resources import Content

_NAME = re.compile(r"[a-z0-9][a-z0-9+.-]+")


class Pool:
    """The package files that one board may need, from the archive of its release and architecture."""

    def __init__(self, facts: Any) -> None:
        """``facts``: the board's; raises :class:`HostFailed` later, when there is no archive for it."""
        self._facts = facts
        self.contents: dict[str, Content] = {}

    def add(self, names: Iterable[str], debs: Iterable[Path]) -> list[dict[str, Any]]:
        """The files for packages by ``name`` and what ``debs`` depend on, as plans describe them."""
        files = list(debs)
        wanted = [*names, *(name for path in files for name in _needs(control(path)))]
        own = {control(path).get("Package") for path in files}
        wanted = sorted({name for name in wanted if name not in own})
        if not wanted:
            return []
        return [self.file(path) for path in self._archive().download(wanted, dependencies=True)]

    def file(self, path: Path) -> dict[str, Any]:
        """A package file, with what apt has to know of it."""
        fields, content = control(path), Content(path)
        self.contents[content.digest] = content
        return {
            "package": fields["Package"],
            "version": fields["Version"],
            "digest": content.digest,
            "size": content.size,
            "control": control_text(path),
        }

    def _archive(self) -> Archive:
        distribution, suite = self._facts["distribution"], self._facts["codename"]
        arch = self._facts["debian_arch"]
        if distribution != "debian" or not suite or not arch:
            raise HostFailed(f"packages for {distribution or 'this system'} cannot be bundled, only Debian's", hint="--no-packages, where boards have what their roles name")  # fmt: skip
        return Archive(suite, arch)


def _needs(fields: dict[str, str]) -> list[str]:
    """The first choice of each dependency (deb-control(5)): apt on the board sees whether it is right."""
    listed = ",".join(fields.get(name, "") for name in ("Pre-Depends", "Depends"))
    firsts = (part.partition("|")[0].strip() for part in listed.split(","))
    return [found[0] for part in firsts if (found := _NAME.match(part))]
