"""``runc list``: the containers below --root."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

from pinnace.cli import tables
from pinnace.cli.options import Flag, switch, text
from pinnace.cli.runc import common
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
    found = container.list_(common.state_root(call))
    if call.on("quiet"):
        sys.stdout.write("".join(f"{each['id']}\n" for each in found))
    elif form == "json":
        shown = [{**each, "owner": owner_of(each)} for each in found]
        sys.stdout.write(json.dumps(shown) + "\n")
    else:
        lines = ["ID\tPID\tSTATUS\tBUNDLE\tCREATED\tOWNER"]
        for each in found:
            fields = (
                each["id"],
                each.get("pid", 0),
                each["status"],
                each["bundle"],
                each["created"],
                owner_of(each),
            )
            lines.append("\t".join(str(field) for field in fields))
        sys.stdout.write(tables.tabulate(lines, minimum=12, padding=3))
    return 0


def owner_of(described: dict[str, Any]) -> str:
    """The name of the user who made a container, or his number."""
    import pwd

    try:
        return pwd.getpwuid(described["owner"]).pw_name
    except KeyError:
        return str(described["owner"])
