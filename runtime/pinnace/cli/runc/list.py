"""``runc list``: the containers below --root."""

from __future__ import annotations

import json
import os
import sys
from typing import TYPE_CHECKING

from pinnace.cli import tables
from pinnace.cli.options import Flag, switch, text
from pinnace.errors import InvalidArgument
from pinnace.runc import container

if TYPE_CHECKING:
    from pinnace.cli.options import Call

USAGE = "[flags]"
FLAGS: tuple[Flag, ...] = (
    text("format", "f", default="table", about="table or json"),
    switch("quiet", "q", about="print only the ids"),
)


def run(call: Call) -> int:
    form = call.text("format")
    if form not in ("table", "json"):
        raise InvalidArgument(f'invalid format "{form}"', hint="table and json exist")
    found = container.list_(call.text("root"))
    if call.on("quiet"):
        sys.stdout.write("".join(f"{each['id']}\n" for each in found))
    elif form == "json":
        sys.stdout.write(json.dumps(found) + "\n")
    else:
        owner = _owner(call.text("root"))
        lines = ["ID\tPID\tSTATUS\tBUNDLE\tCREATED\tOWNER"]
        for each in found:
            fields = (
                each["id"],
                each.get("pid", 0),
                each["status"],
                each["bundle"],
                each["created"],
            )
            lines.append("\t".join(str(field) for field in (*fields, owner)))
        sys.stdout.write(tables.tabulate(lines, minimum=12, padding=3))
    return 0


def _owner(root: str) -> str:
    import pwd

    try:
        return pwd.getpwuid(os.stat(root).st_uid).pw_name
    except (OSError, KeyError):
        return "root"
