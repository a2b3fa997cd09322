"""Which shims there are by a runtime's name: our own, or a program that speaks containerd's shim protocol.

Names are containerd's: ``io.containerd.NAME.vN`` means the program ``containerd-shim-NAME-vN`` on the PATH, an absolute
path means that program. ``io.containerd.runc.v2``, the default of all clients, is our own unless the configuration
names a program for it.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple

from pinnace.errors import InvalidArgument, NotFound

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pinnace.store.records import TypedValue

DEFAULT = "io.containerd.runc.v2"
OWN = (
    DEFAULT,
    "io.containerd.pinnace.v2",
    "io.containerd.runc.v1",
    "io.containerd.runtime.v1.linux",
)
"""All of these are our own shim; the last two are what older clients send."""


class Runtime(NamedTuple):
    """What runs a task.

    Attributes:
        name: as the container's record has it.
        program: the path of a shim of containerd's protocol; empty for our own.
        options: what a client wants of such a program, which understands it.
    """

    name: str = DEFAULT
    program: str = ""
    options: TypedValue | None = None


def find(name: str, programs: Mapping[str, object], options: TypedValue | None = None) -> Runtime:
    """The runtime of a name; ``programs`` are the configuration's, by name.

    Raises InvalidArgument for a name that is none, NotFound when its program is not there.
    """
    configured = programs.get(name)
    if isinstance(configured, str) and configured:
        return Runtime(name, _executable(name, configured), options)
    if name in OWN:
        return Runtime(name)
    if name.startswith("/"):
        return Runtime(name, _executable(name, os.path.normpath(name)), options)
    return Runtime(name, _executable(name, _program_of(name)), options)


def _program_of(name: str) -> str:
    """The name of the program: the last two parts, as containerd has it."""
    parts = name.split(".")
    if len(parts) < 2 or "/" in name or not all(parts):
        raise InvalidArgument(
            f'invalid runtime name "{name}"',
            hint=f"it is like {DEFAULT}, or the absolute path of a shim",
        )
    return f"containerd-shim-{parts[-2]}-{parts[-1]}"


def _executable(name: str, program: str) -> str:
    import shutil  # few containers are of another runtime

    found = shutil.which(program)
    if found is None:
        raise NotFound(
            f'runtime "{name}" binary not installed "{os.path.basename(program)}"',
            hint=f"install it, or use {DEFAULT}, which is built in",
        )
    return found
