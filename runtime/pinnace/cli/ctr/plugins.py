"""``ctr plugins list``: the parts of the daemon."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pinnace.api.schema.introspection import Introspection, Plugin, PluginsRequest
from pinnace.cli.client import Client
from pinnace.cli.ctr.common import FORMAT, json_out, lines, table, wants_json
from pinnace.cli.options import Flag, switch

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pinnace.cli.options import Call

USAGE = "[flags]"
FLAGS: tuple[Flag, ...] = (
    switch("quiet", "q", about="print only the names"),
    switch("detailed", "d", about="print what each one exports, can do and failed of"),
    FORMAT,
)
_UNIMPLEMENTED = 12  # the status of a plugin that was left out on purpose


def run(call: Call) -> int:
    with Client.of(call) as client:
        plugins = client.call(Introspection.plugins, PluginsRequest(filters=call.args)).plugins
    if call.on("quiet"):
        lines(plugin.id for plugin in plugins)
        return 0
    if wants_json(call):
        json_out([_document(each) for each in plugins])
        return 0
    if call.on("detailed"):
        for each in plugins:
            table([*_details(each), ""], minimum=4, padding=4)
        return 0
    rows = [f"{each.type}\t{each.id}\t{','.join(_platforms(each)) or '-'}\t{_status(each)}\t" for each in plugins]  # fmt: skip
    table(["TYPE\tID\tPLATFORMS\tSTATUS\t", *rows])
    return 0


def _platforms(plugin: Plugin) -> list[str]:
    return ["/".join(filter(None, (p.os, p.architecture, p.variant))) for p in plugin.platforms]


def _status(plugin: Plugin) -> str:
    if plugin.init_err is None:
        return "ok"
    skipped = "skip plugin" in plugin.init_err.message or plugin.init_err.code == _UNIMPLEMENTED
    return "skip" if skipped else "error"


def _details(plugin: Plugin) -> Iterator[str]:
    """``NAME:<tab>VALUE`` lines; what there are several of is indented below its name."""
    yield f"Type:\t{plugin.type}"
    yield f"ID:\t{plugin.id}"
    if plugin.requires:
        yield "Requires:\t"
        yield from (f"\t{each}" for each in plugin.requires)
    if plugin.platforms:
        yield f"Platforms:\t{','.join(_platforms(plugin))}"
    if plugin.exports:
        yield "Exports:\t"
        yield from (f"\t{name}\t{value}" for name, value in sorted(plugin.exports.items()))
    if plugin.capabilities:
        yield f"Capabilities:\t{','.join(plugin.capabilities)}"
    if plugin.init_err is not None:
        yield "Error:\t"
        yield f"\tCode:\t{plugin.init_err.code}"
        yield f"\tMessage:\t{plugin.init_err.message}"


def _document(plugin: Plugin) -> dict[str, object]:
    return {
        "type": plugin.type,
        "id": plugin.id,
        "requires": list(plugin.requires),
        "platforms": _platforms(plugin),
        "exports": dict(sorted(plugin.exports.items())),
        "capabilities": list(plugin.capabilities),
        "status": _status(plugin),
        "error": plugin.init_err.message if plugin.init_err else "",
    }
