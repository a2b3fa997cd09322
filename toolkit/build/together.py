"""The byte code of a cold ``runc`` in one file of a bundle; ``pinnace/together.py`` reads it and says why."""

from __future__ import annotations

import marshal

PLACE = "lib/pinnace/together.bin"

MODULES = (
    "pinnace.cli", "pinnace.cli.main", "pinnace.cli.options", "pinnace.cli.runc", "pinnace.cli.runc.common",
    "pinnace.cli.runc.foreground", "pinnace.cli.runc.log", "pinnace.cli.runc.run", "pinnace.errors", "pinnace.linux",
    "pinnace.linux.caller", "pinnace.linux.capabilities", "pinnace.linux.cgroups", "pinnace.linux.cgroups.base",
    "pinnace.linux.cgroups.convert", "pinnace.linux.cgroups.device_filter", "pinnace.linux.cgroups.entry",
    "pinnace.linux.cgroups.oom", "pinnace.linux.cgroups.setting", "pinnace.linux.cgroups.v1",
    "pinnace.linux.cgroups.v1_settings", "pinnace.linux.cgroups.v2", "pinnace.linux.cgroups.v2_settings",
    "pinnace.linux.fork", "pinnace.linux.inotify", "pinnace.linux.kernel", "pinnace.linux.libc",
    "pinnace.linux.mount", "pinnace.linux.mountinfo", "pinnace.linux.proc", "pinnace.linux.procfs",
    "pinnace.linux.resolve", "pinnace.linux.sealed", "pinnace.linux.sockets", "pinnace.runc",
    "pinnace.runc.attending", "pinnace.runc.channel", "pinnace.runc.container", "pinnace.runc.control",
    "pinnace.runc.create", "pinnace.runc.devices", "pinnace.runc.executable", "pinnace.runc.hooks",
    "pinnace.runc.joining", "pinnace.runc.labels", "pinnace.runc.launch", "pinnace.runc.limits", "pinnace.runc.lock",
    "pinnace.runc.made", "pinnace.runc.mapped", "pinnace.runc.namespaces", "pinnace.runc.native",
    "pinnace.runc.paths", "pinnace.runc.process", "pinnace.runc.propagation", "pinnace.runc.scheduling",
    "pinnace.runc.starting", "pinnace.runc.state", "pinnace.runc.sysctl", "pinnace.runc.waiting", "pinnace.spec",
    "pinnace.spec.runtime", "pinnace.spec.shape", "pinnace.typing_at_runtime", "pinnace.version",
)  # fmt: skip
"""What a cold ``runc run`` imports of ours, but for the package itself, which is there before them."""

_MAGIC = 4  # bytes at a .pyc file's begin that name the Python it is for
_HEADER = 16  # PEP 552
_MARSHAL = 2  # the format that every Python 3 reads


def joined(byte_code: dict[str, bytes]) -> bytes:
    """The file, made of .pyc files by their paths below the bundle. Raises KeyError for a module that is not among them."""
    by_name = {_name_of(path): (path, code) for path, code in byte_code.items()}
    modules = {
        name: ("/__init__." in by_name[name][0], by_name[name][1][_HEADER:]) for name in MODULES
    }
    magic = by_name[MODULES[0]][1][:_MAGIC]
    return magic + marshal.dumps(modules, _MARSHAL)


def _name_of(path: str) -> str:
    """``pinnace.runc`` for ``lib/pinnace/runc/__pycache__/__init__.cpython-311.pyc``."""
    folder, _, file = path.removeprefix("lib/").rpartition("/__pycache__/")
    name = f"{folder}/{file.partition('.')[0]}".replace("/", ".")
    return name.removesuffix(".__init__")
