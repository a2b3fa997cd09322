"""``ctr plugins list``: the parts of the daemon."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pinnace.api.schema.introspection import Introspection, Plugin, PluginsRequest
from pinnace.cli.client import Client
from pinnace.cli.ctr.common import lines, table
from pinnace.cli.options import Flag, switch

if TYPE_CHECKING:
    from pinnace.cli.options import Call

USAGE = "[flags]"
FLAGS: tuple[Flag, ...] = (switch("quiet", "q", about="print only the names"),)
_UNIMPLEMENTED = 12  # the status of a plugin that was left out on purpose


def run(call: Call) -> int:
    with Client.of(call) as client:
        plugins = client.call(Introspection.plugins, PluginsRequest()).plugins
    if call.on("quiet"):
        lines(plugin.id for plugin in plugins)
        return 0
    rows = [f"{each.type}\t{each.id}\t{_platforms(each)}\t{_status(each)}\t" for each in plugins]
    table(["TYPE\tID\tPLATFORMS\tSTATUS\t", *rows])
    return 0


def _platforms(plugin: Plugin) -> str:
    names = ["/".join(filter(None, (p.os, p.architecture, p.variant))) for p in plugin.platforms]
    return ",".join(names) or "-"


def _status(plugin: Plugin) -> str:
    if plugin.init_err is None:
        return "ok"
    skipped = "skip plugin" in plugin.init_err.message or plugin.init_err.code == _UNIMPLEMENTED
    return "skip" if skipped else "error"
