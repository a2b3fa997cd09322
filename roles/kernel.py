"""The kernel as containers need it: overlay, forwarding, and the memory controller on a Raspberry Pi."""

from __future__ import annotations

from collections.abc import Iterator

from roles.context import Board
from toolkit.resources import REBOOT, File, KernelCmdline, KernelModule, Resource, Sysctl

_WATCHES = {"fs.inotify.max_user_instances": "8192"}
"""Each container with a control group of version 2 has one, to be told when its memory runs out; Linux allows 128."""


def recipe(board: Board) -> Iterator[Resource]:
    if board.settings.snapshotter == "overlayfs":
        if board.facts["modules"]:
            yield File(path="/etc/modules-load.d/pinnace.conf", source=b"overlay\n")
        yield KernelModule(module="overlay", boot=False)

    # What shares its kernel with others may not set what is not its own.
    watches = _WATCHES if board.facts["modules"] else {}
    parameters = {"net.ipv4.ip_forward": "1", **watches, **board.settings.sysctls}
    text = "".join(f"{key} = {value}\n" for key, value in sorted(parameters.items()))
    yield File(path="/etc/sysctl.d/60-pinnace.conf", source=text.encode())
    for key, value in sorted(parameters.items()):
        yield Sysctl(key=key, value=value, path="")

    # Raspberry Pi kernels have the memory controller built in and switched off (pi-gen#917).
    if board.settings.memory_cgroup and board.facts["cmdline"]:
        yield KernelCmdline(
            parameters=("cgroup_enable=memory", "cgroup_memory=1"),
            controller="memory",
            notify=(REBOOT,),
        )
