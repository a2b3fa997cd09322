"""The Introspection service: which plugins there are, and who serves."""

from __future__ import annotations

from pinnace.api import codec as pb
from pinnace.api.method import Method
from pinnace.api.schema.status import Status
from pinnace.api.schema.types import Platform
from pinnace.api.schema.wellknown import Any, Empty, Timestamp

PACKAGE = "containerd.services.introspection.v1"


class Plugin(pb.Message):
    type = pb.string(1)
    id = pb.string(2)
    requires = pb.strings(3)
    platforms = pb.messages(4, Platform)
    exports = pb.string_map(5)
    capabilities = pb.strings(6)
    init_err = pb.message(7, Status)


class PluginsRequest(pb.Message):
    filters = pb.strings(1)


class PluginsResponse(pb.Message):
    plugins = pb.messages(1, Plugin)


class DeprecationWarning(pb.Message):  # noqa: A001 - its name on the wire
    id = pb.string(1)
    message = pb.string(2)
    last_occurrence = pb.message(3, Timestamp)


class ServerResponse(pb.Message):
    uuid = pb.string(1)
    pid = pb.uint64(2)
    pidns = pb.uint64(3)
    deprecations = pb.messages(4, DeprecationWarning)


class PluginInfoRequest(pb.Message):
    type = pb.string(1)
    id = pb.string(2)
    options = pb.message(3, Any)


class PluginInfoResponse(pb.Message):
    plugin = pb.message(1, Plugin)
    extra = pb.message(2, Any)


_SERVICE = "containerd.services.introspection.v1.Introspection"


class Introspection:
    """The methods of ``containerd.services.introspection.v1.Introspection``."""

    plugins = Method(_SERVICE, "Plugins", PluginsRequest, PluginsResponse)
    server = Method(_SERVICE, "Server", Empty, ServerResponse)
    plugin_info = Method(_SERVICE, "PluginInfo", PluginInfoRequest, PluginInfoResponse)
