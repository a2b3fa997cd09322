"""What boards said of themselves when they were reached last, for when they are out of reach."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from toolkit.paths import give_to_user, state_dir


def remember(name: str, facts: Mapping[str, Any]) -> None:
    """Keep the facts of a board that was reached."""
    path = path_of(name)
    scratch = path.with_name(f"{path.name}.{os.getpid()}")
    scratch.write_text(json.dumps({"at": time.time(), "facts": dict(facts)}))
    give_to_user(scratch)
    scratch.replace(path)


def remembered(name: str) -> tuple[Mapping[str, Any] | None, float]:
    """The facts and when that was, in seconds since 1970; ``None`` when it never was."""
    try:
        found = json.loads(path_of(name).read_text())
        return dict(found["facts"]), float(found["at"])
    except (OSError, ValueError, KeyError, TypeError):
        return None, 0.0


def path_of(name: str) -> Path:
    """The file, which can be carried to another machine."""
    return state_dir("facts") / f"{name}.json"
