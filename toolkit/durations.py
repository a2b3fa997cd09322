"""Times as people write them on a command line."""

from __future__ import annotations

import re

from toolkit.errors import UsageError

_DURATION = re.compile(r"(?:(\d+)h)?(?:(\d+)m)?(?:(\d+(?:\.\d+)?)s?)?")


def seconds(text: str, flag: str) -> float:
    """``30s``, ``5m``, ``1h30m`` or a number of seconds; raises :class:`UsageError`."""
    found = _DURATION.fullmatch(text.strip())
    if not text.strip() or found is None:
        raise UsageError(f"{flag}: {text!r} is not a time", hint="such as 30s, 5m or 1h30m")
    hours, minutes, rest = (float(part or 0) for part in found.groups())
    return hours * 3600 + minutes * 60 + rest
