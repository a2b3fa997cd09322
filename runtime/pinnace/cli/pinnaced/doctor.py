"""``pinnaced doctor``: whether this machine has what containers need, and what to do where it has not."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

from pinnace.cli.options import Flag, text
from pinnace.cli.pinnaced import configuration
from pinnace.daemon import checkup
from pinnace.errors import InvalidArgument

if TYPE_CHECKING:
    from pinnace.cli.options import Call

USAGE = "[flags]"
FLAGS: tuple[Flag, ...] = (text("format", default="table", about='"table" or "json"'),)
DETAILS = "Exits with 1 when there is an error; warnings alone exit with 0. Nothing is changed."
_MARKS = {checkup.OK: "ok  ", checkup.WARNING: "warn", checkup.ERROR: "FAIL"}


def run(call: Call) -> int:
    wanted = call.text("format")
    if wanted not in ("table", "json"):
        raise InvalidArgument(f'invalid format "{wanted}": table or json is expected')
    found = checkup.examine(configuration.load(call))
    if wanted == "json":
        sys.stdout.write(json.dumps([each._asdict() for each in found], indent=4) + "\n")
    else:
        sys.stdout.write(table(found))
    return 1 if any(each.status == checkup.ERROR for each in found) else 0


def table(found: list[checkup.Finding]) -> str:
    """A line for each finding, and what to do below those that are not well."""
    width = max(len(each.name) for each in found) + 2
    lines = []
    for each in found:
        lines.append(f"{_MARKS[each.status]}  {each.name:<{width}}{each.found}")
        if each.remedy:
            lines.append(f"{'':{width + 6}}to do: {each.remedy}")
    counts = [sum(each.status == status for each in found) for status in _MARKS]
    lines.append(f"{counts[0]} ok, {counts[1]} warnings, {counts[2]} errors")
    return "".join(f"{line}\n" for line in lines)
