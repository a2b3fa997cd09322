"""The kinds of resources that a plan can hold, each in a module that is loaded when a plan has one.

The agent is compiled anew on the board at every run: on an ARMv6 board a module costs a tenth of a second.
"""

from __future__ import annotations

from importlib import import_module

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from toolkit.agent.kinds.base import Kind

KINDS = {
    "file": ("files", "File"),
    "directory": ("files", "Directory"),
    "link": ("files", "Link"),
    "line": ("lines", "Line"),
    "package": ("packages", "Package"),
    "unit": ("units", "Unit"),
    "sysctl": ("kernel", "Sysctl"),
    "kernel_module": ("kernel", "KernelModule"),
    "kernel_cmdline": ("kernel", "KernelCmdline"),
    "reboot": ("machine", "Reboot"),
    "user": ("accounts", "User"),
    "group": ("accounts", "Group"),
    "authorized_key": ("accounts", "AuthorizedKey"),
    "mount": ("mounts", "Mount"),
    "swap": ("mounts", "Swap"),
    "hostname": ("machine", "Hostname"),
    "timezone": ("machine", "Timezone"),
    "clock": ("machine", "Clock"),
    "bundle": ("bundle", "Bundle"),
    "image": ("images", "Image"),
    "credential": ("credentials", "Credential"),
}
"""The name that plans use: module and class."""


def load(names: Iterable[str]) -> dict[str, Kind]:
    """A fresh instance of each of these kinds."""
    kinds: dict[str, Kind] = {}
    for name in dict.fromkeys(names):
        module, kind = KINDS[name]
        kinds[name] = getattr(import_module(f"{__name__}.{module}"), kind)()
    return kinds


def load_all() -> None:
    """Every kind, now: for who must not read modules any more once it changes things."""
    for module in sorted({module for module, _ in KINDS.values()}):
        import_module(f"{__name__}.{module}")
