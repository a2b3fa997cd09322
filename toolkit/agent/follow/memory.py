"""What a following board remembers between two looks: which release, how far, and what came of it."""

from __future__ import annotations

import json
import os

from toolkit.agent.journal import DIRECTORY

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from toolkit.agent.system import System

_PATH = DIRECTORY + "/follow.json"

APPLYING = "applying"
"""The plan is being applied; what is found so after a power cut is put back."""
AGAIN = "again"
"""A reboot in the middle of the plan: it is applied once more."""
CONFIRMING = "confirming"
"""The plan is applied; the board has to find itself well."""
DONE = "done"


class Memory:
    """One release at a time. Saved whenever something is set, durably."""

    def __init__(self, system: System) -> None:
        self._system = system
        try:
            found = json.loads(system.read(_PATH) or b"{}")
        except ValueError:
            found = {}
        self._values: dict[str, Any] = found if isinstance(found, dict) else {}

    def get(self, name: str, default: Any = "") -> Any:
        return self._values.get(name, default)

    @property
    def phase(self) -> str:
        return str(self.get("phase"))

    def begin(self, **values: Any) -> None:
        """Another release: nothing of the last one stays."""
        self._values = {}
        self.set(**values)

    def set(self, **values: Any) -> None:
        self._values.update(values)
        with self._system.unnoted():
            self._system.make_directory(DIRECTORY, 0o700)
            text = json.dumps(self._values).encode()
            self._system.write(_PATH, iter((text,)), 0o600, os.getuid(), os.getgid())
