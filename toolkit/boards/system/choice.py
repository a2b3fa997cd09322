"""Remembering for a day which cache entry the newest packages led to: asking apt takes seconds each time."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from toolkit.debian import tree_is_intact
from toolkit.paths import cache_dir

_FRESH_SECONDS = 24 * 3600


def remembered(name: str, inputs: Sequence[str], choose: Callable[[], Path]) -> Path:
    """What ``choose`` returned last for these ``inputs``, while it is whole; else what it returns now.

    The result is the tree of an entry that :func:`toolkit.debian.kept_tree` made.
    """
    note = cache_dir("system") / f"{name}.json"
    found = _noted(note, list(inputs))
    if found is None:
        found = choose()
        scratch = note.with_name(f"{note.name}.{os.getpid()}")
        scratch.write_text(json.dumps({"inputs": list(inputs), "path": str(found)}))
        scratch.replace(note)
    return found


def _noted(note: Path, inputs: list[str]) -> Path | None:
    try:
        entry = json.loads(note.read_text())
        path = Path(entry["path"])
        if entry["inputs"] != inputs or time.time() - note.stat().st_mtime > _FRESH_SECONDS:
            return None
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return path if tree_is_intact(path.parent) else None
