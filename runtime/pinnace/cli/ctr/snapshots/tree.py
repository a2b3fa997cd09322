"""``ctr snapshots tree``: which snapshot stands on which."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from pinnace.api.schema.snapshots import ListSnapshotsRequest, Snapshots
from pinnace.cli.client import Client
from pinnace.cli.ctr.flags import SNAPSHOTTER_FLAG

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from pinnace.cli.options import Call, Flag

USAGE = ""
FLAGS: tuple[Flag, ...] = (SNAPSHOTTER_FLAG,)


def run(call: Call) -> int:
    request = ListSnapshotsRequest(snapshotter=call.text("snapshotter"))
    children: dict[str, list[str]] = {}
    names = set()
    with Client.of(call) as client:
        for answer in client.read(Snapshots.list, request):
            for info in answer.info:
                names.add(info.name)
                children.setdefault(info.parent, []).append(info.name)
    tops = [name for parent, below in children.items() if parent not in names for name in below]
    sys.stdout.write("".join(lines(sorted(tops), children)))
    return 0


def lines(tops: Sequence[str], children: Mapping[str, Sequence[str]]) -> Iterator[str]:
    """The lines of the trees below ``tops``; any depth, so without recursion."""
    waiting = [(name, 0) for name in reversed(tops)]
    while waiting:
        name, depth = waiting.pop()
        yield f" {'  ' * (depth - 1)} \\_ {name}\n" if depth else f" {name}\n"
        waiting.extend((each, depth + 1) for each in sorted(children.get(name, ()), reverse=True))
