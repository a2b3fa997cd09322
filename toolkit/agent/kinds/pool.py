"""Debian packages on a board without a network: a pool of files, of which apt takes what it needs.

apt gets a source that is a directory of this run alone, in place of the board's own sources, and lists of its
own: the board's are left as they are. The files were checked by digest when they arrived, so that the
source needs no signature.
"""

from __future__ import annotations

import os
import shutil

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from toolkit.agent.kinds.base import Resource
    from toolkit.agent.system import System

_SECONDS = 1800
_PLACE = "/var/lib/pinnace-agent/pool"


def install(
    resource: Resource, names: Sequence[str], debs: Sequence[Resource], system: System
) -> None:
    """Install packages by name, and package files, from those that have arrived."""
    _clear(system)
    system.make_directory(f"{_PLACE}/lists/partial", 0o700)
    system.make_directory(f"{_PLACE}/files", 0o700)
    try:
        stanzas = [text for deb in (*resource["pool"], *debs) for text in _placed(deb, system)]
        _write(system, "files/Packages", "\n".join(stanzas))
        _write(system, "sources.list", f"deb [trusted=yes] file:{system.path(_PLACE)}/files ./\n")
        apt = ["apt-get", "-q", *_options(system.path(_PLACE))]
        system.check([*apt, "update"], _SECONDS)
        wanted = [*names, *(f"{deb['package']}={deb['version']}" for deb in debs)]
        system.check([*apt, "install", "-y", "--no-install-recommends", "--allow-downgrades", *wanted], _SECONDS)  # fmt: skip
    finally:
        _clear(system)


def _options(place: str) -> list[str]:
    options = {
        "Dir::Etc::sourcelist": f"{place}/sources.list",
        "Dir::Etc::sourceparts": "-",
        "Dir::State::lists": f"{place}/lists",
        "Dir::Cache::pkgcache": "",
        "Dir::Cache::srcpkgcache": "",
        # Its unprivileged user may not read the directory.
        "APT::Sandbox::User": "root",
    }
    return [f"-o{name}={value}" for name, value in options.items()]


def _placed(deb: Resource, system: System) -> list[str]:
    """The entry of a file that has arrived for the list of packages; none where it was not needed."""
    arrived = system.spooled(deb["digest"])
    name = f"{deb['digest']}.deb"
    here = system.path(f"{_PLACE}/files/{name}")
    if not os.path.exists(arrived) or os.path.lexists(here):
        return []
    os.link(arrived, here)
    fields = f"{deb['control'].strip()}\nFilename: ./{name}\nSize: {deb['size']}\nSHA256: {deb['digest']}\n"  # fmt: skip
    return [fields]


def _write(system: System, name: str, text: str) -> None:
    with system.unnoted():
        system.write(f"{_PLACE}/{name}", iter((text.encode(),)), 0o600, os.getuid(), os.getgid())


def _clear(system: System) -> None:
    """Also what a run that was killed has left."""
    shutil.rmtree(system.path(_PLACE), ignore_errors=True)
