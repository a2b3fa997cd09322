"""A board's directory: what it is, and the parts of its disk.

::

    board.json     this configuration
    ssh_host_key   the board's host key and its public half, made before the first start
    upper/ work/   the copy-on-write layer over the cached root
    storage/       the board's /var/lib/pinnace
    mount/         where the board's root is mounted, in its own mount namespace only
    console.log    what went wrong before systemd ran
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from toolkit.errors import PinnaceError


@dataclass(frozen=True, slots=True)
class Config:
    """One created board. ``root`` is the cached lower layer, ``emulator`` empty on a native board."""

    name: str
    directory: Path
    arch: str
    release: str
    root: Path
    emulator: str
    address: str

    @property
    def upper(self) -> Path:
        return self.directory / "upper"

    @property
    def work(self) -> Path:
        return self.directory / "work"

    @property
    def storage(self) -> Path:
        return self.directory / "storage"

    @property
    def mountpoint(self) -> Path:
        return self.directory / "mount"

    @property
    def console(self) -> Path:
        return self.directory / "console.log"

    @property
    def host_key(self) -> Path:
        return self.directory / "ssh_host_key"

    def write(self) -> None:
        """Keep it in the directory, replacing what was there."""
        values: dict[str, Any] = {**asdict(self), "directory": None, "root": str(self.root)}
        del values["directory"]
        scratch = self.directory / "board.json.new"
        scratch.write_text(json.dumps(values, indent=2) + "\n")
        scratch.replace(self.directory / "board.json")

    @classmethod
    def read(cls, directory: Path) -> Config:
        """The board in ``directory``; raises :class:`PinnaceError` when there is none or it is broken."""
        try:
            values = json.loads((directory / "board.json").read_text())
            return cls(**{**values, "root": Path(values["root"]), "directory": directory})
        except FileNotFoundError:
            raise PinnaceError(f"there is no board in {directory}") from None
        except (ValueError, TypeError, KeyError) as problem:
            raise PinnaceError(
                f"{directory / 'board.json'} is damaged: {problem}",
                hint=f"destroy the board: ./inv board destroy {directory.name}",
            ) from None
