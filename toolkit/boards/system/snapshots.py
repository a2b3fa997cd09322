"""A machine kept while it runs: its memory in a file, and the layer of its disk that belongs to it.

::

    memory       the machine's memory and devices, as QEMU's migration writes them
    disk.qcow2   the disk at that moment: read-only, layers of restored boards stand on it

The snapshot of a board right after it booted is in the cache, one per image, and every new board
starts from it. A board's own snapshots are in its directory.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

from toolkit import debian
from toolkit.boards import identity, source
from toolkit.boards.system import exported, launch, quiet, supervisor, tools
from toolkit.boards.system.image import Image
from toolkit.boards.system.model import Model
from toolkit.boards.system.qmp import Monitor
from toolkit.debian import kept_tree
from toolkit.errors import PinnaceError
from toolkit.paths import cache_dir

_SAVE_SECONDS = 300.0


def memory(folder: Path) -> Path:
    return folder / "memory"


def disk(folder: Path) -> Path:
    return folder / "disk.qcow2"


def save(monitor_path: Path, target: Path) -> None:
    """Write the machine's memory to ``target`` and end QEMU, with all of its disk written."""
    with Monitor(monitor_path) as monitor:
        monitor.execute("stop")
        try:
            supervisor.migrate(monitor, "migrate", target, _SAVE_SECONDS)
        except BaseException:
            with suppress(PinnaceError):
                monitor.execute("cont")
            raise
        monitor.execute("quit")


def booted(model: Model, image: Image, boot: Callable[[Path], None]) -> Path:
    """The directory of the snapshot right after the boot, from the cache or made now.

    ``boot`` boots the image and saves the machine in the directory that it is given.
    """
    return kept_tree(_booted_entry(model, image), boot)


def find_booted(model: Model, image: Image) -> Path | None:
    """The same, when it exists already and is whole."""
    entry = _booted_entry(model, image)
    return entry / "files" if debian.tree_is_intact(entry) else None


def _booted_entry(model: Model, image: Image) -> Path:
    described = {name: str(value) for name, value in asdict(model).items() if not callable(value)}
    key = debian.content_key(
        str(image.folder),
        # An image that was made again has other keys, and other blocks under the same names.
        identity.public_key(image.host_key),
        str(tools.folder()),
        json.dumps(described, sort_keys=True),
        *_sources(),
    )
    return cache_dir("system") / f"{exported.name(image.folder)}-booted-{key}"


def _sources() -> list[str]:
    """The code that decides what machine a snapshot belongs to, and when it is taken."""
    return [source.of(module) for module in (launch, quiet)]
