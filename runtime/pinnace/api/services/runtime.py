"""What clients may ask of our own runtime."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pinnace.api.schema import runc, runtimeoptions
from pinnace.errors import InvalidArgument

if TYPE_CHECKING:
    from pinnace.api.schema import wellknown


def options_of(message: wellknown.Any | None) -> dict[str, Any]:
    """The options of runc by name, those that are set; raises InvalidArgument for other types.

    containerd's CRI gives a runtime that it has no type for its table of ``config.toml`` as text.
    """
    if message is None or not message.type_url:
        return {}
    if message.holds(runtimeoptions.Options):
        # ctr sends it empty.
        body = message.unpack(runtimeoptions.Options).config_body
        return _allowed(_configured(body)) if body else {}
    if not message.holds(runc.Options):
        raise InvalidArgument(f"unknown runtime options {message.type_url!r}")
    options = message.unpack(runc.Options)
    found = {name: value for name in options.fields if (value := getattr(options, name))}
    return _allowed(found)


def _allowed(options: dict[str, Any]) -> dict[str, Any]:
    program = str(options.get("binary_name") or "")
    if program and program.rpartition("/")[2] != "runc":
        raise InvalidArgument(
            f"runtime binary {program} cannot be used: this shim runs containers itself",
            hint="leave the binary's name out, or have the container run by containerd's shim",
        )
    return options


def _configured(body: bytes) -> dict[str, Any]:
    """``SystemdCgroup = true`` and the like; what else there is has no meaning here."""
    import re

    from pinnace.daemon import toml

    found = toml.parse(body.decode("utf-8", "replace"), "runtime options")
    named = {
        re.sub(r"(?<=[a-z])(?=[A-Z])", "_", key).lower(): value for key, value in found.items()
    }
    wrong = [name for name, value in named.items() if name in runc.Options.fields
             and not isinstance(value, type(runc.Options.fields[name].default))]  # fmt: skip
    if wrong:
        raise InvalidArgument(f"runtime options: {wrong[0]} has a value of the wrong type")
    return {name: value for name, value in named.items() if name in runc.Options.fields and value}
