"""The Introspection service: who serves, and which plugins there are."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from pinnace.api.schema import introspection as wire
from pinnace.api.schema.status import Status
from pinnace.api.schema.types import Platform, RuntimeInfo, RuntimeRequest, RuntimeVersion
from pinnace.api.schema.wellknown import Any
from pinnace.errors import NotFound, Unimplemented
from pinnace.store import filters
from pinnace.version import CONTAINERD_VERSION, REVISION

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pinnace.api.schema.wellknown import Empty
    from pinnace.api.server import Context
    from pinnace.daemon.daemon import Daemon
    from pinnace.daemon.plugins import Plugin

SCHEMA = wire.Introspection


class Service:
    def __init__(self, daemon: Daemon) -> None:
        self._daemon = daemon

    def plugins(self, request: wire.PluginsRequest, context: Context) -> wire.PluginsResponse:
        wanted = filters.parse_all(request.filters)
        return wire.PluginsResponse(
            plugins=[
                _message(plugin)
                for plugin in self._daemon.plugins()
                if wanted(lambda path, plugin=plugin: _field(plugin, path))  # type: ignore[misc]
            ]
        )

    def server(self, request: Empty, context: Context) -> wire.ServerResponse:
        return wire.ServerResponse(
            uuid=self._daemon.uuid,
            pid=os.getpid(),
            pidns=os.stat("/proc/self/ns/pid").st_ino,
        )

    def plugin_info(
        self, request: wire.PluginInfoRequest, context: Context
    ) -> wire.PluginInfoResponse:
        for plugin in self._daemon.plugins():
            if (plugin.type, plugin.id) == (request.type, request.id):
                if request.options is not None and request.options.holds(RuntimeRequest):
                    return wire.PluginInfoResponse(
                        plugin=_message(plugin),
                        extra=self._runtime(request.options.unpack(RuntimeRequest)),
                    )
                if request.options is not None:
                    raise Unimplemented(f"plugin {request.type}.{request.id} takes no options")
                return wire.PluginInfoResponse(plugin=_message(plugin))
        raise NotFound(f"plugin {request.type}.{request.id}: not found")

    def _runtime(self, request: RuntimeRequest) -> Any:
        """What a runtime says about itself; raises NotFound when it is not here."""
        import json

        from pinnace.api.foreign import program
        from pinnace.runc import features

        found = self._daemon.runtime(request.runtime_path, None)
        if found.program:
            return Any.pack(program.info(found.program, request.options))
        document = json.dumps(features.describe()).encode()
        return Any.pack(
            RuntimeInfo(
                name=request.runtime_path,
                version=RuntimeVersion(version=CONTAINERD_VERSION, revision=REVISION),
                options=request.options,
                features=Any(type_url=_FEATURES, value=document),
            )
        )


_FEATURES = "types.containerd.io/opencontainers/runtime-spec/1/features/Features"


def _message(plugin: Plugin) -> wire.Plugin:
    platforms = [
        Platform(os=p.os, architecture=p.architecture, variant=p.variant) for p in plugin.platforms
    ]
    return wire.Plugin(
        type=plugin.type,
        id=plugin.id,
        requires=list(plugin.requires),
        platforms=platforms,
        exports=dict(plugin.exports),
        capabilities=list(plugin.capabilities),
        init_err=Status(code=2, message=plugin.problem) if plugin.problem else None,
    )


def _field(plugin: Plugin, path: Sequence[str]) -> str | None:
    if path[0] == "capabilities" and len(path) > 1:
        return "" if ".".join(path[1:]) in plugin.capabilities else None
    return {"type": plugin.type, "id": plugin.id}.get(".".join(path))
