"""``./inv inventory``: exactly one of a listing, a tree, or one host's variables."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from toolkit import console
from toolkit.errors import UsageError
from toolkit.inventory import parser, patterns, show
from toolkit.paths import PROJECT


class Wanted(NamedTuple):
    """What to print; ``listing``, ``graph`` and ``host`` exclude each other."""

    listing: bool
    graph: bool
    host: str
    limit: str
    variables: bool
    export: bool


def run(wanted: Wanted, inventory: str) -> None:
    """Print it; raises :class:`UsageError` for a wrong inventory, host, pattern or combination."""
    if sum(map(bool, (wanted.listing, wanted.graph, wanted.host))) != 1:
        raise UsageError("one of --list, --graph and --host NAME is needed")
    found = parser.load(Path(inventory) if inventory else PROJECT / "inventory.ini")
    if wanted.graph:
        text = "\n".join(show.graph(found, variables=wanted.variables))
    elif wanted.host:
        text = show.dump(show.host(found, wanted.host))
    else:
        hosts = patterns.select(found, wanted.limit) if wanted.limit else None
        text = show.dump(show.listing(found, hosts, export=wanted.export))
    console.out.print(text, markup=False, soft_wrap=True)
