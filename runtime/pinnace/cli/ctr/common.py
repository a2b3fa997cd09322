"""What several verbs share: printing, labels, times."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from pinnace.cli.options import text
from pinnace.cli.tables import tabulate
from pinnace.errors import InvalidArgument

if TYPE_CHECKING:
    from pinnace.api.schema.wellknown import FieldMask, Timestamp
    from pinnace.cli.options import Call

FORMAT = text("format", default="table", about='"table" or "json"')


def table(lines: Sequence[str], *, minimum: int = 4, padding: int = 4) -> None:
    """Print lines with tabs as columns."""
    sys.stdout.write(tabulate(lines, minimum=minimum, padding=padding))


def lines(items: Iterable[str]) -> None:
    sys.stdout.write("".join(f"{item}\n" for item in items))


def wants_json(call: Call) -> bool:
    """Whether ``--format json`` was given; raises :class:`InvalidArgument` for other words."""
    wanted = call.text("format")
    if wanted not in ("table", "json"):
        raise InvalidArgument(f'invalid format "{wanted}": table or json is expected')
    return wanted == "json"


def json_out(document: Any) -> None:
    """Print JSON as ctr does, with an indent of four."""
    import json

    sys.stdout.write(json.dumps(document, indent=4, ensure_ascii=False) + "\n")


def shown_labels(labels: dict[str, str]) -> str:
    """``key=value,key=value``, sorted; ``-`` for none."""
    return ",".join(f"{key}={value}" for key, value in sorted(labels.items())) or "-"


def label_changes(words: Sequence[str], usage: str) -> tuple[dict[str, str], FieldMask]:
    """The labels that ``key=value`` words set, and which are touched; ``key=`` clears one.

    Raises:
        InvalidArgument: no words, or one without a key.
    """
    from pinnace.api.schema.wellknown import FieldMask

    if not words:
        raise InvalidArgument("no labels were given", hint=f"usage: {usage}")
    labels = {}
    for word in words:
        key, _, value = word.partition("=")
        if not key:
            raise InvalidArgument(f"invalid label {word!r}: KEY=VALUE is expected")
        labels[key] = value
    return labels, FieldMask(paths=[f"labels.{key}" for key in labels])


def rfc3339(timestamp: Timestamp | None) -> str:
    """``2026-11-21T03:48:53.311124626Z``, as Go prints a time; its zero time for none."""
    if timestamp is None or timestamp.nanoseconds() == 0:
        return "0001-01-01T00:00:00Z"
    whole = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(timestamp.seconds))
    fraction = f".{timestamp.nanos:09d}".rstrip("0") if timestamp.nanos else ""
    return f"{whole}{fraction}Z"


def age(timestamp: Timestamp | None) -> str:
    """How long ago in words: ``5 seconds``, ``About a minute``, ``2 hours``, ``3 days``."""
    seconds = int(time.time() - (timestamp.seconds if timestamp else 0))
    for limit, divisor, one, many in _AGES:
        if seconds < limit:
            count = max(seconds, 0) // divisor
            return one if count == 1 and one else f"{count} {many}"
    return f"{seconds // 31536000} years"


_AGES = (
    (1, 1, "Less than a second", "seconds"),
    (60, 1, "1 second", "seconds"),
    (3600, 60, "About a minute", "minutes"),
    (172800, 3600, "About an hour", "hours"),
    (1209600, 86400, "", "days"),
    (5184000, 604800, "", "weeks"),
    (63072000, 2592000, "", "months"),
)
