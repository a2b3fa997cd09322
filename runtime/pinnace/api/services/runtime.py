"""What clients may ask of our own runtime."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pinnace.api.schema import runc, runtimeoptions
from pinnace.errors import InvalidArgument

if TYPE_CHECKING:
    from pinnace.api.schema import wellknown


def options_of(message: wellknown.Any | None) -> dict[str, Any]:
    """The options of runc by name, those that are set; raises InvalidArgument for other types."""
    if message is None or not message.type_url:
        return {}
    if message.holds(runtimeoptions.Options):
        return {}  # a configuration file for other runtimes; ctr sends it empty
    if not message.holds(runc.Options):
        raise InvalidArgument(f"unknown runtime options {message.type_url!r}")
    options = message.unpack(runc.Options)
    if options.binary_name and options.binary_name.rpartition("/")[2] != "runc":
        raise InvalidArgument(
            f"runtime binary {options.binary_name} cannot be used: this daemon runs containers itself",
            hint="leave the binary's name out, or have the container run by containerd's shim",
        )
    return {name: value for name in options.fields if (value := getattr(options, name))}
