"""Which runtimes there are by name, and what clients may ask of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pinnace.api.schema import runc, runtimeoptions
from pinnace.errors import InvalidArgument, NotFound

if TYPE_CHECKING:
    from pinnace.api.schema import wellknown

RUNTIMES = (
    "io.containerd.runc.v2",
    "io.containerd.runc.v1",
    "io.containerd.runtime.v1.linux",
)
"""All of these are our own runc; the older names are what older clients send."""


def check_runtime(name: str) -> None:
    """Raises NotFound for a runtime that is not here."""
    if name not in RUNTIMES:
        raise NotFound(
            f'runtime "{name}" is not available', hint=f"use {RUNTIMES[0]}, the default of clients"
        )


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
            hint="leave the binary's name out",
        )
    return {name: value for name in options.fields if (value := getattr(options, name))}
